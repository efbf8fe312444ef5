//! Deferreds for host name look-ups.

use std::cell::Cell;
use std::rc::Rc;

use crate::deferred::Deferred;
use crate::{Answer, Lookup, Query, Reactor, Resolution};

/// Looks up a host name with the [resolver](Reactor::set_resolver) of the reactor. Cancelling or
/// dropping the Deferred cancels the look-up. [`Query::timeout`] limits it. (Twisted:
/// `IReactorCore.resolve`, with all addresses of both families.)
///
/// Failures:
/// - [`Reason`](crate::Reason): the look-up failed, or the name has no address.
/// - [`Error`](crate::Error): the look-up was not started. See [`Reactor::look_up`], which also
///   reports addresses as they are found.
///
/// ```
/// use twistor::deferred;
///
/// let mut reactor = twistor::Reactor::new()?;
/// deferred::resolve(&mut reactor, ("127.0.0.1", 80)).done(|reactor, resolution| {
///     assert_eq!(resolution.unwrap().addresses, ["127.0.0.1:80".parse().unwrap()]);
///     reactor.stop();
/// });
/// reactor.run()?;
/// # Ok::<(), twistor::Error>(())
/// ```
#[track_caller]
pub fn resolve(reactor: &mut Reactor, query: impl Into<Query>) -> Deferred<Resolution> {
    let lookup = Rc::new(Cell::new(None::<Lookup>));
    let cancelled = Rc::clone(&lookup);
    let (resolver, deferred) = Deferred::with_canceller(&reactor.handle(), move |reactor, _| {
        // A look-up that has ended in the same turn is over already.
        let _ = cancelled.get().map(|lookup| lookup.cancel(reactor));
    });
    let done = resolver.clone();
    let started = reactor.look_up(query, move |_, answer| {
        if let Answer::End(outcome) = answer {
            // The error is ignored: the Deferred may have been cancelled.
            let _ = done.fire_result(outcome.map_err(Into::into));
        }
    });
    match started {
        Ok(started) => lookup.set(Some(started)),
        Err(error) => {
            // Cannot fail: the Deferred was created above.
            let _ = resolver.errback(error);
        }
    }
    deferred
}
