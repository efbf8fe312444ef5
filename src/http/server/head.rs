//! The head of a request: its end, its fields, and the framing of the body (RFC 9112).
//!
//! Parsing is strict. A head that two parsers could read in two ways is refused. Errors depend on
//! the bytes only, never on how they were split into reads.

use std::mem::MaybeUninit;

use httparse::Header;
use memchr::memchr;

use super::limits::{MAX_HEADERS, SiteLimits};
use super::refusal::Refusal;

/// Search for the end of a head in bytes that come in pieces.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Scan {
    /// Bytes without a line end that is not known.
    scanned: u32,
    /// The start of the current line.
    line: u32,
    /// Complete lines.
    lines: u32,
    /// The first byte of the head: after an empty line, which some clients send after a body (RFC
    /// 9112, 2.2).
    start: u32,
}

impl Scan {
    /// Whether a byte of the head itself has come.
    pub(super) fn begun(self, length: usize) -> bool {
        length > self.start as usize
    }

    /// Searches in all bytes of the request so far. Returns the start and the end of the head.
    pub(super) fn find(
        &mut self,
        bytes: &[u8],
        limits: &SiteLimits,
    ) -> Result<Option<(usize, usize)>, Refusal> {
        loop {
            let (start, line) = (self.start as usize, self.line as usize);
            if line == start
                && let Some(first) = bytes.get(start)
                && !is_token(*first)
                && !(start == 0 && *first == b'\r')
            {
                // A control character or a high byte: another protocol. Others: a bad request line.
                return Err(if first.is_ascii_graphic() || b" \r\n\t".contains(first) {
                    Refusal::RequestLine
                } else {
                    Refusal::NotHttp
                });
            }
            let rest = bytes.get(self.scanned as usize..).unwrap_or_default();
            let found = memchr(b'\n', rest);
            let end = found.map_or(bytes.len(), |found| self.scanned as usize + found + 1);
            let room = line.saturating_add(limits.max_line).saturating_add(LINE_END);
            let block = start.saturating_add(limits.max_head);
            if end > room.min(block) {
                return Err(match self.lines {
                    0 => Refusal::RequestLineTooLong(limits.max_line.min(limits.max_head)),
                    _ if block < room => Refusal::HeadTooLong(limits.max_head),
                    _ => Refusal::LineTooLong(limits.max_line),
                });
            }
            self.scanned = end as u32;
            if found.is_none() {
                return Ok(None);
            }
            let text = bytes.get(line..end).unwrap_or_default();
            if !text.ends_with(b"\r\n") {
                return Err(Refusal::BareLineFeed);
            }
            self.line = self.scanned;
            match text.len() == LINE_END {
                true if self.lines > 0 => {
                    let found = (start, end);
                    *self = Scan::default();
                    return Ok(Some(found));
                }
                // One empty line before the head.
                true => self.start = self.scanned,
                false => {
                    self.lines += 1;
                    let max = limits.max_headers.min(MAX_HEADERS);
                    if self.lines as usize > max + 1 {
                        return Err(Refusal::TooManyHeaders(max));
                    }
                }
            }
        }
    }
}

/// A parsed head.
#[derive(Clone, Copy, Debug)]
pub(super) struct Head<'a> {
    pub(super) method: &'a str,
    /// The path and the query; `*` for `OPTIONS *`.
    pub(super) target: &'a str,
    /// 0 or 1.
    pub(super) minor: u8,
    pub(super) fields: &'a [Header<'a>],
    pub(super) framing: Framing,
    /// Whether the client keeps the connection open.
    pub(super) keep_alive: bool,
    /// Whether the client waits for an interim response before it sends the body.
    pub(super) expects_continue: bool,
    /// Whether `Connection` names `Upgrade`.
    pub(super) upgrade: bool,
}

/// The framing of a request's body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Framing {
    Length(u64),
    Chunked,
}

/// Room for the fields of a head.
pub(super) type Slots<'a> = [MaybeUninit<Header<'a>>; MAX_HEADERS];

/// Creates room for the fields of a head, at no cost.
pub(super) fn slots<'a>() -> Slots<'a> {
    [const { MaybeUninit::uninit() }; MAX_HEADERS]
}

impl<'a> Head<'a> {
    /// Parses a head that ends with an empty line.
    pub(super) fn parse(bytes: &'a [u8], slots: &'a mut Slots<'a>) -> Result<Head<'a>, Refusal> {
        let mut parsed = httparse::Request::new(&mut []);
        match parsed.parse_with_uninit_headers(bytes, slots) {
            Ok(httparse::Status::Complete(length)) if length == bytes.len() => {}
            Ok(_) => return Err(Refusal::Header),
            Err(httparse::Error::Version) => return Err(version_fault(bytes)),
            Err(httparse::Error::Token) => return Err(Refusal::RequestLine),
            Err(_) => return Err(Refusal::Header),
        }
        let (Some(method), Some(target), Some(minor)) = (parsed.method, parsed.path, parsed.version) else {
            return Err(Refusal::RequestLine);
        };
        let fields: &'a [Header<'a>] = parsed.headers;
        let mut seen = Seen::default();
        for field in fields {
            seen.note(field)?;
        }
        let framing = seen.framing(minor)?;
        let host = match (seen.host, minor) {
            (Some(host), _) if is_authority(host) => Some(host),
            (None, 0) => None,
            _ => return Err(Refusal::Host),
        };
        let target = target_of(method, target, host)?;
        let keep_alive = match minor {
            0 => seen.keep_alive && !seen.close,
            _ => !seen.close,
        };
        let expects_continue = match seen.expect {
            Some(expected) if minor == 1 && !expected.eq_ignore_ascii_case(b"100-continue") => {
                return Err(Refusal::Expectation);
            }
            expected => expected.is_some() && minor == 1,
        };
        Ok(Head {
            method,
            target,
            minor,
            fields,
            framing,
            keep_alive,
            expects_continue,
            upgrade: seen.upgrade,
        })
    }

    /// The first value of a field.
    pub(super) fn field(&self, name: &str) -> Option<&'a [u8]> {
        let found = self.fields.iter().find(|field| field.name.eq_ignore_ascii_case(name));
        found.map(|field| field.value)
    }
}

/// The fields that decide about framing and connection.
#[derive(Default)]
struct Seen<'a> {
    host: Option<&'a [u8]>,
    length: Option<&'a [u8]>,
    encoding: Option<&'a [u8]>,
    expect: Option<&'a [u8]>,
    close: bool,
    keep_alive: bool,
    upgrade: bool,
}

impl<'a> Seen<'a> {
    fn note(&mut self, field: &Header<'a>) -> Result<(), Refusal> {
        let is = |name: &str| field.name.eq_ignore_ascii_case(name);
        let once = |known: &mut Option<&'a [u8]>, fault: Refusal| match known.replace(field.value) {
            Some(_) => Err(fault),
            None => Ok(()),
        };
        match field.name.len() {
            4 if is("Host") => once(&mut self.host, Refusal::Host),
            6 if is("Expect") => once(&mut self.expect, Refusal::Expectation),
            10 if is("Connection") => {
                for item in field.value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii) {
                    self.close |= item.eq_ignore_ascii_case(b"close");
                    self.keep_alive |= item.eq_ignore_ascii_case(b"keep-alive");
                    self.upgrade |= item.eq_ignore_ascii_case(b"upgrade");
                }
                Ok(())
            }
            14 if is("Content-Length") => once(&mut self.length, Refusal::ContentLength),
            17 if is("Transfer-Encoding") => once(&mut self.encoding, Refusal::TransferEncoding),
            _ => Ok(()),
        }
    }

    fn framing(&self, minor: u8) -> Result<Framing, Refusal> {
        match (self.encoding, self.length) {
            (None, None) => Ok(Framing::Length(0)),
            (Some(_), Some(_)) => Err(Refusal::LengthAndEncoding),
            (None, Some(length)) => content_length(length).map(Framing::Length),
            (Some(encoding), None) => {
                let items = || encoding.split(|byte| *byte == b',').map(<[u8]>::trim_ascii);
                let is_chunked = |item: &[u8]| item.eq_ignore_ascii_case(b"chunked");
                if minor == 0 || items().any(|item| item.is_empty()) {
                    return Err(Refusal::TransferEncoding);
                }
                match items().all(is_chunked) {
                    true if items().count() == 1 => Ok(Framing::Chunked),
                    true => Err(Refusal::TransferEncoding),
                    false => Err(Refusal::UnknownEncoding),
                }
            }
        }
    }
}

/// Only digits: `parse` alone accepts "+5".
fn content_length(value: &[u8]) -> Result<u64, Refusal> {
    let text = std::str::from_utf8(value).ok().filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
    text.and_then(|digits| digits.parse().ok()).ok_or(Refusal::ContentLength)
}

/// A version of HTTP that is not 1.0 or 1.1, or a malformed line.
fn version_fault(bytes: &[u8]) -> Refusal {
    let line = bytes.split(|byte| *byte == b'\r').find(|line| !line.is_empty()).unwrap_or_default();
    let words: Vec<&[u8]> = line.split(|byte| *byte == b' ').collect();
    match words.as_slice() {
        [_, _, b"HTTP/1.0" | b"HTTP/1.1"] => Refusal::RequestLine,
        [_, _, [b'H', b'T', b'T', b'P', b'/', major, b'.', minor]]
            if major.is_ascii_digit() && minor.is_ascii_digit() =>
        {
            Refusal::Version
        }
        _ => Refusal::RequestLine,
    }
}

/// Returns the path and the query of a target (RFC 9112, 3.2).
fn target_of<'a>(method: &str, target: &'a str, host: Option<&[u8]>) -> Result<&'a str, Refusal> {
    if target.bytes().any(|byte| !byte.is_ascii_graphic() || byte == b'#') {
        return Err(Refusal::Target);
    }
    match method {
        "CONNECT" => match is_authority(target.as_bytes()) && target.contains(':') {
            true => Ok(target),
            false => Err(Refusal::Target),
        },
        _ if target.starts_with('/') => Ok(target),
        "OPTIONS" if target == "*" => Ok(target),
        _ => {
            let (scheme, rest) = target.split_once("://").ok_or(Refusal::Target)?;
            let http = scheme.eq_ignore_ascii_case("http") || scheme.eq_ignore_ascii_case("https");
            let (authority, path) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
            let same = match host {
                Some(host) => host.eq_ignore_ascii_case(authority.as_bytes()),
                None => is_authority(authority.as_bytes()),
            };
            match (http && same, path) {
                (false, _) => Err(Refusal::Target),
                (true, "") => Ok("/"),
                (true, path) if path.starts_with('/') => Ok(path),
                // The path is empty and the query is not: there is no slice of "/?query".
                (true, _) => Err(Refusal::Target),
            }
        }
    }
}

/// Whether this is `host` or `host:port`, with an IPv6 address in brackets.
fn is_authority(text: &[u8]) -> bool {
    let (host, port) = match text.first() {
        Some(b'[') => {
            let Some(end) = memchr(b']', text) else { return false };
            let (host, port) = text.split_at(end + 1);
            let inner = host.get(1..end).unwrap_or_default();
            let address =
                std::str::from_utf8(inner).is_ok_and(|inner| inner.parse::<std::net::Ipv6Addr>().is_ok());
            if !address {
                return false;
            }
            (host, port)
        }
        _ => text.split_at(memchr(b':', text).unwrap_or(text.len())),
    };
    // The table has an entry for each byte.
    let named = |byte: &u8| HOST_BYTES[usize::from(*byte)];
    let host_ok = host.starts_with(b"[") || !host.is_empty() && host.iter().all(named);
    let port_ok = match port {
        [] | [b':'] => true,
        [b':', digits @ ..] => {
            digits.iter().all(u8::is_ascii_digit)
                && std::str::from_utf8(digits).is_ok_and(|digits| digits.parse::<u16>().is_ok())
        }
        _ => false,
    };
    host_ok && port_ok
}

/// Bytes of a registered name (RFC 3986, 3.2.2): a look-up in a table, as each request has one.
const HOST_BYTES: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0;
    while byte < 128 {
        table[byte] = matches!(byte as u8,
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b'%' | b'!' | b'$'
            | b'&' | b'\'' | b'(' | b')' | b'*' | b'+' | b',' | b';' | b'=');
        byte += 1;
    }
    table
};

/// Whether this is a `tchar` (RFC 9110, 5.6.2).
pub(super) fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

const LINE_END: usize = 2;
