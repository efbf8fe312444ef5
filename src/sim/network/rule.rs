//! Rules: what looks at each packet and each system call, and decides what becomes of it.

use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use crate::sim::network::errno::Errno;
use crate::sim::random::Random;
use crate::sim::{Host, Instant};

/// Looks at every packet and at every system call, and says what becomes of it. The first rule that does not say
/// [`Verdict::Pass`] decides. [`Fault`](crate::sim::Fault) is the one that most scripts need.
///
/// ```
/// use twistor::sim::{Packet, PacketKind, Random, Rule, Simulation, Verdict};
///
/// /// Loses every third handshake.
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
    /// A packet is about to travel.
    fn packet(&mut self, packet: &Packet, random: &mut Random) -> Verdict {
        let _ = (packet, random);
        Verdict::Pass
    }

    /// A process asks its system for something.
    fn call(&mut self, call: &Call, random: &mut Random) -> Verdict {
        let _ = (call, random);
        Verdict::Pass
    }
}

/// What becomes of a packet or of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// As if nobody had looked.
    Pass,
    /// A packet arrives this much later; a call takes this long.
    Delay(Duration),
    /// A packet is lost (of a stream it is sent again, later); a call would block, or is answered too late.
    Drop,
    /// A packet's connection ends with this error at the sender, and with a reset at the other side; a datagram is lost,
    /// and its sender, if it has the one peer, is told so by one of its next calls; a call fails with it.
    Fail(Errno),
    /// A read or write moves this many bytes at most, one with datagrams this many of them, and at least one.
    Short(usize),
}

/// A packet as rules see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packet {
    /// The time in the world.
    pub at: Instant,
    /// The host that sends it.
    pub from: Host,
    /// The host that it goes to.
    pub to: Host,
    /// The sender's address.
    pub source: SocketAddr,
    /// The receiver's address.
    pub destination: SocketAddr,
    /// What it carries.
    pub kind: PacketKind,
    /// Payload bytes.
    pub size: usize,
}

/// What a packet carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum PacketKind {
    /// Asks for a connection.
    Syn,
    /// Grants it.
    SynAck,
    /// Completes the handshake: the listener has the connection from its arrival on.
    Ack,
    /// Bytes of a stream.
    Data,
    /// The end of a stream's direction.
    Fin,
    /// The end of a connection.
    Reset,
    /// A datagram.
    Datagram,
}

/// A system call as rules see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// The time in the world.
    pub at: Instant,
    /// The host whose process calls.
    pub host: Host,
    /// What it calls.
    pub kind: CallKind,
    /// The how-manieth call of this kind it is on this host, from 1.
    pub count: u64,
    /// Bytes to move, for those that move any.
    pub size: usize,
}

macro_rules! calls {
    ($($kind:ident $name:literal: $about:literal, [$($errno:ident)*];)*) => {
        /// What a process asks of its system: the calls of the seam, with the steps of opening a socket apart.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum CallKind {
            $(#[doc = $about] $kind,)*
        }

        impl CallKind {
            /// All of them.
            pub const ALL: &'static [CallKind] = &[$(CallKind::$kind),*];

            /// The errors that it can answer, beside those that only a mistake of the caller's brings.
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
    Socket "socket": "Makes a socket.", [EMFILE ENFILE ENOBUFS ENOMEM EACCES];
    Bind "bind": "Gives a socket its address.", [EADDRINUSE EADDRNOTAVAIL EACCES EINVAL];
    Listen "listen": "Opens a socket to connections.", [EADDRINUSE ENOBUFS];
    Connect "connect": "Asks for a connection.",
        [ECONNREFUSED EADDRNOTAVAIL ENETUNREACH EHOSTUNREACH ETIMEDOUT EACCES EPERM ENOBUFS EAGAIN];
    Watch "watch": "Watches a socket for readiness.", [ENOSPC ENOMEM];
    Accept "accept": "Takes a connection from a listener's queue.",
        [EMFILE ENFILE ENOBUFS ENOMEM ECONNABORTED EPERM EPROTO EINTR EAGAIN];
    Recv "recv": "Reads.",
        [EAGAIN EINTR ECONNRESET ETIMEDOUT EHOSTUNREACH ENETUNREACH ENOTCONN ENOMEM ENOBUFS ECONNREFUSED];
    Send "send": "Writes.",
        [EAGAIN EINTR ECONNRESET EPIPE ETIMEDOUT EHOSTUNREACH ENETUNREACH ENOTCONN ENOBUFS ENOMEM];
    Shutdown "shutdown": "Ends a direction.", [ENOTCONN ENOBUFS];
    LocalAddress "getsockname": "Asks for a socket's own address.", [ENOBUFS EBADF];
    PeerAddress "getpeername": "Asks for the other side's address.", [ENOTCONN ENOBUFS EBADF];
    TakeError "getsockopt": "Asks for a socket's pending error.",
        [ECONNREFUSED ETIMEDOUT EHOSTUNREACH ENETUNREACH ECONNRESET ENOBUFS];
    SetOption "setsockopt": "Sets an option of a connection.", [EINVAL ENOBUFS ENOMEM];
    Poll "poll": "Waits for something to happen.", [EINTR];
    Offload "offload": "Gives a job to a thread.", [EAGAIN];
    Resolve "getaddrinfo": "Looks a name up.", [ETIMEDOUT EIO EAGAIN];
    RecvDatagrams "recvmmsg": "Takes datagrams.",
        [EAGAIN EINTR ECONNREFUSED EHOSTUNREACH ENETUNREACH EPROTO ENOMEM ENOBUFS];
    SendDatagrams "sendmmsg": "Sends datagrams.",
        [EAGAIN EINTR ECONNREFUSED EMSGSIZE EHOSTUNREACH ENETUNREACH EPROTO EPERM ENOBUFS ENOMEM];
    SetMode "chmod": "Sets the mode of the file of a UNIX socket.", [EPERM EROFS EIO];
    Credentials "getsockopt(SO_PEERCRED)": "Asks who is on the other side of a UNIX socket.", [ENOBUFS EBADF];
}
