//! Running one future to completion, together with its reactor.

use std::cell::Cell;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use super::executor::Executor;
use crate::reactor::{CallbackKind, Error, Phase, Reactor, Result, SystemEvent};
use crate::task::run_queue::BlockOnWaker;

/// Runs a future, with everything that it spawns, opens and sets, on a new reactor. When the future
/// ends, the reactor stops gracefully: written data is sent, connections are closed, and tasks that
/// still run are cancelled. This is the entry point of a program made of tasks. (asyncio: `run`;
/// Twisted: `react`.)
///
/// ```
/// let answer = twistor::block_on(async { 6 * 7 })?;
/// assert_eq!(answer, 42);
/// # Ok::<(), twistor::Error>(())
/// ```
///
/// # Stopping
///
/// SIGINT and SIGTERM stop the reactor gracefully. A second signal ends the process at once. A
/// future that awaits [`stopping`](super::stopping()) is notified. It then has
/// [`Settings::graceful_stop_timeout`](crate::Settings::graceful_stop_timeout) to end, with its
/// connections still open. Its result is returned as usual, without an error.
///
/// ```
/// use std::time::Duration;
/// use twistor::stream::{open_connection, start_server};
/// use twistor::task::{Either, select, sleep, stopping};
///
/// fn main() -> Result<(), Box<dyn std::error::Error>> {
///     twistor::block_on(async {
///         let server = start_server("127.0.0.1:0", async |mut reader, _| {
///             reader.read_to_end(1024).await.map(drop)
///         })?;
///         let (_reader, writer) = open_connection(server.address()).await?;
/// #       twistor::Handle::current()?.call(|reactor| drop(reactor.stop_gracefully()));
///         while let Either::Right(()) = select(stopping(), sleep(Duration::from_secs(1))).await {
///             writer.write(b"a reading\n");
///         }
///         writer.write(b"good-bye\n");
///         Ok(())
///     })?
/// }
/// ```
///
/// A future that does not await `stopping`, or does not end in time, is dropped after connections
/// are closed. The result is then [`Error::Stopped`], the normal end of a program that runs
/// forever. [`until_stopping`](super::until_stopping) makes a value of it.
///
/// # Errors
/// - [`Error::Stopped`]: the reactor stopped before the future ended.
/// - The errors of [`Reactor::new`] and [`Reactor::run`].
#[doc(alias("run_until_complete", "main"))]
pub fn block_on<F: Future>(future: F) -> Result<F::Output> {
    let mut reactor = Reactor::new()?;
    let result = match catch_unwind(AssertUnwindSafe(|| reactor.block_on(future))) {
        Ok(result) => result?,
        Err(panic) => {
            // Drop the reactor before unwinding: during a panic it could not report its end.
            drop(reactor);
            resume_unwind(panic)
        }
    };
    reactor.stop_gracefully();
    match reactor.run() {
        // The reactor had already stopped when the future ended.
        Ok(()) | Err(Error::ReactorFinished) => Ok(result),
        Err(error) => Err(error),
    }
}

impl Reactor {
    /// Runs the reactor until the future has ended or the reactor stops. The reactor can then be
    /// used further with [`run`](Reactor::run), [`turn`](Reactor::iterate) or `block_on`. A panic
    /// of the future is propagated to the caller.
    ///
    /// SIGINT and SIGTERM stop the reactor, as in `run`. If a task awaits
    /// [`stopping`](super::stopping()) at that time, the future has
    /// [`Settings::graceful_stop_timeout`](crate::Settings::graceful_stop_timeout) to end. If it
    /// ends in time, the next `run` or `turn` completes the stop.
    ///
    /// # Errors
    /// - [`Error::Stopped`]: the reactor stopped before the future ended.
    /// - The errors of [`run`](Reactor::run).
    pub fn block_on<F: Future>(&mut self, future: F) -> Result<F::Output> {
        let handle = self.handle();
        let executor = Executor::of(&handle);
        let ready = Arc::clone(&executor.ready);
        let waker = Waker::from(Arc::new(BlockOnWaker(Arc::clone(&ready))));
        let mut future = Some(Box::pin(future));
        let mut ended = None;
        if executor.block_on_running.replace(true) {
            return Err(Error::AlreadyRunning);
        }
        ready.wake_block_on();
        let (grace, granted) = (Rc::new(Cell::new(None)), handle.clone());
        let held = Rc::clone(&grace);
        let trigger =
            self.add_system_event_trigger(Phase::Before, SystemEvent::Shutdown, move |reactor, hold| {
                if !granted.minds_stop() {
                    return;
                }
                let (limit, over) = (reactor.settings().graceful_stop_timeout, Rc::clone(&held));
                let timer = reactor.call_later(limit, move |_| drop(over.take()));
                held.set(Some((hold, timer)));
            });
        let ran = self.run_until(|reactor| {
            if !ready.take_block_on() {
                return true;
            }
            if ended.is_some() {
                return false;
            }
            let mut context = Context::from_waker(&waker);
            let Some(running) = &mut future else { return false };
            reactor.start_call(CallbackKind::Task);
            let poll = || catch_unwind(AssertUnwindSafe(|| running.as_mut().poll(&mut context)));
            let polled = reactor.lend(poll);
            reactor.end_timing();
            let Ok(polled) = polled else { return false };
            match polled {
                Ok(Poll::Pending) => true,
                Ok(Poll::Ready(result)) => {
                    ended = Some(Ok(result));
                    false
                }
                Err(panic) => {
                    ended = Some(Err(panic));
                    false
                }
            }
        });
        executor.block_on_running.set(false);
        // The trigger is already gone if it was called.
        let _ = self.remove_system_event_trigger(trigger);
        if let Some((hold, timer)) = grace.take() {
            let _ = timer.cancel(self);
            drop(hold);
        }
        // Destructors in the future may use the reactor, so it is lent here. A panic is propagated
        // to the caller.
        let gone = self.lend(|| catch_unwind(AssertUnwindSafe(|| drop(future.take()))));
        if let (None | Some(Ok(_)), Ok(Err(panic))) = (&ended, gone) {
            resume_unwind(panic);
        }
        match ended {
            Some(Ok(result)) => ran.map(|()| result),
            Some(Err(panic)) => resume_unwind(panic),
            None => ran.and(Err(Error::Stopped)),
        }
    }
}
