//! What can go wrong under load.

use crate::escape::Escaped;
use std::fmt;
use std::time::Duration;

/// Something that went wrong. Connections are numbered from 1, in the order in which they were begun.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum LoadError {
    /// A connection could not be made.
    NotConnected {
        /// Its number.
        connection: u64,
        /// Why.
        reason: String,
    },
    /// A connection was lost, or the server closed it.
    Lost {
        /// Its number.
        connection: u64,
        /// How long it stood.
        after: Duration,
        /// Messages that were under way on it.
        under_way: u64,
        /// Why.
        reason: String,
    },
    /// Other bytes came back than were sent. The connection was given up.
    Wrong(Mismatch),
    /// Messages were not answered, long after the end.
    Unanswered {
        /// The connection's number.
        connection: u64,
        /// How many.
        messages: u64,
    },
}

/// Where other bytes came back than were sent, and which.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mismatch {
    /// The connection's number, from 1.
    pub connection: u64,
    /// The place of the first wrong byte in what the connection sent, from 0.
    pub offset: u64,
    /// The number of the message that it would belong to, from 1.
    pub message: u64,
    /// The byte that was sent there; none when nothing was.
    pub expected: Option<u8>,
    /// The byte that came back.
    pub found: u8,
    /// What seems to have happened.
    pub what: Corruption,
}

/// What seems to have happened to bytes on their way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Corruption {
    /// They are others.
    Changed,
    /// So many bytes before them are missing.
    LeftOut(u64),
    /// They came before, so many bytes ago.
    Repeated(u64),
    /// They were sent on another connection.
    Elsewhere,
    /// More came back than was sent.
    TooMany,
}

impl LoadError {
    /// The sort, as one word for machines: `connect`, `lost`, `wrong`, `unanswered`.
    pub fn kind(&self) -> &'static str {
        match self {
            LoadError::NotConnected { .. } => "connect",
            LoadError::Lost { .. } => "lost",
            LoadError::Wrong(_) => "wrong",
            LoadError::Unanswered { .. } => "unanswered",
        }
    }

    /// What troubles of the same sort are counted by.
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
            LoadError::Lost { connection, after, under_way, reason } => {
                write!(f, "connection {connection} was lost after {}", crate::load::figures::time(*after))?;
                if *under_way > 0 {
                    let plural = if *under_way == 1 { "message" } else { "messages" };
                    write!(f, " with {under_way} {plural} under way")?;
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
