//! Opening, adopting and accepting sockets.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::net::{AddressFamily, SocketAddrAny, SocketType, sockopt};
use socket2::{Domain, Protocol, Socket, Type};

use super::address::system_address;
use super::{Kind, Opened};
use crate::net::os::datagram::{Destinations, Family, request_destinations};
use crate::net::os::unix::socket_file::{Bound, bind_unix};
use crate::net::{Adopt, Buffers, Credentials, Open, OpenError, OpenStep};

pub(in crate::net::os) fn open(options: &Open) -> Result<Opened, OpenError> {
    let opened = |kind, socket: Socket| Opened { kind, descriptor: socket.into(), file: None };
    match options {
        Open::TcpListen { address, reuse_address, reuse_port, ipv6_only, backlog, buffers, nodelay } => {
            let socket = tcp_socket(address, *reuse_address, *buffers)?;
            if let (Some(only), SocketAddr::V6(_)) = (ipv6_only, address) {
                at(OpenStep::Option, socket.set_only_v6(*only))?;
            }
            if *reuse_port {
                at(OpenStep::Option, socket.set_reuse_port(true))?;
            }
            if *nodelay && INHERITS_NODELAY {
                at(OpenStep::Option, socket.set_tcp_nodelay(true))?;
            }
            at(OpenStep::Bind, socket.bind(&(*address).into()))?;
            at(OpenStep::Listen, socket.listen(backlog_of(*backlog)))?;
            Ok(opened(Kind::Listener, socket))
        }
        Open::TcpConnect { address, bind, reuse_address, buffers } => {
            let socket = tcp_socket(address, *reuse_address, *buffers)?;
            if let Some(bind) = bind {
                at(OpenStep::Bind, socket.bind(&(*bind).into()))?;
            }
            match socket.connect(&(*address).into()) {
                Ok(()) => {}
                Err(error) if in_progress(&error) => {}
                Err(error) => {
                    return Err(OpenError { step: OpenStep::Connect, error });
                }
            }
            Ok(opened(Kind::Tcp, socket))
        }
        Open::UnixListen { address, mode, backlog, remove_stale, unlink, buffers } => {
            let socket = unix_socket(Type::STREAM, *buffers)?;
            let bound = bind_unix(&socket, address, *mode, *remove_stale)?;
            bound
                .keep_file(*unlink, at(OpenStep::Listen, socket.listen(backlog_of(*backlog))))
                .map(|file| Opened { file, ..opened(Kind::Listener, socket) })
        }
        Open::UnixConnect { address, bind, buffers } => {
            let socket = unix_socket(Type::STREAM, *buffers)?;
            let bound = match bind {
                Some(bind) => bind_unix(&socket, bind, None, false)?,
                None => Bound::default(),
            };
            let connected =
                system_address(address).and_then(|address| Ok(rustix::net::connect(&socket, &address)?));
            bound
                .keep_file(true, at(OpenStep::Connect, connected))
                .map(|file| Opened { file, ..opened(Kind::Unix, socket) })
        }
        Open::Udp { bind, connect, reuse_address, reuse_port, ipv6_only, broadcast, buffers } => {
            let socket = new_socket(Domain::for_address(*bind), Type::DGRAM, Some(Protocol::UDP));
            let socket = at(OpenStep::Socket, socket)?;
            set_buffers(&socket, *buffers)?;
            if *reuse_address {
                at(OpenStep::Option, socket.set_reuse_address(true))?;
            }
            if *reuse_port {
                at(OpenStep::Option, socket.set_reuse_port(true))?;
            }
            if *broadcast {
                at(OpenStep::Option, socket.set_broadcast(true))?;
            }
            if let (Some(only), SocketAddr::V6(_)) = (ipv6_only, bind) {
                at(OpenStep::Option, socket.set_only_v6(*only))?;
            }
            let destinations = match bind.ip().is_unspecified() && connect.is_none() {
                true => Destinations::Reported,
                false => Destinations::Unreported,
            };
            if destinations == Destinations::Reported {
                at(OpenStep::Option, request_destinations(socket.as_fd(), bind.is_ipv6()))?;
            }
            let family = match bind {
                SocketAddr::V4(_) => Family::V4(destinations),
                SocketAddr::V6(_) => Family::V6(destinations),
            };
            at(OpenStep::Bind, socket.bind(&(*bind).into()))?;
            if let Some(peer) = connect {
                at(OpenStep::Connect, socket.connect(&(*peer).into()))?;
            }
            Ok(opened(Kind::Datagram(family), socket))
        }
        Open::UnixDatagram { bind, connect, mode, remove_stale, unlink, buffers } => {
            let socket = unix_socket(Type::DGRAM, *buffers)?;
            let bound = match bind {
                Some(bind) => bind_unix(&socket, bind, *mode, *remove_stale)?,
                None => Bound::default(),
            };
            let connected = match connect {
                Some(peer) => system_address(peer).and_then(|peer| Ok(rustix::net::connect(&socket, &peer)?)),
                None => Ok(()),
            };
            bound
                .keep_file(*unlink, at(OpenStep::Connect, connected))
                .map(|file| Opened { file, ..opened(Kind::Datagram(Family::Unix), socket) })
        }
    }
}

/// The source address of datagrams to a destination: the local address of a UDP socket that is
/// connected to it. The connect selects the route, and sends nothing.
pub(in crate::net::os) fn source_address(mut destination: SocketAddr) -> io::Result<IpAddr> {
    if destination.port() == 0 {
        // BSD refuses to connect to port 0. The port has no influence on the route.
        destination.set_port(DISCARD);
    }
    let socket = new_socket(Domain::for_address(destination), Type::DGRAM, Some(Protocol::UDP))?;
    socket.connect(&destination.into())?;
    let local = socket.local_addr()?.as_socket();
    local.map(|local| local.ip()).ok_or_else(|| io::ErrorKind::AddrNotAvailable.into())
}

/// Checks that a descriptor has the expected type, and makes it non-blocking and close-on-exec.
pub(in crate::net::os) fn adopt(descriptor: OwnedFd, adopt: Adopt) -> Result<Opened, OpenError> {
    let wrong = |errno: rustix::io::Errno| OpenError { step: OpenStep::Adopt, error: errno.into() };
    let family = sockopt::socket_domain(&descriptor).map_err(wrong)?;
    if ![AddressFamily::INET, AddressFamily::INET6, AddressFamily::UNIX].contains(&family) {
        return Err(wrong(rustix::io::Errno::AFNOSUPPORT));
    }
    let wanted = match adopt {
        Adopt::Listener | Adopt::Connection => SocketType::STREAM,
        Adopt::Datagram => SocketType::DGRAM,
    };
    let listens = sockopt::socket_acceptconn(&descriptor).map_err(wrong)?;
    let kind = match (adopt, family) {
        _ if sockopt::socket_type(&descriptor).map_err(wrong)? != wanted => {
            return Err(wrong(rustix::io::Errno::PROTOTYPE));
        }
        (Adopt::Listener, AddressFamily::INET | AddressFamily::INET6 | AddressFamily::UNIX) if listens => {
            Kind::Listener
        }
        (Adopt::Listener, _) => return Err(wrong(rustix::io::Errno::INVAL)),
        (Adopt::Connection, _) if listens => return Err(wrong(rustix::io::Errno::INVAL)),
        (Adopt::Connection, AddressFamily::INET | AddressFamily::INET6) => Kind::AdoptedTcp,
        (Adopt::Connection, AddressFamily::UNIX) => Kind::AdoptedUnix,
        (Adopt::Datagram, AddressFamily::INET | AddressFamily::INET6) if !is_udp(&descriptor) => {
            return Err(wrong(rustix::io::Errno::PROTONOSUPPORT));
        }
        (Adopt::Datagram, AddressFamily::INET) => {
            Kind::AdoptedDatagram(Family::V4(destinations_of(&descriptor, false)))
        }
        (Adopt::Datagram, AddressFamily::INET6) => {
            Kind::AdoptedDatagram(Family::V6(destinations_of(&descriptor, true)))
        }
        (Adopt::Datagram, AddressFamily::UNIX) => Kind::AdoptedDatagram(Family::Unix),
        (Adopt::Connection | Adopt::Datagram, _) => return Err(wrong(rustix::io::Errno::AFNOSUPPORT)),
    };
    rustix::io::ioctl_fionbio(&descriptor, true).map_err(wrong)?;
    rustix::io::fcntl_setfd(&descriptor, rustix::io::FdFlags::CLOEXEC).map_err(wrong)?;
    Ok(Opened { kind, descriptor, file: None })
}

/// Requests destination addresses where an adopted socket is bound to any address and has no peer.
fn destinations_of(descriptor: &OwnedFd, v6: bool) -> Destinations {
    let local = rustix::net::getsockname(descriptor).ok().and_then(|local| SocketAddr::try_from(local).ok());
    let anywhere = local.is_some_and(|local| local.ip().is_unspecified());
    let has_peer = rustix::net::getpeername(descriptor).is_ok_and(|peer| peer.is_some());
    match anywhere && !has_peer && request_destinations(descriptor.as_fd(), v6).is_ok() {
        true => Destinations::Reported,
        false => Destinations::Unreported,
    }
}

/// Excludes other datagram sockets, such as ICMP's, whose addresses have no ports.
#[cfg(any(target_os = "android", target_os = "linux"))]
fn is_udp(descriptor: &OwnedFd) -> bool {
    sockopt::socket_protocol(descriptor) == Ok(Some(rustix::net::ipproto::UDP))
}

#[cfg(not(any(target_os = "android", target_os = "linux")))]
fn is_udp(_: &OwnedFd) -> bool {
    true
}

#[cfg(any(target_os = "android", target_os = "linux"))]
pub(in crate::net::os) fn credentials(stream: BorrowedFd<'_>) -> io::Result<Credentials> {
    let peer = nix::sys::socket::getsockopt(&stream, nix::sys::socket::sockopt::PeerCredentials)?;
    // 0 is a process outside of this PID namespace.
    let process = u32::try_from(peer.pid()).ok().filter(|process| *process != 0);
    Ok(Credentials { process, user: peer.uid(), group: peer.gid() })
}

#[cfg(not(any(target_os = "android", target_os = "linux")))]
pub(in crate::net::os) fn credentials(_: BorrowedFd<'_>) -> io::Result<Credentials> {
    Err(io::ErrorKind::Unsupported.into())
}

/// Accepts a connection that is non-blocking and close-on-exec.
#[cfg(any(
    target_os = "android",
    target_os = "freebsd",
    target_os = "linux",
    target_os = "netbsd",
    target_os = "openbsd"
))]
pub(in crate::net::os) fn accept(listener: BorrowedFd<'_>) -> io::Result<(OwnedFd, Option<SocketAddrAny>)> {
    let flags = rustix::net::SocketFlags::NONBLOCK | rustix::net::SocketFlags::CLOEXEC;
    Ok(rustix::net::acceptfrom_with(listener, flags)?)
}

#[cfg(not(any(
    target_os = "android",
    target_os = "freebsd",
    target_os = "linux",
    target_os = "netbsd",
    target_os = "openbsd"
)))]
pub(in crate::net::os) fn accept(listener: BorrowedFd<'_>) -> io::Result<(OwnedFd, Option<SocketAddrAny>)> {
    let (descriptor, peer) = rustix::net::acceptfrom(listener)?;
    rustix::io::ioctl_fionbio(&descriptor, true)?;
    rustix::io::fcntl_setfd(&descriptor, rustix::io::FdFlags::CLOEXEC)?;
    Ok((descriptor, peer))
}

/// Whether an accepted socket inherits TCP_NODELAY from its listener, which saves one system call
/// per connection. On Linux an accepted socket copies the listener's options.
pub(in crate::net::os) const INHERITS_NODELAY: bool = cfg!(any(target_os = "android", target_os = "linux"));

/// Whether a connect continues in the background. EINTR leaves it in progress as well. EAGAIN is a
/// failure.
fn in_progress(error: &io::Error) -> bool {
    error.raw_os_error() == Some(rustix::io::Errno::INPROGRESS.raw_os_error())
        || error.kind() == io::ErrorKind::Interrupted
}

fn tcp_socket(address: &SocketAddr, reuse_address: bool, buffers: Buffers) -> Result<Socket, OpenError> {
    let domain = Domain::for_address(*address);
    let socket = at(OpenStep::Socket, new_socket(domain, Type::STREAM, Some(Protocol::TCP)))?;
    if reuse_address {
        at(OpenStep::Option, socket.set_reuse_address(true))?;
    }
    set_buffers(&socket, buffers)?;
    Ok(socket)
}

fn unix_socket(kind: Type, buffers: Buffers) -> Result<Socket, OpenError> {
    let socket = at(OpenStep::Socket, new_socket(Domain::UNIX, kind, None))?;
    set_buffers(&socket, buffers)?;
    Ok(socket)
}

fn set_buffers(socket: &Socket, buffers: Buffers) -> Result<(), OpenError> {
    if let Some(size) = buffers.send {
        at(OpenStep::Option, socket.set_send_buffer_size(size))?;
    }
    if let Some(size) = buffers.receive {
        at(OpenStep::Option, socket.set_recv_buffer_size(size))?;
    }
    Ok(())
}

fn backlog_of(backlog: u32) -> i32 {
    i32::try_from(backlog).unwrap_or(i32::MAX)
}

pub(in crate::net::os) fn at<T>(step: OpenStep, result: io::Result<T>) -> Result<T, OpenError> {
    result.map_err(|error| OpenError { step, error })
}

/// Creates a close-on-exec, non-blocking socket. Where the system takes both as flags, this saves
/// two calls.
#[cfg(any(
    target_os = "android",
    target_os = "freebsd",
    target_os = "linux",
    target_os = "netbsd",
    target_os = "openbsd"
))]
pub(in crate::net::os) fn new_socket(
    domain: Domain,
    kind: Type,
    protocol: Option<Protocol>,
) -> io::Result<Socket> {
    Socket::new(domain, kind.nonblocking(), protocol)
}

#[cfg(not(any(
    target_os = "android",
    target_os = "freebsd",
    target_os = "linux",
    target_os = "netbsd",
    target_os = "openbsd"
)))]
pub(in crate::net::os) fn new_socket(
    domain: Domain,
    kind: Type,
    protocol: Option<Protocol>,
) -> io::Result<Socket> {
    let socket = Socket::new(domain, kind, protocol)?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

/// The port of the discard service.
const DISCARD: u16 = 9;

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, TcpStream};
    use std::os::fd::AsFd;

    use super::*;

    #[test]
    fn what_is_accepted_has_the_nodelay_of_its_listener() {
        for nodelay in [true, false] {
            let open = Open::TcpListen {
                address: (Ipv4Addr::LOCALHOST, 0).into(),
                reuse_address: false,
                reuse_port: false,
                ipv6_only: None,
                backlog: 1,
                buffers: Buffers::default(),
                nodelay,
            };
            let listener = Socket::from(super::open(&open).unwrap().descriptor);
            let address = listener.local_addr().unwrap().as_socket().unwrap();
            let _peer = TcpStream::connect(address).unwrap();
            let (accepted, _) = accept(listener.as_fd()).unwrap();
            assert_eq!(Socket::from(accepted).tcp_nodelay().unwrap(), nodelay && INHERITS_NODELAY);
        }
    }

    #[test]
    fn each_buffer_has_the_size_that_was_asked_for() {
        let buffers = Buffers { send: Some(20_000), receive: Some(30_000) };
        let anywhere = (Ipv4Addr::LOCALHOST, 0).into();
        let tcp = Open::TcpListen {
            address: anywhere,
            reuse_address: false,
            reuse_port: false,
            ipv6_only: None,
            backlog: 1,
            buffers,
            nodelay: false,
        };
        let udp = Open::Udp {
            bind: anywhere,
            connect: None,
            reuse_address: false,
            reuse_port: false,
            ipv6_only: None,
            broadcast: false,
            buffers,
        };
        for open in [tcp, udp] {
            let socket = Socket::from(super::open(&open).unwrap().descriptor);
            // Linux adds its overhead: it returns twice the size.
            let (send, receive) = (socket.send_buffer_size().unwrap(), socket.recv_buffer_size().unwrap());
            assert!([20_000, 40_000].contains(&send), "{send}");
            assert!([30_000, 60_000].contains(&receive), "{receive}");
        }
    }

    #[test]
    fn an_adopted_socket_is_not_inherited_and_does_not_block() {
        use rustix::fs::OFlags;
        use rustix::io::FdFlags;

        let udp = || Socket::new(Domain::IPV4, Type::DGRAM, Some(Protocol::UDP)).unwrap();
        let (anywhere, connected) = (udp(), udp());
        let any: SocketAddr = (Ipv4Addr::UNSPECIFIED, 0).into();
        anywhere.bind(&any.into()).unwrap();
        connected.connect(&SocketAddr::from((Ipv4Addr::LOCALHOST, 9)).into()).unwrap();
        for (socket, destinations) in
            [(anywhere, Destinations::Reported), (connected, Destinations::Unreported)]
        {
            rustix::io::fcntl_setfd(&socket, FdFlags::empty()).unwrap();
            let adopted = adopt(socket.into(), Adopt::Datagram).unwrap();
            assert_eq!(adopted.kind, Kind::AdoptedDatagram(Family::V4(destinations)));
            assert!(rustix::io::fcntl_getfd(&adopted.descriptor).unwrap().contains(FdFlags::CLOEXEC));
            assert!(rustix::fs::fcntl_getfl(&adopted.descriptor).unwrap().contains(OFlags::NONBLOCK));
        }
    }
}
