//! What streams fail with.

use std::fmt;
use std::io;

use crate::endpoint::ParseError;
use crate::{Error, Reason};

/// Why nothing was read, or no more can be written. What came before stays in the reader, and can be read.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum StreamError {
    /// The connection ended otherwise than by both sides closing it; or it has ended, and more was to be written.
    Lost(Reason),
    /// The peer ended before all of what was asked for had come; so many bytes of it are there, and stay. (asyncio:
    /// `IncompleteReadError`.)
    UnexpectedEof {
        /// How many.
        read: usize,
    },
    /// What was asked for is longer than this many bytes. All of it stays. (asyncio: `LimitOverrunError`.)
    TooLong {
        /// The limit.
        limit: usize,
    },
    /// Something was written after `write_eof`, `close` or `abort`, and went nowhere. Said once.
    WriteEnded,
    /// Nobody listens where a datagram went. Said once.
    Refused,
}

impl fmt::Display for StreamError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StreamError::Lost(reason) => reason.fmt(f),
            StreamError::UnexpectedEof { read: 0 } => f.write_str("the stream ended before anything came"),
            StreamError::UnexpectedEof { read: there } => {
                write!(f, "the stream ended after {there} bytes of what was to come")
            }
            StreamError::TooLong { limit } => write!(f, "what is to be read is longer than {limit} bytes"),
            StreamError::WriteEnded => f.write_str("written after the end: it went nowhere"),
            StreamError::Refused => f.write_str("nobody listens where the datagram went"),
        }
    }
}

impl std::error::Error for StreamError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            StreamError::Lost(reason) => reason.source(),
            _ => None,
        }
    }
}

/// With the same text, and this one inside.
impl From<StreamError> for io::Error {
    fn from(error: StreamError) -> io::Error {
        let kind = match &error {
            StreamError::Lost(reason) => kind_of(reason),
            StreamError::UnexpectedEof { .. } => io::ErrorKind::UnexpectedEof,
            StreamError::TooLong { .. } => io::ErrorKind::InvalidData,
            StreamError::WriteEnded => io::ErrorKind::BrokenPipe,
            StreamError::Refused => io::ErrorKind::ConnectionRefused,
        };
        io::Error::new(kind, error)
    }
}

/// Why there is no stream.
#[derive(Debug)]
#[non_exhaustive]
pub enum ConnectError {
    /// The text is no endpoint.
    BadEndpoint(ParseError),
    /// No connection was made.
    Failed(Reason),
    /// The reactor refused: the port is taken, or this is not inside a task, or it has finished.
    Reactor(Error),
}

impl fmt::Display for ConnectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ConnectError::BadEndpoint(error) => error.fmt(f),
            ConnectError::Failed(reason) => reason.fmt(f),
            ConnectError::Reactor(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for ConnectError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            ConnectError::BadEndpoint(error) => error.source(),
            ConnectError::Failed(reason) => reason.source(),
            ConnectError::Reactor(error) => error.source(),
        }
    }
}

impl From<ParseError> for ConnectError {
    fn from(error: ParseError) -> ConnectError {
        ConnectError::BadEndpoint(error)
    }
}

impl From<Error> for ConnectError {
    fn from(error: Error) -> ConnectError {
        ConnectError::Reactor(error)
    }
}

/// With the same text, and this one inside.
impl From<ConnectError> for io::Error {
    fn from(error: ConnectError) -> io::Error {
        let kind = match &error {
            ConnectError::BadEndpoint(_) => io::ErrorKind::InvalidInput,
            ConnectError::Failed(reason) => kind_of(reason),
            ConnectError::Reactor(Error::CannotListen { source, .. } | Error::System { source, .. }) => {
                source.kind()
            }
            ConnectError::Reactor(_) => io::ErrorKind::Other,
        };
        io::Error::new(kind, error)
    }
}

fn kind_of(reason: &Reason) -> io::ErrorKind {
    match reason {
        Reason::Done => io::ErrorKind::BrokenPipe,
        Reason::TimedOut(_) | Reason::CloseTimedOut(_) | Reason::LookupTimedOut { .. } => {
            io::ErrorKind::TimedOut
        }
        Reason::Cancelled => io::ErrorKind::Interrupted,
        Reason::Unresolved { .. } => io::ErrorKind::NotFound,
        Reason::LookupFailed { .. } => io::ErrorKind::Other,
        Reason::SelfConnected => io::ErrorKind::ConnectionRefused,
        other => other.system_error().map_or(io::ErrorKind::ConnectionAborted, |error| error.kind),
    }
}
