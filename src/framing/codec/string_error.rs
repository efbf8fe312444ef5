//! What can be wrong with a string.

use crate::escape::EscapedBytes;
use std::fmt;

/// A string is longer than it may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StringTooLong {
    /// Its length in bytes, as its prefix says; of a netstring as far as its digits were read.
    pub length: usize,
    /// How many it may have.
    pub limit: usize,
}

/// What came is no string. (Twisted: `NetstringParseError`.)
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum StringError {
    /// It is too long; of any framing.
    TooLong(StringTooLong),
    /// A netstring begins with this byte, and not with a digit.
    NoLength {
        /// The byte.
        found: u8,
    },
    /// The length of a netstring has a zero in front.
    LeadingZero,
    /// This byte stands after the digits of a netstring in place of a colon.
    NoColon {
        /// The byte.
        found: u8,
    },
    /// This byte stands after a netstring in place of a comma.
    NoComma {
        /// The byte.
        found: u8,
    },
}

impl fmt::Display for StringTooLong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a string of {} bytes is too long: {} is the most", self.length, self.limit)
    }
}

impl fmt::Display for StringError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = |byte: &u8| EscapedBytes(std::slice::from_ref(byte)).to_string();
        match self {
            StringError::TooLong(error) => error.fmt(f),
            StringError::NoLength { found } => {
                write!(f, "a netstring begins with '{}', and not with a digit", shown(found))
            }
            StringError::LeadingZero => f.write_str("the length of a netstring begins with a zero"),
            StringError::NoColon { found } => {
                write!(f, "'{}' stands after the length of a netstring in place of a colon", shown(found))
            }
            StringError::NoComma { found } => {
                write!(f, "'{}' stands after a netstring in place of a comma", shown(found))
            }
        }
    }
}

impl std::error::Error for StringTooLong {}

impl std::error::Error for StringError {}

impl From<StringTooLong> for StringError {
    fn from(error: StringTooLong) -> StringError {
        StringError::TooLong(error)
    }
}
