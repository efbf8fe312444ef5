//! Something that is called again and again.

use std::rc::Rc;
use std::time::Duration;

use super::{Failure, Service, StopToken};
use crate::deferred::LoopingCall;
use crate::task::Tick;
use crate::{CallbackKind, Reactor};

/// Calls a function at its start, and once a period after that. (Twisted: `TimerService`.)
///
/// It is a [`LoopingCall`], and keeps its phase: the calls come at whole periods after the start, however long each takes. What
/// could not be called in time is skipped, and counted. A panic in a call is logged, and the next call comes all the same.
///
/// ```
/// use std::time::Duration;
/// use twistor::service::TimerService;
///
/// let seconds = TimerService::new(Duration::from_secs(1), |_, tick| {
///     println!("second {}, {} missed", tick.count, tick.skipped);
/// });
/// # drop(seconds);
/// ```
#[derive(Clone)]
pub struct TimerService {
    name: Option<Rc<str>>,
    period: Duration,
    calls: LoopingCall,
}

impl TimerService {
    /// Calls `call` once a `period`. A period below a millisecond counts as one.
    pub fn new(period: Duration, mut call: impl FnMut(&mut Reactor, Tick) + 'static) -> TimerService {
        // A panic ends in there, and not the loop.
        let calls = LoopingCall::new(move |reactor, tick| {
            reactor.call(CallbackKind::TimedCall, |reactor| call(reactor, tick));
        });
        TimerService { name: None, period: period.max(Duration::from_millis(1)), calls }
    }

    /// With this name.
    pub fn named(mut self, name: &str) -> TimerService {
        self.name = Some(name.into());
        self
    }

    /// Whether it runs.
    pub fn running(&self) -> bool {
        self.calls.running()
    }

    fn begin(&self, reactor: &mut Reactor) {
        match self.calls.start(reactor, self.period) {
            Ok(calls) => calls.detach(),
            Err(_) if self.calls.running() => {}
            Err(_) => {
                // It was stopped by its own call, which has yet to return.
                let this = self.clone();
                reactor.call_later(Duration::ZERO, move |reactor| this.begin(reactor));
            }
        }
    }
}

impl Service for TimerService {
    fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    fn start(&mut self, reactor: &mut Reactor) -> Result<(), Failure> {
        self.begin(reactor);
        Ok(())
    }

    fn stop(&mut self, reactor: &mut Reactor, stopped: StopToken) {
        // One that does not run has stopped.
        let _ = self.calls.stop(reactor);
        drop(stopped);
    }
}
