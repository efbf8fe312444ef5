//! One task: its future, its end, and who waits for that.

use crate::escape::Escaped;
use std::cell::{Cell, OnceCell, RefCell};
use std::fmt;
use std::future::Future;
use std::panic::{AssertUnwindSafe, Location, catch_unwind};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use super::executor::Executor;
use crate::reactor::{CallbackKind, Handle, panic_message};
use crate::task::run_queue::TaskWaker;

/// A task that runs, and its result to be. (asyncio: `Task`; tokio: `JoinHandle`.)
///
/// It is a future of its result. **Dropping it cancels the task**, from the loop, in this turn or the next, so that nothing
/// goes on unseen; [`detach`](Task::detach) lets it go on by itself.
///
/// ```
/// use twistor::task;
///
/// let sum = twistor::block_on(async {
///     let one = task::spawn(async { 1 }).named("one");
///     let two = task::spawn(async { 2 });
///     one.await? + two.await?
/// #   ; Ok::<_, task::TaskError>(3)
/// });
/// assert_eq!(sum??, 3);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use = "a task is cancelled when this is dropped: keep it, await it, or detach it"]
pub struct Task<T> {
    body: Rc<dyn Body<T>>,
    /// Gone once it was detached, or there is no reactor for it.
    ticket: Option<Arc<TaskWaker>>,
}

/// Why a task has no result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TaskError {
    /// It was cancelled, or its reactor came to its end.
    Cancelled,
    /// It panicked; what the panic said.
    Panicked(String),
}

impl fmt::Display for TaskError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TaskError::Cancelled => f.write_str("the task was cancelled"),
            TaskError::Panicked(message) => write!(f, "the task panicked: {}", Escaped(message)),
        }
    }
}

impl std::error::Error for TaskError {}

/// What the executor knows of a task.
pub(super) trait Job {
    /// What wakes it from now on.
    fn admitted(&self, waker: Waker);
    fn poll(&self) -> Polled;
    /// Drops the future, then tells whoever waits.
    fn end(&self, outcome: Outcome);
    fn name(&self) -> Option<Rc<str>>;
}

/// What came of polling a task.
pub(super) enum Polled {
    Waits,
    Ended,
    /// It was not polled.
    Cancelled,
}

/// How the executor saw a task end.
pub(super) enum Outcome {
    /// Its result is there.
    Done,
    Cancelled,
    Panicked(String),
}

/// What the one who waits knows of it.
trait Body<T> {
    fn result(&self, context: &mut Context<'_>) -> Poll<Result<T, TaskError>>;
    fn ended(&self) -> bool;
    fn cancel(&self);
    fn rename(&self, name: &str);
}

struct Running<F: Future> {
    future: RefCell<Option<Pin<Box<F>>>>,
    end: RefCell<End<F::Output>>,
    cancelled: Cell<bool>,
    name: RefCell<Option<Rc<str>>>,
    /// Made once, and not for every poll.
    waker: OnceCell<Waker>,
}

enum End<T> {
    NotYet,
    Awaited(Waker),
    /// The future has ended; whoever waits is told when it was dropped.
    Here(T, Option<Waker>),
    Done(Result<T, TaskError>),
    Taken,
}

impl<F: Future> Job for Running<F> {
    fn admitted(&self, waker: Waker) {
        // It is admitted once.
        let _ = self.waker.set(waker);
    }

    fn poll(&self) -> Polled {
        if self.cancelled.get() {
            return Polled::Cancelled;
        }
        let mut future = self.future.borrow_mut();
        let (Some(running), Some(waker)) = (future.as_mut(), self.waker.get()) else { return Polled::Ended };
        let mut context = Context::from_waker(waker);
        let Poll::Ready(result) = running.as_mut().poll(&mut context) else { return Polled::Waits };
        let waiter = match self.end.replace(End::Taken) {
            End::Awaited(waker) => Some(waker),
            _ => None,
        };
        self.end.replace(End::Here(result, waiter));
        Polled::Ended
    }

    fn end(&self, outcome: Outcome) {
        let (end, waiter) = match (self.end.replace(End::Taken), outcome) {
            (End::Here(result, waiter), Outcome::Done) => (Ok(result), waiter),
            (before, Outcome::Panicked(message)) => (Err(TaskError::Panicked(message)), before.waiter()),
            (before, Outcome::Cancelled | Outcome::Done) => (Err(TaskError::Cancelled), before.waiter()),
        };
        self.end.replace(End::Done(end));
        // Even if dropping the future panics.
        let _told = Tell(waiter);
        let future = self.future.take();
        drop(future);
    }

    fn name(&self) -> Option<Rc<str>> {
        self.name.borrow().clone()
    }
}

impl<T> End<T> {
    fn waiter(self) -> Option<Waker> {
        match self {
            End::Awaited(waker) => Some(waker),
            End::Here(_, waiter) => waiter,
            End::NotYet | End::Done(_) | End::Taken => None,
        }
    }
}

struct Tell(Option<Waker>);

impl Drop for Tell {
    fn drop(&mut self) {
        if let Some(waker) = self.0.take() {
            waker.wake();
        }
    }
}

impl<F: Future> Body<F::Output> for Running<F> {
    fn result(&self, context: &mut Context<'_>) -> Poll<Result<F::Output, TaskError>> {
        let mut end = self.end.borrow_mut();
        match &mut *end {
            End::Done(_) => match std::mem::replace(&mut *end, End::Taken) {
                End::Done(result) => Poll::Ready(result),
                _ => Poll::Pending,
            },
            // Asked again after it was given: what was, is gone.
            End::Taken => Poll::Ready(Err(TaskError::Cancelled)),
            End::Awaited(waker) if waker.will_wake(context.waker()) => Poll::Pending,
            End::Here(_, waiter) => {
                let before = waiter.replace(context.waker().clone());
                drop(end);
                drop(before);
                Poll::Pending
            }
            End::NotYet | End::Awaited(_) => {
                let before = std::mem::replace(&mut *end, End::Awaited(context.waker().clone()));
                drop(end);
                // It may own what comes back here.
                drop(before);
                Poll::Pending
            }
        }
    }

    fn ended(&self) -> bool {
        matches!(&*self.end.borrow(), End::Done(_) | End::Taken)
    }

    fn cancel(&self) {
        self.cancelled.set(true);
    }

    fn rename(&self, name: &str) {
        self.name.replace(Some(name.into()));
    }
}

impl<T> Task<T> {
    pub(crate) fn begin<F>(handle: &Handle, future: F, place: &'static Location<'static>) -> Task<T>
    where
        F: Future<Output = T> + 'static,
        T: 'static,
    {
        let running = Rc::new(Running {
            future: RefCell::new(Some(Box::pin(future))),
            end: RefCell::new(End::NotYet),
            cancelled: Cell::new(false),
            name: RefCell::new(None),
            waker: OnceCell::new(),
        });
        let job: Rc<dyn Job> = Rc::<Running<F>>::clone(&running);
        let ticket = match handle.finished() {
            true => None,
            false => Executor::of(handle).insert(job, place),
        };
        if ticket.is_none()
            && let Err(panic) = catch_unwind(AssertUnwindSafe(|| running.end(Outcome::Cancelled)))
        {
            log_error!("panic in {}: {}", CallbackKind::Drop, Escaped(panic_message(&*panic)));
        }
        Task { body: running, ticket }
    }

    /// With a name, for whoever looks at the tasks there are.
    pub fn named(self, name: &str) -> Task<T> {
        self.body.rename(name);
        self
    }

    /// Lets it go on by itself. Its result is dropped, and so is what a panic said, which was logged.
    pub fn detach(mut self) {
        self.ticket = None;
    }

    /// Ends it where it waits: its future is dropped from the loop, in this turn or the next, unless it has ended by then.
    pub fn cancel(&self) {
        if let Some(ticket) = &self.ticket
            && !self.body.ended()
        {
            self.body.cancel();
            std::task::Wake::wake_by_ref(ticket);
        }
    }

    /// Whether it has ended, in whatever way.
    pub fn is_finished(&self) -> bool {
        self.body.ended()
    }
}

impl<T> Future for Task<T> {
    type Output = Result<T, TaskError>;

    fn poll(self: Pin<&mut Task<T>>, context: &mut Context<'_>) -> Poll<Result<T, TaskError>> {
        self.body.result(context)
    }
}

impl<T> Drop for Task<T> {
    fn drop(&mut self) {
        self.cancel();
    }
}

impl<T> fmt::Debug for Task<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Task").field("ended", &self.is_finished()).finish_non_exhaustive()
    }
}
