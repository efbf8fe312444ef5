//! Errors of operations on files.

use std::fmt;
use std::io;
use std::path::PathBuf;

use rustix::io::Errno;

use crate::escape::Escaped;
use crate::net::FileKind;

/// The error of an operation on a file.
///
/// ```
/// use twistor::files::{self, FileFault};
///
/// twistor::block_on(async {
///     let error = files::read("/no/such/file").await.unwrap_err();
///     assert_eq!(error.path.to_str(), Some("/no/such/file"));
///     assert!(matches!(&error.fault, FileFault::System { call: "open", .. }) && error.is_not_found());
///     assert!(error.to_string().starts_with("cannot read /no/such/file: open: "));
/// })?;
/// # Ok::<(), twistor::Error>(())
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub struct FileError {
    /// The operation.
    pub action: FileAction,
    /// The path that the operation was given.
    pub path: PathBuf,
    /// The cause.
    pub fault: FileFault,
}

impl FileError {
    /// Whether the file or its directory does not exist.
    pub fn is_not_found(&self) -> bool {
        self.kind() == io::ErrorKind::NotFound
    }

    /// The kind, as that of a system error.
    pub fn kind(&self) -> io::ErrorKind {
        use io::ErrorKind as Kind;
        match &self.fault {
            FileFault::System { source, .. } => source.kind(),
            FileFault::TooLong { .. } | FileFault::TooManyEntries { .. } => Kind::FileTooLarge,
            FileFault::Symlink | FileFault::NotRegular(_) => Kind::InvalidInput,
            FileFault::QueueFull { .. } | FileFault::BufferFull { .. } | FileFault::Locked => {
                Kind::WouldBlock
            }
            FileFault::Poisoned | FileFault::NoReactor => Kind::Other,
            FileFault::Stopped => Kind::BrokenPipe,
        }
    }
}

/// The kind of an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum FileAction {
    /// Opening for reading or appending.
    Open,
    /// Reading.
    Read,
    /// Replacing the contents as a whole.
    Write,
    /// Appending.
    Append,
    /// Making appended data durable.
    Sync,
    /// Changing the length.
    Truncate,
    /// Renaming.
    Rename,
    /// Removing.
    Remove,
    /// Creating a directory.
    CreateDir,
    /// Listing a directory.
    ListDir,
    /// Reading metadata.
    Metadata,
    /// Locking.
    Lock,
}

/// The cause of a [`FileError`].
#[derive(Debug)]
#[non_exhaustive]
pub enum FileFault {
    /// A system call failed. Its name is that of the call, such as `open`, `write` or `fdatasync`.
    System {
        /// The system call that failed.
        call: &'static str,
        /// The system's error.
        source: io::Error,
    },
    /// The file is longer than the operation's limit in bytes.
    TooLong {
        /// The limit.
        limit: u64,
    },
    /// The directory has more entries than the operation's limit.
    TooManyEntries {
        /// The limit.
        limit: usize,
    },
    /// The path is a symbolic link, which the operation refuses.
    Symlink,
    /// The path is no regular file, but of this kind.
    NotRegular(FileKind),
    /// [`Settings::file_queue`](crate::Settings::file_queue) operations run or wait.
    QueueFull {
        /// The limit.
        limit: usize,
    },
    /// The bytes that wait to be appended would exceed
    /// [`max_queued`](crate::files::FileOperation::max_queued).
    BufferFull {
        /// The limit in bytes.
        limit: usize,
    },
    /// An earlier write or sync of this open file failed, so data that was accepted may be lost.
    /// The file has to be opened again, and its contents checked.
    Poisoned,
    /// Another open file has the lock, of this process or of another one.
    Locked,
    /// The reactor has stopped. The outcome of an operation that it had accepted is unknown.
    Stopped,
    /// The operation was awaited outside of a task.
    NoReactor,
}

impl FileFault {
    pub(in crate::reactor) fn system(call: &'static str) -> impl Fn(io::Error) -> FileFault {
        move |source| FileFault::System { call, source }
    }

    /// A fault with the same meaning, for another operation that failed with this one.
    pub(in crate::reactor) fn copy(&self) -> FileFault {
        match self {
            FileFault::System { call, source } => FileFault::System { call, source: copy(source) },
            FileFault::Poisoned => FileFault::Poisoned,
            // Faults of one operation only.
            _ => FileFault::Stopped,
        }
    }

    /// Whether the file can be used as before, although a write has failed: there was no space.
    pub(in crate::reactor) fn is_lack_of_space(&self) -> bool {
        let FileFault::System { source, .. } = self else { return false };
        matches!(Errno::from_io_error(source), Some(Errno::NOSPC | Errno::DQUOT | Errno::FBIG))
    }
}

fn copy(error: &io::Error) -> io::Error {
    match error.raw_os_error() {
        Some(number) => io::Error::from_raw_os_error(number),
        None => error.kind().into(),
    }
}

impl fmt::Display for FileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot {} {}: {}", self.action, Escaped(self.path.display()), self.fault)
    }
}

impl fmt::Display for FileAction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            FileAction::Open => "open",
            FileAction::Read => "read",
            FileAction::Write => "write",
            FileAction::Append => "append to",
            FileAction::Sync => "sync",
            FileAction::Truncate => "truncate",
            FileAction::Rename => "rename",
            FileAction::Remove => "remove",
            FileAction::CreateDir => "create the directory",
            FileAction::ListDir => "list the directory",
            FileAction::Metadata => "read the metadata of",
            FileAction::Lock => "lock",
        })
    }
}

impl fmt::Display for FileFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FileFault::System { call, source } => write!(f, "{call}: {}", Escaped(source)),
            FileFault::TooLong { limit } => write!(f, "it is longer than the limit of {limit} bytes"),
            FileFault::TooManyEntries { limit } => write!(f, "it has more than {limit} entries"),
            FileFault::Symlink => f.write_str("it is a symbolic link"),
            FileFault::NotRegular(kind) => write!(f, "it is {kind}"),
            FileFault::QueueFull { limit } => {
                write!(f, "the queue is full: its limit is {limit} operations")
            }
            FileFault::BufferFull { limit } => {
                write!(f, "the queue of this file is full: its limit is {limit} bytes")
            }
            FileFault::Poisoned => {
                f.write_str("an earlier write or sync failed: open it again, and check its contents")
            }
            FileFault::Locked => f.write_str("another process or another part of this one has the lock"),
            FileFault::Stopped => f.write_str("the reactor has stopped"),
            FileFault::NoReactor => f.write_str("no reactor here: not inside a task"),
        }
    }
}

impl std::error::Error for FileError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match &self.fault {
            // The text contains the system's error already. Below it, only a wrapped error is left.
            FileFault::System { source, .. } => source.source(),
            _ => None,
        }
    }
}

/// Lets `?` return a [`FileError`] from a function of [`io::Result`].
impl From<FileError> for io::Error {
    fn from(error: FileError) -> io::Error {
        io::Error::new(error.kind(), error)
    }
}
