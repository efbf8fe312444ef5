//! A periodic timer.

use std::rc::Rc;
use std::time::Duration;

use super::{Failure, Service, StopToken};
use crate::deferred::LoopingCall;
use crate::task::Tick;
use crate::{CallbackKind, Reactor};

/// Calls a function at its start and then once per period. (Twisted: `TimerService`.)
///
/// It is a [`LoopingCall`]. The calls keep their phase: they are made at whole periods after the
/// start, however long each call takes. Calls that could not be made in time are skipped and
/// counted. If a call panics, the panic is logged and the timer continues.
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
    /// Creates a timer that calls `call` once per `period`. The minimum period is 1 ms.
    pub fn new(period: Duration, mut call: impl FnMut(&mut Reactor, Tick) + 'static) -> TimerService {
        let calls = LoopingCall::new(move |reactor, tick| {
            // A panic is logged and counted, and the timer continues.
            let _ = reactor.catch_panic(CallbackKind::TimedCall, |reactor| call(reactor, tick));
        });
        TimerService { name: None, period: period.max(Duration::from_millis(1)), calls }
    }

    /// Sets the name.
    pub fn named(mut self, name: &str) -> TimerService {
        self.name = Some(name.into());
        self
    }

    /// Returns whether the timer is running.
    pub fn running(&self) -> bool {
        self.calls.running()
    }

    fn start_calls(&self, reactor: &mut Reactor) {
        match self.calls.start(reactor, self.period) {
            Ok(calls) => calls.detach(),
            Err(_) if self.calls.running() => {}
            Err(_) => {
                // The timer was stopped from its own call, which has not returned yet.
                let this = self.clone();
                reactor.call_later(Duration::ZERO, move |reactor| this.start_calls(reactor));
            }
        }
    }
}

impl Service for TimerService {
    fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    fn start(&mut self, reactor: &mut Reactor) -> Result<(), Failure> {
        self.start_calls(reactor);
        Ok(())
    }

    fn stop(&mut self, reactor: &mut Reactor, stopped: StopToken) {
        // Fails if the timer is not running.
        let _ = self.calls.stop(reactor);
        drop(stopped);
    }
}
