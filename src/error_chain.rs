//! Formatting of an error with all its sources.

use std::error::Error;
use std::fmt;

use crate::escape::Escaped;

/// Formats an error and its [sources](Error::source), outermost first, separated by colons.
/// Unprintable characters are [escaped](crate::escape).
///
/// The errors of this crate never repeat their source in their own text. An error that only wraps
/// another one, or whose text already contains it, returns the source of the wrapped error. The
/// chain therefore says everything exactly once.
///
/// ```
/// use twistor::error_chain;
///
/// let outer = std::io::Error::other(twistor::Error::NotConnected);
/// assert_eq!(error_chain(&outer).to_string(), "the connection is gone");
/// ```
pub fn error_chain<'a>(error: &'a (dyn Error + 'static)) -> impl fmt::Display + use<'a> {
    Chain(error)
}

struct Chain<'a>(&'a (dyn Error + 'static));

impl fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", Escaped(self.0))?;
        let mut next = self.0.source();
        while let Some(error) = next {
            write!(f, ": {}", Escaped(error))?;
            next = error.source();
        }
        Ok(())
    }
}
