//! A task: its future, its result, and the waker of the task that awaits it.

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

/// A handle to a spawned task, and the future of its result. (asyncio: `Task`; tokio:
/// `JoinHandle`.)
///
/// **Dropping it cancels the task**, from the loop, in this turn or the next.
/// [`detach`](Task::detach) lets the task run without an owner.
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
#[doc(alias("JoinHandle", "AbortHandle"))]
pub struct Task<T> {
    body: Rc<dyn Body<T>>,
    /// `None` if the task was detached or its reactor has finished.
    ticket: Option<Arc<TaskWaker>>,
}

/// The reason why a task has no result.
#[derive(Clone, Debug, PartialEq, Eq)]
#[doc(alias("JoinError", "CancelledError"))]
pub enum TaskError {
    /// The task was cancelled: by [`Task::cancel`], or by dropping the [`Task`].
    Cancelled,
    /// The reactor stopped before the task ended. This is the normal end of a task that runs
    /// forever.
    Stopped,
    /// The task panicked with this message.
    Panicked(String),
}

impl fmt::Display for TaskError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TaskError::Cancelled => f.write_str("the task was cancelled"),
            TaskError::Stopped => f.write_str("the reactor stopped before the task ended"),
            TaskError::Panicked(message) => write!(f, "the task panicked: {}", Escaped(message)),
        }
    }
}

impl std::error::Error for TaskError {}

/// The executor's view of a task.
pub(super) trait Job {
    /// Sets the waker of the task.
    fn set_waker(&self, waker: Waker);
    fn poll(&self) -> Polled;
    /// Drops the future, then wakes the task that awaits the result.
    fn end(&self, outcome: Outcome);
    fn name(&self) -> Option<Rc<str>>;
}

/// The result of polling a task.
pub(super) enum Polled {
    Pending,
    Ended,
    /// The task was cancelled and was not polled.
    Cancelled,
}

/// The way a task ended.
pub(super) enum Outcome {
    /// The result is stored.
    Done,
    Cancelled,
    /// The reactor finished.
    Stopped,
    Panicked(String),
}

/// The owner's view of a task.
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
    /// Created once instead of for every poll.
    waker: OnceCell<Waker>,
}

enum End<T> {
    Pending,
    Awaited(Waker),
    /// The future has returned. The waiter is woken after the future was dropped.
    Returned(T, Option<Waker>),
    Done(Result<T, TaskError>),
    Taken,
}

impl<F: Future> Job for Running<F> {
    fn set_waker(&self, waker: Waker) {
        // Called once, so the cell is empty.
        let _ = self.waker.set(waker);
    }

    fn poll(&self) -> Polled {
        if self.cancelled.get() {
            return Polled::Cancelled;
        }
        let mut future = self.future.borrow_mut();
        let (Some(running), Some(waker)) = (future.as_mut(), self.waker.get()) else { return Polled::Ended };
        let mut context = Context::from_waker(waker);
        let Poll::Ready(result) = running.as_mut().poll(&mut context) else { return Polled::Pending };
        let waiter = match self.end.replace(End::Taken) {
            End::Awaited(waker) => Some(waker),
            _ => None,
        };
        self.end.replace(End::Returned(result, waiter));
        Polled::Ended
    }

    fn end(&self, outcome: Outcome) {
        let (end, waiter) = match (self.end.replace(End::Taken), outcome) {
            (End::Returned(result, waiter), Outcome::Done) => (Ok(result), waiter),
            (before, Outcome::Panicked(message)) => (Err(TaskError::Panicked(message)), before.waiter()),
            (before, Outcome::Stopped) if !self.cancelled.get() => (Err(TaskError::Stopped), before.waiter()),
            (before, Outcome::Cancelled | Outcome::Stopped | Outcome::Done) => {
                (Err(TaskError::Cancelled), before.waiter())
            }
        };
        self.end.replace(End::Done(end));
        // Wakes the waiter even if dropping the future panics.
        let _wake = WakeOnDrop(waiter);
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
            End::Returned(_, waiter) => waiter,
            End::Pending | End::Done(_) | End::Taken => None,
        }
    }
}

struct WakeOnDrop(Option<Waker>);

impl Drop for WakeOnDrop {
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
            // The result was already taken: the handle was polled after completion.
            End::Taken => Poll::Ready(Err(TaskError::Cancelled)),
            End::Awaited(waker) if waker.will_wake(context.waker()) => Poll::Pending,
            End::Returned(_, waiter) => {
                let before = waiter.replace(context.waker().clone());
                drop(end);
                drop(before);
                Poll::Pending
            }
            End::Pending | End::Awaited(_) => {
                let before = std::mem::replace(&mut *end, End::Awaited(context.waker().clone()));
                drop(end);
                // Its destructor may use this task, so the borrow ends first.
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
            end: RefCell::new(End::Pending),
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
            && let Err(panic) = catch_unwind(AssertUnwindSafe(|| running.end(Outcome::Stopped)))
        {
            log_error!("panic in {}: {}", CallbackKind::Drop, Escaped(panic_message(&*panic)));
        }
        Task { body: running, ticket }
    }

    /// Sets the name of the task, for [`Reactor::tasks`](crate::Reactor::tasks) and leak reports.
    pub fn named(self, name: &str) -> Task<T> {
        self.body.rename(name);
        self
    }

    /// Lets the task run without an owner. Its result is dropped. A panic is logged.
    pub fn detach(mut self) {
        self.ticket = None;
    }

    /// Cancels the task: its future is dropped from the loop, in this turn or the next, unless it
    /// has ended by then.
    #[doc(alias = "abort")]
    pub fn cancel(&self) {
        if let Some(ticket) = &self.ticket
            && !self.body.ended()
        {
            self.body.cancel();
            std::task::Wake::wake_by_ref(ticket);
        }
    }

    /// Whether the task has ended: completed, cancelled or panicked.
    #[doc(alias = "done")]
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
