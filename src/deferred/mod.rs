//! Results that are not there yet.

mod chain;
mod failure;
mod later;
mod outcome;
mod receiving;
mod resolver;
mod timeout;

pub use self::failure::{AlreadyCalled, Failure, FailureKind};
pub use self::later::{defer_later, defer_to_thread};
pub use self::outcome::IntoOutcome;
pub use self::receiving::{AbortHandle, Deferred, Paused};
pub use self::resolver::Resolver;
