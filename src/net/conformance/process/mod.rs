//! The process around the sockets: time, polls, signals, jobs and look-ups.

mod clock;
mod jobs;
mod polling;
mod signals;

use crate::net::conformance::sum;

/// The number of cases.
pub(super) const CASES: usize = sum(&[clock::PROGRAMS, jobs::PROGRAMS, polling::PROGRAMS, signals::PROGRAMS]);
