//! What a Deferred fails with: any error, and the place that made it.

use crate::escape::Escaped;
use std::any::Any;
use std::error::Error;
use std::fmt;
use std::panic::Location;
use std::time::Duration;

use super::{FirstError, TaskEnd};
use crate::error_chain;
use crate::reactor::{CallbackKind, Reactor};
use crate::task::{TaskError, TimedOut};

/// Why there is no result: any error, and the place in the code that made it. (Twisted: `Failure`.)
///
/// `?` makes one of every error, and gives it to functions that return a `Box<dyn Error>`.
///
/// ```
/// use twistor::Failure;
/// use twistor::deferred::FailureKind;
///
/// fn port(text: &str) -> Result<u16, Failure> {
///     if text.is_empty() {
///         return Err(Failure::new("no port was given"));
///     }
///     Ok(text.parse()?)
/// }
///
/// let failure = port("80x").unwrap_err();
/// assert_eq!(failure.to_string(), "invalid digit found in string");
/// assert!(failure.downcast_ref::<std::num::ParseIntError>().is_some());
/// assert!(matches!(failure.kind(), FailureKind::Error(_)));
/// println!("{failure}, from {}", failure.place());
/// ```
///
/// It prints as the error with all that led to it ([`error_chain`](crate::error_chain)), and can go to other threads.
/// It is itself no [`Error`], or else it could not be made of every one; [`as_error`](Failure::as_error) is, and so is its
/// [`into_kind`](Failure::into_kind), which is what `map_err` hands to a `?` that wants an error (that of `anyhow`, say).
pub struct Failure(Box<Facts>);

struct Facts {
    kind: FailureKind,
    place: &'static Location<'static>,
}

/// What a [`Failure`] is.
#[derive(Debug)]
#[non_exhaustive]
pub enum FailureKind {
    /// Somebody did not want the result any more. (Twisted: `CancelledError`.)
    Cancelled,
    /// It took longer than this. (Twisted: three different `TimeoutError`s.)
    TimedOut(Duration),
    /// Every [`Resolver`](super::Resolver) was dropped: nobody was left who could have fired it. Or the reactor has finished before the
    /// callbacks ran.
    NeverFired,
    /// A callback returned its own Deferred, or one that waits for it.
    WaitsForItself,
    /// A callback panicked, or a task, with this text. It was counted and logged when it did.
    Panicked(String),
    /// Any other error.
    Error(Box<dyn Error + Send + Sync>),
}

impl Failure {
    /// One of an error, or of a text. What a [task](crate::task) fails with, and a timeout there, becomes what it is here.
    #[track_caller]
    pub fn new(error: impl Into<Box<dyn Error + Send + Sync>>) -> Failure {
        Failure::at(Location::caller(), FailureKind::of(error.into()))
    }

    /// As if it had been cancelled.
    #[track_caller]
    pub fn cancelled() -> Failure {
        Failure::at(Location::caller(), FailureKind::Cancelled)
    }

    /// As if it had taken longer than `limit`.
    #[track_caller]
    pub fn timed_out(limit: Duration) -> Failure {
        Failure::at(Location::caller(), FailureKind::TimedOut(limit))
    }

    pub(crate) fn at(place: &'static Location<'static>, kind: FailureKind) -> Failure {
        Failure(Box::new(Facts { kind, place }))
    }

    /// That of a panic, which is counted and logged here.
    #[cold]
    pub(super) fn panicked(
        made_at: &'static Location<'static>,
        reactor: &mut Reactor,
        place: CallbackKind,
        payload: Box<dyn Any + Send>,
    ) -> Failure {
        let noted: Result<(), String> = reactor.end_call(place, Err(payload));
        Failure::at(made_at, FailureKind::Panicked(noted.err().unwrap_or_default()))
    }

    /// What it is.
    pub fn kind(&self) -> &FailureKind {
        &self.0.kind
    }

    /// What it is, without the place.
    pub fn into_kind(self) -> FailureKind {
        self.0.kind
    }

    /// Whether somebody cancelled.
    pub fn is_cancelled(&self) -> bool {
        matches!(self.0.kind, FailureKind::Cancelled)
    }

    /// Whether it took too long.
    pub fn is_timed_out(&self) -> bool {
        matches!(self.0.kind, FailureKind::TimedOut(_))
    }

    /// Whether nobody was left who could have fired it.
    pub fn is_never_fired(&self) -> bool {
        matches!(self.0.kind, FailureKind::NeverFired)
    }

    /// Whether it comes from a panic, which was logged.
    pub(super) fn is_panic(&self) -> bool {
        match self.kind() {
            FailureKind::Panicked(_) => true,
            FailureKind::Error(error) => {
                let first = error.downcast_ref().map(|FirstError { failure, .. }| failure);
                let ended = error.downcast_ref().and_then(|ended| match ended {
                    TaskEnd::Failed(failure) => Some(&**failure),
                    _ => None,
                });
                first.or(ended).is_some_and(Failure::is_panic)
            }
            _ => false,
        }
    }

    /// The error, if it is of this type. (Twisted: `check`.)
    pub fn downcast_ref<E: Error + 'static>(&self) -> Option<&E> {
        self.as_error().downcast_ref()
    }

    /// The error, if it is of this type, and itself else. (Twisted: `trap`.)
    ///
    /// # Errors
    /// The failure, when it is something else.
    pub fn downcast<E: Error + 'static>(self) -> Result<E, Failure> {
        let Facts { kind, place } = *self.0;
        match kind {
            FailureKind::Error(error) => match error.downcast::<E>() {
                Ok(error) => Ok(*error),
                Err(error) => Err(Failure::at(place, FailureKind::Error(error))),
            },
            kind => Err(Failure::at(place, kind)),
        }
    }

    /// The place in the code that made it.
    pub fn place(&self) -> &'static Location<'static> {
        self.0.place
    }

    /// It as an error.
    pub fn as_error(&self) -> &(dyn Error + 'static) {
        match &self.0.kind {
            FailureKind::Error(error) => &**error,
            kind => kind,
        }
    }

    /// What led to it, if it says so.
    pub fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.as_error().source()
    }
}

impl FailureKind {
    fn of(error: Box<dyn Error + Send + Sync>) -> FailureKind {
        let error = match error.downcast::<FailureKind>() {
            Ok(kind) => return *kind,
            Err(error) => error,
        };
        if let Some(late) = error.downcast_ref::<TimedOut>() {
            return FailureKind::TimedOut(late.limit);
        }
        match error.downcast::<TaskError>().map(|task| *task) {
            Ok(TaskError::Cancelled) => FailureKind::Cancelled,
            Ok(TaskError::Panicked(text)) => FailureKind::Panicked(text),
            Err(error) => FailureKind::Error(error),
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        error_chain(self.as_error()).fmt(f)
    }
}

impl fmt::Debug for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Failure")
            .field("kind", &self.0.kind)
            .field("place", &format_args!("{}", self.0.place))
            .finish()
    }
}

impl fmt::Display for FailureKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FailureKind::Cancelled => f.write_str("cancelled"),
            FailureKind::TimedOut(limit) => write!(f, "timed out after {limit:?}"),
            FailureKind::WaitsForItself => f.write_str("the Deferred waits for itself"),
            FailureKind::NeverFired => f.write_str("nobody was left to fire it"),
            FailureKind::Panicked(text) => write!(f, "it panicked: {}", Escaped(text)),
            FailureKind::Error(error) => Escaped(error).fmt(f),
        }
    }
}

impl Error for FailureKind {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            FailureKind::Error(error) => error.source(),
            _ => None,
        }
    }
}

impl<E: Error + Send + Sync + 'static> From<E> for Failure {
    #[track_caller]
    fn from(error: E) -> Failure {
        Failure::new(Box::new(error) as Box<dyn Error + Send + Sync>)
    }
}

/// The error that it was made of, or its [`FailureKind`].
impl From<Failure> for Box<dyn Error + Send + Sync> {
    fn from(failure: Failure) -> Box<dyn Error + Send + Sync> {
        match failure.into_kind() {
            FailureKind::Error(error) => error,
            kind => Box::new(kind),
        }
    }
}

/// The error that it was made of, or its [`FailureKind`].
impl From<Failure> for Box<dyn Error> {
    fn from(failure: Failure) -> Box<dyn Error> {
        let error: Box<dyn Error + Send + Sync> = failure.into();
        error
    }
}

/// A [`Deferred`](super::Deferred) has a result already, or was cancelled. (Twisted: `AlreadyCalledError`.)
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AlreadyCalled;

impl fmt::Display for AlreadyCalled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the Deferred was fired or cancelled before")
    }
}

impl Error for AlreadyCalled {}
