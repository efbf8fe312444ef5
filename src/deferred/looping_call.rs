//! Repeated calls of a function at a fixed interval.

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

/// Calls a function at a fixed interval, in phase with its start. (Twisted: `LoopingCall`,
/// `LoopingCall.withCount`.)
///
/// - Calls happen at whole multiples of the interval after the start, however long each call takes.
///   Missed calls are skipped and counted.
/// - While a call waits for the Deferred that it returned, no other call is made.
/// - A failure or a panic ends the loop.
/// - A loop that is stopped inside its own call is finished, and its function is dropped. So the
///   function may own a clone of the loop to stop it.
///
/// Clones are the same loop.
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
#[doc(alias = "setInterval")]
pub struct LoopingCall {
    shared: Rc<Loop>,
}

struct Loop {
    /// `None` while the function is being called.
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
    /// A timer is set for the next call.
    Waiting(Schedule, DelayedCall),
    /// The function is running, or its Deferred is pending.
    Calling(Schedule, Option<CancelHandle>),
    /// Same as `Calling`, for the last call.
    Stopping(Schedule, Option<CancelHandle>),
}

/// The pending continuation of a loop. Dropping it unused means that the reactor has finished, and
/// ends the loop.
struct Continuation {
    own: Option<Rc<Loop>>,
}

struct Schedule {
    interval: Duration,
    began: Instant,
    /// The number of the next call.
    next: u64,
    resolver: Resolver<()>,
    /// Source location of the `start` call.
    place: &'static Location<'static>,
}

/// Error: the state of a [`LoopingCall`] does not allow the operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LoopingError {
    /// The loop is already running. (Twisted: an `AssertionError`.)
    Running,
    /// The loop is not running. (Twisted: an `AssertionError`.)
    NotRunning,
    /// The loop was stopped inside its own call, or its reactor finished while it ran. Its function
    /// has been dropped. (Twisted has no such error.)
    Finished,
}

impl LoopingCall {
    /// Creates a loop that is not running.
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

    /// Starts the loop. The first call comes in the next turn, then one per `interval`. A zero
    /// interval means one call per turn. (Twisted: `start(interval)`.)
    ///
    /// The returned Deferred fires when the loop is stopped, and fails when a call fails.
    /// Cancelling or dropping it ends the loop and cancels the Deferred that a call waits for.
    ///
    /// # Errors
    /// - [`LoopingError::Running`]: the loop runs, or the last call of a stopped loop has not
    ///   ended.
    /// - [`LoopingError::Finished`]: the loop was stopped inside its own call, or its reactor
    ///   finished.
    #[track_caller]
    pub fn start(&self, reactor: &mut Reactor, interval: Duration) -> Result<Deferred<()>, LoopingError> {
        self.begin(reactor, interval, 0, Location::caller())
    }

    /// Same as [`start`](LoopingCall::start), but the first call comes after one `interval`.
    /// (Twisted: `start(interval, now=False)`.)
    ///
    /// # Errors
    /// Same as [`start`](LoopingCall::start).
    #[track_caller]
    pub fn start_later(
        &self,
        reactor: &mut Reactor,
        interval: Duration,
    ) -> Result<Deferred<()>, LoopingError> {
        self.begin(reactor, interval, 1, Location::caller())
    }

    /// Stops the loop. The Deferred that [`start`](LoopingCall::start) returned fires when the
    /// current call, if any, has ended. (Twisted: `stop`.)
    ///
    /// The loop can then be started again, unless it was stopped inside its own call.
    ///
    /// # Errors
    /// [`LoopingError::NotRunning`].
    pub fn stop(&self, reactor: &mut Reactor) -> Result<(), LoopingError> {
        let mut state = self.shared.state.borrow_mut();
        match std::mem::replace(&mut *state, State::Stopped) {
            State::Waiting(schedule, timer) => {
                drop(state);
                // The timer is pending in this state.
                let _ = timer.cancel(reactor);
                schedule.end(Ok(()));
                Ok(())
            }
            State::Calling(schedule, awaited) => {
                *state = State::Stopping(schedule, awaited);
                Ok(())
            }
            other => {
                *state = other;
                Err(LoopingError::NotRunning)
            }
        }
    }

    /// Restarts the phase: the next call comes one interval from now. (Twisted: `reset`.)
    ///
    /// # Errors
    /// [`LoopingError::NotRunning`].
    pub fn reset(&self, reactor: &mut Reactor) -> Result<(), LoopingError> {
        let now = reactor.now();
        match &mut *self.shared.state.borrow_mut() {
            State::Waiting(schedule, timer) => {
                schedule.restart(now);
                // The timer is pending in this state.
                timer.reset(reactor, schedule.interval).map_err(|_| LoopingError::NotRunning)
            }
            State::Calling(schedule, _) => {
                schedule.restart(now);
                Ok(())
            }
            State::Stopped | State::Stopping(..) => Err(LoopingError::NotRunning),
        }
    }

    /// Whether more calls will come. (Twisted: `running`.)
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
        let schedule = Schedule { interval, began: reactor.now(), next, resolver, place };
        self.wait(reactor, schedule);
        Ok(deferred)
    }

    /// Sets the timer for the next call.
    fn wait(&self, reactor: &mut Reactor, schedule: Schedule) {
        let wait = schedule.until_next(reactor.now());
        let continuation = Continuation::with(self);
        let timer = reactor.call_later(wait, move |reactor| continuation.resume(|this| this.due(reactor)));
        *self.shared.state.borrow_mut() = State::Waiting(schedule, timer);
    }

    fn due(&self, reactor: &mut Reactor) {
        let mut state = self.shared.state.borrow_mut();
        let State::Waiting(mut schedule, _) = std::mem::replace(&mut *state, State::Stopped) else { return };
        let tick = schedule.tick(reactor.now());
        *state = State::Calling(schedule, None);
        drop(state);
        let Some(mut call) = self.shared.call.borrow_mut().take() else { return };
        let called = catch_unwind(AssertUnwindSafe(|| call(reactor, tick)));
        // A function that stopped its own loop may own that loop. It is dropped at the end, when
        // the state is consistent.
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
                    *awaited = Some(deferred.cancel_handle());
                }
                let continuation = Continuation::with(self);
                deferred
                    .done(move |reactor, outcome| continuation.resume(|this| this.ended(reactor, outcome)));
            }
            Err(payload) => self.panicked(reactor, payload),
        }
    }

    fn panicked(&self, reactor: &mut Reactor, payload: Box<dyn Any + Send>) {
        let place = match &*self.shared.state.borrow() {
            State::Calling(schedule, _) | State::Stopping(schedule, _) => schedule.place,
            State::Stopped | State::Waiting(..) => return,
        };
        let failure = Failure::panicked(place, reactor, CallbackKind::TimedCall, payload);
        self.ended(reactor, Err(failure));
    }

    /// Handles the end of a call.
    fn ended(&self, reactor: &mut Reactor, outcome: Result<(), Failure>) {
        let state = self.shared.state.replace(State::Stopped);
        match (state, outcome) {
            (State::Calling(schedule, _), Ok(())) => self.wait(reactor, schedule),
            (State::Calling(schedule, _) | State::Stopping(schedule, _), outcome) => schedule.end(outcome),
            (State::Stopped | State::Waiting(..), _) => {}
        }
    }
}

impl Loop {
    /// Ends the loop because its Deferred was cancelled.
    fn give_up(own: &Weak<Loop>, reactor: &mut Reactor, place: &'static Location<'static>) {
        let Some(own) = own.upgrade() else { return };
        let mut state = own.state.borrow_mut();
        match std::mem::replace(&mut *state, State::Stopped) {
            State::Waiting(schedule, timer) => {
                drop(state);
                // The timer is pending in this state.
                let _ = timer.cancel(reactor);
                drop(schedule);
            }
            State::Calling(schedule, awaited) | State::Stopping(schedule, awaited) => {
                *state = State::Stopping(schedule, None);
                drop(state);
                if let Some(awaited) = awaited {
                    awaited.cancel_at(place);
                }
            }
            State::Stopped => {}
        }
    }
}

impl Continuation {
    fn with(looping: &LoopingCall) -> Continuation {
        Continuation { own: Some(Rc::clone(&looping.shared)) }
    }

    fn resume(mut self, callback: impl FnOnce(LoopingCall)) {
        if let Some(shared) = self.own.take() {
            callback(LoopingCall { shared });
        }
    }
}

impl Drop for Continuation {
    fn drop(&mut self) {
        let Some(own) = self.own.take() else { return };
        let state = own.state.replace(State::Stopped);
        // A loop in state `Stopped` can be started again, so it keeps its function.
        let call = match state {
            State::Stopped => None,
            _ => own.call.take(),
        };
        // Both are user code: drop them while nothing is borrowed.
        drop((state, call));
    }
}

impl Schedule {
    fn restart(&mut self, now: Instant) {
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

    /// Number of whole intervals since the start. `None` if the interval is zero.
    fn passed(&self, now: Instant) -> Option<u64> {
        let passed = (now - self.began).as_nanos().checked_div(self.interval.as_nanos())?;
        Some(u64::try_from(passed).unwrap_or(u64::MAX))
    }

    fn until_next(&self, now: Instant) -> Duration {
        let passed = self.passed(now).unwrap_or(self.next);
        if self.next <= passed && (self.next == 0 || self.interval.is_zero()) {
            return Duration::ZERO;
        }
        // Calls that came due while a Deferred was pending were missed.
        let number = self.next.max(passed.saturating_add(1));
        let due = self.interval.as_nanos().saturating_mul(u128::from(number));
        let wait = due.saturating_sub((now - self.began).as_nanos());
        // 500 years fit into 64 bits of nanoseconds.
        Duration::from_nanos(u64::try_from(wait).unwrap_or(u64::MAX))
    }

    fn end(self, outcome: Result<(), Failure>) {
        // The error is ignored: the Deferred may have been cancelled.
        let _ = self.resolver.fire_result(outcome);
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
            LoopingError::Running => "the loop is already running",
            LoopingError::NotRunning => "the loop is not running",
            LoopingError::Finished => "the loop has finished and cannot be started again",
        })
    }
}

impl Error for LoopingError {}
