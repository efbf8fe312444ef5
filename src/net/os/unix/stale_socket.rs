//! Removal of stale UNIX socket files, which a killed process leaves behind and which block the
//! next bind.
//!
//! A file is removed only when it is certain that no process listens there, or is about to:
//! - A connect to it is refused. Every other result means that it is in use, a full backlog
//!   included.
//! - No socket is bound to it that does not listen yet. Only Linux shows these sockets, in
//!   `/proc/net/unix`.
//! - After both checks it still is the same file, by device, inode and change time.
//! - This process holds the [`DirLock`]: a reactor that binds a socket holds a lock (flock) on
//!   `PATH.lock` until the socket listens. Of two processes that find the same stale file, the
//!   second one then finds the first one's listening socket.
//!
//! Only its owner can open the lock file, so no other user can prevent the removal of a stale file
//! by holding the lock. A lock file of another user is ignored. The lock file is removed with the
//! lock.
//!
//! Other programs do not take this lock. A program that replaces the file in the few microseconds
//! between the last check and the removal could still lose its file. Moving the file away first and
//! checking it then would hide a live socket from its clients for a moment. systemd, nginx and
//! redis remove the file without any check, or not at all.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::{FileType, FlockOperation, Mode, OFlags};
use rustix::io::Errno;
use rustix::net::SocketAddrUnix;
use socket2::{Domain, Type};

use super::socket_file::Place;
use crate::net::os::socket::opening::new_socket;

/// The lock on a socket path: the right to bind there and to remove the file, until it is dropped.
pub(in crate::net::os) enum DirLock {
    Held {
        file: OwnedFd,
        place: Place,
    },
    /// No lock is available: the file system has no locks, or the lock file belongs to another
    /// user. The other checks have to suffice.
    None,
    /// Another process holds the lock on this file.
    Taken(PathBuf),
}

impl DirLock {
    /// Takes the lock. Waits for a process that is binding, but not for one that keeps the lock.
    pub(in crate::net::os) fn take(place: &Place, path: &Path) -> DirLock {
        let Ok(place) = place.with_suffix(LOCK_SUFFIX) else { return DirLock::None };
        for _ in 0..MAX_ATTEMPTS {
            match try_lock(&place) {
                Ok(Some(file)) => return DirLock::Held { file, place },
                // The file was removed between two calls.
                Ok(None) | Err(Errno::INTR) => {}
                Err(Errno::WOULDBLOCK) => std::thread::sleep(RETRY_DELAY),
                Err(_) => return DirLock::None,
            }
        }
        DirLock::Taken(path.with_file_name(place.name()))
    }

    /// Removes the socket file if no process uses it. Returns `false` when it is, or may be, in
    /// use.
    ///
    /// # Errors
    /// - The file cannot be removed.
    /// - Another process holds the lock.
    pub(in crate::net::os) fn remove_stale(
        &self,
        place: &Place,
        path: &Path,
        address: &SocketAddrUnix,
    ) -> io::Result<bool> {
        let Some(found) = FileId::at(place) else { return Ok(false) };
        if !found.refuses(place, address) || found.is_being_bound(path) {
            return Ok(false);
        }
        if let DirLock::Taken(lock) = self {
            let text = format!(
                "cannot remove the stale socket file: another process holds the lock {}",
                lock.display()
            );
            return Err(io::Error::new(io::ErrorKind::AddrInUse, text));
        }
        found.remove(place)
    }
}

impl Drop for DirLock {
    fn drop(&mut self) {
        if let DirLock::Held { file, place } = self {
            let _ = place.remove();
            // A child process that is being spawned has the file open for a moment as well. Closing
            // alone would not release the lock.
            let _ = rustix::fs::flock(&*file, FlockOperation::Unlock);
        }
    }
}

/// Locks a file that belongs to this user. `None` when the name has become another file meanwhile.
fn try_lock(place: &Place) -> Result<Option<OwnedFd>, Errno> {
    let errno = |error: io::Error| Errno::from_io_error(&error).unwrap_or(Errno::IO);
    // Opening a FIFO must not block.
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::NONBLOCK | OFlags::NOCTTY;
    let file = place.open_file(flags, Mode::RUSR | Mode::WUSR).map_err(errno)?;
    let found = rustix::fs::fstat(&file)?;
    if found.st_nlink == 0 {
        return Ok(None);
    }
    let own = found.st_uid == rustix::process::geteuid().as_raw();
    let plain = FileType::from_raw_mode(found.st_mode) == FileType::RegularFile && found.st_nlink == 1;
    if !own || !plain {
        return Err(Errno::PERM);
    }
    rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive)?;
    let same = |there: rustix::fs::Stat| (there.st_dev, there.st_ino) == (found.st_dev, found.st_ino);
    Ok(place.look().is_ok_and(same).then_some(file))
}

/// Identity of a socket file. A replacement differs in its change time, even if it reuses the
/// inode.
#[derive(Clone, Copy, PartialEq, Eq)]
struct FileId {
    device: u64,
    inode: u64,
    changed: (i64, i64),
}

impl FileId {
    #[allow(clippy::unnecessary_cast, reason = "the types differ between systems")]
    fn at(place: &Place) -> Option<FileId> {
        FileId::of(&place.look().ok()?)
    }

    #[allow(clippy::unnecessary_cast, reason = "the types differ between systems")]
    fn of(found: &rustix::fs::Stat) -> Option<FileId> {
        let is_socket = FileType::from_raw_mode(found.st_mode) == FileType::Socket;
        let changed = (found.st_ctime as i64, found.st_ctime_nsec as i64);
        let found = FileId { device: found.st_dev as u64, inode: found.st_ino as u64, changed };
        is_socket.then_some(found)
    }

    fn at_path(path: &Path) -> Option<FileId> {
        let found = fs::symlink_metadata(path).ok().filter(|found| found.file_type().is_socket())?;
        let changed = (found.ctime(), found.ctime_nsec());
        Some(FileId { device: found.dev(), inode: found.ino(), changed })
    }

    /// Removes the file. Returns `false` if another file has replaced it.
    ///
    /// # Errors
    /// The file cannot be removed.
    fn remove(&self, place: &Place) -> io::Result<bool> {
        if FileId::at(place) != Some(*self) {
            return Ok(false);
        }
        match place.remove() {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                let text = format!("cannot remove the stale socket file: {error}");
                Err(io::Error::new(error.kind(), text))
            }
            _ => Ok(true),
        }
    }

    /// Whether a socket is bound to the file that neither listens nor is connected yet.
    fn is_being_bound(&self, path: &Path) -> bool {
        // Only Linux has this file.
        let sockets = fs::read("/proc/net/unix").unwrap_or_default();
        sockets.split(|byte| *byte == b'\n').filter_map(unconnected_path).any(|name| {
            let name = Path::new(OsStr::from_bytes(name));
            let same = || FileId::at_path(name).is_some_and(|other| other == *self);
            // A relative path is relative to the working directory of the other process.
            name.file_name() == path.file_name() && (name == path || name.is_relative() || same())
        })
    }

    /// Whether a connect to this very file is refused.
    #[cfg(any(target_os = "android", target_os = "linux"))]
    fn refuses(&self, place: &Place, address: &SocketAddrUnix) -> bool {
        use super::socket_file::{PATH_FLAGS, of_descriptor};

        let Ok(file) = place.open_file(PATH_FLAGS, Mode::empty()) else { return false };
        let same = rustix::fs::fstat(&file).ok().and_then(|found| FileId::of(&found)) == Some(*self);
        let of_file = of_descriptor(&file);
        match (same, SocketAddrUnix::new(&of_file)) {
            (true, Ok(of_file_address)) if of_file.exists() => refuses(&of_file_address),
            // /proc is not mounted.
            (true, _) => refuses(address),
            (false, _) => false,
        }
    }

    #[cfg(not(any(target_os = "android", target_os = "linux")))]
    fn refuses(&self, _: &Place, address: &SocketAddrUnix) -> bool {
        refuses(address)
    }
}

/// The path of a stream socket that is bound and not yet listening, from a line of
/// `/proc/net/unix`: `Num RefCount Protocol Flags Type St Inode Path`.
fn unconnected_path(line: &[u8]) -> Option<&[u8]> {
    let mut fields = [&b""[..]; 7];
    let mut rest = line;
    for field in &mut fields {
        rest = rest.trim_ascii_start();
        (*field, rest) = rest.split_at(rest.iter().position(|byte| *byte == b' ')?);
    }
    let [_, _, _, flags, kind, state, _] = fields;
    let matches = flags == NO_FLAGS && kind == STREAM && state == UNCONNECTED;
    rest.strip_prefix(b" ").filter(|_| matches)
}

/// Whether a connect is refused.
fn refuses(address: &SocketAddrUnix) -> bool {
    let connect = |kind| {
        let probe = new_socket(Domain::UNIX, kind, None).ok()?;
        Some(rustix::net::connect(&probe, address))
    };
    match connect(Type::STREAM) {
        Some(Err(Errno::CONNREFUSED)) => true,
        // The file belongs to a datagram socket. A datagram connect shows whether it is live.
        Some(Err(Errno::PROTOTYPE)) => connect(Type::DGRAM) == Some(Err(Errno::CONNREFUSED)),
        _ => false,
    }
}

/// Suffix of a lock file's name.
const LOCK_SUFFIX: &str = ".lock";

/// Attempts to take the lock. A bind holds it for a few microseconds.
const MAX_ATTEMPTS: u32 = 50;
const RETRY_DELAY: Duration = Duration::from_millis(1);

/// A listener would have the flag SO_ACCEPTCON.
const NO_FLAGS: &[u8] = b"00000000";
/// SOCK_STREAM.
const STREAM: &[u8] = b"0001";
/// SS_UNCONNECTED: listening sockets, and bound sockets that do not listen yet.
const UNCONNECTED: &[u8] = b"01";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_took_the_place_of_the_stale_one_is_not_removed() {
        use std::os::unix::net::UnixListener;

        let path = std::env::temp_dir().join(format!("twistor-stale-{}", std::process::id()));
        drop(UnixListener::bind(&path).unwrap());
        let place = Place::of(&path).unwrap();
        let stale = FileId::at(&place).unwrap();
        fs::remove_file(&path).unwrap();
        let live = UnixListener::bind(&path).unwrap();
        assert!(!stale.remove(&place).unwrap());
        assert!(path.exists(), "the file of a live socket is gone");
        drop(live);
        assert!(FileId::at(&place).unwrap().remove(&place).unwrap());
        assert!(!path.exists());
    }

    #[test]
    fn a_name_is_told_of_a_socket_that_is_bound_and_no_more() {
        let line = b"00000000c2d4d33f: 00000002 00000000 00000000 0001 01 29976710 /run/my app.sock";
        assert_eq!(unconnected_path(line), Some(&b"/run/my app.sock"[..]));
        for other in [
            &b"Num       RefCount Protocol Flags    Type St Inode Path"[..],
            b"00000000c2d4d33f: 00000002 00000000 00010000 0001 01 29976710 /run/app.sock",
            b"00000000c2d4d33f: 00000003 00000000 00000000 0001 03 29976710 /run/app.sock",
            b"00000000c2d4d33f: 00000002 00000000 00000000 0002 01 29976710 /run/app.sock",
            b"00000000c2d4d33f: 00000002 00000000 00000000 0001 01    12",
            b"",
        ] {
            assert_eq!(unconnected_path(other), None, "{}", String::from_utf8_lossy(other));
        }
    }

    #[test]
    fn one_at_a_time_holds_a_lock_whose_file_comes_and_goes() {
        use std::sync::atomic::{AtomicUsize, Ordering};

        let folder = std::env::temp_dir().join(format!("twistor-lock-{}", std::process::id()));
        fs::create_dir(&folder).unwrap();
        let path = folder.join("socket");
        let (holders, held) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let compete = || {
            let place = Place::of(&path).unwrap();
            while held.load(Ordering::SeqCst) < 2000 {
                let lock = DirLock::take(&place, &path);
                match &lock {
                    DirLock::Held { .. } => {
                        assert_eq!(holders.fetch_add(1, Ordering::SeqCst), 0);
                        held.fetch_add(1, Ordering::SeqCst);
                        std::thread::yield_now();
                        holders.fetch_sub(1, Ordering::SeqCst);
                    }
                    DirLock::Taken(_) => {}
                    DirLock::None => panic!("the lock was given up"),
                }
            }
        };
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(compete);
            }
        });
        fs::remove_dir_all(&folder).unwrap();
    }
}
