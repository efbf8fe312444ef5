//! Cooperative scheduling of long work on the loop, in time slices.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::error::Error;
use std::fmt;
use std::panic::{AssertUnwindSafe, Location, catch_unwind};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use super::{CancelHandle, Deferred, Failure, FailureKind, Resolver};
use crate::Reactor;
use crate::reactor::{CallbackKind, Handle};

/// Runs long work step by step, in one slice of 10 ms per turn, so that connections and timers are
/// served in between. (Twisted: `Cooperator`.) Clones share the same tasks.
///
/// The steps of all tasks alternate. A step should take less than 1 ms. Longer or blocking work
/// belongs on [a thread](super::defer_to_thread).
///
/// ```
/// use twistor::deferred::{Cooperator, Step};
///
/// let mut reactor = twistor::Reactor::new()?;
/// let cooperator = Cooperator::new(&reactor);
/// let (mut number, mut sum) = (0u64, 0);
/// let task = cooperator.cooperate(move |_| {
///     number += 1;
///     sum += number;
///     Ok(if number < 100_000 { Step::Again } else { Step::Done })
/// });
/// task.when_done().done(|reactor, outcome| {
///     outcome.unwrap();
///     reactor.stop();
/// });
/// reactor.run()?;
/// # Ok::<(), twistor::Error>(())
/// ```
#[derive(Clone)]
#[doc(alias = "coiterate")]
pub struct Cooperator {
    shared: Rc<Shared>,
}

/// The result of one step of a [`CooperativeTask`].
#[derive(Debug)]
#[must_use]
pub enum Step {
    /// Call the next step.
    Again,
    /// Call the next step when this Deferred has fired. Other tasks continue in the meantime.
    Wait(Deferred<()>),
    /// The task is done.
    Done,
}

/// A task of a [`Cooperator`]. (Twisted: `CooperativeTask`.)
///
/// Dropping it stops the task. [`detach`](CooperativeTask::detach) lets it run without an owner.
#[must_use = "dropped, the work is stopped: keep it, or detach it"]
pub struct CooperativeTask {
    shared: Rc<Shared>,
    work: Rc<Work>,
    detached: bool,
}

/// The way a [`CooperativeTask`] ended.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum TaskEnd {
    /// A step returned [`Step::Done`]. (Twisted: `TaskDone`.)
    Done,
    /// The task was stopped. (Twisted: `TaskStopped`.)
    Stopped,
    /// A step failed or panicked, or a Deferred that it waited for failed. (Twisted: `TaskFailed`.)
    Failed(Arc<Failure>),
}

/// Error: the state of a [`CooperativeTask`] does not allow the operation.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum CooperationError {
    /// The task is not paused. (Twisted: `NotPaused`.)
    NotPaused,
    /// The task has ended. (Twisted: `TaskFinished`.)
    Ended(TaskEnd),
}

/// The state shared by the tasks of a cooperator.
struct Shared {
    handle: Handle,
    slice: Duration,
    ready: RefCell<VecDeque<Rc<Work>>>,
    /// Whether the next slice is queued.
    queued: Cell<bool>,
}

/// A slice, queued in the reactor or running.
struct Slice {
    shared: Rc<Shared>,
}

struct Work {
    /// `None` while the step is being called.
    step: RefCell<Option<NextStep>>,
    state: RefCell<State>,
    pauses: Cell<u32>,
    waiting: RefCell<Vec<Resolver<()>>>,
    place: &'static Location<'static>,
}

type NextStep = Box<dyn FnMut(&mut Reactor) -> Result<Step, Failure>>;

enum State {
    /// In the queue of ready tasks.
    Ready,
    /// Paused, and not in the queue.
    Idle,
    Stepping,
    Parked(CancelHandle),
    Ended(TaskEnd),
}

impl Cooperator {
    /// Creates a cooperator. Slice: 10 ms.
    pub fn new(handle: &impl AsRef<Handle>) -> Cooperator {
        Cooperator::with_slice(handle.as_ref(), SLICE)
    }

    /// Creates a cooperator with another slice length. A slice ends with the step that exceeds it,
    /// or after 10,000 steps.
    pub fn with_slice(handle: &impl AsRef<Handle>, slice: Duration) -> Cooperator {
        let (ready, queued) = (RefCell::default(), Cell::new(false));
        Cooperator { shared: Rc::new(Shared { handle: handle.as_ref().clone(), slice, ready, queued }) }
    }

    /// Starts a task. The loop calls `step` repeatedly until it returns [`Step::Done`] or an error.
    /// (Twisted: `cooperate`.)
    #[track_caller]
    pub fn cooperate(
        &self,
        step: impl FnMut(&mut Reactor) -> Result<Step, Failure> + 'static,
    ) -> CooperativeTask {
        let work = Rc::new(Work {
            step: RefCell::new(Some(Box::new(step))),
            state: RefCell::new(State::Idle),
            pauses: Cell::new(0),
            waiting: RefCell::default(),
            place: Location::caller(),
        });
        self.shared.ready(&work);
        CooperativeTask { shared: Rc::clone(&self.shared), work, detached: false }
    }
}

impl CooperativeTask {
    /// Pauses the task until [`resume`](CooperativeTask::resume). Pauses nest. A Deferred that a
    /// step waits for is not affected. (Twisted: `pause`.)
    ///
    /// # Errors
    /// [`CooperationError::Ended`].
    pub fn pause(&self) -> Result<(), CooperationError> {
        self.work.not_ended()?;
        self.work.pauses.set(self.work.pauses.get() + 1);
        Ok(())
    }

    /// Undoes one pause. (Twisted: `resume`.)
    ///
    /// # Errors
    /// [`CooperationError::NotPaused`], [`CooperationError::Ended`].
    pub fn resume(&self) -> Result<(), CooperationError> {
        self.work.not_ended()?;
        let left = self.work.pauses.get().checked_sub(1).ok_or(CooperationError::NotPaused)?;
        self.work.pauses.set(left);
        if left == 0 && matches!(*self.work.state.borrow(), State::Idle) {
            self.shared.ready(&self.work);
        }
        Ok(())
    }

    /// Stops the task and cancels the Deferred that it waits for. (Twisted: `stop`.)
    ///
    /// # Errors
    /// [`CooperationError::Ended`].
    #[track_caller]
    pub fn stop(&self) -> Result<(), CooperationError> {
        self.work.not_ended()?;
        self.work.end(TaskEnd::Stopped, Location::caller());
        Ok(())
    }

    /// Returns a Deferred that fires when the task is done. If the task ends in another way it
    /// fails with [`TaskEnd`]. (Twisted: `whenDone`.)
    #[track_caller]
    pub fn when_done(&self) -> Deferred<()> {
        let (resolver, deferred) = Deferred::new(&self.shared.handle);
        match &*self.work.state.borrow() {
            State::Ended(ended) => ended.notify(&resolver, self.work.place),
            _ => self.work.add_waiter(resolver),
        }
        deferred
    }

    /// The way the task ended, or `None` while it runs.
    pub fn ended(&self) -> Option<TaskEnd> {
        match &*self.work.state.borrow() {
            State::Ended(ended) => Some(ended.clone()),
            _ => None,
        }
    }

    /// Lets the task run without an owner. A failure is then logged like that of any unhandled
    /// Deferred.
    #[track_caller]
    pub fn detach(mut self) {
        self.detached = true;
        self.when_done().detach();
    }
}

impl Drop for CooperativeTask {
    fn drop(&mut self) {
        if !self.detached && self.work.not_ended().is_ok() {
            self.work.end(TaskEnd::Stopped, self.work.place);
        }
    }
}

impl Shared {
    fn ready(self: &Rc<Self>, work: &Rc<Work>) {
        *work.state.borrow_mut() = State::Ready;
        self.ready.borrow_mut().push_back(Rc::clone(work));
        self.queue();
    }

    fn queue(self: &Rc<Self>) {
        if !self.queued.replace(true) {
            let slice = Slice { shared: Rc::clone(self) };
            self.handle.call(move |reactor| slice.run(reactor));
        }
    }

    /// The next ready task that is neither paused nor stopped.
    fn next(&self) -> Option<Rc<Work>> {
        loop {
            let work = self.ready.borrow_mut().pop_front()?;
            let mut state = work.state.borrow_mut();
            if let State::Ready = *state {
                let paused = work.pauses.get() > 0;
                *state = if paused { State::Idle } else { State::Stepping };
                if !paused {
                    drop(state);
                    return Some(work);
                }
            }
        }
    }

    fn step(self: &Rc<Self>, reactor: &mut Reactor, work: &Rc<Work>) {
        let Some(mut step) = work.step.borrow_mut().take() else { return };
        let stepped = catch_unwind(AssertUnwindSafe(|| step(reactor)));
        let stepped = stepped.unwrap_or_else(|payload| {
            Err(Failure::panicked(work.place, reactor, CallbackKind::Call, payload))
        });
        if work.not_ended().is_err() {
            // The step stopped its own task. The step, and a Deferred that it returned, are
            // dropped.
            return;
        }
        *work.step.borrow_mut() = Some(step);
        match stepped {
            Ok(Step::Again) => self.go_on(work),
            Ok(Step::Done) => work.end(TaskEnd::Done, work.place),
            Err(failure) => work.end(TaskEnd::Failed(Arc::new(failure)), work.place),
            Ok(Step::Wait(deferred)) => {
                *work.state.borrow_mut() = State::Parked(deferred.cancel_handle());
                let (shared, work) = (Rc::clone(self), Rc::clone(work));
                deferred.done(move |_, outcome| {
                    if work.not_ended().is_ok() {
                        match outcome {
                            Ok(()) => shared.go_on(&work),
                            Err(failure) => work.end(TaskEnd::Failed(Arc::new(failure)), work.place),
                        }
                    }
                });
            }
        }
    }

    fn go_on(self: &Rc<Self>, work: &Rc<Work>) {
        if work.pauses.get() > 0 {
            *work.state.borrow_mut() = State::Idle;
        } else {
            self.ready(work);
        }
    }
}

impl Slice {
    /// Steps the ready tasks in rotation until the slice is used up.
    fn run(self, reactor: &mut Reactor) {
        let began = current_time(reactor);
        for _ in 0..MAX_STEPS {
            let Some(work) = self.shared.next() else { return };
            self.shared.step(reactor, &work);
            if current_time(reactor) - began >= self.shared.slice {
                return;
            }
        }
    }
}

impl Drop for Slice {
    /// Queues the next slice, also if the drop of a task panicked. If the reactor has finished, the
    /// ready tasks are stopped instead, because a task may own its own cooperator.
    fn drop(&mut self) {
        self.shared.queued.set(false);
        if self.shared.ready.borrow().is_empty() {
            return;
        }
        if !self.shared.handle.finished() {
            return self.shared.queue();
        }
        let next = || self.shared.ready.borrow_mut().pop_front();
        while let Some(work) = next() {
            if work.not_ended().is_ok() {
                work.end(TaskEnd::Stopped, work.place);
            }
        }
    }
}

impl Work {
    fn not_ended(&self) -> Result<(), CooperationError> {
        match &*self.state.borrow() {
            State::Ended(ended) => Err(CooperationError::Ended(ended.clone())),
            _ => Ok(()),
        }
    }

    /// Adds a waiter. Cancelled waiters are removed before the list would grow.
    fn add_waiter(&self, resolver: Resolver<()>) {
        let mut waiting = self.waiting.borrow_mut();
        let mut gone = Vec::new();
        if waiting.len() == waiting.capacity() {
            let wanted;
            (wanted, gone) = waiting.drain(..).partition(Resolver::is_wanted);
            *waiting = wanted;
        }
        waiting.push(resolver);
        drop(waiting);
        drop(gone);
    }

    fn end(&self, ended: TaskEnd, place: &'static Location<'static>) {
        let before = self.state.replace(State::Ended(ended.clone()));
        let step = self.step.take();
        for resolver in self.waiting.take() {
            ended.notify(&resolver, self.place);
        }
        if let State::Parked(waited_for) = before {
            waited_for.cancel_at(place);
        }
        // Dropped last: it is user code and may panic.
        drop(step);
    }
}

impl TaskEnd {
    fn notify(&self, resolver: &Resolver<()>, place: &'static Location<'static>) {
        let outcome = match self {
            TaskEnd::Done => Ok(()),
            ended => Err(Failure::at(place, FailureKind::Error(Box::new(ended.clone())))),
        };
        // The error is ignored: the waiter may have been cancelled.
        let _ = resolver.fire_result(outcome);
    }
}

/// The current time, not the time at the start of the turn.
fn current_time(reactor: &Reactor) -> crate::Instant {
    reactor.update_time();
    reactor.now()
}

impl fmt::Display for TaskEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TaskEnd::Done => f.write_str("the task is done"),
            TaskEnd::Stopped => f.write_str("the task was stopped"),
            TaskEnd::Failed(_) => f.write_str("the task failed"),
        }
    }
}

impl Error for TaskEnd {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            TaskEnd::Failed(failure) => Some(failure.as_error()),
            TaskEnd::Done | TaskEnd::Stopped => None,
        }
    }
}

impl fmt::Display for CooperationError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CooperationError::NotPaused => f.write_str("the task is not paused"),
            CooperationError::Ended(ended) => ended.fmt(f),
        }
    }
}

impl Error for CooperationError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            // `Display` prints the same text as the inner error, so skip to its source.
            CooperationError::Ended(ended) => ended.source(),
            CooperationError::NotPaused => None,
        }
    }
}

impl fmt::Debug for Cooperator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ready = self.shared.ready.borrow().len();
        f.debug_struct("Cooperator").field("ready", &ready).finish_non_exhaustive()
    }
}

impl fmt::Debug for CooperativeTask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (pauses, ended) = (self.work.pauses.get(), self.ended());
        f.debug_struct("CooperativeTask").field("pauses", &pauses).field("ended", &ended).finish()
    }
}

/// Slice length: at most 100 slices per second, and a connection waits at most this long. (Twisted:
/// 10 ms.)
const SLICE: Duration = Duration::from_millis(10);

/// Step limit of a slice, for simulations and tests, where steps take no time.
const MAX_STEPS: usize = 10_000;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::MemoryReactor;

    #[test]
    fn cancelled_waiters_leave_nothing_behind() {
        let mut memory = MemoryReactor::new();
        let task = Cooperator::new(&memory.reactor().handle()).cooperate(|_| Ok(Step::Again));
        for _ in 0..1000 {
            drop(task.when_done());
        }
        assert!(task.work.waiting.borrow().len() <= 4);
        let all: Vec<_> = (0..1000).map(|_| task.when_done()).collect();
        assert!(task.stop().is_ok());
        assert!(all.into_iter().all(|mut done| done.take_outcome().is_some()));
    }
}
