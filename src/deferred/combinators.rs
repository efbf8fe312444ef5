//! Several Deferreds at once: all, the first, or the outcome of each.

use std::cell::{Cell, RefCell};
use std::error::Error;
use std::fmt;
use std::panic::Location;
use std::rc::Rc;

use crate::deferred::outcome::{GiveBack, Outcome};
use crate::deferred::{CancelHandle, Deferred, Failure, FailureKind, Resolver};
use crate::reactor::Handle;

/// The results of all, in their order, as soon as the last one is there; of none at once. (Twisted: `gatherResults`.)
///
/// The first that fails makes it fail, with a [`FirstError`]; the others are cancelled then, and what still comes of them is dropped.
/// To cancel it cancels all.
///
/// ```
/// use std::time::Duration;
/// use twistor::deferred::{defer_later, gather};
///
/// let mut reactor = twistor::Reactor::new()?;
/// let waits = [3, 1, 2].map(|n| defer_later(&mut reactor, Duration::from_millis(n)).map(move |_, ()| n));
/// gather(&reactor.handle(), waits).done(|reactor, results| {
///     assert_eq!(results.unwrap(), [3, 1, 2]);
///     reactor.stop();
/// });
/// reactor.run()?;
/// # Ok::<(), twistor::Error>(())
/// ```
#[track_caller]
pub fn gather<T: 'static>(
    handle: &Handle,
    deferreds: impl IntoIterator<Item = Deferred<T>>,
) -> Deferred<Vec<T>> {
    let (together, all, members) = Together::begin(handle, deferreds);
    if members.is_empty() {
        together.decide(Ok(Vec::new()));
    }
    for (index, member) in members.into_iter().enumerate() {
        let together = Rc::clone(&together);
        member.last(move |outcome| match outcome {
            Outcome::Failed(failure) => {
                let place = failure.place();
                let error = FirstError { index, failure };
                together.decide(Err(Failure::at(place, FailureKind::Error(Box::new(error)))));
            }
            value => {
                if let Some(values) = together.note(index, value) {
                    together.decide_with(all_values::<T>(values));
                }
            }
        });
    }
    all
}

/// The result that is there first, and its index; the others are cancelled then, and what still comes of them is dropped.
/// (Twisted: `race`.)
///
/// When all fail it does, with [`AllFailed`]; with none at all it does so at once. To cancel it cancels all.
///
/// ```
/// use std::time::Duration;
/// use twistor::deferred::{defer_later, race};
///
/// let mut reactor = twistor::Reactor::new()?;
/// let waits = [60_000, 1].map(|n| defer_later(&mut reactor, Duration::from_millis(n)).map(move |_, ()| n));
/// race(&reactor.handle(), waits).done(|reactor, winner| {
///     assert_eq!(winner.unwrap(), (1, 1));
///     reactor.stop();
/// });
/// reactor.run()?;
/// # Ok::<(), twistor::Error>(())
/// ```
#[track_caller]
pub fn race<T: 'static>(
    handle: &Handle,
    deferreds: impl IntoIterator<Item = Deferred<T>>,
) -> Deferred<(usize, T)> {
    let place = Location::caller();
    let all_failed = move |failures| Failure::at(place, FailureKind::Error(Box::new(AllFailed { failures })));
    let (together, winner, members) = Together::begin(handle, deferreds);
    if members.is_empty() {
        together.decide(Err(all_failed(Vec::new())));
    }
    for (index, member) in members.into_iter().enumerate() {
        let together = Rc::clone(&together);
        member.last(move |outcome| match outcome {
            Outcome::Failed(failure) => {
                if let Some(failures) = together.note(index, failure) {
                    together.decide(Err(all_failed(failures)));
                }
            }
            // One that comes too late goes back to where it came from, if it was lent.
            value if together.resolver.is_fired() => drop(value),
            value => together.decide_with(with_index::<T>(index, value)),
        });
    }
    winner
}

/// The outcome of each, in their order, as soon as the last one is there; of none at once. It does not fail by itself.
/// To cancel it cancels all. (Twisted: `DeferredList`.)
#[track_caller]
pub fn settle_all<T: 'static>(
    handle: &Handle,
    deferreds: impl IntoIterator<Item = Deferred<T>>,
) -> Deferred<Vec<Result<T, Failure>>> {
    let (together, all, members) = Together::begin(handle, deferreds);
    if members.is_empty() {
        together.decide(Ok(Vec::new()));
    }
    for (index, member) in members.into_iter().enumerate() {
        let together = Rc::clone(&together);
        member.last(move |outcome| {
            if let Some(outcomes) = together.note(index, outcome) {
                together.decide_with(each_result::<T>(outcomes));
            }
        });
    }
    all
}

/// One of several failed. (Twisted: `FirstError`.)
#[derive(Debug)]
pub struct FirstError {
    /// Which one it was, from 0.
    pub index: usize,
    /// What it failed with.
    pub failure: Failure,
}

/// All of several failed. (Twisted: `FailureGroup`.)
#[derive(Debug)]
pub struct AllFailed {
    /// What each failed with, in their order.
    pub failures: Vec<Failure>,
}

/// Deferreds that something is made of.
struct Together<N, R> {
    /// What is known of each so far.
    notes: RefCell<Vec<Option<N>>>,
    missing: Cell<usize>,
    resolver: Resolver<R>,
    members: Rc<[CancelHandle]>,
    place: &'static Location<'static>,
}

/// What is made of them, and they themselves.
type Begun<N, R, T> = (Rc<Together<N, R>>, Deferred<R>, Vec<Deferred<T>>);

impl<N: 'static, R: 'static> Together<N, R> {
    #[track_caller]
    fn begin<T: 'static>(
        handle: &Handle,
        deferreds: impl IntoIterator<Item = Deferred<T>>,
    ) -> Begun<N, R, T> {
        let place = Location::caller();
        let deferreds: Vec<Deferred<T>> = deferreds.into_iter().collect();
        let members: Rc<[CancelHandle]> = deferreds.iter().map(Deferred::abort_handle).collect();
        let all = Rc::clone(&members);
        let (resolver, result) = Deferred::with_canceller(handle, move |_, _| {
            all.iter().for_each(|member| member.cancel_at(place))
        });
        let notes = RefCell::new(deferreds.iter().map(|_| None).collect());
        let missing = Cell::new(deferreds.len());
        (Rc::new(Together { notes, missing, resolver, members, place }), result, deferreds)
    }

    /// All notes, when this was the last one.
    fn note(&self, index: usize, note: N) -> Option<Vec<N>> {
        if let Some(place) = self.notes.borrow_mut().get_mut(index) {
            *place = Some(note);
        }
        self.missing.set(self.missing.get() - 1);
        (self.missing.get() == 0).then(|| self.notes.take().into_iter().flatten().collect())
    }

    fn decide(&self, result: Result<R, Failure>) {
        self.decide_with(Outcome::from_result(result));
    }

    /// What comes first counts; nobody waits for the others then.
    fn decide_with(&self, outcome: Outcome) {
        if self.resolver.fire_outcome(outcome).is_ok() {
            self.members.iter().for_each(|member| member.cancel_at(self.place));
        }
    }
}

/// The result of one, and its index.
fn with_index<T: 'static>(index: usize, value: Outcome) -> Outcome {
    match value.into_parts::<T>() {
        Ok((value, None)) => Outcome::of((index, value)),
        Ok((value, Some(give_back))) => Outcome::lend((index, value), move |(_, value)| give_back(value)),
        Err(failure) => Outcome::Failed(failure),
    }
}

/// The results of all, none of which failed.
fn all_values<T: 'static>(values: Vec<Outcome>) -> Outcome {
    let results: Vec<Part<T>> = values.into_iter().map(Outcome::into_parts).collect();
    lent_together(results, Result::ok, Some)
}

/// The outcome of each.
fn each_result<T: 'static>(outcomes: Vec<Outcome>) -> Outcome {
    let results: Vec<Part<T>> = outcomes.into_iter().map(Outcome::into_parts).collect();
    lent_together(results, Some, Result::ok)
}

type Part<T> = Result<(T, Option<GiveBack<T>>), Failure>;

/// A list that gives back what it was lent when it is not taken itself.
fn lent_together<T: 'static, R: 'static>(
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
        write!(f, "number {}", self.index)
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
            [] => f.write_str("there was none that could have come first"),
            [only] => only.fmt(f),
            [first, others @ ..] => write!(f, "all {} failed: {first}", others.len() + 1)
                .and_then(|()| others.iter().try_for_each(|other| write!(f, "; {other}"))),
        }
    }
}

// Its text has all of them.
impl Error for AllFailed {}
