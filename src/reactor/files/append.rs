//! Files that are open for appending.

use std::fmt;
use std::path::Path;
use std::rc::Rc;
use std::sync::{Arc, Mutex};

use super::error::{FileAction, FileFault};
use super::job::Reply;
use super::lane::{LaneJob, LaneOp, LaneQueue, lock_queue};
use super::operation::{FileOperation, Kind, LaneAction, to_metadata};
use super::read::OpenHandle;
use crate::net::Metadata;
use crate::reactor::Reactor;

/// A file that is open for appending, from [`files::append_to`](crate::files::append_to): a log, a
/// spool, a journal. Clones refer to the same open file. It is closed when the last one and all its
/// operations are gone.
///
/// - **Order**: operations are carried out in the order in which they were started.
/// - **Whole buffers**: the data of one [`append`](AppendFile::append) is written as a whole or, if
///   it fails, not at all. If the disk is full, a part that was written is cut off again. Buffers
///   that wait are written together, with one system call.
/// - **Durability**: [`sync`](AppendFile::sync) makes durable what was appended before it. Syncs
///   that wait share one `fdatasync`.
/// - **Failures**: when the disk is full, the operation fails, and later ones work once there is
///   space. After any other failed write and after a failed sync, the file is *poisoned*: all
///   further operations fail with [`FileFault::Poisoned`], because the kernel may have dropped
///   data, and reports so only once. Open another file, or this one again and check its contents.
/// - **One writer**: other processes must not write to the file at the same time. A
///   [lock](crate::files::lock) can make sure of that.
///
/// A crash may leave a part of the data that was not synced. A format that can tell, such as a
/// length and a checksum before each record, lets the next start
/// [cut](AppendFile::truncate) the rest off.
///
/// ```
/// use twistor::files;
///
/// # let dir = std::env::temp_dir().join(format!("twistor-doc-append-{}", std::process::id()));
/// # std::fs::create_dir_all(&dir)?;
/// # let path = dir.join("journal");
/// twistor::block_on(async {
///     let journal = files::append_to(&path).mode(0o600).await?;
///     assert_eq!(journal.append("first\n").await?, 0);
///     assert_eq!(journal.append("second\n").await?, 6);
///     journal.sync().await?;
///     assert_eq!(files::read(&path).await?, b"first\nsecond\n");
///     Ok::<_, files::FileError>(())
/// })??;
/// # std::fs::remove_dir_all(&dir)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct AppendFile {
    lane: Rc<Lane>,
    metadata: Metadata,
}

impl AppendFile {
    pub(super) fn new(open: Rc<OpenHandle>, metadata: Metadata, max_queued: usize) -> AppendFile {
        let queue = LaneQueue::new(open.file(), metadata.length);
        let queue = Arc::new(Mutex::new(queue));
        open.set_queue(&queue);
        let lane = Lane { open, queue, max_queued };
        AppendFile { lane: Rc::new(lane), metadata }
    }

    /// The path that was opened.
    pub fn path(&self) -> &Path {
        self.lane.open.path()
    }

    /// The metadata as of the opening. The length is where the first append begins.
    pub fn opened(&self) -> &Metadata {
        &self.metadata
    }

    /// The current metadata.
    pub fn metadata(&self) -> FileOperation<Metadata> {
        let kind = Kind::MetadataOpen(Rc::clone(&self.lane.open));
        FileOperation::new(FileAction::Metadata, self.path(), kind, to_metadata)
    }

    /// Appends data. The result is the offset at which it begins. The data is not durable before a
    /// [`sync`](AppendFile::sync), but it survives the end of the process.
    ///
    /// Starting it fails with [`FileFault::BufferFull`] when the data that waits would exceed
    /// [`max_queued`](FileOperation::max_queued).
    pub fn append(&self, data: impl Into<Vec<u8>>) -> FileOperation<u64> {
        let kind = Kind::Lane(Rc::clone(&self.lane), LaneAction::Append(data.into()));
        FileOperation::new(FileAction::Append, self.path(), kind, |_, _, reply| match reply {
            Reply::Offset(offset) => Some(offset),
            _ => None,
        })
    }

    /// Makes all data durable whose append was started before. (`fdatasync`.)
    #[doc(alias("fsync", "fdatasync", "flush"))]
    pub fn sync(&self) -> FileOperation<()> {
        let kind = Kind::Lane(Rc::clone(&self.lane), LaneAction::Sync);
        FileOperation::new(FileAction::Sync, self.path(), kind, |_, _, reply| {
            matches!(reply, Reply::Done).then_some(())
        })
    }

    /// Cuts the file to this length, for example to the end of its last valid record. The next
    /// append begins there. A file that is shorter is extended by zeros.
    #[doc(alias("ftruncate", "set_len"))]
    pub fn truncate(&self, length: u64) -> FileOperation<()> {
        let kind = Kind::Lane(Rc::clone(&self.lane), LaneAction::Truncate(length));
        FileOperation::new(FileAction::Truncate, self.path(), kind, |_, _, reply| {
            matches!(reply, Reply::Done).then_some(())
        })
    }

    /// Number of bytes that wait to be appended.
    pub fn queued(&self) -> usize {
        lock_queue(&self.lane.queue).queued
    }

    /// Whether all further operations fail with [`FileFault::Poisoned`].
    pub fn is_poisoned(&self) -> bool {
        lock_queue(&self.lane.queue).poisoned
    }
}

impl fmt::Debug for AppendFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AppendFile").field("path", &self.path()).finish_non_exhaustive()
    }
}

/// The operations of one file that is open for appending, which run one after the other.
pub(in crate::reactor) struct Lane {
    open: Rc<OpenHandle>,
    queue: Arc<Mutex<LaneQueue>>,
    max_queued: usize,
}

impl Lane {
    pub(super) fn open(&self) -> Rc<OpenHandle> {
        Rc::clone(&self.open)
    }

    pub(super) fn queue(&self) -> Arc<Mutex<LaneQueue>> {
        Arc::clone(&self.queue)
    }

    /// Whether this number of further bytes can wait.
    pub(super) fn check_room(&self, bytes: usize) -> Result<(), FileFault> {
        let queued = lock_queue(&self.queue).queued;
        match queued.saturating_add(bytes) <= self.max_queued {
            true => Ok(()),
            false => Err(FileFault::BufferFull { limit: self.max_queued }),
        }
    }
}

impl Reactor {
    /// Queues an operation, and starts the lane's job unless it runs.
    pub(super) fn push_to_lane(&mut self, queue: &Arc<Mutex<LaneQueue>>, operation: LaneOp) {
        let starts = lock_queue(queue).push(operation);
        if starts && let Err(source) = self.net.run_file_job(Box::new(LaneJob::new(Arc::clone(queue)))) {
            let fault = FileFault::System { call: "pthread_create", source };
            let refused = lock_queue(queue).fail(&fault);
            // Reported without the lock.
            refused.into_iter().for_each(|(reporter, fault)| reporter.report(Err(fault)));
        }
    }
}
