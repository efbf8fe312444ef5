//! Jobs of the thread pool. Instead of on threads, they run at a virtual time drawn from the seed.

use std::time::Duration;

use crate::net::{Job, nanoseconds};
use crate::sim::network::rule::{CallKind, Verdict};
use crate::sim::network::trace::About;
use crate::sim::world::World;
use crate::sim::world::events::EventKind;

impl World {
    pub(in crate::sim) fn offload(&mut self, process: u32, job: Job) -> Result<(), Job> {
        let verdict = self.before(process, CallKind::Offload, 0);
        self.note_call(process, About::NOTHING, CallKind::Offload, 0);
        let jobs = &mut self.process_mut(process).jobs;
        if let Verdict::Fail(_) = verdict {
            return Err(job);
        }
        if jobs.running.len() < jobs.threads {
            self.start_job(process, job);
        } else if jobs.waiting.len() < jobs.queue {
            jobs.waiting.push_back(job);
        } else {
            return Err(job);
        }
        Ok(())
    }

    fn start_job(&mut self, process: u32, job: Job) {
        let took = nanoseconds(self.random.jobs.exponential(MEAN_JOB));
        let at = self.local_now(process).saturating_add(took);
        let jobs = &mut self.process_mut(process).jobs;
        jobs.count += 1;
        let number = jobs.count;
        jobs.running.push((number, job));
        self.schedule(at, EventKind::Job, 0, process, number);
    }

    pub(in crate::sim) fn job_done(&mut self, process: u32, number: u32) {
        let jobs = &mut self.process_mut(process).jobs;
        let Some(place) = jobs.running.iter().position(|(other, _)| *other == number) else { return };
        let (_, job) = jobs.running.remove(place);
        let next = jobs.waiting.pop_front();
        self.due.push(job);
        if let Some(next) = next {
            self.start_job(process, next);
        }
    }
}

/// The mean duration of a job.
const MEAN_JOB: Duration = Duration::from_millis(2);
