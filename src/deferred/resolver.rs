//! The firing half of a Deferred.

use std::fmt;
use std::marker::PhantomData;
use std::rc::Rc;

use super::chain::Chain;
use super::outcome::Outcome;
use super::{AlreadyCalled, Failure};

/// The firing half of a [`Deferred`](super::Deferred). It fires at most once. Clones fire the same
/// Deferred, which fails if all of them are dropped before it is fired.
///
/// [`callback`](Resolver::callback) and [`errback`](Resolver::errback) run no user code, because
/// callbacks run from the loop. So a resolver can be fired anywhere on the reactor's thread: in a
/// `Drop`, in a task, without a reactor reference. Other threads use a
/// [`RemoteHandle`](crate::RemoteHandle) or pass their result through
/// [`defer_to_thread`](super::defer_to_thread).
///
/// ```
/// use twistor::{Deferred, Resolver};
///
/// let mut reactor = twistor::Reactor::new()?;
/// let (resolver, deferred): (Resolver<u32>, Deferred<u32>) = Deferred::new(&reactor);
/// deferred.done(|reactor, result| {
///     assert_eq!(result.unwrap(), 42);
///     reactor.stop();
/// });
/// resolver.callback(42)?;
/// assert!(resolver.callback(43).is_err(), "it was fired before");
/// reactor.run()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[doc(alias("oneshot", "Promise"))]
pub struct Resolver<T> {
    chain: Rc<Chain>,
    value: PhantomData<fn(T)>,
}

impl<T: 'static> Resolver<T> {
    /// Fires the Deferred with a result. (Twisted: `callback`.)
    ///
    /// # Errors
    /// [`AlreadyCalled`] if it was fired or cancelled before. Exception: the first firing after a
    /// [`cancel`](super::Deferred::cancel) without a canceller is ignored and returns `Ok`.
    #[doc(alias = "set_result")]
    pub fn callback(&self, value: T) -> Result<(), AlreadyCalled> {
        self.chain.fire(Outcome::of(value))
    }

    /// Fires the Deferred with a failure. (Twisted: `errback`.)
    ///
    /// # Errors
    /// Same as [`callback`](Resolver::callback).
    #[track_caller]
    #[doc(alias = "set_exception")]
    pub fn errback(&self, failure: impl Into<Failure>) -> Result<(), AlreadyCalled> {
        self.chain.fire(Outcome::Failed(failure.into()))
    }

    /// Fires with a lent value: `give_back` gets it if no callback or task takes it, also if the
    /// Deferred was fired before.
    pub(super) fn lend(&self, value: T, give_back: impl FnOnce(T) + 'static) {
        let _ = self.fire_outcome(Outcome::lend(value, give_back));
    }

    pub(super) fn fire_result(&self, result: Result<T, Failure>) -> Result<(), AlreadyCalled> {
        self.fire_outcome(Outcome::from_result(result))
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

    /// Whether the Deferred is unfired and not being cancelled.
    pub(super) fn is_wanted(&self) -> bool {
        self.chain.is_wanted()
    }

    /// Whether the Deferred was fired, or its cancellation has completed. (Twisted: `called`.)
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
