//! A point on the reactor's monotonic clock.

use std::fmt;
use std::ops::{Add, AddAssign, Sub};
use std::time::Duration;

/// A point in monotonic time, in nanoseconds since an origin that the process chose.
///
/// A replacement for [`std::time::Instant`], which has no public constructor: a simulated network
/// has to create instants. Instants of all reactors of a process are comparable. Sums saturate, so
/// a deadline centuries away is never reached.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Instant(u64);

impl Instant {
    /// Creates the instant `since_origin` after the clock's origin.
    pub(crate) fn from_origin(since_origin: Duration) -> Instant {
        Instant(nanoseconds(since_origin))
    }

    /// The duration since the clock's origin.
    pub fn since_origin(self) -> Duration {
        Duration::from_nanos(self.0)
    }

    pub(crate) fn from_nanoseconds(since_origin: u64) -> Instant {
        Instant(since_origin)
    }

    pub(crate) fn nanoseconds(self) -> u64 {
        self.0
    }
}

impl Add<Duration> for Instant {
    type Output = Instant;

    fn add(self, delay: Duration) -> Instant {
        Instant(self.0.saturating_add(nanoseconds(delay)))
    }
}

impl AddAssign<Duration> for Instant {
    fn add_assign(&mut self, delay: Duration) {
        *self = *self + delay;
    }
}

impl Sub for Instant {
    type Output = Duration;

    /// Zero if `earlier` is later: never negative, never panics.
    fn sub(self, earlier: Instant) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

impl fmt::Debug for Instant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.since_origin(), f)
    }
}

/// Converts a duration to nanoseconds. Durations of more than 584 years saturate.
pub(crate) fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sum_beyond_the_range_is_the_last_instant() {
        let last = Instant::default() + Duration::MAX;
        assert_eq!(last + Duration::from_secs(1), last);
        assert_eq!(Instant::default() - last, Duration::ZERO);
    }
}
