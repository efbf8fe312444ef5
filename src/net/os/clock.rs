//! The system's monotonic clock.

use std::sync::OnceLock;

use nix::time::{ClockId, clock_gettime};

use crate::net::Instant;

/// The monotonic time. Callable on any thread.
pub(super) fn clock() -> Instant {
    /// The clock's origin. One per process, so that instants of all reactors are comparable.
    static ORIGIN: OnceLock<u64> = OnceLock::new();
    let now = monotonic();
    Instant::from_nanoseconds(now.saturating_sub(*ORIGIN.get_or_init(|| now)))
}

/// The system's monotonic clock in nanoseconds. Half the instructions of `std::time::Instant`,
/// whose differences are made of seconds and nanoseconds. Not by `rustix`, which reads the vDSO by
/// itself and crashes under valgrind, where there is none.
fn monotonic() -> u64 {
    // It fails only for a clock that does not exist, and POSIX has this one.
    let Ok(time) = clock_gettime(ClockId::CLOCK_MONOTONIC) else { return 0 };
    let (seconds, nanoseconds) = (time.tv_sec() as u64, time.tv_nsec() as u64);
    seconds.wrapping_mul(1_000_000_000).wrapping_add(nanoseconds)
}
