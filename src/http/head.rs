//! The head of a response, and the framing of its body (RFC 9112, 6.3, for a client that sends only
//! GET).

use super::error::HttpError;
use super::headers::Headers;
use super::limits::Limits;

/// A parsed head.
#[derive(Debug)]
pub(super) struct Head {
    pub(super) status: u16,
    pub(super) headers: Headers,
    pub(super) framing: Framing,
    pub(super) keep_alive: bool,
}

/// How the end of the body is determined.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Framing {
    Length(u64),
    Chunked,
    UntilClose,
}

impl Head {
    /// Parses a block, which ends with an empty line.
    pub(super) fn parse(block: &[u8], limits: &Limits) -> Result<Head, HttpError> {
        let mut fields = vec![httparse::EMPTY_HEADER; limits.headers];
        let mut parsed = httparse::Response::new(&mut fields);
        match parsed.parse(block) {
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
        let headers = Headers::from_parsed(parsed.headers);
        let framing = framing(minor, status, &headers)?;
        let asked_to_keep = match minor {
            0 => headers.has_token("Connection", "keep-alive"),
            _ => !headers.has_token("Connection", "close"),
        };
        Ok(Head { status, headers, framing, keep_alive: asked_to_keep && framing != Framing::UntilClose })
    }

    pub(super) fn is_interim(&self) -> bool {
        self.status < 200
    }
}

fn framing(minor: u8, status: u16, headers: &Headers) -> Result<Framing, HttpError> {
    let encoded = transfer_encoding(minor, headers)?;
    let length = content_length(headers)?;
    match (encoded, length) {
        (true, Some(_)) => Err(HttpError::LengthAndEncoding),
        _ if matches!(status, 100..=199 | 204 | 304) => Ok(Framing::Length(0)),
        (true, None) => Ok(Framing::Chunked),
        (false, Some(length)) => Ok(Framing::Length(length)),
        (false, None) => Ok(Framing::UntilClose),
    }
}

/// Returns whether the body is chunked. Only a single `chunked` is accepted.
fn transfer_encoding(minor: u8, headers: &Headers) -> Result<bool, HttpError> {
    let values: Vec<&[u8]> = headers.all("Transfer-Encoding").collect();
    match values.as_slice() {
        [] => Ok(false),
        [value] if minor == 1 && value.eq_ignore_ascii_case(b"chunked") => Ok(true),
        _ => Err(HttpError::TransferEncoding(excerpt(&values.join(&b", "[..])))),
    }
}

/// Returns the length, on which all fields and all items of a list must agree (RFC 9110, 8.6).
fn content_length(headers: &Headers) -> Result<Option<u64>, HttpError> {
    let mut agreed = None;
    for item in headers.all("Content-Length").flat_map(|value| value.split(|byte| *byte == b',')) {
        let digits = item.trim_ascii();
        let number = match digits.iter().all(u8::is_ascii_digit) {
            // Only digits, because `parse` accepts "+5". It fails for numbers that exceed u64.
            true => std::str::from_utf8(digits).ok().and_then(|digits| digits.parse().ok()),
            false => None,
        };
        let number: u64 = number.ok_or_else(|| HttpError::ContentLength(excerpt(item)))?;
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
    String::from_utf8_lossy(&bytes[..bytes.len().min(40)]).into_owned()
}
