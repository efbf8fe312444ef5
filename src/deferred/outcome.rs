//! The value passed from one callback to the next, and the types that callbacks may return.

use std::any::Any;

use super::chain::End;
use super::{Deferred, Failure};

/// The return type of a callback: nothing, a result, or a Deferred whose result the chain waits
/// for. (Twisted accepts any value and treats Failures and Deferreds specially.)
///
/// Implemented for `()`, `Result<T, Failure>` and [`Deferred<T>`] only, so that closures need no
/// type annotations. In a callback that ends with `Ok(..)`, `?` converts every error.
pub trait IntoOutcome: Sealed {
    /// The type of the next callback's argument.
    type Value: 'static;
}

/// A result whose type is known only to the adjacent callbacks.
pub enum Outcome {
    /// An `Option<T>`. It is empty while the callback that took it runs, and is refilled with that
    /// callback's return value.
    Value(Box<dyn Any>),
    /// A value that goes back to its owner if it is dropped before a callback or a task takes it.
    Lent(Box<Lent>),
    Failed(Failure),
}

/// The contents of [`Outcome::Lent`].
pub struct Lent {
    /// Same contents as [`Outcome::Value`].
    slot: Option<Slot>,
    give_back: Option<Box<dyn FnOnce(Slot)>>,
}

/// The function that returns a lent value to its owner.
pub(super) type GiveBack<T> = Box<dyn FnOnce(T)>;

/// Continuation of a chain after a callback.
pub enum Next {
    Done(Outcome),
    Wait(End),
}

pub trait Sealed {
    /// Converts to the continuation. A value reuses `slot`, the allocation of the argument, if it
    /// fits.
    fn next(self, slot: Option<Slot>) -> Next;
}

/// The emptied allocation of a value.
pub(super) type Slot = Box<dyn Any>;

impl Outcome {
    pub(crate) fn of<T: 'static>(value: T) -> Outcome {
        Outcome::Value(Box::new(Some(value)))
    }

    /// Creates a value that `give_back` gets if it is dropped before it is taken.
    pub(super) fn lend<T: 'static>(value: T, give_back: impl FnOnce(T) + 'static) -> Outcome {
        let give_back = move |slot: Slot| {
            if let Some(value) = slot.downcast::<Option<T>>().ok().and_then(|mut slot| slot.take()) {
                give_back(value);
            }
        };
        let slot: Slot = Box::new(Some(value));
        Outcome::Lent(Box::new(Lent { slot: Some(slot), give_back: Some(Box::new(give_back)) }))
    }

    /// The value and, if it was lent, the function that gives it back.
    pub(super) fn into_parts<T: 'static>(mut self) -> Result<(T, Option<GiveBack<T>>), Failure> {
        let give_back = match &mut self {
            Outcome::Lent(lent) => lent.give_back.take(),
            Outcome::Value(_) | Outcome::Failed(_) => None,
        };
        let give_back = give_back
            .map(|give_back| -> GiveBack<T> { Box::new(move |value| give_back(Box::new(Some(value)))) });
        Ok((self.into_result()?, give_back))
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

    /// The value, and the allocation that it was in.
    #[inline]
    pub(super) fn open<T: 'static>(self) -> Result<(T, Box<Option<T>>), Failure> {
        match self {
            Outcome::Lent(mut lent) => {
                lent.give_back = None;
                // The slot is only taken by `drop` and here, and `self` is consumed.
                Outcome::Value(lent.slot.take().expect("a lent value is there")).open()
            }
            Outcome::Value(slot) => {
                // A `Deferred<T>` adds callbacks only behind a callback that returns a `T`.
                let mut slot = slot.downcast::<Option<T>>().expect("the value has the type of its Deferred");
                // The code that empties it consumes the outcome, so an empty slot is never seen
                // here.
                let value = slot.take().expect("the value is there");
                Ok((value, slot))
            }
            Outcome::Failed(failure) => Err(failure),
        }
    }

    pub(super) fn value<T: 'static>(&self) -> Result<&T, &Failure> {
        let slot = match self {
            Outcome::Value(slot) => Some(slot),
            Outcome::Lent(lent) => lent.slot.as_ref(),
            Outcome::Failed(failure) => return Err(failure),
        };
        // The type matches as in `open`, and no callback has taken the value.
        Ok(slot
            .and_then(|slot| slot.downcast_ref::<Option<T>>()?.as_ref())
            .expect("the value has the type of its Deferred"))
    }

    /// Stores a value in the allocation of another one, if it fits.
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

impl Drop for Lent {
    fn drop(&mut self) {
        if let (Some(slot), Some(give_back)) = (self.slot.take(), self.give_back.take()) {
            give_back(slot);
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
