//! When each target is checked: evenly splayed over the interval.
//!
//! A monitor that fires everything on the tick measures itself: a thousand connects at once take
//! 105 ms where one takes 0.1 ms. So target `i` of `n` has the slot `i / n` of the interval. The
//! first check of all comes sooner, so that nobody waits an interval to see whether it works.

use std::time::Duration;

/// The plan for a number of targets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Schedule {
    interval: Duration,
    targets: u32,
}

impl Schedule {
    /// A plan that checks each of `targets` once per `interval` (at least a millisecond).
    pub fn new(interval: Duration, targets: usize) -> Schedule {
        let targets = u32::try_from(targets).unwrap_or(u32::MAX).max(1);
        Schedule { interval: interval.max(SHORTEST), targets }
    }

    /// The time between two checks of one target.
    pub fn interval(&self) -> Duration {
        self.interval
    }

    /// When target `index` is checked first, from the start.
    pub fn first(&self, index: u32) -> Duration {
        (self.interval / self.targets).min(FIRST_LOOK).saturating_mul(index)
    }

    /// When target `index` is checked next, from the start, if its last check began at `last` and it
    /// is `now`: its next slot that is not too close to the last check. Slots that were missed are left out.
    pub fn next(&self, index: u32, last: Duration, now: Duration) -> Duration {
        let slot = (self.interval / self.targets).saturating_mul(index);
        let after = now.max(last.saturating_add(self.interval / 2));
        let passed = after.saturating_sub(slot).as_nanos().div_ceil(self.interval.as_nanos().max(1));
        slot.saturating_add(self.interval.saturating_mul(u32::try_from(passed).unwrap_or(u32::MAX)))
    }
}

/// Ten milliseconds between first looks: a hundred targets within a second, and no thundering herd.
pub(crate) const FIRST_LOOK: Duration = Duration::from_millis(10);
/// Also keeps the interval from being nothing.
const SHORTEST: Duration = Duration::from_millis(1);

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
    fn missed_slots_are_left_out() {
        let schedule = Schedule::new(ms(1_000), 2);
        assert_eq!(schedule.next(1, ms(500), ms(7_600)), ms(8_500));
        assert_eq!(schedule.next(0, ms(0), ms(7_000)), ms(7_000));
        assert_eq!(Schedule::new(Duration::ZERO, 0).next(0, ms(0), ms(5)), ms(5));
    }
}
