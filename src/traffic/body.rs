//! The text of an HTTP body, and the description of a body that is not text.

use super::observer::FeedError;
use crate::http::{Headers, Response};

/// Returns the body as text, without a byte order mark.
///
/// # Errors
/// - [`FeedError::Coding`]: the body is compressed.
/// - [`FeedError::Json`]: the body is not UTF-8.
pub(super) fn text(response: &Response) -> Result<&str, FeedError> {
    let coded: Vec<String> = response
        .headers
        .all("Content-Encoding")
        .flat_map(|value| value.split(|byte| *byte == b','))
        .map(|coding| String::from_utf8_lossy(coding.trim_ascii()).into_owned())
        .filter(|coding| !coding.is_empty() && !coding.eq_ignore_ascii_case("identity"))
        .collect();
    if !coded.is_empty() && !response.decompressed {
        return Err(FeedError::Coding(coded.join(", ")));
    }
    let body = response.body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&response.body);
    let no_json = |why: String| FeedError::Json(format!("{why} ({})", describe(response)));
    match body {
        [] => Err(no_json("the body is empty".to_owned())),
        // A byte order mark, or an ASCII character next to a null byte.
        [0xff, 0xfe, ..] | [0xfe, 0xff, ..] | [0, 1..=255, ..] | [1..=255, 0, ..] => {
            Err(no_json("the body is UTF-16, and JSON is UTF-8".to_owned()))
        }
        [0x1f, 0x8b, ..] => Err(FeedError::Coding("gzip, which no header names".to_owned())),
        body => std::str::from_utf8(body).map_err(|error| {
            let offset = response.body.len() - body.len() + error.valid_up_to();
            let byte = response.body.get(offset).copied().unwrap_or_default();
            no_json(format!("no UTF-8 at byte {offset}, which is 0x{byte:02x}"))
        }),
    }
}

/// Describes a body by its Content-Type and its first characters.
pub(super) fn describe(response: &Response) -> String {
    let kind = content_type(&response.headers);
    let begin = response.body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&response.body).trim_ascii_start();
    // Each character has at most four bytes.
    let text = String::from_utf8_lossy(begin.get(..4 * EXCERPT).unwrap_or(begin)).into_owned();
    let excerpt: String = text.chars().take(EXCERPT).collect();
    match excerpt.is_empty() {
        true => kind,
        false => format!("{kind}, begins with {excerpt:?}"),
    }
}

/// Returns the Content-Type with its parameters, such as the charset.
fn content_type(headers: &Headers) -> String {
    match headers.all("Content-Type").next() {
        None => "no Content-Type".to_owned(),
        Some(value) => String::from_utf8_lossy(value).chars().take(MAX_TYPE).collect(),
    }
}

/// Maximum number of characters of a body in a description.
const EXCERPT: usize = 20;
const MAX_TYPE: usize = 80;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::{Limits, ResponseReader};

    fn response(headers: &str, body: &[u8]) -> Response {
        let mut bytes =
            format!("HTTP/1.1 200 OK\r\n{headers}Content-Length: {}\r\n\r\n", body.len()).into_bytes();
        bytes.extend_from_slice(body);
        ResponseReader::new(Limits::default()).feed(&mut bytes.as_slice()).unwrap().unwrap()
    }

    fn error(headers: &str, body: &[u8]) -> String {
        text(&response(headers, body)).unwrap_err().to_string()
    }

    #[test]
    fn a_byte_order_mark_is_no_part_of_the_text() {
        assert_eq!(text(&response("", b"\xef\xbb\xbf{}")).unwrap(), "{}");
        assert_eq!(text(&response("Content-Encoding: identity\r\n", b"1")).unwrap(), "1");
    }

    #[test]
    fn what_is_no_text_is_named() {
        let utf16 = "{}".encode_utf16().flat_map(u16::to_le_bytes).collect::<Vec<_>>();
        let words = "not JSON: the body is UTF-16, and JSON is UTF-8 (no Content-Type";
        assert!(error("", &utf16).starts_with(words), "{}", error("", &utf16));
        assert!(error("", b"\xfe\xff\0{").starts_with(words));
        let latin = "Content-Type: application/json; charset=iso-8859-1\r\n";
        assert_eq!(
            error(latin, b"\xef\xbb\xbf{\"a\": \"\xe9\"}"),
            "not JSON: no UTF-8 at byte 10, which is 0xe9 (application/json; charset=iso-8859-1, begins with \
             \"{\\\"a\\\": \\\"\u{fffd}\\\"}\")"
        );
        assert_eq!(error("Content-Type: text/html\r\n", b""), "not JSON: the body is empty (text/html)");
        for (headers, named) in [
            ("Content-Encoding: gzip\r\n", "gzip"),
            ("Content-Encoding: identity, br\r\n", "br"),
            ("", "gzip, which no header names"),
        ] {
            let coded = error(headers, b"\x1f\x8b\x08\0");
            assert_eq!(coded, format!("the body is compressed ({named}), which was not asked for"));
        }
    }

    #[test]
    fn a_page_is_told_with_its_type_and_its_begin() {
        let page = response("Content-Type: text/html; charset=utf-8\r\n", b"\n <!DOCTYPE html>\n<html>");
        let excerpt = describe(&page);
        assert_eq!(excerpt, "text/html; charset=utf-8, begins with \"<!DOCTYPE html>\\n<htm\"");
    }
}
