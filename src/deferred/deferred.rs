//! The receiving half of a Deferred: adding callbacks, cancelling, awaiting.

use std::fmt;
use std::marker::PhantomData;
use std::panic::Location;
use std::rc::{Rc, Weak};

use crate::Reactor;
use crate::deferred::chain::{Chain, End};
use crate::deferred::outcome::{IntoOutcome, Next, Outcome};
use crate::deferred::{Failure, Resolver};
use crate::reactor::Handle;

/// A result that is not there yet, and the callbacks that will handle it. The [module docs](super)
/// explain the model. (Twisted: `Deferred`.)
///
/// A Deferred that is dropped before its result is there is cancelled. [`done`](Deferred::done) and
/// [`detach`](Deferred::detach) let it run without an owner.
#[must_use = "dropped, it is cancelled: `done` takes the outcome, `detach` lets it go on by itself"]
#[doc(alias("Future", "Promise", "oneshot"))]
pub struct Deferred<T> {
    pub(in crate::deferred) end: End,
    value: PhantomData<fn() -> T>,
}

impl<T: 'static> Deferred<T> {
    /// Creates a pair of a [`Resolver`] and the Deferred that it fires. This Deferred has no
    /// canceller: the producer does not learn of a [`cancel`](Deferred::cancel), and the first
    /// firing after it is ignored.
    #[track_caller]
    pub fn new(handle: &impl AsRef<Handle>) -> (Resolver<T>, Deferred<T>) {
        let end = Chain::unfired(handle.as_ref(), Location::caller(), None);
        (Resolver::new(end.chain()), Deferred::from_end(end))
    }

    /// Creates a pair whose `canceller` aborts the operation that produces the result. The loop
    /// calls it once, when the Deferred is cancelled. The canceller may fire the Deferred. If it
    /// does not, the Deferred fails as cancelled. (Twisted: `Deferred(canceller)`.)
    ///
    /// ```
    /// use std::time::Duration;
    /// use twistor::{Deferred, Reactor};
    ///
    /// /// Fires after a minute, or at once when it is cancelled.
    /// fn in_a_minute(reactor: &mut Reactor) -> Deferred<&'static str> {
    ///     let slot = std::rc::Rc::new(std::cell::Cell::new(None));
    ///     let (resolver, deferred) = Deferred::with_canceller(&reactor, {
    ///         let slot = slot.clone();
    ///         move |reactor, resolver| {
    ///             let timer: Option<twistor::DelayedCall> = slot.take();
    ///             // The timer is still pending: a fired Deferred is not cancelled.
    ///             let _ = timer.map(|timer| timer.cancel(reactor));
    ///             let _ = resolver.callback("early");
    ///         }
    ///     });
    ///     slot.set(Some(reactor.call_later(Duration::from_secs(60), move |_| {
    ///         let _ = resolver.callback("in time");
    ///     })));
    ///     deferred
    /// }
    ///
    /// let mut reactor = Reactor::new()?;
    /// let deferred = in_a_minute(&mut reactor);
    /// deferred.cancel();
    /// deferred.done(|reactor, result| {
    ///     assert_eq!(result.unwrap(), "early");
    ///     reactor.stop();
    /// });
    /// reactor.run()?;
    /// # Ok::<(), twistor::Error>(())
    /// ```
    #[track_caller]
    pub fn with_canceller(
        handle: &impl AsRef<Handle>,
        canceller: impl FnOnce(&mut Reactor, &Resolver<T>) + 'static,
    ) -> (Resolver<T>, Deferred<T>) {
        Deferred::with_canceller_at(handle.as_ref(), Location::caller(), canceller)
    }

    /// Creates a Deferred that has already been fired with `value`. (Twisted: `succeed`.)
    #[track_caller]
    pub fn succeed(handle: &impl AsRef<Handle>, value: T) -> Deferred<T> {
        Deferred::from_end(Chain::fired(handle.as_ref(), Location::caller(), Outcome::of(value)))
    }

    /// Creates a fired Deferred that returns its value: `give_back` gets it if no callback or task
    /// takes it.
    #[track_caller]
    pub(in crate::deferred) fn lend(
        handle: &Handle,
        value: T,
        give_back: impl FnOnce(T) + 'static,
    ) -> Deferred<T> {
        Deferred::from_end(Chain::fired(handle, Location::caller(), Outcome::lend(value, give_back)))
    }

    /// Creates a Deferred that has already failed. (Twisted: `fail`.)
    #[track_caller]
    pub fn fail(handle: &impl AsRef<Handle>, failure: impl Into<Failure>) -> Deferred<T> {
        Deferred::from_end(Chain::fired(handle.as_ref(), Location::caller(), Outcome::Failed(failure.into())))
    }

    // -- callbacks --

    /// Adds a callback that converts the result and cannot fail.
    #[doc(alias = "addCallback")]
    pub fn map<U: 'static>(self, callback: impl FnOnce(&mut Reactor, T) -> U + 'static) -> Deferred<U> {
        self.step(move |reactor, outcome| {
            Next::Done(match outcome.open() {
                Ok((value, slot)) => Outcome::refill(Some(slot), callback(reactor, value)),
                Err(failure) => Outcome::Failed(failure),
            })
        })
    }

    /// Adds a callback for the result. `callback` returns a `Result`, or another Deferred, whose
    /// result the chain waits for. (Twisted: `addCallback`.)
    #[doc(alias("addCallback", "inlineCallbacks"))]
    pub fn then<R: IntoOutcome>(
        self,
        callback: impl FnOnce(&mut Reactor, T) -> R + 'static,
    ) -> Deferred<R::Value> {
        self.step(move |reactor, outcome| match outcome.open() {
            Ok((value, slot)) => callback(reactor, value).next(Some(slot)),
            Err(failure) => Next::Done(Outcome::Failed(failure)),
        })
    }

    /// Adds an errback for a failure, which returns a result or another failure. (Twisted:
    /// `addErrback`.)
    #[doc(alias = "addErrback")]
    pub fn or_else<R: IntoOutcome<Value = T>>(
        self,
        errback: impl FnOnce(&mut Reactor, Failure) -> R + 'static,
    ) -> Deferred<T> {
        self.step(move |reactor, outcome| match outcome {
            Outcome::Failed(failure) => errback(reactor, failure).next(None),
            value => Next::Done(value),
        })
    }

    /// Adds a callback for the result and an errback for a failure. A failure of `callback` is not
    /// passed to `errback`. (Twisted: `addCallbacks`.)
    #[doc(alias = "addCallbacks")]
    pub fn then_else<R: IntoOutcome>(
        self,
        callback: impl FnOnce(&mut Reactor, T) -> R + 'static,
        errback: impl FnOnce(&mut Reactor, Failure) -> R + 'static,
    ) -> Deferred<R::Value> {
        self.step(move |reactor, outcome| match outcome.open() {
            Ok((value, slot)) => callback(reactor, value).next(Some(slot)),
            Err(failure) => errback(reactor, failure).next(None),
        })
    }

    /// Adds a callback for either outcome. (Twisted: `addBoth`.)
    #[doc(alias = "addBoth")]
    pub fn then_always<R: IntoOutcome>(
        self,
        callback: impl FnOnce(&mut Reactor, Result<T, Failure>) -> R + 'static,
    ) -> Deferred<R::Value> {
        self.step(move |reactor, outcome| match outcome.open() {
            Ok((value, slot)) => callback(reactor, Ok(value)).next(Some(slot)),
            Err(failure) => callback(reactor, Err(failure)).next(None),
        })
    }

    /// Adds a callback that sees the outcome by reference and does not change it.
    pub fn inspect(self, look: impl FnOnce(&mut Reactor, Result<&T, &Failure>) + 'static) -> Deferred<T> {
        self.step(move |reactor, outcome| {
            look(reactor, outcome.value());
            Next::Done(outcome)
        })
    }

    /// Adds the last callback, for either outcome, and detaches the Deferred.
    pub fn done(self, last: impl FnOnce(&mut Reactor, Result<T, Failure>) + 'static) {
        self.then_always(last).detach();
    }

    /// Gives up ownership: the Deferred runs on and can no longer be cancelled by its owner. A
    /// failure at its end is logged as an error, unless it is a cancellation or a panic.
    pub fn detach(self) {
        self.end.detach();
    }

    // -- from outside --

    /// Cancels the Deferred. (Twisted: `cancel`.)
    ///
    /// - If it waits for another Deferred that a callback returned, that Deferred is cancelled.
    /// - If it has not been fired and has a canceller, the loop calls the canceller.
    /// - If it has not been fired and has no canceller, it fails at once as cancelled.
    /// - If it has been fired, nothing happens.
    #[track_caller]
    pub fn cancel(&self) {
        self.end.chain().cancel(Location::caller());
    }

    /// A handle that cancels this Deferred from elsewhere.
    pub fn cancel_handle(&self) -> CancelHandle {
        CancelHandle { chain: Rc::downgrade(self.end.chain()) }
    }

    /// Stops callbacks and holds the outcome back until the returned guard is dropped. Guards nest.
    /// (Twisted: `pause`.)
    pub fn pause(&self) -> PauseGuard {
        let chain = Rc::clone(self.end.chain());
        chain.pause();
        PauseGuard { chain }
    }

    /// Takes the outcome, if it is there and no callback is pending. (Twisted: `successResultOf`,
    /// `failureResultOf`, `assertNoResult`.)
    pub fn take_outcome(&mut self) -> Option<Result<T, Failure>> {
        self.end.take().map(Outcome::into_result)
    }

    /// A handle to the reactor of this Deferred.
    pub fn handle(&self) -> &Handle {
        self.end.chain().handle()
    }

    // -- constructors --

    /// Wraps the return value of a callback.
    #[track_caller]
    pub(in crate::deferred) fn of<R: IntoOutcome<Value = T>>(handle: &Handle, returned: R) -> Deferred<T> {
        Deferred::from_end(match returned.next(None) {
            Next::Done(outcome) => Chain::fired(handle, Location::caller(), outcome),
            Next::Wait(end) => end,
        })
    }

    pub(in crate::deferred) fn with_canceller_at(
        handle: &Handle,
        place: &'static Location<'static>,
        canceller: impl FnOnce(&mut Reactor, &Resolver<T>) + 'static,
    ) -> (Resolver<T>, Deferred<T>) {
        let cancel =
            move |reactor: &mut Reactor, chain: &Rc<Chain>| canceller(reactor, &Resolver::new(chain));
        let end = Chain::unfired(handle, place, Some(Box::new(cancel)));
        (Resolver::new(end.chain()), Deferred::from_end(end))
    }

    /// Adds the last callback, which gets the untouched outcome: a lent value stays lent.
    pub(in crate::deferred) fn last(self, last: impl FnOnce(Outcome) + 'static) {
        let last = self.step::<()>(move |_, outcome| {
            last(outcome);
            Next::Done(Outcome::of(()))
        });
        last.detach();
    }

    pub(in crate::deferred) fn from_end(end: End) -> Deferred<T> {
        Deferred { end, value: PhantomData }
    }

    pub(in crate::deferred) fn step<U: 'static>(
        self,
        step: impl FnOnce(&mut Reactor, Outcome) -> Next + 'static,
    ) -> Deferred<U> {
        self.end.push(Box::new(step));
        Deferred::from_end(self.end)
    }
}

impl<T> fmt::Debug for Deferred<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let chain = self.end.chain();
        f.debug_struct("Deferred")
            .field("state", &chain.describe())
            .field("made_at", &format_args!("{}", chain.made_at()))
            .finish()
    }
}

/// A handle that cancels a [`Deferred`] owned elsewhere. It keeps nothing alive.
#[derive(Clone)]
pub struct CancelHandle {
    chain: Weak<Chain>,
}

impl CancelHandle {
    /// Same as [`Deferred::cancel`]. Does nothing if the Deferred is gone.
    #[track_caller]
    pub fn cancel(&self) {
        self.cancel_at(Location::caller());
    }

    pub(in crate::deferred) fn cancel_at(&self, place: &'static Location<'static>) {
        if let Some(chain) = self.chain.upgrade() {
            chain.cancel(place);
        }
    }
}

impl fmt::Debug for CancelHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CancelHandle").finish_non_exhaustive()
    }
}

/// A guard that pauses a [`Deferred`] until it is dropped.
#[must_use = "dropped, it lets the Deferred go on"]
pub struct PauseGuard {
    chain: Rc<Chain>,
}

impl PauseGuard {
    /// Resumes the Deferred if this is its last guard. Dropping the guard does the same. (Twisted:
    /// `unpause`.)
    pub fn unpause(self) {}
}

impl Drop for PauseGuard {
    fn drop(&mut self) {
        self.chain.unpause();
    }
}

impl fmt::Debug for PauseGuard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PauseGuard").finish_non_exhaustive()
    }
}
