//! The times at which messages are due: evenly spaced, independent of the answers.

use crate::Instant;
use std::time::Duration;

/// Evenly spaced times, numbered from 0. The senders take turns: number `n` belongs to sender slot
/// `n % slots`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(in crate::load) struct Schedule {
    start: Instant,
    /// Nanoseconds between two times.
    interval: f64,
    slots: u64,
}

impl Schedule {
    /// Creates a schedule of `rate` times a second. The rate is finite and positive.
    pub(in crate::load) fn new(start: Instant, rate: f64, slots: u64) -> Schedule {
        Schedule { start, interval: 1e9 / rate, slots: slots.max(1) }
    }

    pub(in crate::load) fn slots(&self) -> u64 {
        self.slots
    }

    /// Returns when message `number` is due.
    pub(in crate::load) fn due(&self, number: u64) -> Instant {
        // A saturated conversion gives a time that never comes.
        self.start + Duration::from_nanos((number as f64 * self.interval) as u64)
    }

    /// Returns when message `number` of a slot is due.
    #[inline]
    pub(in crate::load) fn due_in_slot(&self, slot: u64, number: u64) -> Instant {
        self.due(number.saturating_mul(self.slots).saturating_add(slot))
    }

    /// Returns the number of messages due before `end`.
    pub(in crate::load) fn before(&self, end: Instant) -> u64 {
        let span = end - self.start;
        let mut count = (span.as_nanos() as f64 / self.interval) as u64;
        // The quotient is rounded, so correct it by `due`.
        while count > 0 && self.due(count - 1) >= end {
            count -= 1;
        }
        while self.due(count) < end {
            count += 1;
        }
        count
    }
}

/// A sender's part of the schedule.
pub(super) struct Pace {
    pub(super) schedule: Schedule,
    pub(super) slot: u64,
    /// Number of messages started so far.
    pub(super) next: u64,
    /// Messages due at this time or later are not sent.
    pub(super) end: Instant,
}

impl Pace {
    /// Returns when the next message is due; `None` after the last one.
    pub(super) fn due(&self) -> Option<Instant> {
        Some(self.schedule.due_in_slot(self.slot, self.next)).filter(|due| *due < self.end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(nanoseconds: u64) -> Instant {
        Instant::from_origin(Duration::from_nanos(nanoseconds))
    }

    #[test]
    fn messages_are_due_evenly_and_lanes_take_turns() {
        let schedule = Schedule::new(at(500), 1e6, 3);
        assert_eq!([0, 1, 2].map(|number| schedule.due(number)), [at(500), at(1500), at(2500)]);
        let second = [0, 1, 2].map(|number| schedule.due_in_slot(1, number));
        assert_eq!(second, [at(1500), at(4500), at(7500)]);
    }

    #[test]
    fn the_count_before_an_end_agrees_with_when_each_is_due() {
        for rate in [0.5, 1.0, 3.0, 7.0, 1e3, 99_999.7, 1e6] {
            let schedule = Schedule::new(at(12_345), rate, 1);
            for end in [0, 12_345, 12_346, 1_000_000, 1_000_012_345, 10_000_000_000] {
                let count = schedule.before(at(end));
                assert!(schedule.due(count) >= at(end), "{rate} {end}");
                assert!(count == 0 || schedule.due(count - 1) < at(end), "{rate} {end}");
            }
        }
    }
}
