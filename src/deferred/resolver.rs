//! The firing end of a Deferred.

use std::fmt;
use std::marker::PhantomData;
use std::rc::Rc;

use super::chain::Chain;
use super::outcome::Outcome;
use super::{AlreadyCalled, Failure};

/// What fires a [`Deferred`](super::Deferred), once. Clones fire the same one; when all of them are dropped before that, it fails.
///
/// Nothing is called inside of [`callback`](Resolver::callback) and [`errback`](Resolver::errback): callbacks come from the loop. So it can be
/// fired anywhere on the reactor's thread: in a `Drop`, in a task, without a reactor at hand. Other threads go by a
/// [`RemoteHandle`](crate::RemoteHandle), or give their result to [`defer_to_thread`](super::defer_to_thread).
///
/// ```
/// use twistor::{Deferred, Resolver};
///
/// let mut reactor = twistor::Reactor::new()?;
/// let (resolver, deferred): (Resolver<u32>, Deferred<u32>) = Deferred::new(&reactor.handle());
/// deferred.done(|reactor, result| {
///     assert_eq!(result.unwrap(), 42);
///     reactor.stop();
/// });
/// resolver.callback(42)?;
/// assert!(resolver.callback(43).is_err(), "it was fired before");
/// reactor.run()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Resolver<T> {
    chain: Rc<Chain>,
    value: PhantomData<fn(T)>,
}

impl<T: 'static> Resolver<T> {
    /// Fires it with a result. (Twisted: `callback`.)
    ///
    /// # Errors
    /// [`AlreadyCalled`] when it was fired before, or was cancelled; but the first firing after a [`cancel`](super::Deferred::cancel)
    /// that nobody could be told of is ignored.
    pub fn callback(&self, value: T) -> Result<(), AlreadyCalled> {
        self.chain.fire(Outcome::of(value))
    }

    /// Fires it with a failure. (Twisted: `errback`.)
    ///
    /// # Errors
    /// As [`callback`](Resolver::callback).
    #[track_caller]
    pub fn errback(&self, failure: impl Into<Failure>) -> Result<(), AlreadyCalled> {
        self.chain.fire(Outcome::Failed(failure.into()))
    }

    /// Fires it with one or the other.
    ///
    /// # Errors
    /// As [`callback`](Resolver::callback).
    pub fn fire(&self, result: Result<T, Failure>) -> Result<(), AlreadyCalled> {
        self.chain.fire(Outcome::from_result(result))
    }
}

impl<T: 'static> Resolver<T> {
    /// Fires it with a value that `give_back` takes when nobody takes it here, even if it was fired before.
    pub(super) fn lend(&self, value: T, give_back: impl FnOnce(T) + 'static) {
        let _ = self.fire_outcome(Outcome::lend(value, give_back));
    }

    pub(super) fn fire_outcome(&self, outcome: Outcome) -> Result<(), AlreadyCalled> {
        self.chain.fire(outcome)
    }
}

impl<T> Resolver<T> {
    pub(super) fn new(chain: &Rc<Chain>) -> Resolver<T> {
        chain.add_resolver();
        Resolver { chain: Rc::clone(chain), value: PhantomData }
    }

    /// Whether it has a result to wait for, and nobody has begun to give it up.
    pub(super) fn is_wanted(&self) -> bool {
        self.chain.is_wanted()
    }

    /// Whether it was fired, or cancelled: nobody waits for this result any more. (Twisted: `called`.)
    pub fn is_fired(&self) -> bool {
        self.chain.called()
    }
}

impl<T> Clone for Resolver<T> {
    fn clone(&self) -> Resolver<T> {
        Resolver::new(&self.chain)
    }
}

impl<T> Drop for Resolver<T> {
    fn drop(&mut self) {
        self.chain.drop_resolver();
    }
}

impl<T> fmt::Debug for Resolver<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Resolver").field("called", &self.is_fired()).finish_non_exhaustive()
    }
}
