//! Deferreds for timers and for jobs on the thread pool.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use crate::Reactor;
use crate::deferred::Deferred;

/// Returns a Deferred that fires after `delay`. A zero delay means the next turn. Cancelling it
/// cancels the timer. (Twisted: `deferLater`.)
///
/// ```
/// use std::time::Duration;
/// use twistor::deferred::defer_later;
///
/// let mut reactor = twistor::Reactor::new()?;
/// defer_later(&mut reactor, Duration::from_millis(1)).done(|reactor, _| {
///     reactor.stop();
/// });
/// reactor.run()?;
/// # Ok::<(), twistor::Error>(())
/// ```
#[track_caller]
#[doc(alias = "deferLater")]
pub fn defer_later(reactor: &mut Reactor, delay: Duration) -> Deferred<()> {
    let timer = Rc::new(Cell::new(None::<crate::DelayedCall>));
    let cancelled = Rc::clone(&timer);
    let (resolver, deferred) = Deferred::with_canceller(&reactor.handle(), move |reactor, _| {
        // The timer is pending: a Deferred that the timer has fired is not cancelled.
        let _ = cancelled.get().map(|timer| timer.cancel(reactor));
    });
    timer.set(Some(reactor.call_later(delay, move |_| {
        // Fails only if the Deferred was cancelled in the same turn.
        let _ = resolver.callback(());
    })));
    deferred
}

/// Runs `job` on the thread pool and returns a Deferred of its return value. (Twisted:
/// `deferToThread`.)
///
/// Failures:
/// - [`JobPanicked`](crate::JobPanicked): the job panicked.
/// - [`Error::QueueFull`](crate::Error::QueueFull): the job queue of the pool is full.
///
/// Cancelling the Deferred makes it fail at once. The job still runs, and its result is dropped.
///
/// ```
/// use twistor::deferred::defer_to_thread;
///
/// let mut reactor = twistor::Reactor::new()?;
/// defer_to_thread(&mut reactor, || (1..=20).product::<u64>()).done(|reactor, factorial| {
///     assert_eq!(factorial.unwrap(), 2_432_902_008_176_640_000);
///     reactor.stop();
/// });
/// reactor.run()?;
/// # Ok::<(), twistor::Error>(())
/// ```
#[track_caller]
#[doc(alias("deferToThread", "to_thread", "spawn_blocking", "run_in_executor"))]
pub fn defer_to_thread<T: Send + 'static>(
    reactor: &mut Reactor,
    job: impl FnOnce() -> T + Send + 'static,
) -> Deferred<T> {
    let (resolver, deferred) = Deferred::new(&reactor.handle());
    let done = resolver.clone();
    let taken = reactor.call_in_thread(job, move |_, result| {
        // The error is ignored: the Deferred may have been cancelled.
        let _ = done.fire_result(result.map_err(Into::into));
    });
    if let Err(full) = taken {
        // Cannot fail: the Deferred was created above.
        let _ = resolver.errback(full);
    }
    deferred
}
