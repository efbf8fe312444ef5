//! What can go wrong under load.

use crate::escape::Escaped;
use std::fmt;
use std::time::Duration;

/// Something that went wrong. Connections are numbered from 1, in the order in which they were begun.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Trouble {
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
    pub what: Wrong,
}

/// What seems to have happened to bytes on their way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Wrong {
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

impl Trouble {
    /// The sort, as one word for machines: `connect`, `lost`, `wrong`, `unanswered`.
    pub fn kind(&self) -> &'static str {
        match self {
            Trouble::NotConnected { .. } => "connect",
            Trouble::Lost { .. } => "lost",
            Trouble::Wrong(_) => "wrong",
            Trouble::Unanswered { .. } => "unanswered",
        }
    }

    /// What troubles of the same sort are counted by.
    pub(super) fn reason(&self) -> &str {
        match self {
            Trouble::NotConnected { reason, .. } | Trouble::Lost { reason, .. } => reason,
            Trouble::Wrong(mismatch) => mismatch.what.name(),
            Trouble::Unanswered { .. } => "no answer",
        }
    }
}

impl Wrong {
    fn name(self) -> &'static str {
        match self {
            Wrong::Changed => "bytes were changed",
            Wrong::LeftOut(_) => "bytes were left out",
            Wrong::Repeated(_) => "bytes came again",
            Wrong::Elsewhere => "bytes of another connection",
            Wrong::TooMany => "more came back than was sent",
        }
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Trouble::NotConnected { connection, reason } => {
                write!(f, "connection {connection} was not made: {}", Escaped(reason))
            }
            Trouble::Lost { connection, after, under_way, reason } => {
                write!(f, "connection {connection} was lost after {}", super::figures::time(*after))?;
                if *under_way > 0 {
                    let plural = if *under_way == 1 { "message" } else { "messages" };
                    write!(f, " with {under_way} {plural} under way")?;
                }
                write!(f, ": {}", Escaped(reason))
            }
            Trouble::Wrong(mismatch) => mismatch.fmt(f),
            Trouble::Unanswered { connection, messages: 1 } => {
                write!(f, "connection {connection}: a message was not answered")
            }
            Trouble::Unanswered { connection, messages } => {
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
            (Wrong::TooMany, _) | (_, None) => write!(f, "{found:02x} came back, and nothing was sent"),
            (what, Some(expected)) => {
                write!(f, "{found:02x} came back for {expected:02x}")?;
                match what {
                    Wrong::LeftOut(bytes) => write!(f, ", {bytes} bytes were left out"),
                    Wrong::Repeated(bytes) => write!(f, ", what came {bytes} bytes before came again"),
                    Wrong::Elsewhere => write!(f, ", the bytes are another connection's"),
                    Wrong::Changed | Wrong::TooMany => Ok(()),
                }
            }
        }
    }
}
