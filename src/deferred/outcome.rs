//! What goes from one callback to the next, and what callbacks may return.

use std::any::Any;

use super::chain::End;
use super::{Deferred, Failure};

/// What a callback returns: nothing, a result, or a Deferred whose result is waited for. (Twisted: anything, of which
/// Failures and Deferreds mean something.)
///
/// It is for `()`, `Result<T, Failure>` and [`Deferred<T>`], and for nothing else, so that closures need no types:
/// in a callback that ends with `Ok(..)`, `?` takes every error.
pub trait IntoOutcome: Sealed {
    /// The next callback's argument.
    type Value: 'static;
}

/// A result whose type the callbacks around it know.
pub enum Outcome {
    /// An `Option<T>`: empty while the callback runs that it was given to, filled again by what that returns.
    Value(Box<dyn Any>),
    Failed(Failure),
}

/// What becomes of a chain after a callback.
pub enum Next {
    Done(Outcome),
    Wait(End),
}

pub trait Sealed {
    /// Into the place that the argument was in, if it fits.
    fn next(self, slot: Option<Slot>) -> Next;
}

/// The emptied place of a value.
pub type Slot = Box<dyn Any>;

impl Outcome {
    pub(crate) fn of<T: 'static>(value: T) -> Outcome {
        Outcome::Value(Box::new(Some(value)))
    }

    pub(crate) fn from_result<T: 'static>(result: Result<T, Failure>) -> Outcome {
        match result {
            Ok(value) => Outcome::of(value),
            Err(failure) => Outcome::Failed(failure),
        }
    }

    pub(crate) fn into_result<T: 'static>(self) -> Result<T, Failure> {
        self.open().map(|(value, _)| value)
    }

    /// The value, and the place that it was in.
    #[inline]
    pub(super) fn open<T: 'static>(self) -> Result<(T, Box<Option<T>>), Failure> {
        match self {
            Outcome::Value(slot) => {
                // Each callback is added by a `Deferred<T>` behind one that leaves a `T`.
                let mut slot = slot.downcast::<Option<T>>().expect("the value has the type of its Deferred");
                // Whoever empties it fills it again, or drops it.
                let value = slot.take().expect("the value is there");
                Ok((value, slot))
            }
            Outcome::Failed(failure) => Err(failure),
        }
    }

    pub(super) fn value<T: 'static>(&self) -> Result<&T, &Failure> {
        match self {
            // As above.
            Outcome::Value(slot) => Ok(slot
                .downcast_ref::<Option<T>>()
                .and_then(Option::as_ref)
                .expect("the value has the type of its Deferred")),
            Outcome::Failed(failure) => Err(failure),
        }
    }

    /// A value in the place that another was in, if it fits.
    #[inline]
    pub(super) fn refill<T: 'static>(slot: Option<Slot>, value: T) -> Outcome {
        match slot.map(|slot| slot.downcast::<Option<T>>()) {
            Some(Ok(mut slot)) => {
                *slot = Some(value);
                Outcome::Value(slot)
            }
            _ => Outcome::of(value),
        }
    }
}

impl IntoOutcome for () {
    type Value = ();
}

impl Sealed for () {
    #[inline]
    fn next(self, slot: Option<Slot>) -> Next {
        Next::Done(Outcome::refill(slot, ()))
    }
}

impl<T: 'static> IntoOutcome for Result<T, Failure> {
    type Value = T;
}

impl<T: 'static> Sealed for Result<T, Failure> {
    #[inline]
    fn next(self, slot: Option<Slot>) -> Next {
        Next::Done(match self {
            Ok(value) => Outcome::refill(slot, value),
            Err(failure) => Outcome::Failed(failure),
        })
    }
}

impl<T: 'static> IntoOutcome for Deferred<T> {
    type Value = T;
}

impl<T: 'static> Sealed for Deferred<T> {
    fn next(self, _: Option<Slot>) -> Next {
        Next::Wait(self.end)
    }
}
