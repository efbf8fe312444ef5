//! Errors of string decoding.

use crate::escape::EscapedBytes;
use std::fmt;

/// Error: a string is longer than the limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StringTooLong {
    /// The length from the prefix, in bytes. For netstrings, the value of the digits read so far.
    pub length: usize,
    /// The limit, in bytes.
    pub limit: usize,
}

/// Error: invalid data in place of a string. (Twisted: `NetstringParseError`.)
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum StringError {
    /// The string is too long. Possible in every encoding.
    TooLong(StringTooLong),
    /// A netstring starts with this byte instead of a digit.
    NoLength {
        /// The byte.
        found: u8,
    },
    /// The length of a netstring has a leading zero.
    LeadingZero,
    /// The length of a netstring is followed by this byte instead of a colon.
    NoColon {
        /// The byte.
        found: u8,
    },
    /// A netstring is followed by this byte instead of a comma.
    NoComma {
        /// The byte.
        found: u8,
    },
}

impl fmt::Display for StringTooLong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a string of {} bytes is too long: the limit is {}", self.length, self.limit)
    }
}

impl fmt::Display for StringError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = |byte: &u8| EscapedBytes(std::slice::from_ref(byte)).to_string();
        match self {
            StringError::TooLong(error) => error.fmt(f),
            StringError::NoLength { found } => {
                write!(f, "a netstring begins with '{}' instead of a digit", shown(found))
            }
            StringError::LeadingZero => f.write_str("the length of a netstring has a leading zero"),
            StringError::NoColon { found } => {
                write!(f, "'{}' instead of a colon after the length of a netstring", shown(found))
            }
            StringError::NoComma { found } => {
                write!(f, "'{}' instead of a comma after a netstring", shown(found))
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
