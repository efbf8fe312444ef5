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
    /// How long a held connection may be silent before the system asks the peer for a sign of life
    /// (TCP keepalive); none: never. Default: 30 s.
    pub keepalive: Option<Duration>,
    /// End after so many rounds; none: never. A round is one probe of a `tcp://` target, and one
    /// result or interval of a `hold://` target. Default: none.
    pub rounds: Option<u32>,
    /// Report every result, and not only first results and changes. Default: no.
    pub every_result: bool,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            interval: Duration::from_secs(10),
            timeout: Duration::from_secs(5),
            backoff: Backoff::default(),
            keepalive: Some(Duration::from_secs(30)),
            rounds: None,
            every_result: false,
        }
    }
}
