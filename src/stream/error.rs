//! Errors of streams.

use std::fmt;
use std::io;

use crate::endpoint::ParseError;
use crate::{Error, Reason};

/// Error of a read or write on a stream. Received data stays in the reader and can still be read.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum StreamError {
    /// The connection ended without a clean close by both sides, or data was written after it
    /// ended.
    Lost(Reason),
    /// The peer sent EOF before all requested data had arrived. The `read` bytes stay in the
    /// reader. (asyncio: `IncompleteReadError`.)
    UnexpectedEof {
        /// Number of bytes received.
        read: usize,
    },
    /// The requested data is longer than the limit. All of it stays in the reader. (asyncio:
    /// `LimitOverrunError`.)
    TooLong {
        /// The limit, in bytes.
        limit: usize,
    },
    /// Data was written after `write_eof`, `close` or `abort`, and was discarded. Reported once.
    WriteEnded,
    /// No socket is bound to the destination of a datagram. Reported once.
    Refused,
    /// A layer cannot be added: the stream is no connection, or the two halves belong to different
    /// streams.
    NotAConnection,
}

impl fmt::Display for StreamError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StreamError::Lost(reason) => reason.fmt(f),
            StreamError::UnexpectedEof { read: 0 } => f.write_str("the stream ended before any data"),
            StreamError::UnexpectedEof { read } => {
                write!(f, "the stream ended after {read} bytes of the requested data")
            }
            StreamError::TooLong { limit } => write!(f, "the data to read is longer than {limit} bytes"),
            StreamError::WriteEnded => f.write_str("write after EOF"),
            StreamError::Refused => f.write_str("datagram refused: no listener at the destination"),
            StreamError::NotAConnection => f.write_str("a layer needs the two halves of one connection"),
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

/// Error of [`StreamReader::read_message`](crate::stream::StreamReader::read_message).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReadError<E> {
    /// The stream has failed or ended, or the message is too long.
    Stream(StreamError),
    /// The decoder has refused the data.
    Invalid(E),
}

impl<E> fmt::Display for ReadError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ReadError::Stream(_) => f.write_str("no message was read"),
            ReadError::Invalid(_) => f.write_str("the received data is no message"),
        }
    }
}

impl<E: std::error::Error + 'static> std::error::Error for ReadError<E> {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            ReadError::Stream(error) => Some(error),
            ReadError::Invalid(error) => Some(error),
        }
    }
}

impl<E> From<StreamError> for ReadError<E> {
    fn from(error: StreamError) -> ReadError<E> {
        ReadError::Stream(error)
    }
}

/// Wraps the error. The text is the same.
impl From<StreamError> for io::Error {
    fn from(error: StreamError) -> io::Error {
        let kind = match &error {
            StreamError::Lost(reason) => kind_of(reason),
            StreamError::UnexpectedEof { .. } => io::ErrorKind::UnexpectedEof,
            StreamError::TooLong { .. } => io::ErrorKind::InvalidData,
            StreamError::WriteEnded => io::ErrorKind::BrokenPipe,
            StreamError::Refused => io::ErrorKind::ConnectionRefused,
            StreamError::NotAConnection => io::ErrorKind::InvalidInput,
        };
        io::Error::new(kind, error)
    }
}

/// Error of opening a stream.
#[derive(Debug)]
#[non_exhaustive]
pub enum ConnectError {
    /// The text is not a valid endpoint.
    BadEndpoint(ParseError),
    /// The connection attempt failed.
    Failed(Reason),
    /// The reactor refused: for example the port is in use, the caller is not inside a task, or the
    /// reactor has finished.
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

/// Wraps the error. The text is the same.
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
