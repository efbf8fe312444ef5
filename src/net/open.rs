//! The opening of sockets: which ones, with which options, and what can fail.

use std::io;
use std::net::SocketAddr;

#[cfg(doc)]
use super::Net;
use super::UnixAddress;

/// A socket to open, with its options.
#[derive(Clone, Debug)]
pub(crate) enum Open {
    TcpListen {
        address: SocketAddr,
        reuse_address: bool,
        reuse_port: bool,
        ipv6_only: Option<bool>,
        backlog: u32,
        buffers: Buffers,
        /// TCP_NODELAY of accepted sockets, where [`Net::inherits_nodelay`].
        nodelay: bool,
    },
    TcpConnect {
        address: SocketAddr,
        bind: Option<SocketAddr>,
        reuse_address: bool,
        buffers: Buffers,
    },
    UnixListen {
        address: UnixAddress,
        /// File mode, set before the first connect is possible.
        mode: Option<u32>,
        backlog: u32,
        /// Removes a socket file that has no listener.
        remove_stale: bool,
        /// Removes the socket file on close.
        unlink: bool,
        buffers: Buffers,
    },
    /// A UNIX connect completes at once or fails. `WouldBlock`: the listener's backlog is full, and
    /// no event reports when it has room again.
    UnixConnect {
        address: UnixAddress,
        bind: Option<UnixAddress>,
        buffers: Buffers,
    },
    Udp {
        bind: SocketAddr,
        /// The only peer, if the socket is connected.
        connect: Option<SocketAddr>,
        reuse_address: bool,
        reuse_port: bool,
        ipv6_only: Option<bool>,
        broadcast: bool,
        buffers: Buffers,
    },
    UnixDatagram {
        bind: Option<UnixAddress>,
        /// The only peer, if the socket is connected.
        connect: Option<UnixAddress>,
        mode: Option<u32>,
        remove_stale: bool,
        unlink: bool,
        buffers: Buffers,
    },
}

/// Expected type of an adopted descriptor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Adopt {
    /// A listening stream socket.
    Listener,
    /// A connected stream socket.
    Connection,
    /// A datagram socket.
    Datagram,
}

/// Sizes of the kernel's socket buffers, in bytes. `None` keeps the system's default.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Buffers {
    pub(crate) send: Option<usize>,
    pub(crate) receive: Option<usize>,
}

/// A failed step of opening a socket.
#[derive(Debug)]
pub(crate) struct OpenError {
    pub(crate) step: OpenStep,
    pub(crate) error: io::Error,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OpenStep {
    Socket,
    Option,
    Bind,
    Listen,
    Connect,
    Mode,
    Adopt,
    Watch,
}

impl OpenStep {
    pub(crate) fn name(self) -> &'static str {
        match self {
            OpenStep::Socket => "socket",
            OpenStep::Option => "setsockopt",
            OpenStep::Bind => "bind",
            OpenStep::Listen => "listen",
            OpenStep::Connect => "connect",
            OpenStep::Mode => "chmod",
            OpenStep::Adopt => "adopt",
            OpenStep::Watch => "watch",
        }
    }
}
