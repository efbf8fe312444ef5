//! Combinators for several Deferreds: all results, the first result, or every outcome.

use std::cell::{Cell, RefCell};
use std::error::Error;
use std::fmt;
use std::panic::Location;
use std::rc::Rc;

use crate::deferred::outcome::{GiveBack, Outcome};
use crate::deferred::{CancelHandle, Deferred, Failure, FailureKind, Resolver};
use crate::reactor::Handle;

/// Collects the results of all Deferreds, in their order, and fires when the last one is there. An
/// empty list fires at once. (Twisted: `gatherResults`.)
///
/// The first failure makes it fail with a [`FirstError`]. The other Deferreds are then cancelled,
/// and their outcomes are dropped. Cancelling it cancels all of them.
///
/// ```
/// use std::time::Duration;
/// use twistor::deferred::{defer_later, gather};
///
/// let mut reactor = twistor::Reactor::new()?;
/// let waits = [3, 1, 2]
///     .map(|n| defer_later(&mut reactor, Duration::from_millis(n)).map(move |_, ()| n));
/// gather(&reactor, waits).done(|reactor, results| {
///     assert_eq!(results.unwrap(), [3, 1, 2]);
///     reactor.stop();
/// });
/// reactor.run()?;
/// # Ok::<(), twistor::Error>(())
/// ```
#[track_caller]
#[doc(alias("gatherResults", "join_all"))]
pub fn gather<T: 'static>(
    handle: &impl AsRef<Handle>,
    deferreds: impl IntoIterator<Item = Deferred<T>>,
) -> Deferred<Vec<T>> {
    let (combinator, all, members) = Combinator::begin(handle.as_ref(), deferreds);
    if members.is_empty() {
        combinator.decide(Ok(Vec::new()));
    }
    for (index, member) in members.into_iter().enumerate() {
        let combinator = Rc::clone(&combinator);
        member.last(move |outcome| match outcome {
            Outcome::Failed(failure) => {
                let place = failure.place();
                let error = FirstError { index, failure };
                combinator.decide(Err(Failure::at(place, FailureKind::Error(Box::new(error)))));
            }
            value => {
                if let Some(values) = combinator.record(index, value) {
                    combinator.decide_with(all_values::<T>(values));
                }
            }
        });
    }
    all
}

/// Fires with the first result and its index. The other Deferreds are then cancelled, and their
/// outcomes are dropped. (Twisted: `race`.)
///
/// It fails with [`AllFailed`] when all of them have failed, or at once if the list is empty.
/// Cancelling it cancels all of them.
///
/// ```
/// use std::time::Duration;
/// use twistor::deferred::{defer_later, race};
///
/// let mut reactor = twistor::Reactor::new()?;
/// let waits = [60_000, 1]
///     .map(|n| defer_later(&mut reactor, Duration::from_millis(n)).map(move |_, ()| n));
/// race(&reactor, waits).done(|reactor, winner| {
///     assert_eq!(winner.unwrap(), (1, 1));
///     reactor.stop();
/// });
/// reactor.run()?;
/// # Ok::<(), twistor::Error>(())
/// ```
#[track_caller]
#[doc(alias("fireOnOneCallback", "FIRST_COMPLETED"))]
pub fn race<T: 'static>(
    handle: &impl AsRef<Handle>,
    deferreds: impl IntoIterator<Item = Deferred<T>>,
) -> Deferred<(usize, T)> {
    let place = Location::caller();
    let all_failed = move |failures| Failure::at(place, FailureKind::Error(Box::new(AllFailed { failures })));
    let (combinator, winner, members) = Combinator::begin(handle.as_ref(), deferreds);
    if members.is_empty() {
        combinator.decide(Err(all_failed(Vec::new())));
    }
    for (index, member) in members.into_iter().enumerate() {
        let combinator = Rc::clone(&combinator);
        member.last(move |outcome| match outcome {
            Outcome::Failed(failure) => {
                if let Some(failures) = combinator.record(index, failure) {
                    combinator.decide(Err(all_failed(failures)));
                }
            }
            // A late value is dropped, which returns it to its owner if it was lent.
            value if combinator.resolver.is_fired() => drop(value),
            value => combinator.decide_with(with_index::<T>(index, value)),
        });
    }
    winner
}

/// Collects the outcome of each Deferred, in their order, and fires when the last one is there. An
/// empty list fires at once. It only fails if it is cancelled, which cancels all of them. (Twisted:
/// `DeferredList`.)
#[track_caller]
#[doc(alias = "DeferredList")]
pub fn settle_all<T: 'static>(
    handle: &impl AsRef<Handle>,
    deferreds: impl IntoIterator<Item = Deferred<T>>,
) -> Deferred<Vec<Result<T, Failure>>> {
    let (combinator, all, members) = Combinator::begin(handle.as_ref(), deferreds);
    if members.is_empty() {
        combinator.decide(Ok(Vec::new()));
    }
    for (index, member) in members.into_iter().enumerate() {
        let combinator = Rc::clone(&combinator);
        member.last(move |outcome| {
            if let Some(outcomes) = combinator.record(index, outcome) {
                combinator.decide_with(each_result::<T>(outcomes));
            }
        });
    }
    all
}

/// Error: one of several Deferreds failed. (Twisted: `FirstError`.)
#[derive(Debug)]
pub struct FirstError {
    /// Index of the failed Deferred, from 0.
    pub index: usize,
    /// Its failure.
    pub failure: Failure,
}

/// Error: all of several Deferreds failed. (Twisted: `FailureGroup`.)
#[derive(Debug)]
pub struct AllFailed {
    /// The failure of each Deferred, in their order.
    pub failures: Vec<Failure>,
}

/// The shared state of a combinator.
struct Combinator<N, R> {
    /// The recorded outcome of each member so far.
    outcomes: RefCell<Vec<Option<N>>>,
    pending: Cell<usize>,
    resolver: Resolver<R>,
    members: Rc<[CancelHandle]>,
    place: &'static Location<'static>,
}

/// The shared state, the resulting Deferred, and the members.
type Started<N, R, T> = (Rc<Combinator<N, R>>, Deferred<R>, Vec<Deferred<T>>);

impl<N: 'static, R: 'static> Combinator<N, R> {
    #[track_caller]
    fn begin<T: 'static>(
        handle: &Handle,
        deferreds: impl IntoIterator<Item = Deferred<T>>,
    ) -> Started<N, R, T> {
        let place = Location::caller();
        let deferreds: Vec<Deferred<T>> = deferreds.into_iter().collect();
        let members: Rc<[CancelHandle]> = deferreds.iter().map(Deferred::cancel_handle).collect();
        let all = Rc::clone(&members);
        let (resolver, result) = Deferred::with_canceller(handle, move |_, _| {
            all.iter().for_each(|member| member.cancel_at(place))
        });
        let outcomes = RefCell::new(deferreds.iter().map(|_| None).collect());
        let pending = Cell::new(deferreds.len());
        (Rc::new(Combinator { outcomes, pending, resolver, members, place }), result, deferreds)
    }

    /// Records the outcome of a member. Returns all of them if it was the last.
    fn record(&self, index: usize, outcome: N) -> Option<Vec<N>> {
        if let Some(place) = self.outcomes.borrow_mut().get_mut(index) {
            *place = Some(outcome);
        }
        self.pending.set(self.pending.get() - 1);
        (self.pending.get() == 0).then(|| self.outcomes.take().into_iter().flatten().collect())
    }

    fn decide(&self, result: Result<R, Failure>) {
        self.decide_with(Outcome::from_result(result));
    }

    /// Fires the result and cancels the members, unless it was fired before.
    fn decide_with(&self, outcome: Outcome) {
        if self.resolver.fire_outcome(outcome).is_ok() {
            self.members.iter().for_each(|member| member.cancel_at(self.place));
        }
    }
}

/// The result of one member, with its index.
fn with_index<T: 'static>(index: usize, value: Outcome) -> Outcome {
    match value.into_parts::<T>() {
        Ok((value, None)) => Outcome::of((index, value)),
        Ok((value, Some(give_back))) => Outcome::lend((index, value), move |(_, value)| give_back(value)),
        Err(failure) => Outcome::Failed(failure),
    }
}

/// The results of all members, none of which failed.
fn all_values<T: 'static>(values: Vec<Outcome>) -> Outcome {
    let results: Vec<Part<T>> = values.into_iter().map(Outcome::into_parts).collect();
    lent_list(results, Result::ok, Some)
}

/// The outcome of each member.
fn each_result<T: 'static>(outcomes: Vec<Outcome>) -> Outcome {
    let results: Vec<Part<T>> = outcomes.into_iter().map(Outcome::into_parts).collect();
    lent_list(results, Some, Result::ok)
}

type Part<T> = Result<(T, Option<GiveBack<T>>), Failure>;

/// Creates a list that returns its lent values if it is not taken itself.
fn lent_list<T: 'static, R: 'static>(
    parts: Vec<Part<T>>,
    wrap: impl Fn(Result<T, Failure>) -> Option<R>,
    unwrap: impl Fn(R) -> Option<T> + 'static,
) -> Outcome {
    let (mut list, mut give_backs) = (Vec::with_capacity(parts.len()), Vec::new());
    for part in parts {
        let (result, give_back) = match part {
            Ok((value, give_back)) => (Ok(value), give_back),
            Err(failure) => (Err(failure), None),
        };
        list.extend(wrap(result));
        give_backs.push(give_back);
    }
    if give_backs.iter().all(Option::is_none) {
        return Outcome::of(list);
    }
    Outcome::lend(list, move |list: Vec<R>| {
        for (wrapped, give_back) in list.into_iter().zip(give_backs) {
            if let (Some(value), Some(give_back)) = (unwrap(wrapped), give_back) {
                give_back(value);
            }
        }
    })
}

impl fmt::Display for FirstError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Deferred number {}", self.index)
    }
}

impl Error for FirstError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(self.failure.as_error())
    }
}

impl fmt::Display for AllFailed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &*self.failures {
            [] => f.write_str("no Deferred was given"),
            [only] => only.fmt(f),
            [first, others @ ..] => write!(f, "all {} failed: {first}", others.len() + 1)
                .and_then(|()| others.iter().try_for_each(|other| write!(f, "; {other}"))),
        }
    }
}

// `Display` prints all failures, so there is no source.
impl Error for AllFailed {}
