//! Percent-encoding in targets (RFC 3986, 2.1), and patterns of paths.

use std::borrow::Cow;

/// Decodes percent-encoding. `None`: an escape is malformed, or the text is not UTF-8.
pub(super) fn decode(text: &str, plus_is_space: bool) -> Option<Cow<'_, str>> {
    if !text.bytes().any(|byte| byte == b'%' || plus_is_space && byte == b'+') {
        return Some(Cow::Borrowed(text));
    }
    let mut decoded = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        decoded.push(match byte {
            b'%' => {
                let (high, low) = (hex(bytes.next()?)?, hex(bytes.next()?)?);
                high * 16 + low
            }
            b'+' if plus_is_space => b' ',
            byte => byte,
        });
    }
    String::from_utf8(decoded).ok().map(Cow::Owned)
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).map(|value| value as u8)
}

/// Encodes a segment of a path, or a value of a query.
pub(super) fn encode(segment: &[u8]) -> String {
    let mut encoded = String::with_capacity(segment.len());
    for byte in segment {
        match byte {
            byte if byte.is_ascii_alphanumeric() || b"-._~".contains(byte) => encoded.push(char::from(*byte)),
            byte => {
                encoded.push('%');
                for digit in [byte >> 4, byte & 15] {
                    encoded.push(char::from_digit(digit.into(), 16).unwrap_or('0').to_ascii_uppercase());
                }
            }
        }
    }
    encoded
}

/// A pattern of paths: segments that are literal, `{name}`, or at the end `{*name}`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Pattern {
    segments: Vec<Segment>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Segment {
    Literal(String),
    Parameter(String),
    Rest(String),
}

/// Values of the parameters of a pattern.
pub(super) type Parameters<'a> = Vec<(&'a str, Cow<'a, str>)>;

impl Pattern {
    /// Parses a pattern. A path without braces only matches itself.
    pub(super) fn parse(text: &str) -> Pattern {
        let segments = text.strip_prefix('/').unwrap_or(text).split('/').map(|segment| {
            match segment.strip_prefix('{').and_then(|segment| segment.strip_suffix('}')) {
                Some(name) => match name.strip_prefix('*') {
                    Some(name) => Segment::Rest(name.to_owned()),
                    None => Segment::Parameter(name.to_owned()),
                },
                None => Segment::Literal(segment.to_owned()),
            }
        });
        Pattern { segments: segments.collect() }
    }

    pub(super) fn is_literal(&self) -> bool {
        self.segments.iter().all(|segment| matches!(segment, Segment::Literal(_)))
    }

    /// Compares a path, and returns the decoded values of the parameters. A value that cannot be
    /// decoded does not match.
    pub(super) fn matches<'a>(&'a self, path: &'a str) -> Option<Parameters<'a>> {
        let mut rest = Some(path.strip_prefix('/')?);
        let mut found = Vec::new();
        for segment in &self.segments {
            let path = rest?;
            let (first, after) = match path.split_once('/') {
                Some((first, after)) => (first, Some(after)),
                None => (path, None),
            };
            match segment {
                Segment::Literal(text) if text == first => {}
                Segment::Literal(_) => return None,
                // An empty segment is no value.
                Segment::Parameter(_) if first.is_empty() => return None,
                Segment::Parameter(name) => found.push((name.as_str(), decode(first, false)?)),
                Segment::Rest(name) => {
                    found.push((name.as_str(), decode(path, false)?));
                    return Some(found);
                }
            }
            rest = after;
        }
        rest.is_none().then_some(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_by_segment() {
        let values = |pattern: &str, path: &str| {
            let pattern = Pattern::parse(pattern);
            pattern
                .matches(path)
                .map(|found| found.iter().map(|(_, value)| value.to_string()).collect::<Vec<_>>())
        };
        let some = |values: &[&str]| Some(values.iter().map(|value| value.to_string()).collect::<Vec<_>>());
        assert_eq!(values("/", "/"), some(&[]));
        assert_eq!(values("/a/{b}", "/a/x"), some(&["x"]));
        assert_eq!(values("/a/{b}", "/a/x%2Fy"), some(&["x/y"]));
        assert_eq!(values("/a/{b}", "/a/"), None);
        assert_eq!(values("/a/{b}", "/a/x/"), None);
        assert_eq!(values("/a/{b}", "/a/%zz"), None);
        assert_eq!(values("/a/{b}", "/a/%ff"), None);
        assert_eq!(values("/a/{*rest}", "/a/x/y"), some(&["x/y"]));
        assert_eq!(values("/a/{*rest}", "/a/"), some(&[""]));
        assert_eq!(values("/a/{*rest}", "/a"), None);
        assert_eq!(values("/{a}/{b}", "/x/y"), some(&["x", "y"]));
        assert_eq!(values("/a", "/ab"), None);
    }

    #[test]
    fn encoding_is_the_inverse_of_decoding() {
        let text = "a b/ü%&+";
        assert_eq!(encode(text.as_bytes()), "a%20b%2F%C3%BC%25%26%2B");
        assert_eq!(decode(&encode(text.as_bytes()), true).unwrap(), text);
        assert_eq!(decode("%", false), None);
        assert_eq!(decode("%4", false), None);
        assert_eq!(decode("a+b", true).unwrap(), "a b");
    }
}
