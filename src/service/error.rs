//! What starting, adding and removing services can fail with.

use crate::escape::Escaped;
use std::error::Error;
use std::fmt;

use crate::deferred::Failure;

/// What can go wrong with a service in its tree. Print it with [`error_chain`](crate::error_chain).
#[derive(Debug)]
#[non_exhaustive]
pub enum ServiceError {
    /// A service of the tree did not start.
    Failed {
        /// Which one: its name, or its place and its type.
        service: String,
        /// What it said.
        source: Failure,
    },
    /// Another service of the same parent has this name. (Twisted: a `RuntimeError`.)
    NameTaken(String),
    /// The parent has no such service.
    NoSuchService,
    /// It cannot be removed from inside one of its own calls.
    Busy(String),
    /// The parent runs: a service that is added has to be started, which takes a reactor.
    Running,
    /// The parent stops, or was stopped while it started.
    Stopping,
    /// It panicked, with this text.
    Panicked(String),
}

impl fmt::Display for ServiceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ServiceError::Failed { service, .. } => write!(f, "service {}", Escaped(service)),
            ServiceError::NameTaken(name) => {
                write!(f, "two services are called \"{}\"", Escaped(name))
            }
            ServiceError::NoSuchService => f.write_str("there is no such service"),
            ServiceError::Busy(service) => {
                write!(f, "service {} cannot be removed from inside one of its own calls", Escaped(service))
            }
            ServiceError::Running => f.write_str("the parent runs: add the service with its reactor"),
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
