//! Long work on the loop, in slices.

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

/// Does long work step by step, a slice of 10 ms in each turn, so that connections and timers have theirs. (Twisted: `Cooperator`.)
/// Clones are the same one.
///
/// All its tasks have their steps in turns. A step should take less than a millisecond; what takes longer, or blocks, belongs
/// [into a thread](super::defer_to_thread).
///
/// ```
/// use twistor::deferred::{Cooperator, Step};
///
/// let mut reactor = twistor::Reactor::new()?;
/// let cooperator = Cooperator::new(&reactor.handle());
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
pub struct Cooperator {
    crew: Rc<Crew>,
}

/// What a step of a [`CooperativeTask`] leads to.
#[derive(Debug)]
#[must_use]
pub enum Step {
    /// The next one.
    Again,
    /// The next one when this has fired; meanwhile the others go on.
    Wait(Deferred<()>),
    /// The task is done.
    Done,
}

/// Work that a [`Cooperator`] does. (Twisted: `CooperativeTask`.)
///
/// Dropping it stops the work; [`detach`](CooperativeTask::detach) lets it go on by itself.
#[must_use = "dropped, the work is stopped: keep it, or detach it"]
pub struct CooperativeTask {
    crew: Rc<Crew>,
    work: Rc<Work>,
    detached: bool,
}

/// How a [`CooperativeTask`] ended.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum TaskEnd {
    /// It said so. (Twisted: `TaskDone`.)
    Done,
    /// Somebody stopped it. (Twisted: `TaskStopped`.)
    Stopped,
    /// A step failed or panicked, or what it waited for did. (Twisted: `TaskFailed`.)
    Failed(Arc<Failure>),
}

/// A [`CooperativeTask`] is not in a state for that.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum CooperationError {
    /// As often as it was paused it was resumed. (Twisted: `NotPaused`.)
    NotPaused,
    /// It has ended. (Twisted: `TaskFinished`.)
    Ended(TaskEnd),
}

/// What a cooperator's tasks share.
struct Crew {
    handle: Handle,
    slice: Duration,
    ready: RefCell<VecDeque<Rc<Work>>>,
    /// The next slice is queued.
    queued: Cell<bool>,
}

/// The next slice, in the reactor's queue or under way.
struct Slice {
    crew: Rc<Crew>,
}

struct Work {
    /// Out of its place while it is called.
    step: RefCell<Option<NextStep>>,
    state: RefCell<State>,
    pauses: Cell<u32>,
    waiting: RefCell<Vec<Resolver<()>>>,
    place: &'static Location<'static>,
}

type NextStep = Box<dyn FnMut(&mut Reactor) -> Result<Step, Failure>>;

enum State {
    /// Among those that are ready.
    Ready,
    /// Paused when it would have been.
    Idle,
    Stepping,
    Parked(CancelHandle),
    Ended(TaskEnd),
}

impl Cooperator {
    /// One with slices of 10 ms.
    pub fn new(handle: &Handle) -> Cooperator {
        Cooperator::with_slice(handle, SLICE)
    }

    /// One whose slices end after this time, with the step that is done then; in any case after 10,000 steps.
    pub fn with_slice(handle: &Handle, slice: Duration) -> Cooperator {
        let (ready, queued) = (RefCell::default(), Cell::new(false));
        Cooperator { crew: Rc::new(Crew { handle: handle.clone(), slice, ready, queued }) }
    }

    /// Begins work: `step` is called from the loop, again and again, until it says that it is done. (Twisted: `cooperate`.)
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
        self.crew.ready(&work);
        CooperativeTask { crew: Rc::clone(&self.crew), work, detached: false }
    }
}

impl CooperativeTask {
    /// No step until [`resume`](CooperativeTask::resume); several pauses add up. What a step waits for goes on. (Twisted: `pause`.)
    ///
    /// # Errors
    /// [`CooperationError::Ended`].
    pub fn pause(&self) -> Result<(), CooperationError> {
        self.work.not_ended()?;
        self.work.pauses.set(self.work.pauses.get() + 1);
        Ok(())
    }

    /// Takes one pause back. (Twisted: `resume`.)
    ///
    /// # Errors
    /// [`CooperationError::NotPaused`], [`CooperationError::Ended`].
    pub fn resume(&self) -> Result<(), CooperationError> {
        self.work.not_ended()?;
        let left = self.work.pauses.get().checked_sub(1).ok_or(CooperationError::NotPaused)?;
        self.work.pauses.set(left);
        if left == 0 && matches!(*self.work.state.borrow(), State::Idle) {
            self.crew.ready(&self.work);
        }
        Ok(())
    }

    /// Ends it; what a step waits for is cancelled. (Twisted: `stop`.)
    ///
    /// # Errors
    /// [`CooperationError::Ended`].
    #[track_caller]
    pub fn stop(&self) -> Result<(), CooperationError> {
        self.work.not_ended()?;
        self.work.end(TaskEnd::Stopped, Location::caller());
        Ok(())
    }

    /// Fires when it is done, and fails when it ends in another way, with [`TaskEnd`]. (Twisted: `whenDone`.)
    #[track_caller]
    pub fn when_done(&self) -> Deferred<()> {
        let (resolver, deferred) = Deferred::new(&self.crew.handle);
        match &*self.work.state.borrow() {
            State::Ended(ended) => ended.tell(&resolver, self.work.place),
            _ => self.work.tell_later(resolver),
        }
        deferred
    }

    /// How it has ended, if it has.
    pub fn ended(&self) -> Option<TaskEnd> {
        match &*self.work.state.borrow() {
            State::Ended(ended) => Some(ended.clone()),
            _ => None,
        }
    }

    /// Lets it go on by itself. A failure is logged then as that of any Deferred that nobody looked at.
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

impl Crew {
    fn ready(self: &Rc<Self>, work: &Rc<Work>) {
        *work.state.borrow_mut() = State::Ready;
        self.ready.borrow_mut().push_back(Rc::clone(work));
        self.queue();
    }

    fn queue(self: &Rc<Self>) {
        if !self.queued.replace(true) {
            let slice = Slice { crew: Rc::clone(self) };
            self.handle.call(move |reactor| slice.run(reactor));
        }
    }

    /// The next that is neither paused nor stopped since it was ready.
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
            // It was stopped by itself: what it owns, and what it would wait for, goes with it.
            return;
        }
        *work.step.borrow_mut() = Some(step);
        match stepped {
            Ok(Step::Again) => self.go_on(work),
            Ok(Step::Done) => work.end(TaskEnd::Done, work.place),
            Err(failure) => work.end(TaskEnd::Failed(Arc::new(failure)), work.place),
            Ok(Step::Wait(deferred)) => {
                *work.state.borrow_mut() = State::Parked(deferred.abort_handle());
                let (crew, work) = (Rc::clone(self), Rc::clone(work));
                deferred.done(move |_, outcome| {
                    if work.not_ended().is_ok() {
                        match outcome {
                            Ok(()) => crew.go_on(&work),
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
    /// Steps, each of another task, until the time is up.
    fn run(self, reactor: &mut Reactor) {
        let began = fresh(reactor);
        for _ in 0..STEPS {
            let Some(work) = self.crew.next() else { return };
            self.crew.step(reactor, &work);
            if fresh(reactor) - began >= self.crew.slice {
                return;
            }
        }
    }
}

impl Drop for Slice {
    /// The next one is queued, also when the drop of a task has panicked. When the reactor has finished there is none: what is
    /// ready is stopped, as it may hold its own cooperator.
    fn drop(&mut self) {
        self.crew.queued.set(false);
        if self.crew.ready.borrow().is_empty() {
            return;
        }
        if !self.crew.handle.finished() {
            return self.crew.queue();
        }
        let next = || self.crew.ready.borrow_mut().pop_front();
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

    /// Whoever has given up meanwhile goes, before there is to be more room.
    fn tell_later(&self, resolver: Resolver<()>) {
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
            ended.tell(&resolver, self.place);
        }
        if let State::Parked(waited_for) = before {
            waited_for.cancel_at(place);
        }
        // Last: it is the user's, and may panic.
        drop(step);
    }
}

impl TaskEnd {
    fn tell(&self, resolver: &Resolver<()>, place: &'static Location<'static>) {
        let outcome = match self {
            TaskEnd::Done => Ok(()),
            ended => Err(Failure::at(place, FailureKind::Error(Box::new(ended.clone())))),
        };
        // Who was to be told may have cancelled.
        let _ = resolver.fire(outcome);
    }
}

/// The time now, and not at the beginning of the turn.
fn fresh(reactor: &Reactor) -> crate::Instant {
    reactor.forget_time();
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
            // Its own text is ours.
            CooperationError::Ended(ended) => ended.source(),
            CooperationError::NotPaused => None,
        }
    }
}

impl fmt::Debug for Cooperator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ready = self.crew.ready.borrow().len();
        f.debug_struct("Cooperator").field("ready", &ready).finish_non_exhaustive()
    }
}

impl fmt::Debug for CooperativeTask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (pauses, ended) = (self.work.pauses.get(), self.ended());
        f.debug_struct("CooperativeTask").field("pauses", &pauses).field("ended", &ended).finish()
    }
}

/// A hundred slices a second would be a loop that does nothing else, and a connection waits no longer than this. (Twisted: 10 ms.)
const SLICE: Duration = Duration::from_millis(10);

/// Steps of no length end a slice as well, where time stands still: in simulations and tests.
const STEPS: usize = 10_000;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::MemoryReactor;

    #[test]
    fn those_who_ask_and_give_up_again_leave_nothing_behind() {
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
