//! Why a target is down or unknown, in a word: what a [`Reason`] comes to for somebody who operates the target.

use crate::Reason;
use std::fmt;
use std::io::ErrorKind;

/// Why a target is down or unknown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum DownCause {
    /// The host answered that nobody listens on the port.
    Refused,
    /// No answer came in time.
    TimedOut,
    /// The network answered that the host or its network cannot be reached.
    NoRoute,
    /// The host name has no address.
    Unresolved,
    /// The held connection was closed by the peer, and no other was made that lasted a second.
    Closed,
    /// The peer closes every connection within a second.
    ClosesAtOnce,
    /// The held connection was reset by the peer.
    Reset,
    /// The held connection broke: keepalives went unanswered, or the network failed.
    Broken,
    /// This side could not even try: out of descriptors, ports or memory, without a route of its own, or
    /// not permitted. It says nothing about the target, which is unknown. (See [`Reason::is_local`].)
    Local,
    /// Anything else that the system said.
    Other,
}

impl DownCause {
    /// The cause that a reason stands for; `None` when the reason says nothing about the target,
    /// because this side gave up or was stopped.
    pub fn of(reason: &Reason) -> Option<DownCause> {
        Some(match reason {
            Reason::Cancelled | Reason::Stopped | Reason::Aborted | Reason::Panicked(_) => {
                return None;
            }
            local if local.is_local() => DownCause::Local,
            Reason::Refused(_) | Reason::SelfConnected => DownCause::Refused,
            Reason::TimedOut(_) | Reason::SystemTimedOut(_) => DownCause::TimedOut,
            Reason::NoRoute(_) => DownCause::NoRoute,
            Reason::Unresolved { .. } => DownCause::Unresolved,
            Reason::Done | Reason::CloseTimedOut(_) => DownCause::Closed,
            Reason::Lost(error) if error.kind == ErrorKind::ConnectionReset => DownCause::Reset,
            Reason::Lost(_) => DownCause::Broken,
            _ => DownCause::Other,
        })
    }

    /// One word for machines: it stays the same from release to release.
    pub fn code(self) -> &'static str {
        match self {
            DownCause::Refused => "refused",
            DownCause::TimedOut => "timed_out",
            DownCause::NoRoute => "no_route",
            DownCause::Unresolved => "unresolved",
            DownCause::Closed => "closed",
            DownCause::ClosesAtOnce => "closes_at_once",
            DownCause::Reset => "reset",
            DownCause::Broken => "broken",
            DownCause::Local => "local",
            DownCause::Other => "other",
        }
    }
}

/// A few words for people.
impl fmt::Display for DownCause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            DownCause::Refused => "refused",
            DownCause::TimedOut => "no answer",
            DownCause::NoRoute => "no route",
            DownCause::Unresolved => "no address",
            DownCause::Closed => "closed by peer",
            DownCause::ClosesAtOnce => "closes at once",
            DownCause::Reset => "reset by peer",
            DownCause::Broken => "connection broke",
            DownCause::Local => "not checked",
            DownCause::Other => "failed",
        })
    }
}
