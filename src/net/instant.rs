//! A point on the reactor's monotonic clock.

use std::fmt;
use std::ops::{Add, AddAssign, Sub};
use std::time::Duration;

/// A point in monotonic time, in nanoseconds since an origin that the process chose.
///
/// It plays the part of [`std::time::Instant`], which nobody but the system can make: a
/// simulated network has to. Instants of the reactors of one process compare with each other.
/// Sums saturate, so that a deadline centuries away is a deadline that never comes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Instant(u64);

impl Instant {
    /// The instant that lies `since_origin` after the clock's origin.
    pub fn from_origin(since_origin: Duration) -> Instant {
        Instant(nanoseconds(since_origin))
    }

    /// How long after the clock's origin this is.
    pub fn since_origin(self) -> Duration {
        Duration::from_nanos(self.0)
    }

    pub(crate) fn from_nanoseconds(since_origin: u64) -> Instant {
        Instant(since_origin)
    }

    pub(crate) fn nanoseconds(self) -> u64 {
        self.0
    }

    /// The time from `earlier` to this instant; zero when `earlier` is the later one.
    pub fn saturating_since(self, earlier: Instant) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
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

    /// As [`Instant::saturating_since`]: never negative, never a panic.
    fn sub(self, earlier: Instant) -> Duration {
        self.saturating_since(earlier)
    }
}

impl fmt::Debug for Instant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.since_origin(), f)
    }
}

/// A duration in nanoseconds. 584 years fit; what is longer counts as that.
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
