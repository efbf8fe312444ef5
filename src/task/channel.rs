//! A way from tasks and threads to a task.

use std::collections::VecDeque;
use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};

/// A queue of at most `capacity` values (at least one): any number of senders, in tasks and other threads, and one receiver.
/// Values come in the order in which they were sent. (asyncio: `Queue`.)
///
/// ```
/// use twistor::task;
///
/// let sum = twistor::block_on(async {
///     let (sender, mut receiver) = task::channel(2);
///     let there = sender.clone();
///     std::thread::spawn(move || there.send_blocking(40));
///     task::spawn(async move { sender.send(2).await }).detach();
///     let mut sum = 0;
///     while let Some(number) = receiver.recv().await {
///         sum += number;
///     }
///     sum
/// })?;
/// assert_eq!(sum, 42);
/// # Ok::<(), twistor::Error>(())
/// ```
pub fn channel<T>(capacity: usize) -> (Sender<T>, Receiver<T>) {
    let state = State {
        values: VecDeque::new(),
        capacity: capacity.max(1),
        receives: true,
        receiver: None,
        senders: 1,
        waiting: VecDeque::new(),
        tickets: 0,
    };
    let shared = Arc::new(Shared { state: Mutex::new(state) });
    (Sender { shared: Arc::clone(&shared) }, Receiver { shared })
}

/// The end where values go in. Clone it, send it to other threads.
pub struct Sender<T> {
    shared: Arc<Shared<T>>,
}

/// The end where values come out, in a task or another thread.
pub struct Receiver<T> {
    shared: Arc<Shared<T>>,
}

/// Nobody receives any more: the value comes back.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct SendError<T>(pub T);

/// The value was not taken, and comes back.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum TrySendError<T> {
    /// There is no room now.
    Full(T),
    /// Nobody receives any more.
    Closed(T),
}

/// Nothing is there, and nothing will come: all senders are gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecvError;

struct Shared<T> {
    state: Mutex<State<T>>,
}

struct State<T> {
    values: VecDeque<T>,
    capacity: usize,
    receives: bool,
    receiver: Option<Waker>,
    senders: usize,
    /// Tasks and threads that wait for room, the longest first.
    waiting: VecDeque<(u64, Waker)>,
    tickets: u64,
}

impl<T> State<T> {
    /// Where in line a ticket stands: they ascend.
    fn position(&self, ticket: u64) -> Option<usize> {
        self.waiting.binary_search_by_key(&ticket, |(other, _)| *other).ok()
    }
}

impl<T> Shared<T> {
    /// A poisoned lock means that dropping a value panicked; the queue is whole.
    fn lock(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts a value in, if it is taken. `before`: those who wait before it; nobody overtakes them.
    fn put(&self, value: T, overtakes: bool) -> Result<(), TrySendError<T>> {
        let mut state = self.lock();
        if !state.receives {
            return Err(TrySendError::Closed(value));
        }
        if state.values.len() >= state.capacity || (!overtakes && !state.waiting.is_empty()) {
            return Err(TrySendError::Full(value));
        }
        state.values.push_back(value);
        let receiver = state.receiver.take();
        drop(state);
        wake(receiver);
        Ok(())
    }
}

impl<T> Sender<T> {
    /// Sends a value, as soon as there is room; those who wait have it in the order in which they came. Dropped before it is
    /// sent, the value is dropped.
    ///
    /// # Errors
    /// [`SendError`] with the value when the receiver is gone.
    pub async fn send(&self, value: T) -> Result<(), SendError<T>> {
        let mut place = Place { shared: &self.shared, ticket: None };
        let mut value = Some(value);
        poll_fn(|context| {
            // Polled again after the end: there is nothing to send.
            let Some(unsent) = value.take() else { return Poll::Pending };
            let sent = self.shared.put(unsent, place.is_first());
            match sent {
                Ok(()) => Poll::Ready(Ok(())),
                Err(TrySendError::Closed(back)) => Poll::Ready(Err(SendError(back))),
                Err(TrySendError::Full(back)) => {
                    value = Some(back);
                    match place.wait(context) {
                        true => Poll::Pending,
                        // Room came in between.
                        false => {
                            context.waker().wake_by_ref();
                            Poll::Pending
                        }
                    }
                }
            }
        })
        .await
    }

    /// Sends a value now.
    ///
    /// # Errors
    /// [`TrySendError`] with the value.
    pub fn try_send(&self, value: T) -> Result<(), TrySendError<T>> {
        self.shared.put(value, false)
    }

    /// Sends a value from a thread that may wait: never the reactor's own, which would stand still.
    ///
    /// # Errors
    /// [`SendError`] with the value when the receiver is gone.
    pub fn send_blocking(&self, value: T) -> Result<(), SendError<T>> {
        park_on(self.send(value))
    }

    /// Whether the receiver is gone.
    pub fn is_closed(&self) -> bool {
        !self.shared.lock().receives
    }
}

/// Waits on a thread of its own.
fn park_on<F: Future>(future: F) -> F::Output {
    let (mut future, waker) = (pin!(future), Waker::from(Arc::new(Parked(thread::current()))));
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
            return output;
        }
        thread::park();
    }
}

/// A thread that waits.
struct Parked(Thread);

impl Wake for Parked {
    fn wake(self: Arc<Parked>) {
        self.0.unpark();
    }
}

/// A place in the line of those who wait for room.
struct Place<'a, T> {
    shared: &'a Shared<T>,
    ticket: Option<u64>,
}

impl<T> Place<'_, T> {
    fn is_first(&self) -> bool {
        let state = self.shared.lock();
        self.ticket.is_some() && state.waiting.front().map(|(ticket, _)| *ticket) == self.ticket
    }

    /// `false` when there is room by now for the first in line.
    fn wait(&mut self, context: &mut Context<'_>) -> bool {
        let mut waker = context.waker().clone();
        let mut state = self.shared.lock();
        let known = self.ticket.and_then(|own| state.position(own));
        match known.and_then(|position| state.waiting.get_mut(position)) {
            Some((_, before)) => std::mem::swap(before, &mut waker),
            None => {
                state.tickets += 1;
                let ticket = state.tickets;
                self.ticket = Some(ticket);
                state.waiting.push_back((ticket, waker.clone()));
            }
        }
        let first = state.waiting.front().map(|(ticket, _)| *ticket) == self.ticket;
        let waits = !(first && state.values.len() < state.capacity);
        drop(state);
        // The one before goes now, and what it owns may come back here.
        drop(waker);
        waits
    }
}

/// Leaves the line, and lets the next one look.
impl<T> Drop for Place<'_, T> {
    fn drop(&mut self) {
        let Some(own) = self.ticket else { return };
        let mut state = self.shared.lock();
        let left = state.position(own).and_then(|position| state.waiting.remove(position));
        let next = match state.values.len() < state.capacity {
            true => state.waiting.front().map(|(_, waker)| waker.clone()),
            false => None,
        };
        drop(state);
        drop(left);
        wake(next);
    }
}

impl<T> Receiver<T> {
    /// The next value; `None` when all senders are gone. Dropped before it comes, nothing is lost.
    pub async fn recv(&mut self) -> Option<T> {
        poll_fn(|context| match self.try_recv() {
            Ok(Some(value)) => Poll::Ready(Some(value)),
            Err(RecvError) => Poll::Ready(None),
            Ok(None) => {
                let mut waker = Some(context.waker().clone());
                let mut state = self.shared.lock();
                // Looked at again under the lock: one may have come in between.
                let waits = state.values.is_empty() && state.senders > 0;
                if waits {
                    std::mem::swap(&mut state.receiver, &mut waker);
                }
                drop(state);
                // The one before goes now, and what it owns may come back here.
                drop(waker);
                if !waits {
                    context.waker().wake_by_ref();
                }
                Poll::Pending
            }
        })
        .await
    }

    /// The next value, for a thread that may wait: never the reactor's own, which would stand still.
    pub fn recv_blocking(&mut self) -> Option<T> {
        park_on(self.recv())
    }

    /// The next value, if it is there.
    ///
    /// # Errors
    /// [`RecvError`] when none will come.
    pub fn try_recv(&self) -> Result<Option<T>, RecvError> {
        let mut state = self.shared.lock();
        match state.values.pop_front() {
            Some(value) => {
                let waiter = state.waiting.front().map(|(_, waker)| waker.clone());
                drop(state);
                wake(waiter);
                Ok(Some(value))
            }
            None if state.senders == 0 => Err(RecvError),
            None => Ok(None),
        }
    }

    /// How many values wait.
    pub fn len(&self) -> usize {
        self.shared.lock().values.len()
    }

    /// Whether none waits.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl<T> Clone for Sender<T> {
    fn clone(&self) -> Sender<T> {
        self.shared.lock().senders += 1;
        Sender { shared: Arc::clone(&self.shared) }
    }
}

impl<T> Drop for Sender<T> {
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        state.senders -= 1;
        if state.senders == 0 {
            let receiver = state.receiver.take();
            drop(state);
            wake(receiver);
        }
    }
}

impl<T> Drop for Receiver<T> {
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        state.receives = false;
        let values = std::mem::take(&mut state.values);
        let waiting = std::mem::take(&mut state.waiting);
        drop(state);
        for (_, waker) in waiting {
            waker.wake();
        }
        drop(values);
    }
}

fn wake(waker: Option<Waker>) {
    if let Some(waker) = waker {
        waker.wake();
    }
}

impl<T> fmt::Debug for SendError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SendError")
    }
}

impl<T> fmt::Display for SendError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("nobody receives any more")
    }
}

impl<T> std::error::Error for SendError<T> {}

impl<T> fmt::Debug for TrySendError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            TrySendError::Full(_) => "Full",
            TrySendError::Closed(_) => "Closed",
        })
    }
}

impl<T> fmt::Display for TrySendError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            TrySendError::Full(_) => "there is no room now",
            TrySendError::Closed(_) => "nobody receives any more",
        })
    }
}

impl<T> std::error::Error for TrySendError<T> {}

impl fmt::Display for RecvError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("nobody sends any more")
    }
}

impl std::error::Error for RecvError {}

impl<T> fmt::Debug for Sender<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sender").finish_non_exhaustive()
    }
}

impl<T> fmt::Debug for Receiver<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Receiver").finish_non_exhaustive()
    }
}
