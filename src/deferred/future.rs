//! Between Deferreds and `async` code: each awaits the other.

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
    /// What a future comes to: it runs as a [task](crate::task). To cancel the Deferred, or to drop it, drops the future; a panic in it is a
    /// failure. (Twisted: `ensureDeferred`, `fromFuture`.)
    ///
    /// ```
    /// use std::time::Duration;
    /// use twistor::{Deferred, Failure};
    ///
    /// let mut reactor = twistor::Reactor::new()?;
    /// let deferred = Deferred::from_future(&reactor.handle(), async {
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
    pub fn from_future<F>(handle: &Handle, future: F) -> Deferred<T>
    where
        F: Future<Output = Result<T, Failure>> + 'static,
    {
        let place = Location::caller();
        let task = Rc::new(Cell::new(None));
        let held = Rc::clone(&task);
        // Dropped, the task is cancelled; when it has fired this there is nothing left to cancel.
        let (resolver, deferred) = Deferred::with_canceller(handle, move |_, _| drop(held.take()));
        let mut future = Box::pin(future);
        let own = handle.clone();
        let spawned = handle.spawn(async move {
            let polled = |context: &mut Context<'_>| {
                let polled = catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(context)));
                polled.unwrap_or_else(|payload| {
                    let text = panic_message(&*payload);
                    // The reactor is at hand wherever its tasks are polled.
                    let noted = own.with_reactor(|reactor| {
                        Failure::panicked(place, reactor, CallbackKind::Task, payload)
                    });
                    Poll::Ready(
                        Err(noted.unwrap_or_else(|_| Failure::at(place, FailureKind::Panicked(text)))),
                    )
                })
            };
            let outcome = poll_fn(polled).await;
            // Cancelled in the same turn, nobody wants it.
            let _ = resolver.fire(outcome);
        });
        task.set(Some(spawned));
        deferred
    }
}

/// What a task awaits. A task that is dropped while it does cancels it.
impl<T: 'static> Future for Deferred<T> {
    type Output = Result<T, Failure>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<T, Failure>> {
        self.end.poll(context).map(Outcome::into_result)
    }
}
