//! Operations on files, as values.

use std::fmt;
use std::marker::PhantomData;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;

use super::append::{AppendFile, Lane};
use super::error::{FileAction, FileError, FileFault};
use super::job::{Outcome, Program, Reply};
use super::lane::LaneOp;
use super::programs::{self, ListBeneath, Open, Read, Rename, Write};
use super::read::{OpenHandle, ReadFile};
use crate::escape::Escaped;
use crate::net::files::{Access, Create, Disk, OpenFile};
use crate::net::{DirEntry, Instant, Metadata};
use crate::reactor::{Reactor, TimedCall};

/// An operation on a file, which has not been started. There are three ways to run it:
/// - [`start`](FileOperation::start) takes a callback.
/// - [`defer`](FileOperation::defer) returns a [`Deferred`](crate::Deferred).
/// - In a task it is awaited: `files::read("/etc/hosts").await?`.
///
/// The functions of [`files`](crate::files) make operations. An operation that was accepted runs to
/// its end, also if its Deferred or its future is dropped.
#[must_use = "an operation does nothing until it is started, deferred or awaited"]
pub struct FileOperation<T> {
    plan: Plan,
    output: fn(&mut Reactor, &Context, Reply) -> Option<T>,
    marker: PhantomData<fn() -> T>,
}

/// An operation with its options.
pub(in crate::reactor) struct Plan {
    pub(super) label: Label,
    pub(super) kind: Kind,
    pub(super) options: Options,
}

/// What the output of an operation needs.
pub(in crate::reactor) struct Context {
    path: PathBuf,
    max_queued: usize,
    /// The open file of the operation, which is not closed meanwhile.
    _open: Option<Rc<OpenHandle>>,
}

pub(super) enum Kind {
    Read,
    ReadOpen(Rc<OpenHandle>, u64, usize),
    OpenToRead,
    /// The root directory.
    OpenBeneath(PathBuf, PathBuf),
    ListBeneath(PathBuf, PathBuf),
    OpenToAppend,
    /// An operation on a file that is open for appending.
    Lane(Rc<Lane>, LaneAction),
    MetadataOpen(Rc<OpenHandle>),
    Write(Vec<u8>),
    Rename(PathBuf),
    Remove,
    CreateDir,
    List,
    Metadata,
    Lock,
}

pub(super) enum LaneAction {
    Append(Vec<u8>),
    Sync,
    Truncate(u64),
}

#[derive(Clone, Copy)]
pub(super) struct Options {
    pub(super) follow: bool,
    pub(super) limit: usize,
    pub(super) range: Option<(u64, usize)>,
    pub(super) mode: u32,
    pub(super) create: bool,
    pub(super) max_queued: usize,
    pub(super) timeout: Duration,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            follow: true,
            limit: DEFAULT_LIMIT,
            range: None,
            mode: 0o666,
            create: true,
            max_queued: DEFAULT_QUEUED,
            timeout: Duration::ZERO,
        }
    }
}

/// What an error says about its operation.
#[derive(Clone)]
pub(in crate::reactor) struct Label {
    pub(super) action: FileAction,
    pub(super) path: PathBuf,
}

impl Default for Label {
    fn default() -> Label {
        Label { action: FileAction::Open, path: PathBuf::new() }
    }
}

impl Label {
    pub(super) fn error(self, fault: FileFault) -> FileError {
        FileError { action: self.action, path: self.path, fault }
    }
}

impl fmt::Display for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a pending operation: {} {}", self.action, Escaped(self.path.display()))
    }
}

/// Reads a file. The limit on its length is 16 MiB, unless [`limit`](FileOperation::limit) changes
/// it.
///
/// ```
/// use twistor::Reactor;
/// use twistor::files;
///
/// let mut reactor = Reactor::new()?;
/// files::read("/etc/hosts").limit(1 << 20).start(&mut reactor, |reactor, hosts| {
///     match hosts {
///         Ok(hosts) => println!("{} bytes", hosts.len()),
///         Err(error) => println!("{error}"),
///     }
///     reactor.stop();
/// })?;
/// reactor.run()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[doc(alias = "getContent")]
pub fn read(path: impl Into<PathBuf>) -> FileOperation<Vec<u8>> {
    FileOperation::new(FileAction::Read, path, Kind::Read, |_, _, reply| match reply {
        Reply::Data(data) => Some(data),
        _ => None,
    })
}

/// Opens a file for reading ranges of it.
pub fn open(path: impl Into<PathBuf>) -> FileOperation<ReadFile> {
    FileOperation::new(FileAction::Open, path, Kind::OpenToRead, |reactor, context, reply| match reply {
        Reply::Opened(file, metadata) => {
            Some(ReadFile::new(OpenHandle::new(reactor, file, &context.path), metadata))
        }
        _ => None,
    })
}

/// Opens a file beneath the directory `root` for reading. `path` is relative to it. Nothing outside
/// of `root` is opened, not by `..` nor by symbolic links: that fails with EXDEV.
/// Absolute links fail, too, and relative ones are followed within `root`. For paths from outside.
///
/// Linux checks it in the kernel (`openat2`, since 5.6). Elsewhere the real path is checked before
/// the file is opened, so others must not be able to change links in the directory.
pub fn open_beneath(root: impl Into<PathBuf>, path: impl Into<PathBuf>) -> FileOperation<ReadFile> {
    let (root, path) = (root.into(), path.into());
    let whole = root.join(&path);
    let kind = Kind::OpenBeneath(root, path);
    FileOperation::new(FileAction::Open, whole, kind, |reactor, context, reply| match reply {
        Reply::Opened(file, metadata) => {
            Some(ReadFile::new(OpenHandle::new(reactor, file, &context.path), metadata))
        }
        _ => None,
    })
}

/// Lists a directory beneath `root`, sorted by name, with the metadata of its entries. As
/// [`open_beneath`], it opens nothing outside of `root`. Symbolic links in the directory are listed
/// as such. The limit is 10,000 entries.
pub fn list_beneath(
    root: impl Into<PathBuf>,
    path: impl Into<PathBuf>,
) -> FileOperation<Vec<(DirEntry, Metadata)>> {
    let (root, path) = (root.into(), path.into());
    let whole = root.join(&path);
    let kind = Kind::ListBeneath(root, path);
    let mut operation = FileOperation::new(FileAction::ListDir, whole, kind, |_, _, reply| match reply {
        Reply::Listed(entries) => Some(entries),
        _ => None,
    });
    operation.plan.options.limit = DEFAULT_ENTRIES;
    operation
}

/// Opens a file for appending. It is created if it does not exist, and its name is made durable.
/// The parent directory must exist.
#[doc(alias("RotatingFileHandler", "LogFile"))]
pub fn append_to(path: impl Into<PathBuf>) -> FileOperation<AppendFile> {
    FileOperation::new(FileAction::Open, path, Kind::OpenToAppend, |reactor, context, reply| match reply {
        Reply::Opened(file, metadata) => {
            let open = OpenHandle::new(reactor, file, &context.path);
            Some(AppendFile::new(open, metadata, context.max_queued))
        }
        _ => None,
    })
}

/// Replaces the contents of a file as a whole, or creates it. After a crash the file has either its
/// earlier contents or the new ones, and a reader never sees a part.
///
/// The data is written to a temporary file in the same directory, synced and renamed; then the
/// directory is synced. A crash can leave the temporary file, named `.NAME.RANDOM.tmp`. The new
/// file does not keep owner and mode of the earlier one. A symbolic link at the path is replaced,
/// not followed.
#[doc(alias("setContent", "atomic_write"))]
pub fn write(path: impl Into<PathBuf>, data: impl Into<Vec<u8>>) -> FileOperation<()> {
    let kind = Kind::Write(data.into());
    FileOperation::new(FileAction::Write, path, kind, done)
}

/// Renames a file or a directory. A file that has the new name is replaced. Both directories are
/// synced.
#[doc(alias = "moveTo")]
pub fn rename(from: impl Into<PathBuf>, to: impl Into<PathBuf>) -> FileOperation<()> {
    FileOperation::new(FileAction::Rename, from, Kind::Rename(to.into()), done)
}

/// Removes a file, a symbolic link or an empty directory. Its directory is synced.
#[doc(alias("unlink", "remove_file", "remove_dir"))]
pub fn remove(path: impl Into<PathBuf>) -> FileOperation<()> {
    FileOperation::new(FileAction::Remove, path, Kind::Remove, done)
}

/// Creates a directory. Its parent must exist, and is synced. The mode is 0o777, unless
/// [`mode`](FileOperation::mode) changes it.
#[doc(alias("mkdir", "makedirs"))]
pub fn create_dir(path: impl Into<PathBuf>) -> FileOperation<()> {
    FileOperation::new(FileAction::CreateDir, path, Kind::CreateDir, done).mode(0o777)
}

/// Lists a directory, sorted by name, without `.` and `..`. The limit is 10,000 entries, unless
/// [`max_entries`](FileOperation::max_entries) changes it.
#[doc(alias("read_dir", "listdir", "scandir", "children"))]
pub fn list_dir(path: impl Into<PathBuf>) -> FileOperation<Vec<DirEntry>> {
    let operation = FileOperation::new(FileAction::ListDir, path, Kind::List, |_, _, reply| match reply {
        Reply::Entries(entries) => Some(entries),
        _ => None,
    });
    operation.max_entries(DEFAULT_ENTRIES)
}

/// Reads the metadata of a file of any kind.
#[doc(alias("stat", "lstat", "restat"))]
pub fn metadata(path: impl Into<PathBuf>) -> FileOperation<Metadata> {
    FileOperation::new(FileAction::Metadata, path, Kind::Metadata, to_metadata)
}

/// Locks a file, which is created if it does not exist. The lock is exclusive and advisory: it only
/// excludes other holders of the lock (`flock`), in this process and in others. Without a
/// [`timeout`](FileOperation::timeout), it fails at once when the file is locked.
#[doc(alias("flock", "FilesystemLock", "PIDFile"))]
pub fn lock(path: impl Into<PathBuf>) -> FileOperation<FileLock> {
    FileOperation::new(FileAction::Lock, path, Kind::Lock, |reactor, context, reply| match reply {
        Reply::Opened(file, _) => Some(FileLock { open: OpenHandle::new(reactor, file, &context.path) }),
        _ => None,
    })
}

fn done(_: &mut Reactor, _: &Context, reply: Reply) -> Option<()> {
    matches!(reply, Reply::Done).then_some(())
}

pub(super) fn to_metadata(_: &mut Reactor, _: &Context, reply: Reply) -> Option<Metadata> {
    match reply {
        Reply::Metadata(metadata) => Some(metadata),
        _ => None,
    }
}

/// A held lock. Its drop releases it, soon after the drop; so does the end of the process.
///
/// ```
/// use twistor::files::{self, FileFault};
///
/// # let dir = std::env::temp_dir().join(format!("twistor-doc-lock-{}", std::process::id()));
/// # std::fs::create_dir_all(&dir)?;
/// # let path = dir.join("spool.lock");
/// twistor::block_on(async {
///     let lock = files::lock(&path).await?;
///     let refused = files::lock(&path).await.unwrap_err();
///     assert!(matches!(refused.fault, FileFault::Locked));
///     drop(lock);
///     files::lock(&path).timeout(std::time::Duration::from_secs(5)).await?;
///     Ok::<_, files::FileError>(())
/// })??;
/// # std::fs::remove_dir_all(&dir)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use = "dropping it releases the lock"]
#[derive(Debug)]
pub struct FileLock {
    open: Rc<OpenHandle>,
}

impl FileLock {
    /// The path that was locked.
    pub fn path(&self) -> &Path {
        self.open.path()
    }
}

impl<T> FileOperation<T> {
    pub(super) fn new(
        action: FileAction,
        path: impl Into<PathBuf>,
        kind: Kind,
        output: fn(&mut Reactor, &Context, Reply) -> Option<T>,
    ) -> FileOperation<T> {
        let label = Label { action, path: path.into() };
        let plan = Plan { label, kind, options: Options::default() };
        FileOperation { plan, output, marker: PhantomData }
    }

    /// The error of this operation with a fault.
    pub(crate) fn error(&self, fault: FileFault) -> FileError {
        self.plan.label.clone().error(fault)
    }

    /// Refuses a symbolic link at the end of the path, with [`FileFault::Symlink`]. For a directory
    /// that other users can write to, where a link could lead to a file of another user's choice.
    /// [`metadata`] returns that of the link itself. Links to directories are followed. Default:
    /// links are followed.
    pub fn no_symlink(mut self) -> FileOperation<T> {
        self.plan.options.follow = false;
        self
    }

    /// Starts the operation. `done` is called once with the result, from the loop on a fresh stack,
    /// and never inside this call.
    ///
    /// When the reactor stops, `done` is called with [`FileFault::Stopped`] if the outcome is not
    /// known yet. A graceful stop waits for operations, at most for
    /// [`Settings::graceful_stop_timeout`](crate::Settings::graceful_stop_timeout). The drop of the
    /// reactor waits for accepted ones in the same way, so they are carried out if there is time.
    ///
    /// # Errors
    /// `done` is not called then.
    /// - [`FileFault::QueueFull`], [`FileFault::BufferFull`]: there is no room.
    /// - [`FileFault::Stopped`]: the reactor has stopped.
    /// - [`FileFault::System`]: no thread could be started.
    pub fn start(
        self,
        reactor: &mut Reactor,
        done: impl FnOnce(&mut Reactor, Result<T, FileError>) + 'static,
    ) -> Result<(), FileError>
    where
        T: 'static,
    {
        self.start_draining(reactor, true, done)
    }

    /// As [`start`](FileOperation::start). `drains`: whether a graceful stop waits for it.
    pub(super) fn start_draining(
        self,
        reactor: &mut Reactor,
        drains: bool,
        done: impl FnOnce(&mut Reactor, Result<T, FileError>) + 'static,
    ) -> Result<(), FileError>
    where
        T: 'static,
    {
        let FileOperation { plan, output, .. } = self;
        let label = plan.label.clone();
        let context = plan.context();
        let work = plan.into_work();
        let done = move |reactor: &mut Reactor, label: Label, outcome: Outcome| {
            let result = match outcome {
                Ok(reply) => output(reactor, &context, reply).ok_or(FileFault::Stopped),
                Err(fault) => Err(fault),
            };
            done(reactor, result.map_err(|fault| label.error(fault)));
        };
        reactor.start_operation(label, work, drains, Box::new(done))
    }
}

impl FileOperation<Vec<u8>> {
    /// The limit on the length of the file in bytes. A longer file is not read, and fails with
    /// [`FileFault::TooLong`]. Default: 16 MiB.
    pub fn limit(mut self, bytes: usize) -> FileOperation<Vec<u8>> {
        self.plan.options.limit = bytes;
        self
    }

    /// Reads only `length` bytes from `offset` on, or fewer at the end of the file.
    pub fn range(mut self, offset: u64, length: usize) -> FileOperation<Vec<u8>> {
        self.plan.options.range = Some((offset, length));
        self
    }
}

impl FileOperation<()> {
    /// The permission bits of a new file or directory, reduced by the umask. For [`write()`] and
    /// [`create_dir`]; others ignore it. Default: 0o666, and 0o777 for directories.
    pub fn mode(mut self, mode: u32) -> FileOperation<()> {
        self.plan.options.mode = mode;
        self
    }
}

impl FileOperation<AppendFile> {
    /// The permission bits of a new file, reduced by the umask. Default: 0o666.
    pub fn mode(mut self, mode: u32) -> FileOperation<AppendFile> {
        self.plan.options.mode = mode;
        self
    }

    /// Fails if the file does not exist. Default: it is created.
    pub fn existing(mut self) -> FileOperation<AppendFile> {
        self.plan.options.create = false;
        self
    }

    /// Limit in bytes on the data that waits to be appended to this file. Default: 1 MiB.
    pub fn max_queued(mut self, bytes: usize) -> FileOperation<AppendFile> {
        self.plan.options.max_queued = bytes;
        self
    }
}

impl FileOperation<Vec<DirEntry>> {
    /// The limit on entries. A directory with more fails with [`FileFault::TooManyEntries`].
    /// Default: 10,000.
    pub fn max_entries(mut self, entries: usize) -> FileOperation<Vec<DirEntry>> {
        self.plan.options.limit = entries;
        self
    }
}

impl FileOperation<FileLock> {
    /// Waits at most this time for another holder to release the lock, by trying again every 50 ms.
    /// Default: zero.
    pub fn timeout(mut self, timeout: Duration) -> FileOperation<FileLock> {
        self.plan.options.timeout = timeout;
        self
    }

    /// The permission bits of a new lock file, reduced by the umask. Default: 0o666.
    pub fn mode(mut self, mode: u32) -> FileOperation<FileLock> {
        self.plan.options.mode = mode;
        self
    }
}

impl<T> fmt::Debug for FileOperation<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Label { action, path } = &self.plan.label;
        f.debug_struct("FileOperation").field("action", action).field("path", path).finish_non_exhaustive()
    }
}

/// The work of an operation, apart from what its output needs.
enum Work {
    Program(Box<dyn Program>),
    /// A program that needs a random name.
    Drafted(Box<MakeProgram>),
    Lane(Rc<Lane>, LaneAction),
    Lock(Retry),
}

type MakeProgram = dyn FnOnce(&mut Reactor) -> Box<dyn Program>;

/// The tries of a lock.
#[derive(Clone)]
pub(super) struct Retry {
    path: PathBuf,
    options: Options,
    /// Set by the first try.
    until: Option<Instant>,
}

impl Plan {
    fn context(&self) -> Context {
        let open = match &self.kind {
            Kind::ReadOpen(open, ..) | Kind::MetadataOpen(open) => Some(Rc::clone(open)),
            Kind::Lane(lane, _) => Some(lane.open()),
            _ => None,
        };
        Context { path: self.label.path.clone(), max_queued: self.options.max_queued, _open: open }
    }

    fn into_work(self) -> Work {
        let Plan { label: Label { path, .. }, kind, options } = self;
        let follow = options.follow;
        let program: Box<dyn Program> = match kind {
            Kind::Lane(lane, action) => return Work::Lane(lane, action),
            Kind::Lock => return Work::Lock(Retry { path, options, until: None }),
            Kind::Write(data) => {
                let write = move |reactor: &mut Reactor| -> Box<dyn Program> {
                    Box::new(Write::new(path, data, options.mode, follow, reactor.random()))
                };
                return Work::Drafted(Box::new(write));
            }
            Kind::Read => Box::new(Read::new(path, follow, options.range, options.limit)),
            Kind::ReadOpen(open, offset, length) => Box::new(Read::of(open.file(), offset, length)),
            Kind::MetadataOpen(open) => {
                let file = open.file();
                Box::new(move |disk: &mut dyn Disk| {
                    let found = disk.metadata(file).map_err(FileFault::system("fstat"));
                    Some(found.map(Reply::Metadata))
                })
            }
            Kind::OpenToRead => {
                let how = OpenFile { access: Access::Read, create: Create::Never, follow };
                Box::new(Open::new(path, how))
            }
            Kind::OpenBeneath(root, path) => Box::new(Open::beneath(root, path)),
            Kind::ListBeneath(root, path) => Box::new(ListBeneath::new(root, path, options.limit)),
            Kind::OpenToAppend => {
                let create = if options.create { Create::IfMissing(options.mode) } else { Create::Never };
                let how = OpenFile { access: Access::Append, create, follow };
                Box::new(Open::new(path, how))
            }
            Kind::Rename(to) => {
                let dirs = [&to, &path].map(|path| programs::parent(path).to_owned());
                let change = move |disk: &mut dyn Disk| disk.rename(&path, &to);
                Box::new(Rename::new("rename", dirs, change))
            }
            Kind::Remove => {
                let dirs = [programs::parent(&path).to_owned()];
                Box::new(Rename::new("unlink", dirs, move |disk: &mut dyn Disk| disk.remove(&path)))
            }
            Kind::CreateDir => {
                let dirs = [programs::parent(&path).to_owned()];
                let change = move |disk: &mut dyn Disk| disk.create_dir(&path, options.mode);
                Box::new(Rename::new("mkdir", dirs, change))
            }
            Kind::List => Box::new(programs::list(path, options.limit)),
            Kind::Metadata => Box::new(move |disk: &mut dyn Disk| {
                let found = disk.metadata_at(&path, follow).map_err(FileFault::system("stat"));
                Some(found.map(Reply::Metadata))
            }),
        };
        Work::Program(program)
    }
}

impl Reactor {
    fn start_operation(
        &mut self,
        label: Label,
        work: Work,
        drains: bool,
        done: super::Done,
    ) -> Result<(), FileError> {
        match work {
            Work::Program(program) => {
                let number = self.accept_operation(label, drains, done)?;
                self.run_program(number, program)
            }
            Work::Drafted(make) => {
                let number = self.accept_operation(label, drains, done)?;
                let program = make(self);
                self.run_program(number, program)
            }
            Work::Lane(lane, action) => {
                let data = match &action {
                    LaneAction::Append(data) => data.len(),
                    LaneAction::Sync | LaneAction::Truncate(_) => 0,
                };
                lane.check_room(data).map_err(|fault| label.clone().error(fault))?;
                let number = self.accept_operation(label, drains, done)?;
                let reporter = self.reporter(number);
                let operation = match action {
                    LaneAction::Append(data) => LaneOp::Append(data, reporter),
                    LaneAction::Sync => LaneOp::Sync(reporter),
                    LaneAction::Truncate(length) => LaneOp::Truncate(length, reporter),
                };
                self.push_to_lane(&lane.queue(), operation);
                Ok(())
            }
            Work::Lock(mut retry) => {
                retry.until = Some(self.now() + retry.options.timeout);
                let lock = retry.program();
                // A graceful stop does not wait for a lock that others hold.
                let number = self.accept_operation(label, false, done)?;
                if let Some(pending) = self.threads.files.pending.get_mut(number) {
                    pending.retry = Some(retry);
                }
                self.run_program(number, lock)
            }
        }
    }

    /// Plans the next try of a lock. Returns `false` when its time is over.
    pub(super) fn retry_lock_later(&mut self, number: u64) -> bool {
        let now = self.now();
        let Some(pending) = self.threads.files.pending.get_mut(number) else { return false };
        let Some(until) = pending.retry.as_ref().and_then(|retry| retry.until) else { return false };
        if now >= until {
            return false;
        }
        let next = (now + LOCK_INTERVAL).min(until);
        let call = move |reactor: &mut Reactor| reactor.retry_lock(number);
        self.timers.set(next, TimedCall::Reactor(Box::new(call)));
        true
    }

    fn retry_lock(&mut self, number: u64) {
        let pending = self.threads.files.pending.get(number);
        let Some(lock) = pending.and_then(|pending| pending.retry.as_ref()).map(Retry::program) else {
            return;
        };
        let job = super::Job::new(lock, self.reporter(number));
        if let Err(source) = self.net.run_file_job(Box::new(job)) {
            let fault = FileFault::System { call: "pthread_create", source };
            self.file_outcome(number, Err(fault));
        }
    }
}

impl Retry {
    fn program(&self) -> Box<dyn Program> {
        let Retry { path, options, .. } = self;
        Box::new(programs::Lock::new(path.clone(), options.follow, options.mode))
    }
}

/// The default limit on the length of a file that is read as a whole.
const DEFAULT_LIMIT: usize = 16 * 1024 * 1024;

/// The default limit on data that waits to be appended to one file.
const DEFAULT_QUEUED: usize = 1024 * 1024;

const DEFAULT_ENTRIES: usize = 10_000;

/// The interval between two tries of a lock.
const LOCK_INTERVAL: Duration = Duration::from_millis(50);
