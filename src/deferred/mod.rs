//! Results that are not there yet.

mod chain;
mod cooperator;
mod failure;
mod future;
mod later;
mod looping_call;
mod outcome;
mod queue;
mod receiving;
mod resolver;
mod semaphore;
mod several;
mod timeout;

pub use self::cooperator::{CooperationError, CooperativeTask, Cooperator, Ended, Step};
pub use self::failure::{AlreadyCalled, Failure, FailureKind};
pub use self::later::{defer_later, defer_to_thread};
pub use self::looping_call::{LoopingCall, LoopingError};
pub use self::outcome::IntoOutcome;
pub use self::queue::{DeferredQueue, QueueOverflow, QueueUnderflow};
pub use self::receiving::{AbortHandle, Deferred, Paused};
pub use self::resolver::Resolver;
pub use self::semaphore::{Acquired, DeferredLock, DeferredSemaphore};
pub use self::several::{AllFailed, FirstError, first, gather, outcomes};
pub use crate::task::Tick;
