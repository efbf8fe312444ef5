//! GET requests and their encoding.
//!
//! An encoded request contains no line breaks from its parts: a [`Url`] has none, and
//! [`Request::header`] refuses them (Twisted's CVE-2019-12387 was such an injection).

use super::url::Url;
use crate::escape::Escaped;
use std::fmt;

/// A GET request.
///
/// The default headers are `Host`, `User-Agent: twistor/VERSION`, `Accept: */*`, `Accept-Encoding:
/// identity` (the client does not decompress) and `Connection: keep-alive`. [`Request::header`]
/// replaces them or adds to them.
#[derive(Clone, Debug)]
pub struct Request {
    target: String,
    headers: Vec<(String, String)>,
}

/// Error of setting a header.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RequestError {
    /// The name is not a token (RFC 9110, 5.6.2).
    HeaderName(String),
    /// The value of this header contains a control character.
    HeaderValue(String),
}

impl Request {
    /// Creates a GET request for this URL.
    pub fn get(url: &Url) -> Request {
        let headers = [
            ("Host", url.host_header()),
            ("User-Agent", concat!("twistor/", env!("CARGO_PKG_VERSION")).to_owned()),
            ("Accept", "*/*".to_owned()),
            ("Accept-Encoding", "identity".to_owned()),
            ("Connection", "keep-alive".to_owned()),
        ];
        let headers = headers.map(|(name, value)| (name.to_owned(), value)).into();
        Request { target: url.target().to_owned(), headers }
    }

    /// Sets a header. Replaces a header of the same name.
    pub fn header(mut self, name: &str, value: &str) -> Result<Request, RequestError> {
        if name.is_empty() || !name.bytes().all(is_token) {
            return Err(RequestError::HeaderName(name.into()));
        }
        if value.bytes().any(|byte| byte.is_ascii_control() && byte != b'\t') {
            return Err(RequestError::HeaderValue(name.into()));
        }
        match self.headers.iter_mut().find(|(known, _)| known.eq_ignore_ascii_case(name)) {
            Some((_, known)) => *known = value.to_owned(),
            None => self.headers.push((name.to_owned(), value.to_owned())),
        }
        Ok(self)
    }

    /// Returns the encoded request.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = format!("GET {} HTTP/1.1\r\n", self.target).into_bytes();
        for (name, value) in &self.headers {
            for part in [name.as_str(), ": ", value, "\r\n"] {
                bytes.extend_from_slice(part.as_bytes());
            }
        }
        bytes.extend_from_slice(b"\r\n");
        bytes
    }
}

impl fmt::Display for RequestError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RequestError::HeaderName(name) => {
                write!(f, "\"{}\" is not a header name", Escaped(name))
            }
            RequestError::HeaderValue(name) => {
                write!(f, "the value of header {} contains a control character", Escaped(name))
            }
        }
    }
}

impl std::error::Error for RequestError {}

fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_encoded_with_its_headers() {
        let url: Url = "http://[::1]:8080/a?b".parse().unwrap();
        let request = Request::get(&url).header("accept", "application/json").unwrap();
        let expected = concat!(
            "GET /a?b HTTP/1.1\r\nHost: [::1]:8080\r\nUser-Agent: twistor/",
            env!("CARGO_PKG_VERSION"),
            "\r\nAccept: application/json\r\nAccept-Encoding: identity\r\nConnection: keep-alive\r\n\r\n"
        );
        assert_eq!(String::from_utf8(request.encode()).unwrap(), expected);
    }

    #[test]
    fn a_header_cannot_smuggle_a_line() {
        let request = Request::get(&"http://a/".parse().unwrap());
        let refused = request.clone().header("X", "a\r\nY: b").unwrap_err();
        assert_eq!(refused, RequestError::HeaderValue("X".into()));
        for name in ["", "a b", "a:", "a\r\n", "é"] {
            assert_eq!(request.clone().header(name, "").unwrap_err(), RequestError::HeaderName(name.into()));
        }
    }
}
