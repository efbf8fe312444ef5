//! The warning that this machine has trouble of its own: when it is due, and for how many watched things.
//! No I/O, no clock.
//!
//! The first trouble waits for the results of the others, so that the number is true: until all have
//! the same trouble, or for a second. From then on there is at most one warning a second.

use crate::{Instant, Reason};
use std::time::Duration;

/// Counts the watched things that have trouble of this machine, and says when to warn of it.
#[derive(Debug)]
pub(crate) struct Warning {
    /// How many are watched.
    watched: usize,
    /// How many of them are in trouble now.
    affected: usize,
    waiting: Option<Waiting>,
    /// When the last warning was given.
    last: Option<Instant>,
}

/// A warning that is not given yet.
#[derive(Debug)]
struct Waiting {
    reason: Reason,
    /// The largest number in trouble since it began to wait.
    most: usize,
}

/// When to give a warning, with [`Warning::take`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Due {
    Now,
    /// A call is to be set for it.
    After(Duration),
    /// It waits already, and a call is set.
    Set,
}

/// A warning to be given: how many of how many are in trouble, and why.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Warned {
    pub(crate) affected: usize,
    pub(crate) watched: usize,
    pub(crate) reason: Reason,
}

impl Warning {
    pub(crate) fn new(watched: usize) -> Warning {
        Warning { watched, affected: 0, waiting: None, last: None }
    }

    /// Counts a result of one of them: whether it was in trouble before, and whether it is now.
    pub(crate) fn count(&mut self, before: bool, now: bool) {
        self.affected = (self.affected + usize::from(now)).saturating_sub(usize::from(before));
        if let Some(waiting) = &mut self.waiting {
            waiting.most = waiting.most.max(self.affected);
        }
    }

    /// A result had this trouble, and is counted.
    pub(crate) fn trouble(&mut self, now: Instant, reason: &Reason) -> Due {
        let since = self.last.map(|last| now - last).filter(|since| *since < SPACING);
        let wait = SPACING - since.unwrap_or_default();
        let is_set = self.waiting.is_some();
        let most = self.affected;
        self.waiting.get_or_insert_with(|| Waiting { reason: reason.clone(), most });
        match is_set {
            _ if self.affected >= self.watched && since.is_none() => Due::Now,
            true => Due::Set,
            false => Due::After(wait),
        }
    }

    /// The warning that waits.
    pub(crate) fn take(&mut self, now: Instant) -> Option<Warned> {
        let Waiting { reason, most } = self.waiting.take()?;
        self.last = Some(now);
        Some(Warned { affected: most, watched: self.watched, reason })
    }
}

/// The shortest time between two warnings, and the longest that the first one waits.
const SPACING: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Instant {
        Instant::default() + Duration::from_millis(millis)
    }

    fn fails(warning: &mut Warning, millis: u64, before: bool) -> Due {
        warning.count(before, true);
        warning.trouble(at(millis), &Reason::SelfConnected)
    }

    fn taken(warning: &mut Warning, millis: u64) -> Option<(usize, usize)> {
        warning.take(at(millis)).map(|warned| (warned.affected, warned.watched))
    }

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn the_first_warning_waits_for_all_or_for_a_second() {
        let mut warning = Warning::new(3);
        assert_eq!(fails(&mut warning, 0, false), Due::After(SECOND));
        assert_eq!(fails(&mut warning, 10, false), Due::Set);
        assert_eq!(fails(&mut warning, 20, false), Due::Now);
        assert_eq!((taken(&mut warning, 20), taken(&mut warning, 20)), (Some((3, 3)), None));
        // From then on one a second.
        assert_eq!(fails(&mut warning, 120, true), Due::After(SECOND - Duration::from_millis(100)));
        assert_eq!(fails(&mut warning, 220, true), Due::Set);
        assert_eq!(taken(&mut warning, 1_020), Some((3, 3)));
        // A later trouble of two of them is a first one again.
        (0..3).for_each(|_| warning.count(true, false));
        assert_eq!(fails(&mut warning, 60_000, false), Due::After(SECOND));
        assert_eq!(fails(&mut warning, 60_010, false), Due::Set);
        assert_eq!(taken(&mut warning, 61_000), Some((2, 3)));
    }

    #[test]
    fn trouble_that_is_over_before_its_warning_counts() {
        let mut warning = Warning::new(3);
        fails(&mut warning, 0, false);
        fails(&mut warning, 10, false);
        warning.count(true, false);
        warning.count(true, false);
        assert_eq!(taken(&mut warning, 1_000), Some((2, 3)));
        assert_eq!(taken(&mut warning, 2_000), None);
    }

    #[test]
    fn the_only_one_is_warned_of_at_once() {
        let mut warning = Warning::new(1);
        assert_eq!(fails(&mut warning, 0, false), Due::Now);
        assert_eq!(taken(&mut warning, 0), Some((1, 1)));
        assert_eq!(fails(&mut warning, 500, true), Due::After(SECOND / 2));
    }
}
