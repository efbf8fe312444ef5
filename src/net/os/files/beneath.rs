//! Files beneath a directory, which no path and no link leads out of.

use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::{Duration, SystemTime};

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, Stat};
use rustix::io::Errno;

use super::uninterrupted;
use crate::net::files::{DirEntry, FileKind, Metadata};

/// Opens a file or directory beneath `root` for reading.
pub(super) fn open(root: &Path, path: &Path) -> io::Result<File> {
    #[cfg(target_os = "linux")]
    {
        use rustix::fs::{ResolveFlags, openat2};

        let dir = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let root_dir = uninterrupted(|| Ok(rustix::fs::open(root, dir, Mode::empty())?))?;
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
        let mut tries = 0;
        loop {
            match openat2(&root_dir, path, FLAGS, Mode::empty(), resolve) {
                Ok(file) => return Ok(file.into()),
                // Something was renamed meanwhile, and the kernel could not be sure.
                Err(Errno::AGAIN) if tries < MAX_TRIES => tries += 1,
                Err(Errno::INTR) => {}
                // An old kernel, or a sandbox that does not know the call.
                Err(Errno::NOSYS | Errno::PERM) => break,
                Err(error) => return Err(error.into()),
            }
        }
    }
    open_checked(root, path)
}

/// Opens by name, after a check of the real path. A link that is put there between the two is
/// followed, so the directory must not be writable by others.
fn open_checked(root: &Path, path: &Path) -> io::Result<File> {
    let root = root.canonicalize()?;
    let real = root.join(path).canonicalize()?;
    if !real.starts_with(&root) {
        return Err(Errno::XDEV.into());
    }
    let flags = FLAGS | OFlags::NOFOLLOW;
    Ok(uninterrupted(|| Ok(rustix::fs::open(&real, flags, Mode::empty())?))?.into())
}

/// The entries of an open directory, and their metadata.
pub(super) fn list(dir: &File, max: usize) -> io::Result<Vec<(DirEntry, Metadata)>> {
    let mut entries = Vec::new();
    for entry in Dir::read_from(dir)? {
        let entry = entry?;
        let name = entry.file_name();
        if matches!(name.to_bytes(), b"." | b"..") {
            continue;
        }
        if entries.len() == max {
            break;
        }
        match rustix::fs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => {
                let metadata = metadata_of(&stat);
                let name = OsStr::from_bytes(name.to_bytes()).to_owned();
                entries.push((DirEntry { name, kind: metadata.kind }, metadata));
            }
            Err(Errno::NOENT) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(entries)
}

// The types of the fields differ among systems.
#[allow(clippy::unnecessary_cast, clippy::useless_conversion)]
fn metadata_of(stat: &Stat) -> Metadata {
    let since = Duration::from_secs(u64::try_from(stat.st_mtime).unwrap_or(0))
        .saturating_add(Duration::from_nanos(u64::try_from(stat.st_mtime_nsec).unwrap_or(0)));
    let kind = match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile => FileKind::Regular,
        FileType::Directory => FileKind::Directory,
        FileType::Symlink => FileKind::Symlink,
        _ => FileKind::Other,
    };
    Metadata {
        kind,
        length: u64::try_from(stat.st_size).unwrap_or(0),
        modified: SystemTime::UNIX_EPOCH.checked_add(since).unwrap_or(SystemTime::UNIX_EPOCH),
        mode: (stat.st_mode & 0o7777) as u32,
        device: stat.st_dev as u64,
        inode: stat.st_ino as u64,
    }
}

const FLAGS: OFlags = OFlags::RDONLY.union(OFlags::CLOEXEC).union(OFlags::NONBLOCK).union(OFlags::NOCTTY);

#[cfg(target_os = "linux")]
const MAX_TRIES: u32 = 16;
