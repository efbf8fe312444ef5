//! The check times of targets, spread evenly over an interval.
//!
//! A monitor that starts all checks at once measures its own burst: one of a thousand simultaneous
//! connects takes up to 105 ms, a single one 0.1 ms. So target `i` of `n` has the slot at `i / n`
//! of the interval. The first checks come sooner, so that first results do not take a whole
//! interval.

use std::time::Duration;

/// Check times for a number of targets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Schedule {
    interval: Duration,
    targets: u32,
}

impl Schedule {
    /// Creates a schedule that checks each of `targets` once per `interval` (at least 1 ms).
    pub(crate) fn new(interval: Duration, targets: usize) -> Schedule {
        let targets = u32::try_from(targets).unwrap_or(u32::MAX).max(1);
        Schedule { interval: interval.max(MIN_INTERVAL), targets }
    }

    /// Returns the time between two checks of one target.
    pub(crate) fn interval(&self) -> Duration {
        self.interval
    }

    /// Returns the time of the first check of target `index`, relative to the start.
    pub(crate) fn first(&self, index: u32) -> Duration {
        (self.interval / self.targets).min(FIRST_LOOK).saturating_mul(index)
    }

    /// Returns the time of the next check of target `index`, relative to the start.
    ///
    /// `last` is when its last check began, and `now` the current time. The result is the target's
    /// next slot that is at least half an interval after `last`. Missed slots are skipped.
    pub(crate) fn next(&self, index: u32, last: Duration, now: Duration) -> Duration {
        let slot = (self.interval / self.targets).saturating_mul(index);
        let after = now.max(last.saturating_add(self.interval / 2));
        let passed = after.saturating_sub(slot).as_nanos().div_ceil(self.interval.as_nanos().max(1));
        slot.saturating_add(times(self.interval, passed))
    }
}

/// `count` intervals. Unlike `Duration::saturating_mul`, for more than four billion of them: at
/// 1 ms those are over in fifty days.
pub(super) fn times(interval: Duration, count: u128) -> Duration {
    const SECOND: u128 = 1_000_000_000;
    let nanoseconds = interval.as_nanos().saturating_mul(count);
    match u64::try_from(nanoseconds / SECOND) {
        Ok(seconds) => Duration::new(seconds, (nanoseconds % SECOND) as u32),
        Err(_) => Duration::MAX,
    }
}

/// Time between the first checks of two targets. At 10 ms, a hundred targets are checked within a
/// second without a burst of connects.
pub(crate) const FIRST_LOOK: Duration = Duration::from_millis(10);
/// Minimum interval, which also rules out zero.
const MIN_INTERVAL: Duration = Duration::from_millis(1);

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    #[test]
    fn first_checks_come_soon_and_later_ones_are_splayed() {
        let schedule = Schedule::new(ms(10_000), 4);
        assert_eq!([0, 1, 3].map(|index| schedule.first(index)), [ms(0), ms(10), ms(30)]);
        let second = [0, 1, 2, 3].map(|index| schedule.next(index, schedule.first(index), ms(40)));
        // The slots of targets 0 to 2 are within half an interval of their first checks.
        assert_eq!(second, [10_000, 12_500, 15_000, 7_500].map(ms));
        assert_eq!(schedule.next(3, ms(7_500), ms(7_501)), ms(17_500));
    }

    #[test]
    fn many_targets_are_splayed_from_the_first_check_on() {
        let schedule = Schedule::new(ms(1_000), 1_000);
        assert_eq!((schedule.first(999), schedule.next(999, ms(999), ms(1_000))), (ms(999), ms(1_999)));
    }

    #[test]
    fn four_billion_intervals_are_not_the_last() {
        let schedule = Schedule::new(ms(1), 1);
        let late = Duration::from_secs(60 * 24 * 3600);
        assert_eq!(schedule.next(0, late, late), late + ms(1));
        assert_eq!(times(Duration::MAX, 2), Duration::MAX);
        assert_eq!(times(ms(1500), 3), ms(4500));
    }

    #[test]
    fn missed_slots_are_left_out() {
        let schedule = Schedule::new(ms(1_000), 2);
        assert_eq!(schedule.next(1, ms(500), ms(7_600)), ms(8_500));
        assert_eq!(schedule.next(0, ms(0), ms(7_000)), ms(7_000));
        assert_eq!(Schedule::new(Duration::ZERO, 0).next(0, ms(0), ms(5)), ms(5));
    }
}
