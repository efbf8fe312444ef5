//! Rules: callbacks that decide the fate of each packet and each system call.

use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use crate::sim::network::errno::Errno;
use crate::sim::random::Random;
use crate::sim::{Host, Instant};

/// A callback for every packet and every system call. The first rule whose verdict is not
/// [`Verdict::Pass`] decides. [`Fault`](crate::sim::Fault) is a configurable rule for most scripts.
///
/// ```
/// use twistor::sim::{Packet, PacketKind, Random, Rule, Simulation, Verdict};
///
/// /// Drops every third SYN.
/// struct Unlucky(u32);
///
/// impl Rule for Unlucky {
///     fn packet(&mut self, packet: &Packet, _: &mut Random) -> Verdict {
///         if packet.kind == PacketKind::Syn {
///             self.0 += 1;
///             if self.0 % 3 == 0 {
///                 return Verdict::Drop;
///             }
///         }
///         Verdict::Pass
///     }
/// }
///
/// let simulation = Simulation::new(1);
/// simulation.add_rule(Unlucky(0));
/// ```
pub trait Rule {
    /// Called when a packet is sent.
    fn packet(&mut self, packet: &Packet, random: &mut Random) -> Verdict {
        let _ = (packet, random);
        Verdict::Pass
    }

    /// Called when a process makes a system call.
    fn call(&mut self, call: &Call, random: &mut Random) -> Verdict {
        let _ = (call, random);
        Verdict::Pass
    }
}

/// The decision about a packet or a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// No effect.
    Pass,
    /// Delays the arrival of a packet, or prolongs a call.
    Delay(Duration),
    /// Loses a packet; one of a stream is retransmitted later. A call fails with EAGAIN.
    Drop,
    /// Fails with an error.
    ///
    /// - A call fails with it.
    /// - A stream's packet: the connection ends with it at the sender, and with a reset at the
    ///   other side.
    /// - A datagram is lost. If its sender is connected, one of the sender's next calls fails with
    ///   it.
    Fail(Errno),
    /// Limits a read or write to this number of bytes, or a batch to this number of datagrams. The
    /// minimum is 1.
    Short(usize),
}

/// A packet, as passed to rules.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packet {
    /// The virtual time.
    pub at: Instant,
    /// The sending host.
    pub from: Host,
    /// The receiving host.
    pub to: Host,
    /// The sender's address.
    pub source: SocketAddr,
    /// The receiver's address.
    pub destination: SocketAddr,
    /// The kind.
    pub kind: PacketKind,
    /// Payload bytes.
    pub size: usize,
}

/// The kind of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum PacketKind {
    /// Requests a connection.
    Syn,
    /// Accepts the request.
    SynAck,
    /// Completes the handshake. After its arrival the listener can accept the connection.
    Ack,
    /// Bytes of a stream.
    Data,
    /// The end of a stream's direction.
    Fin,
    /// A reset of a connection.
    Reset,
    /// A datagram.
    Datagram,
}

/// A system call, as passed to rules.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// The virtual time.
    pub at: Instant,
    /// The calling process's host.
    pub host: Host,
    /// The kind.
    pub kind: CallKind,
    /// The number of calls of this kind on this host, this one included.
    pub count: u64,
    /// Bytes to move, for reads and writes.
    pub size: usize,
}

macro_rules! calls {
    ($($kind:ident $name:literal: $about:literal, [$($errno:ident)*];)*) => {
        /// The kind of a system call. Opening a socket is several calls.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum CallKind {
            $(#[doc = $about] $kind,)*
        }

        impl CallKind {
            /// All kinds.
            pub const ALL: &'static [CallKind] = &[$(CallKind::$kind),*];

            /// Returns the errors that the call can fail with. Errors that only a mistake of the
            /// caller causes are left out.
            pub fn errors(self) -> &'static [Errno] {
                match self {
                    $(CallKind::$kind => &[$(Errno::$errno),*],)*
                }
            }
        }

        impl fmt::Display for CallKind {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(match self {
                    $(CallKind::$kind => $name,)*
                })
            }
        }
    };
}

calls! {
    Socket "socket": "Creates a socket.", [EMFILE ENFILE ENOBUFS ENOMEM EACCES];
    Bind "bind": "Binds a socket to its address.", [EADDRINUSE EADDRNOTAVAIL EACCES EINVAL];
    Listen "listen": "Listens for connections.", [EADDRINUSE ENOBUFS];
    Connect "connect": "Starts a connection.",
        [ECONNREFUSED EADDRNOTAVAIL ENETUNREACH EHOSTUNREACH ETIMEDOUT EACCES EPERM ENOBUFS EAGAIN];
    Watch "watch": "Registers a socket with the poll (epoll_ctl).", [ENOSPC ENOMEM];
    Accept "accept": "Accepts a connection.",
        [EMFILE ENFILE ENOBUFS ENOMEM ECONNABORTED EPERM EPROTO EINTR EAGAIN];
    Recv "recv": "Reads from a stream.",
        [EAGAIN EINTR ECONNRESET ETIMEDOUT EHOSTUNREACH ENETUNREACH ENOTCONN ENOMEM ENOBUFS ECONNREFUSED];
    Send "send": "Writes to a stream.",
        [EAGAIN EINTR ECONNRESET EPIPE ETIMEDOUT EHOSTUNREACH ENETUNREACH ENOTCONN ENOBUFS ENOMEM];
    Shutdown "shutdown": "Closes the write side of a stream.", [ENOTCONN ENOBUFS];
    LocalAddress "getsockname": "Returns a socket's local address.", [ENOBUFS EBADF];
    PeerAddress "getpeername": "Returns the peer's address.", [ENOTCONN ENOBUFS EBADF];
    TakeError "getsockopt": "Takes a socket's pending error (SO_ERROR).",
        [ECONNREFUSED ETIMEDOUT EHOSTUNREACH ENETUNREACH ECONNRESET ENOBUFS];
    SetOption "setsockopt": "Sets an option of a socket.", [EINVAL ENOBUFS ENOMEM];
    Poll "poll": "Waits for events.", [EINTR];
    Offload "offload": "Hands a job to the thread pool.", [EAGAIN];
    Resolve "getaddrinfo": "Resolves a name.", [ETIMEDOUT EIO EAGAIN];
    RecvDatagrams "recvmmsg": "Receives datagrams.",
        [EAGAIN EINTR ECONNREFUSED EHOSTUNREACH ENETUNREACH EPROTO ENOMEM ENOBUFS];
    SendDatagrams "sendmmsg": "Sends datagrams.",
        [EAGAIN EINTR ECONNREFUSED EMSGSIZE EHOSTUNREACH ENETUNREACH EPROTO EPERM ENOBUFS ENOMEM];
    SetMode "chmod": "Sets the mode of a UNIX socket's file.", [EPERM EROFS EIO];
    Credentials "getsockopt(SO_PEERCRED)": "Returns the credentials of a UNIX socket's peer.", [ENOBUFS EBADF];
    FileOpen "open": "Opens a file.", [EACCES EMFILE ENFILE ENOENT ENOSPC EROFS EIO];
    FileRead "pread": "Reads from a file.", [EIO];
    FileWrite "write": "Appends to a file.", [ENOSPC EDQUOT EIO EROFS];
    FileSync "fdatasync": "Makes a file's data durable. After an error, the data may be lost although a later call succeeds.",
        [EIO ENOSPC];
    FileStatus "stat": "Returns a file's metadata.", [EACCES EIO];
    Truncate "ftruncate": "Changes a file's length.", [EIO EROFS];
    Lock "flock": "Locks a file.", [ENOMEM];
    Rename "rename": "Renames a file.", [EACCES ENOSPC EROFS EIO];
    Unlink "unlink": "Removes a file.", [EACCES EROFS EIO];
    CreateDir "mkdir": "Creates a directory.", [EACCES ENOSPC EROFS EIO];
    ListDir "getdents": "Lists a directory.", [EACCES EIO];
    SyncDir "fsync": "Makes a directory's names durable.", [EIO];
}
