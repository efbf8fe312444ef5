//! Waiting for several futures in one task.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker};

use slab::Slab;

/// Runs two futures concurrently and returns both results. (asyncio: `gather`.)
///
/// ```
/// use twistor::task::{join, yield_now};
///
/// let both = twistor::block_on(join(async { 1 }, async { yield_now().await; "two" }))?;
/// assert_eq!(both, (1, "two"));
/// # Ok::<(), twistor::Error>(())
/// ```
#[doc(alias = "gather")]
pub async fn join<A: Future, B: Future>(left: A, right: B) -> (A::Output, B::Output) {
    let (mut left, mut right) = (pin!(left), pin!(right));
    let (mut first, mut second) = (None, None);
    std::future::poll_fn(|context| {
        if first.is_none()
            && let Poll::Ready(result) = left.as_mut().poll(context)
        {
            first = Some(result);
        }
        if second.is_none()
            && let Poll::Ready(result) = right.as_mut().poll(context)
        {
            second = Some(result);
        }
        match (first.take(), second.take()) {
            (Some(first), Some(second)) => Poll::Ready((first, second)),
            not_yet => {
                (first, second) = not_yet;
                Poll::Pending
            }
        }
    })
    .await
}

/// Runs two futures concurrently, returns the first result, and drops the other future. If both are
/// ready, the result of the first argument is returned.
///
/// ```
/// use std::time::Duration;
/// use twistor::task::{Either, select, sleep};
///
/// let first = twistor::block_on(select(async { "at once" }, sleep(Duration::from_secs(60))))?;
/// assert_eq!(first, Either::Left("at once"));
/// # Ok::<(), twistor::Error>(())
/// ```
///
/// # More than two
///
/// Calls nest, and the first argument that is ready wins. [`select_all`] takes any number of
/// futures of one type. The macros of the crate `futures` work as well. In a loop, use futures that
/// lose nothing when they are dropped, as all of this crate.
///
/// ```
/// use std::time::Duration;
/// use twistor::task::Either::{Left, Right};
/// use twistor::task::{self, select, sleep, stopping};
///
/// twistor::block_on(async {
///     let (sender, mut receiver) = task::channel(1);
///     sender.send("hello").await.unwrap();
///     drop(sender);
///     loop {
///         let idle = sleep(Duration::from_secs(60));
///         match select(stopping(), select(receiver.recv(), idle)).await {
///             Left(()) => break println!("the program stops"),
///             Right(Left(Some(message))) => println!("{message}"),
///             Right(Left(None)) => break,
///             Right(Right(())) => break println!("nothing for a minute"),
///         }
///     }
/// })?;
/// # Ok::<(), twistor::Error>(())
/// ```
pub async fn select<A: Future, B: Future>(left: A, right: B) -> Either<A::Output, B::Output> {
    let (mut left, mut right) = (pin!(left), pin!(right));
    std::future::poll_fn(|context| {
        if let Poll::Ready(result) = left.as_mut().poll(context) {
            return Poll::Ready(Either::Left(result));
        }
        right.as_mut().poll(context).map(Either::Right)
    })
    .await
}

/// The result of [`select`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Either<A, B> {
    /// The first future completed first.
    Left(A),
    /// The second future completed first.
    Right(B),
}

/// Runs many futures concurrently and returns all results in their order. Each future is polled
/// only when it was woken. (asyncio: `gather`.)
///
/// ```
/// use twistor::task::join_all;
///
/// let squares = twistor::block_on(join_all((1..=3).map(|n| async move { n * n })))?;
/// assert_eq!(squares, [1, 4, 9]);
/// # Ok::<(), twistor::Error>(())
/// ```
#[doc(alias("gather", "JoinSet", "TaskGroup"))]
pub async fn join_all<F: Future>(futures: impl IntoIterator<Item = F>) -> Vec<F::Output> {
    let mut set = FutureSet::new(futures);
    let mut results: Vec<Option<F::Output>> = set.members.iter().map(|_| None).collect();
    let mut pending = results.len();
    while pending > 0 {
        let (index, result) = std::future::poll_fn(|context| set.poll_next(context)).await;
        if let Some(place) = results.get_mut(index) {
            *place = Some(result);
            pending -= 1;
        }
    }
    // All results are there.
    results.into_iter().flatten().collect()
}

/// Runs many futures concurrently, returns the first result and the index of its future, and drops
/// the others. With no futures it never completes.
///
/// ```
/// use twistor::task::select_all;
///
/// let futures = [std::future::ready("a"), std::future::ready("b")];
/// let (index, result) = twistor::block_on(select_all(futures))?;
/// assert_eq!((index, result), (0, "a"));
/// # Ok::<(), twistor::Error>(())
/// ```
#[doc(alias("FIRST_COMPLETED", "as_completed"))]
pub async fn select_all<F: Future>(futures: impl IntoIterator<Item = F>) -> (usize, F::Output) {
    let mut set = FutureSet::new(futures);
    std::future::poll_fn(|context| set.poll_next(context)).await
}

/// A set of futures that records which of them were woken.
pub(super) struct FutureSet<F> {
    members: Slab<FutureSlot<F>>,
    woken: Arc<WokenSet>,
}

struct FutureSlot<F> {
    future: Pin<Box<F>>,
    slot_waker: Arc<SlotWaker>,
    waker: Waker,
}

/// The woken members in order, and the waker of the task that polls the set.
#[derive(Default)]
struct WokenSet {
    state: Mutex<(VecDeque<usize>, Option<Waker>)>,
}

/// The waker of one member. It adds the member to the woken set at most once.
struct SlotWaker {
    index: usize,
    queued: AtomicBool,
    woken: Arc<WokenSet>,
}

impl<F> FutureSet<F> {
    /// Creates a set. A future's index is its position, unless others are inserted later.
    pub(super) fn new(futures: impl IntoIterator<Item = F>) -> FutureSet<F> {
        let mut set = FutureSet { members: Slab::new(), woken: Arc::default() };
        futures.into_iter().for_each(|future| set.insert(future));
        set
    }

    pub(super) fn insert(&mut self, future: F) {
        let entry = self.members.vacant_entry();
        let (index, woken) = (entry.key(), Arc::clone(&self.woken));
        // Every future is polled once at the start.
        let slot_waker = Arc::new(SlotWaker { index, queued: AtomicBool::new(true), woken });
        let waker = Waker::from(Arc::clone(&slot_waker));
        entry.insert(FutureSlot { future: Box::pin(future), waker, slot_waker });
        self.woken.lock().0.push_back(index);
    }

    pub(super) fn len(&self) -> usize {
        self.members.len()
    }
}

impl<F: Unpin> FutureSet<F> {
    pub(super) fn for_each(&self, call: impl Fn(&F)) {
        self.members.iter().for_each(|(_, member)| call(&member.future));
    }

    pub(super) fn into_futures(self) -> impl Iterator<Item = F> {
        self.members.into_iter().map(|(_, member)| *Pin::into_inner(member.future))
    }
}

impl<F: Future> FutureSet<F> {
    /// Polls the members woken so far. Members woken meanwhile are polled in the next call, so that
    /// the loop gets a turn in between.
    pub(super) fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<(usize, F::Output)> {
        let share = self.woken.lock().0.len();
        for _ in 0..share {
            let Some(index) = self.woken.lock().0.pop_front() else { break };
            // An index may be that of a member that has completed, or of its successor.
            let Some(member) = self.members.get_mut(index) else { continue };
            member.slot_waker.queued.store(false, Ordering::SeqCst);
            if let Poll::Ready(result) = member.future.as_mut().poll(&mut Context::from_waker(&member.waker))
            {
                let done = self.members.try_remove(index);
                drop(done);
                return Poll::Ready((index, result));
            }
        }
        let mut waker = Some(context.waker().clone());
        let mut state = self.woken.lock();
        let waits = state.0.is_empty();
        if waits {
            std::mem::swap(&mut state.1, &mut waker);
        }
        drop(state);
        drop(waker);
        if !waits {
            context.waker().wake_by_ref();
        }
        Poll::Pending
    }
}

impl WokenSet {
    /// The lock is poisoned if a push ran out of memory. The queue is consistent then.
    fn lock(&self) -> MutexGuard<'_, (VecDeque<usize>, Option<Waker>)> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Wake for SlotWaker {
    fn wake(self: Arc<SlotWaker>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<SlotWaker>) {
        if self.queued.swap(true, Ordering::SeqCst) {
            return;
        }
        let waiting = {
            let mut state = self.woken.lock();
            state.0.push_back(self.index);
            state.1.take()
        };
        if let Some(waker) = waiting {
            waker.wake();
        }
    }
}
