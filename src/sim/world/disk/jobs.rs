//! Jobs on files: a job's steps run on a simulated thread, in virtual time.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use crate::net::files::{FileJob, Step};
use crate::net::nanoseconds;
use crate::sim::network::coverage::FaultKind;
use crate::sim::network::rule::{CallKind, Verdict};
use crate::sim::network::trace::About;
use crate::sim::world::World;
use crate::sim::world::disk::What;
use crate::sim::world::disk::calls::{Opened, SimDisk};
use crate::sim::world::events::EventKind;

/// The jobs and the open files of a process.
#[derive(Default)]
pub(in crate::sim) struct FileJobs {
    threads: usize,
    /// Running jobs by number, one for each busy thread.
    running: BTreeMap<u32, Running>,
    waiting: VecDeque<Box<dyn FileJob>>,
    count: u32,
    pub(super) open: BTreeMap<u64, Opened>,
}

struct Running {
    job: Box<dyn FileJob>,
    /// The file and the end of the append that it is in.
    append: Option<(u64, usize, usize)>,
}

impl FileJobs {
    pub(in crate::sim) fn new(threads: usize) -> FileJobs {
        FileJobs { threads: threads.max(1), ..FileJobs::default() }
    }
}

impl World {
    /// Accepts a job. Returns `false`, and drops it, when no thread can be started.
    pub(in crate::sim) fn offload_file_job(&mut self, process: u32, job: Box<dyn FileJob>) -> bool {
        let verdict = self.before(process, CallKind::Offload, 0);
        self.note_call(process, About::NOTHING, CallKind::Offload, 0);
        if let Verdict::Fail(_) = verdict {
            return false;
        }
        let files = &mut self.process_mut(process).files;
        match files.running.len() < files.threads {
            true => self.start_file_job(process, job),
            false => files.waiting.push_back(job),
        }
        true
    }

    fn start_file_job(&mut self, process: u32, job: Box<dyn FileJob>) {
        let took = nanoseconds(self.random.disk.exponential(MEAN_HANDOFF));
        let at = self.local_now(process).saturating_add(took);
        let files = &mut self.process_mut(process).files;
        files.count = files.count.wrapping_add(1);
        let number = files.count;
        files.running.insert(number, Running { job, append: None });
        self.schedule(at, EventKind::FileStep, 0, process, number);
    }

    /// Runs the steps of a job until one takes time.
    pub(in crate::sim) fn file_step(&mut self, process: u32, number: u32) {
        // None: the process has ended.
        let Some(mut running) = self.process_mut(process).files.running.remove(&number) else { return };
        loop {
            let mut disk = SimDisk::new(self, process);
            let step = running.job.step(&mut disk);
            let (took, append) = (disk.took, disk.append);
            match step {
                Step::Done => {
                    let next = self.process_mut(process).files.waiting.pop_front();
                    return next.into_iter().for_each(|next| self.start_file_job(process, next));
                }
                Step::Later if !self.process(process).files.waiting.is_empty() => {
                    let files = &mut self.process_mut(process).files;
                    files.waiting.push_back(running.job);
                    let next = files.waiting.pop_front();
                    return next.into_iter().for_each(|next| self.start_file_job(process, next));
                }
                Step::Again | Step::Later if took == 0 => {}
                Step::Again | Step::Later => {
                    running.append = append;
                    self.process_mut(process).files.running.insert(number, running);
                    let at = self.now.saturating_add(took);
                    return self.schedule(at, EventKind::FileStep, 0, process, number);
                }
            }
        }
    }

    /// Ends the jobs of a process that is killed. An append that is in progress may be left in
    /// part.
    pub(in crate::sim) fn kill_file_jobs(&mut self, process: u32) {
        let files = std::mem::take(&mut self.process_mut(process).files);
        let host = self.process(process).host;
        for (node, from, to) in files.running.values().filter_map(|running| running.append) {
            if !self.random.disk.chance(0.5) {
                continue;
            }
            let length = from + self.random.disk.index(to - from + 1);
            let node = self.host_mut(host).disk.tree.node_mut(node);
            if let Some(What::File(contents)) = node.map(|node| &mut node.what)
                && contents.data().len() == to
            {
                contents.interrupt(length);
                self.fault(FaultKind::TornWrite, host);
            }
        }
        self.close_files(process, files);
    }

    /// Ends the jobs of a process that ends by itself. They are finished within `limit`.
    pub(in crate::sim) fn finish_file_jobs(&mut self, process: u32, limit: Duration) {
        let limit = nanoseconds(limit);
        let files = &mut self.process_mut(process).files;
        let running = std::mem::take(&mut files.running).into_values().map(|running| running.job);
        let mut jobs: Vec<_> = running.chain(std::mem::take(&mut files.waiting)).collect();
        let threads = files.threads.max(1);
        let mut spent = 0_u64;
        while !jobs.is_empty() && spent < limit {
            // The steps of running jobs come in any order.
            let place = self.random.disk.index(jobs.len().min(threads));
            let mut disk = SimDisk::new(self, process);
            let Some(job) = jobs.get_mut(place) else { break };
            let step = job.step(&mut disk);
            spent = spent.saturating_add(disk.took);
            match step {
                Step::Again => {}
                Step::Later => {
                    let job = jobs.remove(place);
                    jobs.push(job);
                }
                Step::Done => drop(jobs.remove(place)),
            }
        }
        let files = std::mem::take(&mut self.process_mut(process).files);
        self.close_files(process, files);
    }

    fn close_files(&mut self, process: u32, files: FileJobs) {
        let host = self.process(process).host;
        for (number, opened) in files.open {
            self.host_mut(host).disk.forget(number, opened.node);
        }
    }
}

/// The mean time until a thread takes a job.
const MEAN_HANDOFF: Duration = Duration::from_micros(20);
