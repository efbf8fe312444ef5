//! Files: operations that run beside the loop, and their results.
//!
//! An operation is a [`Plan`] until it is started. Then its [job](job) goes to the driver, and its
//! callback waits here, by number. The outcome comes back through the inbox.

mod append;
pub(in crate::reactor) mod error;
pub(in crate::reactor) mod job;
mod lane;
mod operation;
mod programs;
mod read;
mod watch;

use std::sync::{Arc, Mutex};

pub use self::append::AppendFile;
pub use self::error::{FileAction, FileError, FileFault};
pub use self::operation::{
    FileLock, FileOperation, append_to, create_dir, list_beneath, list_dir, lock, metadata, open,
    open_beneath, read, remove, rename, write,
};
pub use self::read::ReadFile;
pub use self::watch::{FileChange, FileWatch, WatchFile, watch};

use self::job::{CloseJob, Job, Outcome, Program, Reporter};
use self::lane::{LaneOp, LaneQueue};
use self::operation::{Label, Retry};
use crate::net::files::FileNumber;
use crate::numbered::Numbered;
use crate::reactor::turn::lifecycle::RunState;
use crate::reactor::{CallbackKind, Reactor};

/// The operations and watches of a reactor.
#[derive(Default)]
pub(in crate::reactor) struct Files {
    /// Accepted operations by number.
    pending: Numbered<Pending>,
    watches: Numbered<watch::Watch>,
    /// The number of open files that the program holds.
    open: usize,
    count: u64,
}

/// An accepted operation.
struct Pending {
    label: Label,
    /// Whether a graceful stop waits for it.
    drains: bool,
    /// How a refused lock is tried again.
    retry: Option<Retry>,
    done: Done,
}

/// Called with the outcome, and with the operation's label for its error.
pub(in crate::reactor) type Done = Box<dyn FnOnce(&mut Reactor, Label, Outcome)>;

impl Files {
    /// The number of resources.
    pub(in crate::reactor) fn len(&self) -> usize {
        self.pending.len() + self.watches.len() + self.open
    }

    /// Whether a graceful stop has operations to wait for.
    pub(in crate::reactor) fn drains(&self) -> bool {
        self.pending.values().any(|pending| pending.drains)
    }

    /// Descriptions of the resources, for people.
    pub(in crate::reactor) fn resources(&self) -> Vec<String> {
        let pending = self.pending.values().map(|pending| pending.label.to_string());
        let watches = self.watches.values().map(|watch| watch.to_string());
        let open = (self.open > 0).then(|| format!("{} open files", self.open));
        pending.chain(watches).chain(open).collect()
    }
}

impl Reactor {
    /// Accepts an operation: keeps its callback, and returns its number.
    fn accept_operation(&mut self, label: Label, drains: bool, done: Done) -> Result<u64, FileError> {
        if matches!(self.lifecycle.state, RunState::Ending | RunState::Finished) {
            return Err(label.error(FileFault::Stopped));
        }
        let limit = self.settings.file_queue;
        let files = &mut self.threads.files;
        if files.pending.len() >= limit {
            return Err(label.error(FileFault::QueueFull { limit }));
        }
        files.count += 1;
        files.pending.insert(files.count, Pending { label, drains, retry: None, done });
        Ok(files.count)
    }

    /// Reads a whole file of certificates or keys, and blocks meanwhile.
    #[cfg(feature = "tls-no-provider")]
    pub(crate) fn read_credentials(&mut self, path: &std::path::Path) -> std::io::Result<Vec<u8>> {
        self.net.read_credentials(path)
    }

    fn reporter(&self, number: u64) -> Reporter {
        Reporter::new(&self.threads.inbox, number)
    }

    /// Runs the program of an accepted operation.
    fn run_program(&mut self, number: u64, program: Box<dyn Program>) -> Result<(), FileError> {
        let job = Job::new(program, self.reporter(number));
        self.net.run_file_job(Box::new(job)).map_err(|source| {
            let pending = self.threads.files.pending.remove(number);
            let fault = FileFault::System { call: "pthread_create", source };
            // The callback is dropped by the caller's closure, outside of this call.
            match pending {
                Some(pending) => pending.label.error(fault),
                None => Label::default().error(fault),
            }
        })
    }

    /// Delivers the outcome of an operation.
    pub(in crate::reactor) fn file_outcome(&mut self, number: u64, outcome: Outcome) {
        if matches!(outcome, Err(FileFault::Locked)) && self.retry_lock_later(number) {
            return;
        }
        if let Some(Pending { label, done, .. }) = self.threads.files.pending.remove(number) {
            self.call(CallbackKind::FileResult, |reactor| done(reactor, label, outcome));
        }
    }

    /// Closes a file of a dropped handle, after the operations of its queue. They may be left after
    /// a stop, which has dropped their callbacks.
    fn close_file(&mut self, file: FileNumber, queue: Option<Arc<Mutex<LaneQueue>>>) {
        self.threads.files.open = self.threads.files.open.saturating_sub(1);
        match queue {
            Some(queue) => self.push_to_lane(&queue, LaneOp::Close),
            // Without a thread, the file stays open until the driver ends.
            None => drop(self.net.run_file_job(Box::new(CloseJob(file)))),
        }
    }

    /// Whether a graceful stop has something to wait for.
    pub(in crate::reactor) fn drains(&self) -> bool {
        self.registry.drains() || self.threads.files.drains()
    }

    /// Reports to all accepted operations that the reactor has stopped. Their jobs run on until the
    /// driver ends.
    pub(in crate::reactor) fn stop_files(&mut self) {
        while let Some((_, Pending { label, done, .. })) = self.threads.files.pending.pop_first() {
            self.call(CallbackKind::FileResult, |reactor| done(reactor, label, Err(FileFault::Stopped)));
        }
        while let Some((_, watch)) = self.threads.files.watches.pop_first() {
            self.call(CallbackKind::Drop, |_| drop(watch));
        }
    }
}
