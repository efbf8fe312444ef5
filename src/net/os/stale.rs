//! Files of UNIX sockets that are nobody's any more: a process that was killed leaves them, and they stand in the way.
//!
//! A file is removed only when it is certain that nobody listens there, or is about to:
//! - A connect to it is refused. Anything else, a full backlog too, says that it is somebody's.
//! - Nobody is bound to it who does not listen yet, as far as the system shows it: Linux does, in `/proc/net/unix`.
//! - It still is the same file after both, by its device, number and time of change.
//! - It is our [`Turn`]: whoever binds a socket here has the lock of the folder (flock) until the socket listens. Of two
//!   starters that find the same file, the second finds the first one's socket, and it listens.
//!
//! Other programs do not take that lock. One of them that removes a file and binds its own within the few microseconds
//! between our last look and our removal could still lose it. A lock file beside the socket would serve no better, and
//! stay; to move the file away and look again takes a live one from its clients for a moment; systemd, nginx and redis
//! remove without a look, or not at all.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;
use std::time::Duration;

use rustix::fs::FlockOperation;
use rustix::io::Errno;
use rustix::net::SocketAddrUnix;
use socket2::{Domain, Type};

use super::opening::new_socket;

/// The right to bind in a folder and to remove from it, until it is dropped.
pub(super) enum Turn {
    Ours(File),
    /// The folder cannot be locked: it is on a network, or may not be read. The other looks have to do.
    Unlocked,
    /// Somebody else has it, and keeps it.
    Taken,
}

impl Turn {
    /// Waits for it, but not for whoever keeps it.
    pub(super) fn take(path: &Path) -> Turn {
        let folder = match path.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder,
            _ => Path::new("."),
        };
        let Ok(folder) = File::open(folder) else { return Turn::Unlocked };
        for _ in 0..TRIES {
            match rustix::fs::flock(&folder, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => return Turn::Ours(folder),
                Err(Errno::WOULDBLOCK) => std::thread::sleep(BETWEEN),
                Err(Errno::INTR) => {}
                Err(_) => return Turn::Unlocked,
            }
        }
        Turn::Taken
    }

    /// Removes the file of a socket if it is nobody's. `false` when it is somebody's, or might be.
    pub(super) fn remove_stale(&self, path: &Path, address: &SocketAddrUnix) -> io::Result<bool> {
        if matches!(self, Turn::Taken) {
            return Ok(false);
        }
        let Some(found) = Found::at(path) else { return Ok(false) };
        if !refuses(address) || found.is_held(path) || Found::at(path) != Some(found) {
            return Ok(false);
        }
        match fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(true),
        }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        if let Turn::Ours(folder) = self {
            // A child that is being made has it open, too, for a moment: closing alone would not give it back.
            let _ = rustix::fs::flock(&*folder, FlockOperation::Unlock);
        }
    }
}

/// The file of a socket as it was found. Another one in its place differs, though it may have the same number.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Found {
    device: u64,
    inode: u64,
    changed: (i64, i64),
}

impl Found {
    fn at(path: &Path) -> Option<Found> {
        let found = fs::symlink_metadata(path).ok().filter(|found| found.file_type().is_socket())?;
        let changed = (found.ctime(), found.ctime_nsec());
        Some(Found { device: found.dev(), inode: found.ino(), changed })
    }

    /// Whether a socket of this machine is bound to it that neither listens nor is connected: it is about to.
    fn is_held(&self, path: &Path) -> bool {
        // Other systems do not tell.
        let sockets = fs::read("/proc/net/unix").unwrap_or_default();
        sockets.split(|byte| *byte == b'\n').filter_map(bound_alone).any(|name| {
            let name = Path::new(OsStr::from_bytes(name));
            let same = || Found::at(name).is_some_and(|other| other == *self);
            // What is relative, is so to a folder of that process's.
            name.file_name() == path.file_name() && (name == path || name.is_relative() || same())
        })
    }
}

/// The name of a socket of streams that is bound, and no more; of one line of `/proc/net/unix`: `Num RefCount Protocol
/// Flags Type St Inode Path`.
fn bound_alone(line: &[u8]) -> Option<&[u8]> {
    let mut fields = [&b""[..]; 7];
    let mut rest = line;
    for field in &mut fields {
        rest = rest.trim_ascii_start();
        (*field, rest) = rest.split_at(rest.iter().position(|byte| *byte == b' ')?);
    }
    let [_, _, _, flags, kind, state, _] = fields;
    let alone = flags == NO_FLAGS && kind == STREAM && state == UNCONNECTED;
    rest.strip_prefix(b" ").filter(|_| alone)
}

/// Whether a connect is refused.
fn refuses(address: &SocketAddrUnix) -> bool {
    let connect = |kind| {
        let probe = new_socket(Domain::UNIX, kind, None).ok()?;
        Some(rustix::net::connect(&probe, address))
    };
    match connect(Type::STREAM) {
        Some(Err(Errno::CONNREFUSED)) => true,
        // A socket of datagrams has its file there: it takes no streams, and says whether it lives.
        Some(Err(Errno::PROTOTYPE)) => connect(Type::DGRAM) == Some(Err(Errno::CONNREFUSED)),
        _ => false,
    }
}

/// Nobody who binds needs it for longer than a few microseconds.
const TRIES: u32 = 50;
const BETWEEN: Duration = Duration::from_millis(1);

/// A listener has SO_ACCEPTCON among its flags.
const NO_FLAGS: &[u8] = b"00000000";
/// SOCK_STREAM.
const STREAM: &[u8] = b"0001";
/// SS_UNCONNECTED: of those that are bound, such that listen, and such that do not yet.
const UNCONNECTED: &[u8] = b"01";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_told_of_a_socket_that_is_bound_and_no_more() {
        let line = b"00000000c2d4d33f: 00000002 00000000 00000000 0001 01 29976710 /run/my app.sock";
        assert_eq!(bound_alone(line), Some(&b"/run/my app.sock"[..]));
        for other in [
            &b"Num       RefCount Protocol Flags    Type St Inode Path"[..],
            b"00000000c2d4d33f: 00000002 00000000 00010000 0001 01 29976710 /run/app.sock",
            b"00000000c2d4d33f: 00000003 00000000 00000000 0001 03 29976710 /run/app.sock",
            b"00000000c2d4d33f: 00000002 00000000 00000000 0002 01 29976710 /run/app.sock",
            b"00000000c2d4d33f: 00000002 00000000 00000000 0001 01    12",
            b"",
        ] {
            assert_eq!(bound_alone(other), None, "{}", String::from_utf8_lossy(other));
        }
    }
}
