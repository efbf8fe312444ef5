//! Rate-limited warnings about local trouble: trouble of this machine, not of a target.
//!
//! The first warning is delayed until all targets have failed locally, or for one second, so that
//! its count is complete. After that there is at most one warning a second.

use crate::escape::Escaped;
use crate::{DelayedCall, Instant, Reactor, Reason};
use std::cell::RefCell;
use std::fmt;
use std::rc::Rc;
use std::time::Duration;

/// Logs warnings about local trouble, at once or by a timer. Clones share the count.
#[derive(Clone)]
pub(crate) struct WarningLog {
    shared: Rc<RefCell<Shared>>,
    log: fn(&Warned),
}

struct Shared {
    warning: Warning,
    /// Timer that logs the pending warning.
    timer: Option<DelayedCall>,
}

impl WarningLog {
    /// Creates a log for this many targets. `log` writes a warning to it.
    pub(crate) fn new(watched: usize, log: fn(&Warned)) -> WarningLog {
        let shared = Shared { warning: Warning::new(watched), timer: None };
        WarningLog { shared: Rc::new(RefCell::new(shared)), log }
    }

    /// Counts a result of one target: whether it was in trouble before, and whether it is now.
    pub(crate) fn count(&self, before: bool, now: bool) {
        self.shared.borrow_mut().warning.count(before, now);
    }

    /// Notes that a result, already counted, had this trouble, and logs it now or later.
    pub(crate) fn warn(&self, reactor: &mut Reactor, reason: &Reason) {
        let due = self.shared.borrow_mut().warning.trouble(reactor.now(), reason);
        match due {
            Due::Now => self.flush(reactor),
            Due::After(wait) => {
                let this = self.clone();
                let timer = reactor.call_later(wait, move |reactor| this.flush(reactor));
                self.shared.borrow_mut().timer = Some(timer);
            }
            Due::Set => {}
        }
    }

    /// Logs the pending warning, if there is one.
    pub(crate) fn flush(&self, reactor: &mut Reactor) {
        let mut shared = self.shared.borrow_mut();
        let (warned, timer) = (shared.warning.take(reactor.now()), shared.timer.take());
        drop(shared);
        if let Some(timer) = timer {
            // A timer that is just running cannot be cancelled.
            let _ = timer.cancel(reactor);
        }
        if let Some(warned) = warned {
            (self.log)(&warned);
        }
    }
}

/// Counts the targets with local trouble, and decides when a warning is due. No I/O, no clock.
#[derive(Debug)]
struct Warning {
    /// Number of watched targets.
    watched: usize,
    /// Number of targets in trouble now.
    affected: usize,
    pending: Option<Pending>,
    /// Time of the last warning.
    last: Option<Instant>,
}

/// A warning that is not logged yet.
#[derive(Debug)]
struct Pending {
    reason: Reason,
    /// Maximum number of targets in trouble since the warning became pending.
    max_affected: usize,
}

/// When to log the warning returned by [`Warning::take`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Due {
    Now,
    /// The caller sets a timer for it.
    After(Duration),
    /// A timer is set already.
    Set,
}

/// The contents of a warning: targets in trouble, targets in total, and the reason.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Warned {
    affected: usize,
    watched: usize,
    reason: Reason,
}

impl fmt::Display for Warned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Warned { affected, watched, reason } = self;
        write!(f, "{affected} of {watched}, for a reason of this machine: {}", Escaped(reason))
    }
}

impl Warning {
    fn new(watched: usize) -> Warning {
        Warning { watched, affected: 0, pending: None, last: None }
    }

    /// Counts a result of one target: whether it was in trouble before, and whether it is now.
    fn count(&mut self, before: bool, now: bool) {
        self.affected = (self.affected + usize::from(now)).saturating_sub(usize::from(before));
        if let Some(pending) = &mut self.pending {
            pending.max_affected = pending.max_affected.max(self.affected);
        }
    }

    /// Notes that a result, already counted, had this trouble. Returns when to warn.
    fn trouble(&mut self, now: Instant, reason: &Reason) -> Due {
        let since = self.last.map(|last| now - last).filter(|since| *since < MIN_INTERVAL);
        let wait = MIN_INTERVAL - since.unwrap_or_default();
        let is_set = self.pending.is_some();
        let max_affected = self.affected;
        self.pending.get_or_insert_with(|| Pending { reason: reason.clone(), max_affected });
        match is_set {
            _ if self.affected >= self.watched && since.is_none() => Due::Now,
            true => Due::Set,
            false => Due::After(wait),
        }
    }

    /// Takes the pending warning.
    fn take(&mut self, now: Instant) -> Option<Warned> {
        let Pending { reason, max_affected } = self.pending.take()?;
        self.last = Some(now);
        Some(Warned { affected: max_affected, watched: self.watched, reason })
    }
}

/// Minimum time between two warnings, and maximum delay of the first one.
const MIN_INTERVAL: Duration = Duration::from_secs(1);

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
        // After the first warning, at most one a second.
        assert_eq!(fails(&mut warning, 120, true), Due::After(SECOND - Duration::from_millis(100)));
        assert_eq!(fails(&mut warning, 220, true), Due::Set);
        assert_eq!(taken(&mut warning, 1_020), Some((3, 3)));
        // Trouble after a quiet period counts as a first one again.
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
