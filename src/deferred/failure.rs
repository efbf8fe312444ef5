//! The failure type of Deferreds: any error, and the source location that created it.

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

/// The reason why there is no result: any error, and the source location that created it. (Twisted:
/// `Failure`.)
///
/// `?` converts every error to a `Failure`, and a `Failure` to a `Box<dyn Error>`.
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
/// It displays as the error and its chain of sources ([`error_chain`](crate::error_chain)), and is
/// `Send`. It does not implement [`Error`], because then it could not be converted from every
/// error. Use [`as_error`](Failure::as_error), or [`into_kind`](Failure::into_kind) with `map_err`
/// where a `?` needs an error type (`anyhow`, for example).
pub struct Failure(Box<Facts>);

struct Facts {
    kind: FailureKind,
    place: &'static Location<'static>,
}

/// The kind of a [`Failure`].
#[derive(Debug)]
#[non_exhaustive]
pub enum FailureKind {
    /// The result was cancelled. (Twisted: `CancelledError`.)
    Cancelled,
    /// The operation took longer than this limit. (Twisted: three different `TimeoutError`s.)
    TimedOut(Duration),
    /// Every [`Resolver`](super::Resolver) was dropped before the Deferred was fired, or the
    /// reactor finished before the callbacks ran.
    NeverFired,
    /// A callback returned its own Deferred, or one that waits for it.
    WaitsForItself,
    /// A callback or a task panicked with this message. The panic was counted and logged when it
    /// occurred.
    Panicked(String),
    /// Any other error.
    Error(Box<dyn Error + Send + Sync>),
}

impl Failure {
    /// Creates a failure from an error or a text. A [task](crate::task) error or timeout becomes
    /// the corresponding [`FailureKind`].
    #[track_caller]
    pub fn new(error: impl Into<Box<dyn Error + Send + Sync>>) -> Failure {
        Failure::at(Location::caller(), FailureKind::of(error.into()))
    }

    /// Creates a failure of kind [`FailureKind::Cancelled`].
    #[track_caller]
    pub fn cancelled() -> Failure {
        Failure::at(Location::caller(), FailureKind::Cancelled)
    }

    /// Creates a failure of kind [`FailureKind::TimedOut`].
    #[track_caller]
    pub fn timed_out(limit: Duration) -> Failure {
        Failure::at(Location::caller(), FailureKind::TimedOut(limit))
    }

    pub(crate) fn at(place: &'static Location<'static>, kind: FailureKind) -> Failure {
        Failure(Box::new(Facts { kind, place }))
    }

    /// Creates a failure from a panic, which is counted and logged here.
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

    /// The kind of this failure.
    pub fn kind(&self) -> &FailureKind {
        &self.0.kind
    }

    /// Converts to the kind, without the location.
    pub fn into_kind(self) -> FailureKind {
        self.0.kind
    }

    /// Whether it is a cancellation.
    pub fn is_cancelled(&self) -> bool {
        matches!(self.0.kind, FailureKind::Cancelled)
    }

    /// Whether it is a timeout.
    pub fn is_timed_out(&self) -> bool {
        matches!(self.0.kind, FailureKind::TimedOut(_))
    }

    /// Whether all resolvers were dropped, or the reactor finished first.
    pub fn is_never_fired(&self) -> bool {
        matches!(self.0.kind, FailureKind::NeverFired)
    }

    /// Whether the cause is a panic, which was already logged.
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

    /// A reference to the error, if it is of this type. (Twisted: `check`.)
    pub fn downcast_ref<E: Error + 'static>(&self) -> Option<&E> {
        self.as_error().downcast_ref()
    }

    /// The error, if it is of this type. (Twisted: `trap`.)
    ///
    /// # Errors
    /// The failure itself, if its error is of another type.
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

    /// The source location that created the failure.
    pub fn place(&self) -> &'static Location<'static> {
        self.0.place
    }

    /// The failure as a `dyn Error`.
    pub fn as_error(&self) -> &(dyn Error + 'static) {
        match &self.0.kind {
            FailureKind::Error(error) => &**error,
            kind => kind,
        }
    }

    /// The source of the error, if it has one.
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
        if let Some(timeout) = error.downcast_ref::<TimedOut>() {
            return FailureKind::TimedOut(timeout.limit);
        }
        match error.downcast::<TaskError>().map(|task| *task) {
            Ok(TaskError::Cancelled | TaskError::Stopped) => FailureKind::Cancelled,
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
            FailureKind::NeverFired => f.write_str("it was never fired"),
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

/// The original error, or the [`FailureKind`] if there is none.
impl From<Failure> for Box<dyn Error + Send + Sync> {
    fn from(failure: Failure) -> Box<dyn Error + Send + Sync> {
        match failure.into_kind() {
            FailureKind::Error(error) => error,
            kind => Box::new(kind),
        }
    }
}

/// The original error, or the [`FailureKind`] if there is none.
impl From<Failure> for Box<dyn Error> {
    fn from(failure: Failure) -> Box<dyn Error> {
        let error: Box<dyn Error + Send + Sync> = failure.into();
        error
    }
}

/// Error: the [`Deferred`](super::Deferred) has already been fired or cancelled. (Twisted:
/// `AlreadyCalledError`.)
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AlreadyCalled;

impl fmt::Display for AlreadyCalled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the Deferred was fired or cancelled before")
    }
}

impl Error for AlreadyCalled {}
