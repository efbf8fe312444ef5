//! Files before a reactor runs, after it has stopped, on a thread, or in functions whose
//! documentation says that they block.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;
#[cfg(feature = "dns")]
use std::time::Duration;

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

/// A file that is open for writing.
pub(crate) struct OutputFile(File);

impl OutputFile {
    /// Creates a file that does not exist yet. `mode` is reduced by the umask.
    pub(crate) fn create_new(path: &Path, mode: u32) -> io::Result<OutputFile> {
        let mut new = File::options();
        new.write(true).create_new(true).mode(mode);
        new.open(path).map(OutputFile)
    }

    /// Opens a file, or creates it. Its contents stay.
    #[cfg(feature = "cli")]
    pub(crate) fn open(path: &Path) -> io::Result<OutputFile> {
        File::options().write(true).create(true).truncate(false).open(path).map(OutputFile)
    }

    /// Writes all of the data at the end of what this file was given so far.
    pub(crate) fn write_all(&mut self, data: &[u8]) -> io::Result<()> {
        self.0.write_all(data)
    }

    /// Removes the contents. `InvalidInput` for what is no regular file.
    pub(crate) fn empty(&self) -> io::Result<()> {
        self.0.set_len(0)
    }

    #[cfg(feature = "cli")]
    pub(crate) fn is_regular(&self) -> bool {
        self.0.metadata().is_ok_and(|metadata| metadata.is_file())
    }

    /// Returns whether the path names this file, and not one that has taken its place.
    pub(crate) fn is_at(&self, path: &Path) -> io::Result<bool> {
        let (current, ours) = (fs::symlink_metadata(path)?, self.0.metadata()?);
        Ok((current.dev(), current.ino()) == (ours.dev(), ours.ino()))
    }
}

/// Reads the first `max` bytes of a regular file. `None` for a symbolic link, a folder, a device or
/// a FIFO: in a folder that other users can write to, a path may lead to another file or to data
/// without an end.
pub(crate) fn read_regular(path: &Path, max: u64) -> io::Result<Option<Vec<u8>>> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = match rustix::fs::open(path, flags, Mode::empty()) {
        Err(Errno::LOOP) => return Ok(None),
        opened => File::from(opened?),
    };
    if !file.metadata()?.is_file() {
        return Ok(None);
    }
    let mut data = Vec::new();
    file.take(max).read_to_end(&mut data)?;
    Ok(Some(data))
}

/// Reads a whole file of certificates or keys, which may be a link or a FIFO.
#[cfg(feature = "tls-no-provider")]
pub(crate) fn read_credentials(path: &Path) -> io::Result<Vec<u8>> {
    let mut data = Vec::new();
    File::open(path)?.take(MAX_CREDENTIALS).read_to_end(&mut data)?;
    Ok(data)
}

/// Reads the system's root certificates, wherever it keeps them, and the first error if there was
/// one.
#[cfg(feature = "tls-no-provider")]
pub(crate) fn system_roots() -> (Vec<rustls::pki_types::CertificateDer<'static>>, Option<String>) {
    let found = rustls_native_certs::load_native_certs();
    (found.certs, found.errors.first().map(ToString::to_string))
}

/// The properties of a file that tell whether it has changed.
#[cfg(feature = "dns")]
pub(crate) struct ConfigStamp {
    /// Time of the last modification since the epoch.
    pub(crate) modified: Duration,
    pub(crate) size: u64,
    pub(crate) inode: u64,
}

/// Returns the stamp of a configuration file, which a symbolic link may lead to.
#[cfg(feature = "dns")]
pub(crate) fn config_stamp(path: &Path) -> io::Result<ConfigStamp> {
    let metadata = fs::metadata(path)?;
    let seconds = u64::try_from(metadata.mtime()).unwrap_or_default();
    let nanoseconds = u32::try_from(metadata.mtime_nsec()).unwrap_or_default();
    let modified = Duration::new(seconds, nanoseconds);
    Ok(ConfigStamp { modified, size: metadata.size(), inode: metadata.ino() })
}

/// Reads the first `max` bytes of a configuration file, which a symbolic link may lead to.
#[cfg(feature = "dns")]
pub(crate) fn read_config(path: &Path, max: u64) -> io::Result<Vec<u8>> {
    let mut data = Vec::new();
    File::open(path)?.take(max).read_to_end(&mut data)?;
    Ok(data)
}

/// Gives a file a second name. `AlreadyExists` if there is a file with this name.
pub(crate) fn link(path: &Path, second: &Path) -> io::Result<()> {
    fs::hard_link(path, second)
}

/// Renames a file, and replaces one that has the new name.
pub(crate) fn rename(from: &Path, to: &Path) -> io::Result<()> {
    fs::rename(from, to)
}

pub(crate) fn remove(path: &Path) -> io::Result<()> {
    fs::remove_file(path)
}

/// Limit of a file of certificates or keys. A bundle of roots has 200 KiB.
#[cfg(feature = "tls-no-provider")]
const MAX_CREDENTIALS: u64 = 16 * 1024 * 1024;
