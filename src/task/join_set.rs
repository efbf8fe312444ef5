//! A growing set of tasks that one task owns.

use std::fmt;
use std::future::{Future, poll_fn};
use std::task::Poll;

use super::join::FutureSet;
use super::{Task, TaskError, spawn};

/// Tasks of one result type, which are awaited in the order in which they end. (tokio:
/// [`JoinSet`][tokio]; asyncio: `TaskGroup`, which awaits all.)
///
/// **Dropping it cancels its tasks**, as dropping a [`Task`] does.
///
/// ```
/// use twistor::task::{JoinSet, yield_now};
///
/// let sum = twistor::block_on(async {
///     let mut set = JoinSet::new();
///     for number in 1..=3 {
///         set.spawn(async move {
///             yield_now().await;
///             number
///         });
///     }
///     let mut sum = 0;
///     while let Some(result) = set.join_next().await {
///         sum += result?;
///     }
///     Ok::<_, twistor::task::TaskError>(sum)
/// })?;
/// assert_eq!(sum, Ok(6));
/// # Ok::<(), twistor::Error>(())
/// ```
///
/// [tokio]: https://docs.rs/tokio/latest/tokio/task/struct.JoinSet.html
pub struct JoinSet<T> {
    tasks: FutureSet<Task<T>>,
}

impl<T: 'static> JoinSet<T> {
    /// Creates an empty set.
    pub fn new() -> JoinSet<T> {
        JoinSet { tasks: FutureSet::new([]) }
    }

    /// Spawns a task on the current task's reactor and adds it.
    ///
    /// # Panics
    /// Outside of a task, because there is no reactor. Use [`insert`](JoinSet::insert) there.
    #[track_caller]
    pub fn spawn(&mut self, future: impl Future<Output = T> + 'static) {
        self.insert(spawn(future));
    }

    /// Adds a task, for example one with a [name](Task::named) or of another reactor on this
    /// thread.
    pub fn insert(&mut self, task: Task<T>) {
        self.tasks.insert(task);
    }

    /// Waits until one of the tasks has ended, removes it and returns its result. Returns `None` if
    /// the set is empty. Dropping the future loses no result.
    ///
    /// The inner error is [`TaskError::Panicked`] for a task that panicked, and
    /// [`TaskError::Cancelled`] for one that was cancelled.
    pub async fn join_next(&mut self) -> Option<Result<T, TaskError>> {
        poll_fn(|context| match self.tasks.len() {
            0 => Poll::Ready(None),
            _ => self.tasks.poll_next(context).map(|(_, result)| Some(result)),
        })
        .await
    }

    /// Cancels all tasks. They stay in the set until [`join_next`](JoinSet::join_next) returns
    /// them. (tokio: `abort_all`.)
    #[doc(alias = "abort_all")]
    pub fn cancel_all(&mut self) {
        self.tasks.for_each(|task| task.cancel());
    }

    /// Cancels all tasks and waits until they have ended. Results and panics are dropped.
    pub async fn shutdown(&mut self) {
        self.cancel_all();
        while self.join_next().await.is_some() {}
    }

    /// Lets all tasks run without an owner, and empties the set.
    pub fn detach_all(&mut self) {
        let tasks = std::mem::replace(&mut self.tasks, FutureSet::new([]));
        tasks.into_futures().for_each(Task::detach);
    }

    /// Number of tasks, including those that have ended and were not returned yet.
    pub fn len(&self) -> usize {
        self.tasks.len()
    }

    /// Whether the set has no tasks.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl<T: 'static> Default for JoinSet<T> {
    fn default() -> JoinSet<T> {
        JoinSet::new()
    }
}

impl<T> fmt::Debug for JoinSet<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JoinSet").field("tasks", &self.tasks.len()).finish()
    }
}
