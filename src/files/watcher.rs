//! Watching files in tasks.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::fmt;
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Poll, Waker};

use crate::files::{FileChange, FileWatch, WatchFile};
use crate::reactor::{Handle, Reactor, Result};

/// A watch for a task, from [`WatchFile::changes`]. Its drop ends the watch.
pub struct FileWatcher {
    slot: Rc<RefCell<Slot>>,
    watch: FileWatch,
    handle: Handle,
}

#[derive(Default)]
struct Slot {
    /// At most one change: a later one takes its place.
    changes: VecDeque<FileChange>,
    waker: Option<Waker>,
    ended: bool,
}

impl WatchFile {
    /// Starts to watch, for a task.
    ///
    /// ```
    /// use twistor::files::{self, FileChange};
    ///
    /// twistor::block_on(async {
    ///     let mut watcher = files::watch("/etc/hosts").changes()?;
    ///     // The first look.
    ///     let change = watcher.changed().await;
    ///     assert!(matches!(change, Some(FileChange::Found(_) | FileChange::Missing)));
    ///     Ok::<_, twistor::Error>(())
    /// })??;
    /// # Ok::<(), twistor::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::ReactorUnavailable`](crate::Error::ReactorUnavailable) outside of a task.
    pub fn changes(self) -> Result<FileWatcher> {
        let handle = Handle::current()?;
        let slot = Rc::<RefCell<Slot>>::default();
        let end = End(Rc::clone(&slot));
        let watch = handle.with_reactor(|reactor| {
            self.start(reactor, move |_, change| {
                let mut slot = end.0.borrow_mut();
                slot.changes.clear();
                slot.changes.push_back(change);
                let waker = slot.waker.take();
                drop(slot);
                if let Some(waker) = waker {
                    waker.wake();
                }
            })
        })?;
        Ok(FileWatcher { slot, watch, handle })
    }
}

impl FileWatcher {
    /// Waits for the first look, or the next change. If there were several since the last call, it
    /// returns the last one. Returns `None` when the reactor has stopped. Dropping the future loses
    /// no change.
    pub async fn changed(&mut self) -> Option<FileChange> {
        poll_fn(|context| {
            let mut slot = self.slot.borrow_mut();
            if let Some(change) = slot.changes.pop_front() {
                return Poll::Ready(Some(change));
            }
            if slot.ended || self.handle.finished() {
                return Poll::Ready(None);
            }
            let earlier = slot.waker.replace(context.waker().clone());
            // Dropped without a borrow: the waker may own values that come back here.
            drop(slot);
            drop(earlier);
            Poll::Pending
        })
        .await
    }
}

impl Drop for FileWatcher {
    fn drop(&mut self) {
        let watch = self.watch;
        let stop = move |reactor: &mut Reactor| {
            watch.stop(reactor);
        };
        if self.handle.with_reactor(stop).is_err() {
            self.handle.call(stop);
        }
    }
}

impl fmt::Debug for FileWatcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FileWatcher").finish_non_exhaustive()
    }
}

/// The callback's end. Its drop reports the end of the watch.
struct End(Rc<RefCell<Slot>>);

impl Drop for End {
    fn drop(&mut self) {
        let mut slot = self.0.borrow_mut();
        slot.ended = true;
        let waker = slot.waker.take();
        drop(slot);
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}
