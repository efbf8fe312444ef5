//! Jobs on files: a program of disk calls, and the report of its result.

use std::sync::Arc;

use crate::net::files::{Disk, FileJob, FileNumber, Step};
use crate::net::{DirEntry, Metadata};
use crate::reactor::files::error::FileFault;
use crate::reactor::threads::Inbox;

/// The result of an operation.
pub(in crate::reactor) enum Reply {
    Done,
    Data(Vec<u8>),
    Opened(FileNumber, Metadata),
    Offset(u64),
    Metadata(Metadata),
    Entries(Vec<DirEntry>),
    Listed(Vec<(DirEntry, Metadata)>),
}

pub(in crate::reactor) type Outcome = Result<Reply, FileFault>;

/// A sequence of disk calls.
pub(in crate::reactor) trait Program: Send {
    /// Makes the next call, at most one. Returns the outcome after the last one.
    fn next(&mut self, disk: &mut dyn Disk) -> Option<Outcome>;
}

impl<F: FnMut(&mut dyn Disk) -> Option<Outcome> + Send> Program for F {
    fn next(&mut self, disk: &mut dyn Disk) -> Option<Outcome> {
        self(disk)
    }
}

/// A program, and where its outcome is reported.
pub(in crate::reactor) struct Job {
    program: Box<dyn Program>,
    reporter: Option<Reporter>,
    outcome: Option<Outcome>,
}

impl Job {
    pub(in crate::reactor) fn new(program: Box<dyn Program>, reporter: Reporter) -> Job {
        Job { program, reporter: Some(reporter), outcome: None }
    }
}

impl FileJob for Job {
    fn step(&mut self, disk: &mut dyn Disk) -> Step {
        // A step of its own: time passes between the last call and the report.
        if let Some(outcome) = self.outcome.take() {
            if let Some(reporter) = self.reporter.take() {
                reporter.report(outcome);
            }
            return Step::Done;
        }
        self.outcome = self.program.next(disk);
        Step::Again
    }
}

/// A job that closes a file, and reports nothing.
pub(in crate::reactor) struct CloseJob(pub(in crate::reactor) FileNumber);

impl FileJob for CloseJob {
    fn step(&mut self, disk: &mut dyn Disk) -> Step {
        disk.close(self.0);
        Step::Done
    }
}

/// Reports the outcome of one operation to the loop. A drop reports that there is none.
pub(in crate::reactor) struct Reporter {
    inbox: Arc<Inbox>,
    number: Option<u64>,
}

impl Reporter {
    pub(in crate::reactor) fn new(inbox: &Arc<Inbox>, number: u64) -> Reporter {
        Reporter { inbox: Arc::clone(inbox), number: Some(number) }
    }

    pub(in crate::reactor) fn report(mut self, outcome: Outcome) {
        self.push(outcome);
    }

    fn push(&mut self, outcome: Outcome) {
        if let Some(number) = self.number.take() {
            // The push fails only if the reactor is gone. Then the result is not needed.
            let call = move |reactor: &mut crate::Reactor| reactor.file_outcome(number, outcome);
            let _ = self.inbox.push(Box::new(call), usize::MAX);
        }
    }
}

impl Drop for Reporter {
    fn drop(&mut self) {
        self.push(Err(FileFault::Stopped));
    }
}
