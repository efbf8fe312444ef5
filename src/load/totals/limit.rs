//! System limits that keep a load from holding its connections.

use crate::{Error, Reason};
use std::fmt;
use std::io;

/// A limit that connections ran into.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Limit {
    /// Descriptors of one process (EMFILE).
    Descriptors,
    /// Descriptors of the whole system (ENFILE).
    SystemDescriptors,
    /// Ports of a source address (EADDRNOTAVAIL; EADDRINUSE for a configured source address).
    Ports,
    /// Kernel memory (ENOMEM, ENOBUFS).
    Memory,
    /// The server refused the connection (ECONNREFUSED).
    Refused,
    /// The server or its host did not answer the attempt in time.
    NoAnswer,
    /// The server closed or reset a held connection soon after it was made, without an answer on
    /// it.
    Closed,
    /// The server accepted a held connection, but answered no message on it, including the final
    /// check.
    Silent,
    /// Processes of the load ended early.
    Workers,
}

impl Limit {
    #[cfg(feature = "cli")]
    pub(in crate::load) const ALL: [Limit; 9] = [
        Limit::Descriptors,
        Limit::SystemDescriptors,
        Limit::Ports,
        Limit::Memory,
        Limit::Refused,
        Limit::NoAnswer,
        Limit::Closed,
        Limit::Silent,
        Limit::Workers,
    ];

    /// Returns one word for machines. It is stable across releases.
    pub fn name(self) -> &'static str {
        match self {
            Limit::Descriptors => "descriptors",
            Limit::SystemDescriptors => "system_descriptors",
            Limit::Ports => "ports",
            Limit::Memory => "memory",
            Limit::Refused => "refused",
            Limit::NoAnswer => "no_answer",
            Limit::Closed => "closed",
            Limit::Silent => "silent",
            Limit::Workers => "workers",
        }
    }

    /// Whether this is a limit of the local machine, and not of the server or the network.
    pub(in crate::load) fn is_local(self) -> bool {
        use Limit::{Descriptors, Memory, Ports, SystemDescriptors};
        matches!(self, Descriptors | SystemDescriptors | Ports | Memory)
    }

    /// Returns the limit that a failed attempt ran into, if it was a limit.
    pub(in crate::load) fn of(reason: &Reason) -> Option<Limit> {
        match reason {
            Reason::Refused(_) => Some(Limit::Refused),
            Reason::TimedOut(_) | Reason::SystemTimedOut(_) => Some(Limit::NoAnswer),
            Reason::Bind(said) if said.kind == io::ErrorKind::AddrInUse => Some(Limit::Ports),
            Reason::ConnectFailed(said) if said.kind == io::ErrorKind::AddrNotAvailable => Some(Limit::Ports),
            _ => Limit::of_code(reason.system_error().and_then(|said| said.code)),
        }
    }

    /// Returns the limit that kept an attempt from starting, if it was a limit.
    pub(in crate::load) fn of_error(error: &Error) -> Option<Limit> {
        match error {
            Error::CannotListen { source, .. }
            | Error::CannotSpawn { source, .. }
            | Error::System { source, .. } => Limit::of_code(source.raw_os_error()),
            _ => None,
        }
    }

    fn of_code(code: Option<i32>) -> Option<Limit> {
        use rustix::io::Errno;
        match Errno::from_raw_os_error(code?) {
            Errno::MFILE => Some(Limit::Descriptors),
            Errno::NFILE => Some(Limit::SystemDescriptors),
            Errno::NOMEM | Errno::NOBUFS => Some(Limit::Memory),
            _ => None,
        }
    }
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Limit::Descriptors => "descriptors of a process",
            Limit::SystemDescriptors => "descriptors of the system",
            Limit::Ports => "ports of a source address",
            Limit::Memory => "memory of the kernel",
            Limit::Refused => "the server refused",
            Limit::NoAnswer => "no answer to the attempt",
            Limit::Closed => "the server closed them",
            Limit::Silent => "not answered at the end",
            Limit::Workers => "processes of the load that ended early",
        })
    }
}

/// A limit that kept connections from being held.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bottleneck {
    /// The limit.
    pub limit: Limit,
    /// Number of connections that ran into it.
    pub connections: u64,
    /// Present value of the limit, for people; empty if unknown.
    pub now: String,
    /// How to raise the limit, for people; empty if unknown.
    pub raise: String,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::SystemError;
    use rustix::io::Errno;

    #[test]
    fn a_limit_is_known_by_the_number_of_the_error() {
        let said = |call, errno: Errno| SystemError {
            call,
            kind: io::Error::from(errno).kind(),
            code: Some(errno.raw_os_error()),
        };
        for (reason, limit) in [
            (Reason::ConnectFailed(said("socket", Errno::MFILE)), Some(Limit::Descriptors)),
            (Reason::ConnectFailed(said("socket", Errno::NFILE)), Some(Limit::SystemDescriptors)),
            (Reason::ConnectFailed(said("connect", Errno::ADDRNOTAVAIL)), Some(Limit::Ports)),
            (Reason::Bind(said("bind", Errno::ADDRINUSE)), Some(Limit::Ports)),
            (Reason::Bind(said("bind", Errno::ADDRNOTAVAIL)), None),
            (Reason::ConnectFailed(said("connect", Errno::NOBUFS)), Some(Limit::Memory)),
            (Reason::Refused(said("connect", Errno::CONNREFUSED)), Some(Limit::Refused)),
            (Reason::Done, None),
        ] {
            assert_eq!(Limit::of(&reason), limit, "{reason}");
        }
    }
}
