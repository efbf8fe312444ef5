//! A pool of threads for blocking work.
//!
//! Threads start on demand, up to a limit, and end with the pool. The queue is bounded, and a job
//! that does not fit is returned at once. Dropping the pool discards the queued jobs and waits for
//! the running ones, within a time limit. A [finishing](Pool::finishing) pool also waits for the
//! queued jobs.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use crate::net::Job;

pub(in crate::net::os) struct Pool {
    shared: Arc<Shared>,
    name: &'static str,
    threads: usize,
    queue: usize,
    /// Max time that a drop waits for running jobs.
    join_timeout: Duration,
    /// Whether a drop also waits for queued jobs.
    finishes_queue: bool,
}

/// The end of a pool's queue, for a job that goes on after others.
#[derive(Clone)]
pub(in crate::net::os) struct Requeue(Arc<Shared>);

impl Requeue {
    /// Queues a job that a thread of the pool has just left. It needs no room in the queue.
    pub(in crate::net::os) fn push(&self, job: Job) {
        self.0.lock().jobs.push_back(job);
        self.0.work.notify_one();
    }
}

struct Shared {
    state: Mutex<State>,
    /// Signalled when a job is queued or the pool closes.
    work: Condvar,
    /// Signalled when a thread ends.
    ended: Condvar,
}

#[derive(Default)]
struct State {
    jobs: VecDeque<Job>,
    threads: usize,
    idle: usize,
    closed: bool,
}

impl Pool {
    pub(in crate::net::os) fn new(
        name: &'static str,
        threads: usize,
        queue: usize,
        join_timeout: Duration,
    ) -> Pool {
        let shared = Shared { state: Mutex::default(), work: Condvar::new(), ended: Condvar::new() };
        let (shared, threads) = (Arc::new(shared), threads.max(1));
        Pool { shared, name, threads, queue, join_timeout, finishes_queue: false }
    }

    /// Creates a pool with an unbounded queue. Its drop waits for queued jobs too; those that are
    /// left when the time is over are discarded.
    pub(in crate::net::os) fn finishing(name: &'static str, threads: usize, join_timeout: Duration) -> Pool {
        let mut pool = Pool::new(name, threads, usize::MAX, join_timeout);
        pool.finishes_queue = true;
        pool
    }

    pub(in crate::net::os) fn requeue(&self) -> Requeue {
        Requeue(Arc::clone(&self.shared))
    }

    /// Queues a job. Returns it when the queue is full or no thread can be started.
    pub(in crate::net::os) fn offer(&self, job: Job) -> Result<(), Job> {
        let mut state = self.shared.lock();
        let busy = state.jobs.len() >= state.idle;
        if busy && state.threads < self.threads {
            let shared = Arc::clone(&self.shared);
            let started =
                thread::Builder::new().name(format!("twistor-{}", self.name)).spawn(move || shared.serve());
            match started {
                Ok(_) => state.threads += 1,
                Err(_) if state.threads > 0 => {}
                Err(_) => return Err(job),
            }
        } else if busy && state.jobs.len() >= self.queue.saturating_add(state.idle) {
            return Err(job);
        }
        state.jobs.push_back(job);
        self.shared.work.notify_one();
        Ok(())
    }
}

impl Shared {
    /// Locks the state. A poisoned lock only means that dropping a job panicked; the state is
    /// consistent after each statement.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn serve(&self) {
        let mut state = self.lock();
        loop {
            if let Some(job) = state.jobs.pop_front() {
                drop(state);
                job();
                state = self.lock();
            } else if state.closed {
                break;
            } else {
                state.idle += 1;
                state = self.work.wait(state).unwrap_or_else(PoisonError::into_inner);
                state.idle -= 1;
            }
        }
        state.threads -= 1;
        self.ended.notify_all();
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        state.closed = true;
        let discarded = match self.finishes_queue {
            true => VecDeque::new(),
            false => std::mem::take(&mut state.jobs),
        };
        self.shared.work.notify_all();
        drop(state);
        drop(discarded);
        let state = self.shared.lock();
        let ended = &self.shared.ended;
        let waited = ended.wait_timeout_while(state, self.join_timeout, |state| state.threads > 0);
        let mut state = waited.map_or_else(|poisoned| poisoned.into_inner().0, |(state, _)| state);
        let unfinished = std::mem::take(&mut state.jobs);
        drop(state);
        drop(unfinished);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;

    #[test]
    fn a_full_queue_gives_the_job_back() {
        let pool = Pool::new("test", 1, 2, Duration::from_secs(5));
        let (release, held) = mpsc::channel::<()>();
        let (started, running) = mpsc::channel();
        let first = move || {
            started.send(()).unwrap();
            held.recv().ok();
        };
        assert!(pool.offer(Box::new(first)).is_ok());
        running.recv().unwrap();
        assert!(pool.offer(Box::new(|| {})).is_ok(), "one below the limit");
        assert!(pool.offer(Box::new(|| {})).is_ok(), "at the limit");
        assert!(pool.offer(Box::new(|| {})).is_err(), "one above the limit");
        drop(release);
    }

    #[test]
    fn dropping_the_pool_awaits_the_running_job_and_drops_the_rest() {
        let pool = Pool::new("test", 1, 2, Duration::from_secs(5));
        let (release, held) = mpsc::channel::<()>();
        let (done, results) = mpsc::channel();
        let (started, running) = mpsc::channel();
        let first = move || {
            started.send(()).unwrap();
            held.recv().ok();
            done.send("first").unwrap();
        };
        assert!(pool.offer(Box::new(first)).is_ok());
        running.recv().unwrap();
        let (second, discarded) = mpsc::channel();
        assert!(pool.offer(Box::new(move || second.send("second").unwrap())).is_ok());
        let ender = thread::spawn(move || drop(pool));
        assert_eq!(discarded.recv(), Err(mpsc::RecvError), "the second job is dropped, not run");
        drop(release);
        ender.join().unwrap();
        assert_eq!(results.iter().collect::<Vec<_>>(), ["first"]);
    }

    #[test]
    fn dropping_a_finishing_pool_awaits_the_queued_jobs_too() {
        let pool = Pool::finishing("test", 1, Duration::from_secs(5));
        let (done, results) = mpsc::channel();
        for number in 0..100 {
            let (done, requeue) = (done.clone(), pool.requeue());
            let last = move || done.send(number).unwrap();
            assert!(pool.offer(Box::new(move || requeue.push(Box::new(last)))).is_ok());
        }
        drop((pool, done));
        assert_eq!(results.iter().count(), 100);
    }

    #[test]
    fn a_finishing_pool_discards_what_is_left_after_its_time() {
        let pool = Pool::finishing("test", 1, Duration::ZERO);
        let (release, held) = mpsc::channel::<()>();
        let (started, running) = mpsc::channel();
        let first = move || {
            started.send(()).unwrap();
            held.recv().ok();
        };
        assert!(pool.offer(Box::new(first)).is_ok());
        running.recv().unwrap();
        let (second, discarded) = mpsc::channel();
        assert!(pool.offer(Box::new(move || second.send("second").unwrap())).is_ok());
        drop(pool);
        assert_eq!(discarded.recv(), Err(mpsc::RecvError));
        drop(release);
    }

    #[test]
    fn an_idle_thread_takes_the_next_job_and_no_other_is_started() {
        let pool = Pool::new("test", 2, 0, Duration::from_secs(5));
        for _ in 0..3 {
            let (done, finished) = mpsc::channel();
            assert!(pool.offer(Box::new(move || done.send(()).unwrap())).is_ok());
            finished.recv().unwrap();
            while pool.shared.lock().idle == 0 {
                thread::yield_now();
            }
        }
        assert_eq!(pool.shared.lock().threads, 1);
    }

    #[test]
    fn idle_threads_make_room_beside_the_queue() {
        let pool = Pool::new("test", 2, 1, Duration::ZERO);
        // Two threads that never wake.
        (pool.shared.lock().threads, pool.shared.lock().idle) = (2, 2);
        let offers = [(); 4].map(|()| pool.offer(Box::new(|| {})).is_ok());
        assert_eq!(offers, [true, true, true, false]);
    }
}
