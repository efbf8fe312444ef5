//! Something that is called again and again.

use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::rc::Rc;
use std::time::Duration;

use super::{Failure, Service, Stopped};
use crate::{DelayedCall, Instant, Reactor};

/// Calls a function at its start, and once a period after that. (Twisted: `TimerService`.)
///
/// It keeps its phase: the calls come at whole periods after the start, however long each takes. What could not be
/// called in time is skipped, and counted. A panic in a call is logged, and the next call comes all the same.
///
/// ```
/// use std::time::Duration;
/// use twistor::service::TimerService;
///
/// let seconds = TimerService::new(Duration::from_secs(1), |_, tick| {
///     println!("second {}, {} missed", tick.number, tick.skipped);
/// });
/// # drop(seconds);
/// ```
#[derive(Clone)]
pub struct TimerService {
    name: Option<Rc<str>>,
    timer: Rc<RefCell<Timer>>,
}

/// One call of a [`TimerService`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tick {
    /// How many periods have passed since the start.
    pub number: u64,
    /// How many calls were skipped since the last one.
    pub skipped: u64,
}

struct Timer {
    period: Duration,
    /// Out of its place while it runs.
    call: Option<Call>,
    state: State,
}

type Call = Box<dyn FnMut(&mut Reactor, Tick)>;

#[derive(Clone, Copy)]
enum State {
    Stopped,
    Running { began: Instant, next: DelayedCall, last: Option<u64> },
}

impl TimerService {
    /// Calls `call` once a `period`. A period below a millisecond counts as one.
    pub fn new(period: Duration, call: impl FnMut(&mut Reactor, Tick) + 'static) -> TimerService {
        let period = period.max(Duration::from_millis(1));
        let timer = Timer { period, call: Some(Box::new(call)), state: State::Stopped };
        TimerService { name: None, timer: Rc::new(RefCell::new(timer)) }
    }

    /// With this name.
    pub fn named(mut self, name: &str) -> TimerService {
        self.name = Some(name.into());
        self
    }

    /// Whether it runs.
    pub fn running(&self) -> bool {
        matches!(self.timer.borrow().state, State::Running { .. })
    }

    fn due(&self, reactor: &mut Reactor) {
        let mut timer = self.timer.borrow_mut();
        let State::Running { began, last, .. } = timer.state else { return };
        let passed = reactor.now() - began;
        let period = timer.period.as_nanos();
        let number = passed.as_nanos() / period;
        // 500 years of nanoseconds fit.
        let wait = Duration::from_nanos(
            u64::try_from((number + 1) * period - passed.as_nanos()).unwrap_or(u64::MAX),
        );
        let number = u64::try_from(number).unwrap_or(u64::MAX);
        let skipped = number - last.map_or(0, |last| last + 1).min(number);
        // Set before the call: whatever becomes of that, the next one comes.
        let this = self.clone();
        let next = reactor.call_later(wait, move |reactor| this.due(reactor));
        timer.state = State::Running { began, next, last: Some(number) };
        let Some(mut call) = timer.call.take() else { return };
        drop(timer);
        let called = catch_unwind(AssertUnwindSafe(|| call(reactor, Tick { number, skipped })));
        self.timer.borrow_mut().call = Some(call);
        // The reactor counts and logs it.
        called.unwrap_or_else(|panic| resume_unwind(panic));
    }
}

impl Service for TimerService {
    fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    fn start(&mut self, reactor: &mut Reactor) -> Result<(), Failure> {
        let mut timer = self.timer.borrow_mut();
        if let State::Stopped = timer.state {
            let this = self.clone();
            let next = reactor.call_later(Duration::ZERO, move |reactor| this.due(reactor));
            timer.state = State::Running { began: reactor.now(), next, last: None };
        }
        Ok(())
    }

    fn stop(&mut self, reactor: &mut Reactor, stopped: Stopped) {
        let state = std::mem::replace(&mut self.timer.borrow_mut().state, State::Stopped);
        if let State::Running { next, .. } = state {
            // Inside its own call the next one is set already.
            let _ = next.cancel(reactor);
        }
        drop(stopped);
    }
}
