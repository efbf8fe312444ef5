//! Wake-ups between tasks, without a value.

use std::cell::RefCell;
use std::fmt;
use std::future::Future;
use std::mem;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use crate::numbered::Numbered;

/// Wakes tasks that wait for a change of state that they share. Tasks share it in an
/// [`Rc`](std::rc::Rc). (tokio: [`Notify`][tokio]; asyncio: `Condition`, without its lock.)
///
/// - [`notify_one`](Notify::notify_one) wakes the task that has waited longest. If no task waits,
///   it stores one permit, which the next [`notified`](Notify::notified) takes at once. Several
///   calls store one permit.
/// - [`notify_waiters`](Notify::notify_waiters) wakes all tasks that wait, and stores nothing. A
///   `notified()` future counts as waiting from the call that made it, before it is polled.
///
/// A future that is dropped after `notify_one` chose it passes the wake-up on to the next one.
///
/// ```
/// use std::cell::Cell;
/// use std::rc::Rc;
/// use twistor::task::{self, Notify};
///
/// twistor::block_on(async {
///     let shared = Rc::new((Cell::new(0), Notify::new()));
///     let theirs = Rc::clone(&shared);
///     task::spawn(async move {
///         theirs.0.set(7);
///         theirs.1.notify_one();
///     }).detach();
///     while shared.0.get() == 0 {
///         shared.1.notified().await;
///     }
/// })?;
/// # Ok::<(), twistor::Error>(())
/// ```
///
/// [tokio]: https://docs.rs/tokio/latest/tokio/sync/struct.Notify.html
#[derive(Default)]
pub struct Notify {
    state: RefCell<State>,
}

#[derive(Default)]
struct State {
    permit: bool,
    /// Number of calls of `notify_waiters`.
    broadcasts: u64,
    /// Waiting futures by ticket. Tickets ascend, so the first has waited longest.
    waiting: Numbered<Waker>,
    /// Futures that `notify_one` chose and that have not been polled since.
    chosen: Numbered<()>,
    last_ticket: u64,
}

impl Notify {
    /// Creates a `Notify` without a permit.
    pub fn new() -> Notify {
        Notify::default()
    }

    /// Wakes the task that has waited longest, or stores a permit.
    pub fn notify_one(&self) {
        let mut state = self.state.borrow_mut();
        let waker = match state.waiting.pop_first() {
            Some((ticket, waker)) => {
                state.chosen.insert(ticket, ());
                Some(waker)
            }
            None => {
                state.permit = true;
                None
            }
        };
        drop(state);
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Wakes all tasks that wait now. A stored permit stays.
    pub fn notify_waiters(&self) {
        let mut state = self.state.borrow_mut();
        state.broadcasts += 1;
        let waiting = mem::take(&mut state.waiting);
        drop(state);
        waiting.into_values().for_each(Waker::wake);
    }

    /// Waits for a notification. Dropping the future loses none.
    pub fn notified(&self) -> Notified<'_> {
        Notified { notify: self, broadcasts: self.state.borrow().broadcasts, ticket: None, done: false }
    }
}

impl fmt::Debug for Notify {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.state.borrow();
        let mut shown = f.debug_struct("Notify");
        shown.field("permit", &state.permit).field("waiting", &state.waiting.len()).finish()
    }
}

/// The future of [`Notify::notified`].
#[must_use = "a future does nothing until it is awaited"]
#[derive(Debug)]
pub struct Notified<'a> {
    notify: &'a Notify,
    /// `State::broadcasts` when the future was made.
    broadcasts: u64,
    ticket: Option<u64>,
    done: bool,
}

impl Future for Notified<'_> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        if self.done {
            return Poll::Ready(());
        }
        let mut state = self.notify.state.borrow_mut();
        let chosen = self.ticket.is_some_and(|ticket| state.chosen.remove(ticket).is_some());
        let notified = chosen
            || state.broadcasts != self.broadcasts
            || (self.ticket.is_none() && mem::take(&mut state.permit));
        if notified {
            drop(state);
            (self.done, self.ticket) = (true, None);
            return Poll::Ready(());
        }
        let ticket = self.ticket.unwrap_or_else(|| {
            state.last_ticket += 1;
            state.last_ticket
        });
        let before = match state.waiting.get(ticket) {
            Some(known) if known.will_wake(context.waker()) => None,
            _ => state.waiting.insert(ticket, context.waker().clone()),
        };
        drop(state);
        // Its destructor may use this `Notify`, so the borrow has ended.
        drop(before);
        self.ticket = Some(ticket);
        Poll::Pending
    }
}

impl Drop for Notified<'_> {
    fn drop(&mut self) {
        let Some(ticket) = self.ticket else { return };
        let mut state = self.notify.state.borrow_mut();
        let (waker, chosen) = (state.waiting.remove(ticket), state.chosen.remove(ticket));
        drop(state);
        drop(waker);
        if chosen.is_some() {
            self.notify.notify_one();
        }
    }
}
