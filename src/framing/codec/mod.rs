//! The codecs of the framings, for use without a reactor.

mod counts;
mod lines;
mod netstrings;
mod prefixes;
mod string_error;

pub use self::counts::CountDecoder;
pub use self::lines::{LineDecoder, LineTooLong, encode_line};
pub(super) use self::lines::{LineFormat, UnfinishedLine};
pub use self::netstrings::{NetstringDecoder, encode_netstring};
pub use self::prefixes::{LengthPrefix, PrefixDecoder, encode_string};
pub use self::string_error::{StringError, StringTooLong};

/// Default maximum length of a string, in bytes: Twisted's.
pub(super) const MAX_STRING: usize = 99_999;
