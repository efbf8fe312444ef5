//! Timing of callbacks at low cost.
//!
//! A clock read costs as much as all other framework work for a message. So callbacks are timed in
//! groups, with one clock read per group and one per turn. When a group takes 10 ms, the next
//! thousand callbacks are timed one by one, so that the next slow one is identified exactly.

use std::time::Duration;

use crate::net::{Instant, Token};
use crate::reactor::{CallbackKind, ConnectionId, Reactor, SlowCallback};

/// The group of callbacks being timed.
pub(crate) struct Stopwatch {
    /// The start of the group; `None` from a poll until the next callback. If callbacks are not
    /// timed, always a time in the past.
    began: Option<Instant>,
    /// The number of callbacks in a full group. If callbacks are not timed, no group ever becomes
    /// full.
    size: u32,
    /// The remaining callbacks of the group. Counting down is cheapest.
    left: u32,
    /// The number of callbacks still to be timed one by one.
    singles_left: u32,
    /// The last callback of the group.
    place: CallbackKind,
    connection: Token,
    /// The duration of the slowest callback so far, in nanoseconds, as in the statistics.
    slowest: u64,
}

impl Stopwatch {
    pub(in crate::reactor) fn new(on: bool) -> Stopwatch {
        let size = if on { GROUP_SIZE } else { u32::MAX };
        let began = (!on).then_some(Instant::from_origin(Duration::ZERO));
        Stopwatch {
            began,
            size,
            left: size,
            singles_left: 0,
            place: CallbackKind::Drop,
            connection: Token::NONE,
            slowest: 0,
        }
    }

    /// The callback that is timed, and its connection.
    pub(in crate::reactor) fn current(&self) -> (CallbackKind, Token) {
        (self.place, self.connection)
    }

    pub(in crate::reactor) fn set_current(&mut self, (place, connection): (CallbackKind, Token)) {
        (self.place, self.connection) = (place, connection);
    }

    /// Chooses the size of the next group, after one of `count` callbacks.
    fn choose_size(&mut self, count: u32, took: u64) {
        if count > 1 && took >= SLOW_GROUP {
            self.singles_left = SINGLE_TIMINGS;
        }
        self.singles_left = self.singles_left.saturating_sub(count);
        self.size = if self.singles_left > 0 { 1 } else { GROUP_SIZE };
    }
}

impl Reactor {
    /// Starts the timing of a callback.
    #[inline]
    pub(in crate::reactor) fn start_timing(&mut self, place: CallbackKind, connection: Token) {
        let stopwatch = &mut self.user_code.stopwatch;
        stopwatch.place = place;
        stopwatch.connection = connection;
        if stopwatch.began.is_none() {
            self.start_group();
        }
    }

    #[cold]
    #[inline(never)]
    fn start_group(&mut self) {
        self.user_code.stopwatch.began = Some(self.now());
    }

    /// Ends the timing of a callback.
    #[inline]
    pub(crate) fn end_timing(&mut self) {
        self.user_code.stopwatch.left = self.user_code.stopwatch.left.wrapping_sub(1);
        if self.user_code.stopwatch.left == 0 {
            self.end_group();
        }
    }

    /// Ends the group before the loop waits, so that the wait is not counted.
    pub(in crate::reactor) fn stop_timing(&mut self) {
        if self.user_code.stopwatch.size == u32::MAX {
            return;
        }
        if self.user_code.stopwatch.left != self.user_code.stopwatch.size
            && self.user_code.stopwatch.began.is_some()
        {
            self.end_group();
        }
        self.user_code.stopwatch.began = None;
    }

    #[cold]
    #[inline(never)]
    fn end_group(&mut self) {
        let stopwatch = &mut self.user_code.stopwatch;
        if stopwatch.size == u32::MAX {
            stopwatch.left = u32::MAX;
            return;
        }
        let now = self.net.now();
        self.clock.set(Some(now));
        let count = stopwatch.size.wrapping_sub(stopwatch.left);
        let Some(began) = stopwatch.began.replace(now) else {
            stopwatch.left = stopwatch.size;
            return;
        };
        // Nanoseconds are cheaper than a `Duration`, whose parts take a division.
        let took = now.nanoseconds().saturating_sub(began.nanoseconds());
        if stopwatch.singles_left > 0 || took >= SLOW_GROUP {
            stopwatch.choose_size(count, took);
        }
        stopwatch.left = stopwatch.size;
        if took > stopwatch.slowest && (count == 1 || took >= SLOW_GROUP) {
            self.record_slow(took, count);
        }
    }

    #[cold]
    #[inline(never)]
    fn record_slow(&mut self, took: u64, count: u32) {
        let stopwatch = &mut self.user_code.stopwatch;
        stopwatch.slowest = took;
        let took = Duration::from_nanos(took);
        let (place, connection) = (stopwatch.place, connection_id(stopwatch.connection));
        self.statistics.slowest = Some(SlowCallback { callback: place, connection, took, batch_size: count });
        if self.settings.slow_callback.is_some_and(|limit| took >= limit) {
            match count {
                1 => log::warn!("{place} took {took:?}, the slowest so far"),
                _ => log::warn!(
                    "{place}, or one of {} before it, took {took:?}, the slowest so far",
                    count - 1
                ),
            }
        }
    }
}

fn connection_id(token: Token) -> Option<ConnectionId> {
    (token != Token::NONE).then_some(ConnectionId(token))
}

/// The number of callbacks timed together.
const GROUP_SIZE: u32 = 64;

/// The duration of a group that is examined, in nanoseconds: 10 ms. Sixty-four messages take a
/// quarter of a millisecond.
const SLOW_GROUP: u64 = 10_000_000;

/// The number of callbacks timed one by one after a slow group.
const SINGLE_TIMINGS: u32 = 1000;
