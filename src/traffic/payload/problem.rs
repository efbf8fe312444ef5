//! The reasons why a payload is refused, or one of its values.

#[cfg(doc)]
use super::PayloadLimits;
use crate::escape::Escaped;
use std::fmt;

/// The reason why a whole payload is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub(in crate::traffic) enum PayloadError {
    /// Not valid JSON. Holds the syntax error and its position.
    Json(String),
    /// Nested deeper than this limit ([`PayloadLimits::depth`]).
    Depth(usize),
}

/// A problem with one value. The other values are read.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Problem {
    /// The value exceeds [`PayloadLimits::value`].
    ValueTooLong {
        /// Length of the value in bytes.
        bytes: usize,
        /// The limit.
        limit: usize,
    },
    /// The values before it have used up the limit in bytes, [`PayloadLimits::total`].
    TotalTooLong(usize),
    /// The name exceeds [`PayloadLimits::name`]. Only its first characters are reported.
    NameTooLong {
        /// Length of the name in bytes.
        bytes: usize,
        /// The limit.
        limit: usize,
    },
    /// A number far outside the range of 64-bit numbers, such as `1e400`. Holds its text,
    /// shortened.
    OutOfRange(String),
    /// Not a valid JSON value, such as half a surrogate pair. Holds the error.
    Unreadable(String),
    /// A name on the path occurs more than once in an object. The last one is used.
    Repeated,
    /// The value at the timestamp pointer is not a time. Holds its text, shortened.
    NoTime(String),
}

impl Problem {
    /// Returns one word for machines. It is stable across releases.
    pub fn code(&self) -> &'static str {
        match self {
            Problem::ValueTooLong { .. } => "value_too_long",
            Problem::TotalTooLong(_) => "total_too_long",
            Problem::NameTooLong { .. } => "name_too_long",
            Problem::OutOfRange(_) => "out_of_range",
            Problem::Unreadable(_) => "unreadable",
            Problem::Repeated => "repeated",
            Problem::NoTime(_) => "no_time",
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Problem::ValueTooLong { bytes, limit } => {
                write!(f, "has {bytes} bytes, and the limit of a value is {limit}")
            }
            Problem::TotalTooLong(limit) => write!(f, "is beyond the limit of all values, {limit} bytes"),
            Problem::NameTooLong { bytes, limit } => {
                write!(f, "has a name of {bytes} bytes, and the limit of a name is {limit}")
            }
            Problem::OutOfRange(text) => write!(f, "{} is out of the range of a number", Escaped(text)),
            Problem::Unreadable(why) => write!(f, "cannot be read: {}", Escaped(why)),
            Problem::Repeated => f.write_str("occurs more than once, the last one counts"),
            Problem::NoTime(text) => write!(f, "{} is not a time", Escaped(text)),
        }
    }
}

impl fmt::Display for PayloadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PayloadError::Json(error) => Escaped(error).fmt(f),
            PayloadError::Depth(limit) => {
                write!(f, "nested deeper than {limit} levels, the limit of the depth")
            }
        }
    }
}
