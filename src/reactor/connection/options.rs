//! Options of connected sockets, as the kernel takes them.

use std::time::Duration;

use crate::net::SocketOption;
use crate::reactor::error::{Error, Result};

/// What is set on a connection when it is made.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct StreamOptions {
    pub(crate) nodelay: bool,
    pub(crate) keepalive: Option<Duration>,
    pub(crate) user_timeout: Option<Duration>,
}

impl StreamOptions {
    /// Those that differ from what a socket has by itself. Values are rounded up to what the kernel counts in.
    pub(crate) fn wanted(self) -> impl Iterator<Item = SocketOption> {
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
    /// [`Error::BadOption`] for a value that the kernel does not take.
    pub(crate) fn check(self) -> Result<()> {
        let bad = |option| move |why| Error::BadOption { option, why };
        self.keepalive.map(keepalive).transpose().map_err(bad("keepalive"))?;
        self.user_timeout.map(user_timeout).transpose().map_err(bad("user_timeout"))?;
        Ok(())
    }
}

/// Idle time before keepalive probes, rounded up to whole seconds.
pub(crate) fn keepalive(idle: Duration) -> Result<Duration, &'static str> {
    match idle.as_secs().saturating_add(u64::from(idle.subsec_nanos() > 0)) {
        0 => Err(NOTHING),
        seconds if seconds > LONGEST_KEEPALIVE => Err("32767 seconds is the longest"),
        seconds => Ok(Duration::from_secs(seconds)),
    }
}

/// How long what was sent may go unanswered, rounded up to whole milliseconds.
pub(crate) fn user_timeout(limit: Duration) -> Result<Duration, &'static str> {
    match limit.as_nanos().div_ceil(1_000_000) {
        0 => Err(NOTHING),
        millis => match i32::try_from(millis) {
            Ok(millis) => Ok(Duration::from_millis(u64::from(millis.unsigned_abs()))),
            Err(_) => Err("24 days is the longest"),
        },
    }
}

const NOTHING: &str = "it has to be more than nothing";
/// (Linux: MAX_TCP_KEEPIDLE.)
const LONGEST_KEEPALIVE: u64 = 32_767;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_rounded_up_to_what_the_kernel_counts_in() {
        let (millis, secs) = (Duration::from_millis, Duration::from_secs);
        for (asked, idle) in [
            (Duration::from_nanos(1), Ok(secs(1))),
            (millis(500), Ok(secs(1))),
            (secs(1), Ok(secs(1))),
            (millis(1_001), Ok(secs(2))),
            (secs(32_767), Ok(secs(32_767))),
            (millis(32_767_001), Err("32767 seconds is the longest")),
            (secs(36_000), Err("32767 seconds is the longest")),
            (Duration::MAX, Err("32767 seconds is the longest")),
            (Duration::ZERO, Err(NOTHING)),
        ] {
            assert_eq!(keepalive(asked), idle, "{asked:?}");
        }
        for (asked, limit) in [
            (Duration::from_nanos(1), Ok(millis(1))),
            (Duration::from_micros(8_500_001), Ok(millis(8_501))),
            (millis(2_147_483_647), Ok(millis(2_147_483_647))),
            (millis(2_147_483_648), Err("24 days is the longest")),
            (Duration::MAX, Err("24 days is the longest")),
            (Duration::ZERO, Err(NOTHING)),
        ] {
            assert_eq!(user_timeout(asked), limit, "{asked:?}");
        }
    }
}
