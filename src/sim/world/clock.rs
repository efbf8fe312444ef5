//! The clocks of a host: a monotonic one that may run fast or slow, and a calendar that may jump.

/// Maps the world's time to a host's: in nanoseconds, both.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::sim) struct Clock {
    /// The two times at which the rate last changed.
    world: u64,
    host: u64,
    /// Millionths that it runs fast; negative: slow.
    drift: i32,
    /// What was added to the calendar time by steps.
    pub(in crate::sim) stepped: i64,
}

impl Clock {
    /// The host's monotonic time at a time of the world.
    #[inline]
    pub(in crate::sim) fn monotonic(&self, world: u64) -> u64 {
        if self.drift == 0 {
            return self.host.saturating_add(world.saturating_sub(self.world));
        }
        let passed = u128::from(world.saturating_sub(self.world)) * self.rate() / MILLION;
        self.host.saturating_add(u64::try_from(passed).unwrap_or(u64::MAX))
    }

    /// The first time of the world at which the host's monotonic time is this, or later.
    #[inline]
    pub(in crate::sim) fn world(&self, host: u64) -> u64 {
        if self.drift == 0 {
            return self.world.saturating_add(host.saturating_sub(self.host));
        }
        let passed = (u128::from(host.saturating_sub(self.host)) * MILLION).div_ceil(self.rate());
        self.world.saturating_add(u64::try_from(passed).unwrap_or(u64::MAX))
    }

    /// From now on it runs fast or slow by so many millionths.
    pub(in crate::sim) fn set_drift(&mut self, now: u64, millionths: i32) {
        self.host = self.monotonic(now);
        self.world = now;
        self.drift = millionths.clamp(-LIMIT, LIMIT);
    }

    fn rate(&self) -> u128 {
        // The limit keeps it positive.
        (MILLION as i64 + i64::from(self.drift)) as u128
    }
}

const MILLION: u128 = 1_000_000;

/// A clock that runs at half or at one and a half times the speed is broken enough.
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
