//! Why a protocol ended its own connection, as a value that everybody else can look into.

use crate::escape::Escaped;
use std::error::Error;
use std::fmt;
use std::sync::Arc;

/// The error that a protocol gave when it ended its connection with
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
    /// This error.
    pub fn new(error: impl Error + Send + Sync + 'static) -> ProtocolError {
        ProtocolError(Arc::new(error))
    }

    /// The error itself, if it is of this type.
    pub fn error<E: Error + 'static>(&self) -> Option<&E> {
        self.0.downcast_ref()
    }

    /// Whether it is of this type.
    pub fn is<E: Error + 'static>(&self) -> bool {
        self.0.is::<E>()
    }
}

/// Saying the same.
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
        // Its text is ours.
        self.0.source()
    }
}
