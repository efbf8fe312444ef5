//! Running one future, and the reactor as long as that takes.

use std::cell::Cell;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use super::executor::Executor;
use crate::reactor::{CallbackKind, Error, Phase, Reactor, Result, SystemEvent};
use crate::task::run_queue::BlockOnWaker;

/// Runs a future on a reactor of its own, with everything that it spawns, opens and sets; then the reactor stops
/// gracefully: connections are closed once what waits is sent, and tasks that still run are cancelled. It is the `main` of a program
/// of tasks. (asyncio: `run`; Twisted: `react`.)
///
/// ```
/// let answer = twistor::block_on(async { 6 * 7 })?;
/// assert_eq!(answer, 42);
/// # Ok::<(), twistor::Error>(())
/// ```
///
/// # How a program stops
///
/// SIGINT and SIGTERM stop the reactor gracefully; the second one ends the process at once. A future that awaits
/// [`stopping`](super::stopping()) learns of it, has [`Settings::graceful_stop_timeout`](crate::Settings::graceful_stop_timeout) to end, with its
/// connections open, and its result is returned as always: a stop is no error of such a program.
///
/// ```
/// use std::time::Duration;
/// use twistor::stream::{open_connection, start_server};
/// use twistor::task::{Either, here, select, sleep, stopping};
///
/// fn main() -> Result<(), Box<dyn std::error::Error>> {
///     twistor::block_on(async {
///         let server = start_server("127.0.0.1:0", async |mut reader, _| reader.read_to_end(1024).await.map(drop))?;
///         let (_reader, writer) = open_connection(server.address()).await?;
/// #       here().call(|reactor| drop(reactor.stop_gracefully()));
///         while let Either::Right(()) = select(stopping(), sleep(Duration::from_secs(1))).await {
///             writer.write(b"a reading\n");
///         }
///         writer.write(b"good-bye\n");
///         Ok(())
///     })?
/// }
/// ```
///
/// A future that does not await it, or does not end in time, is cut off: it is dropped once connections are closed.
///
/// # Errors
/// [`Error::Stopped`] when the future was cut off because the reactor stopped; the rest as [`Reactor::new`] and
/// [`Reactor::run`].
pub fn block_on<F: Future>(future: F) -> Result<F::Output> {
    let mut reactor = Reactor::new()?;
    let result = match catch_unwind(AssertUnwindSafe(|| reactor.block_on(future))) {
        Ok(result) => result?,
        Err(panic) => {
            // While a panic unwinds, nothing of the reactor's could be told of its end.
            drop(reactor);
            resume_unwind(panic)
        }
    };
    reactor.stop_gracefully();
    match reactor.run() {
        // It had stopped when the future ended.
        Ok(()) | Err(Error::ReactorFinished) => Ok(result),
        Err(error) => Err(error),
    }
}

impl Reactor {
    /// Runs until the future has ended, or the reactor stops. The reactor goes on afterwards with the next
    /// [`run`](Reactor::run), [`turn`](Reactor::iterate) or `block_on`. A panic of the future is the caller's. SIGINT and SIGTERM
    /// stop the reactor, as in `run`; if any task awaits [`stopping`](super::stopping()) then, the future has
    /// [`Settings::graceful_stop_timeout`](crate::Settings::graceful_stop_timeout) to end. If it does, the rest of the stop is for the next `run`
    /// or `turn`.
    ///
    /// # Errors
    /// [`Error::Stopped`] when the reactor stops first; the rest as [`run`](Reactor::run).
    pub fn block_on<F: Future>(&mut self, future: F) -> Result<F::Output> {
        let handle = self.handle();
        let executor = Executor::of(&handle);
        let ready = Arc::clone(&executor.ready);
        let waker = Waker::from(Arc::new(BlockOnWaker(Arc::clone(&ready))));
        let mut future = Some(Box::pin(future));
        let mut ended = None;
        if executor.rooted.replace(true) {
            return Err(Error::AlreadyRunning);
        }
        ready.wake_root();
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
            if !ready.take_root() {
                return true;
            }
            if ended.is_some() {
                return false;
            }
            let mut context = Context::from_waker(&waker);
            let Some(running) = &mut future else { return false };
            reactor.begin_call(CallbackKind::Task);
            let poll = || catch_unwind(AssertUnwindSafe(|| running.as_mut().poll(&mut context)));
            let polled = handle.lend(reactor, poll);
            reactor.end_timing();
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
        executor.rooted.set(false);
        // It is gone if it was called.
        let _ = self.remove_system_event_trigger(trigger);
        if let Some((hold, timer)) = grace.take() {
            let _ = timer.cancel(self);
            drop(hold);
        }
        // Its end can reach the reactor, as its life could; a panic is the caller's.
        let gone = handle.lend(self, || catch_unwind(AssertUnwindSafe(|| drop(future.take()))));
        if let (None | Some(Ok(_)), Err(panic)) = (&ended, gone) {
            resume_unwind(panic);
        }
        match ended {
            Some(Ok(result)) => ran.map(|()| result),
            Some(Err(panic)) => resume_unwind(panic),
            None => ran.and(Err(Error::Stopped)),
        }
    }
}
