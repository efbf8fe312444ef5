//! A host's clocks: a monotonic clock that may drift, and a calendar clock that may be stepped.

/// Maps world time to a host's monotonic time, both in nanoseconds.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::sim) struct Clock {
    /// Both times at the last change of the rate.
    world: u64,
    host: u64,
    /// The drift in parts per million; negative: slow.
    drift: i32,
    /// The sum of all steps of the calendar time, in nanoseconds.
    pub(in crate::sim) stepped: i64,
}

impl Clock {
    /// Returns the host's monotonic time at a world time.
    #[inline]
    pub(in crate::sim) fn monotonic(&self, world: u64) -> u64 {
        if self.drift == 0 {
            return self.host.saturating_add(world.saturating_sub(self.world));
        }
        let passed = u128::from(world.saturating_sub(self.world)) * self.rate() / MILLION;
        self.host.saturating_add(u64::try_from(passed).unwrap_or(u64::MAX))
    }

    /// Returns the first world time at which the host's monotonic time is at least `host`.
    #[inline]
    pub(in crate::sim) fn world(&self, host: u64) -> u64 {
        if self.drift == 0 {
            return self.world.saturating_add(host.saturating_sub(self.host));
        }
        let passed = (u128::from(host.saturating_sub(self.host)) * MILLION).div_ceil(self.rate());
        self.world.saturating_add(u64::try_from(passed).unwrap_or(u64::MAX))
    }

    /// Sets the drift from `now` on.
    pub(in crate::sim) fn set_drift(&mut self, now: u64, millionths: i32) {
        self.host = self.monotonic(now);
        self.world = now;
        self.drift = millionths.clamp(-LIMIT, LIMIT);
    }

    fn rate(&self) -> u128 {
        // Positive, because the drift is clamped.
        (MILLION as i64 + i64::from(self.drift)) as u128
    }
}

const MILLION: u128 = 1_000_000;

/// The maximum drift: half or one and a half times the speed.
const LIMIT: i32 = 500_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deadline_of_the_host_is_never_early_in_the_world() {
        for drift in [-500_000, -137, 0, 1, 250_000] {
            let mut clock = Clock::default();
            clock.set_drift(1_000, drift);
            for host in [0, 1, 7, 1_000_000, 123_456_789_012] {
                let host = clock.monotonic(1_000) + host;
                let world = clock.world(host);
                assert!(clock.monotonic(world) >= host, "{drift} {host}");
                assert!(world == 1_000 || clock.monotonic(world - 1) < host, "{drift} {host}");
            }
        }
    }

    #[test]
    fn a_change_of_the_rate_does_not_move_the_time() {
        let mut clock = Clock::default();
        clock.set_drift(0, 100_000);
        assert_eq!(clock.monotonic(1_000_000), 1_100_000);
        clock.set_drift(1_000_000, -100_000);
        assert_eq!(clock.monotonic(1_000_000), 1_100_000);
        assert_eq!(clock.monotonic(2_000_000), 2_000_000);
    }
}
