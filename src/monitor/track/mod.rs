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

mod change;
#[cfg(test)]
mod tests;

pub use self::change::Change;
use super::cause::DownCause;
use super::recent::{History, Sample};
use crate::Instant;
use std::time::Duration;

/// The state of a target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TargetState {
    /// Not known: `None` before the first result, [`DownCause::Local`] while this machine cannot
    /// connect.
    Unknown(Option<DownCause>),
    /// The last result was a success.
    Up,
    /// The last result was a failure, with this cause.
    Down(DownCause),
}

/// The delay before the next attempt after an orderly close.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Retry {
    /// Reconnect without a delay.
    AtOnce,
    /// Reconnect after the backoff delay for this number of failures (0: the first delay).
    After(u32),
}

/// The state and counts of one target.
#[derive(Clone, Debug)]
pub(super) struct TargetTracker {
    state: TargetState,
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
    pub state: TargetState,
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
    pub max: Option<Duration>,
}

impl TargetTracker {
    /// Creates a tracker without any results.
    pub(super) fn new() -> TargetTracker {
        TargetTracker {
            state: TargetState::Unknown(None),
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
    pub(super) fn connected(&mut self, now: Instant, took: Duration) -> Option<Change> {
        self.connects += 1;
        if self.closed.is_some() || self.short >= CLOSES_AT_ONCE {
            self.made = Some(Made { at: now, took });
            return None;
        }
        Some(self.enter_up(now, took))
    }

    /// Notes that the connection for which [`connected`](TargetTracker::connected) returned `None`
    /// has lasted. Returns `None` if there is no such connection.
    pub(super) fn settled(&mut self, now: Instant) -> Option<Change> {
        let Made { at: made, took } = self.made.take()?;
        self.short = 0;
        let Some(Closed { at, after, idle }) = self.closed.take() else {
            return Some(self.enter_up(now, took));
        };
        self.recent.push(Sample::Connected(took));
        self.reconnects = self.reconnects.saturating_add(1);
        Some(Change::Reconnected { after, idle, gap: made - at, took, count: self.reconnects })
    }

    /// Notes that an attempt failed at `now`, after `took`. After an orderly close, the target is
    /// down or unknown since the close.
    pub(super) fn failed(&mut self, now: Instant, cause: DownCause, took: Duration) -> Change {
        self.failures += 1;
        self.enter_bad(now, cause, Some(took))
    }

    /// Notes that the held connection was lost at `now`. If it followed an orderly close and did
    /// not last, the target is down or unknown since that close.
    pub(super) fn lost(&mut self, now: Instant, cause: DownCause) -> Change {
        let closed = self.closed.is_some() && cause != DownCause::Local;
        self.enter_bad(now, if closed { DownCause::Closed } else { cause }, None)
    }

    /// Notes that the peer closed the held connection in good order at `now`. The connection had
    /// lasted for `after`; `idle` is set if no data was received on it.
    pub(super) fn closed(&mut self, now: Instant, after: Duration, idle: bool) -> (Retry, Option<Change>) {
        let short = after < TargetTracker::SHORT || self.state != TargetState::Up;
        self.short = if short { self.short.saturating_add(1) } else { 0 };
        self.made = None;
        let retry = if short { Retry::After(self.short - 1) } else { Retry::AtOnce };
        if self.state == TargetState::Up && self.short < CLOSES_AT_ONCE {
            // After a connection that did not last, the earlier close still counts.
            self.closed.get_or_insert(Closed { at: now, after, idle });
            return (retry, None);
        }
        (retry, Some(self.enter_bad(now, DownCause::ClosesAtOnce, None)))
    }

    /// Notes that no connection could be made after an orderly close: the target is down since the
    /// close. Returns `None` if there was no close.
    pub(super) fn close_stands(&mut self, now: Instant) -> Option<Change> {
        self.closed.is_some().then(|| self.enter_bad(now, DownCause::Closed, None))
    }

    /// Returns when the peer closed the held connection, until a lasting connection or a failure
    /// follows.
    pub(super) fn closed_at(&self) -> Option<Instant> {
        self.closed.map(|closed| closed.at)
    }

    /// Notes that a round of a held target passed without an event. Returns `None` if the state is
    /// not known yet.
    pub(super) fn round(&mut self, now: Instant) -> Option<Change> {
        let lasted = now - self.since;
        match self.state {
            TargetState::Unknown(None) => None,
            TargetState::Unknown(Some(cause)) => {
                self.recent.push(Sample::Unknown);
                Some(Change::StillUnknown { cause, took: None, unknown_for: lasted })
            }
            TargetState::Up => {
                self.recent.push(Sample::Held);
                Some(Change::StillUp { took: None, up_for: lasted })
            }
            TargetState::Down(cause) => {
                self.recent.push(Sample::Down);
                Some(Change::StillDown { cause, new_cause: false, took: None, down_for: lasted })
            }
        }
    }

    /// Returns the state.
    pub(super) fn state(&self) -> TargetState {
        self.state
    }

    /// Returns the last results.
    pub(super) fn history(&self) -> &History {
        &self.recent
    }

    /// Returns the state and figures at `now`.
    pub(super) fn summary(&self, now: Instant) -> TargetSummary {
        let lasted = match self.state {
            TargetState::Unknown(None) => Duration::ZERO,
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
            max: self.recent.max(),
        }
    }

    fn enter_up(&mut self, now: Instant, took: Duration) -> Change {
        self.recent.push(Sample::Connected(took));
        let lasted = now - self.since;
        match self.enter(TargetState::Up, now) {
            TargetState::Up => Change::StillUp { took: Some(took), up_for: lasted },
            TargetState::Down(_) => Change::Up { took, down_for: Some(lasted), unknown_for: None },
            TargetState::Unknown(None) => Change::Up { took, down_for: None, unknown_for: None },
            TargetState::Unknown(Some(_)) => Change::Up { took, down_for: None, unknown_for: Some(lasted) },
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
            return match self.enter(TargetState::Unknown(Some(cause)), at) {
                TargetState::Unknown(None) => unknown(None, None),
                TargetState::Up => unknown(Some(lasted), None),
                TargetState::Down(_) => unknown(None, Some(lasted)),
                TargetState::Unknown(Some(_)) => Change::StillUnknown { cause, took, unknown_for: still },
            };
        }
        self.recent.push(Sample::Down);
        let down = |up_for, unknown_for| Change::Down { cause, took, up_for, unknown_for };
        match self.enter(TargetState::Down(cause), at) {
            TargetState::Unknown(None) => down(None, None),
            TargetState::Unknown(Some(_)) => down(None, Some(lasted)),
            TargetState::Up => down(Some(lasted), None),
            TargetState::Down(before) => {
                Change::StillDown { cause, new_cause: before != cause, took, down_for: still }
            }
        }
    }

    /// Changes the state and returns the previous one. A new cause alone does not restart the
    /// state's duration.
    fn enter(&mut self, state: TargetState, at: Instant) -> TargetState {
        let before = self.state;
        if std::mem::discriminant(&before) == std::mem::discriminant(&state)
            && before != TargetState::Unknown(None)
        {
            self.state = state;
            return before;
        }
        (self.up, self.known) = self.times(at - self.since);
        if !matches!(before, TargetState::Unknown(_)) {
            self.was_up = before == TargetState::Up;
        }
        if matches!(state, TargetState::Down(_)) && std::mem::take(&mut self.was_up) {
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
        let known = !matches!(self.state, TargetState::Unknown(_));
        (self.up + of(self.state == TargetState::Up), self.known + of(known))
    }

    /// Minimum life of a held connection. If the peer closes it sooner, the next attempt is
    /// delayed. A connection that follows a close counts only after this time.
    pub(super) const SHORT: Duration = Duration::from_secs(1);
}

/// Number of consecutive connections closed within [`TargetTracker::SHORT`] after which a target is
/// down.
const CLOSES_AT_ONCE: u32 = 3;
