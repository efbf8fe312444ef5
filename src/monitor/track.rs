//! The state machine of one target. No I/O, no clock.
//!
//! Servers close idle connections, so an orderly close by the peer is not an outage by itself. The
//! state stays up while a new connection is made. The new connection counts only when it has lasted
//! a second, because the backlog of a killed server can accept one more connection.
//! | event | state | becomes | next attempt |
//! |---|---|---|---|
//! | closed after a second or more | up | up | at once |
//! | closed within a second, for the first or second time in a row | up | up | after a wait |
//! | closed within a second, for the third time in a row | up | down since the first close, "closes at once" | after a wait |
//! | closed within a second | down, unknown | down, "closes at once" | after a wait |
//! | the attempt failed, after a close | up | down since the close | after a wait |
//! | connected, after a close | up | up until it has lasted a second; then up: reconnected | - |
//! | broke within a second, connected after a close | up | down since the close | after a wait |
//! | connected, after three closes at once | down, unknown | the same until it has lasted a second; then up | - |

use super::cause::DownCause;
use super::recent::{History, Sample};
use crate::Instant;
use std::time::Duration;

/// The state of a target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Not known: `None` before the first result, [`DownCause::Local`] while this machine cannot
    /// connect.
    Unknown(Option<DownCause>),
    /// The last result was a success.
    Up,
    /// The last result was a failure, with this cause.
    Down(DownCause),
}

/// The effect of a result on the state of its target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Change {
    /// The target became up.
    Up {
        /// Duration of connecting.
        took: Duration,
        /// How long the target was down before; `None` for the first result, and if it was unknown
        /// before.
        down_for: Option<Duration>,
        /// How long the target was unknown for a local reason; `None` if it was not.
        unknown_for: Option<Duration>,
    },
    /// The target is still up.
    StillUp {
        /// Duration of connecting; `None` when a held connection is still open.
        took: Option<Duration>,
        /// How long the target has been up.
        up_for: Duration,
    },
    /// The target is still up: its peer closed the held connection, and a new one has lasted for
    /// [`TargetTracker::SHORT`].
    Reconnected {
        /// How long the previous connection lasted.
        after: Duration,
        /// Whether no data was received on the previous connection.
        idle: bool,
        /// Time between the close and the new connection.
        gap: Duration,
        /// Duration of connecting.
        took: Duration,
        /// Number of reconnects, this one included.
        count: u32,
    },
    /// The target became down.
    Down {
        /// The cause.
        cause: DownCause,
        /// Duration of the attempt; `None` when a held connection was lost.
        took: Option<Duration>,
        /// How long the target was up; `None` for the first result, and if it was unknown before.
        up_for: Option<Duration>,
        /// How long the target was unknown for a local reason; `None` if it was not.
        unknown_for: Option<Duration>,
    },
    /// The target is still down.
    StillDown {
        /// The cause.
        cause: DownCause,
        /// Whether the cause differs from the last one.
        new_cause: bool,
        /// Duration of the attempt; `None` if there was no attempt.
        took: Option<Duration>,
        /// How long the target has been down.
        down_for: Duration,
    },
    /// The target became unknown, for a local reason.
    Unknown {
        /// The cause.
        cause: DownCause,
        /// Duration of the attempt; `None` if there was no attempt.
        took: Option<Duration>,
        /// How long the target was up before; `None` if it was not up.
        up_for: Option<Duration>,
        /// How long the target was down before; `None` if it was not down.
        down_for: Option<Duration>,
    },
    /// The target is still unknown.
    StillUnknown {
        /// The cause.
        cause: DownCause,
        /// Duration of the attempt; `None` if there was no attempt.
        took: Option<Duration>,
        /// How long the target has been unknown.
        unknown_for: Duration,
    },
}

/// The delay before the next attempt after an orderly close.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retry {
    /// Reconnect without a delay.
    AtOnce,
    /// Reconnect after the backoff delay for this number of failures (0: the first delay).
    After(u32),
}

/// The state and counts of one target.
#[derive(Clone, Debug)]
pub struct TargetTracker {
    state: State,
    /// When `state` began.
    since: Instant,
    /// Total time up, without the current state.
    up: Duration,
    /// Total time up or down, without the current state.
    known: Duration,
    /// Whether the last known state, before an unknown one, was up.
    was_up: bool,
    /// An orderly close that no lasting connection has followed yet. Only set while the state is
    /// up.
    closed: Option<Closed>,
    /// A connection that counts only when it has lasted for [`SHORT`](TargetTracker::SHORT).
    made: Option<Made>,
    /// Number of consecutive connections that were closed within [`SHORT`](TargetTracker::SHORT).
    short: u32,
    losses: u32,
    reconnects: u32,
    connects: u64,
    failures: u64,
    recent: History,
}

/// An orderly close of a held connection.
#[derive(Clone, Copy, Debug)]
struct Closed {
    at: Instant,
    after: Duration,
    idle: bool,
}

/// A connection that does not count yet.
#[derive(Clone, Copy, Debug)]
struct Made {
    at: Instant,
    took: Duration,
}

/// The state and figures of a target at one moment.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct TargetSummary {
    /// The state.
    pub state: State,
    /// Duration of the state so far; zero before the first result.
    pub lasted: Duration,
    /// Fraction of the known time in which the target was up, 0 to 1. Time in the unknown state
    /// does not count. `None` before any known time has passed.
    pub uptime: Option<f64>,
    /// Number of changes from up to down.
    pub losses: u32,
    /// Number of reconnects after an orderly close during which the target stayed up.
    pub reconnects: u32,
    /// Number of connections made.
    pub connects: u64,
    /// Number of failed attempts.
    pub failures: u64,
    /// Median connect time of the last 64 results. If these hold no connect time, the last connect
    /// time before them.
    pub median: Option<Duration>,
    /// Longest connect time.
    pub longest: Option<Duration>,
}

impl TargetTracker {
    /// Creates a tracker without any results.
    pub fn new() -> TargetTracker {
        TargetTracker {
            state: State::Unknown(None),
            since: Instant::default(),
            up: Duration::ZERO,
            known: Duration::ZERO,
            was_up: false,
            closed: None,
            made: None,
            short: 0,
            losses: 0,
            reconnects: 0,
            connects: 0,
            failures: 0,
            recent: History::default(),
        }
    }

    /// Notes that a connection was made at `now`, after `took`.
    ///
    /// Returns `None` after an orderly close, and if the last three connections were closed at
    /// once. Such a connection counts when it has lasted for [`SHORT`](TargetTracker::SHORT): the
    /// caller then calls [`settled`](TargetTracker::settled).
    pub fn connected(&mut self, now: Instant, took: Duration) -> Option<Change> {
        self.connects += 1;
        if self.closed.is_some() || self.short >= CLOSES_AT_ONCE {
            self.made = Some(Made { at: now, took });
            return None;
        }
        Some(self.enter_up(now, took))
    }

    /// Notes that the connection for which [`connected`](TargetTracker::connected) returned `None`
    /// has lasted. Returns `None` if there is no such connection.
    pub fn settled(&mut self, now: Instant) -> Option<Change> {
        let Made { at: made, took } = self.made.take()?;
        self.short = 0;
        let Some(Closed { at, after, idle }) = self.closed.take() else {
            return Some(self.enter_up(now, took));
        };
        self.recent.push(Sample::Took(took));
        self.reconnects = self.reconnects.saturating_add(1);
        Some(Change::Reconnected { after, idle, gap: made - at, took, count: self.reconnects })
    }

    /// Notes that an attempt failed at `now`, after `took`. After an orderly close, the target is
    /// down or unknown since the close.
    pub fn failed(&mut self, now: Instant, cause: DownCause, took: Duration) -> Change {
        self.failures += 1;
        self.enter_bad(now, cause, Some(took))
    }

    /// Notes that the held connection was lost at `now`. If it followed an orderly close and did
    /// not last, the target is down or unknown since that close.
    pub fn lost(&mut self, now: Instant, cause: DownCause) -> Change {
        let closed = self.closed.is_some() && cause != DownCause::Local;
        self.enter_bad(now, if closed { DownCause::Closed } else { cause }, None)
    }

    /// Notes that the peer closed the held connection in good order at `now`. The connection had
    /// lasted for `after`; `idle` is set if no data was received on it.
    pub fn closed(&mut self, now: Instant, after: Duration, idle: bool) -> (Retry, Option<Change>) {
        let short = after < TargetTracker::SHORT || self.state != State::Up;
        self.short = if short { self.short.saturating_add(1) } else { 0 };
        self.made = None;
        let retry = if short { Retry::After(self.short - 1) } else { Retry::AtOnce };
        if self.state == State::Up && self.short < CLOSES_AT_ONCE {
            // After a connection that did not last, the earlier close still counts.
            self.closed.get_or_insert(Closed { at: now, after, idle });
            return (retry, None);
        }
        (retry, Some(self.enter_bad(now, DownCause::ClosesAtOnce, None)))
    }

    /// Notes that no connection could be made after an orderly close: the target is down since the
    /// close. Returns `None` if there was no close.
    pub fn close_stands(&mut self, now: Instant) -> Option<Change> {
        self.closed.is_some().then(|| self.enter_bad(now, DownCause::Closed, None))
    }

    /// Returns when the peer closed the held connection, until a lasting connection or a failure
    /// follows.
    pub fn closed_at(&self) -> Option<Instant> {
        self.closed.map(|closed| closed.at)
    }

    /// Notes that a round of a held target passed without an event. Returns `None` if the state is
    /// not known yet.
    pub fn round(&mut self, now: Instant) -> Option<Change> {
        let lasted = now - self.since;
        match self.state {
            State::Unknown(None) => None,
            State::Unknown(Some(cause)) => {
                self.recent.push(Sample::Unknown);
                Some(Change::StillUnknown { cause, took: None, unknown_for: lasted })
            }
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

    /// Returns the state.
    pub fn state(&self) -> State {
        self.state
    }

    /// Returns the last results.
    pub fn recent(&self) -> &History {
        &self.recent
    }

    /// Returns the state and figures at `now`.
    pub fn standing(&self, now: Instant) -> TargetSummary {
        let lasted = match self.state {
            State::Unknown(None) => Duration::ZERO,
            _ => now - self.since,
        };
        let (up, known) = self.times(lasted);
        let uptime = (!known.is_zero()).then(|| (up.as_secs_f64() / known.as_secs_f64()).min(1.0));
        TargetSummary {
            state: self.state,
            lasted,
            uptime,
            losses: self.losses,
            reconnects: self.reconnects,
            connects: self.connects,
            failures: self.failures,
            median: self.recent.median(),
            longest: self.recent.longest(),
        }
    }

    fn enter_up(&mut self, now: Instant, took: Duration) -> Change {
        self.recent.push(Sample::Took(took));
        let lasted = now - self.since;
        match self.enter(State::Up, now) {
            State::Up => Change::StillUp { took: Some(took), up_for: lasted },
            State::Down(_) => Change::Up { took, down_for: Some(lasted), unknown_for: None },
            State::Unknown(None) => Change::Up { took, down_for: None, unknown_for: None },
            State::Unknown(Some(_)) => Change::Up { took, down_for: None, unknown_for: Some(lasted) },
        }
    }

    /// Enters the down state, or unknown for a local cause; since the orderly close, if there was
    /// one.
    fn enter_bad(&mut self, now: Instant, cause: DownCause, took: Option<Duration>) -> Change {
        self.made = None;
        let at = self.closed.take().map_or(now, |closed| closed.at);
        let (lasted, still) = (at - self.since, now - self.since);
        if cause == DownCause::Local {
            self.recent.push(Sample::Unknown);
            let unknown = |up_for, down_for| Change::Unknown { cause, took, up_for, down_for };
            return match self.enter(State::Unknown(Some(cause)), at) {
                State::Unknown(None) => unknown(None, None),
                State::Up => unknown(Some(lasted), None),
                State::Down(_) => unknown(None, Some(lasted)),
                State::Unknown(Some(_)) => Change::StillUnknown { cause, took, unknown_for: still },
            };
        }
        self.recent.push(Sample::Down);
        let down = |up_for, unknown_for| Change::Down { cause, took, up_for, unknown_for };
        match self.enter(State::Down(cause), at) {
            State::Unknown(None) => down(None, None),
            State::Unknown(Some(_)) => down(None, Some(lasted)),
            State::Up => down(Some(lasted), None),
            State::Down(before) => {
                Change::StillDown { cause, new_cause: before != cause, took, down_for: still }
            }
        }
    }

    /// Changes the state and returns the previous one. A new cause alone does not restart the
    /// state's duration.
    fn enter(&mut self, state: State, at: Instant) -> State {
        let before = self.state;
        if std::mem::discriminant(&before) == std::mem::discriminant(&state) && before != State::Unknown(None)
        {
            self.state = state;
            return before;
        }
        (self.up, self.known) = self.times(at - self.since);
        if !matches!(before, State::Unknown(_)) {
            self.was_up = before == State::Up;
        }
        if matches!(state, State::Down(_)) && std::mem::take(&mut self.was_up) {
            self.losses += 1;
        }
        self.state = state;
        self.since = at;
        before
    }

    /// Returns the total time up and the total known time, if the current state has lasted for
    /// `lasted`.
    fn times(&self, lasted: Duration) -> (Duration, Duration) {
        let of = |counts: bool| if counts { lasted } else { Duration::ZERO };
        let known = !matches!(self.state, State::Unknown(_));
        (self.up + of(self.state == State::Up), self.known + of(known))
    }

    /// Minimum life of a held connection. If the peer closes it sooner, the next attempt is
    /// delayed. A connection that follows a close counts only after this time.
    pub const SHORT: Duration = Duration::from_secs(1);
}

impl Default for TargetTracker {
    fn default() -> TargetTracker {
        TargetTracker::new()
    }
}

impl Change {
    /// Whether the target is up after this change.
    pub fn is_up(&self) -> bool {
        matches!(self, Change::Up { .. } | Change::StillUp { .. } | Change::Reconnected { .. })
    }

    /// Whether the target is unknown after this change.
    pub fn is_unknown(&self) -> bool {
        matches!(self, Change::Unknown { .. } | Change::StillUnknown { .. })
    }

    /// Whether this is more than a repetition: a first result, a new state, a new cause of being
    /// down, or the first reconnection.
    pub fn is_news(&self) -> bool {
        match self {
            Change::Up { .. } | Change::Down { .. } | Change::Unknown { .. } => true,
            Change::StillDown { new_cause, .. } => *new_cause,
            Change::Reconnected { count, .. } => *count == 1,
            Change::StillUp { .. } | Change::StillUnknown { .. } => false,
        }
    }
}

/// Number of consecutive connections closed within [`TargetTracker::SHORT`] after which a target is
/// down.
const CLOSES_AT_ONCE: u32 = 3;

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

    fn up(took: Duration, down_for: Option<Duration>) -> Change {
        Change::Up { took, down_for, unknown_for: None }
    }

    fn down(cause: DownCause, took: Option<Duration>, up_for: Option<Duration>) -> Change {
        Change::Down { cause, took, up_for, unknown_for: None }
    }

    /// A target that is up since second 1.
    fn held() -> TargetTracker {
        let mut track = TargetTracker::new();
        track.connected(at(1), MS);
        track
    }

    #[test]
    fn a_target_goes_up_down_and_up_again() {
        let mut track = TargetTracker::new();
        assert_eq!(track.state(), State::Unknown(None));
        assert_eq!(track.connected(at(10), MS), Some(up(MS, None)));
        let still_up = Change::StillUp { took: Some(MS * 3), up_for: secs(10) };
        assert_eq!(track.connected(at(20), MS * 3), Some(still_up));
        let refused = down(DownCause::Refused, Some(MS), Some(secs(20)));
        assert_eq!(track.failed(at(30), DownCause::Refused, MS), refused);
        let still =
            |cause, new_cause, down_for| Change::StillDown { cause, new_cause, took: Some(MS), down_for };
        assert_eq!(track.failed(at(31), DownCause::Refused, MS), still(DownCause::Refused, false, secs(1)));
        assert_eq!(track.failed(at(32), DownCause::TimedOut, MS), still(DownCause::TimedOut, true, secs(2)));
        assert_eq!(track.connected(at(40), MS * 2), Some(up(MS * 2, Some(secs(10)))));

        let standing = track.standing(at(50));
        assert_eq!((standing.state, standing.lasted, standing.uptime), (State::Up, secs(10), Some(0.75)));
        assert_eq!((standing.losses, standing.connects, standing.failures), (1, 3, 3));
        assert_eq!((standing.median, standing.longest), (Some(MS * 2), Some(MS * 3)));
    }

    #[test]
    fn a_held_connection_is_up_until_it_is_lost() {
        let mut track = TargetTracker::new();
        assert_eq!(track.round(at(0)), None);
        track.connected(at(1), MS);
        assert_eq!(track.round(at(11)), Some(Change::StillUp { took: None, up_for: secs(10) }));
        assert_eq!(track.lost(at(12), DownCause::Reset), down(DownCause::Reset, None, Some(secs(11))));
        let still =
            Change::StillDown { cause: DownCause::Reset, new_cause: false, took: None, down_for: secs(9) };
        assert_eq!(track.round(at(21)), Some(still));
        assert_eq!(track.standing(at(23)).uptime, Some(0.5));
        let samples: Vec<_> = track.recent().samples().collect();
        assert_eq!(samples, [Sample::Took(MS), Sample::Held, Sample::Down, Sample::Down]);
    }

    #[test]
    fn a_target_that_was_never_up_has_no_losses() {
        let mut track = TargetTracker::new();
        assert_eq!(track.standing(at(9)).uptime, None);
        let change = track.failed(at(1), DownCause::NoRoute, MS);
        assert_eq!(change, down(DownCause::NoRoute, Some(MS), None));
        let standing = track.standing(at(3));
        assert_eq!((standing.losses, standing.uptime, standing.lasted), (0, Some(0.0), secs(2)));
        assert_eq!(standing.median, None);
    }

    #[test]
    fn news_is_what_differs_from_the_result_before() {
        let mut track = TargetTracker::new();
        assert!(track.connected(at(1), MS).unwrap().is_news());
        assert!(!track.connected(at(2), MS).unwrap().is_news());
        assert!(track.failed(at(3), DownCause::Refused, MS).is_news());
        assert!(!track.failed(at(4), DownCause::Refused, MS).is_news());
        assert!(track.failed(at(5), DownCause::TimedOut, MS).is_news());
    }

    #[test]
    fn a_close_that_is_made_good_is_no_outage() {
        let mut track = held();
        assert_eq!(track.closed(at(61), secs(60), true), (Retry::AtOnce, None));
        assert_eq!((track.state(), track.closed_at()), (State::Up, Some(at(61))));
        let reconnected = |after, idle, count| {
            Some(Change::Reconnected { after: secs(after), idle, gap: secs(1), took: MS, count })
        };
        // The reconnection is reported when it has lasted, with the figures of its connect.
        assert_eq!((track.connected(at(62), MS), track.closed_at()), (None, Some(at(61))));
        assert_eq!(track.settled(at(63)), reconnected(60, true, 1));
        assert_eq!((track.settled(at(64)), track.closed_at()), (None, None));
        assert_eq!(track.closed(at(65), secs(3), false), (Retry::AtOnce, None));
        assert_eq!(track.connected(at(66), MS), None);
        assert_eq!(track.settled(at(67)), reconnected(3, false, 2));
        let standing = track.standing(at(101));
        assert_eq!((standing.state, standing.lasted, standing.uptime), (State::Up, secs(100), Some(1.0)));
        assert_eq!((standing.losses, standing.reconnects, standing.connects), (0, 2, 3));
        assert_eq!(track.recent().samples().collect::<Vec<_>>(), [Sample::Took(MS); 3]);
        assert!(reconnected(60, true, 1).unwrap().is_news() && !reconnected(1, false, 2).unwrap().is_news());
    }

    #[test]
    fn a_close_that_is_not_made_good_is_an_outage_since_then() {
        let mut track = held();
        assert_eq!(track.close_stands(at(2)), None);
        track.closed(at(61), secs(60), true);
        assert_eq!(track.close_stands(at(66)), Some(down(DownCause::Closed, None, Some(secs(60)))));
        let still = Change::StillDown {
            cause: DownCause::TimedOut,
            new_cause: true,
            took: Some(secs(5)),
            down_for: secs(5),
        };
        assert_eq!(track.failed(at(66), DownCause::TimedOut, secs(5)), still);
        let standing = track.standing(at(121));
        assert_eq!((standing.losses, standing.lasted, standing.uptime), (1, secs(60), Some(0.5)));
        // The same in one step.
        let mut track = held();
        track.closed(at(61), secs(60), true);
        let refused = down(DownCause::Refused, Some(MS), Some(secs(60)));
        assert_eq!(track.failed(at(62), DownCause::Refused, MS), refused);
        assert_eq!((track.standing(at(71)).lasted, track.closed_at()), (secs(10), None));
    }

    #[test]
    fn a_connection_that_does_not_last_makes_no_close_good() {
        for cause in [DownCause::Reset, DownCause::Broken, DownCause::Other] {
            let mut track = held();
            track.closed(at(61), secs(60), true);
            assert_eq!(track.connected(at(62), MS), None);
            assert_eq!(track.lost(at(62), cause), down(DownCause::Closed, None, Some(secs(60))));
            assert_eq!((track.settled(at(63)), track.closed_at()), (None, None), "{cause}");
            let standing = track.standing(at(121));
            assert_eq!((standing.losses, standing.reconnects, standing.connects), (1, 0, 2));
            assert_eq!((standing.lasted, standing.uptime), (secs(60), Some(0.5)));
            // The next connection is up at once, as after any loss.
            assert_eq!(track.connected(at(121), MS), Some(up(MS, Some(secs(60)))));
        }
        // A connection that has lasted is lost as usual.
        let mut track = held();
        track.closed(at(61), secs(60), true);
        track.connected(at(62), MS);
        assert!(track.settled(at(63)).is_some());
        assert_eq!(track.lost(at(63), DownCause::Reset), down(DownCause::Reset, None, Some(secs(62))));
        // A local failure makes the target unknown since the close.
        let mut track = held();
        track.closed(at(61), secs(60), true);
        track.connected(at(62), MS);
        let unknown =
            Change::Unknown { cause: DownCause::Local, took: None, up_for: Some(secs(60)), down_for: None };
        assert_eq!(track.lost(at(62), DownCause::Local), unknown);
    }

    #[test]
    fn closes_in_between_belong_to_the_first_close() {
        let mut track = held();
        track.closed(at(61), secs(60), true);
        track.connected(at(62), MS);
        assert_eq!(track.closed(at(62), MS, false), (Retry::After(0), None));
        assert_eq!((track.settled(at(63)), track.closed_at()), (None, Some(at(61))));
        track.connected(at(64), MS * 2);
        let reconnected =
            Change::Reconnected { after: secs(60), idle: true, gap: secs(3), took: MS * 2, count: 1 };
        assert_eq!(track.settled(at(65)), Some(reconnected));
    }

    #[test]
    fn a_target_that_closes_three_times_at_once_is_down() {
        let mut track = held();
        let short = Duration::from_millis(999);
        assert_eq!(track.closed(at(2), short, true), (Retry::After(0), None));
        assert_eq!((track.connected(at(3), MS), track.state()), (None, State::Up));
        assert_eq!(track.closed(at(4), short, true), (Retry::After(1), None));
        assert_eq!((track.connected(at(5), MS), track.state()), (None, State::Up));
        // None of the connections lasted: the target is down since the first close.
        let closes = down(DownCause::ClosesAtOnce, None, Some(secs(1)));
        assert_eq!(track.closed(at(6), short, true), (Retry::After(2), Some(closes)));
        // The next connection counts only when it has lasted.
        assert_eq!((track.connected(at(8), MS), track.state()), (None, State::Down(DownCause::ClosesAtOnce)));
        let still = Change::StillDown {
            cause: DownCause::ClosesAtOnce,
            new_cause: false,
            took: None,
            down_for: secs(7),
        };
        assert_eq!(track.closed(at(9), short, true), (Retry::After(3), Some(still)));
        assert_eq!(
            (track.connected(at(12), MS), track.settled(at(13))),
            (None, Some(up(MS, Some(secs(11)))))
        );
        assert_eq!(track.closed(at(20), secs(8), true), (Retry::AtOnce, None));
        assert_eq!(track.standing(at(20)).losses, 1);
        // A settled connection resets the count of short ones, however it ends.
        let mut track = held();
        for round in 0..3 {
            track.closed(at(2 * round + 2), short, true);
            track.connected(at(2 * round + 3), MS);
        }
        track.settled(at(8));
        track.lost(at(9), DownCause::Reset);
        assert_eq!(track.connected(at(10), MS), Some(up(MS, Some(secs(1)))));
    }

    #[test]
    fn a_connection_that_lasts_breaks_the_row_of_short_ones() {
        let mut track = held();
        for round in 0..4 {
            let now = 10 * round + 2;
            assert_eq!(track.closed(at(now), MS, true), (Retry::After(0), None));
            track.connected(at(now + 1), MS);
            assert!(track.settled(at(now + 2)).is_some_and(|change| change.is_up()));
            assert_eq!(track.closed(at(now + 5), secs(4), true), (Retry::AtOnce, None));
            track.connected(at(now + 5), MS);
            assert!(track.settled(at(now + 6)).is_some_and(|change| change.is_up()));
        }
    }

    #[test]
    fn local_trouble_makes_a_target_unknown_and_is_not_counted() {
        let unknown =
            |up_for, down_for| Change::Unknown { cause: DownCause::Local, took: Some(MS), up_for, down_for };
        let mut track = TargetTracker::new();
        assert_eq!(track.failed(at(1), DownCause::Local, MS), unknown(None, None));
        assert_eq!(
            (track.state(), track.standing(at(9)).uptime),
            (State::Unknown(Some(DownCause::Local)), None)
        );
        let still = Change::StillUnknown { cause: DownCause::Local, took: Some(MS), unknown_for: secs(1) };
        assert_eq!(track.failed(at(2), DownCause::Local, MS), still);
        let became_up = Change::Up { took: MS, down_for: None, unknown_for: Some(secs(9)) };
        assert_eq!(track.connected(at(10), MS), Some(became_up));
        assert_eq!(track.failed(at(20), DownCause::Local, MS), unknown(Some(secs(10)), None));
        let round = Change::StillUnknown { cause: DownCause::Local, took: None, unknown_for: secs(5) };
        assert_eq!(track.round(at(25)), Some(round));
        assert_eq!(track.standing(at(30)).losses, 0);
        let became_down = Change::Down {
            cause: DownCause::Refused,
            took: Some(MS),
            up_for: None,
            unknown_for: Some(secs(10)),
        };
        assert_eq!(track.failed(at(30), DownCause::Refused, MS), became_down);
        assert_eq!(track.failed(at(40), DownCause::Local, MS), unknown(None, Some(secs(10))));
        // Ten seconds up, ten down; the rest does not count.
        let standing = track.standing(at(99));
        assert_eq!((standing.uptime, standing.losses, standing.lasted), (Some(0.5), 1, secs(59)));
        assert!(unknown(None, None).is_news() && unknown(None, None).is_unknown() && !still.is_news());
    }

    #[test]
    fn a_close_before_a_local_failure_is_unknown_from_the_close() {
        let mut track = held();
        track.closed(at(61), secs(60), true);
        let unknown = Change::Unknown {
            cause: DownCause::Local,
            took: Some(MS),
            up_for: Some(secs(60)),
            down_for: None,
        };
        assert_eq!(track.failed(at(62), DownCause::Local, MS), unknown);
        assert_eq!((track.standing(at(71)).lasted, track.standing(at(71)).uptime), (secs(10), Some(1.0)));
    }
}
