//! Deferreds: results that are not there yet, and what is to be done when they are.
//!
//! Who begins something that takes time makes a pair: a [`Resolver`], which it keeps and fires once, and a [`Deferred`], which it returns.
//! Who gets that says what comes next, callback by callback, long before there is a result.
//!
//! ```
//! use std::time::Duration;
//! use twistor::deferred::{defer_to_thread, gather};
//! use twistor::{Deferred, Failure, Reactor};
//!
//! /// The answer of a slow sensor, to be.
//! fn measure(reactor: &mut Reactor, sensor: u32) -> Deferred<f64> {
//!     let (resolver, answer) = Deferred::new(&reactor.handle());
//!     reactor.call_later(Duration::from_millis(1), move |_| {
//!         // It is refused when somebody has cancelled meanwhile, and that is fine.
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
//!             // A callback may fail; `?` takes any error.
//!             .then(|_, degrees| match degrees.is_nan() {
//!                 true => Err(Failure::new("it is broken")),
//!                 false => Ok(degrees),
//!             })
//!             // Or return another Deferred, whose result is waited for.
//!             .then(|reactor, degrees| defer_to_thread(reactor, move || degrees * 9.0 / 5.0 + 32.0))
//!             // An errback leads back.
//!             .or_else(|_, failure| {
//!                 println!("no answer: {failure}");
//!                 Ok(0.0)
//!             })
//!             .timeout(&mut reactor, Duration::from_secs(5))
//!     })
//!     .collect();
//! gather(&reactor.handle(), answers).done(|reactor, degrees| {
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
//!                                            └ Deferred: what follows waits for it
//! ```
//!
//! | method | is called with | returns | Twisted |
//! |---|---|---|---|
//! | [`map`](Deferred::map) | the result | any value | `addCallback` |
//! | [`then`](Deferred::then) | the result | `()`, a `Result`, a `Deferred` | `addCallback` |
//! | [`or_else`](Deferred::or_else) | a failure | the same | `addErrback` |
//! | [`then_else`](Deferred::then_else) | one or the other | the same | `addCallbacks` |
//! | [`both`](Deferred::then_always) | whatever came | the same | `addBoth` |
//! | [`inspect`](Deferred::inspect) | a look at whatever came | | |
//! | [`done`](Deferred::done) | whatever came, at the end | | |
//!
//! **Callbacks come from the loop**, never inside of the call that fires the Deferred or adds them. A chain that has its result runs in one go, up
//! to 1000 callbacks a turn, and in one frame of the stack: a hundred thousand callbacks, or as many Deferreds that wait for each other,
//! need no more of it than one, to run, to be cancelled and to be dropped. Firing needs no reactor, and works in a `Drop` and in a task.
//!
//! # Failures
//!
//! A [`Failure`] is any error with the place that made it. `?` makes one. A panic in a callback is one too, and the loop lives on. It goes to the next
//! callback that takes failures. When there is none, and the Deferred is dropped or goes on by itself, **the failure is logged as an error, at once, with
//! its place**. Cancellations are not: who cancels knows. Panics are not either: each was counted and logged when it came, whoever looks at it later.
//!
//! # Who wants the result
//!
//! Whoever has the `Deferred`. **Dropped before its result is there, it is cancelled**, as a task or a future is; [`done`](Deferred::done) and
//! [`detach`](Deferred::detach) let it go on by itself. To [`cancel`](Deferred::cancel) calls the canceller that it was made with, which can
//! give up what leads to the result, or cancels the Deferred that it waits for. When all resolvers are dropped it fails: nobody waits for
//! ever for what cannot come.
//!
//! A value that waits keeps what its callbacks hold. A callback that holds the last resolver of its own Deferred, or the
//! [`DeferredQueue`] that it waits for, waits for as long as its thread lives if that is never fired: let such a queue end with a value that says so.
//!
//! # What else is here
//!
//! - Of several: [`gather`] (all, or the first failure), [`race`] (the first result), [`settle_all`] (of each).
//! - [`DeferredLock`], [`DeferredSemaphore`], [`DeferredQueue`]: who may go on, and what is next.
//! - [`defer_later`], [`defer_to_thread`]: timers and jobs.
//! - [`LoopingCall`]: again and again, in phase. [`Cooperator`]: long work in slices.
//! - In a [task](crate::task), `deferred.await`; and [`Deferred::from_future`] the other way.
//!
//! # For those who know Twisted's
//!
//! - `callback()` and `addCallback()` run nothing themselves; the loop does, in this turn or the next.
//! - Each callback has the reactor at hand. Types say what each one gets; a Deferred has one reader, and methods that add callbacks take it and
//!   return it.
//! - A failure that nobody looked at is logged when it is dropped, not when it is collected.
//! - There is one kind of timeout, [`FailureKind::TimedOut`], for Deferreds, tasks and whatever else waits.
//! - Who drops one has cancelled it.
//! - [`gather`] cancels the others when one fails, and to cancel it makes it fail as cancelled, not as a `FirstError`. [`race`] of none fails.
//! - Locks are released by a guard, [`Permit`], also when its owner panics. A semaphore of nothing has one token.

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
pub use self::resolver::Resolver;
pub use self::semaphore::{DeferredLock, DeferredSemaphore, Permit};
pub use crate::task::Tick;
