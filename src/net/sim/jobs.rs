//! Jobs and look-ups: what threads would do happens at a time that the seed decides, on the one thread there is.

use std::io;
use std::time::Duration;

use super::coverage::FaultKind;
use super::events::Happening;
use super::rule::{CallKind, Verdict};
use super::trace::About;
use super::world::World;
use crate::net::{Answer, Job, NameError, nanoseconds};

impl World {
    pub(super) fn offload(&mut self, process: u32, job: Job) -> Result<(), Job> {
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
        let took = nanoseconds(self.random.jobs.exponential(JOB));
        let at = self.local_now(process).saturating_add(took);
        let jobs = &mut self.process_mut(process).jobs;
        jobs.count += 1;
        let number = jobs.count;
        jobs.running.push((number, job));
        self.schedule(at, Happening::Job, 0, process, number);
    }

    pub(super) fn job_done(&mut self, process: u32, number: u32) {
        let jobs = &mut self.process_mut(process).jobs;
        let Some(place) = jobs.running.iter().position(|(other, _)| *other == number) else { return };
        let (_, job) = jobs.running.remove(place);
        let next = jobs.waiting.pop_front();
        self.due.push(job);
        if let Some(next) = next {
            self.start_job(process, next);
        }
    }

    pub(super) fn resolve(&mut self, process: u32, host: &str, port: u16, answer: Answer) -> bool {
        let verdict = self.before(process, CallKind::Resolve, 0);
        self.note_call(process, About::NOTHING, CallKind::Resolve, 0);
        if let Verdict::Fail(errno) = verdict {
            self.fault(FaultKind::NameFailure, self.process(process).host);
            let failed = NameError::Failed(io::Error::from(errno).to_string());
            self.due.push(Box::new(move || answer(Err(failed))));
            return true;
        }
        let took = nanoseconds(self.random.jobs.exponential(self.look_up));
        let at = self.local_now(process).saturating_add(took);
        let asker = self.process(process).host;
        let index = self.answers.insert((answer, host.to_owned(), port, asker));
        self.schedule(at, Happening::Answer, 0, index as u32, 0);
        true
    }

    pub(super) fn answer(&mut self, index: u32) {
        let Some((answer, name, port, asker)) = self.answers.try_remove(index as usize) else { return };
        let asked = name.trim_end_matches('.').to_ascii_lowercase();
        let found = match asked.parse() {
            Ok(address) => Some(vec![address]),
            Err(_) if asked == "localhost" => Some(vec![[127, 0, 0, 1].into()]),
            Err(_) if self.host(asker).finds_no_names => {
                self.fault(FaultKind::NameFailure, asker);
                None
            }
            Err(_) => self.names.get(&asked).cloned().or_else(|| self.gateway_address()),
        };
        let addresses = match found {
            Some(found) => Ok(found.into_iter().map(|address| (address, port).into()).collect()),
            None => Err(NameError::NotFound("Name or service not known".to_owned())),
        };
        self.due.push(Box::new(move || answer(addresses)));
    }
}

/// What a job takes, on average.
const JOB: Duration = Duration::from_millis(2);
