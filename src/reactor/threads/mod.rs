//! The door for other threads, and the jobs that the reactor gives to threads.

pub(in crate::reactor) mod completion;
use std::any::Any;
use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use slab::Slab;

use crate::net::Wake;
use crate::reactor::connect::lookup::PendingLookups;
use crate::reactor::error::{JobPanicked, panic_message};
use crate::reactor::{CallbackKind, Error, Reactor, Result};

/// A handle to a reactor for other threads: clone it, send it.
///
/// ```
/// let mut reactor = twistor::Reactor::new()?;
/// let remote = reactor.remote();
/// std::thread::spawn(move || remote.call_from_thread(|reactor| {
///     reactor.stop();
/// }));
/// reactor.run()?;
/// # Ok::<(), twistor::Error>(())
/// ```
#[derive(Clone)]
pub struct RemoteHandle {
    inbox: Arc<Inbox>,
}

impl RemoteHandle {
    /// Runs `call` on the reactor's thread, in one of its next turns: first in, first out, and never
    /// inside this call. (Twisted: `callFromThread`.)
    ///
    /// # Errors
    /// [`Error::QueueFull`] when as many calls wait as [`Settings::thread_call_queue`](crate::reactor::Settings::thread_call_queue) allows;
    /// [`Error::ReactorGone`] when the reactor has finished.
    pub fn call_from_thread(&self, call: impl FnOnce(&mut Reactor) + Send + 'static) -> Result<()> {
        self.inbox.push(Box::new(call), self.inbox.limit)
    }

    /// Stops the reactor from any thread.
    ///
    /// # Errors
    /// [`Error::ReactorGone`] when it has finished already.
    pub fn stop(&self) -> Result<()> {
        let stop: ThreadCall = Box::new(|reactor| {
            reactor.stop();
        });
        self.inbox.push(stop, usize::MAX)
    }
}

pub(crate) type ThreadCall = Box<dyn FnOnce(&mut Reactor) + Send>;

/// Where calls from threads wait.
pub(crate) struct Inbox {
    calls: Mutex<Calls>,
    /// Someone has woken the loop since it last looked: one wake-up is enough for many calls.
    woken: AtomicBool,
    waker: Arc<dyn Wake>,
    limit: usize,
}

#[derive(Default)]
struct Calls {
    waiting: VecDeque<ThreadCall>,
    closed: bool,
}

impl Inbox {
    pub(crate) fn new(waker: Arc<dyn Wake>, limit: usize) -> Arc<Inbox> {
        let (calls, woken) = (Mutex::default(), AtomicBool::new(false));
        Arc::new(Inbox { calls, woken, waker, limit })
    }

    pub(in crate::reactor) fn push(&self, call: ThreadCall, limit: usize) -> Result<()> {
        let mut calls = self.lock();
        if calls.closed {
            return Err(Error::ReactorGone);
        }
        if calls.waiting.len() >= limit {
            return Err(Error::QueueFull(limit));
        }
        calls.waiting.push_back(call);
        drop(calls);
        if !self.woken.swap(true, Ordering::SeqCst) {
            self.waker.wake();
        }
        Ok(())
    }

    /// Moves the first of those that wait to the end of `into`, up to `share` of them.
    pub(crate) fn take(&self, into: &mut Vec<ThreadCall>, share: usize) {
        // Cleared before the calls are taken: who pushes after that wakes the loop again.
        if self.has_more() {
            self.woken.store(false, Ordering::SeqCst);
            let mut calls = self.lock();
            let share = share.min(calls.waiting.len());
            into.extend(calls.waiting.drain(..share));
            if !calls.waiting.is_empty() {
                // The loop comes back for these without being woken.
                self.woken.store(true, Ordering::SeqCst);
            }
        }
    }

    /// Whether calls may wait.
    pub(crate) fn has_more(&self) -> bool {
        self.woken.load(Ordering::SeqCst)
    }

    /// Refuses all calls from now on and returns those that came too late.
    pub(crate) fn close(&self) -> VecDeque<ThreadCall> {
        let mut calls = self.lock();
        calls.closed = true;
        std::mem::take(&mut calls.waiting)
    }

    /// A poisoned lock means that a push panicked for want of memory; the list is whole.
    fn lock(&self) -> MutexGuard<'_, Calls> {
        self.calls.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Work from and for other threads.
pub(in crate::reactor) struct Threads {
    pub(in crate::reactor) inbox: Arc<Inbox>,
    /// Calls of one turn, taken from the inbox.
    pub(in crate::reactor) calls: Vec<ThreadCall>,
    pub(in crate::reactor) jobs: Jobs,
    pub(in crate::reactor) lookups: PendingLookups,
}

impl Threads {
    pub(in crate::reactor) fn new(inbox: Arc<Inbox>) -> Threads {
        Threads { inbox, calls: Vec::new(), jobs: Jobs::new(), lookups: PendingLookups::default() }
    }
}

/// What the results of jobs are for, by the jobs' indices and generations.
pub(crate) struct Jobs {
    results: Slab<(u64, Box<dyn Any>)>,
    count: u64,
}

pub(in crate::reactor) type OnResult<T> = Box<dyn FnOnce(&mut Reactor, T)>;

impl Jobs {
    pub(crate) fn new() -> Jobs {
        Jobs { results: Slab::new(), count: 0 }
    }

    pub(crate) fn len(&self) -> usize {
        self.results.len()
    }

    /// All that still waited for a result.
    pub(crate) fn into_results(self) -> impl Iterator<Item = Box<dyn Any>> {
        self.results.into_iter().map(|(_, (_, done))| done)
    }

    fn insert<T: 'static>(&mut self, done: OnResult<T>) -> (usize, u64) {
        self.count += 1;
        (self.results.insert((self.count, Box::new(done))), self.count)
    }

    fn remove<T: 'static>(&mut self, (index, number): (usize, u64)) -> Option<OnResult<T>> {
        self.results.get(index).filter(|(found, _)| *found == number)?;
        let (_, done) = self.results.try_remove(index)?;
        done.downcast::<OnResult<T>>().ok().map(|done| *done)
    }
}

impl Reactor {
    /// A handle for other threads.
    pub fn remote(&self) -> RemoteHandle {
        RemoteHandle { inbox: Arc::clone(&self.threads.inbox) }
    }

    /// Runs `job` on a thread of the pool, and `done` with its result, or its panic, back on the loop.
    /// (Twisted: `deferToThread`.)
    ///
    /// A job that runs when the reactor finishes is waited for, within a limit, and its result dropped.
    ///
    /// # Errors
    /// [`Error::QueueFull`] when too many jobs wait; neither closure is called then.
    pub fn call_in_thread<T: Send + 'static>(
        &mut self,
        job: impl FnOnce() -> T + Send + 'static,
        done: impl FnOnce(&mut Reactor, Result<T, JobPanicked>) + 'static,
    ) -> Result<()> {
        let name = self.threads.jobs.insert::<Result<T, JobPanicked>>(Box::new(done));
        let inbox = Arc::clone(&self.threads.inbox);
        let job = move || {
            let result = catch_unwind(AssertUnwindSafe(job)).map_err(|payload| {
                let message = panic_message(&*payload);
                JobPanicked { message }
            });
            // Refused only by a reactor that is gone, and then nobody waits for the result.
            let _ = inbox.push(Box::new(move |reactor| reactor.job_done(name, result)), usize::MAX);
        };
        self.net.run_job(Box::new(job)).map_err(|_| {
            self.threads.jobs.remove::<Result<T, JobPanicked>>(name);
            Error::QueueFull(self.settings.job_queue)
        })
    }

    /// Waits for a result that somebody else will push.
    pub(in crate::reactor) fn expect_result<T: 'static>(
        &mut self,
        done: OnResult<T>,
    ) -> (Arc<Inbox>, (usize, u64)) {
        (Arc::clone(&self.threads.inbox), self.threads.jobs.insert(done))
    }

    pub(in crate::reactor) fn job_done<T: 'static>(&mut self, name: (usize, u64), result: T) {
        if let Some(done) = self.threads.jobs.remove::<T>(name) {
            self.call(CallbackKind::ThreadResult, |reactor| done(reactor, result));
        }
    }

    /// Runs calls that came from threads, up to a limit; the rest waits for the next turn.
    #[inline]
    pub(crate) fn run_thread_calls(&mut self) {
        if self.threads.inbox.has_more() {
            self.run_calls_of_inbox();
        }
    }

    #[inline(never)] // a turn without it is short
    fn run_calls_of_inbox(&mut self) {
        self.threads.inbox.take(&mut self.threads.calls, self.settings.thread_calls_per_turn);
        let mut calls = std::mem::take(&mut self.threads.calls);
        self.statistics.thread_calls += calls.len() as u64;
        for call in calls.drain(..) {
            self.call(CallbackKind::ThreadCall, call);
        }
        self.threads.calls = calls;
    }
}
