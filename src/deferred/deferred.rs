//! The receiving end: callbacks, cancelling, awaiting.

use std::fmt;
use std::marker::PhantomData;
use std::panic::Location;
use std::rc::{Rc, Weak};

use crate::Reactor;
use crate::deferred::chain::{Chain, End};
use crate::deferred::outcome::{IntoOutcome, Next, Outcome};
use crate::deferred::{Failure, Resolver};
use crate::reactor::Handle;

/// A result that is not there yet, and what is to be done with it. See [the module](super) for the story.
/// (Twisted: `Deferred`.)
///
/// Dropped before its result is there, it is cancelled: what is in nobody's hands is wanted by nobody.
/// [`done`](Deferred::done) and [`detach`](Deferred::detach) let it go on by itself.
#[must_use = "dropped, it is cancelled: `done` takes the outcome, `detach` lets it go on by itself"]
pub struct Deferred<T> {
    pub(in crate::deferred) end: End,
    value: PhantomData<fn() -> T>,
}

impl<T: 'static> Deferred<T> {
    /// One that a [`Resolver`] fires. When it is cancelled nobody is told, and the first firing after that is ignored.
    #[track_caller]
    pub fn new(handle: &Handle) -> (Resolver<T>, Deferred<T>) {
        let end = Chain::unfired(handle, Location::caller(), None);
        (Resolver::new(end.chain()), Deferred::from_end(end))
    }

    /// One whose `canceller` gives up what leads to the result. It is called from the loop, once, when the Deferred is cancelled.
    /// It may fire it; otherwise it fails as cancelled. (Twisted: `Deferred(canceller)`.)
    ///
    /// ```
    /// use std::time::Duration;
    /// use twistor::{Deferred, Reactor};
    ///
    /// /// In a minute, or with its cancellation, at once.
    /// fn in_a_minute(reactor: &mut Reactor) -> Deferred<&'static str> {
    ///     let slot = std::rc::Rc::new(std::cell::Cell::new(None));
    ///     let (resolver, deferred) = Deferred::with_canceller(&reactor.handle(), {
    ///         let slot = slot.clone();
    ///         move |reactor, resolver| {
    ///             let timer: Option<twistor::DelayedCall> = slot.take();
    ///             // It has not come: whatever is fired is not cancelled.
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
        handle: &Handle,
        canceller: impl FnOnce(&mut Reactor, &Resolver<T>) + 'static,
    ) -> (Resolver<T>, Deferred<T>) {
        Deferred::with_canceller_at(handle, Location::caller(), canceller)
    }

    /// One that has its result. (Twisted: `succeed`.)
    #[track_caller]
    pub fn succeed(handle: &Handle, value: T) -> Deferred<T> {
        Deferred::from_end(Chain::fired(handle, Location::caller(), Outcome::of(value)))
    }

    /// One that has its result, which `give_back` takes when nobody takes it here.
    #[track_caller]
    pub(in crate::deferred) fn lend(
        handle: &Handle,
        value: T,
        give_back: impl FnOnce(T) + 'static,
    ) -> Deferred<T> {
        Deferred::from_end(Chain::fired(handle, Location::caller(), Outcome::lend(value, give_back)))
    }

    /// One that has failed. (Twisted: `fail`.)
    #[track_caller]
    pub fn fail(handle: &Handle, failure: impl Into<Failure>) -> Deferred<T> {
        Deferred::from_end(Chain::fired(handle, Location::caller(), Outcome::Failed(failure.into())))
    }

    // -- callbacks --

    /// With the result, to another one.
    pub fn map<U: 'static>(self, callback: impl FnOnce(&mut Reactor, T) -> U + 'static) -> Deferred<U> {
        self.step(move |reactor, outcome| {
            Next::Done(match outcome.open() {
                Ok((value, slot)) => Outcome::refill(Some(slot), callback(reactor, value)),
                Err(failure) => Outcome::Failed(failure),
            })
        })
    }

    /// With the result, to what may fail or take its time: `callback` returns a `Result`, or another Deferred, whose result is
    /// waited for. (Twisted: `addCallback`.)
    pub fn then<R: IntoOutcome>(
        self,
        callback: impl FnOnce(&mut Reactor, T) -> R + 'static,
    ) -> Deferred<R::Value> {
        self.step(move |reactor, outcome| match outcome.open() {
            Ok((value, slot)) => callback(reactor, value).next(Some(slot)),
            Err(failure) => Next::Done(Outcome::Failed(failure)),
        })
    }

    /// With a failure, back to a result, or to another failure. (Twisted: `addErrback`.)
    pub fn or_else<R: IntoOutcome<Value = T>>(
        self,
        errback: impl FnOnce(&mut Reactor, Failure) -> R + 'static,
    ) -> Deferred<T> {
        self.step(move |reactor, outcome| match outcome {
            Outcome::Failed(failure) => errback(reactor, failure).next(None),
            value => Next::Done(value),
        })
    }

    /// With the result, or with the failure. What `callback` fails with does not go to `errback`. (Twisted: `addCallbacks`.)
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

    /// With whatever came. (Twisted: `addBoth`.)
    pub fn then_always<R: IntoOutcome>(
        self,
        callback: impl FnOnce(&mut Reactor, Result<T, Failure>) -> R + 'static,
    ) -> Deferred<R::Value> {
        self.step(move |reactor, outcome| match outcome.open() {
            Ok((value, slot)) => callback(reactor, Ok(value)).next(Some(slot)),
            Err(failure) => callback(reactor, Err(failure)).next(None),
        })
    }

    /// Looks at whatever came, and lets it pass.
    pub fn inspect(self, look: impl FnOnce(&mut Reactor, Result<&T, &Failure>) + 'static) -> Deferred<T> {
        self.step(move |reactor, outcome| {
            look(reactor, outcome.value());
            Next::Done(outcome)
        })
    }

    /// The last callback, whatever came: from here on it goes on by itself.
    pub fn done(self, last: impl FnOnce(&mut Reactor, Result<T, Failure>) + 'static) {
        self.then_always(last).detach();
    }

    /// Lets it go on by itself. Nobody can cancel it any more; a failure at its end is logged as an error, but for a
    /// cancellation.
    pub fn detach(self) {
        self.end.detach();
    }

    // -- from outside --

    /// Says that the result is not wanted any more. (Twisted: `cancel`.)
    ///
    /// While it waits for another one that a callback has returned, that one is cancelled. Else its canceller is called, from the loop; without
    /// one it fails at once, as cancelled. What was fired before stays as it is.
    #[track_caller]
    pub fn cancel(&self) {
        self.end.chain().cancel(Location::caller());
    }

    /// Cancels it from somewhere else.
    pub fn abort_handle(&self) -> CancelHandle {
        CancelHandle { chain: Rc::downgrade(self.end.chain()) }
    }

    /// Lets no callback run, and no result out, while what is returned is there. Several of them add up. (Twisted: `pause`.)
    pub fn pause(&self) -> PauseGuard {
        let chain = Rc::clone(self.end.chain());
        chain.pause();
        PauseGuard { chain }
    }

    /// The outcome, if it is there, and no callback is left to change it. Nobody else gets it then. (Twisted: `successResultOf`,
    /// `failureResultOf`, `assertNoResult`.)
    pub fn take_outcome(&mut self) -> Option<Result<T, Failure>> {
        self.end.take().map(Outcome::into_result)
    }

    /// A handle to its reactor.
    pub fn handle(&self) -> &Handle {
        self.end.chain().handle()
    }

    // -- how it is made --

    /// What a callback has returned.
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

    /// The last callback, which has the outcome as it is: a lent value stays lent.
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

/// Cancels a [`Deferred`] whose end somebody else has. It keeps nothing alive.
#[derive(Clone)]
pub struct CancelHandle {
    chain: Weak<Chain>,
}

impl CancelHandle {
    /// As [`Deferred::cancel`]; nothing when it is gone.
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
        f.debug_struct("AbortHandle").finish_non_exhaustive()
    }
}

/// Holds up a [`Deferred`] until it is dropped.
#[must_use = "dropped, it lets the Deferred go on"]
pub struct PauseGuard {
    chain: Rc<Chain>,
}

impl PauseGuard {
    /// Lets it go on, if nobody else holds it up. To drop it does the same. (Twisted: `unpause`.)
    pub fn unpause(self) {}
}

impl Drop for PauseGuard {
    fn drop(&mut self) {
        self.chain.unpause();
    }
}

impl fmt::Debug for PauseGuard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Paused").finish_non_exhaustive()
    }
}
