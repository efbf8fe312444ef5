//! Errors during a load.

use crate::escape::Escaped;
use std::fmt;
use std::time::Duration;

/// An error during a load. Connections are numbered from 1, in the order in which they were
/// started.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum LoadError {
    /// A connection could not be made.
    NotConnected {
        /// The connection's number.
        connection: u64,
        /// The reason.
        reason: String,
    },
    /// A connection was lost, or the server closed it.
    Lost {
        /// The connection's number.
        connection: u64,
        /// How long the connection was open.
        after: Duration,
        /// Number of messages in flight on it.
        in_flight: u64,
        /// The reason.
        reason: String,
    },
    /// The bytes received differ from those sent. The connection was aborted.
    Wrong(Mismatch),
    /// Messages were still unanswered after the drain timeout.
    Unanswered {
        /// The connection's number.
        connection: u64,
        /// Number of unanswered messages.
        messages: u64,
    },
}

/// The position of the first wrong byte, and the likely cause.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mismatch {
    /// The connection's number, from 1.
    pub connection: u64,
    /// Offset of the first wrong byte in the connection's stream, from 0.
    pub offset: u64,
    /// Number of the message that the byte belongs to, from 1.
    pub message: u64,
    /// The byte that was sent at this offset; `None` if none was sent.
    pub expected: Option<u8>,
    /// The byte that was received.
    pub found: u8,
    /// The likely cause.
    pub what: Corruption,
}

/// The likely cause of wrong bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Corruption {
    /// The bytes were changed.
    Changed,
    /// This number of bytes before them is missing.
    LeftOut(u64),
    /// The bytes were received before, this number of bytes ago.
    Repeated(u64),
    /// The bytes were sent on another connection.
    Elsewhere,
    /// More bytes were received than sent.
    TooMany,
}

impl LoadError {
    /// Returns the kind as one word for machines: `connect`, `lost`, `wrong`, `unanswered`.
    pub fn kind(&self) -> &'static str {
        match self {
            LoadError::NotConnected { .. } => "connect",
            LoadError::Lost { .. } => "lost",
            LoadError::Wrong(_) => "wrong",
            LoadError::Unanswered { .. } => "unanswered",
        }
    }

    /// Returns the text by which errors of the same kind are counted.
    pub(in crate::load) fn reason(&self) -> &str {
        match self {
            LoadError::NotConnected { reason, .. } | LoadError::Lost { reason, .. } => reason,
            LoadError::Wrong(mismatch) => mismatch.what.name(),
            LoadError::Unanswered { .. } => "no answer",
        }
    }
}

impl Corruption {
    fn name(self) -> &'static str {
        match self {
            Corruption::Changed => "bytes were changed",
            Corruption::LeftOut(_) => "bytes were left out",
            Corruption::Repeated(_) => "bytes came again",
            Corruption::Elsewhere => "bytes of another connection",
            Corruption::TooMany => "more came back than was sent",
        }
    }
}

impl fmt::Display for LoadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LoadError::NotConnected { connection, reason } => {
                write!(f, "connection {connection} was not made: {}", Escaped(reason))
            }
            LoadError::Lost { connection, after, in_flight, reason } => {
                write!(
                    f,
                    "connection {connection} was lost after {}",
                    crate::load::report::number_format::time(*after)
                )?;
                if *in_flight > 0 {
                    let plural = if *in_flight == 1 { "message" } else { "messages" };
                    write!(f, " with {in_flight} {plural} under way")?;
                }
                write!(f, ": {}", Escaped(reason))
            }
            LoadError::Wrong(mismatch) => mismatch.fmt(f),
            LoadError::Unanswered { connection, messages: 1 } => {
                write!(f, "connection {connection}: a message was not answered")
            }
            LoadError::Unanswered { connection, messages } => {
                write!(f, "connection {connection}: {messages} messages were not answered")
            }
        }
    }
}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Mismatch { connection, offset, message, expected, found, what } = self;
        write!(f, "connection {connection}, byte {offset} (in message {message}): ")?;
        match (what, expected) {
            (Corruption::TooMany, _) | (_, None) => write!(f, "{found:02x} came back, and nothing was sent"),
            (what, Some(expected)) => {
                write!(f, "{found:02x} came back for {expected:02x}")?;
                match what {
                    Corruption::LeftOut(bytes) => write!(f, ", {bytes} bytes were left out"),
                    Corruption::Repeated(bytes) => write!(f, ", what came {bytes} bytes before came again"),
                    Corruption::Elsewhere => write!(f, ", the bytes are another connection's"),
                    Corruption::Changed | Corruption::TooMany => Ok(()),
                }
            }
        }
    }
}
