//! The text of endpoints: grammar, arguments, parse errors, and the way back to text.

mod argument;
mod arguments;
pub(crate) mod cli_argument;
mod describe;
pub(crate) mod duration;
mod grammar;
pub(crate) mod parse_error;

pub use self::argument::Argument;
pub use self::arguments::Arguments;
pub(crate) use self::describe::TextBuilder;
pub use self::grammar::quote_argument;
pub use self::parse_error::ParseError;
