//! A bounded channel from tasks and threads to one receiver.

use std::collections::VecDeque;
use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};

/// Creates a bounded channel with any number of senders, in tasks and other threads, and one
/// receiver. It holds at most `capacity` values. Minimum: 1. Values are received in the order in
/// which they were sent. (asyncio: `Queue`.)
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
#[doc(alias("mpsc", "Queue"))]
pub fn channel<T>(capacity: usize) -> (Sender<T>, Receiver<T>) {
    let state = State {
        values: VecDeque::new(),
        capacity: capacity.max(1),
        receiver_alive: true,
        receiver: None,
        senders: 1,
        waiting: VecDeque::new(),
        last_ticket: 0,
    };
    let shared = Arc::new(Shared { state: Mutex::new(state) });
    (Sender { shared: Arc::clone(&shared) }, Receiver { shared })
}

/// The sending half of a channel. It can be cloned and sent to other threads.
#[doc(alias = "mpsc")]
pub struct Sender<T> {
    shared: Arc<Shared<T>>,
}

/// The receiving half of a channel, for a task or another thread.
#[doc(alias = "mpsc")]
pub struct Receiver<T> {
    shared: Arc<Shared<T>>,
}

/// Error: the receiver is gone. Contains the unsent value.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct SendError<T>(pub T);

/// Error of [`Sender::try_send`]. Contains the unsent value.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum TrySendError<T> {
    /// The channel is full.
    Full(T),
    /// The receiver is gone.
    Closed(T),
}

/// Error: the channel is empty and all senders are gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecvError;

struct Shared<T> {
    state: Mutex<State<T>>,
}

struct State<T> {
    values: VecDeque<T>,
    capacity: usize,
    receiver_alive: bool,
    receiver: Option<Waker>,
    senders: usize,
    /// Senders that wait for room, sorted by ticket.
    waiting: VecDeque<(u64, Waker)>,
    last_ticket: u64,
}

impl<T> State<T> {
    /// Position of a ticket in `waiting`. Tickets are ascending.
    fn position(&self, ticket: u64) -> Option<usize> {
        self.waiting.binary_search_by_key(&ticket, |(other, _)| *other).ok()
    }
}

impl<T> Shared<T> {
    /// The lock is poisoned if dropping a value panicked. The state is consistent then.
    fn lock(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a value if there is room. `is_first`: the caller is the first waiting sender. For other
    /// senders the channel counts as full while senders wait.
    fn put(&self, value: T, is_first: bool) -> Result<(), TrySendError<T>> {
        let mut state = self.lock();
        if !state.receiver_alive {
            return Err(TrySendError::Closed(value));
        }
        if state.values.len() >= state.capacity || (!is_first && !state.waiting.is_empty()) {
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
    /// Sends a value as soon as there is room. Waiting senders are served in the order of their
    /// arrival. If the future is dropped before the value is sent, the value is dropped.
    ///
    /// # Errors
    /// [`SendError`], with the value, if the receiver is gone.
    pub async fn send(&self, value: T) -> Result<(), SendError<T>> {
        let mut waiter = Waiter { shared: &self.shared, ticket: None };
        let mut value = Some(value);
        poll_fn(|context| {
            // The value was already sent: the future was polled after completion.
            let Some(unsent) = value.take() else { return Poll::Pending };
            let sent = self.shared.put(unsent, waiter.is_first());
            match sent {
                Ok(()) => Poll::Ready(Ok(())),
                Err(TrySendError::Closed(back)) => Poll::Ready(Err(SendError(back))),
                Err(TrySendError::Full(back)) => {
                    value = Some(back);
                    match waiter.wait(context) {
                        true => Poll::Pending,
                        // Room became available in between: poll again.
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

    /// Sends a value if there is room now.
    ///
    /// # Errors
    /// [`TrySendError`], with the value, if the channel is full or the receiver is gone.
    pub fn try_send(&self, value: T) -> Result<(), TrySendError<T>> {
        self.shared.put(value, false)
    }

    /// Sends a value and blocks the thread until there is room. Never call it on the reactor's
    /// thread, because it would block the loop.
    ///
    /// # Errors
    /// [`SendError`], with the value, if the receiver is gone.
    #[doc(alias = "blocking_send")]
    pub fn send_blocking(&self, value: T) -> Result<(), SendError<T>> {
        park_on(self.send(value))
    }

    /// Whether the receiver is gone.
    pub fn is_closed(&self) -> bool {
        !self.shared.lock().receiver_alive
    }
}

/// Runs a future by parking the current thread.
fn park_on<F: Future>(future: F) -> F::Output {
    let (mut future, waker) = (pin!(future), Waker::from(Arc::new(Parked(thread::current()))));
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
            return output;
        }
        thread::park();
    }
}

/// A waker that unparks a thread.
struct Parked(Thread);

impl Wake for Parked {
    fn wake(self: Arc<Parked>) {
        self.0.unpark();
    }
}

/// A sender's place in the queue of waiting senders.
struct Waiter<'a, T> {
    shared: &'a Shared<T>,
    ticket: Option<u64>,
}

impl<T> Waiter<'_, T> {
    fn is_first(&self) -> bool {
        let state = self.shared.lock();
        self.ticket.is_some() && state.waiting.front().map(|(ticket, _)| *ticket) == self.ticket
    }

    /// Joins the queue. Returns `false` if this is the first sender and there is room by now.
    fn wait(&mut self, context: &mut Context<'_>) -> bool {
        let mut waker = context.waker().clone();
        let mut state = self.shared.lock();
        let known = self.ticket.and_then(|own| state.position(own));
        match known.and_then(|position| state.waiting.get_mut(position)) {
            Some((_, before)) => std::mem::swap(before, &mut waker),
            None => {
                state.last_ticket += 1;
                let ticket = state.last_ticket;
                self.ticket = Some(ticket);
                state.waiting.push_back((ticket, waker.clone()));
            }
        }
        let first = state.waiting.front().map(|(ticket, _)| *ticket) == self.ticket;
        let waits = !(first && state.values.len() < state.capacity);
        drop(state);
        // Drop the previous waker without the lock: its destructor may use this channel.
        drop(waker);
        waits
    }
}

/// Leaves the queue and wakes the next sender if there is room.
impl<T> Drop for Waiter<'_, T> {
    fn drop(&mut self) {
        let Some(own) = self.ticket else { return };
        let mut state = self.shared.lock();
        let removed = state.position(own).and_then(|position| state.waiting.remove(position));
        let next = match state.values.len() < state.capacity {
            true => state.waiting.front().map(|(_, waker)| waker.clone()),
            false => None,
        };
        drop(state);
        drop(removed);
        wake(next);
    }
}

impl<T> Receiver<T> {
    /// Receives the next value. Returns `None` when the channel is empty and all senders are gone.
    /// Dropping the future loses no value.
    pub async fn recv(&mut self) -> Option<T> {
        poll_fn(|context| match self.try_recv() {
            Ok(Some(value)) => Poll::Ready(Some(value)),
            Err(RecvError) => Poll::Ready(None),
            Ok(None) => {
                let mut waker = Some(context.waker().clone());
                let mut state = self.shared.lock();
                // Check again under the lock: a value may have arrived in between.
                let waits = state.values.is_empty() && state.senders > 0;
                if waits {
                    std::mem::swap(&mut state.receiver, &mut waker);
                }
                drop(state);
                // Drop the previous waker without the lock: its destructor may use this channel.
                drop(waker);
                if !waits {
                    context.waker().wake_by_ref();
                }
                Poll::Pending
            }
        })
        .await
    }

    /// Receives the next value and blocks the thread until there is one. Never call it on the
    /// reactor's thread, because it would block the loop.
    #[doc(alias = "blocking_recv")]
    pub fn recv_blocking(&mut self) -> Option<T> {
        park_on(self.recv())
    }

    /// Receives the next value if there is one. `None`: the channel is empty.
    ///
    /// # Errors
    /// [`RecvError`] if the channel is empty and all senders are gone.
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

    /// Number of queued values.
    pub fn len(&self) -> usize {
        self.shared.lock().values.len()
    }

    /// Whether the channel is empty.
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
        state.receiver_alive = false;
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
        f.write_str("the receiver is gone")
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
            TrySendError::Full(_) => "the channel is full",
            TrySendError::Closed(_) => "the receiver is gone",
        })
    }
}

impl<T> std::error::Error for TrySendError<T> {}

impl fmt::Display for RecvError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("all senders are gone")
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
