//! How a monitor watches.

use super::backoff::Backoff;
use std::time::Duration;

/// The settings of a [`Monitor`](super::Monitor).
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// The time between two probes of a `tcp://` target, and the length of a round. Default: 10 s.
    pub interval: Duration,
    /// How long connecting may take, a host name's look-up included. Default: 5 s.
    pub timeout: Duration,
    /// When a `hold://` target is tried again.
    pub backoff: Backoff,
    /// Within what time the peer of a held TCP connection that is gone without a word (a crash, a cut link) is
    /// known to be; none: when the system finds out, which is never while nothing is sent. Default: 10 s; 3 s at
    /// least and 32,767 s at most: less or more counts as these.
    ///
    /// It costs two small packets for each two fifths of this time that the connection is idle: after so long the
    /// system asks the peer for a sign of life (TCP keepalive), then again every tenth, and gives up (TCP_USER_TIMEOUT)
    /// before nine tenths have passed.
    pub lost_after: Option<Duration>,
    /// End after so many rounds; none: never. A round is one probe of a `tcp://` target, and one
    /// result or interval of a `hold://` target. Default: none.
    pub rounds: Option<u32>,
    /// Report every result, and not only first results and changes. Default: no.
    pub every_result: bool,
}

impl Settings {
    /// The shortest [`lost_after`](Settings::lost_after): the kernel counts in seconds.
    pub const SHORTEST_LOST_AFTER: Duration = Duration::from_secs(3);
    /// The longest.
    pub const LONGEST_LOST_AFTER: Duration = Duration::from_secs(32_767);
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            interval: Duration::from_secs(10),
            timeout: Duration::from_secs(5),
            backoff: Backoff::default(),
            lost_after: Some(Duration::from_secs(10)),
            rounds: None,
            every_result: false,
        }
    }
}

/// The keepalive idle time and the user timeout with which a peer that is gone is known within `lost_after`.
///
/// With a user timeout the kernel asks every `keepalive_interval`, a quarter of the idle time, and gives up at the
/// first such moment after the timeout. A tenth is left for timers of the kernel, which are late by up to an eighth
/// of a second and more for long ones.
pub(super) fn liveness(lost_after: Duration) -> (Duration, Option<Duration>) {
    let limit = lost_after.clamp(Settings::SHORTEST_LOST_AFTER, Settings::LONGEST_LOST_AFTER);
    let idle = (limit * 2 / 5).as_secs().max(1);
    let interval = Duration::from_secs((idle / 4).max(1));
    let user_timeout = (limit * 9 / 10).saturating_sub(interval);
    // Elsewhere four questions without an answer end it, after twice the idle time.
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
            let limit = asked.clamp(Settings::SHORTEST_LOST_AFTER, Settings::LONGEST_LOST_AFTER);
            let interval = Duration::from_secs((idle.as_secs() / 4).max(1));
            let Some(user_timeout) = user_timeout else { continue };
            // The kernel's rule: asked at least once, and then the first moment after the timeout.
            let given_up = (1..).map(|asks| idle + interval * asks).find(|at| *at >= user_timeout).unwrap();
            assert!(given_up <= limit * 9 / 10, "{asked:?}: {idle:?}, {user_timeout:?}, {given_up:?}");
            assert!(given_up >= limit / 2, "{asked:?}: {given_up:?}");
            assert!(idle.as_secs() >= 1 && idle.as_secs() <= 32_767 && idle.subsec_nanos() == 0);
        }
    }
}
