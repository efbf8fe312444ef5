//! Names of sockets: addresses as the system has them, and the files of UNIX sockets.

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::PathBuf;

use rustix::net::{AddressFamily, SocketAddrAny, SocketAddrUnix};
use socket2::Socket;

use super::opening::at;
use super::stale::Turn;
use crate::net::{Address, OpenError, Step, UnixAddress};

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
    pub(super) fn remove(self) {
        let same = |found: &fs::Metadata| (found.dev(), found.ino()) == (self.device, self.inode);
        if fs::symlink_metadata(&self.path).is_ok_and(|found| same(&found)) {
            // Whoever removed it before us has done what was wanted.
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// What a socket was bound with. Until it listens, which is when this is gone, nobody else takes its file for a stale one.
#[derive(Default)]
pub(super) struct Bound {
    file: Option<SocketFile>,
    _turn: Option<Turn>,
}

impl Bound {
    /// The file that goes with the socket, if it is to; it goes at once when the next step has failed.
    pub(super) fn keep_file(
        self,
        unlink: bool,
        next: Result<(), OpenError>,
    ) -> Result<Option<SocketFile>, OpenError> {
        match next {
            Ok(()) => Ok(self.file.filter(|_| unlink)),
            Err(failed) => {
                if let Some(file) = self.file {
                    file.remove();
                }
                Err(failed)
            }
        }
    }
}

/// Binds, and answers with the file that came to be. What comes to a socket before it listens is refused, so that
/// nobody gets in before the file has its mode.
pub(super) fn bind_unix(
    socket: &Socket,
    address: &UnixAddress,
    mode: Option<u32>,
    remove_stale: bool,
) -> Result<Bound, OpenError> {
    let system = at(Step::Bind, system_address(address))?;
    let turn = address.path().map(Turn::take);
    let mut bound = rustix::net::bind(socket, &system).map_err(io::Error::from);
    if let (Err(error), Some(path), Some(turn)) = (&bound, address.path(), &turn)
        && error.kind() == io::ErrorKind::AddrInUse
        && remove_stale
        && at(Step::Bind, turn.remove_stale(path, &system))?
    {
        bound = rustix::net::bind(socket, &system).map_err(io::Error::from);
    }
    at(Step::Bind, bound)?;
    let Some(path) = address.path() else {
        return Ok(Bound::default());
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
    Ok(Bound { file, _turn: turn })
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
