//! The state of one target, and what every result changes about it. No I/O, no clock.

use super::cause::Cause;
use super::recent::{Recent, Sample};
use crate::Instant;
use std::time::Duration;

/// Whether a target is up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// There has been no result yet.
    Unknown,
    /// The last result was good.
    Up,
    /// The last result was bad, for this cause.
    Down(Cause),
}

/// What a result came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// The target is up, and was not.
    Up {
        /// How long connecting took.
        took: Duration,
        /// How long it was down; `None` for the first result.
        down_for: Option<Duration>,
    },
    /// The target is up, as before.
    StillUp {
        /// How long connecting took; `None` when a held connection is simply there.
        took: Option<Duration>,
        /// How long it has been up.
        up_for: Duration,
    },
    /// The target is down, and was not.
    Down {
        /// Why.
        cause: Cause,
        /// How long the attempt took; `None` when a held connection was lost.
        took: Option<Duration>,
        /// How long it was up; `None` for the first result.
        up_for: Option<Duration>,
    },
    /// The target is down, as before.
    StillDown {
        /// Why.
        cause: Cause,
        /// Whether the cause is another one than last time.
        new_cause: bool,
        /// How long the attempt took; `None` when there was none.
        took: Option<Duration>,
        /// How long it has been down.
        down_for: Duration,
    },
}

/// One target's state and counts.
#[derive(Clone, Debug)]
pub struct Track {
    state: State,
    /// When `state` began.
    since: Instant,
    /// When the first result came.
    first: Instant,
    /// The time up, without a stretch that is not over.
    up_before: Duration,
    losses: u32,
    connects: u64,
    failures: u64,
    recent: Recent,
}

/// What there is to say about a target at one moment.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Standing {
    /// Whether it is up.
    pub state: State,
    /// How long it has been so; nothing while unknown.
    pub lasted: Duration,
    /// The share of the known time that it was up, 0 to 1; `None` before any time has passed.
    pub uptime: Option<f64>,
    /// How often it went from up to down.
    pub losses: u32,
    /// How many connections were made.
    pub connects: u64,
    /// How many attempts failed.
    pub failures: u64,
    /// The median connect time of the last 64 results.
    pub median: Option<Duration>,
    /// The longest connect time.
    pub longest: Option<Duration>,
}

impl Track {
    /// A target about which nothing is known.
    pub fn new() -> Track {
        let start = Instant::default();
        Track {
            state: State::Unknown,
            since: start,
            first: start,
            up_before: Duration::ZERO,
            losses: 0,
            connects: 0,
            failures: 0,
            recent: Recent::default(),
        }
    }

    /// A connection was made at `now`, and it took so long.
    pub fn connected(&mut self, now: Instant, took: Duration) -> Change {
        self.connects += 1;
        self.recent.push(Sample::Took(took));
        let lasted = now - self.since;
        match self.enter(State::Up, now) {
            State::Up => Change::StillUp { took: Some(took), up_for: lasted },
            State::Down(_) => Change::Up { took, down_for: Some(lasted) },
            State::Unknown => Change::Up { took, down_for: None },
        }
    }

    /// An attempt failed at `now`, after so long.
    pub fn failed(&mut self, now: Instant, cause: Cause, took: Duration) -> Change {
        self.failures += 1;
        self.down(now, cause, Some(took))
    }

    /// The held connection was lost at `now`.
    pub fn lost(&mut self, now: Instant, cause: Cause) -> Change {
        self.down(now, cause, None)
    }

    /// A round of a held target passed without any news; `None` when nothing is known yet.
    pub fn round(&mut self, now: Instant) -> Option<Change> {
        let lasted = now - self.since;
        match self.state {
            State::Unknown => None,
            State::Up => {
                self.recent.push(Sample::Held);
                Some(Change::StillUp { took: None, up_for: lasted })
            }
            State::Down(cause) => {
                self.recent.push(Sample::Down);
                Some(Change::StillDown { cause, new_cause: false, took: None, down_for: lasted })
            }
        }
    }

    /// Whether it is up.
    pub fn state(&self) -> State {
        self.state
    }

    /// The last results.
    pub fn recent(&self) -> &Recent {
        &self.recent
    }

    /// How the target stands at `now`.
    pub fn standing(&self, now: Instant) -> Standing {
        let (lasted, known) = match self.state {
            State::Unknown => (Duration::ZERO, Duration::ZERO),
            _ => (now - self.since, now - self.first),
        };
        let up = self.up_before + if self.state == State::Up { lasted } else { Duration::ZERO };
        let uptime = (!known.is_zero()).then(|| (up.as_secs_f64() / known.as_secs_f64()).min(1.0));
        Standing {
            state: self.state,
            lasted,
            uptime,
            losses: self.losses,
            connects: self.connects,
            failures: self.failures,
            median: self.recent.median(),
            longest: self.recent.longest(),
        }
    }

    fn down(&mut self, now: Instant, cause: Cause, took: Option<Duration>) -> Change {
        self.recent.push(Sample::Down);
        let lasted = now - self.since;
        match self.enter(State::Down(cause), now) {
            State::Unknown => Change::Down { cause, took, up_for: None },
            State::Up => Change::Down { cause, took, up_for: Some(lasted) },
            State::Down(before) => {
                Change::StillDown { cause, new_cause: before != cause, took, down_for: lasted }
            }
        }
    }

    /// Changes the state, and returns the one before. Another cause of being down is no new state in time.
    fn enter(&mut self, state: State, now: Instant) -> State {
        let before = std::mem::replace(&mut self.state, state);
        match (before, state) {
            (State::Up, State::Up) | (State::Down(_), State::Down(_)) => return before,
            (State::Unknown, _) => self.first = now,
            (State::Up, _) => {
                self.up_before += now - self.since;
                self.losses += 1;
            }
            (State::Down(_), _) => {}
        }
        self.since = now;
        before
    }
}

impl Default for Track {
    fn default() -> Track {
        Track::new()
    }
}

impl Change {
    /// Whether the target is up after it.
    pub fn is_up(&self) -> bool {
        matches!(self, Change::Up { .. } | Change::StillUp { .. })
    }

    /// Whether somebody who wants changes only wants this one: the first result, another state,
    /// another cause of being down.
    pub fn is_news(&self) -> bool {
        !matches!(self, Change::StillUp { .. } | Change::StillDown { new_cause: false, .. })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Instant {
        Instant::default() + secs(seconds)
    }

    const fn secs(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn a_target_goes_up_down_and_up_again() {
        let mut track = Track::new();
        assert_eq!(track.state(), State::Unknown);
        assert_eq!(track.connected(at(10), MS), Change::Up { took: MS, down_for: None });
        assert_eq!(track.connected(at(20), MS * 3), Change::StillUp { took: Some(MS * 3), up_for: secs(10) });
        let down = Change::Down { cause: Cause::Refused, took: Some(MS), up_for: Some(secs(20)) };
        assert_eq!(track.failed(at(30), Cause::Refused, MS), down);
        let still =
            |cause, new_cause, down_for| Change::StillDown { cause, new_cause, took: Some(MS), down_for };
        assert_eq!(track.failed(at(31), Cause::Refused, MS), still(Cause::Refused, false, secs(1)));
        assert_eq!(track.failed(at(32), Cause::TimedOut, MS), still(Cause::TimedOut, true, secs(2)));
        assert_eq!(track.connected(at(40), MS * 2), Change::Up { took: MS * 2, down_for: Some(secs(10)) });

        let standing = track.standing(at(50));
        assert_eq!((standing.state, standing.lasted, standing.uptime), (State::Up, secs(10), Some(0.75)));
        assert_eq!((standing.losses, standing.connects, standing.failures), (1, 3, 3));
        assert_eq!((standing.median, standing.longest), (Some(MS * 2), Some(MS * 3)));
    }

    #[test]
    fn a_held_connection_is_up_until_it_is_lost() {
        let mut track = Track::new();
        assert_eq!(track.round(at(0)), None);
        track.connected(at(1), MS);
        assert_eq!(track.round(at(11)), Some(Change::StillUp { took: None, up_for: secs(10) }));
        let down = Change::Down { cause: Cause::Closed, took: None, up_for: Some(secs(11)) };
        assert_eq!(track.lost(at(12), Cause::Closed), down);
        let still =
            Change::StillDown { cause: Cause::Closed, new_cause: false, took: None, down_for: secs(9) };
        assert_eq!(track.round(at(21)), Some(still));
        assert_eq!(track.standing(at(23)).uptime, Some(0.5));
        let samples: Vec<_> = track.recent().samples().collect();
        assert_eq!(samples, [Sample::Took(MS), Sample::Held, Sample::Down, Sample::Down]);
    }

    #[test]
    fn a_target_that_was_never_up_has_no_losses() {
        let mut track = Track::new();
        assert_eq!(track.standing(at(9)).uptime, None);
        let change = track.failed(at(1), Cause::NoRoute, MS);
        assert_eq!(change, Change::Down { cause: Cause::NoRoute, took: Some(MS), up_for: None });
        let standing = track.standing(at(3));
        assert_eq!((standing.losses, standing.uptime, standing.lasted), (0, Some(0.0), secs(2)));
        assert_eq!(standing.median, None);
    }

    #[test]
    fn news_is_what_differs_from_the_result_before() {
        let mut track = Track::new();
        assert!(track.connected(at(1), MS).is_news());
        assert!(!track.connected(at(2), MS).is_news());
        assert!(track.failed(at(3), Cause::Refused, MS).is_news());
        assert!(!track.failed(at(4), Cause::Refused, MS).is_news());
        assert!(track.failed(at(5), Cause::TimedOut, MS).is_news());
    }
}
