//! What a timer or a thread brings, as a Deferred.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use crate::Reactor;
use crate::deferred::Deferred;

/// Fires after `delay`; with a delay of zero in the next turn. To cancel it cancels the timer. (Twisted: `deferLater`.)
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
pub fn defer_later(reactor: &mut Reactor, delay: Duration) -> Deferred<()> {
    let timer = Rc::new(Cell::new(None::<crate::DelayedCall>));
    let cancelled = Rc::clone(&timer);
    let (resolver, deferred) = Deferred::with_canceller(&reactor.handle(), move |reactor, _| {
        // It is pending: when it has come the Deferred is fired, and not cancelled any more.
        let _ = cancelled.get().map(|timer| timer.cancel(reactor));
    });
    timer.set(Some(reactor.call_later(delay, move |_| {
        // Not fired by anybody else; cancelled in the same turn it may be.
        let _ = resolver.callback(());
    })));
    deferred
}

/// Runs `job` on a thread of the pool: what it returns is the result. (Twisted: `deferToThread`.)
///
/// It fails with [`JobPanicked`](crate::JobPanicked) when the job panics, and with [`Error::QueueFull`](crate::Error::QueueFull) when too many
/// jobs wait. When it is cancelled it fails at once; the job runs all the same, and its result is dropped.
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
pub fn defer_to_thread<T: Send + 'static>(
    reactor: &mut Reactor,
    job: impl FnOnce() -> T + Send + 'static,
) -> Deferred<T> {
    let (resolver, deferred) = Deferred::new(&reactor.handle());
    let done = resolver.clone();
    let taken = reactor.call_in_thread(job, move |_, result| {
        // When it was cancelled, nobody wants it.
        let _ = done.fire(result.map_err(Into::into));
    });
    if let Err(full) = taken {
        // It is new.
        let _ = resolver.errback(full);
    }
    deferred
}
