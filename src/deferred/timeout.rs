//! Deferreds that do not take for ever.

use std::cell::Cell;
use std::panic::Location;
use std::rc::Rc;
use std::time::Duration;

use super::{Deferred, Failure, FailureKind, IntoOutcome};
use crate::Reactor;

impl<T: 'static> Deferred<T> {
    /// Cancels it when its outcome is not there within `limit`; it fails as timed out then, unless its canceller found something
    /// better. It is about all that was added so far; what is added later has its own time. (Twisted: `addTimeout`.)
    ///
    /// ```
    /// use std::time::Duration;
    /// use twistor::deferred::defer_later;
    ///
    /// let mut reactor = twistor::Reactor::new()?;
    /// let deferred = defer_later(&mut reactor, Duration::from_secs(60));
    /// deferred.timeout(&mut reactor, Duration::from_millis(1)).done(|reactor, result| {
    ///     assert_eq!(result.unwrap_err().to_string(), "timed out after 1ms");
    ///     reactor.stop();
    /// });
    /// reactor.run()?;
    /// # Ok::<(), twistor::Error>(())
    /// ```
    #[track_caller]
    pub fn timeout(self, reactor: &mut Reactor, limit: Duration) -> Deferred<T> {
        let place = Location::caller();
        self.timeout_with(reactor, limit, move |_, outcome| match outcome {
            Err(failure) if failure.is_cancelled() => Err(Failure::at(place, FailureKind::TimedOut(limit))),
            outcome => outcome,
        })
    }

    /// As [`timeout`](Deferred::timeout); when the time is up and it was cancelled, `timed_out` has whatever came of
    /// that. (Twisted: `addTimeout(onTimeoutCancel)`.)
    pub fn timeout_with<R: IntoOutcome<Value = T>>(
        self,
        reactor: &mut Reactor,
        limit: Duration,
        timed_out: impl FnOnce(&mut Reactor, Result<T, Failure>) -> R + 'static,
    ) -> Deferred<T> {
        let up = Rc::new(Cell::new(false));
        let (deferred, late) = (self.abort_handle(), Rc::clone(&up));
        let timer = reactor.call_later(limit, move |_| {
            late.set(true);
            deferred.cancel();
        });
        self.step(move |reactor, outcome| {
            if up.get() {
                return timed_out(reactor, outcome.into_result()).next(None);
            }
            // It is pending: it sets `up` when it comes.
            let _ = timer.cancel(reactor);
            super::outcome::Next::Done(outcome)
        })
    }
}
