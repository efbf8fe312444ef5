//! Results and errors of a simulation's steps.

use crate::escape::Escaped;
use std::fmt;

use crate::sim::Host;
use crate::{Error, Instant};

/// The result of [`Simulation::step`](crate::sim::Simulation::step).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SimulationStep {
    /// This host's reactor had a turn.
    Turn(Host),
    /// Virtual time advanced to the next event.
    Time(Instant),
    /// No work and no event is left. Only a call from outside the simulation can create some.
    Nothing,
}

/// An error that ends a run.
#[derive(Debug)]
#[non_exhaustive]
pub enum SimulationError {
    /// No event is left.
    Deadlock {
        /// The virtual time of the deadlock.
        at: Instant,
        /// The waiting processes and sockets, one a line.
        waiting: String,
    },
    /// Too many turns without an advance of virtual time.
    Livelock {
        /// The virtual time.
        at: Instant,
        /// The number of turns at this time.
        turns: u64,
        /// The cause of the turns (the caller, the reactor itself, or the network) and their hosts.
        cause: String,
    },
    /// The condition was not reached in time.
    TimedOut {
        /// The virtual time of the time-out.
        at: Instant,
    },
    /// A callback panicked without [`allow_panics`](crate::sim::Simulation::allow_panics).
    Panicked {
        /// The host's name.
        host: String,
        /// The virtual time of the panic.
        at: Instant,
        /// The panic's message and the callback.
        text: String,
    },
    /// A reactor's turn failed, or a host could not boot.
    Failed {
        /// The host's name.
        host: String,
        /// The error of the reactor or of the boot function.
        error: Error,
    },
}

impl fmt::Display for SimulationError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SimulationError::Deadlock { at, waiting } => write!(f, "at {at:?} {}", Escaped(waiting)),
            SimulationError::Livelock { at, turns, cause } => {
                write!(f, "{turns} turns at {at:?} without progress of time: {}", Escaped(cause))
            }
            SimulationError::TimedOut { at } => write!(f, "timed out at {at:?}"),
            SimulationError::Panicked { host, at, text } => {
                write!(f, "panic on {} at {at:?}: {}", Escaped(host), Escaped(text))
            }
            SimulationError::Failed { host, error } => {
                write!(f, "the reactor of {} failed: {error}", Escaped(host))
            }
        }
    }
}

impl std::error::Error for SimulationError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            // `Display` already contains the text of the error itself.
            SimulationError::Failed { error, .. } => error.source(),
            _ => None,
        }
    }
}
