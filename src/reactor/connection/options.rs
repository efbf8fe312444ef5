//! Options of connected sockets.

use std::time::Duration;

use crate::net::SocketOption;
use crate::reactor::error::{Error, Result};

/// Options set on a connection when it is created.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct StreamOptions {
    pub(crate) nodelay: bool,
    pub(crate) keepalive: Option<Duration>,
    pub(crate) user_timeout: Option<Duration>,
}

impl StreamOptions {
    /// Returns the options that differ from the system's defaults. Values are rounded up to the
    /// kernel's unit.
    pub(in crate::reactor) fn wanted(self) -> impl Iterator<Item = SocketOption> {
        let keepalive = self.keepalive.and_then(|idle| keepalive(idle).ok());
        let user_timeout = self.user_timeout.and_then(|limit| user_timeout(limit).ok());
        [
            self.nodelay.then_some(SocketOption::NoDelay(true)),
            keepalive.map(|idle| SocketOption::KeepAlive(Some(idle))),
            user_timeout.map(|limit| SocketOption::UserTimeout(Some(limit))),
        ]
        .into_iter()
        .flatten()
    }

    /// # Errors
    /// [`Error::BadOption`] for a value out of range.
    pub(in crate::reactor) fn check(self) -> Result<()> {
        let bad = |option| move |why| Error::BadOption { option, why };
        self.keepalive.map(keepalive).transpose().map_err(bad("keepalive"))?;
        self.user_timeout.map(user_timeout).transpose().map_err(bad("user_timeout"))?;
        Ok(())
    }
}

/// Rounds the idle time before keepalive probes up to whole seconds.
pub(crate) fn keepalive(idle: Duration) -> Result<Duration, &'static str> {
    match idle.as_secs().saturating_add(u64::from(idle.subsec_nanos() > 0)) {
        0 => Err(ZERO),
        seconds if seconds > MAX_KEEPALIVE => Err("must be at most 32767 seconds"),
        seconds => Ok(Duration::from_secs(seconds)),
    }
}

/// Rounds TCP_USER_TIMEOUT, the max time that sent data may stay unacknowledged, up to whole
/// milliseconds.
pub(crate) fn user_timeout(limit: Duration) -> Result<Duration, &'static str> {
    match limit.as_nanos().div_ceil(1_000_000) {
        0 => Err(ZERO),
        millis => match i32::try_from(millis) {
            Ok(millis) => Ok(Duration::from_millis(u64::from(millis.unsigned_abs()))),
            Err(_) => Err("must be at most 24 days"),
        },
    }
}

const ZERO: &str = "must be greater than zero";
/// Linux: MAX_TCP_KEEPIDLE.
const MAX_KEEPALIVE: u64 = 32_767;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_rounded_up_to_the_unit_of_the_kernel() {
        let (millis, secs) = (Duration::from_millis, Duration::from_secs);
        for (asked, idle) in [
            (Duration::from_nanos(1), Ok(secs(1))),
            (millis(500), Ok(secs(1))),
            (secs(1), Ok(secs(1))),
            (millis(1_001), Ok(secs(2))),
            (secs(32_767), Ok(secs(32_767))),
            (millis(32_767_001), Err("must be at most 32767 seconds")),
            (secs(36_000), Err("must be at most 32767 seconds")),
            (Duration::MAX, Err("must be at most 32767 seconds")),
            (Duration::ZERO, Err(ZERO)),
        ] {
            assert_eq!(keepalive(asked), idle, "{asked:?}");
        }
        for (asked, limit) in [
            (Duration::from_nanos(1), Ok(millis(1))),
            (Duration::from_micros(8_500_001), Ok(millis(8_501))),
            (millis(2_147_483_647), Ok(millis(2_147_483_647))),
            (millis(2_147_483_648), Err("must be at most 24 days")),
            (Duration::MAX, Err("must be at most 24 days")),
            (Duration::ZERO, Err(ZERO)),
        ] {
            assert_eq!(user_timeout(asked), limit, "{asked:?}");
        }
    }
}
