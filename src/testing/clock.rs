//! A reactor whose time the test controls.

use std::time::Duration;

use super::stage::{Stage, TESTED_HOST};
use crate::{DelayedCall, Instant, Reactor, Settings};

/// A reactor with virtual time, which passes only when the test advances it. (Twisted:
/// `task.Clock`.)
///
/// Twisted's clock sets the time to the end and then runs all calls that are due. Here, time stops
/// at each call. Each call sees the time at which it was due, as in a program, and calls that it
/// schedules count from there. So one long [`advance`](Clock::advance) has the same effect as many
/// short ones. A call without delay, scheduled by another call, runs within the same advance.
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
/// A panic in a call, such as a failed assertion, fails the test: `advance` panics with its
/// message. The reactor is running from the start. Its connections lead nowhere; see
/// [`MemoryReactor`](super::MemoryReactor) for those.
#[doc(alias = "start_paused")]
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
    /// Creates a clock at time zero.
    #[track_caller]
    pub fn new() -> Clock {
        Clock::with_settings(Settings::default())
    }

    /// Creates a clock at time zero, whose reactor has these settings.
    #[track_caller]
    pub fn with_settings(settings: Settings) -> Clock {
        let mut stage = Stage::new();
        let host = stage.host(TESTED_HOST, settings);
        stage.advance(Duration::ZERO);
        Clock { stage, host }
    }

    /// Returns the reactor. Requests to it take effect with the next [`advance`](Clock::advance),
    /// even one of zero duration.
    ///
    /// # Panics
    /// If it has stopped.
    #[track_caller]
    pub fn reactor(&mut self) -> &mut Reactor {
        self.stage.reactor(self.host)
    }

    /// Returns the virtual time. (Twisted: `seconds`.)
    pub fn now(&self) -> Instant {
        self.stage.now()
    }

    /// Schedules a call, like [`Reactor::call_later`]. (Twisted: `callLater`.)
    #[track_caller]
    pub fn call_later(&mut self, delay: Duration, call: impl FnOnce(&mut Reactor) + 'static) -> DelayedCall {
        self.reactor().call_later(delay, call)
    }

    /// Advances the time. Every call that becomes due, up to and including the end, runs at its own
    /// time. (Twisted: `advance`.)
    #[track_caller]
    pub fn advance(&mut self, time: Duration) {
        self.stage.advance(time);
    }

    /// Advances the time by each of these steps in turn. (Twisted: `pump`.)
    #[track_caller]
    pub fn pump(&mut self, steps: &[Duration]) {
        for step in steps {
            self.advance(*step);
        }
    }

    /// Returns whether the reactor has stopped.
    pub fn has_stopped(&self) -> bool {
        self.stage.has_stopped(self.host)
    }

    /// Makes panics of callbacks part of the test: they are logged and counted, as outside of
    /// tests.
    pub fn allow_panics(&mut self) {
        self.stage.allow_panics();
    }
}
