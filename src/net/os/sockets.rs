//! Opening sockets with their options, and the table of the open ones.

use std::io;
use std::net::SocketAddr;

use mio::net::{TcpListener, TcpStream};
use socket2::{Domain, Protocol, SockRef, Socket, TcpKeepalive, Type};

use crate::net::{Buffers, Close, Open, OpenError, SocketOption, Step, Token};
use crate::net::{KEEPALIVE_PROBES, keepalive_interval};

/// Open sockets by the index of their token.
#[derive(Default)]
pub(super) struct Sockets {
    entries: Vec<Entry>,
}

struct Entry {
    generation: u32,
    socket: Kind,
}

pub(super) enum Kind {
    Closed,
    Listener(TcpListener),
    Stream(TcpStream),
}

impl Sockets {
    pub(super) fn insert(&mut self, token: Token, socket: Kind) {
        let index = token.index();
        if index >= self.entries.len() {
            self.entries.resize_with(index + 1, || Entry { generation: 0, socket: Kind::Closed });
        }
        self.entries[index] = Entry { generation: token.generation(), socket };
    }

    pub(super) fn stream(&self, token: Token) -> io::Result<&TcpStream> {
        match self.entries.get(token.index()) {
            Some(Entry { generation, socket: Kind::Stream(stream) }) if *generation == token.generation() => {
                Ok(stream)
            }
            _ => Err(io::ErrorKind::NotFound.into()),
        }
    }

    pub(super) fn listener(&self, token: Token) -> io::Result<&TcpListener> {
        match self.entries.get(token.index()) {
            Some(Entry { generation, socket: Kind::Listener(listener) })
                if *generation == token.generation() =>
            {
                Ok(listener)
            }
            _ => Err(io::ErrorKind::NotFound.into()),
        }
    }

    pub(super) fn local_address(&self, token: Token) -> io::Result<SocketAddr> {
        self.stream(token).and_then(TcpStream::local_addr).or_else(|_| self.listener(token)?.local_addr())
    }

    /// Closing takes the descriptor out of the poll as well: no call of its own is needed.
    pub(super) fn close(&mut self, token: Token, how: Close) {
        let Some(entry) = self.entries.get_mut(token.index()) else {
            return;
        };
        if entry.generation != token.generation() {
            return;
        }
        if let (Kind::Stream(stream), Close::Reset) = (&entry.socket, how) {
            // Without it the close is a graceful one, which is the best that is left.
            let _ = SockRef::from(stream).set_linger(Some(std::time::Duration::ZERO));
        }
        entry.socket = Kind::Closed;
    }
}

pub(super) fn open(what: &Open) -> Result<Kind, OpenError> {
    match what {
        Open::TcpListen { address, reuse_address, reuse_port, ipv6_only, backlog, buffers } => {
            let socket = stream_socket(address, *reuse_address, *buffers)?;
            if let (Some(only), SocketAddr::V6(_)) = (ipv6_only, address) {
                at(Step::Option, socket.set_only_v6(*only))?;
            }
            if *reuse_port {
                at(Step::Option, socket.set_reuse_port(true))?;
            }
            at(Step::Bind, socket.bind(&(*address).into()))?;
            let backlog = i32::try_from(*backlog).unwrap_or(i32::MAX);
            at(Step::Listen, socket.listen(backlog))?;
            Ok(Kind::Listener(TcpListener::from_std(socket.into())))
        }
        Open::TcpConnect { address, bind, reuse_address, buffers } => {
            let socket = stream_socket(address, *reuse_address, *buffers)?;
            if let Some(bind) = bind {
                at(Step::Bind, socket.bind(&(*bind).into()))?;
            }
            match socket.connect(&(*address).into()) {
                Ok(()) => {}
                Err(error) if under_way(&error) => {}
                Err(error) => {
                    return Err(OpenError { step: Step::Connect, error });
                }
            }
            Ok(Kind::Stream(TcpStream::from_std(socket.into())))
        }
    }
}

pub(super) fn set(stream: &TcpStream, option: SocketOption) -> io::Result<()> {
    match option {
        SocketOption::NoDelay(on) => stream.set_nodelay(on),
        SocketOption::KeepAlive(None) => SockRef::from(stream).set_keepalive(false),
        SocketOption::KeepAlive(Some(idle)) => {
            // The system would ask nine times, 75 seconds apart: eleven minutes.
            let probes = TcpKeepalive::new()
                .with_time(idle)
                .with_interval(keepalive_interval(idle))
                .with_retries(KEEPALIVE_PROBES);
            SockRef::from(stream).set_tcp_keepalive(&probes)
        }
    }
}

/// A connect that goes on in the background; EINTR leaves it under way as well. EAGAIN does not: it is a failure.
fn under_way(error: &io::Error) -> bool {
    error.raw_os_error() == Some(rustix::io::Errno::INPROGRESS.raw_os_error())
        || error.kind() == io::ErrorKind::Interrupted
}

fn stream_socket(address: &SocketAddr, reuse_address: bool, buffers: Buffers) -> Result<Socket, OpenError> {
    // `Socket::new` makes it close-on-exec.
    let domain = Domain::for_address(*address);
    let socket = at(Step::Socket, new_socket(domain))?;
    if reuse_address {
        at(Step::Option, socket.set_reuse_address(true))?;
    }
    if let Some(size) = buffers.send {
        at(Step::Option, socket.set_send_buffer_size(size))?;
    }
    if let Some(size) = buffers.receive {
        at(Step::Option, socket.set_recv_buffer_size(size))?;
    }
    Ok(socket)
}

fn at<T>(step: Step, result: io::Result<T>) -> Result<T, OpenError> {
    result.map_err(|error| OpenError { step, error })
}

/// Non-blocking from the start where the system can, which saves two calls.
#[cfg(any(
    target_os = "android",
    target_os = "freebsd",
    target_os = "linux",
    target_os = "netbsd",
    target_os = "openbsd"
))]
fn new_socket(domain: Domain) -> io::Result<Socket> {
    Socket::new(domain, Type::STREAM.nonblocking(), Some(Protocol::TCP))
}

#[cfg(not(any(
    target_os = "android",
    target_os = "freebsd",
    target_os = "linux",
    target_os = "netbsd",
    target_os = "openbsd"
)))]
fn new_socket(domain: Domain) -> io::Result<Socket> {
    let socket = Socket::new(domain, Type::STREAM, Some(Protocol::TCP))?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}
