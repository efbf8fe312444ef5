//! Files at the level of system calls: the interface to a disk, and the jobs that use it.
//!
//! Nothing reads or writes a file on the loop. A [`FileJob`] makes its calls on a thread of the
//! driver, or in virtual time on the simulated disk of a host. The same jobs run on both, so a
//! simulated crash can come between any two calls.
//!
//! The contract of a disk:
//! - A call may block. Errors keep the system's error number.
//! - A file is named by a [`FileNumber`], which is never reused. A call with the number of a closed
//!   file fails with EBADF; `close` then does nothing.
//! - An open file keeps its contents when its name is removed or replaced.
//! - Written data is durable after [`Disk::sync`]. Names are durable after [`Disk::sync_dir`] of
//!   their directory: those of new files, and renames and removals. Before that, a loss of power
//!   may undo them or parts of them.
//! - After a failed `sync`, written data may be lost although a later `sync` succeeds.
//!
//! [`blocking`] has files for a process without a running reactor.

pub(crate) mod blocking;
mod metadata;

use std::ffi::OsString;
use std::io;
use std::path::Path;

pub use self::metadata::{FileKind, Metadata};

/// A disk, as the jobs of one process use it.
pub(crate) trait Disk {
    /// Opens a file. Does not block on a FIFO or a device. A directory can be opened for reading.
    fn open(&mut self, path: &Path, how: OpenFile) -> io::Result<FileNumber>;

    /// Opens a file or a directory for reading. `path` is relative to the directory `root`, and
    /// leads out of it neither by `..` nor by a symbolic link: that fails with EXDEV. Absolute
    /// links are refused, wherever they lead.
    fn open_beneath(&mut self, root: &Path, path: &Path) -> io::Result<FileNumber>;

    /// Closes a file and releases its lock.
    fn close(&mut self, file: FileNumber);

    /// The metadata of an open file. (`fstat`.)
    fn metadata(&mut self, file: FileNumber) -> io::Result<Metadata>;

    /// The metadata of the file at a path. (`stat`, or `lstat` without `follow`.)
    fn metadata_at(&mut self, path: &Path, follow: bool) -> io::Result<Metadata>;

    /// Reads at an offset. Returns 0 at the end of the file. (`pread`.)
    fn read_at(&mut self, file: FileNumber, offset: u64, buffer: &mut [u8]) -> io::Result<usize>;

    /// Writes at the end of a file that is open for appending. May write a part of the data only.
    fn append(&mut self, file: FileNumber, data: &[u8]) -> io::Result<usize>;

    /// Shortens a file, or extends it by zeros.
    fn truncate(&mut self, file: FileNumber, length: u64) -> io::Result<()>;

    /// Makes the contents of a file durable. (`fdatasync`.)
    fn sync(&mut self, file: FileNumber) -> io::Result<()>;

    /// Makes the names in a directory durable. (`fsync`.)
    fn sync_dir(&mut self, dir: &Path) -> io::Result<()>;

    /// Locks a file exclusively, among all open files of all processes. `WouldBlock` when another
    /// one has the lock. (`flock`.)
    fn lock(&mut self, file: FileNumber) -> io::Result<()>;

    /// Renames a file or directory. An existing file with the new name is replaced.
    fn rename(&mut self, from: &Path, to: &Path) -> io::Result<()>;

    /// Removes a file, a symbolic link or an empty directory.
    fn remove(&mut self, path: &Path) -> io::Result<()>;

    /// Creates a directory. The mode is reduced by the umask.
    fn create_dir(&mut self, path: &Path, mode: u32) -> io::Result<()>;

    /// The entries of an open directory and their metadata, at most `max` of them, in any order.
    /// Symbolic links are not followed. An entry that vanishes meanwhile is left out.
    fn list_open(&mut self, dir: FileNumber, max: usize) -> io::Result<Vec<(DirEntry, Metadata)>>;

    /// The entries of a directory without `.` and `..`, at most `max` of them, in any order.
    fn list(&mut self, dir: &Path, max: usize) -> io::Result<Vec<DirEntry>>;
}

/// The number of an open file of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct FileNumber(pub(crate) u64);

/// The way to open a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct OpenFile {
    pub(crate) access: Access,
    pub(crate) create: Create,
    /// Whether a symbolic link at the end of the path is followed. Else it fails with ELOOP.
    pub(crate) follow: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    Read,
    Append,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Create {
    Never,
    /// Creates a missing file with this mode, reduced by the umask.
    IfMissing(u32),
    /// Creates a file with this mode; `AlreadyExists` for any existing entry.
    New(u32),
}

/// An entry of a directory.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DirEntry {
    /// The name, without the directory.
    pub name: OsString,
    /// The kind. A symbolic link is not followed.
    pub kind: FileKind,
}

/// Work on files, as a sequence of steps.
pub(crate) trait FileJob: Send {
    /// Does the next step: at most one call of the disk, or a report of the result. A simulated
    /// disk lets time pass between two steps.
    fn step(&mut self, disk: &mut dyn Disk) -> Step;
}

/// Whether a job goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    Again,
    /// As `Again`, after other jobs that wait for a thread.
    Later,
    Done,
}
