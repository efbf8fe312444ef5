//! Waiting for a time.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use super::here;
use crate::reactor::{DelayedCall, Handle, Instant, TimedCall};

/// Waits for `delay`, counted from when it is first polled; never less than until the next turn. Dropped before, it leaves
/// no timer behind. (asyncio: `sleep`.)
///
/// ```
/// # use std::time::Duration;
/// twistor::block_on(async {
///     twistor::task::sleep(Duration::from_millis(1)).await;
/// })?;
/// # Ok::<(), twistor::Error>(())
/// ```
pub fn sleep(delay: Duration) -> Sleep {
    Sleep { state: State::Unstarted(delay) }
}

/// Waits until a time, or for the next turn if that has passed.
pub fn sleep_until(time: Instant) -> Sleep {
    Sleep { state: State::Until(time) }
}

/// See [`sleep`].
#[must_use = "a future does nothing until it is awaited"]
pub struct Sleep {
    state: State,
}

enum State {
    Unstarted(Duration),
    Until(Instant),
    Asleep { handle: Handle, timer: DelayedCall, waker: Waker, until: Instant },
    Over,
}

impl Future for Sleep {
    type Output = ();

    /// # Panics
    /// Outside of a task, where there is no clock.
    fn poll(mut self: Pin<&mut Sleep>, context: &mut Context<'_>) -> Poll<()> {
        let waker = context.waker();
        match &mut self.state {
            State::Over => return Poll::Ready(()),
            // It was taken to another reactor.
            State::Asleep { handle, timer, until, .. } if !handle.finished() && !is_here(handle) => {
                let (timer, until) = (*timer, *until);
                handle.cancel(timer);
                self.state = State::Until(until);
            }
            State::Asleep { handle, timer, waker: known, .. } => {
                let (timer, same) = (*timer, known.will_wake(waker));
                let time = handle.with_reactor(|reactor| match timer.time(reactor) {
                    // Somebody else polls it now.
                    Some(time) if !same => {
                        let _ = timer.cancel(reactor);
                        Some(time)
                    }
                    time => time,
                });
                match time {
                    Ok(Some(_)) if same => return Poll::Pending,
                    Ok(Some(time)) => self.state = State::Until(time),
                    // It was called.
                    Ok(None) => {
                        self.state = State::Over;
                        return Poll::Ready(());
                    }
                    // There is no reactor for it any more.
                    Err(_) if handle.finished() => {
                        self.state = State::Over;
                        return Poll::Ready(());
                    }
                    Err(_) => {
                        if !same {
                            ask_again(handle, waker);
                        }
                        return Poll::Pending;
                    }
                }
            }
            State::Unstarted(_) | State::Until(_) => {}
        }
        let handle = here();
        let state = &self.state;
        let timer = handle.with_reactor(|reactor| {
            let time = match state {
                State::Unstarted(delay) => reactor.now() + *delay,
                State::Until(time) => *time,
                State::Asleep { .. } | State::Over => return None,
            };
            Some((time, reactor.set_timer(time, TimedCall::Wake(waker.clone()))))
        });
        match timer {
            Ok(Some((until, timer))) => {
                self.state = State::Asleep { handle, timer, waker: waker.clone(), until };
                Poll::Pending
            }
            Ok(None) | Err(_) => {
                ask_again(&handle, waker);
                Poll::Pending
            }
        }
    }
}

/// Inside a call that has the reactor already no timer can be set: in the next turn it can.
fn ask_again(handle: &Handle, waker: &Waker) {
    let waker = waker.clone();
    handle.call(move |_| waker.wake());
}

fn is_here(handle: &Handle) -> bool {
    Handle::current().is_some_and(|current| current.is_same(handle))
}

impl Drop for Sleep {
    fn drop(&mut self) {
        if let State::Asleep { handle, timer, .. } = &self.state {
            handle.cancel(*timer);
        }
    }
}
