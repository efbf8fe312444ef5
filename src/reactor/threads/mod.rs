//! Calls from other threads, and jobs on the thread pool.

pub(in crate::reactor) mod completion;
pub(in crate::reactor) mod cores;
use std::any::Any;
use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};
use std::thread::ThreadId;

use slab::Slab;

use crate::net::Wake;
use crate::reactor::error::{JobPanicked, panic_message};
use crate::reactor::files::Files;
use crate::reactor::resolve::lookup::PendingLookups;
use crate::reactor::{CallbackKind, Error, Reactor, Result};

/// A clonable handle to a reactor that other threads can use.
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
#[doc(alias("Waker", "EventLoopProxy", "LoopSignal"))]
pub struct RemoteHandle {
    inbox: Arc<Inbox>,
}

impl RemoteHandle {
    /// Runs `call` on the reactor's thread, in one of its next turns and never inside this call.
    /// Calls run in the order in which they were queued. (Twisted: `callFromThread`.)
    ///
    /// # Errors
    /// - [`Error::QueueFull`] when
    ///   [`Settings::thread_call_queue`](crate::reactor::Settings::thread_call_queue) calls are
    ///   queued.
    /// - [`Error::ReactorGone`] when the reactor has finished.
    #[doc(alias("callFromThread", "call_soon_threadsafe", "run_coroutine_threadsafe"))]
    pub fn call_from_thread(&self, call: impl FnOnce(&mut Reactor) + Send + 'static) -> Result<()> {
        self.inbox.push(Box::new(call), self.inbox.limit)
    }

    /// Runs `call` on the reactor's thread, and waits on this thread for its result. (Twisted:
    /// `blockingCallFromThread`.)
    ///
    /// It waits as long as the loop takes to come to the call: without a limit if the reactor never
    /// runs. Two reactors whose threads wait for each other wait forever.
    ///
    /// ```
    /// let mut reactor = twistor::Reactor::new()?;
    /// let remote = reactor.remote();
    /// let asking = std::thread::spawn(move || {
    ///     let connections = remote.blocking_call_from_thread(|reactor| reactor.connections().len());
    ///     remote.stop().map(|()| connections)
    /// });
    /// reactor.run()?;
    /// assert_eq!(asking.join().unwrap()??, 0);
    /// # Ok::<(), twistor::Error>(())
    /// ```
    ///
    /// # Errors
    /// - [`Error::WouldDeadlock`] on the reactor's own thread.
    /// - [`Error::CallPanicked`]: the reactor logs and counts the panic, and runs on.
    /// - [`Error::QueueFull`], as [`call_from_thread`](RemoteHandle::call_from_thread).
    /// - [`Error::ReactorGone`] when the reactor has finished, or finishes before the call.
    #[doc(alias("blockingCallFromThread", "run_coroutine_threadsafe"))]
    pub fn blocking_call_from_thread<T: Send + 'static>(
        &self,
        call: impl FnOnce(&mut Reactor) -> T + Send + 'static,
    ) -> Result<T> {
        if std::thread::current().id() == self.inbox.thread {
            return Err(Error::WouldDeadlock);
        }
        let (sender, receiver) = mpsc::sync_channel(1);
        self.call_from_thread(move |reactor| {
            let result = catch_unwind(AssertUnwindSafe(|| call(reactor)));
            // The sends cannot fail: the receiver waits, and there is room for one result.
            match result {
                Ok(value) => drop(sender.send(Ok(value))),
                Err(panic) => {
                    drop(sender.send(Err(Error::CallPanicked(panic_message(&*panic)))));
                    // The reactor logs and counts it.
                    resume_unwind(panic);
                }
            }
        })?;
        // Without a result, the call was dropped by the end of the reactor.
        receiver.recv().unwrap_or(Err(Error::ReactorGone))
    }

    /// Stops the reactor. Can be called on any thread.
    ///
    /// # Errors
    /// [`Error::ReactorGone`] when the reactor has finished.
    pub fn stop(&self) -> Result<()> {
        let stop: ThreadCall = Box::new(|reactor| {
            reactor.stop();
        });
        self.inbox.push(stop, usize::MAX)
    }
}

pub(crate) type ThreadCall = Box<dyn FnOnce(&mut Reactor) + Send>;

/// The queue of calls from threads.
pub(crate) struct Inbox {
    calls: Mutex<Calls>,
    /// A thread has woken the loop since it last took calls. One wake-up is enough for many calls.
    woken: AtomicBool,
    waker: Arc<dyn Wake>,
    limit: usize,
    /// The thread of the reactor, which cannot be sent to another one.
    thread: ThreadId,
}

#[derive(Default)]
struct Calls {
    queue: VecDeque<ThreadCall>,
    closed: bool,
}

impl Inbox {
    pub(in crate::reactor) fn new(waker: Arc<dyn Wake>, limit: usize) -> Arc<Inbox> {
        let (calls, woken) = (Mutex::default(), AtomicBool::new(false));
        let thread = std::thread::current().id();
        Arc::new(Inbox { calls, woken, waker, limit, thread })
    }

    pub(in crate::reactor) fn push(&self, call: ThreadCall, limit: usize) -> Result<()> {
        let mut calls = self.lock();
        if calls.closed {
            return Err(Error::ReactorGone);
        }
        if calls.queue.len() >= limit {
            return Err(Error::QueueFull(limit));
        }
        calls.queue.push_back(call);
        drop(calls);
        if !self.woken.swap(true, Ordering::SeqCst) {
            self.waker.wake();
        }
        Ok(())
    }

    /// Moves queued calls to the end of `into`, at most `limit` of them.
    pub(in crate::reactor) fn take(&self, into: &mut Vec<ThreadCall>, limit: usize) {
        // Cleared before the calls are taken: a later push wakes the loop again.
        if self.has_more() {
            self.woken.store(false, Ordering::SeqCst);
            let mut calls = self.lock();
            let limit = limit.min(calls.queue.len());
            into.extend(calls.queue.drain(..limit));
            if !calls.queue.is_empty() {
                // The loop returns for the remaining calls without a wake-up.
                self.woken.store(true, Ordering::SeqCst);
            }
        }
    }

    /// Whether calls may be queued.
    pub(in crate::reactor) fn has_more(&self) -> bool {
        self.woken.load(Ordering::SeqCst)
    }

    /// Refuses all further calls and returns the queued ones.
    pub(in crate::reactor) fn close(&self) -> VecDeque<ThreadCall> {
        let mut calls = self.lock();
        calls.closed = true;
        std::mem::take(&mut calls.queue)
    }

    /// A poisoned lock means that a push panicked for lack of memory. The list is intact.
    fn lock(&self) -> MutexGuard<'_, Calls> {
        self.calls.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Calls from threads, jobs, look-ups and operations on files.
pub(in crate::reactor) struct Threads {
    pub(in crate::reactor) inbox: Arc<Inbox>,
    /// Calls of this turn, taken from the inbox.
    pub(in crate::reactor) calls: Vec<ThreadCall>,
    pub(in crate::reactor) jobs: Jobs,
    pub(in crate::reactor) lookups: PendingLookups,
    pub(in crate::reactor) files: Files,
}

impl Threads {
    pub(in crate::reactor) fn new(inbox: Arc<Inbox>) -> Threads {
        let (lookups, files) = (PendingLookups::default(), Files::default());
        Threads { inbox, calls: Vec::new(), jobs: Jobs::new(), lookups, files }
    }
}

/// The callbacks for pending job results, by index and generation.
pub(crate) struct Jobs {
    results: Slab<(u64, Box<dyn Any>)>,
    count: u64,
}

pub(in crate::reactor) type OnResult<T> = Box<dyn FnOnce(&mut Reactor, T)>;

impl Jobs {
    pub(in crate::reactor) fn new() -> Jobs {
        Jobs { results: Slab::new(), count: 0 }
    }

    pub(in crate::reactor) fn len(&self) -> usize {
        self.results.len()
    }

    /// All callbacks whose result is pending.
    pub(in crate::reactor) fn into_results(self) -> impl Iterator<Item = Box<dyn Any>> {
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

    /// Runs `job` on a thread of the pool, then `done` on the loop with its result or its panic.
    /// (Twisted: `deferToThread`.)
    ///
    /// The drop of the reactor waits for running jobs for at most
    /// [`Settings::graceful_stop_timeout`](crate::reactor::Settings::graceful_stop_timeout). Their
    /// results are dropped.
    ///
    /// # Errors
    /// [`Error::QueueFull`] when too many jobs are queued. Neither closure is called then.
    #[doc(alias("callInThread", "deferToThread", "run_in_executor", "spawn_blocking"))]
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
            // The push fails only if the reactor is gone. Then the result is not needed.
            let _ = inbox.push(Box::new(move |reactor| reactor.job_done(name, result)), usize::MAX);
        };
        self.net.run_job(Box::new(job)).map_err(|_| {
            self.threads.jobs.remove::<Result<T, JobPanicked>>(name);
            Error::QueueFull(self.settings.job_queue)
        })
    }

    /// Registers a callback for a result that other code will push.
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

    /// Runs calls from threads, up to a limit. The rest waits for the next turn.
    #[inline]
    pub(in crate::reactor) fn run_thread_calls(&mut self) {
        if self.threads.inbox.has_more() {
            self.run_calls_of_inbox();
        }
    }

    #[inline(never)] // a turn without it is short
    fn run_calls_of_inbox(&mut self) {
        self.threads.inbox.take(&mut self.threads.calls, self.settings.calls_per_turn);
        let mut calls = std::mem::take(&mut self.threads.calls);
        self.statistics.thread_calls += calls.len() as u64;
        for call in calls.drain(..) {
            self.call(CallbackKind::ThreadCall, call);
        }
        self.threads.calls = calls;
    }
}
