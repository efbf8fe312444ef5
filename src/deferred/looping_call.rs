//! What is called again and again.

use std::any::Any;
use std::cell::RefCell;
use std::error::Error;
use std::fmt;
use std::panic::{AssertUnwindSafe, Location, catch_unwind};
use std::rc::{Rc, Weak};
use std::time::Duration;

use super::outcome::{Next, Outcome};
use super::{CancelHandle, Deferred, Failure, IntoOutcome, Resolver};
use crate::reactor::CallbackKind;
use crate::task::Tick;
use crate::{DelayedCall, Instant, Reactor};

/// Calls a function once an interval, in phase with its start. (Twisted: `LoopingCall`, `LoopingCall.withCount`.)
///
/// The calls come at whole intervals after the start, however long each takes. What could not be called in time is skipped, and
/// counted. While a call has returned a Deferred which has not fired, no other comes. A failure or a panic ends the loop.
/// Clones are the same loop. One that a call of its own stops is over, and its function is dropped, which may so hold a clone to do that.
///
/// ```
/// use std::time::Duration;
/// use twistor::LoopingCall;
///
/// let mut reactor = twistor::Reactor::new()?;
/// let looping = LoopingCall::new(|reactor, tick| {
///     println!("call {}, {} skipped", tick.count, tick.skipped);
///     if tick.count >= 3 {
///         reactor.stop();
///     }
/// });
/// looping.start(&mut reactor, Duration::from_millis(1))?.detach();
/// reactor.run()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct LoopingCall {
    shared: Rc<Loop>,
}

struct Loop {
    /// Out of its place while it is called.
    call: RefCell<Option<Call>>,
    state: RefCell<State>,
}

type Call = Box<dyn FnMut(&mut Reactor, Tick) -> Called>;

enum Called {
    Ended(Result<(), Failure>),
    Waits(Deferred<()>),
}

enum State {
    Stopped,
    /// Until the next call is due.
    Waiting(Course, DelayedCall),
    /// It is called, or waited for.
    Calling(Course, Option<CancelHandle>),
    /// The same, and it is the last one.
    Stopping(Course, Option<CancelHandle>),
}

/// What the loop goes on with. When it is dropped unused, the reactor has ended, and the loop with it.
struct GoesOn {
    own: Option<Rc<Loop>>,
}

struct Course {
    interval: Duration,
    began: Instant,
    /// The number of the call that is due next.
    next: u64,
    resolver: Resolver<()>,
    /// Where it was started.
    place: &'static Location<'static>,
}

/// A [`LoopingCall`] is not in a state for that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LoopingError {
    /// It was started already. (Twisted: an `AssertionError`.)
    Running,
    /// It does not run. (Twisted: an `AssertionError`.)
    NotRunning,
    /// A call of its own has stopped it, or its reactor has ended while it ran: its function is dropped. (Twisted has no such error.)
    Finished,
}

impl LoopingCall {
    /// A loop that has not begun.
    pub fn new<R: IntoOutcome>(mut call: impl FnMut(&mut Reactor, Tick) -> R + 'static) -> LoopingCall {
        let call = move |reactor: &mut Reactor, tick| match call(reactor, tick).next(None) {
            Next::Done(Outcome::Value(_) | Outcome::Lent(_)) => Called::Ended(Ok(())),
            Next::Done(Outcome::Failed(failure)) => Called::Ended(Err(failure)),
            Next::Wait(end) => Called::Waits(Deferred::<R::Value>::from_end(end).map(|_, _| ())),
        };
        let call: Option<Call> = Some(Box::new(call));
        LoopingCall {
            shared: Rc::new(Loop { call: RefCell::new(call), state: RefCell::new(State::Stopped) }),
        }
    }

    /// Calls it in the next turn, and then once an `interval`; with an interval of zero once a turn. (Twisted: `start(interval)`.)
    ///
    /// What is returned fires when the loop was stopped, and fails when a call does. To cancel it, or to drop it, ends the
    /// loop, and cancels what a call waits for.
    ///
    /// # Errors
    /// [`LoopingError::Running`]; also while the last call of a loop that was stopped has not ended. [`LoopingError::Finished`] after a loop that
    /// has stopped itself.
    #[track_caller]
    pub fn start(&self, reactor: &mut Reactor, interval: Duration) -> Result<Deferred<()>, LoopingError> {
        self.begin(reactor, interval, 0, Location::caller())
    }

    /// As [`start`](LoopingCall::start), but the first call comes after an `interval`. (Twisted: `start(interval, now=False)`.)
    ///
    /// # Errors
    /// As [`start`](LoopingCall::start).
    #[track_caller]
    pub fn start_later(
        &self,
        reactor: &mut Reactor,
        interval: Duration,
    ) -> Result<Deferred<()>, LoopingError> {
        self.begin(reactor, interval, 1, Location::caller())
    }

    /// Calls it no more. What [`start`](LoopingCall::start) returned fires, when the call that runs or is waited for has
    /// ended. (Twisted: `stop`.)
    ///
    /// It may be started again then, but for a loop that is stopped inside its own call: that one drops its function.
    ///
    /// # Errors
    /// [`LoopingError::NotRunning`].
    pub fn stop(&self, reactor: &mut Reactor) -> Result<(), LoopingError> {
        let mut state = self.shared.state.borrow_mut();
        match std::mem::replace(&mut *state, State::Stopped) {
            State::Waiting(course, timer) => {
                drop(state);
                // It is pending while that is the state.
                let _ = timer.cancel(reactor);
                course.end(Ok(()));
                Ok(())
            }
            State::Calling(course, awaited) => {
                *state = State::Stopping(course, awaited);
                Ok(())
            }
            other => {
                *state = other;
                Err(LoopingError::NotRunning)
            }
        }
    }

    /// Begins the phase anew: the next call comes an interval from now. (Twisted: `reset`.)
    ///
    /// # Errors
    /// [`LoopingError::NotRunning`].
    pub fn reset(&self, reactor: &mut Reactor) -> Result<(), LoopingError> {
        let now = reactor.now();
        match &mut *self.shared.state.borrow_mut() {
            State::Waiting(course, timer) => {
                course.anew(now);
                // It is pending while that is the state.
                timer.reset(reactor, course.interval).map_err(|_| LoopingError::NotRunning)
            }
            State::Calling(course, _) => {
                course.anew(now);
                Ok(())
            }
            State::Stopped | State::Stopping(..) => Err(LoopingError::NotRunning),
        }
    }

    /// Whether there are calls to come. (Twisted: `running`.)
    pub fn running(&self) -> bool {
        matches!(*self.shared.state.borrow(), State::Waiting(..) | State::Calling(..))
    }

    fn begin(
        &self,
        reactor: &mut Reactor,
        interval: Duration,
        next: u64,
        place: &'static Location<'static>,
    ) -> Result<Deferred<()>, LoopingError> {
        let State::Stopped = *self.shared.state.borrow() else { return Err(LoopingError::Running) };
        if self.shared.call.borrow().is_none() {
            return Err(LoopingError::Finished);
        }
        let own = Rc::downgrade(&self.shared);
        let give_up = move |reactor: &mut Reactor, _: &Resolver<()>| Loop::give_up(&own, reactor, place);
        let (resolver, deferred) = Deferred::with_canceller_at(&reactor.handle(), place, give_up);
        let course = Course { interval, began: reactor.now(), next, resolver, place };
        self.wait(reactor, course);
        Ok(deferred)
    }

    /// Waits for the next call.
    fn wait(&self, reactor: &mut Reactor, course: Course) {
        let wait = course.until_next(reactor.now());
        let goes_on = GoesOn::with(self);
        let timer = reactor.call_later(wait, move |reactor| goes_on.go(|this| this.due(reactor)));
        *self.shared.state.borrow_mut() = State::Waiting(course, timer);
    }

    fn due(&self, reactor: &mut Reactor) {
        let mut state = self.shared.state.borrow_mut();
        let State::Waiting(mut course, _) = std::mem::replace(&mut *state, State::Stopped) else { return };
        let tick = course.tick(reactor.now());
        *state = State::Calling(course, None);
        drop(state);
        let Some(mut call) = self.shared.call.borrow_mut().take() else { return };
        let called = catch_unwind(AssertUnwindSafe(|| call(reactor, tick)));
        // It has stopped itself: it may hold this loop, and is dropped when all is in its place.
        let stopped = matches!(*self.shared.state.borrow(), State::Stopping(..));
        let _last = match stopped {
            true => Some(call),
            false => self.shared.call.replace(Some(call)),
        };
        match called {
            Ok(Called::Ended(outcome)) => self.ended(reactor, outcome),
            Ok(Called::Waits(deferred)) => {
                if let State::Calling(_, awaited) | State::Stopping(_, awaited) =
                    &mut *self.shared.state.borrow_mut()
                {
                    *awaited = Some(deferred.abort_handle());
                }
                let goes_on = GoesOn::with(self);
                deferred.done(move |reactor, outcome| goes_on.go(|this| this.ended(reactor, outcome)));
            }
            Err(payload) => self.panicked(reactor, payload),
        }
    }

    fn panicked(&self, reactor: &mut Reactor, payload: Box<dyn Any + Send>) {
        let place = match &*self.shared.state.borrow() {
            State::Calling(course, _) | State::Stopping(course, _) => course.place,
            State::Stopped | State::Waiting(..) => return,
        };
        let failure = Failure::panicked(place, reactor, CallbackKind::TimedCall, payload);
        self.ended(reactor, Err(failure));
    }

    /// A call has come to its end.
    fn ended(&self, reactor: &mut Reactor, outcome: Result<(), Failure>) {
        let state = self.shared.state.replace(State::Stopped);
        match (state, outcome) {
            (State::Calling(course, _), Ok(())) => self.wait(reactor, course),
            (State::Calling(course, _) | State::Stopping(course, _), outcome) => course.end(outcome),
            (State::Stopped | State::Waiting(..), _) => {}
        }
    }
}

impl Loop {
    /// Nobody wants the loop any more.
    fn give_up(own: &Weak<Loop>, reactor: &mut Reactor, place: &'static Location<'static>) {
        let Some(own) = own.upgrade() else { return };
        let mut state = own.state.borrow_mut();
        match std::mem::replace(&mut *state, State::Stopped) {
            State::Waiting(course, timer) => {
                drop(state);
                // It is pending while that is the state.
                let _ = timer.cancel(reactor);
                drop(course);
            }
            State::Calling(course, awaited) | State::Stopping(course, awaited) => {
                *state = State::Stopping(course, None);
                drop(state);
                if let Some(awaited) = awaited {
                    awaited.cancel_at(place);
                }
            }
            State::Stopped => {}
        }
    }
}

impl GoesOn {
    fn with(looping: &LoopingCall) -> GoesOn {
        GoesOn { own: Some(Rc::clone(&looping.shared)) }
    }

    fn go(mut self, how: impl FnOnce(LoopingCall)) {
        if let Some(shared) = self.own.take() {
            how(LoopingCall { shared });
        }
    }
}

impl Drop for GoesOn {
    fn drop(&mut self) {
        let Some(own) = self.own.take() else { return };
        let state = own.state.replace(State::Stopped);
        // Stopped before, it may be started again.
        let call = match state {
            State::Stopped => None,
            _ => own.call.take(),
        };
        // They are the user's: nothing is borrowed.
        drop((state, call));
    }
}

impl Course {
    fn anew(&mut self, now: Instant) {
        self.began = now;
        self.next = 1;
    }

    fn tick(&mut self, now: Instant) -> Tick {
        let passed = self.passed(now).unwrap_or(self.next);
        let number = passed.max(self.next);
        let skipped = number - self.next;
        self.next = number.saturating_add(1);
        Tick { count: number, skipped }
    }

    /// How many intervals have passed; `None` when they take no time.
    fn passed(&self, now: Instant) -> Option<u64> {
        let passed = (now - self.began).as_nanos().checked_div(self.interval.as_nanos())?;
        Some(u64::try_from(passed).unwrap_or(u64::MAX))
    }

    fn until_next(&self, now: Instant) -> Duration {
        let passed = self.passed(now).unwrap_or(self.next);
        if self.next <= passed && (self.next == 0 || self.interval.is_zero()) {
            return Duration::ZERO;
        }
        // What is due already was missed while something else was waited for.
        let number = self.next.max(passed.saturating_add(1));
        let due = self.interval.as_nanos().saturating_mul(u128::from(number));
        let wait = due.saturating_sub((now - self.began).as_nanos());
        // 500 years of nanoseconds fit.
        Duration::from_nanos(u64::try_from(wait).unwrap_or(u64::MAX))
    }

    fn end(self, outcome: Result<(), Failure>) {
        // When it was cancelled nobody waits for it.
        let _ = self.resolver.fire(outcome);
    }
}

impl fmt::Debug for LoopingCall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LoopingCall").field("running", &self.running()).finish_non_exhaustive()
    }
}

impl fmt::Display for LoopingError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            LoopingError::Running => "the loop runs already",
            LoopingError::NotRunning => "the loop does not run",
            LoopingError::Finished => "the loop has stopped itself, and is over",
        })
    }
}

impl Error for LoopingError {}
