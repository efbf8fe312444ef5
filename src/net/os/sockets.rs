//! Opening sockets with their options, and the table of the open ones.

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::PathBuf;

use rustix::net::{AddressFamily, SocketAddrAny, SocketAddrUnix, SocketType, sockopt};
use socket2::{Domain, Protocol, SockRef, Socket, Type};

use super::datagrams::Family;
use crate::net::{Address, Adopt, Buffers, Close, Open, OpenError, Step, Token, UnixAddress};

/// Open sockets by the index of their token.
#[derive(Default)]
pub(super) struct Sockets {
    entries: Vec<Entry>,
    /// The files of UNIX listeners that go with them.
    files: Vec<(Token, SocketFile)>,
}

struct Entry {
    generation: u32,
    kind: Kind,
    /// None once it is closed.
    descriptor: Option<OwnedFd>,
}

/// What a descriptor is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// It may be open elsewhere as well: closing ours does not take it out of the poll.
    Listener,
    Tcp,
    Unix,
    /// A stream that came as a descriptor, and may be open elsewhere as well.
    AdoptedTcp,
    AdoptedUnix,
    Datagram(Family),
    AdoptedDatagram(Family),
    /// A pipe to a child process.
    PipeTo,
    /// A pipe from a child process.
    PipeFrom,
    /// This side of a child's terminal.
    Terminal,
}

impl Kind {
    pub(super) fn listens(self) -> bool {
        self == Kind::Listener
    }

    pub(super) fn is_stream(self) -> bool {
        self.family().is_none()
    }

    /// Of a socket of datagrams.
    pub(super) fn family(self) -> Option<Family> {
        match self {
            Kind::Datagram(family) | Kind::AdoptedDatagram(family) => Some(family),
            Kind::Listener
            | Kind::Tcp
            | Kind::Unix
            | Kind::AdoptedTcp
            | Kind::AdoptedUnix
            | Kind::PipeTo
            | Kind::PipeFrom
            | Kind::Terminal => None,
        }
    }

    fn may_be_shared(self) -> bool {
        match self {
            Kind::Listener | Kind::AdoptedTcp | Kind::AdoptedUnix | Kind::AdoptedDatagram(_) => true,
            Kind::Tcp | Kind::Unix | Kind::Datagram(_) | Kind::PipeTo | Kind::PipeFrom | Kind::Terminal => {
                false
            }
        }
    }
}

/// A socket that was opened, and is in no table yet.
pub(super) struct Opened {
    pub(super) kind: Kind,
    pub(super) descriptor: OwnedFd,
    pub(super) file: Option<SocketFile>,
}

impl Opened {
    /// It comes to nothing: what was made for it goes.
    pub(super) fn undo(self) {
        if let Some(file) = self.file {
            file.remove();
        }
    }
}

/// The file of a UNIX listener: it is removed with the listener, if it still is the same one.
#[derive(Debug)]
pub(super) struct SocketFile {
    path: PathBuf,
    device: u64,
    inode: u64,
}

impl SocketFile {
    fn of(path: PathBuf) -> Option<SocketFile> {
        let found = fs::symlink_metadata(&path).ok()?;
        Some(SocketFile { path, device: found.dev(), inode: found.ino() })
    }

    /// Another process may have bound the same path since.
    fn remove(self) {
        let same = |found: &fs::Metadata| (found.dev(), found.ino()) == (self.device, self.inode);
        if fs::symlink_metadata(&self.path).is_ok_and(|found| same(&found)) {
            // Whoever removed it before us has done what was wanted.
            let _ = fs::remove_file(&self.path);
        }
    }
}

impl Sockets {
    pub(super) fn insert(&mut self, token: Token, opened: Opened) {
        let index = token.index();
        if index >= self.entries.len() {
            let empty = || Entry { generation: 0, kind: Kind::Tcp, descriptor: None };
            self.entries.resize_with(index + 1, empty);
        }
        let Opened { kind, descriptor, file } = opened;
        self.entries[index] = Entry { generation: token.generation(), kind, descriptor: Some(descriptor) };
        self.files.extend(file.map(|file| (token, file)));
    }

    pub(super) fn get(&self, token: Token) -> io::Result<(BorrowedFd<'_>, Kind)> {
        self.find(token).ok_or(io::ErrorKind::NotFound.into())
    }

    /// Anything that carries bytes.
    pub(super) fn carrier(&self, token: Token) -> io::Result<(BorrowedFd<'_>, Kind)> {
        self.get(token).and_then(|(descriptor, kind)| match kind.listens() {
            true => Err(io::ErrorKind::NotFound.into()),
            false => Ok((descriptor, kind)),
        })
    }

    /// What is open under a token. On the path of every message: no error is made.
    #[inline]
    pub(super) fn find(&self, token: Token) -> Option<(BorrowedFd<'_>, Kind)> {
        match self.entries.get(token.index()) {
            Some(Entry { generation, kind, descriptor: Some(descriptor) })
                if *generation == token.generation() =>
            {
                Some((descriptor.as_fd(), *kind))
            }
            _ => None,
        }
    }

    #[inline]
    pub(super) fn stream(&self, token: Token) -> io::Result<BorrowedFd<'_>> {
        match self.get(token)? {
            (descriptor, Kind::Tcp | Kind::Unix | Kind::AdoptedTcp | Kind::AdoptedUnix) => Ok(descriptor),
            _ => Err(io::ErrorKind::NotFound.into()),
        }
    }

    pub(super) fn datagram(&self, token: Token) -> io::Result<(BorrowedFd<'_>, Family)> {
        let (descriptor, kind) = self.get(token)?;
        Ok((descriptor, kind.family().ok_or(io::ErrorKind::NotFound)?))
    }

    pub(super) fn listener(&self, token: Token) -> io::Result<BorrowedFd<'_>> {
        match self.get(token)? {
            (descriptor, kind) if kind.listens() => Ok(descriptor),
            _ => Err(io::ErrorKind::NotFound.into()),
        }
    }

    /// Whoever gets it shares the socket, and its file if it has one.
    pub(super) fn duplicate(&mut self, token: Token) -> io::Result<OwnedFd> {
        let (descriptor, kind) = self.get(token)?;
        if matches!(kind, Kind::PipeTo | Kind::PipeFrom | Kind::Terminal) {
            return Err(io::ErrorKind::Unsupported.into());
        }
        let duplicate = descriptor.try_clone_to_owned()?;
        if let Some(entry) = self.entries.get_mut(token.index()) {
            entry.kind = match entry.kind {
                Kind::Tcp => Kind::AdoptedTcp,
                Kind::Unix => Kind::AdoptedUnix,
                Kind::Datagram(family) => Kind::AdoptedDatagram(family),
                shared @ (Kind::Listener
                | Kind::AdoptedTcp
                | Kind::AdoptedUnix
                | Kind::AdoptedDatagram(_)
                | Kind::PipeTo
                | Kind::PipeFrom
                | Kind::Terminal) => shared,
            };
        }
        self.files.retain(|(owner, _)| *owner != token);
        Ok(duplicate)
    }

    /// Closing takes the descriptor out of the poll as well, unless it is open elsewhere, too.
    pub(super) fn close(&mut self, token: Token, how: Close, registry: &mio::Registry) {
        let Some(entry) = self.entries.get_mut(token.index()) else {
            return;
        };
        if entry.generation != token.generation() {
            return;
        }
        let Some(descriptor) = entry.descriptor.take() else {
            return;
        };
        if let (Kind::Tcp | Kind::AdoptedTcp, Close::Reset) = (entry.kind, how) {
            // Without it the close is a graceful one, which is the best that is left.
            let _ = SockRef::from(&descriptor).set_linger(Some(std::time::Duration::ZERO));
        }
        if entry.kind.may_be_shared() {
            // It may have been closed from below us: then it is in no poll either.
            let _ = registry.deregister(&mut mio::unix::SourceFd(&descriptor.as_raw_fd()));
        }
        // The file goes first: whoever finds it in between is told at once that nobody listens any more.
        if let Some(at) = self.files.iter().position(|(owner, _)| *owner == token) {
            self.files.swap_remove(at).1.remove();
        }
        drop(descriptor);
    }
}

/// A process that ends with its listeners open leaves no files behind.
impl Drop for Sockets {
    fn drop(&mut self) {
        for (_, file) in self.files.drain(..) {
            file.remove();
        }
    }
}

pub(super) fn open(what: &Open) -> Result<Opened, OpenError> {
    let opened = |kind, socket: Socket| Opened { kind, descriptor: socket.into(), file: None };
    match what {
        Open::TcpListen { address, reuse_address, reuse_port, ipv6_only, backlog, buffers } => {
            let socket = tcp_socket(address, *reuse_address, *buffers)?;
            if let (Some(only), SocketAddr::V6(_)) = (ipv6_only, address) {
                at(Step::Option, socket.set_only_v6(*only))?;
            }
            if *reuse_port {
                at(Step::Option, socket.set_reuse_port(true))?;
            }
            at(Step::Bind, socket.bind(&(*address).into()))?;
            at(Step::Listen, socket.listen(backlog_of(*backlog)))?;
            Ok(opened(Kind::Listener, socket))
        }
        Open::TcpConnect { address, bind, reuse_address, buffers } => {
            let socket = tcp_socket(address, *reuse_address, *buffers)?;
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
            Ok(opened(Kind::Tcp, socket))
        }
        Open::UnixListen { address, mode, backlog, remove_stale, unlink, buffers } => {
            let socket = unix_socket(Type::STREAM, *buffers)?;
            let file = bind_unix(&socket, address, *mode, *remove_stale)?;
            keep_file(file, *unlink, at(Step::Listen, socket.listen(backlog_of(*backlog))))
                .map(|file| Opened { file, ..opened(Kind::Listener, socket) })
        }
        Open::UnixConnect { address, bind, buffers } => {
            let socket = unix_socket(Type::STREAM, *buffers)?;
            let file = match bind {
                Some(bind) => bind_unix(&socket, bind, None, false)?,
                None => None,
            };
            let connected =
                system_address(address).and_then(|address| Ok(rustix::net::connect(&socket, &address)?));
            keep_file(file, true, at(Step::Connect, connected))
                .map(|file| Opened { file, ..opened(Kind::Unix, socket) })
        }
        Open::Udp { bind, connect, reuse_address, reuse_port, ipv6_only, broadcast, buffers } => {
            let socket = new_socket(Domain::for_address(*bind), Type::DGRAM, Some(Protocol::UDP));
            let socket = at(Step::Socket, socket)?;
            set_buffers(&socket, *buffers)?;
            if *reuse_address {
                at(Step::Option, socket.set_reuse_address(true))?;
            }
            if *reuse_port {
                at(Step::Option, socket.set_reuse_port(true))?;
            }
            if *broadcast {
                at(Step::Option, socket.set_broadcast(true))?;
            }
            let family = match bind {
                SocketAddr::V4(_) => Family::V4,
                SocketAddr::V6(_) => Family::V6,
            };
            if let (Some(only), Family::V6) = (ipv6_only, family) {
                at(Step::Option, socket.set_only_v6(*only))?;
            }
            at(Step::Bind, socket.bind(&(*bind).into()))?;
            if let Some(peer) = connect {
                at(Step::Connect, socket.connect(&(*peer).into()))?;
            }
            Ok(opened(Kind::Datagram(family), socket))
        }
        Open::UnixDatagram { bind, connect, mode, remove_stale, unlink, buffers } => {
            let socket = unix_socket(Type::DGRAM, *buffers)?;
            let file = match bind {
                Some(bind) => bind_unix(&socket, bind, *mode, *remove_stale)?,
                None => None,
            };
            let connected = match connect {
                Some(peer) => system_address(peer).and_then(|peer| Ok(rustix::net::connect(&socket, &peer)?)),
                None => Ok(()),
            };
            keep_file(file, *unlink, at(Step::Connect, connected))
                .map(|file| Opened { file, ..opened(Kind::Datagram(Family::Unix), socket) })
        }
    }
}

/// The file that goes with a socket, if it is to; it goes at once when the next step has failed.
fn keep_file(
    file: Option<SocketFile>,
    unlink: bool,
    next: Result<(), OpenError>,
) -> Result<Option<SocketFile>, OpenError> {
    match next {
        Ok(()) => Ok(file.filter(|_| unlink)),
        Err(failed) => {
            if let Some(file) = file {
                file.remove();
            }
            Err(failed)
        }
    }
}

/// Looks whether a descriptor is what it is taken for, and makes it ours.
pub(super) fn adopt(descriptor: OwnedFd, what: Adopt) -> Result<Opened, OpenError> {
    let wrong = |errno: rustix::io::Errno| OpenError { step: Step::Adopt, error: errno.into() };
    let family = sockopt::socket_domain(&descriptor).map_err(wrong)?;
    let wanted = match what {
        Adopt::Listener | Adopt::Connection => SocketType::STREAM,
        Adopt::Datagram => SocketType::DGRAM,
    };
    let listens = sockopt::socket_acceptconn(&descriptor).map_err(wrong)?;
    let kind = match (what, family) {
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
        (Adopt::Datagram, AddressFamily::INET) => Kind::AdoptedDatagram(Family::V4),
        (Adopt::Datagram, AddressFamily::INET6) => Kind::AdoptedDatagram(Family::V6),
        (Adopt::Datagram, AddressFamily::UNIX) => Kind::AdoptedDatagram(Family::Unix),
        (Adopt::Connection | Adopt::Datagram, _) => return Err(wrong(rustix::io::Errno::AFNOSUPPORT)),
    };
    rustix::io::ioctl_fionbio(&descriptor, true).map_err(wrong)?;
    rustix::io::fcntl_setfd(&descriptor, rustix::io::FdFlags::CLOEXEC).map_err(wrong)?;
    Ok(Opened { kind, descriptor, file: None })
}

/// Binds, and answers with the file that came to be. What comes to a socket before it listens is refused, so that
/// nobody gets in before the file has its mode.
fn bind_unix(
    socket: &Socket,
    address: &UnixAddress,
    mode: Option<u32>,
    remove_stale: bool,
) -> Result<Option<SocketFile>, OpenError> {
    let system = at(Step::Bind, system_address(address))?;
    let mut bound = rustix::net::bind(socket, &system).map_err(io::Error::from);
    if let (Err(error), Some(path)) = (&bound, address.path())
        && error.kind() == io::ErrorKind::AddrInUse
        && remove_stale
        && is_stale(path, &system)
    {
        at(Step::Bind, fs::remove_file(path))?;
        bound = rustix::net::bind(socket, &system).map_err(io::Error::from);
    }
    at(Step::Bind, bound)?;
    let Some(path) = address.path() else {
        return Ok(None);
    };
    // The path may be relative, and the working directory change.
    let file = SocketFile::of(std::path::absolute(path).unwrap_or_else(|_| path.to_owned()));
    if let Some(mode) = mode {
        let set = fs::set_permissions(path, fs::Permissions::from_mode(mode));
        if let Err(error) = set {
            if let Some(file) = file {
                file.remove();
            }
            return Err(OpenError { step: Step::Mode, error });
        }
    }
    Ok(file)
}

/// Whether a file is a socket that nobody listens on any more. A full backlog, or anything else that is not a refusal,
/// is somebody's.
fn is_stale(path: &std::path::Path, address: &SocketAddrUnix) -> bool {
    if !fs::symlink_metadata(path).is_ok_and(|found| found.file_type().is_socket()) {
        return false;
    }
    let Ok(probe) = new_socket(Domain::UNIX, Type::STREAM, None) else {
        return false;
    };
    match rustix::net::connect(&probe, address) {
        Err(rustix::io::Errno::CONNREFUSED) => true,
        // A socket of datagrams has its file there: it takes no streams, and says whether it lives.
        Err(rustix::io::Errno::PROTOTYPE) => new_socket(Domain::UNIX, Type::DGRAM, None)
            .is_ok_and(|probe| rustix::net::connect(&probe, address) == Err(rustix::io::Errno::CONNREFUSED)),
        _ => false,
    }
}

/// A UNIX address as the system takes it.
pub(super) fn system_address(address: &UnixAddress) -> io::Result<SocketAddrUnix> {
    if let Some(path) = address.path() {
        return Ok(SocketAddrUnix::new(path)?);
    }
    #[cfg(target_os = "linux")]
    if let Some(name) = address.abstract_name() {
        return Ok(SocketAddrUnix::new_abstract_name(name)?);
    }
    Err(io::ErrorKind::Unsupported.into())
}

/// An address that the system told of.
pub(super) fn address_of(system: SocketAddrAny, stream: bool) -> io::Result<Address> {
    if system.address_family() == AddressFamily::UNIX {
        return Ok(Address::Unix(unix_address_of(&SocketAddrUnix::try_from(system)?)));
    }
    let address = SocketAddr::try_from(system)?;
    Ok(if stream { Address::Tcp(address) } else { Address::Udp(address) })
}

fn unix_address_of(system: &SocketAddrUnix) -> UnixAddress {
    #[cfg(target_os = "linux")]
    if let Some(name) = system.abstract_name() {
        return UnixAddress::of_abstract(name).unwrap_or(UnixAddress::UNNAMED);
    }
    let path = system.path_bytes().map(std::ffi::OsStr::from_bytes);
    path.and_then(|path| UnixAddress::of_path(path).ok()).unwrap_or(UnixAddress::UNNAMED)
}

/// A connect that goes on in the background; EINTR leaves it under way as well. EAGAIN does not: it is a failure.
fn under_way(error: &io::Error) -> bool {
    error.raw_os_error() == Some(rustix::io::Errno::INPROGRESS.raw_os_error())
        || error.kind() == io::ErrorKind::Interrupted
}

fn tcp_socket(address: &SocketAddr, reuse_address: bool, buffers: Buffers) -> Result<Socket, OpenError> {
    let domain = Domain::for_address(*address);
    let socket = at(Step::Socket, new_socket(domain, Type::STREAM, Some(Protocol::TCP)))?;
    if reuse_address {
        at(Step::Option, socket.set_reuse_address(true))?;
    }
    set_buffers(&socket, buffers)?;
    Ok(socket)
}

fn unix_socket(kind: Type, buffers: Buffers) -> Result<Socket, OpenError> {
    let socket = at(Step::Socket, new_socket(Domain::UNIX, kind, None))?;
    set_buffers(&socket, buffers)?;
    Ok(socket)
}

fn set_buffers(socket: &Socket, buffers: Buffers) -> Result<(), OpenError> {
    if let Some(size) = buffers.send {
        at(Step::Option, socket.set_send_buffer_size(size))?;
    }
    if let Some(size) = buffers.receive {
        at(Step::Option, socket.set_recv_buffer_size(size))?;
    }
    Ok(())
}

fn backlog_of(asked: u32) -> i32 {
    i32::try_from(asked).unwrap_or(i32::MAX)
}

fn at<T>(step: Step, result: io::Result<T>) -> Result<T, OpenError> {
    result.map_err(|error| OpenError { step, error })
}

/// Close-on-exec, and non-blocking from the start where the system can, which saves two calls.
#[cfg(any(
    target_os = "android",
    target_os = "freebsd",
    target_os = "linux",
    target_os = "netbsd",
    target_os = "openbsd"
))]
fn new_socket(domain: Domain, kind: Type, protocol: Option<Protocol>) -> io::Result<Socket> {
    Socket::new(domain, kind.nonblocking(), protocol)
}

#[cfg(not(any(
    target_os = "android",
    target_os = "freebsd",
    target_os = "linux",
    target_os = "netbsd",
    target_os = "openbsd"
)))]
fn new_socket(domain: Domain, kind: Type, protocol: Option<Protocol>) -> io::Result<Socket> {
    let socket = Socket::new(domain, kind, protocol)?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}
