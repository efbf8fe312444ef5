//! Host name look-ups for tasks.

use std::cell::RefCell;
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Poll, Waker};

use crate::reactor::{Answer, Error, Handle, Lookup, Query, Reason, Resolution, ResolveError};

/// Looks up a host name with the [resolver](crate::Reactor::set_resolver) of the task's reactor.
/// Dropping the future cancels the look-up. [`Query::timeout`] limits it. (tokio: `lookup_host`.
/// asyncio: `loop.getaddrinfo`.)
///
/// [`Reactor::look_up`](crate::Reactor::look_up) also reports addresses as they are found.
///
/// ```
/// twistor::block_on(async {
///     let found = twistor::task::resolve(("::1", 80)).await?;
///     assert_eq!(found.addresses, ["[::1]:80".parse().unwrap()]);
///     Ok::<_, twistor::ResolveError>(())
/// })??;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// - [`ResolveError::Failed`] with the reason.
/// - [`ResolveError::Reactor`] when the look-up was not started, or the reactor has finished.
pub async fn resolve(query: impl Into<Query>) -> Result<Resolution, ResolveError> {
    let handle = Handle::current()?;
    let slot = Rc::<RefCell<Slot>>::default();
    let answering = Answering(Rc::clone(&slot));
    let started = handle.with_reactor(|reactor| {
        reactor.look_up(query, move |_, answer| {
            if let Answer::End(outcome) = answer {
                answering.0.borrow_mut().state = State::Answered(outcome);
            }
        })
    });
    let _running = Running { lookup: started??, handle };
    poll_fn(|context| {
        let mut slot = slot.borrow_mut();
        match std::mem::take(&mut slot.state) {
            State::Waiting => {
                let earlier = slot.waker.replace(context.waker().clone());
                // Dropped without a borrow: the waker may own values that come back here.
                drop(slot);
                drop(earlier);
                Poll::Pending
            }
            State::Answered(outcome) => Poll::Ready(outcome.map_err(ResolveError::Failed)),
            State::Dropped => Poll::Ready(Err(ResolveError::Reactor(Error::ReactorFinished))),
        }
    })
    .await
}

/// The outcome and the task that waits for it.
#[derive(Default)]
struct Slot {
    state: State,
    waker: Option<Waker>,
}

#[derive(Default)]
enum State {
    #[default]
    Waiting,
    Answered(Result<Resolution, Reason>),
    /// The reactor has finished.
    Dropped,
}

/// The callback's end of a slot. It wakes the task when it is dropped, which follows the answer.
struct Answering(Rc<RefCell<Slot>>);

impl Drop for Answering {
    fn drop(&mut self) {
        let mut slot = self.0.borrow_mut();
        if matches!(slot.state, State::Waiting) {
            slot.state = State::Dropped;
        }
        let waker = slot.waker.take();
        drop(slot);
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

/// A look-up that is cancelled by the drop.
struct Running {
    lookup: Lookup,
    handle: Handle,
}

impl Drop for Running {
    fn drop(&mut self) {
        let lookup = self.lookup;
        // A look-up that has ended is over already.
        let cancel = move |reactor: &mut crate::Reactor| drop(lookup.cancel(reactor));
        if self.handle.with_reactor(cancel).is_err() {
            self.handle.call(cancel);
        }
    }
}
