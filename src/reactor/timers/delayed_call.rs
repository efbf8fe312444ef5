//! Setting, cancelling and postponing timed calls.

use std::time::Duration;

use crate::reactor::{CallbackKind, DelayedCall, Error, Instant, Reactor, Result, TimedCall};

impl Reactor {
    /// Calls `call` at [`now`](Reactor::now) `+ delay`, never inside this call. (Twisted:
    /// `callLater`.)
    ///
    /// With a delay of zero the call comes in the next turn. Calls of equal time come in the order
    /// in which they were set.
    ///
    /// The loop polls once between the due time and the call, and delivers what arrived first. So a
    /// timeout that is late, after a slow callback or while the process was stopped, does not fail
    /// a peer that answered in time.
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
    #[doc(alias("callLater", "call_at", "add_timer", "insert_source"))]
    pub fn call_later(&mut self, delay: Duration, call: impl FnOnce(&mut Reactor) + 'static) -> DelayedCall {
        let at = self.now() + delay;
        self.timers.set(at, TimedCall::Reactor(Box::new(call)))
    }

    /// The number of pending timed calls, including internal ones. (Twisted: `getDelayedCalls`.)
    #[doc(alias = "getDelayedCalls")]
    pub fn delayed_call_count(&self) -> usize {
        self.timers.len()
    }

    /// Cancels a user's call and drops it from the loop.
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
    /// [`Error::TimerNotActive`] when it has run or was cancelled. Inside the call itself it has
    /// run.
    pub fn cancel(self, reactor: &mut Reactor) -> Result<()> {
        reactor.timers.cancel(self).map(drop).ok_or(Error::TimerNotActive)
    }

    /// Moves the call to `delay` from now. Among calls of equal time, it is ordered as if it had
    /// been set by this call.
    ///
    /// # Errors
    /// [`Error::TimerNotActive`] when it has run or was cancelled.
    pub fn reset(self, reactor: &mut Reactor, delay: Duration) -> Result<()> {
        let at = reactor.now() + delay;
        if reactor.timers.reset(self, at) { Ok(()) } else { Err(Error::TimerNotActive) }
    }

    /// Postpones the call by `delay`.
    ///
    /// # Errors
    /// [`Error::TimerNotActive`] when it has run or was cancelled.
    pub fn delay(self, reactor: &mut Reactor, delay: Duration) -> Result<()> {
        let at = reactor.timers.due(self).ok_or(Error::TimerNotActive)? + delay;
        if reactor.timers.reset(self, at) { Ok(()) } else { Err(Error::TimerNotActive) }
    }

    /// Whether the call is pending.
    pub fn active(self, reactor: &Reactor) -> bool {
        reactor.timers.due(self).is_some()
    }

    /// The due time; `None` when the call has run or was cancelled. (Twisted: `getTime`.)
    #[doc(alias("getTime", "when"))]
    pub fn time(self, reactor: &Reactor) -> Option<Instant> {
        reactor.timers.due(self)
    }
}
