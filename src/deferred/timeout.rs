//! Timeouts for Deferreds.

use std::cell::Cell;
use std::panic::Location;
use std::rc::Rc;
use std::time::Duration;

use super::{Deferred, Failure, FailureKind, IntoOutcome};
use crate::Reactor;

impl<T: 'static> Deferred<T> {
    /// Cancels the Deferred if its outcome is not there within `limit`. It then fails as timed out,
    /// unless its canceller provided another outcome. The limit covers the callbacks added so far,
    /// not those added later. (Twisted: `addTimeout`.)
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
    #[doc(alias = "addTimeout")]
    pub fn timeout(self, reactor: &mut Reactor, limit: Duration) -> Deferred<T> {
        let place = Location::caller();
        self.timeout_with(reactor, limit, move |_, outcome| match outcome {
            Err(failure) if failure.is_cancelled() => Err(Failure::at(place, FailureKind::TimedOut(limit))),
            outcome => outcome,
        })
    }

    /// Same as [`timeout`](Deferred::timeout), with a callback. When the limit has passed and the
    /// Deferred was cancelled, `timed_out` gets the resulting outcome. (Twisted:
    /// `addTimeout(onTimeoutCancel)`.)
    pub fn timeout_with<R: IntoOutcome<Value = T>>(
        self,
        reactor: &mut Reactor,
        limit: Duration,
        timed_out: impl FnOnce(&mut Reactor, Result<T, Failure>) -> R + 'static,
    ) -> Deferred<T> {
        let expired = Rc::new(Cell::new(false));
        let (deferred, expired_by_timer) = (self.cancel_handle(), Rc::clone(&expired));
        let timer = reactor.call_later(limit, move |_| {
            expired_by_timer.set(true);
            deferred.cancel();
        });
        self.step(move |reactor, outcome| {
            if expired.get() {
                return timed_out(reactor, outcome.into_result()).next(None);
            }
            // The timer is pending: otherwise it would have set the flag.
            let _ = timer.cancel(reactor);
            super::outcome::Next::Done(outcome)
        })
    }
}
