//! Timers for tasks.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use super::current_handle;
use crate::reactor::{DelayedCall, Handle, Instant, TimedCall};

/// Waits for `delay`, counted from the first poll, and at least until the next turn. Dropping the
/// future removes its timer. (asyncio: `sleep`.)
///
/// ```
/// # use std::time::Duration;
/// twistor::block_on(async {
///     twistor::task::sleep(Duration::from_millis(1)).await;
/// })?;
/// # Ok::<(), twistor::Error>(())
/// ```
#[doc(alias = "deferLater")]
pub fn sleep(delay: Duration) -> Sleep {
    Sleep { state: State::Unstarted(delay) }
}

/// Waits until a point in time, or until the next turn if that has passed.
pub fn sleep_until(time: Instant) -> Sleep {
    Sleep { state: State::Until(time) }
}

/// The future of [`sleep`] and [`sleep_until`].
#[must_use = "a future does nothing until it is awaited"]
pub struct Sleep {
    state: State,
}

enum State {
    Unstarted(Duration),
    Until(Instant),
    Waiting { handle: Handle, timer: DelayedCall, waker: Waker, until: Instant },
    Done,
}

impl Future for Sleep {
    type Output = ();

    /// # Panics
    /// Outside of a task, because there is no clock.
    fn poll(mut self: Pin<&mut Sleep>, context: &mut Context<'_>) -> Poll<()> {
        let waker = context.waker();
        match &mut self.state {
            State::Done => return Poll::Ready(()),
            // The future was moved to a task of another reactor.
            State::Waiting { handle, timer, until, .. } if !handle.finished() && !is_here(handle) => {
                let (timer, until) = (*timer, *until);
                handle.cancel(timer);
                self.state = State::Until(until);
            }
            State::Waiting { handle, timer, waker: known, .. } => {
                let (timer, same) = (*timer, known.will_wake(waker));
                let time = handle.with_reactor(|reactor| match timer.time(reactor) {
                    // The waker has changed: another task polls the future now.
                    Some(time) if !same => {
                        let _ = timer.cancel(reactor);
                        Some(time)
                    }
                    time => time,
                });
                match time {
                    Ok(Some(_)) if same => return Poll::Pending,
                    Ok(Some(time)) => self.state = State::Until(time),
                    // The timer has fired.
                    Ok(None) => {
                        self.state = State::Done;
                        return Poll::Ready(());
                    }
                    // The reactor has finished, so the timer cannot fire.
                    Err(_) if handle.finished() => {
                        self.state = State::Done;
                        return Poll::Ready(());
                    }
                    Err(_) => {
                        if !same {
                            poll_in_next_turn(handle, waker);
                        }
                        return Poll::Pending;
                    }
                }
            }
            State::Unstarted(_) | State::Until(_) => {}
        }
        let handle = current_handle();
        let state = &self.state;
        let timer = handle.with_reactor(|reactor| {
            let time = match state {
                State::Unstarted(delay) => reactor.now() + *delay,
                State::Until(time) => *time,
                State::Waiting { .. } | State::Done => return None,
            };
            Some((time, reactor.set_timer(time, TimedCall::Wake(waker.clone()))))
        });
        match timer {
            Ok(Some((until, timer))) => {
                self.state = State::Waiting { handle, timer, waker: waker.clone(), until };
                Poll::Pending
            }
            Ok(None) | Err(_) => {
                poll_in_next_turn(&handle, waker);
                Poll::Pending
            }
        }
    }
}

/// Polls again in the next turn. Inside a call that borrows the reactor no timer can be set.
fn poll_in_next_turn(handle: &Handle, waker: &Waker) {
    let waker = waker.clone();
    handle.call(move |_| waker.wake());
}

fn is_here(handle: &Handle) -> bool {
    Handle::current().is_ok_and(|current| current.is_same(handle))
}

impl Drop for Sleep {
    fn drop(&mut self) {
        if let State::Waiting { handle, timer, .. } = &self.state {
            handle.cancel(*timer);
        }
    }
}
