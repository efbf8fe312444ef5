//! Why a target is down or unknown, in a word: what a [`Reason`] comes to for somebody who operates the target.

use crate::Reason;
use std::fmt;
use std::io::ErrorKind;

/// Why a target is down or unknown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Cause {
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

impl Cause {
    /// The cause that a reason stands for; `None` when the reason says nothing about the target,
    /// because this side gave up or was stopped.
    pub fn of(reason: &Reason) -> Option<Cause> {
        Some(match reason {
            Reason::Cancelled | Reason::Stopped | Reason::Aborted | Reason::Panicked(_) => {
                return None;
            }
            local if local.is_local() => Cause::Local,
            Reason::Refused(_) | Reason::SelfConnected => Cause::Refused,
            Reason::TimedOut(_) | Reason::SystemTimedOut(_) => Cause::TimedOut,
            Reason::NoRoute(_) => Cause::NoRoute,
            Reason::Unresolved { .. } => Cause::Unresolved,
            Reason::Done | Reason::CloseTimedOut(_) => Cause::Closed,
            Reason::Lost(error) if error.kind == ErrorKind::ConnectionReset => Cause::Reset,
            Reason::Lost(_) => Cause::Broken,
            _ => Cause::Other,
        })
    }

    /// One word for machines: it stays the same from release to release.
    pub fn code(self) -> &'static str {
        match self {
            Cause::Refused => "refused",
            Cause::TimedOut => "timed_out",
            Cause::NoRoute => "no_route",
            Cause::Unresolved => "unresolved",
            Cause::Closed => "closed",
            Cause::ClosesAtOnce => "closes_at_once",
            Cause::Reset => "reset",
            Cause::Broken => "broken",
            Cause::Local => "local",
            Cause::Other => "other",
        }
    }
}

/// A few words for people.
impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Cause::Refused => "refused",
            Cause::TimedOut => "no answer",
            Cause::NoRoute => "no route",
            Cause::Unresolved => "no address",
            Cause::Closed => "closed by peer",
            Cause::ClosesAtOnce => "closes at once",
            Cause::Reset => "reset by peer",
            Cause::Broken => "connection broke",
            Cause::Local => "not checked",
            Cause::Other => "failed",
        })
    }
}
