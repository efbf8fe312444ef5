//! Conversions between Deferreds and futures.

use std::cell::Cell;
use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, Location, catch_unwind};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use super::outcome::Outcome;
use super::{Deferred, Failure, FailureKind};
use crate::reactor::{CallbackKind, Handle, panic_message};

impl<T: 'static> Deferred<T> {
    /// Creates a Deferred from a future, which runs as a [task](crate::task). Cancelling or
    /// dropping the Deferred drops the future. A panic in the future is a failure. (Twisted:
    /// `ensureDeferred`, `fromFuture`.)
    ///
    /// ```
    /// use std::time::Duration;
    /// use twistor::{Deferred, Failure};
    ///
    /// let mut reactor = twistor::Reactor::new()?;
    /// let deferred = Deferred::from_future(&reactor, async {
    ///     twistor::task::sleep(Duration::from_millis(1)).await;
    ///     Ok("7".parse::<u32>()?)
    /// });
    /// deferred.done(|reactor, number| {
    ///     assert_eq!(number.unwrap(), 7);
    ///     reactor.stop();
    /// });
    /// reactor.run()?;
    /// # Ok::<(), twistor::Error>(())
    /// ```
    #[track_caller]
    #[doc(alias("ensureDeferred", "fromCoroutine", "fromFuture"))]
    pub fn from_future<F>(handle: &impl AsRef<Handle>, future: F) -> Deferred<T>
    where
        F: Future<Output = Result<T, Failure>> + 'static,
    {
        let (handle, place) = (handle.as_ref(), Location::caller());
        let task = Rc::new(Cell::new(None));
        let held = Rc::clone(&task);
        // Dropping the task cancels it. After it has fired the resolver this does nothing.
        let (resolver, deferred) = Deferred::with_canceller(handle, move |_, _| drop(held.take()));
        let mut future = Box::pin(future);
        let own = handle.clone();
        let spawned = handle.spawn(async move {
            let polled = |context: &mut Context<'_>| {
                let polled = catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(context)));
                polled.unwrap_or_else(|payload| {
                    let text = panic_message(&*payload);
                    // Tasks are polled with the reactor lent to the handle, so this call succeeds.
                    let noted = own.with_reactor(|reactor| {
                        Failure::panicked(place, reactor, CallbackKind::Task, payload)
                    });
                    Poll::Ready(
                        Err(noted.unwrap_or_else(|_| Failure::at(place, FailureKind::Panicked(text)))),
                    )
                })
            };
            let outcome = poll_fn(polled).await;
            // The error is ignored: the Deferred may have been cancelled in the same turn.
            let _ = resolver.fire_result(outcome);
        });
        task.set(Some(spawned));
        deferred
    }
}

/// Awaits the outcome. A task that is dropped while it awaits a Deferred cancels it.
impl<T: 'static> Future for Deferred<T> {
    type Output = Result<T, Failure>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<T, Failure>> {
        self.end.poll(context).map(Outcome::into_result)
    }
}
