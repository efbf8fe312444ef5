//! The grammar of endpoints: splitting text into arguments, and escaping.
//!
//! A `:` ends an argument. The first `=` in an argument separates key and value. A backslash makes
//! the next character literal. Two forms are accepted that need escapes in Twisted:
//!
//! - An IPv6 address in brackets is one piece, including its colons (`tcp:[::1]:80`).
//! - After the first key, arguments without a key belong to the previous value (`interface=::1`,
//!   `endpoint=tcp:proxy:80`). Positional arguments therefore come first.

use std::net::Ipv6Addr;

use crate::endpoint::ParseError;

/// Escapes text so that it is a single argument, or a single value of a key. (Twisted:
/// `quoteStringArgument`, which does not escape `=`.)
///
/// ```
/// use twistor::endpoint::quote_argument;
///
/// assert_eq!(quote_argument(r"/run/a:b=c\d"), r"/run/a\:b\=c\\d");
/// ```
pub fn quote_argument(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len());
    for (at, character) in text.char_indices() {
        // A bracket is special only as the first character.
        if matches!(character, ':' | '=' | '\\') || (character == '[' && at == 0) {
            quoted.push('\\');
        }
        quoted.push(character);
    }
    quoted
}

/// A piece of the text, without its escapes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::endpoint) struct Piece {
    pub(in crate::endpoint) text: String,
    /// Start of the piece, as a byte offset.
    pub(in crate::endpoint) position: usize,
}

/// An argument.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::endpoint) enum Part {
    Plain(Piece),
    Keyed { key: Piece, value: Piece },
}

/// Splits a text into arguments. Returns at least one, and the first has no key.
pub(in crate::endpoint) fn split(text: &str) -> Result<Vec<Part>, ParseError> {
    let mut parts: Vec<Part> = Vec::new();
    let mut reader = Reader { text, offset: 0 };
    loop {
        let (piece, delimiter) = reader.piece(true)?;
        let more = match delimiter {
            Delimiter::Equals => {
                let (value, delimiter) = reader.piece(false)?;
                parts.push(Part::Keyed { key: piece, value });
                delimiter == Delimiter::Colon
            }
            delimiter => {
                match parts.last_mut() {
                    Some(Part::Keyed { value, .. }) => {
                        value.text.push(':');
                        value.text.push_str(&piece.text);
                    }
                    _ => parts.push(Part::Plain(piece)),
                }
                delimiter == Delimiter::Colon
            }
        };
        if !more {
            return Ok(parts);
        }
    }
}

struct Reader<'a> {
    text: &'a str,
    /// Number of bytes read.
    offset: usize,
}

/// The delimiter after a piece, which has been read as well.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Delimiter {
    Colon,
    Equals,
    Text,
}

impl Reader<'_> {
    /// Reads a piece up to its delimiter. In a value, `=` is an ordinary character.
    fn piece(&mut self, may_be_key: bool) -> Result<(Piece, Delimiter), ParseError> {
        let position = self.offset;
        let mut text = self.bracketed().to_owned();
        while let Some(character) = self.next() {
            let delimiter = match character {
                ':' => Delimiter::Colon,
                '=' if may_be_key => Delimiter::Equals,
                '\\' => {
                    let Some(escaped) = self.next() else {
                        return Err(ParseError {
                            text: self.text.to_owned(),
                            position: self.offset - 1,
                            key: None,
                            why: r"a backslash escapes nothing; write \\ for one".to_owned(),
                        });
                    };
                    text.push(escaped);
                    continue;
                }
                other => {
                    text.push(other);
                    continue;
                }
            };
            return Ok((Piece { text, position }, delimiter));
        }
        Ok((Piece { text, position }, Delimiter::Text))
    }

    fn rest(&self) -> &str {
        self.text.get(self.offset..).unwrap_or("")
    }

    fn next(&mut self) -> Option<char> {
        let character = self.rest().chars().next()?;
        self.offset += character.len_utf8();
        Some(character)
    }

    /// Reads an IPv6 address in brackets, if the text continues with one.
    fn bracketed(&mut self) -> &str {
        let from = self.offset;
        if let Some((inside, _)) = self.rest().strip_prefix('[').and_then(|rest| rest.split_once(']')) {
            let address = inside.split_once('%').map_or(inside, |(address, _)| address);
            if address.parse::<Ipv6Addr>().is_ok() {
                self.offset += inside.len() + 2;
            }
        }
        self.text.get(from..self.offset).unwrap_or("")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(text: &str) -> Vec<String> {
        let parts = split(text).unwrap().into_iter().map(|part| match part {
            Part::Plain(piece) => format!("{}@{}", piece.text, piece.position),
            Part::Keyed { key, value } => {
                format!("{}@{}={}@{}", key.text, key.position, value.text, value.position)
            }
        });
        parts.collect()
    }

    #[test]
    fn a_text_falls_into_its_pieces() {
        for (text, pieces) in [
            ("tcp:80", &["tcp@0", "80@4"][..]),
            ("tcp", &["tcp@0"]),
            ("", &["@0"]),
            ("tcp:", &["tcp@0", "@4"]),
            ("a::b", &["a@0", "@2", "b@3"]),
            ("tcp:80:backlog=5", &["tcp@0", "80@4", "backlog@7=5@15"]),
            ("unix:/a=b", &["unix@0", "/a@5=b@8"]),
            (r"unix:/a\=b", &["unix@0", "/a=b@5"]),
            (r"unix:a\:b\\c\d", &["unix@0", r"a:b\cd@5"]),
            ("x:k=a=b", &["x@0", "k@2=a=b@4"]),
            ("x:k=", &["x@0", "k@2=@4"]),
            ("x:=v", &["x@0", "@2=v@3"]),
            (r"x:k\:l=v", &["x@0", "k:l@2=v@7"]),
            ("é:ü=ö:ä", &["é@0", "ü@3=ö:ä@6"]),
        ] {
            assert_eq!(written(text), pieces, "{text}");
        }
    }

    #[test]
    fn colons_in_addresses_need_no_escapes() {
        for (text, pieces) in [
            ("tcp:[::1]:80", &["tcp@0", "[::1]@4", "80@10"][..]),
            ("tcp:80:interface=::1:backlog=5", &["tcp@0", "80@4", "interface@7=::1@17", "backlog@21=5@29"]),
            (r"tcp:80:interface=\:\:1", &["tcp@0", "80@4", "interface@7=::1@17"]),
            (
                "tcp:80:interface=[fe80::1%2]:b=1",
                &["tcp@0", "80@4", "interface@7=[fe80::1%2]@17", "b@29=1@31"],
            ),
            ("tcp:h:1:bind=127.0.0.1:5", &["tcp@0", "h@4", "1@6", "bind@8=127.0.0.1:5@13"]),
            // Not an address, so the brackets are ordinary characters.
            ("x:[a:b]", &["x@0", "[a@2", "b]@5"]),
            ("x:[::1", &["x@0", "[@2", "@4", "1@5"]),
            (r"x:\[::1]", &["x@0", "[@2", "@5", "1]@6"]),
        ] {
            assert_eq!(written(text), pieces, "{text}");
        }
    }

    #[test]
    fn a_lonely_backslash_is_an_error_at_its_place() {
        let error = split(r"unix:/run\").unwrap_err();
        assert_eq!((error.position, error.key), (9, None));
        assert!(error.why.contains("backslash"));
    }

    #[test]
    fn what_was_quoted_is_read_back() {
        // All strings of up to four characters from the special characters and two others.
        let letters = [':', '=', '\\', '[', ']', '1', 'é'];
        let mut texts = vec![String::new()];
        let mut from = 0;
        for _ in 0..4 {
            let until = texts.len();
            for at in from..until {
                for letter in letters {
                    let longer = format!("{}{letter}", texts[at]);
                    texts.push(longer);
                }
            }
            from = until;
        }
        texts.extend(["[::1]", "::1", "/run/a:b", "\0\n", "[::1]:80", "a=[::1]"].map(str::to_owned));
        for text in texts {
            let quoted = quote_argument(&text);
            let parts = split(&format!("x:{quoted}:{quoted}:k={quoted}:{quoted}=v")).unwrap();
            let plain = |position| Part::Plain(Piece { text: text.clone(), position });
            let [_, first, second, Part::Keyed { value, .. }, Part::Keyed { key, value: last }] = &parts[..]
            else {
                panic!("{text:?}: {parts:?}")
            };
            assert_eq!((first, second), (&plain(2), &plain(3 + quoted.len())));
            assert_eq!((&value.text, &key.text, last.text.as_str()), (&text, &text, "v"));
        }
    }
}
