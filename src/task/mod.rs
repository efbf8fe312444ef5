//! Tasks: `async` code on the reactor's thread, next to callbacks.
//!
//! A task is a future that the loop polls after it was woken. This happens in the same turn, after
//! the callbacks and before written data is flushed. There is no other runtime and no other thread.
//! Tasks wait for the reactor's own timers, connections and jobs, so they also run in the simulated
//! network, in virtual time.
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
//! # Reactor access
//!
//! Tasks use the reactor through a [`Handle`]. [`Handle::current`] returns the handle of the
//! current task, and [`Handle::with_reactor`] lends the reactor to a closure. It cannot be borrowed
//! across an `await`:
//!
//! ```
//! # struct Echo;
//! # impl twistor::Protocol for Echo {
//! #     fn data_received(&mut self, transport: &mut twistor::Transport<'_>, data: &[u8]) {
//! #         transport.write(data);
//! #     }
//! # }
//! use twistor::{Handle, task};
//!
//! let address = twistor::block_on(async {
//!     let listen = |reactor: &mut twistor::Reactor| reactor.listen_tcp("127.0.0.1:0", || Echo);
//!     let listener = Handle::current()?.with_reactor(listen)??;
//!     task::yield_now().await;
//!     Ok::<_, twistor::Error>(listener.address().clone())
//! })??;
//! assert!(address.port().is_some());
//! # Ok::<(), twistor::Error>(())
//! ```
//!
//! # End of a task
//!
//! - The future completes.
//! - [`Task::cancel`] is called or the [`Task`] is dropped: the future is dropped at its current
//!   `await`, with everything that it owns.
//! - The future panics. Only this task ends. The panic is logged and reported to the task that
//!   awaits it.
//! - The reactor finishes. [`stopping`] notifies tasks in time.
//!
//! # The normal stop
//!
//! A stop by SIGINT, SIGTERM or [`Reactor::stop_gracefully`] is seen as follows. None of it is a
//! failure of the program, and each can be told from one.
//!
//! | what waits | what it gets |
//! |---|---|
//! | [`stopping`] | it completes, while connections are open |
//! | [`until_stopping`] | `None`; its future is dropped |
//! | the future of [`block_on`](crate::block_on()) | its own result if it ends in time, else [`Error::Stopped`](crate::Error::Stopped) |
//! | a [`Task`] that its reactor has ended | [`TaskError::Stopped`]; [`TaskError::Cancelled`] is a cancel by the program |
//! | [`accept`](crate::stream::StreamListener::accept) | `None` |
//! | reading from a connection that was closed for the stop | EOF; [`Reason::Stopped`](crate::Reason::Stopped) if it could not be closed in time |
//! | connecting, listening, spawning a process | [`Error::Stopping`](crate::Error::Stopping), [`Error::ReactorFinished`](crate::Error::ReactorFinished) |
//!
//! So `block_on(until_stopping(program))` returns `Ok(None)` at Ctrl-C.
//!
//! # Order
//!
//! Tasks are polled in the order in which they were woken. A task that is woken while tasks are
//! polled runs in the next turn, so that I/O is not starved. A simulation that [shuffles
//! tasks](crate::sim::Network::shuffle_tasks) polls ready tasks in an order chosen by the seed,
//! which exposes programs that depend on the order.
//!
//! Futures of other crates work here if they need no other runtime, for example the combinators,
//! channels and locks of `futures`.

mod block_on;
mod broadcast;
mod channel;
mod executor;
mod interval;
mod join;
mod join_set;
mod notify;
mod resolve;
mod run_queue;
mod signals;
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
pub use self::broadcast::{BroadcastError, BroadcastReceiver, BroadcastSender, broadcast};
pub use self::channel::{Receiver, RecvError, SendError, Sender, TrySendError, channel};
pub use self::interval::{Interval, Tick, interval};
pub use self::join::{Either, join, join_all, select, select_all};
pub use self::join_set::JoinSet;
pub use self::notify::{Notified, Notify};
pub use self::resolve::resolve;
pub use self::signals::{Signals, signals};
pub use self::sleep::{Sleep, sleep, sleep_until};
pub use self::stopping::{Stopping, stopping, until_stopping};
pub use self::task::{Task, TaskError};
pub use self::timeout::{TimedOut, timeout};
pub use self::yield_now::yield_now;

use self::executor::Executor;
use crate::reactor::{Handle, Reactor};

/// The id of a task. A reactor never reuses it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TaskId(u64);

impl fmt::Display for TaskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Information about a task.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct TaskInfo {
    /// The id of the task.
    pub id: TaskId,
    /// The name given by [`Task::named`].
    pub name: Option<Rc<str>>,
    /// The source location where the task was spawned.
    pub location: &'static Location<'static>,
}

/// Prints the name, or the id if there is none, and the location.
impl fmt::Display for TaskInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.name {
            Some(name) => write!(f, "{}, spawned at {}", Escaped(name), self.location),
            None => write!(f, "{}, spawned at {}", self.id, self.location),
        }
    }
}

/// Spawns a task on the current task's reactor. It is first polled in the next turn. (asyncio:
/// `create_task`.)
///
/// # Panics
/// Outside of a task, because there is no reactor. Use [`Reactor::spawn`] there.
#[track_caller]
#[doc(alias("create_task", "ensure_future", "spawn_local", "inlineCallbacks"))]
pub fn spawn<F: Future + 'static>(future: F) -> Task<F::Output> {
    current_handle().spawn(future)
}

/// The handle of the current task's reactor.
///
/// # Panics
/// Outside of a task.
#[track_caller]
fn current_handle() -> Handle {
    match Handle::current() {
        Ok(handle) => handle,
        Err(_) => panic!("no reactor here: not inside a task"),
    }
}

impl Reactor {
    /// Spawns a task. It is first polled in this turn or the next, never inside this call.
    /// (Twisted: `ensureDeferred`.)
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
    /// Same as [`Reactor::spawn`]. If the reactor has finished, the task is cancelled at once.
    #[track_caller]
    pub fn spawn<F: Future + 'static>(&self, future: F) -> Task<F::Output> {
        Task::begin(self, future, Location::caller())
    }
}
