//! Settings of a monitor.

use crate::service::Backoff;
use std::time::Duration;

/// The settings of a [`Monitor`](super::Monitor).
#[derive(Clone, Debug, PartialEq)]
pub struct MonitorSettings {
    /// Time between two probes of a `tcp://` target, and the length of a round. Default: 10 s.
    pub interval: Duration,
    /// Maximum time for connecting, name lookup included. Default: 5 s.
    pub timeout: Duration,
    /// Delays between attempts for a `hold://` target.
    pub backoff: Backoff,
    /// Maximum time until a vanished peer of a held TCP connection (a crash, a cut link) is
    /// detected. `None` leaves detection to the system, which never notices on an idle connection.
    ///
    /// When the connection has been idle for two fifths of this time, the kernel sends a TCP
    /// keepalive probe. It repeats the probe every tenth, and gives up (TCP_USER_TIMEOUT) before
    /// nine tenths have passed. An idle connection costs two small packets for each two fifths of
    /// this time.
    ///
    /// Limits: 3 s to 32,767 s; values outside are clamped. Default: 10 s.
    pub lost_after: Option<Duration>,
    /// Maximum number of rounds; `None` means no limit. A round is one probe of a `tcp://` target.
    /// For a `hold://` target it is the first result, and each interval after it. Default: `None`.
    pub rounds: Option<u32>,
    /// Warn when a target's certificate expires within this time: when it is first seen, and then
    /// once a day. `None` turns the warnings off. Default: 14 days.
    pub certificate_warning: Option<Duration>,
    /// Whether every result is reported, and not only first results and changes. Default: false.
    pub every_result: bool,
}

impl MonitorSettings {
    /// Minimum of [`lost_after`](MonitorSettings::lost_after): the kernel counts in seconds.
    pub(crate) const MIN_LOST_AFTER: Duration = Duration::from_secs(3);
    /// Maximum of [`lost_after`](MonitorSettings::lost_after).
    pub(crate) const MAX_LOST_AFTER: Duration = Duration::from_secs(32_767);
}

impl Default for MonitorSettings {
    fn default() -> MonitorSettings {
        MonitorSettings {
            interval: Duration::from_secs(10),
            timeout: Duration::from_secs(5),
            backoff: Backoff::default(),
            lost_after: Some(Duration::from_secs(10)),
            rounds: None,
            certificate_warning: Some(Duration::from_secs(14 * 86_400)),
            every_result: false,
        }
    }
}

/// Returns the keepalive idle time and the user timeout that detect a vanished peer within
/// `lost_after`.
///
/// With a user timeout, the kernel probes every `keepalive_interval`, a quarter of the idle time.
/// It gives up at the first probe time after the timeout. A tenth is left for kernel timers, which
/// are late by up to an eighth of a second, and more for long times.
pub(super) fn liveness(lost_after: Duration) -> (Duration, Option<Duration>) {
    let limit = lost_after.clamp(MonitorSettings::MIN_LOST_AFTER, MonitorSettings::MAX_LOST_AFTER);
    let idle = (limit * 2 / 5).as_secs().max(1);
    let interval = Duration::from_secs((idle / 4).max(1));
    let user_timeout = (limit * 9 / 10).saturating_sub(interval);
    // On other systems, four unanswered probes end the connection, after twice the idle time.
    let known = cfg!(any(target_os = "android", target_os = "linux"));
    (Duration::from_secs(idle), known.then_some(user_timeout))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peer_that_is_gone_is_known_in_time() {
        for millis in [0, 3_000, 3_500, 4_000, 5_000, 7_000, 10_000, 15_000, 60_000, 32_767_000, u64::MAX] {
            let asked = Duration::from_millis(millis);
            let (idle, user_timeout) = liveness(asked);
            let limit = asked.clamp(MonitorSettings::MIN_LOST_AFTER, MonitorSettings::MAX_LOST_AFTER);
            let interval = Duration::from_secs((idle.as_secs() / 4).max(1));
            let Some(user_timeout) = user_timeout else { continue };
            // The kernel's rule: at least one probe, and then the first probe time after the
            // timeout.
            let given_up = (1..).map(|asks| idle + interval * asks).find(|at| *at >= user_timeout).unwrap();
            assert!(given_up <= limit * 9 / 10, "{asked:?}: {idle:?}, {user_timeout:?}, {given_up:?}");
            assert!(given_up >= limit / 2, "{asked:?}: {given_up:?}");
            assert!(idle.as_secs() >= 1 && idle.as_secs() <= 32_767 && idle.subsec_nanos() == 0);
        }
    }
}
