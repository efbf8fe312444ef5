//! Files that are open for reading.

use std::cell::OnceCell;
use std::fmt;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::{Arc, Mutex};

use super::error::FileAction;
use super::job::Reply;
use super::lane::LaneQueue;
use super::operation::{FileOperation, Kind, to_metadata};
use crate::net::Metadata;
use crate::net::files::FileNumber;
use crate::reactor::{Handle, Reactor};

/// A file that is open for reading, from [`files::open`](crate::files::open). Clones refer to the
/// same open file. It is closed when the last one and all its operations are gone.
///
/// It keeps reading the file that it has opened, also after the path was removed or replaced.
///
/// ```
/// use twistor::files;
///
/// let start = twistor::block_on(async {
///     let hosts = files::open("/etc/passwd").await?;
///     hosts.read(0, 4).await
/// })??;
/// assert_eq!(start, b"root");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct ReadFile {
    open: Rc<OpenHandle>,
    metadata: Metadata,
}

impl ReadFile {
    pub(super) fn new(open: Rc<OpenHandle>, metadata: Metadata) -> ReadFile {
        ReadFile { open, metadata }
    }

    /// The path that was opened.
    pub fn path(&self) -> &Path {
        self.open.path()
    }

    /// The metadata as of the opening.
    pub fn opened(&self) -> &Metadata {
        &self.metadata
    }

    /// The current metadata.
    pub fn metadata(&self) -> FileOperation<Metadata> {
        let kind = Kind::MetadataOpen(Rc::clone(&self.open));
        FileOperation::new(FileAction::Metadata, self.path(), kind, to_metadata)
    }

    /// Reads `length` bytes from `offset` on, or fewer at the end of the file. Several reads can
    /// run at the same time.
    pub fn read(&self, offset: u64, length: usize) -> FileOperation<Vec<u8>> {
        let kind = Kind::ReadOpen(Rc::clone(&self.open), offset, length);
        FileOperation::new(FileAction::Read, self.path(), kind, |_, _, reply| match reply {
            Reply::Data(data) => Some(data),
            _ => None,
        })
    }
}

/// An open file, which the drop closes.
pub(in crate::reactor) struct OpenHandle {
    file: FileNumber,
    path: PathBuf,
    /// The queue of a file that is open for appending. It is closed after the operations in it.
    queue: OnceCell<Arc<Mutex<LaneQueue>>>,
    handle: Handle,
}

impl OpenHandle {
    pub(super) fn new(reactor: &mut Reactor, file: FileNumber, path: &Path) -> Rc<OpenHandle> {
        reactor.threads.files.open += 1;
        let (path, handle) = (path.to_owned(), reactor.handle());
        Rc::new(OpenHandle { file, path, queue: OnceCell::new(), handle })
    }

    /// Sets the queue that the close goes through.
    pub(super) fn set_queue(&self, queue: &Arc<Mutex<LaneQueue>>) {
        // An open file has one queue, so it was not set before.
        let _ = self.queue.set(Arc::clone(queue));
    }

    pub(super) fn file(&self) -> FileNumber {
        self.file
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for OpenHandle {
    fn drop(&mut self) {
        let (file, queue) = (self.file, self.queue.take());
        let close = move |reactor: &mut Reactor| reactor.close_file(file, queue);
        // Not on this stack: a callback may be running that has the reactor.
        self.handle.call(close);
    }
}

impl fmt::Debug for OpenHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OpenHandle").field("path", &self.path).finish_non_exhaustive()
    }
}
