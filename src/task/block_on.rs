//! Running one future, and the reactor as long as that takes.

use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use super::executor::Executor;
use super::ready::Root;
use crate::reactor::{Error, Place, Reactor, Result};

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
/// # Errors
/// [`Error::Stopped`] when the reactor is stopped before the future has ended, as by SIGINT or SIGTERM; the rest as
/// [`Reactor::new`] and [`Reactor::run`].
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
    reactor.run()?;
    Ok(result)
}

impl Reactor {
    /// Runs until the future has ended, or the reactor stops. The reactor goes on afterwards with the next
    /// [`run`](Reactor::run), [`turn`](Reactor::turn) or `block_on`. A panic of the future is the caller's. SIGINT and SIGTERM
    /// stop the reactor, as in `run`.
    ///
    /// # Errors
    /// [`Error::Stopped`] when the reactor stops first; the rest as [`run`](Reactor::run).
    pub fn block_on<F: Future>(&mut self, future: F) -> Result<F::Output> {
        let handle = self.handle();
        let executor = Executor::of(&handle);
        let ready = Arc::clone(&executor.ready);
        let waker = Waker::from(Arc::new(Root(Arc::clone(&ready))));
        let mut future = Some(Box::pin(future));
        let mut ended = None;
        if executor.rooted.replace(true) {
            return Err(Error::AlreadyRunning);
        }
        ready.wake_root();
        let ran = self.run_until(|reactor| {
            if !ready.take_root() {
                return true;
            }
            let mut context = Context::from_waker(&waker);
            let Some(running) = &mut future else { return false };
            reactor.begin_call(Place::Task);
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
