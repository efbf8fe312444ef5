//! The files of UNIX sockets: binding with a mode, and removing them again.
//!
//! A folder that others can write to is hostile ground: between two calls that name the same path, they can put a symbolic link or
//! another file there, and another folder in the place of a whole part of the path. So no call after `bind` trusts the path:
//! - The file has its mode from the moment on in which it is made. Linux takes the mode of the socket, less the umask; a thread that
//!   has an umask of its own (unshare) binds where the umask would take something away.
//! - Where that is not possible, the file is opened without following links, and its mode is set by that descriptor, if it is a
//!   socket of this user that has no other name.
//! - Everything else goes through a descriptor of the folder. What is to be removed has to be the same file in the same folder, by
//!   device and number.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, Stat};
use rustix::io::Errno;
use rustix::net::SocketAddrUnix;
use socket2::Socket;

use super::names::system_address;
use super::opening::at;
use crate::net::os::stale_socket::DirLock;
use crate::net::{OpenError, OpenStep, UnixAddress};

/// The file of a UNIX socket: it is removed with the socket, if it still is the same one.
#[derive(Debug)]
pub(super) struct SocketFile {
    /// Absolute: the working directory may change.
    folder: PathBuf,
    name: OsString,
    folder_id: FileId,
    id: FileId,
}

impl SocketFile {
    /// Another process may have bound the same path since.
    pub(super) fn remove(self) {
        let Ok(place) = Place::open(&self.folder, &self.name) else { return };
        if place.folder_id().is_ok_and(|id| id == self.folder_id)
            && place.look().is_ok_and(|found| FileId::of(&found) == self.id)
        {
            // If another process has removed it already, nothing is left to do.
            let _ = place.remove();
        }
    }
}

/// Names a file, whichever path leads to it.
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

/// A name in a folder that is held open: whatever happens to the path, it stays the same folder.
pub(super) struct Place {
    folder: OwnedFd,
    name: OsString,
}

impl Place {
    pub(super) fn of(path: &Path) -> io::Result<Place> {
        let name = path.file_name().ok_or(Errno::INVAL)?;
        Place::open(folder_of(path), name)
    }

    fn open(folder: &Path, name: &OsStr) -> io::Result<Place> {
        let flags = ONLY_TO_NAME | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let folder = rustix::fs::openat(CWD, folder, flags, Mode::empty())?;
        Ok(Place { folder, name: name.to_owned() })
    }

    /// The file with another ending, in the same folder.
    pub(super) fn beside(&self, ending: &str) -> io::Result<Place> {
        let mut name = self.name.clone();
        name.push(ending);
        Ok(Place { folder: self.folder.try_clone()?, name })
    }

    pub(super) fn name(&self) -> &OsStr {
        &self.name
    }

    fn folder_id(&self) -> io::Result<FileId> {
        Ok(FileId::of(&rustix::fs::fstat(&self.folder)?))
    }

    /// The file that is there; a symbolic link is itself.
    pub(super) fn look(&self) -> io::Result<Stat> {
        Ok(rustix::fs::statat(&self.folder, &self.name, AtFlags::SYMLINK_NOFOLLOW)?)
    }

    pub(super) fn open_file(&self, flags: OFlags, mode: Mode) -> io::Result<OwnedFd> {
        let flags = flags | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        Ok(rustix::fs::openat(&self.folder, &self.name, flags, mode)?)
    }

    pub(super) fn remove(&self) -> io::Result<()> {
        Ok(rustix::fs::unlinkat(&self.folder, &self.name, AtFlags::empty())?)
    }
}

fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}

/// What a socket was bound with. Until it listens, which is when this is gone, no other reactor takes its file for a stale one.
#[derive(Default)]
pub(super) struct Bound {
    file: Option<SocketFile>,
    _lock: Option<DirLock>,
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
/// no peer gets in before the file has its mode.
pub(super) fn bind_unix(
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
        // Where there is no such folder, the bind says so.
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

/// The file that a bind has made.
struct NewFile {
    /// `None` when the folder was exchanged meanwhile.
    id: Option<FileId>,
    /// It has the mode that was asked for.
    mode_set: bool,
}

fn bind_new(
    socket: &Socket,
    address: &SocketAddrUnix,
    place: Option<&Place>,
    mode: Option<u32>,
) -> io::Result<NewFile> {
    // A file that was there before is not the one that the bind makes.
    let was_there = place.is_none_or(|place| place.look().is_ok());
    let mode_set = bind_with_mode(socket, address, mode)?;
    let found = place.filter(|_| !was_there).and_then(|place| place.look().ok());
    let id = found.filter(is_socket).map(|found| FileId::of(&found));
    Ok(NewFile { id, mode_set })
}

fn is_socket(found: &Stat) -> bool {
    FileType::from_raw_mode(found.st_mode) == FileType::Socket
}

/// Whether the file has this mode; without one it has what the umask leaves.
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

/// Binds on a thread with an umask of its own; `None` when the sandbox does not allow that, and nothing was bound.
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

/// The umask of this thread. It can be asked for without changing it only there.
#[cfg(any(target_os = "android", target_os = "linux"))]
fn umask() -> Option<Mode> {
    let status = std::fs::read_to_string("/proc/thread-self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("Umask:"))?;
    u32::from_str_radix(line.trim(), 8).ok().map(Mode::from_raw_mode)
}

/// Sets the mode of the file that was bound, and of no other.
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

/// A socket of another user, or one with a second name, may have been put in the place of ours.
fn check_ours(found: &Stat, id: FileId) -> io::Result<()> {
    let own = rustix::process::geteuid().as_raw() == found.st_uid;
    match is_socket(found) && own && found.st_nlink == 1 && FileId::of(found) == id {
        true => Ok(()),
        false => Err(not_ours()),
    }
}

fn not_ours() -> io::Error {
    io::Error::new(io::ErrorKind::PermissionDenied, "another file is in the place of the socket's")
}

/// A path that leads to what a descriptor has open, and nowhere else.
#[cfg(any(target_os = "android", target_os = "linux"))]
pub(super) fn of_descriptor(descriptor: impl AsFd) -> PathBuf {
    use std::os::fd::AsRawFd;
    PathBuf::from(format!("/proc/self/fd/{}", descriptor.as_fd().as_raw_fd()))
}

/// A descriptor that names its file, and needs no right to read it.
#[cfg(any(target_os = "android", target_os = "linux"))]
pub(super) const ONLY_TO_NAME: OFlags = OFlags::PATH;
#[cfg(not(any(target_os = "android", target_os = "linux")))]
pub(super) const ONLY_TO_NAME: OFlags = OFlags::RDONLY;

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{PermissionsExt, symlink};
    use std::os::unix::net::UnixListener;

    use super::*;

    /// A folder that goes with its test.
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
        // A second name, a link, another socket and another file are not set.
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
        // Another folder, where the same file has a name, is in the place of the first.
        fs::rename(&one, &two).unwrap();
        fs::create_dir(&one).unwrap();
        fs::hard_link(two.join("socket"), one.join("socket")).unwrap();
        exchanged.remove();
        assert!(one.join("socket").exists());
        // A link to the file is another file.
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
