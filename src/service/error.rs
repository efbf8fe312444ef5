//! Errors of services.

use crate::escape::Escaped;
use std::error::Error;
use std::fmt;

use crate::deferred::Failure;

/// Error of starting, adding or removing a service. Print it with
/// [`error_chain`](crate::error_chain).
#[derive(Debug)]
#[non_exhaustive]
pub enum ServiceError {
    /// A service did not start.
    Failed {
        /// Name of the service, or its position and type.
        service: String,
        /// Failure that the service returned.
        source: Failure,
    },
    /// The parent already has a service of this name. (Twisted: a `RuntimeError`.)
    NameTaken(String),
    /// The parent has no such service.
    NoSuchService,
    /// The service cannot be removed from one of its own callbacks.
    Busy(String),
    /// The parent is running. Adding a service then requires a reactor that starts it.
    Running,
    /// The parent is stopping, or was stopped while it started.
    Stopping,
    /// The service panicked, with this message.
    Panicked(String),
}

impl fmt::Display for ServiceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ServiceError::Failed { service, .. } => write!(f, "service {}", Escaped(service)),
            ServiceError::NameTaken(name) => {
                write!(f, "the service name \"{}\" is taken", Escaped(name))
            }
            ServiceError::NoSuchService => f.write_str("there is no such service"),
            ServiceError::Busy(service) => {
                write!(f, "service {} cannot be removed from one of its own callbacks", Escaped(service))
            }
            ServiceError::Running => f.write_str("the parent is running: use add_running to add a service"),
            ServiceError::Stopping => f.write_str("the services are being stopped"),
            ServiceError::Panicked(text) => write!(f, "it panicked: {}", Escaped(text)),
        }
    }
}

impl Error for ServiceError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            ServiceError::Failed { source, .. } => Some(source.as_error()),
            _ => None,
        }
    }
}
