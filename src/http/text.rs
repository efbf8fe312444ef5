//! Bodies as text and as JSON.

use super::headers::Headers;
use super::response::Response;
use crate::escape::Escaped;
use std::borrow::Cow;
use std::fmt;

/// Failure of reading a body as text or JSON.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TextError {
    /// The `charset` is not one of those that are supported.
    Charset(String),
    /// The body is not text of its charset: a byte at this place is not part of a character.
    Malformed(&'static str, usize),
    /// The body is not JSON, or not of this form.
    Json(String),
}

impl Response {
    /// Returns the body as text. A byte order mark decides about the charset, and is removed. Next
    /// comes the `charset` of `Content-Type`: UTF-8, US-ASCII, ISO-8859-1 and windows-1252 (which
    /// are one for the web), UTF-16. Default: UTF-8.
    ///
    /// # Errors
    /// [`TextError::Charset`], [`TextError::Malformed`].
    pub fn text(&self) -> Result<Cow<'_, str>, TextError> {
        match self.body.as_slice() {
            [0xef, 0xbb, 0xbf, rest @ ..] => utf8(rest, 3),
            [0xff, 0xfe, rest @ ..] => utf16(rest, 2, u16::from_le_bytes),
            [0xfe, 0xff, rest @ ..] => utf16(rest, 2, u16::from_be_bytes),
            body => match charset(&self.headers) {
                None => utf8(body, 0),
                Some(charset) => match charset.to_ascii_lowercase().as_str() {
                    "utf-8" | "utf8" => utf8(body, 0),
                    "us-ascii" | "ascii" | "iso-8859-1" | "latin1" | "iso8859-1" | "windows-1252"
                    | "cp1252" => Ok(windows_1252(body)),
                    "utf-16le" | "utf-16" => utf16(body, 0, u16::from_le_bytes),
                    "utf-16be" => utf16(body, 0, u16::from_be_bytes),
                    _ => Err(TextError::Charset(charset.chars().take(40).collect())),
                },
            },
        }
    }

    /// Parses the body as JSON.
    ///
    /// # Errors
    /// Those of [`text`](Response::text), and [`TextError::Json`].
    #[cfg(feature = "json")]
    pub fn json<T: serde::de::DeserializeOwned>(&self) -> Result<T, TextError> {
        serde_json::from_str(&self.text()?).map_err(|error| TextError::Json(error.to_string()))
    }
}

/// Returns the `charset` parameter of `Content-Type`.
fn charset(headers: &Headers) -> Option<&str> {
    let parameters = headers.first("Content-Type")?.split(';').skip(1);
    let mut named = parameters.filter_map(|parameter| parameter.split_once('='));
    let (_, value) = named.find(|(name, _)| name.trim().eq_ignore_ascii_case("charset"))?;
    Some(value.trim().trim_matches('"')).filter(|value| !value.is_empty())
}

fn utf8(body: &[u8], skipped: usize) -> Result<Cow<'_, str>, TextError> {
    let text = std::str::from_utf8(body);
    text.map(Cow::Borrowed).map_err(|error| TextError::Malformed("UTF-8", skipped + error.valid_up_to()))
}

fn utf16(body: &[u8], skipped: usize, unit: fn([u8; 2]) -> u16) -> Result<Cow<'_, str>, TextError> {
    let units = body.chunks(2).map(|pair| match *pair {
        [first, second] => unit([first, second]),
        // Half a unit is a surrogate without its pair, which is refused.
        _ => 0xd800,
    });
    let mut text = String::with_capacity(body.len());
    let mut place = skipped;
    for character in char::decode_utf16(units) {
        let character = character.map_err(|_| TextError::Malformed("UTF-16", place))?;
        place += 2 * character.len_utf16();
        text.push(character);
    }
    Ok(Cow::Owned(text))
}

fn windows_1252(body: &[u8]) -> Cow<'_, str> {
    let character = |byte: &u8| match byte.checked_sub(0x80) {
        Some(high) if high < 0x20 => HIGH.chars().nth(high.into()).unwrap_or(char::from(*byte)),
        _ => char::from(*byte),
    };
    match std::str::from_utf8(body) {
        Ok(text) if text.is_ascii() => Cow::Borrowed(text),
        _ => Cow::Owned(body.iter().map(character).collect()),
    }
}

/// Characters of the bytes 0x80 to 0x9f of windows-1252, as the web reads them.
const HIGH: &str = "€\u{81}‚ƒ„…†‡ˆ‰Š‹Œ\u{8d}Ž\u{8f}\u{90}‘’“”•–—˜™š›œ\u{9d}žŸ";

impl fmt::Display for TextError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TextError::Charset(charset) => {
                write!(f, "the charset \"{}\" is not supported", Escaped(charset))
            }
            TextError::Malformed(charset, place) => write!(f, "the body is not {charset} at byte {place}"),
            TextError::Json(why) => write!(f, "the body is not the JSON expected: {}", Escaped(why)),
        }
    }
}

impl std::error::Error for TextError {}

#[cfg(test)]
mod tests {
    use super::super::{Limits, ResponseReader};
    use super::*;

    fn text(kind: &str, body: &[u8]) -> Result<String, TextError> {
        let head =
            format!("HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nContent-Length: {}\r\n\r\n", body.len());
        let bytes = [head.as_bytes(), body].concat();
        let response = ResponseReader::new(Limits::default()).feed(&mut bytes.as_slice()).unwrap().unwrap();
        response.text().map(Cow::into_owned)
    }

    #[test]
    fn a_charset_decides_how_a_body_is_read() {
        for (kind, body, expected) in [
            ("text/plain", "é".as_bytes(), "é"),
            ("text/plain; charset=UTF-8", "é".as_bytes(), "é"),
            ("text/plain; charset=iso-8859-1", b"\xe9 \x80", "é €"),
            ("text/plain; charset=\"windows-1252\"", b"\x9f", "Ÿ"),
            ("text/plain; a=b; Charset = us-ascii", b"abc", "abc"),
            ("text/plain; charset=utf-16be", b"\0a\xd8\x3d\xde\x00", "a😀"),
            ("text/plain; charset=latin1", b"\xef\xbb\xbf\xc3\xa9", "é"),
            ("text/plain", b"\xff\xfea\0", "a"),
            ("text/plain; charset=utf-8", b"\xfe\xff\0a", "a"),
        ] {
            assert_eq!(text(kind, body).as_deref(), Ok(expected), "{kind}");
        }
        assert_eq!(text("text/plain", b"a\xff"), Err(TextError::Malformed("UTF-8", 1)));
        assert_eq!(text("text/plain", b"\xef\xbb\xbfa\xff"), Err(TextError::Malformed("UTF-8", 4)));
        assert_eq!(text("x; charset=utf-16", b"a\0b"), Err(TextError::Malformed("UTF-16", 2)));
        assert_eq!(text("x; charset=koi8-r", b"a"), Err(TextError::Charset("koi8-r".into())));
    }
}
