//! Several futures at once, in one task.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker};

/// Both results. (asyncio: `gather`.)
///
/// ```
/// use twistor::task::{join, yield_now};
///
/// let both = twistor::block_on(join(async { 1 }, async { yield_now().await; "two" }))?;
/// assert_eq!(both, (1, "two"));
/// # Ok::<(), twistor::Error>(())
/// ```
pub async fn join<A: Future, B: Future>(one: A, other: B) -> (A::Output, B::Output) {
    let (mut one, mut other) = (pin!(one), pin!(other));
    let (mut first, mut second) = (None, None);
    std::future::poll_fn(|context| {
        if first.is_none()
            && let Poll::Ready(result) = one.as_mut().poll(context)
        {
            first = Some(result);
        }
        if second.is_none()
            && let Poll::Ready(result) = other.as_mut().poll(context)
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

/// The first of two results; the other future is dropped. If both are there, it is the one that was given first.
///
/// ```
/// use std::time::Duration;
/// use twistor::task::{Either, select, sleep};
///
/// let first = twistor::block_on(select(async { "at once" }, sleep(Duration::from_secs(60))))?;
/// assert_eq!(first, Either::Left("at once"));
/// # Ok::<(), twistor::Error>(())
/// ```
pub async fn select<A: Future, B: Future>(one: A, other: B) -> Either<A::Output, B::Output> {
    let (mut one, mut other) = (pin!(one), pin!(other));
    std::future::poll_fn(|context| {
        if let Poll::Ready(result) = one.as_mut().poll(context) {
            return Poll::Ready(Either::Left(result));
        }
        other.as_mut().poll(context).map(Either::Right)
    })
    .await
}

/// Which of two came first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Either<A, B> {
    /// The one that was given first.
    Left(A),
    /// The other.
    Right(B),
}

/// All results, in the order of the futures, of which each is polled when it is woken and not else. (asyncio: `gather`.)
///
/// ```
/// use twistor::task::join_all;
///
/// let squares = twistor::block_on(join_all((1..=3).map(|n| async move { n * n })))?;
/// assert_eq!(squares, [1, 4, 9]);
/// # Ok::<(), twistor::Error>(())
/// ```
pub async fn join_all<F: Future>(futures: impl IntoIterator<Item = F>) -> Vec<F::Output> {
    let mut crowd = FutureSet::new(futures);
    let mut results: Vec<Option<F::Output>> = crowd.members.iter().map(|_| None).collect();
    let mut missing = results.len();
    while missing > 0 {
        let (index, result) = std::future::poll_fn(|context| crowd.poll_next(context)).await;
        if let Some(place) = results.get_mut(index) {
            *place = Some(result);
            missing -= 1;
        }
    }
    // None is missing.
    results.into_iter().flatten().collect()
}

/// The first of many results, and the place of its future; the others are dropped. Of none, it never comes.
///
/// ```
/// use twistor::task::select_all;
///
/// let (index, result) = twistor::block_on(select_all([std::future::ready("a"), std::future::ready("b")]))?;
/// assert_eq!((index, result), (0, "a"));
/// # Ok::<(), twistor::Error>(())
/// ```
pub async fn select_all<F: Future>(futures: impl IntoIterator<Item = F>) -> (usize, F::Output) {
    let mut crowd = FutureSet::new(futures);
    std::future::poll_fn(|context| crowd.poll_next(context)).await
}

/// Many futures, and which of them were woken.
struct FutureSet<F> {
    members: Vec<Option<FutureSlot<F>>>,
    woken: Arc<WokenSet>,
}

struct FutureSlot<F> {
    future: Pin<Box<F>>,
    bell: Arc<SlotWaker>,
    waker: Waker,
}

/// Those that were woken, in order, and who waits for that.
#[derive(Default)]
struct WokenSet {
    state: Mutex<(VecDeque<usize>, Option<Waker>)>,
}

/// Puts its member among the woken, once.
struct SlotWaker {
    index: usize,
    rung: AtomicBool,
    woken: Arc<WokenSet>,
}

impl<F: Future> FutureSet<F> {
    fn new(futures: impl IntoIterator<Item = F>) -> FutureSet<F> {
        let woken = Arc::new(WokenSet::default());
        let member = |(index, future)| {
            // Each is polled at first.
            let bell = Arc::new(SlotWaker { index, rung: AtomicBool::new(true), woken: Arc::clone(&woken) });
            Some(FutureSlot { future: Box::pin(future), waker: Waker::from(Arc::clone(&bell)), bell })
        };
        let members: Vec<_> = futures.into_iter().enumerate().map(member).collect();
        woken.lock().0.extend(0..members.len());
        FutureSet { members, woken }
    }

    /// Polls those that were woken so far. Who is woken by that waits until this is polled again: the loop has its turn first.
    fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<(usize, F::Output)> {
        let share = self.woken.lock().0.len();
        for _ in 0..share {
            let Some(index) = self.woken.lock().0.pop_front() else { break };
            let Some(place) = self.members.get_mut(index) else { continue };
            let Some(member) = place else { continue };
            member.bell.rung.store(false, Ordering::SeqCst);
            if let Poll::Ready(result) = member.future.as_mut().poll(&mut Context::from_waker(&member.waker))
            {
                *place = None;
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
    /// A poisoned lock means that a push panicked for want of memory; the queue is whole.
    fn lock(&self) -> MutexGuard<'_, (VecDeque<usize>, Option<Waker>)> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Wake for SlotWaker {
    fn wake(self: Arc<SlotWaker>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<SlotWaker>) {
        if self.rung.swap(true, Ordering::SeqCst) {
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
