//! Calls at a later time, and what their names are good for.

use std::time::Duration;

use crate::reactor::{CallbackKind, DelayedCall, Error, Instant, Reactor, Result, TimedCall};

impl Reactor {
    /// Calls `call` at [`now`](Reactor::now) `+ delay`, never inside this call; with a delay of zero in the next turn. Calls of the
    /// same time come in the order in which they were set. (Twisted: `callLater`.)
    ///
    /// The loop polls once between the time of a call and the call itself, and delivers what came: a timeout that is late, after
    /// a slow callback or while the process was stopped, does not fail a peer that answered in time.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// let mut reactor = twistor::Reactor::new()?;
    /// let later = reactor.call_later(Duration::from_secs(60), |_| println!("a minute has passed"));
    /// reactor.call_later(Duration::ZERO, move |reactor| {
    ///     assert!(later.active(reactor));
    ///     later.cancel(reactor).unwrap();
    ///     reactor.stop();
    /// });
    /// reactor.run()?;
    /// # Ok::<(), twistor::Error>(())
    /// ```
    pub fn call_later(&mut self, delay: Duration, call: impl FnOnce(&mut Reactor) + 'static) -> DelayedCall {
        let at = self.now() + delay;
        self.timers.set(at, TimedCall::Reactor(Box::new(call)))
    }

    /// How many timed calls are pending, the reactor's own included. (Twisted: `getDelayedCalls`.)
    pub fn delayed_call_count(&self) -> usize {
        self.timers.len()
    }

    /// Cancels a call of the user's from the loop.
    pub(in crate::reactor) fn drop_timer(&mut self, timer: DelayedCall) {
        if let Some(gone) = self.timers.cancel(timer) {
            self.call(CallbackKind::Drop, |_| drop(gone));
        }
    }
}

impl DelayedCall {
    /// Cancels the call and drops it.
    ///
    /// # Errors
    /// [`Error::TimerNotActive`] when it was called or cancelled before; inside the call itself it counts as called.
    pub fn cancel(self, reactor: &mut Reactor) -> Result<()> {
        reactor.timers.cancel(self).map(drop).ok_or(Error::TimerNotActive)
    }

    /// Lets it come `delay` from now. Among calls of the same time it comes as if it had been set by this: behind those
    /// that were set or reset before, and before those after it.
    ///
    /// # Errors
    /// [`Error::TimerNotActive`] when it was called or cancelled before.
    pub fn reset(self, reactor: &mut Reactor, delay: Duration) -> Result<()> {
        let at = reactor.now() + delay;
        if reactor.timers.reset(self, at) { Ok(()) } else { Err(Error::TimerNotActive) }
    }

    /// Lets it come `delay` later than it would.
    ///
    /// # Errors
    /// [`Error::TimerNotActive`] when it was called or cancelled before.
    pub fn delay(self, reactor: &mut Reactor, delay: Duration) -> Result<()> {
        let at = reactor.timers.due(self).ok_or(Error::TimerNotActive)? + delay;
        if reactor.timers.reset(self, at) { Ok(()) } else { Err(Error::TimerNotActive) }
    }

    /// Whether it is still to come.
    pub fn active(self, reactor: &Reactor) -> bool {
        reactor.timers.due(self).is_some()
    }

    /// When it comes; `None` when it was called or cancelled. (Twisted: `getTime`.)
    pub fn time(self, reactor: &Reactor) -> Option<Instant> {
        reactor.timers.due(self)
    }
}
