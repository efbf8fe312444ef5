//! The reason why a connection was lost or could not be made.

use crate::escape::Escaped;
use std::fmt;
use std::io;
use std::time::Duration;

use rustix::io::Errno;

use crate::net::{OpenError, OpenStep};
use crate::reactor::error::protocol_error::ProtocolError;
use crate::reactor::layer::LayerError;

/// The reason why a connection was lost, or could not be made. It is passed to `connection_lost`,
/// `client_connection_lost` and `client_connection_failed`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
#[doc(alias(
    "ConnectionDone",
    "ConnectionLost",
    "ConnectionAborted",
    "ConnectionRefusedError",
    "ConnectError",
    "DNSLookupError",
    "TimeoutError",
    "ConnectionResetError"
))]
pub enum Reason {
    // Reasons of established connections.
    /// Either side closed the connection cleanly. (Twisted: `ConnectionDone`.)
    Done,
    /// The connection broke: a reset by the peer, or a network error. (Twisted: `ConnectionLost`.)
    Lost(SystemError),
    /// This side called `abort_connection`. (Twisted: `ConnectionAborted`.)
    Aborted,
    /// Nothing was sent for this long after `lose_connection` or `lose_write_connection`. The peer
    /// did not read, or a registered producer or a layer did not finish. See
    /// [`Settings::close_timeout`](crate::Settings::close_timeout).
    CloseTimedOut(Duration),
    /// The protocol kept writing after `pause_writing`, and more than this many additional bytes
    /// were unsent. See [`Settings::write_buffer_limit`](crate::Settings::write_buffer_limit).
    BufferLimit(usize),
    /// A callback of the protocol panicked with this message. (Twisted: the exception itself.)
    Panicked(String),
    /// A layer ended the connection, for example a policy, or because of an invalid header.
    Layer(LayerError),
    /// The protocol ended the connection with this error, for example because of invalid input.
    /// (Twisted: `loseConnection`, and the error in the log.)
    Protocol(ProtocolError),
    /// [`Transport::detach`](crate::Transport::detach) released the socket for use elsewhere.
    Released,
    /// The reactor stopped. (Twisted: `ConnectionLost`.)
    Stopped,

    // Reasons of connection attempts.
    /// The peer refused the connection. (Twisted: `ConnectionRefusedError`.)
    Refused(SystemError),
    /// No answer arrived within the connector's timeout, or layers were not ready in time.
    /// (Twisted: `TimeoutError`.)
    TimedOut(Duration),
    /// The system gave up waiting for an answer. (Twisted: `TCPTimedOutError`.)
    SystemTimedOut(SystemError),
    /// A network answer: the host or its network is unreachable. It came from a router by ICMP, or
    /// from the local link, where no host has the address. (Twisted: `NoRouteError`.)
    NoRoute(SystemError),
    /// This machine has no route to the address: there is no default route, or an interface is
    /// down. The system returned the error at once, from its own routing table, and sent nothing.
    /// (Twisted: `NoRouteError`.)
    ///
    /// # Portability
    /// - ENETUNREACH and ENETDOWN of the `connect` call itself map to this reason.
    /// - On Linux and Android, EHOSTUNREACH of that call does too (a route of type `unreachable`).
    /// - Other systems also return EHOSTUNREACH at once when the link did not answer a moment
    ///   before. There it maps to [`NoRoute`](Reason::NoRoute).
    ///
    /// Packets that a local firewall rejects can look like a router's answer.
    NoLocalRoute(SystemError),
    /// The host name has no address. (Twisted: `DNSLookupError`.)
    Unresolved {
        /// The host name.
        host: String,
        /// The resolver's error.
        why: String,
    },
    /// The connector's timeout expired during the look-up of the host name. (Twisted:
    /// `TimeoutError` of its DNS.)
    LookupTimedOut {
        /// The host name.
        host: String,
        /// The timeout that expired.
        limit: Duration,
    },
    /// The look-up of the host name failed, so whether it has an address is unknown. The local
    /// resolver could not be asked (no descriptor, no thread, a full queue), or answered "try
    /// again".
    LookupFailed {
        /// The host name.
        host: String,
        /// The cause.
        why: String,
    },
    /// The local address could not be bound. (Twisted: `ConnectBindError`.)
    Bind(SystemError),
    /// The system connected the socket to itself, because no process listens on that port.
    SelfConnected,
    /// `stop_connecting` was called. (Twisted: `UserError`.)
    Cancelled,
    /// Any other system error. (Twisted: `ConnectError`.)
    ConnectFailed(SystemError),
}

impl Reason {
    /// Whether the connection was closed cleanly.
    pub fn is_clean(&self) -> bool {
        *self == Reason::Done
    }

    /// Whether the cause is on this side, so that the reason says nothing about the peer:
    /// - no descriptors, ports, buffers or memory left,
    /// - no permission to create a socket,
    /// - an address family that this system does not support,
    /// - no route in this machine's own table,
    /// - a resolver that cannot be asked or does not answer.
    ///
    /// EPERM and EACCES count as local for every call but `connect`. Those of `connect` can be the
    /// answer of a firewall on the way.
    pub fn is_local(&self) -> bool {
        match self {
            Reason::Bind(_)
            | Reason::NoLocalRoute(_)
            | Reason::LookupTimedOut { .. }
            | Reason::LookupFailed { .. } => true,
            Reason::Refused(error)
            | Reason::SystemTimedOut(error)
            | Reason::NoRoute(error)
            | Reason::ConnectFailed(error) => {
                error.call != "connect"
                    || error.is_shortage()
                    || matches!(error.kind, io::ErrorKind::AddrNotAvailable | io::ErrorKind::AddrInUse)
                    // EAGAIN: the system has no local port left, or no room for a route.
                    || error.is_one_of(&[Errno::AFNOSUPPORT, Errno::AGAIN])
            }
            Reason::Lost(error) => error.is_shortage(),
            _ => false,
        }
    }

    /// The system error, if there is one.
    pub fn system_error(&self) -> Option<&SystemError> {
        match self {
            Reason::Lost(error)
            | Reason::Refused(error)
            | Reason::SystemTimedOut(error)
            | Reason::NoRoute(error)
            | Reason::NoLocalRoute(error)
            | Reason::Bind(error)
            | Reason::ConnectFailed(error) => Some(error),
            _ => None,
        }
    }

    /// The reason for a socket that could not be opened. This machine returned the error at once.
    pub(in crate::reactor) fn of_open(failed: &OpenError) -> Reason {
        let system_error = SystemError::new(failed.step.name(), &failed.error);
        let linux = cfg!(any(target_os = "android", target_os = "linux"));
        match (failed.step, failed.error.kind()) {
            (OpenStep::Bind, _) => Reason::Bind(system_error),
            (OpenStep::Connect, io::ErrorKind::NetworkUnreachable | io::ErrorKind::NetworkDown) => {
                Reason::NoLocalRoute(system_error)
            }
            (OpenStep::Connect, io::ErrorKind::HostUnreachable) if linux => {
                Reason::NoLocalRoute(system_error)
            }
            (step, _) => Reason::of_connect(&failed.error, step.name()),
        }
    }

    /// The reason for the error of a connection attempt in progress.
    pub(in crate::reactor) fn of_connect(error: &io::Error, call: &'static str) -> Reason {
        let system_error = SystemError::new(call, error);
        match error.kind() {
            io::ErrorKind::ConnectionRefused => Reason::Refused(system_error),
            io::ErrorKind::TimedOut => Reason::SystemTimedOut(system_error),
            io::ErrorKind::HostUnreachable
            | io::ErrorKind::NetworkUnreachable
            | io::ErrorKind::NetworkDown => Reason::NoRoute(system_error),
            _ => Reason::ConnectFailed(system_error),
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Reason::Done => f.write_str("connection closed cleanly"),
            Reason::Lost(error) => write!(f, "connection lost: {error}"),
            Reason::Aborted => f.write_str("connection aborted"),
            Reason::CloseTimedOut(limit) => {
                write!(f, "connection aborted: nothing was sent for {limit:?} while closing")
            }
            Reason::BufferLimit(limit) => {
                write!(f, "connection aborted: more than {limit} bytes were written after `pause_writing`")
            }
            Reason::Panicked(text) => {
                write!(f, "connection aborted: its protocol panicked: {}", Escaped(text))
            }
            Reason::Layer(error) => write!(f, "connection ended by a layer: {error}"),
            Reason::Protocol(error) => write!(f, "connection ended by its protocol: {error}"),
            Reason::Released => f.write_str("connection detached"),
            Reason::Stopped => f.write_str("connection aborted: the reactor stopped"),
            Reason::Refused(_) => f.write_str("connection refused"),
            Reason::TimedOut(limit) => write!(f, "no connection within {limit:?}"),
            Reason::SystemTimedOut(_) => f.write_str("connection timed out"),
            Reason::NoRoute(error) => write!(f, "no route: {error}"),
            Reason::NoLocalRoute(error) => write!(f, "this machine has no route to it: {error}"),
            Reason::Unresolved { host, why } => {
                write!(f, "no address for {}: {}", Escaped(host), Escaped(why))
            }
            Reason::LookupTimedOut { host, limit } => {
                write!(f, "the name {} was not looked up within {limit:?}", Escaped(host))
            }
            Reason::LookupFailed { host, why } => {
                write!(f, "the name {} could not be looked up: {}", Escaped(host), Escaped(why))
            }
            Reason::Bind(error) => write!(f, "local address: {error}"),
            Reason::SelfConnected => f.write_str("connected to itself: no process listens on the port"),
            Reason::Cancelled => f.write_str("connecting was cancelled"),
            Reason::ConnectFailed(error) => write!(f, "connection failed: {error}"),
        }
    }
}

impl std::error::Error for Reason {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Reason::Refused(error) | Reason::SystemTimedOut(error) => Some(error),
            // The texts of these contain the wrapped error already.
            Reason::Layer(error) => error.source(),
            Reason::Protocol(error) => error.source(),
            _ => None,
        }
    }
}

/// A system error as a value: the call and its error number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SystemError {
    /// The system call that failed.
    pub call: &'static str,
    /// The error kind.
    pub kind: io::ErrorKind,
    /// The system's error number, if the error has one.
    pub code: Option<i32>,
}

impl SystemError {
    pub(in crate::reactor) fn new(call: &'static str, error: &io::Error) -> SystemError {
        SystemError { call, kind: error.kind(), code: error.raw_os_error() }
    }

    /// Whether a local resource was exhausted.
    fn is_shortage(&self) -> bool {
        self.is_one_of(&[Errno::MFILE, Errno::NFILE, Errno::NOBUFS, Errno::NOMEM])
    }

    /// Whether a datagram was longer than its network or socket takes (EMSGSIZE).
    pub fn is_too_long(&self) -> bool {
        self.is_one_of(&[Errno::MSGSIZE])
    }

    /// Whether this system does not support the address family.
    pub(in crate::reactor) fn is_of_another_family(&self) -> bool {
        self.is_one_of(&[Errno::AFNOSUPPORT])
    }

    fn is_one_of(&self, errors: &[Errno]) -> bool {
        errors.iter().any(|error| self.code == Some(error.raw_os_error()))
    }
}

impl fmt::Display for SystemError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.code {
            Some(code) => write!(f, "{}: {}", self.call, io::Error::from_raw_os_error(code)),
            None => write!(f, "{}: {}", self.call, self.kind),
        }
    }
}

impl std::error::Error for SystemError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_route_that_is_missing_here_is_told_from_an_answer() {
        let at_once = |step, errno: Errno| Reason::of_open(&OpenError { step, error: errno.into() });
        let linux = cfg!(any(target_os = "android", target_os = "linux"));
        for (errno, is_own) in [
            (Errno::NETUNREACH, true),
            (Errno::NETDOWN, true),
            (Errno::HOSTUNREACH, linux),
            (Errno::TIMEDOUT, false),
            (Errno::CONNREFUSED, false),
            (Errno::ACCESS, false),
        ] {
            let reason = at_once(OpenStep::Connect, errno);
            assert_eq!(matches!(reason, Reason::NoLocalRoute(_)), is_own, "{errno:?}");
            assert_eq!(reason.is_local(), is_own, "{errno:?}");
            let later = Reason::of_connect(&errno.into(), "connect");
            assert!(!matches!(later, Reason::NoLocalRoute(_)) && !later.is_local(), "{errno:?}");
        }
        let text = at_once(OpenStep::Connect, Errno::NETUNREACH).to_string();
        assert!(text.starts_with("this machine has no route to it: connect: "), "{text}");
        assert!(matches!(at_once(OpenStep::Bind, Errno::ADDRINUSE), Reason::Bind(_)));
        assert!(matches!(at_once(OpenStep::Socket, Errno::MFILE), Reason::ConnectFailed(_)));
    }

    #[test]
    fn a_reason_of_this_side_is_told_from_one_of_the_peer() {
        let of_connect = |call, errno: Errno| Reason::of_connect(&errno.into(), call);
        for errno in [Errno::MFILE, Errno::NFILE, Errno::NOBUFS, Errno::NOMEM] {
            for call in ["socket", "connect"] {
                assert!(of_connect(call, errno).is_local(), "{call}: {errno:?}");
            }
            assert!(Reason::Lost(SystemError::new("read", &errno.into())).is_local(), "{errno:?}");
        }
        for (call, errno) in [
            ("socket", Errno::PERM),
            ("socket", Errno::ACCESS),
            ("socket", Errno::AFNOSUPPORT),
            ("setsockopt", Errno::INVAL),
            ("watch", Errno::NOSPC),
            ("watch", Errno::NOMEM),
            ("connect", Errno::ADDRNOTAVAIL),
            ("connect", Errno::ADDRINUSE),
            ("connect", Errno::AFNOSUPPORT),
            ("connect", Errno::AGAIN),
        ] {
            assert!(of_connect(call, errno).is_local(), "{call}: {errno:?}");
        }
        let no_address = io::Error::from(io::ErrorKind::AddrNotAvailable);
        assert!(Reason::of_connect(&no_address, "connect").is_local());
        let (host, why) = ("h".to_owned(), "no descriptor".to_owned());
        assert!(Reason::LookupTimedOut { host: host.clone(), limit: Duration::ZERO }.is_local());
        assert!(Reason::LookupFailed { host: host.clone(), why: why.clone() }.is_local());
        assert!(!Reason::Unresolved { host, why }.is_local());
        assert!(Reason::Bind(SystemError::new("bind", &Errno::ADDRINUSE.into())).is_local());
        for errno in [
            Errno::CONNREFUSED,
            Errno::TIMEDOUT,
            Errno::HOSTUNREACH,
            Errno::NETUNREACH,
            Errno::PERM,
            Errno::ACCESS,
            Errno::CONNRESET,
            Errno::NOENT,
        ] {
            assert!(!of_connect("connect", errno).is_local(), "{errno:?}");
            assert!(!Reason::Lost(SystemError::new("read", &errno.into())).is_local(), "{errno:?}");
        }
        assert!(!Reason::Done.is_local() && !Reason::TimedOut(Duration::ZERO).is_local());
    }
}
