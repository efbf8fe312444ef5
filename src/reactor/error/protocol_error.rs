//! The error with which a protocol ended its own connection.

use crate::escape::Escaped;
use std::error::Error;
use std::fmt;
use std::sync::Arc;

/// The error that a protocol passed to
/// [`lose_connection_with_error`](crate::Transport::lose_connection_with_error).
///
/// ```
/// use twistor::ProtocolError;
///
/// let error = ProtocolError::new(std::fmt::Error);
/// assert!(error.is::<std::fmt::Error>());
/// ```
#[derive(Clone, Debug)]
pub struct ProtocolError(Arc<dyn Error + Send + Sync>);

impl ProtocolError {
    /// Wraps an error.
    pub fn new(error: impl Error + Send + Sync + 'static) -> ProtocolError {
        ProtocolError(Arc::new(error))
    }

    /// The error, if it is of type `E`.
    pub fn error<E: Error + 'static>(&self) -> Option<&E> {
        self.0.downcast_ref()
    }

    /// Whether the error is of type `E`.
    pub fn is<E: Error + 'static>(&self) -> bool {
        self.0.is::<E>()
    }
}

/// Compares the texts.
impl PartialEq for ProtocolError {
    fn eq(&self, other: &ProtocolError) -> bool {
        self.0.to_string() == other.0.to_string()
    }
}

impl Eq for ProtocolError {}

impl fmt::Display for ProtocolError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Escaped(&self.0).fmt(f)
    }
}

impl Error for ProtocolError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        // The wrapped error's own text is the text of this one.
        self.0.source()
    }
}
