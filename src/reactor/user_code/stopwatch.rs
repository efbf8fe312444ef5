//! How long callbacks take, for next to nothing.
//!
//! A clock read costs as much as the rest of the framework's work for a message. So callbacks are timed in
//! groups: the clock is read once for each group and once for each turn. As soon as a group takes
//! ten milliseconds, a thousand callbacks are timed one by one, and the next slow one is named exactly.

use std::time::Duration;

use crate::net::{Instant, Token};
use crate::reactor::{CallbackKind, ConnectionId, Reactor, SlowCallback};

/// The group of callbacks that is being timed.
pub(crate) struct Stopwatch {
    /// When it began; `None` after a poll, until the next callback. Long ago, always, when callbacks are not timed.
    began: Option<Instant>,
    /// Callbacks that make it full; nothing fills it when callbacks are not timed.
    size: u32,
    /// Those of them that are still to come: it counts down, which costs least.
    left: u32,
    /// Callbacks that are still to be timed one by one.
    exact: u32,
    /// The last callback of the group.
    place: CallbackKind,
    connection: Token,
}

impl Stopwatch {
    pub(crate) fn new(on: bool) -> Stopwatch {
        let size = if on { GROUP } else { u32::MAX };
        let began = (!on).then_some(Instant::from_origin(Duration::ZERO));
        Stopwatch { began, size, left: size, exact: 0, place: CallbackKind::Drop, connection: Token::NONE }
    }
}

impl Reactor {
    /// A callback begins.
    #[inline]
    pub(in crate::reactor) fn begin_timing(&mut self, place: CallbackKind, connection: Token) {
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

    /// A callback has ended.
    #[inline]
    pub(crate) fn end_timing(&mut self) {
        self.user_code.stopwatch.left = self.user_code.stopwatch.left.wrapping_sub(1);
        if self.user_code.stopwatch.left == 0 {
            self.end_group();
        }
    }

    /// The loop is about to wait: that is nobody's time.
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
        if self.user_code.stopwatch.size == u32::MAX {
            self.user_code.stopwatch.left = u32::MAX;
            return;
        }
        let now = self.net.now();
        self.clock.set(Some(now));
        let stopwatch = &mut self.user_code.stopwatch;
        let among = stopwatch.size.wrapping_sub(stopwatch.left);
        stopwatch.left = stopwatch.size;
        let Some(began) = stopwatch.began.replace(now) else { return };
        let took = now - began;
        if among > 1 && took >= WORTH_A_LOOK {
            stopwatch.exact = EXACT;
        }
        stopwatch.exact = stopwatch.exact.saturating_sub(among);
        stopwatch.size = if stopwatch.exact > 0 { 1 } else { GROUP };
        stopwatch.left = stopwatch.size;
        let known = self.statistics.slowest.map_or(Duration::ZERO, |slowest| slowest.took);
        if took > known && (among == 1 || took >= WORTH_A_LOOK) {
            self.found_slow(took, among);
        }
    }

    #[cold]
    #[inline(never)]
    fn found_slow(&mut self, took: Duration, among: u32) {
        let stopwatch = &self.user_code.stopwatch;
        let (place, connection) = (stopwatch.place, named(stopwatch.connection));
        self.statistics.slowest = Some(SlowCallback { callback: place, connection, took, batch_size: among });
        if took >= self.settings.slow_callback {
            match among {
                1 => log::warn!("{place} took {took:?}, the slowest so far"),
                _ => log::warn!(
                    "{place}, or one of {} before it, took {took:?}, the slowest so far",
                    among - 1
                ),
            }
        }
    }
}

fn named(token: Token) -> Option<ConnectionId> {
    (token != Token::NONE).then_some(ConnectionId(token))
}

/// Callbacks timed together.
const GROUP: u32 = 64;

/// A group that takes so long is no ordinary one: sixty-four messages take a quarter of a millisecond.
const WORTH_A_LOOK: Duration = Duration::from_millis(10);

/// Callbacks timed one by one after that.
const EXACT: u32 = 1000;
