//! What a step of a run did, and why a run cannot go on.

use crate::escape::Escaped;
use std::fmt;

use crate::sim::Host;
use crate::{Error, Instant};

/// What [`Simulation::step`](crate::sim::Simulation::step) did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// This host's reactor had a turn.
    Turn(Host),
    /// The time went on to the next thing that happens.
    Time(Instant),
    /// There was nothing to do, and nothing can ever happen again unless somebody outside does something.
    Nothing,
}

/// A run that cannot come to its end.
#[derive(Debug)]
#[non_exhaustive]
pub enum RunError {
    /// Nothing can ever happen again. Who waits for what, a line each.
    Deadlock {
        /// When it came to this.
        at: Instant,
        /// Who waits for what.
        waiting: String,
    },
    /// So much has happened without the time going on that it never will.
    Livelock {
        /// The time.
        at: Instant,
        /// Turns at this time.
        turns: u64,
        /// What led to them: the caller, the reactor itself, or the network; and on which hosts.
        cause: String,
    },
    /// What was waited for had not come by then.
    TimedOut {
        /// When it was given up.
        at: Instant,
    },
    /// A callback panicked, and nobody had [allowed](crate::sim::Simulation::allow_panics) it.
    Panicked {
        /// The host's name.
        host: String,
        /// When.
        at: Instant,
        /// The panic's text, and whose callback it was.
        text: String,
    },
    /// A reactor could not go on, or a host could not boot.
    Failed {
        /// The host's name.
        host: String,
        /// Why.
        error: Error,
    },
}

impl fmt::Display for RunError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RunError::Deadlock { at, waiting } => write!(f, "at {at:?} {}", Escaped(waiting)),
            RunError::Livelock { at, turns, cause } => {
                write!(f, "{turns} turns at {at:?}, and the time does not go on: {}", Escaped(cause))
            }
            RunError::TimedOut { at } => write!(f, "it had not come by {at:?}"),
            RunError::Panicked { host, at, text } => {
                write!(f, "panic on {} at {at:?}: {}", Escaped(host), Escaped(text))
            }
            RunError::Failed { host, error } => {
                write!(f, "the reactor of {} failed: {error}", Escaped(host))
            }
        }
    }
}

impl std::error::Error for RunError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            // Its own text is in ours.
            RunError::Failed { error, .. } => error.source(),
            _ => None,
        }
    }
}
