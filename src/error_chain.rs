//! An error with everything that led to it, for people.

use std::error::Error;
use std::fmt;

use crate::escape::Escaped;

/// Prints an error and its [sources](Error::source), the outermost first, with a colon between two and unprintable
/// characters [escaped](crate::escape).
///
/// The errors of this crate never repeat their source in their own text: one that has no part of its own, or whose
/// text is complete by itself, has the source of what it wraps. So the whole chain is what there is to know, once.
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
