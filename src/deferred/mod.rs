//! Deferreds: results that are not there yet, and the callbacks that will handle them.
//!
//! The producer of a result creates a pair: a [`Resolver`], which it keeps and fires once, and a
//! [`Deferred`], which it returns. The consumer adds callbacks to the `Deferred`, before or after
//! the result is there.
//!
//! ```
//! use std::time::Duration;
//! use twistor::deferred::{defer_to_thread, gather};
//! use twistor::{Deferred, Failure, Reactor};
//!
//! /// The answer of a slow sensor, to be.
//! fn measure(reactor: &mut Reactor, sensor: u32) -> Deferred<f64> {
//!     let (resolver, answer) = Deferred::new(&reactor);
//!     reactor.call_later(Duration::from_millis(1), move |_| {
//!         // The error is ignored: the Deferred may have been cancelled in the meantime.
//!         let _ = match sensor {
//!             0 => resolver.callback(f64::NAN),
//!             _ => resolver.callback(20.0 + f64::from(sensor)),
//!         };
//!     });
//!     answer
//! }
//!
//! let mut reactor = Reactor::new()?;
//! let answers: Vec<Deferred<f64>> = (0..3)
//!     .map(|sensor| {
//!         measure(&mut reactor, sensor)
//!             // A callback may fail. `?` converts any error.
//!             .then(|_, degrees| match degrees.is_nan() {
//!                 true => Err(Failure::new("it is broken")),
//!                 false => Ok(degrees),
//!             })
//!             // A callback may return another Deferred. The chain waits for its result.
//!             .then(|reactor, degrees| {
//!                 defer_to_thread(reactor, move || degrees * 9.0 / 5.0 + 32.0)
//!             })
//!             // An errback turns a failure into a result again.
//!             .or_else(|_, failure| {
//!                 println!("no answer: {failure}");
//!                 Ok(0.0)
//!             })
//!             .timeout(&mut reactor, Duration::from_secs(5))
//!     })
//!     .collect();
//! gather(&reactor, answers).done(|reactor, degrees| {
//!     assert_eq!(degrees.unwrap(), [0.0, 69.8, 71.6]);
//!     reactor.stop();
//! });
//! reactor.run()?;
//! # Ok::<(), twistor::Error>(())
//! ```
//!
//! # Callbacks
//!
//! ```text
//!   callback(value) ─┐                  ┌─────────┐ Ok(v)  ┌─────────┐        ┌──────┐
//!                    ├─► Result<T, _> ──┤  then   ├───────►│ or_else ├───────►│ done │
//!   errback(failure)─┘                  │         │ Err(f) │ makes a │        │      │
//!                                       └─────────┘───────►│ result  │        └──────┘
//!                                            │             └─────────┘
//!                                            └ Deferred: the chain waits for its result
//! ```
//!
//! | method | the callback gets | it returns | Twisted |
//! |---|---|---|---|
//! | [`map`](Deferred::map) | the result | any value | `addCallback` |
//! | [`then`](Deferred::then) | the result | `()`, a `Result`, a `Deferred` | `addCallback` |
//! | [`or_else`](Deferred::or_else) | a failure | the same | `addErrback` |
//! | [`then_else`](Deferred::then_else) | the result, or a failure | the same | `addCallbacks` |
//! | [`then_always`](Deferred::then_always) | the outcome, as a `Result` | the same | `addBoth` |
//! | [`inspect`](Deferred::inspect) | the outcome, by reference | `()` | |
//! | [`done`](Deferred::done) | the outcome, as the last callback | `()` | |
//!
//! **Callbacks run from the loop**, never inside the call that fires the Deferred or adds them. A
//! chain runs at most 1000 callbacks per turn and then requeues itself. A chain of 100,000
//! callbacks, or of as many Deferreds that wait for each other, uses one stack frame to run, to
//! cancel and to drop. Firing needs no reactor reference. It works in a `Drop` and in a task.
//!
//! # Failures
//!
//! A [`Failure`] is any error plus the source location that created it. `?` creates one. A panic in
//! a callback becomes a failure too, and the loop continues. A failure goes to the next callback
//! that takes failures.
//!
//! If there is no such callback and the Deferred is dropped or detached, **the failure is logged as
//! an error, at once, with its location**. Two kinds are not logged:
//!
//! - Cancellations, because the canceller knows about them.
//! - Panics, because each was counted and logged when it occurred.
//!
//! # Cancellation and ownership
//!
//! The owner of the `Deferred` owns the result. **A `Deferred` that is dropped before its result is
//! there is cancelled**, like a task or a future. [`done`](Deferred::done) and
//! [`detach`](Deferred::detach) let it run without an owner.
//!
//! [`cancel`](Deferred::cancel) calls the canceller that the Deferred was created with, which can
//! abort the operation. While the Deferred waits for another one, that one is cancelled instead.
//! When all resolvers are dropped the Deferred fails, so it cannot wait forever.
//!
//! A pending Deferred keeps alive everything that its callbacks own. A callback that owns the last
//! resolver of its own Deferred, or the [`DeferredQueue`] that it waits for, creates a cycle.
//! Unless the Deferred is fired, that cycle lives as long as its thread. End such a queue with a
//! sentinel value.
//!
//! # Other parts of the module
//!
//! - Combinators: [`gather`] (all results, or the first failure), [`race`] (the first result),
//!   [`settle_all`] (every outcome).
//! - Synchronization: [`DeferredLock`], [`DeferredSemaphore`], [`DeferredQueue`].
//! - Timers, the thread pool and host names: [`defer_later`], [`defer_to_thread`], [`resolve`].
//! - Repetition: [`LoopingCall`] calls a function at a fixed interval. [`Cooperator`] runs long
//!   work in slices.
//! - Futures: `deferred.await` in a [task](crate::task), and [`Deferred::from_future`] for the
//!   opposite direction.
//!
//! # Differences from Twisted
//!
//! - `callback()` and `addCallback()` run no callbacks. The loop runs them, in this turn or the
//!   next.
//! - Each callback gets `&mut Reactor`. Its argument is typed. A Deferred has one owner, and
//!   methods that add callbacks consume and return it.
//! - An unhandled failure is logged when it is dropped, not at garbage collection.
//! - There is one kind of timeout, [`FailureKind::TimedOut`], for Deferreds, tasks and everything
//!   else that waits.
//! - Dropping a Deferred cancels it.
//! - [`gather`] cancels the other Deferreds when one fails. If it is cancelled itself, it fails as
//!   cancelled, not with a `FirstError`. [`race`] of an empty list fails.
//! - A guard, [`Permit`], releases a lock, also when its owner panics. A semaphore created with 0
//!   tokens has one.

mod chain;
mod combinators;
mod cooperator;
#[expect(clippy::module_inception, reason = "the folder is about the type of this file")]
mod deferred;
mod delay;
mod failure;
mod future;
mod looping_call;
mod outcome;
mod queue;
mod resolve;
mod resolver;
mod semaphore;
mod timeout;

pub use self::combinators::{AllFailed, FirstError, gather, race, settle_all};
pub use self::cooperator::{CooperationError, CooperativeTask, Cooperator, Step, TaskEnd};
pub use self::deferred::{CancelHandle, Deferred, PauseGuard};
pub use self::delay::{defer_later, defer_to_thread};
pub use self::failure::{AlreadyCalled, Failure, FailureKind};
pub use self::looping_call::{LoopingCall, LoopingError};
pub use self::outcome::IntoOutcome;
pub use self::queue::{DeferredQueue, QueueOverflow, QueueUnderflow};
pub use self::resolve::resolve;
pub use self::resolver::Resolver;
pub use self::semaphore::{DeferredLock, DeferredSemaphore, Permit};
