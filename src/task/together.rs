//! Several futures at once, in one task.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, PoisonError};
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
/// assert_eq!(first, Either::First("at once"));
/// # Ok::<(), twistor::Error>(())
/// ```
pub async fn select<A: Future, B: Future>(one: A, other: B) -> Either<A::Output, B::Output> {
    let (mut one, mut other) = (pin!(one), pin!(other));
    std::future::poll_fn(|context| {
        if let Poll::Ready(result) = one.as_mut().poll(context) {
            return Poll::Ready(Either::First(result));
        }
        other.as_mut().poll(context).map(Either::Second)
    })
    .await
}

/// Which of two came first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Either<A, B> {
    /// The one that was given first.
    First(A),
    /// The other.
    Second(B),
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
    let mut crowd = Crowd::new(futures);
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
    let mut crowd = Crowd::new(futures);
    std::future::poll_fn(|context| crowd.poll_next(context)).await
}

/// Many futures, and which of them were woken.
struct Crowd<F> {
    members: Vec<Option<(Pin<Box<F>>, Waker)>>,
    woken: Arc<Woken>,
}

#[derive(Default)]
struct Woken {
    state: Mutex<(VecDeque<usize>, Option<Waker>)>,
}

struct Member {
    index: usize,
    woken: Arc<Woken>,
}

impl<F: Future> Crowd<F> {
    fn new(futures: impl IntoIterator<Item = F>) -> Crowd<F> {
        let woken = Arc::new(Woken::default());
        let member = |(index, future)| {
            let waker = Waker::from(Arc::new(Member { index, woken: Arc::clone(&woken) }));
            Some((Box::pin(future), waker))
        };
        let members: Vec<_> = futures.into_iter().enumerate().map(member).collect();
        woken.lock().0.extend(0..members.len());
        Crowd { members, woken }
    }

    fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<(usize, F::Output)> {
        loop {
            let index = {
                let mut state = self.woken.lock();
                let Some(index) = state.0.pop_front() else {
                    state.1 = Some(context.waker().clone());
                    return Poll::Pending;
                };
                index
            };
            let Some(place) = self.members.get_mut(index) else { continue };
            let Some((future, waker)) = place else { continue };
            if let Poll::Ready(result) = future.as_mut().poll(&mut Context::from_waker(waker)) {
                *place = None;
                return Poll::Ready((index, result));
            }
        }
    }
}

impl Woken {
    fn lock(&self) -> std::sync::MutexGuard<'_, (VecDeque<usize>, Option<Waker>)> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Wake for Member {
    fn wake(self: Arc<Member>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Member>) {
        let waker = {
            let mut state = self.woken.lock();
            // A place in the queue for each wake-up would let it grow without end.
            if !state.0.contains(&self.index) {
                state.0.push_back(self.index);
            }
            state.1.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}
