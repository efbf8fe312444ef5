//! Tasks: `async` code on the reactor's own thread, beside callbacks.
//!
//! A task is a future that the loop polls when it was woken: in the turn of what woke it, after the callbacks, before what
//! was written leaves. While much comes in, tasks look at it between callbacks as well, before it has left the processor's cache. There is no other runtime and no other thread. What tasks wait for are the reactor's own timers,
//! connections and jobs, so that they live in the simulated network as well, in virtual time.
//!
//! ```
//! use std::time::Duration;
//! use twistor::task;
//!
//! twistor::block_on(async {
//!     let (sender, mut receiver) = task::channel(8);
//!     let ticker = task::spawn(async move {
//!         let mut interval = task::interval(Duration::from_millis(1));
//!         for _ in 0..3 {
//!             sender.send(interval.tick().await.count).await.unwrap();
//!         }
//!     });
//!     let mut last = None;
//!     while let Some(number) = receiver.recv().await {
//!         assert!(last < Some(number));
//!         last = Some(number);
//!     }
//!     ticker.await.unwrap();
//! })?;
//! # Ok::<(), twistor::Error>(())
//! ```
//!
//! # How a task reaches the reactor
//!
//! By [`Handle`]: [`here`] has the one of the task that is polled, and [`Handle::with_reactor`] the reactor itself, for as long as a
//! closure runs. Nothing of it is borrowed over an `await`:
//!
//! ```
//! # struct Echo;
//! # impl twistor::Protocol for Echo {
//! #     fn data_received(&mut self, transport: &mut twistor::Transport<'_>, data: &[u8]) { transport.write(data); }
//! # }
//! use twistor::task;
//!
//! let address = twistor::block_on(async {
//!     let listener = task::here().with_reactor(|reactor| reactor.listen_tcp("127.0.0.1:0", || Echo))??;
//!     task::yield_now().await;
//!     Ok::<_, twistor::Error>(listener.address().clone())
//! })??;
//! assert!(address.port().is_some());
//! # Ok::<(), twistor::Error>(())
//! ```
//!
//! # What ends a task
//!
//! Its own end; [`Task::cancel`], or the [`Task`] being dropped: its future is dropped where it waits, and what it owns with it; a
//! panic, which ends that task alone, is logged, and is told to whoever awaits it; and the reactor's end, which [`stopping`] tells of
//! in time.
//!
//! # Order
//!
//! Tasks are polled in the order in which they were woken; who is woken while tasks are polled comes in the next turn, so that
//! the network has its share whatever they do. In a simulation that [shuffles tasks](crate::sim::Network::shuffle_tasks), the seed decides who of
//! those that are ready comes first: a program that depends on the order shows it.
//!
//! Futures of other crates run here if they need no other runtime: those of `futures`, channels, locks.

mod block_on;
mod channel;
mod executor;
mod interval;
mod join;
mod run_queue;
mod sleep;
mod stopping;
#[expect(clippy::module_inception, reason = "the noun of the module")]
mod task;
mod timeout;
mod yield_now;

use crate::escape::Escaped;
use std::fmt;
use std::future::Future;
use std::panic::Location;
use std::rc::Rc;

pub use self::block_on::block_on;
pub use self::channel::{Receiver, RecvError, SendError, Sender, TrySendError, channel};
pub use self::interval::{Interval, Tick, interval};
pub use self::join::{Either, join, join_all, select, select_all};
pub use self::sleep::{Sleep, sleep, sleep_until};
pub use self::stopping::{Stopping, stopping};
pub use self::task::{Task, TaskError};
pub use self::timeout::{TimedOut, timeout};
pub use self::yield_now::yield_now;

use self::executor::Executor;
use crate::reactor::{Handle, Reactor};

/// A task by number. A reactor never gives one twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TaskId(u64);

impl fmt::Display for TaskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What can be seen of a task from outside.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct TaskInfo {
    /// Which it is.
    pub id: TaskId,
    /// What it was [named](Task::named).
    pub name: Option<Rc<str>>,
    /// Where it was spawned.
    pub location: &'static Location<'static>,
}

/// Its name, or else its number, and its place.
impl fmt::Display for TaskInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.name {
            Some(name) => write!(f, "{}, spawned at {}", Escaped(name), self.location),
            None => write!(f, "{}, spawned at {}", self.id, self.location),
        }
    }
}

/// Begins a task beside the one that is polled. It is polled first in the next turn. (asyncio: `create_task`.)
///
/// # Panics
/// Outside of a task, where there is no reactor: use [`Reactor::spawn`].
#[track_caller]
pub fn spawn<F: Future + 'static>(future: F) -> Task<F::Output> {
    here().spawn(future)
}

/// The reactor of the task that is polled.
///
/// # Panics
/// Outside of a task; [`Handle::current`] says `None` then.
#[track_caller]
pub fn here() -> Handle {
    match Handle::current() {
        Some(handle) => handle,
        None => panic!("there is no reactor here: this is not inside a task"),
    }
}

impl Reactor {
    /// Begins a task: the future is polled in this turn or the next, never inside this call. (Twisted: `ensureDeferred`.)
    ///
    /// ```
    /// use std::time::Duration;
    /// use twistor::task::sleep;
    ///
    /// let mut reactor = twistor::Reactor::new()?;
    /// let handle = reactor.handle();
    /// reactor.spawn(async move {
    ///     sleep(Duration::from_millis(1)).await;
    ///     handle.with_reactor(|reactor| reactor.stop())
    /// }).detach();
    /// reactor.run()?;
    /// # Ok::<(), twistor::Error>(())
    /// ```
    #[track_caller]
    pub fn spawn<F: Future + 'static>(&mut self, future: F) -> Task<F::Output> {
        Task::begin(&self.handle(), future, Location::caller())
    }

    /// The tasks that have not ended.
    pub fn tasks(&self) -> Vec<TaskInfo> {
        Executor::of(&self.handle()).list()
    }
}

impl Handle {
    /// As [`Reactor::spawn`]. When the reactor has finished the task is cancelled at once.
    #[track_caller]
    pub fn spawn<F: Future + 'static>(&self, future: F) -> Task<F::Output> {
        Task::begin(self, future, Location::caller())
    }
}
