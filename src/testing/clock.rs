//! A reactor whose time is the test's.

use std::time::Duration;

use super::stage::{HERE, Stage};
use crate::{DelayedCall, Instant, Reactor, Settings};

/// A reactor with virtual time, which stands still until the test lets it pass. (Twisted: `task.Clock`.)
///
/// Unlike Twisted's, which sets the time to the end and then makes all calls that are due, time stops at each call on its
/// way: each sees the time at which it was to come, as it would in a program, and what it sets counts from there. So
/// one long [`advance`](Clock::advance) does the same as many short ones. A call that is set for now by another one comes
/// within the same advance.
///
/// ```
/// use std::cell::RefCell;
/// use std::rc::Rc;
/// use std::time::Duration;
/// use twistor::testing::Clock;
/// use twistor::Reactor;
///
/// fn tick(reactor: &mut Reactor, seen: Rc<RefCell<Vec<u64>>>) {
///     seen.borrow_mut().push(reactor.now().since_origin().as_secs());
///     reactor.call_later(Duration::from_secs(10), move |reactor| tick(reactor, seen));
/// }
///
/// let seen = Rc::new(RefCell::new(Vec::new()));
/// let mut clock = Clock::new();
/// tick(clock.reactor(), Rc::clone(&seen));
/// clock.advance(Duration::from_secs(35));
/// assert_eq!(*seen.borrow(), [0, 10, 20, 30]);
/// ```
///
/// A panic in a call, a failed assertion for one, is the test's: `advance` panics with its text. The reactor runs
/// from the beginning. What it connects to is nowhere; see [`MemoryReactor`](super::MemoryReactor) for that.
pub struct Clock {
    stage: Stage,
    host: crate::sim::Host,
}

impl Default for Clock {
    fn default() -> Clock {
        Clock::new()
    }
}

impl Clock {
    /// A clock at zero.
    #[track_caller]
    pub fn new() -> Clock {
        Clock::with_settings(Settings::default())
    }

    /// A clock at zero, whose reactor has these settings.
    #[track_caller]
    pub fn with_settings(settings: Settings) -> Clock {
        let mut stage = Stage::new();
        let host = stage.host(HERE, settings);
        stage.advance(Duration::ZERO);
        Clock { stage, host }
    }

    /// The reactor. What is asked of it happens with the next [`advance`](Clock::advance), be it of no time.
    ///
    /// # Panics
    /// When it has stopped.
    #[track_caller]
    pub fn reactor(&mut self) -> &mut Reactor {
        self.stage.reactor(self.host)
    }

    /// The time. (Twisted: `seconds`.)
    pub fn now(&self) -> Instant {
        self.stage.now()
    }

    /// As [`Reactor::call_later`]. (Twisted: `callLater`.)
    #[track_caller]
    pub fn call_later(&mut self, delay: Duration, call: impl FnOnce(&mut Reactor) + 'static) -> DelayedCall {
        self.reactor().call_later(delay, call)
    }

    /// Lets time pass. All that comes due, up to the very end, is called, each at its own time. (Twisted: `advance`.)
    #[track_caller]
    pub fn advance(&mut self, time: Duration) {
        self.stage.advance(time);
    }

    /// Lets time pass in these steps, one after the other. (Twisted: `pump`.)
    #[track_caller]
    pub fn pump(&mut self, steps: &[Duration]) {
        for step in steps {
            self.advance(*step);
        }
    }

    /// Whether the reactor has stopped.
    pub fn has_stopped(&self) -> bool {
        self.stage.has_stopped(self.host)
    }

    /// Panics of callbacks are a part of the test, from now on: they are logged and counted, as outside of tests.
    pub fn allow_panics(&mut self) {
        self.stage.allow_panics();
    }
}
