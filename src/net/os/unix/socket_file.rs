//! The files of UNIX sockets: binding with a file mode, and removal.
//!
//! A directory that other users can write to is hostile. Between two calls with the same path, they
//! can place a symbolic link or another file there, or replace a parent directory. No call after
//! `bind` therefore trusts the path:
//! - The file has its mode from its creation on. Linux derives it from the socket's own mode, less
//!   the umask. If the umask would remove bits, the bind runs on a thread with its own umask
//!   (unshare).
//! - Where that is not possible, the file is opened without following links. The mode is set by
//!   descriptor, provided that the file is a socket of this user without a second hard link.
//! - All other calls go through a descriptor of the directory. A file is removed only if it is the
//!   same file in the same directory, by device and inode.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, Stat};
use rustix::io::Errno;
use rustix::net::SocketAddrUnix;
use socket2::Socket;

use super::stale_socket::DirLock;
use crate::net::os::socket::address::system_address;
use crate::net::os::socket::opening::at;
use crate::net::{OpenError, OpenStep, UnixAddress};

/// The file of a UNIX socket. It is removed with the socket, if it still is the same file.
#[derive(Debug)]
pub(in crate::net::os) struct SocketFile {
    /// Absolute, because the working directory may change.
    folder: PathBuf,
    name: OsString,
    folder_id: FileId,
    id: FileId,
}

impl SocketFile {
    /// Removes the file. Another process may have bound the same path since.
    pub(in crate::net::os) fn remove(self) {
        let Ok(place) = Place::open(&self.folder, &self.name) else { return };
        if place.folder_id().is_ok_and(|id| id == self.folder_id)
            && place.look().is_ok_and(|found| FileId::of(&found) == self.id)
        {
            // An error means that another process has removed it already.
            let _ = place.remove();
        }
    }
}

/// Identity of a file, independent of its path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct FileId {
    device: u64,
    inode: u64,
}

impl FileId {
    #[allow(clippy::unnecessary_cast, reason = "the types differ between systems")]
    fn of(found: &Stat) -> FileId {
        FileId { device: found.st_dev as u64, inode: found.st_ino as u64 }
    }
}

/// A name in an open directory. It stays the same directory when its path changes.
pub(in crate::net::os) struct Place {
    folder: OwnedFd,
    name: OsString,
}

impl Place {
    pub(in crate::net::os) fn of(path: &Path) -> io::Result<Place> {
        let name = path.file_name().ok_or(Errno::INVAL)?;
        Place::open(folder_of(path), name)
    }

    fn open(folder: &Path, name: &OsStr) -> io::Result<Place> {
        let flags = PATH_FLAGS | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let folder = rustix::fs::openat(CWD, folder, flags, Mode::empty())?;
        Ok(Place { folder, name: name.to_owned() })
    }

    /// The entry whose name has this suffix added, in the same directory.
    pub(in crate::net::os) fn with_suffix(&self, suffix: &str) -> io::Result<Place> {
        let mut name = self.name.clone();
        name.push(suffix);
        Ok(Place { folder: self.folder.try_clone()?, name })
    }

    pub(in crate::net::os) fn name(&self) -> &OsStr {
        &self.name
    }

    fn folder_id(&self) -> io::Result<FileId> {
        Ok(FileId::of(&rustix::fs::fstat(&self.folder)?))
    }

    /// Metadata of the entry, without following a symbolic link.
    pub(in crate::net::os) fn look(&self) -> io::Result<Stat> {
        Ok(rustix::fs::statat(&self.folder, &self.name, AtFlags::SYMLINK_NOFOLLOW)?)
    }

    pub(in crate::net::os) fn open_file(&self, flags: OFlags, mode: Mode) -> io::Result<OwnedFd> {
        let flags = flags | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        Ok(rustix::fs::openat(&self.folder, &self.name, flags, mode)?)
    }

    pub(in crate::net::os) fn remove(&self) -> io::Result<()> {
        Ok(rustix::fs::unlinkat(&self.folder, &self.name, AtFlags::empty())?)
    }
}

fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}

/// The result of a bind: the file and the lock. The lock is held until the socket listens, so that
/// no other reactor takes the file for a stale one.
#[derive(Default)]
pub(in crate::net::os) struct Bound {
    file: Option<SocketFile>,
    _lock: Option<DirLock>,
}

impl Bound {
    /// Returns the file to remove with the socket, if requested. Removes the file at once when the
    /// next step has failed.
    pub(in crate::net::os) fn keep_file(
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

/// Binds, and returns the created file. The kernel refuses connects until the socket listens, so no
/// peer connects before the file has its mode.
pub(in crate::net::os) fn bind_unix(
    socket: &Socket,
    address: &UnixAddress,
    mode: Option<u32>,
    remove_stale: bool,
) -> Result<Bound, OpenError> {
    let system = at(OpenStep::Bind, system_address(address))?;
    let Some(path) = address.path() else {
        at(OpenStep::Bind, rustix::net::bind(socket, &system).map_err(io::Error::from))?;
        return Ok(Bound::default());
    };
    let place = match Place::of(path) {
        Ok(place) => Some(place),
        Err(error) if out_of_descriptors(&error) => return Err(OpenError { step: OpenStep::Bind, error }),
        // If the directory is missing, the bind returns the error.
        Err(_) => None,
    };
    let lock = place.as_ref().map(|place| DirLock::take(place, path));
    let mut bound = bind_new(socket, &system, place.as_ref(), mode);
    if let (Err(error), Some(place), Some(lock)) = (&bound, &place, &lock)
        && error.kind() == io::ErrorKind::AddrInUse
        && remove_stale
        && at(OpenStep::Bind, lock.remove_stale(place, path, &system))?
    {
        bound = bind_new(socket, &system, Some(place), mode);
    }
    let NewFile { id, mode_set } = at(OpenStep::Bind, bound)?;
    let file = match (&place, id) {
        (Some(place), Some(id)) => place.folder_id().ok().map(|folder_id| {
            let folder = std::path::absolute(folder_of(path)).unwrap_or_else(|_| folder_of(path).to_owned());
            SocketFile { folder, name: place.name.clone(), folder_id, id }
        }),
        _ => None,
    };
    if let (Some(mode), false) = (mode, mode_set) {
        let set = match (&place, id) {
            (Some(place), Some(id)) => set_mode(place, id, mode),
            _ => Err(not_ours()),
        };
        if let Err(error) = set {
            if let Some(file) = file {
                file.remove();
            }
            return Err(OpenError { step: OpenStep::Mode, error });
        }
    }
    Ok(Bound { file, _lock: lock })
}

fn out_of_descriptors(error: &io::Error) -> bool {
    matches!(Errno::from_io_error(error), Some(Errno::MFILE | Errno::NFILE))
}

/// The file that a bind created.
struct NewFile {
    /// `None` when the directory was replaced meanwhile.
    id: Option<FileId>,
    /// Whether the file has the requested mode.
    mode_set: bool,
}

fn bind_new(
    socket: &Socket,
    address: &SocketAddrUnix,
    place: Option<&Place>,
    mode: Option<u32>,
) -> io::Result<NewFile> {
    // A file that existed before is not the one that the bind creates.
    let was_there = place.is_none_or(|place| place.look().is_ok());
    let mode_set = bind_with_mode(socket, address, mode)?;
    let found = place.filter(|_| !was_there).and_then(|place| place.look().ok());
    let id = found.filter(is_socket).map(|found| FileId::of(&found));
    Ok(NewFile { id, mode_set })
}

fn is_socket(found: &Stat) -> bool {
    FileType::from_raw_mode(found.st_mode) == FileType::Socket
}

/// Binds. Returns whether the file has the requested mode. Without a mode, the umask applies.
#[cfg(any(target_os = "android", target_os = "linux"))]
fn bind_with_mode(socket: &Socket, address: &SocketAddrUnix, mode: Option<u32>) -> io::Result<bool> {
    let Some(mode) = mode else {
        rustix::net::bind(socket, address)?;
        return Ok(true);
    };
    let mode = Mode::from_raw_mode(mode);
    let prepared = rustix::fs::fchmod(socket, mode).is_ok();
    if prepared && umask().is_some_and(|umask| !mode.intersects(umask)) {
        rustix::net::bind(socket, address)?;
        return Ok(true);
    }
    if prepared && let Some(bound) = bind_without_umask(socket, address) {
        bound?;
        return Ok(true);
    }
    rustix::net::bind(socket, address)?;
    Ok(false)
}

#[cfg(not(any(target_os = "android", target_os = "linux")))]
fn bind_with_mode(socket: &Socket, address: &SocketAddrUnix, mode: Option<u32>) -> io::Result<bool> {
    rustix::net::bind(socket, address)?;
    Ok(mode.is_none())
}

/// Binds on a thread with its own umask. `None`, without a bind, when a sandbox denies unshare.
#[cfg(any(target_os = "android", target_os = "linux"))]
fn bind_without_umask(socket: &Socket, address: &SocketAddrUnix) -> Option<io::Result<()>> {
    let bind = || {
        nix::sched::unshare(nix::sched::CloneFlags::CLONE_FS).ok()?;
        rustix::process::umask(Mode::empty());
        Some(rustix::net::bind(socket, address).map_err(io::Error::from))
    };
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().name("twistor-bind".to_owned());
        thread.spawn_scoped(scope, bind).ok()?.join().ok()?
    })
}

/// The umask of this thread. Other systems have no way to read it without changing it.
#[cfg(any(target_os = "android", target_os = "linux"))]
fn umask() -> Option<Mode> {
    let status = std::fs::read_to_string("/proc/thread-self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("Umask:"))?;
    u32::from_str_radix(line.trim(), 8).ok().map(Mode::from_raw_mode)
}

/// Sets the mode of the bound file, and of no other.
#[cfg(any(target_os = "android", target_os = "linux"))]
fn set_mode(place: &Place, id: FileId, mode: u32) -> io::Result<()> {
    let file = place.open_file(OFlags::PATH, Mode::empty())?;
    check_ours(&rustix::fs::fstat(&file)?, id)?;
    Ok(rustix::fs::chmod(of_descriptor(&file), Mode::from_raw_mode(mode))?)
}

#[cfg(not(any(target_os = "android", target_os = "linux")))]
fn set_mode(place: &Place, id: FileId, mode: u32) -> io::Result<()> {
    check_ours(&place.look()?, id)?;
    let flags = AtFlags::SYMLINK_NOFOLLOW;
    Ok(rustix::fs::chmodat(&place.folder, &place.name, Mode::from_raw_mode(mode as _), flags)?)
}

/// Checks that the file is still ours. A socket of another user, or one with a second hard link,
/// may have replaced it.
fn check_ours(found: &Stat, id: FileId) -> io::Result<()> {
    let own = rustix::process::geteuid().as_raw() == found.st_uid;
    match is_socket(found) && own && found.st_nlink == 1 && FileId::of(found) == id {
        true => Ok(()),
        false => Err(not_ours()),
    }
}

fn not_ours() -> io::Error {
    io::Error::new(io::ErrorKind::PermissionDenied, "another file has replaced the socket's file")
}

/// A path that leads to the open file of a descriptor.
#[cfg(any(target_os = "android", target_os = "linux"))]
pub(in crate::net::os) fn of_descriptor(descriptor: impl AsFd) -> PathBuf {
    use std::os::fd::AsRawFd;
    PathBuf::from(format!("/proc/self/fd/{}", descriptor.as_fd().as_raw_fd()))
}

/// Flags for a descriptor that only identifies its file and needs no read permission.
#[cfg(any(target_os = "android", target_os = "linux"))]
pub(in crate::net::os) const PATH_FLAGS: OFlags = OFlags::PATH;
#[cfg(not(any(target_os = "android", target_os = "linux")))]
pub(in crate::net::os) const PATH_FLAGS: OFlags = OFlags::RDONLY;

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{PermissionsExt, symlink};
    use std::os::unix::net::UnixListener;

    use super::*;

    /// A directory that is removed with its test.
    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str) -> Folder {
            let path = std::env::temp_dir().join(format!("twistor-{name}-{}", std::process::id()));
            fs::create_dir(&path).unwrap();
            Folder(path)
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            fs::remove_dir_all(&self.0).unwrap();
        }
    }

    fn mode_of(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o7777
    }

    #[test]
    fn a_mode_is_set_on_the_socket_that_was_bound_alone() {
        let folder = Folder::new("mode");
        let (path, other, link) = (folder.0.join("socket"), folder.0.join("other"), folder.0.join("link"));
        let _bound = UnixListener::bind(&path).unwrap();
        let _other = UnixListener::bind(&other).unwrap();
        let place = Place::of(&path).unwrap();
        let id = FileId::of(&place.look().unwrap());
        set_mode(&place, id, 0o620).unwrap();
        assert_eq!(mode_of(&path), 0o620);
        // A file with a second hard link, a link, another socket and another file keep their mode.
        fs::hard_link(&path, &link).unwrap();
        set_mode(&place, id, 0o600).unwrap_err();
        fs::remove_file(&link).unwrap();
        set_mode(&place, id, 0o610).unwrap();
        let before = mode_of(&other);
        fs::remove_file(&path).unwrap();
        symlink(&other, &path).unwrap();
        set_mode(&place, id, 0o600).unwrap_err();
        fs::rename(&other, &path).unwrap();
        set_mode(&place, id, 0o600).unwrap_err();
        assert_eq!(mode_of(&path), before);
    }

    #[test]
    fn a_file_is_removed_from_the_folder_where_it_was_made_alone() {
        let folder = Folder::new("removed");
        let (one, two) = (folder.0.join("one"), folder.0.join("two"));
        fs::create_dir(&one).unwrap();
        let _bound = UnixListener::bind(one.join("socket")).unwrap();
        let file = || {
            let place = Place::of(&one.join("socket")).unwrap();
            let (folder_id, id) = (place.folder_id().unwrap(), FileId::of(&place.look().unwrap()));
            SocketFile { folder: one.clone(), name: "socket".into(), folder_id, id }
        };
        let (exchanged, linked, own) = (file(), file(), file());
        // Another directory, with a hard link to the same file, replaces the first.
        fs::rename(&one, &two).unwrap();
        fs::create_dir(&one).unwrap();
        fs::hard_link(two.join("socket"), one.join("socket")).unwrap();
        exchanged.remove();
        assert!(one.join("socket").exists());
        // A symbolic link to the file is another file.
        fs::remove_dir_all(&one).unwrap();
        fs::rename(&two, &one).unwrap();
        fs::rename(one.join("socket"), one.join("moved")).unwrap();
        symlink(one.join("moved"), one.join("socket")).unwrap();
        linked.remove();
        assert!(one.join("socket").exists());
        fs::rename(one.join("moved"), one.join("socket")).unwrap();
        own.remove();
        assert!(!one.join("socket").exists());
    }
}
