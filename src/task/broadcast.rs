//! A channel in which each receiver gets each value.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::fmt;
use std::future::poll_fn;
use std::mem;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use super::SendError;
use crate::numbered::Numbered;

/// Creates a channel in which each receiver gets each value that is sent after it was made. Neither
/// half can be sent to another thread. (tokio: [`broadcast::channel`][tokio].)
///
/// Sending never waits. The channel keeps at most the last `capacity` values. Minimum: 1. A
/// receiver that is further behind gets [`BroadcastError::Lagged`] with the number of values that
/// it has missed, and goes on with the oldest value kept. A value that all receivers have got is
/// not kept.
///
/// ```
/// use twistor::task::{BroadcastError, broadcast};
///
/// twistor::block_on(async {
///     let (sender, mut receiver) = broadcast(2);
///     let mut late = sender.subscribe();
///     for number in 1..=3 {
///         sender.send(number).unwrap();
///         assert_eq!(receiver.recv().await, Ok(number));
///     }
///     assert_eq!(late.recv().await, Err(BroadcastError::Lagged(1)));
///     assert_eq!(late.recv().await, Ok(2));
///     drop(sender);
///     assert_eq!(late.recv().await, Ok(3));
///     assert_eq!(late.recv().await, Err(BroadcastError::Closed));
/// })?;
/// # Ok::<(), twistor::Error>(())
/// ```
///
/// [tokio]: https://docs.rs/tokio/latest/tokio/sync/broadcast/index.html
pub fn broadcast<T: Clone>(capacity: usize) -> (BroadcastSender<T>, BroadcastReceiver<T>) {
    let state = State {
        values: VecDeque::new(),
        first: 0,
        capacity: capacity.max(1),
        senders: 1,
        receivers: 0,
        last_id: 0,
        waiting: Numbered::new(),
    };
    let sender = BroadcastSender { state: Rc::new(RefCell::new(state)) };
    let receiver = sender.subscribe();
    (sender, receiver)
}

/// The sending half of a [`broadcast`] channel. It can be cloned.
pub struct BroadcastSender<T> {
    state: Rc<RefCell<State<T>>>,
}

/// The receiving half of a [`broadcast`] channel. A clone gets the values that this one has not got
/// yet.
pub struct BroadcastReceiver<T> {
    state: Rc<RefCell<State<T>>>,
    /// Number of the next value.
    next: u64,
    id: u64,
}

/// Error of a [`BroadcastReceiver`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BroadcastError {
    /// The receiver was too slow and has missed this number of values.
    Lagged(u64),
    /// All values were received and all senders are gone.
    Closed,
}

struct State<T> {
    values: VecDeque<Slot<T>>,
    /// Number of the first value kept.
    first: u64,
    capacity: usize,
    senders: usize,
    receivers: usize,
    last_id: u64,
    /// Receivers that wait, by id.
    waiting: Numbered<Waker>,
}

struct Slot<T> {
    /// In an `Rc`, because `T::clone` is user code and runs without a borrow.
    value: Rc<T>,
    /// Number of receivers that have not got it.
    pending: usize,
}

impl<T> State<T> {
    fn end(&self) -> u64 {
        self.first + self.values.len() as u64
    }

    /// Takes the value `number` for one receiver.
    fn take(&mut self, number: u64) -> Option<Rc<T>> {
        let index = usize::try_from(number.checked_sub(self.first)?).ok()?;
        let slot = self.values.get_mut(index)?;
        slot.pending -= 1;
        let value = Rc::clone(&slot.value);
        // A receiver gets the values in order, so the first ones are done first.
        while self.values.front().is_some_and(|slot| slot.pending == 0) {
            self.values.pop_front();
            self.first += 1;
        }
        Some(value)
    }

    fn add_receiver(&mut self) -> u64 {
        self.receivers += 1;
        self.last_id += 1;
        self.last_id
    }
}

impl<T: Clone> BroadcastSender<T> {
    /// Sends a value to all receivers. Returns their number.
    ///
    /// # Errors
    /// [`SendError`], with the value, if there is no receiver.
    pub fn send(&self, value: T) -> Result<usize, SendError<T>> {
        let mut state = self.state.borrow_mut();
        let receivers = state.receivers;
        if receivers == 0 {
            return Err(SendError(value));
        }
        let mut missed = None;
        if state.values.len() >= state.capacity {
            missed = state.values.pop_front();
            state.first += 1;
        }
        state.values.push_back(Slot { value: Rc::new(value), pending: receivers });
        let waiting = mem::take(&mut state.waiting);
        drop(state);
        drop(missed);
        waiting.into_values().for_each(Waker::wake);
        Ok(receivers)
    }

    /// Creates a receiver of the values that are sent from now on.
    pub fn subscribe(&self) -> BroadcastReceiver<T> {
        let mut state = self.state.borrow_mut();
        let (id, next) = (state.add_receiver(), state.end());
        BroadcastReceiver { state: Rc::clone(&self.state), next, id }
    }

    /// Number of receivers.
    pub fn receiver_count(&self) -> usize {
        self.state.borrow().receivers
    }
}

impl<T: Clone> BroadcastReceiver<T> {
    /// Receives the next value. Dropping the future loses none.
    ///
    /// # Errors
    /// - [`BroadcastError::Lagged`]: values were missed. The next call returns the oldest one kept.
    /// - [`BroadcastError::Closed`]: all senders are gone and all values were received.
    pub async fn recv(&mut self) -> Result<T, BroadcastError> {
        let (state, id) = (Rc::clone(&self.state), self.id);
        let _leave = LeaveOnDrop { state: &state, id };
        poll_fn(|context| self.poll_recv(context)).await
    }

    /// Receives the next value if there is one. `None`: none was sent yet.
    ///
    /// # Errors
    /// Those of [`recv`](BroadcastReceiver::recv).
    pub fn try_recv(&mut self) -> Result<Option<T>, BroadcastError> {
        let mut state = self.state.borrow_mut();
        let missed = state.first.saturating_sub(self.next);
        if missed > 0 {
            self.next = state.first;
            return Err(BroadcastError::Lagged(missed));
        }
        let taken = state.take(self.next);
        let closed = state.senders == 0;
        drop(state);
        match taken {
            Some(value) => {
                self.next += 1;
                Ok(Some(Rc::try_unwrap(value).unwrap_or_else(|shared| T::clone(&shared))))
            }
            None if closed => Err(BroadcastError::Closed),
            None => Ok(None),
        }
    }

    fn poll_recv(&mut self, context: &mut Context<'_>) -> Poll<Result<T, BroadcastError>> {
        match self.try_recv() {
            Ok(None) => {
                let before = self.state.borrow_mut().waiting.insert(self.id, context.waker().clone());
                // Its destructor may use this channel, so the borrow has ended.
                drop(before);
                Poll::Pending
            }
            Ok(Some(value)) => Poll::Ready(Ok(value)),
            Err(error) => Poll::Ready(Err(error)),
        }
    }

    /// Number of values that can be received now.
    pub fn len(&self) -> usize {
        let state = self.state.borrow();
        usize::try_from(state.end() - self.next.max(state.first)).unwrap_or(usize::MAX)
    }

    /// Whether no value can be received now.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Removes the waker of a `recv` that has ended or was dropped.
struct LeaveOnDrop<'a, T> {
    state: &'a RefCell<State<T>>,
    id: u64,
}

impl<T> Drop for LeaveOnDrop<'_, T> {
    fn drop(&mut self) {
        let waker = self.state.borrow_mut().waiting.remove(self.id);
        drop(waker);
    }
}

impl<T> Clone for BroadcastSender<T> {
    fn clone(&self) -> BroadcastSender<T> {
        self.state.borrow_mut().senders += 1;
        BroadcastSender { state: Rc::clone(&self.state) }
    }
}

impl<T> Drop for BroadcastSender<T> {
    fn drop(&mut self) {
        let mut state = self.state.borrow_mut();
        state.senders -= 1;
        if state.senders == 0 {
            let waiting = mem::take(&mut state.waiting);
            drop(state);
            waiting.into_values().for_each(Waker::wake);
        }
    }
}

impl<T> Clone for BroadcastReceiver<T> {
    fn clone(&self) -> BroadcastReceiver<T> {
        let mut state = self.state.borrow_mut();
        let (id, skip) = (state.add_receiver(), self.next.saturating_sub(state.first));
        let skip = usize::try_from(skip).unwrap_or(usize::MAX);
        state.values.iter_mut().skip(skip).for_each(|slot| slot.pending += 1);
        BroadcastReceiver { state: Rc::clone(&self.state), next: self.next, id }
    }
}

impl<T> Drop for BroadcastReceiver<T> {
    fn drop(&mut self) {
        let mut state = self.state.borrow_mut();
        state.receivers -= 1;
        let mut unread = Vec::new();
        self.next = self.next.max(state.first);
        while let Some(value) = state.take(self.next) {
            self.next += 1;
            unread.push(value);
        }
        drop(state);
        // Destructors of values are user code.
        drop(unread);
    }
}

impl fmt::Display for BroadcastError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BroadcastError::Lagged(count) => write!(f, "the receiver was too slow and missed {count} values"),
            BroadcastError::Closed => f.write_str("all senders are gone"),
        }
    }
}

impl std::error::Error for BroadcastError {}

impl<T> fmt::Debug for BroadcastSender<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BroadcastSender").finish_non_exhaustive()
    }
}

impl<T> fmt::Debug for BroadcastReceiver<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BroadcastReceiver").finish_non_exhaustive()
    }
}
