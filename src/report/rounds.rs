//! The rounds of a number of targets: their times, their counts, and the end of the last one.

use super::schedule::{Schedule, times};
use crate::{Instant, Reactor};
use std::io;
use std::time::Duration;

/// The rounds of a monitor or a feed reader. It sets no timers of its own.
pub(crate) struct Rounds {
    schedule: Schedule,
    started: Instant,
    /// Maximum number of rounds of a target; `None` means no limit.
    limit: Option<u32>,
    /// Number of finished rounds of each target.
    counts: Vec<u32>,
    /// Number of targets with rounds left.
    unfinished: usize,
    /// Called once, when all targets have had their rounds, or when a report failed.
    on_finished: Option<Finished>,
    stopped: bool,
    /// The first error of a report.
    error: Option<io::Error>,
}

type Finished = Box<dyn FnOnce(&mut Reactor)>;

impl Rounds {
    /// Creates the rounds of this many targets, of which each has one per `interval`.
    pub(crate) fn new(now: Instant, interval: Duration, targets: usize, limit: Option<u32>) -> Rounds {
        Rounds {
            schedule: Schedule::new(interval, targets),
            started: now,
            limit,
            counts: vec![0; targets],
            unfinished: targets,
            on_finished: None,
            stopped: false,
            error: None,
        }
    }

    /// Sets the callback for the end of the last round, or for a report that failed.
    pub(crate) fn on_finished(&mut self, call: impl FnOnce(&mut Reactor) + 'static) {
        self.on_finished = Some(Box::new(call));
    }

    pub(crate) fn stop(&mut self) {
        self.stopped = true;
    }

    pub(crate) fn is_stopped(&self) -> bool {
        self.stopped
    }

    pub(crate) fn targets(&self) -> u32 {
        u32::try_from(self.counts.len()).unwrap_or(u32::MAX)
    }

    /// Returns the number of targets that have had their rounds.
    pub(crate) fn finished(&self) -> usize {
        self.counts.len() - self.unfinished
    }

    /// Returns the number of finished rounds of target `index`.
    pub(crate) fn count(&self, index: u32) -> u32 {
        self.counts.get(index as usize).copied().unwrap_or(0)
    }

    /// Whether no more results of target `index` are needed.
    pub(crate) fn is_done(&self, index: u32) -> bool {
        self.stopped || self.limit.is_some_and(|limit| self.count(index) >= limit)
    }

    /// Counts a finished round of target `index`. After the last one, the loop calls `on_finished`.
    pub(crate) fn end_round(&mut self, reactor: &mut Reactor, index: u32) {
        if let Some(count) = self.counts.get_mut(index as usize) {
            *count = count.saturating_add(1);
            if self.limit.is_some_and(|limit| *count >= limit) {
                self.unfinished = self.unfinished.saturating_sub(1);
            }
        }
        if self.unfinished == 0 {
            self.finish(reactor);
        }
    }

    /// Keeps the error of a report, if it failed. The loop calls `on_finished` then.
    pub(crate) fn reported(&mut self, reactor: &mut Reactor, result: io::Result<()>) {
        if let Err(error) = result {
            self.error.get_or_insert(error);
            self.finish(reactor);
        }
    }

    pub(crate) fn take_error(&mut self) -> Option<io::Error> {
        self.error.take()
    }

    /// Returns the delay until the first check of target `index`.
    pub(crate) fn until_first(&self, index: u32, now: Instant) -> Duration {
        self.schedule.first(index).saturating_sub(now - self.started)
    }

    /// Returns the delay until the next check of target `index`, whose last one began at `last`.
    pub(crate) fn until_next(&self, index: u32, last: Instant, now: Instant) -> Duration {
        let now = now - self.started;
        self.schedule.next(index, last - self.started, now).saturating_sub(now)
    }

    /// Returns the delay until the next multiple of the interval from the start.
    pub(crate) fn until_interval_end(&self, now: Instant) -> Duration {
        let (interval, elapsed) = (self.schedule.interval(), now - self.started);
        let passed = elapsed.as_nanos() / interval.as_nanos().max(1);
        times(interval, passed + 1).saturating_sub(elapsed)
    }

    /// Has the loop call `on_finished`, once, so that the callback can use the owner of the rounds.
    fn finish(&mut self, reactor: &mut Reactor) {
        if let Some(call) = self.on_finished.take() {
            reactor.call_later(Duration::ZERO, call);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Clock;
    use std::cell::Cell;
    use std::rc::Rc;

    const SECOND: Duration = Duration::from_secs(1);

    fn at(millis: u64) -> Instant {
        Instant::default() + Duration::from_millis(millis)
    }

    /// Rounds of two targets, and whether they have finished.
    fn rounds(limit: Option<u32>) -> (Rounds, Rc<Cell<u32>>) {
        let mut rounds = Rounds::new(at(0), SECOND, 2, limit);
        let calls = Rc::new(Cell::new(0));
        let counted = Rc::clone(&calls);
        rounds.on_finished(move |_| counted.set(counted.get() + 1));
        (rounds, calls)
    }

    #[test]
    fn the_callback_comes_once_after_the_last_round() {
        let mut clock = Clock::new();
        let (mut rounds, calls) = rounds(Some(2));
        for (index, finished) in [(0, 0), (0, 1), (1, 1)] {
            rounds.end_round(clock.reactor(), index);
            assert_eq!(rounds.finished(), finished);
        }
        assert!(rounds.is_done(0) && !rounds.is_done(1));
        clock.advance(SECOND);
        assert_eq!(calls.get(), 0);
        rounds.end_round(clock.reactor(), 1);
        rounds.reported(clock.reactor(), Err(io::ErrorKind::BrokenPipe.into()));
        assert_eq!(calls.get(), 0, "it runs from the loop");
        clock.advance(SECOND);
        assert_eq!((calls.get(), rounds.finished(), rounds.count(1)), (1, 2, 2));
    }

    #[test]
    fn without_a_limit_only_a_failed_report_ends_the_rounds() {
        let mut clock = Clock::new();
        let (mut rounds, calls) = rounds(None);
        (0..100).for_each(|_| rounds.end_round(clock.reactor(), 0));
        rounds.reported(clock.reactor(), Ok(()));
        clock.advance(SECOND);
        assert!(calls.get() == 0 && !rounds.is_done(0) && rounds.take_error().is_none());
        for kind in [io::ErrorKind::BrokenPipe, io::ErrorKind::StorageFull] {
            rounds.reported(clock.reactor(), Err(kind.into()));
        }
        clock.advance(SECOND);
        let kept = rounds.take_error().map(|error| error.kind());
        assert_eq!((calls.get(), kept), (1, Some(io::ErrorKind::BrokenPipe)));
        rounds.stop();
        assert!(rounds.is_stopped() && rounds.is_done(0));
    }

    #[test]
    fn times_are_delays_from_now() {
        let (rounds, _) = rounds(None);
        let ms = Duration::from_millis;
        assert_eq!([0, 4, 20].map(|now| rounds.until_first(1, at(now))), [ms(10), ms(6), ms(0)]);
        assert_eq!(rounds.until_next(1, at(10), at(30)), ms(1470));
        assert_eq!(
            [0, 300, 1000].map(|now| rounds.until_interval_end(at(now))),
            [ms(1000), ms(700), ms(1000)]
        );
    }
}
