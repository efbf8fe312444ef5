//! The head of a response, and the framing of its body (RFC 9112, 6.3).

use super::error::HttpError;
use super::headers::Headers;
use super::limits::Limits;
use memchr::memchr;
use std::mem::MaybeUninit;

/// The head of a response: its status line and headers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResponseHead {
    /// Status, from 100 to 599.
    pub status: u16,
    /// Header fields.
    pub headers: Headers,
    /// Whether the connection can carry another request after this response.
    pub keep_alive: bool,
    /// Whether the client decompresses the body, so that it is not as `Content-Encoding` and
    /// `Content-Length` say.
    pub decompressed: bool,
    pub(super) framing: Framing,
}

/// How the end of the body is determined.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Framing {
    Length(u64),
    Chunked,
    UntilClose,
}

/// The request that a response belongs to, as far as its framing depends on it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Asked {
    #[default]
    Other,
    Head,
    /// A tunnel through a proxy.
    Connect,
}

impl ResponseHead {
    /// Length of the body that is announced; `None` if only its end will tell, for a chunked body
    /// and for one that ends with the connection.
    pub fn content_length(&self) -> Option<u64> {
        match self.framing {
            Framing::Length(length) => Some(length),
            Framing::Chunked | Framing::UntilClose => None,
        }
    }

    /// Parses a block, which ends with an empty line.
    pub(super) fn parse(block: &[u8], limits: &Limits, asked: Asked) -> Result<ResponseHead, HttpError> {
        if limits.headers <= USUAL_HEADERS {
            let mut fields = [const { MaybeUninit::uninit() }; USUAL_HEADERS];
            return parse(block, fields.get_mut(..limits.headers).unwrap_or_default(), limits, asked);
        }
        parse(block, &mut vec![MaybeUninit::uninit(); limits.headers], limits, asked)
    }

    /// Whether it is an interim (1xx) response, which others follow.
    pub fn is_interim(&self) -> bool {
        self.status < 200
    }
}

/// Returns the length of a head that is whole and well-formed, as far as its lines are. `None`
/// for everything else, which then is read line by line: only that finds out what is wrong.
pub(super) fn whole_head(data: &[u8], limits: &Limits) -> Option<usize> {
    let mut start = 0;
    loop {
        let rest = data.get(start..)?;
        let length = memchr(b'\n', rest)?;
        start += length + 1;
        if start > limits.head || length > limits.line + 1 || rest.get(length.checked_sub(1)?) != Some(&b'\r')
        {
            return None;
        }
        if length == 1 {
            return Some(start);
        }
    }
}

fn parse<'a>(
    block: &'a [u8],
    fields: &mut [MaybeUninit<httparse::Header<'a>>],
    limits: &Limits,
    asked: Asked,
) -> Result<ResponseHead, HttpError> {
    let mut parsed = httparse::Response::new(&mut []);
    let config = httparse::ParserConfig::default();
    match config.parse_response_with_uninit_headers(&mut parsed, block, fields) {
        Ok(httparse::Status::Complete(length)) if length == block.len() => {}
        Ok(_) => return Err(HttpError::Header),
        Err(httparse::Error::TooManyHeaders) => {
            return Err(HttpError::TooManyHeaders(limits.headers));
        }
        Err(httparse::Error::Status | httparse::Error::Version | httparse::Error::Token) => {
            return Err(HttpError::StatusLine);
        }
        Err(_) => return Err(HttpError::Header),
    }
    let (Some(minor), Some(status)) = (parsed.version, parsed.code) else {
        return Err(HttpError::StatusLine);
    };
    match status {
        101 => return Err(HttpError::Upgrade),
        100..=599 => {}
        _ => return Err(HttpError::Status(status)),
    }
    let headers = Headers::from_parsed(block, parsed.headers);
    let framing = framing(minor, status, &headers, asked)?;
    let asked_to_keep = match minor {
        0 => headers.has_token("Connection", "keep-alive"),
        _ => !headers.has_token("Connection", "close"),
    };
    let keep_alive = asked_to_keep && framing != Framing::UntilClose;
    Ok(ResponseHead { status, headers, framing, keep_alive, decompressed: false })
}

fn framing(minor: u8, status: u16, headers: &Headers, asked: Asked) -> Result<Framing, HttpError> {
    let encoded = transfer_encoding(minor, headers)?;
    let length = content_length(headers)?;
    match (encoded, length) {
        (true, Some(_)) => Err(HttpError::LengthAndEncoding),
        _ if matches!(status, 100..=199 | 204 | 304) || asked == Asked::Head => Ok(Framing::Length(0)),
        // What follows belongs to the tunnel.
        _ if asked == Asked::Connect && matches!(status, 200..=299) => Ok(Framing::Length(0)),
        (true, None) => Ok(Framing::Chunked),
        (false, Some(length)) => Ok(Framing::Length(length)),
        (false, None) => Ok(Framing::UntilClose),
    }
}

/// Returns whether the body is chunked. Only a single `chunked` is accepted.
fn transfer_encoding(minor: u8, headers: &Headers) -> Result<bool, HttpError> {
    let mut values = headers.all("Transfer-Encoding");
    match (values.next(), values.next()) {
        (None, _) => Ok(false),
        (Some(value), None) if minor == 1 && value.eq_ignore_ascii_case(b"chunked") => Ok(true),
        _ => {
            let values: Vec<&[u8]> = headers.all("Transfer-Encoding").collect();
            Err(HttpError::TransferEncoding(excerpt(&values.join(&b", "[..]))))
        }
    }
}

/// Returns the length, on which all fields and all items of a list must agree (RFC 9110, 8.6).
fn content_length(headers: &Headers) -> Result<Option<u64>, HttpError> {
    let mut agreed = None;
    for digits in headers.items("Content-Length") {
        let number = match digits.iter().all(u8::is_ascii_digit) {
            // Only digits, because `parse` accepts "+5". It fails for numbers that exceed u64.
            true => std::str::from_utf8(digits).ok().and_then(|digits| digits.parse().ok()),
            false => None,
        };
        let number: u64 = number.ok_or_else(|| HttpError::ContentLength(excerpt(digits)))?;
        match agreed {
            Some(known) if known != number => {
                return Err(HttpError::ContentLengthsDiffer(known, number));
            }
            _ => agreed = Some(number),
        }
    }
    Ok(agreed)
}

/// Returns at most 40 bytes from the peer for an error message. `Display` escapes them.
pub(super) fn excerpt(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes.get(..40).unwrap_or(bytes)).into_owned()
}

/// Number of fields that are parsed without an allocation: the default limit.
const USUAL_HEADERS: usize = 100;
