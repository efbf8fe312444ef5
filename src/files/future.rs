//! Operations in tasks.

use std::cell::RefCell;
use std::fmt;
use std::future::{Future, IntoFuture};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use crate::files::{FileError, FileFault, FileOperation};
use crate::reactor::Handle;

/// A future of an operation, from awaiting a [`FileOperation`]. The operation starts when the
/// future is first polled. Dropping the future afterwards does not cancel it: data that was
/// accepted is written.
///
/// It completes with [`FileFault::NoReactor`] outside of a task.
#[must_use = "a future does nothing until it is awaited"]
pub struct FileFuture<T> {
    state: State<T>,
}

enum State<T> {
    Created(FileOperation<T>),
    Started(Rc<RefCell<Slot<T>>>),
    Ended,
}

/// The result, and the task that waits for it.
struct Slot<T> {
    result: Option<Result<T, FileError>>,
    waker: Option<Waker>,
}

impl<T: 'static> IntoFuture for FileOperation<T> {
    type Output = Result<T, FileError>;
    type IntoFuture = FileFuture<T>;

    fn into_future(self) -> FileFuture<T> {
        FileFuture { state: State::Created(self) }
    }
}

// Nothing in it is pinned: the slot is in an `Rc`.
impl<T> Unpin for FileFuture<T> {}

impl<T: 'static> Future for FileFuture<T> {
    type Output = Result<T, FileError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<T, FileError>> {
        let slot = match std::mem::replace(&mut self.state, State::Ended) {
            State::Created(operation) => match start(operation) {
                Ok(slot) => slot,
                Err(error) => return Poll::Ready(Err(error)),
            },
            State::Started(slot) => slot,
            // Polled after its end, which the contract of futures excludes.
            State::Ended => return Poll::Pending,
        };
        let result = slot.borrow_mut().result.take();
        if let Some(result) = result {
            return Poll::Ready(result);
        }
        let earlier = slot.borrow_mut().waker.replace(context.waker().clone());
        // Dropped without a borrow: the waker may own values that come back here.
        drop(earlier);
        self.state = State::Started(slot);
        Poll::Pending
    }
}

fn start<T: 'static>(operation: FileOperation<T>) -> Result<Rc<RefCell<Slot<T>>>, FileError> {
    let slot = Rc::new(RefCell::new(Slot { result: None, waker: None }));
    let answering = Answering { slot: Rc::clone(&slot), dropped: Some(operation.error(FileFault::Stopped)) };
    let unavailable = operation.error(FileFault::NoReactor);
    let Ok(handle) = Handle::current() else { return Err(unavailable) };
    let start = |reactor: &mut _| operation.start(reactor, move |_, result| answering.answer(result));
    match handle.with_reactor(start) {
        Ok(started) => started.map(|()| slot),
        Err(_) => Err(unavailable),
    }
}

/// The callback's end of a slot. Dropped without a call, it reports the end of the reactor.
struct Answering<T> {
    slot: Rc<RefCell<Slot<T>>>,
    dropped: Option<FileError>,
}

impl<T> Answering<T> {
    fn answer(mut self, result: Result<T, FileError>) {
        self.dropped = None;
        self.put(result);
    }

    fn put(&self, result: Result<T, FileError>) {
        let mut slot = self.slot.borrow_mut();
        let (earlier, waker) = (slot.result.replace(result), slot.waker.take());
        drop(slot);
        drop(earlier);
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

impl<T> Drop for Answering<T> {
    fn drop(&mut self) {
        if let Some(error) = self.dropped.take() {
            self.put(Err(error));
        }
    }
}

impl<T> fmt::Debug for FileFuture<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FileFuture").finish_non_exhaustive()
    }
}
