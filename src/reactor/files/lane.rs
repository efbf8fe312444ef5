//! The operations of one file that is open for appending: their queue, and the job that carries
//! them out.
//!
//! One job at a time runs for a file. It takes what waits, writes the data of all appends with one
//! call, reports them, syncs once if a sync was asked for, and takes what has come meanwhile. It
//! ends when the queue is empty. The queue is shared with the job's thread, so a stop of the loop
//! does not end the work.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::error::FileFault;
use super::job::{Outcome, Reply, Reporter};
use super::programs::not_zero;
use crate::net::files::{Disk, FileJob, FileNumber, Step};

pub(in crate::reactor) enum LaneOp {
    Append(Vec<u8>, Reporter),
    Sync(Reporter),
    Truncate(u64, Reporter),
    /// The last operation.
    Close,
}

/// Operations that wait.
pub(in crate::reactor) struct LaneQueue {
    file: FileNumber,
    waiting: VecDeque<LaneOp>,
    /// Whether a job runs.
    busy: bool,
    /// Bytes of appends that were not reported.
    pub(super) queued: usize,
    pub(super) poisoned: bool,
    /// The length of the file, where the next append begins.
    length: u64,
}

/// A poisoned lock means that memory was exhausted. The queue is consistent after each statement.
pub(super) fn lock_queue(queue: &Mutex<LaneQueue>) -> MutexGuard<'_, LaneQueue> {
    queue.lock().unwrap_or_else(PoisonError::into_inner)
}

impl LaneQueue {
    pub(super) fn new(file: FileNumber, length: u64) -> LaneQueue {
        LaneQueue { file, waiting: VecDeque::new(), busy: false, queued: 0, poisoned: false, length }
    }

    /// Adds an operation. Returns whether a job has to be started for it.
    pub(super) fn push(&mut self, operation: LaneOp) -> bool {
        if let LaneOp::Append(data, _) = &operation {
            self.queued += data.len();
        }
        self.waiting.push_back(operation);
        !std::mem::replace(&mut self.busy, true)
    }

    /// Empties the queue of a job that could not be started.
    pub(super) fn fail(&mut self, fault: &FileFault) -> Vec<(Reporter, FileFault)> {
        (self.busy, self.queued) = (false, 0);
        let reporters = self.waiting.drain(..).filter_map(|operation| match operation {
            LaneOp::Append(_, reporter) | LaneOp::Sync(reporter) | LaneOp::Truncate(_, reporter) => {
                Some(reporter)
            }
            LaneOp::Close => None,
        });
        reporters.map(|reporter| (reporter, fault.copy())).collect()
    }

    /// Takes the operations that one batch can carry out together.
    fn take(&mut self) -> Option<Batch> {
        let mut batch = Batch::default();
        while batch.data.len() < MAX_BATCH {
            match self.waiting.pop_front() {
                Some(LaneOp::Append(data, reporter)) => {
                    match batch.data.is_empty() {
                        true => batch.data = data,
                        false => batch.data.extend_from_slice(&data),
                    }
                    batch.appends.push((batch.data.len(), reporter));
                }
                Some(LaneOp::Sync(reporter)) => batch.syncs.push(reporter),
                Some(LaneOp::Truncate(length, reporter)) if batch.is_empty() => {
                    batch.truncate = Some((length, reporter));
                    break;
                }
                Some(LaneOp::Close) if batch.is_empty() => {
                    batch.closes = true;
                    break;
                }
                Some(alone) => {
                    self.waiting.push_front(alone);
                    break;
                }
                None => break,
            }
        }
        if batch.is_empty() {
            self.busy = false;
            return None;
        }
        Some(batch)
    }
}

/// Operations that are carried out together: a truncation, the close, or appends and syncs after
/// them.
#[derive(Default)]
struct Batch {
    truncate: Option<(u64, Reporter)>,
    /// The data of all appends.
    data: Vec<u8>,
    /// Where the data of each append ends.
    appends: Vec<(usize, Reporter)>,
    syncs: Vec<Reporter>,
    closes: bool,
}

impl Batch {
    fn is_empty(&self) -> bool {
        !self.closes && self.truncate.is_none() && self.appends.is_empty() && self.syncs.is_empty()
    }

    /// The end of the last append that is complete once this number of bytes is written.
    fn complete(&self, written: usize) -> usize {
        let ends = self.appends.iter().map(|(end, _)| *end);
        ends.take_while(|end| *end <= written).last().unwrap_or(0)
    }
}

/// The job of a lane.
pub(super) struct LaneJob {
    queue: Arc<Mutex<LaneQueue>>,
    file: FileNumber,
    batch: Batch,
    state: State,
}

enum State {
    Take,
    Close,
    Truncate,
    /// Notes the number of bytes that were written.
    Write(usize),
    /// A write failed in the middle of an append: is the file as long as it should be?
    Check(usize, FileFault),
    /// Cuts the part off.
    Cut(usize, FileFault),
    ReportAppends(usize, Option<FileFault>),
    Sync,
    ReportSyncs(Option<FileFault>),
    Report(Reporter, Outcome),
}

impl LaneJob {
    pub(super) fn new(queue: Arc<Mutex<LaneQueue>>) -> LaneJob {
        let file = lock_queue(&queue).file;
        LaneJob { queue, file, batch: Batch::default(), state: State::Take }
    }

    fn take(&mut self) -> Option<State> {
        let mut queue = lock_queue(&self.queue);
        self.batch = queue.take()?;
        let poisoned = queue.poisoned;
        drop(queue);
        if self.batch.closes {
            return Some(State::Close);
        }
        Some(match poisoned {
            true => match self.batch.truncate.take() {
                Some((_, reporter)) => State::Report(reporter, Err(FileFault::Poisoned)),
                None => State::ReportAppends(0, Some(FileFault::Poisoned)),
            },
            false if self.batch.truncate.is_some() => State::Truncate,
            false if self.batch.appends.is_empty() => State::Sync,
            false => State::Write(0),
        })
    }

    fn write(&mut self, disk: &mut dyn Disk, written: usize) -> State {
        let rest = self.batch.data.get(written..).unwrap_or_default();
        if rest.is_empty() {
            return State::ReportAppends(written, None);
        }
        match disk.append(self.file, rest).and_then(not_zero) {
            Ok(count) => State::Write(written + count),
            Err(error) => {
                let fault = FileFault::System { call: "write", source: error };
                match written > self.batch.complete(written) {
                    true => State::Check(written, fault),
                    false => State::ReportAppends(written, Some(fault)),
                }
            }
        }
    }

    /// Poisons the file after a part of an append was written that cannot be cut off.
    fn poison(&self) {
        lock_queue(&self.queue).poisoned = true;
    }

    fn report_appends(&mut self, written: usize, fault: Option<FileFault>) -> State {
        let complete = self.batch.complete(written);
        let mut queue = lock_queue(&self.queue);
        let from = queue.length;
        queue.length += complete as u64;
        queue.queued = queue.queued.saturating_sub(self.batch.data.len());
        queue.poisoned |= fault.as_ref().is_some_and(|fault| !fault.is_lack_of_space());
        let poisoned = queue.poisoned;
        drop(queue);
        let mut begin = 0;
        for (end, reporter) in self.batch.appends.drain(..) {
            reporter.report(match &fault {
                Some(fault) if end > complete => Err(fault.copy()),
                _ => Ok(Reply::Offset(from + begin as u64)),
            });
            begin = end;
        }
        match (self.batch.syncs.is_empty(), poisoned) {
            (true, _) => State::Take,
            (false, true) => State::ReportSyncs(Some(FileFault::Poisoned)),
            (false, false) => State::Sync,
        }
    }
}

impl FileJob for LaneJob {
    fn step(&mut self, disk: &mut dyn Disk) -> Step {
        self.state = match std::mem::replace(&mut self.state, State::Take) {
            State::Take => match self.take() {
                Some(state) => state,
                None => return Step::Done,
            },
            State::Close => {
                disk.close(self.file);
                return Step::Done;
            }
            State::Truncate => {
                let Some((length, reporter)) = self.batch.truncate.take() else { return Step::Again };
                let outcome = disk.truncate(self.file, length).map_err(FileFault::system("ftruncate"));
                let mut queue = lock_queue(&self.queue);
                match &outcome {
                    Ok(()) => queue.length = length,
                    Err(_) => queue.poisoned = true,
                }
                drop(queue);
                State::Report(reporter, outcome.map(|()| Reply::Done))
            }
            State::Write(written) => self.write(disk, written),
            State::Check(written, fault) => {
                let expected = lock_queue(&self.queue).length + written as u64;
                match disk.metadata(self.file) {
                    Ok(found) if found.length == expected => State::Cut(written, fault),
                    // Another process writes to the file: nothing is cut.
                    _ => {
                        self.poison();
                        State::ReportAppends(written, Some(fault))
                    }
                }
            }
            State::Cut(written, fault) => {
                let length = lock_queue(&self.queue).length + self.batch.complete(written) as u64;
                if disk.truncate(self.file, length).is_err() {
                    self.poison();
                }
                State::ReportAppends(written, Some(fault))
            }
            State::ReportAppends(written, fault) => self.report_appends(written, fault),
            State::Sync => State::ReportSyncs(match disk.sync(self.file) {
                Ok(()) => None,
                Err(error) => {
                    self.poison();
                    Some(FileFault::System { call: "fdatasync", source: error })
                }
            }),
            State::ReportSyncs(fault) => {
                for reporter in self.batch.syncs.drain(..) {
                    reporter.report(fault.as_ref().map_or(Ok(Reply::Done), |fault| Err(fault.copy())));
                }
                State::Take
            }
            State::Report(reporter, outcome) => {
                reporter.report(outcome);
                State::Take
            }
        };
        // A busy file lets other jobs go first after each batch.
        if matches!(self.state, State::Take) { Step::Later } else { Step::Again }
    }
}

/// Max bytes that are taken together.
const MAX_BATCH: usize = 256 * 1024;
