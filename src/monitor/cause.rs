//! The cause of a target being down or unknown: a [`Reason`] reduced to one word for operators.

use crate::Reason;
use crate::tls::{TlsConfigError, TlsError};
use std::fmt;
use std::io::ErrorKind;

/// The cause of a target being down or unknown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum DownCause {
    /// The host refused the connection: no process listens on the port.
    Refused,
    /// The attempt timed out.
    TimedOut,
    /// The network reported the host or its network as unreachable.
    NoRoute,
    /// The host name has no address.
    Unresolved,
    /// The peer closed the held connection, and no new connection lasted a second.
    Closed,
    /// The peer closes every connection within a second.
    ClosesAtOnce,
    /// The peer reset the held connection.
    Reset,
    /// The held connection broke: keepalive probes went unanswered, or the network failed.
    Broken,
    /// The target's certificate is not trusted: it has expired, is for another name, or was issued
    /// by an unknown root.
    BadCertificate,
    /// TLS failed for another reason: no TLS server listens on the port, or it refuses this client.
    Tls,
    /// This machine could not attempt the connection: no descriptors, ports, memory, route or
    /// permission. It says nothing about the target, whose state becomes unknown. See
    /// [`Reason::is_local`].
    Local,
    /// Any other error from the system.
    Other,
}

impl DownCause {
    /// Maps a reason to a cause. Returns `None` if the reason says nothing about the target,
    /// because this side gave up or was stopped.
    pub(super) fn of(reason: &Reason) -> Option<DownCause> {
        Some(match reason {
            Reason::Cancelled | Reason::Stopped | Reason::Aborted | Reason::Panicked(_) => {
                return None;
            }
            local if local.is_local() => DownCause::Local,
            Reason::Refused(_) | Reason::SelfConnected => DownCause::Refused,
            Reason::TimedOut(_) | Reason::SystemTimedOut(_) => DownCause::TimedOut,
            Reason::NoRoute(_) => DownCause::NoRoute,
            Reason::Unresolved { .. } => DownCause::Unresolved,
            Reason::Layer(error) if error.is::<TlsConfigError>() => DownCause::Local,
            Reason::Layer(_) => match TlsError::of(reason) {
                Some(TlsError::BadCertificate(_)) => DownCause::BadCertificate,
                Some(TlsError::HandshakeTimedOut(_)) => DownCause::TimedOut,
                Some(TlsError::Truncated) => DownCause::Closed,
                Some(_) => DownCause::Tls,
                None => DownCause::Other,
            },
            Reason::Done | Reason::CloseTimedOut(_) => DownCause::Closed,
            Reason::Lost(error) if error.kind == ErrorKind::ConnectionReset => DownCause::Reset,
            Reason::Lost(_) => DownCause::Broken,
            _ => DownCause::Other,
        })
    }

    /// Returns one word for machines. It is stable across releases.
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
            DownCause::BadCertificate => "bad_certificate",
            DownCause::Tls => "tls",
            DownCause::Local => "local",
            DownCause::Other => "other",
        }
    }
}

/// A short text for people.
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
            DownCause::BadCertificate => "bad certificate",
            DownCause::Tls => "TLS failed",
            DownCause::Local => "not checked",
            DownCause::Other => "failed",
        })
    }
}
