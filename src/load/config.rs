//! The configuration of a load.

use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

/// The configuration of a load.
#[derive(Clone, Debug, PartialEq)]
pub struct LoadConfig {
    /// What the connections do. Default: [`Workload::Echo`].
    pub work: Workload,
    /// Number of connections; with [`Workload::Churn`] the maximum number at a time. Default: 1.
    pub connections: usize,
    /// Size of a message in bytes, at most [`LoadConfig::MAX_SIZE`]. Default: 64.
    pub size: usize,
    /// Number of messages in flight on each connection; with a rate, the maximum number. Default:
    /// 1.
    pub depth: usize,
    /// Messages a second on all connections together ([`Workload::Churn`]: connections a second).
    /// They are due at even times, whether earlier ones were answered or not. `None` sends a
    /// message after each answer. Default: `None`.
    pub rate: Option<f64>,
    /// Time over which connections are opened evenly. Zero opens them as fast as possible. Default:
    /// zero.
    pub ramp: Duration,
    /// Maximum number of connection attempts in flight. Default: 128, which every backlog holds.
    pub max_connecting: usize,
    /// Time in which messages are sent and compared, but not counted. Default: zero.
    pub warm_up: Duration,
    /// Time in which counted messages are sent, or connections are held. Default: 10 s.
    pub duration: Duration,
    /// Maximum wait for the last answers after that. Default: 5 s.
    pub drain_timeout: Duration,
    /// For datagrams: time without an answer after which a message counts as lost. Default: 1 s.
    pub lost_after: Duration,
    /// With a rate: whether the loop busy-polls between messages. Messages then leave within
    /// microseconds of their time, but a core is always busy. Otherwise they are late by up to a
    /// millisecond. Default: false.
    pub spin: bool,
    /// With [`Workload::Churn`]: whether connections are reset (RST) instead of closed, so that
    /// they do not linger in TIME_WAIT and keep a port. Default: false.
    pub reset: bool,
    /// Local addresses that TCP connections are bound to, in turn. Each address has its own ports.
    /// If empty, the system chooses. Default: empty.
    pub sources: Vec<IpAddr>,
}

/// The activity of the connections of a load.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Workload {
    /// Connections are made once and send messages continuously.
    Echo,
    /// Each connection is made, sends one message and is closed; another one follows.
    Churn,
    /// Connections are made once and are idle. At the end each sends one message.
    Hold {
        /// Interval at which each connection also sends a message. The connections are spread
        /// evenly over it.
        interval: Option<Duration>,
    },
}

/// The reason why a configuration is invalid.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum LoadConfigError {
    /// This count or time is zero, but has to be positive.
    Nothing(&'static str),
    /// The rate is not a positive finite number.
    Rate(f64),
    /// The message size in bytes exceeds [`LoadConfig::MAX_SIZE`].
    Size(usize),
    /// Datagrams support only [`Workload::Echo`].
    Work(Workload),
    /// Source addresses are supported only for TCP.
    Sources,
    /// A datagram of this size in bytes is too small for its number, or larger than a UDP datagram.
    DatagramSize(usize),
}

impl Default for LoadConfig {
    fn default() -> LoadConfig {
        LoadConfig {
            work: Workload::Echo,
            connections: 1,
            size: 64,
            depth: 1,
            rate: None,
            ramp: Duration::ZERO,
            max_connecting: 128,
            warm_up: Duration::ZERO,
            duration: Duration::from_secs(10),
            drain_timeout: Duration::from_secs(5),
            lost_after: Duration::from_secs(1),
            spin: false,
            reset: false,
            sources: Vec::new(),
        }
    }
}

impl LoadConfig {
    /// Maximum size of a message on a stream: 1 GiB. (A datagram has at most 65,507 bytes.)
    pub const MAX_SIZE: usize = 1 << 30;

    /// Checks whether the configuration is valid.
    ///
    /// # Errors
    /// Returns the first problem found.
    pub(crate) fn check(&self) -> Result<(), LoadConfigError> {
        let counts = [
            (self.connections, "connections"),
            (self.size, "size"),
            (self.depth, "depth"),
            (self.max_connecting, "max_connecting"),
        ];
        if let Some((_, name)) = counts.iter().find(|(count, _)| *count == 0) {
            return Err(LoadConfigError::Nothing(name));
        }
        if self.work == (Workload::Hold { interval: Some(Duration::ZERO) }) {
            return Err(LoadConfigError::Nothing("interval"));
        }
        if self.size > LoadConfig::MAX_SIZE {
            return Err(LoadConfigError::Size(self.size));
        }
        match self.rate {
            Some(rate) if !(rate.is_finite() && rate > 0.0) => Err(LoadConfigError::Rate(rate)),
            _ => Ok(()),
        }
    }

    /// Checks whether the configuration is valid for datagrams: [`Workload::Echo`], and 8 to 65,507
    /// bytes.
    ///
    /// # Errors
    /// Returns the first problem found.
    pub(crate) fn check_datagrams(&self) -> Result<(), LoadConfigError> {
        self.check()?;
        match (self.work, self.size) {
            _ if !self.sources.is_empty() => Err(LoadConfigError::Sources),
            (Workload::Churn | Workload::Hold { .. }, _) => Err(LoadConfigError::Work(self.work)),
            (Workload::Echo, size) if !(8..=65_507).contains(&size) => {
                Err(LoadConfigError::DatagramSize(size))
            }
            (Workload::Echo, _) => Ok(()),
        }
    }

    /// Returns the rate at which messages are due, if there is one.
    pub(in crate::load) fn paced(&self) -> Option<f64> {
        match self.work {
            Workload::Echo | Workload::Churn => self.rate,
            Workload::Hold { interval } => {
                interval.map(|interval| self.connections as f64 / interval.as_secs_f64())
            }
        }
    }

    /// Returns the share of part `index` of `parts`, each of which runs on its own reactor.
    #[cfg(feature = "cli")]
    pub(crate) fn part(&self, index: usize, parts: usize) -> LoadConfig {
        let parts = parts.max(1);
        let connections = self.connections / parts + usize::from(index < self.connections % parts);
        let share = connections as f64 / self.connections.max(1) as f64;
        let max_connecting = (self.max_connecting / parts).max(1);
        let mut sources = self.sources.clone();
        // Each part starts with another source, so that parts with few connections do not all use
        // the first.
        let first = index.checked_rem(sources.len()).unwrap_or_default();
        sources.rotate_left(first);
        LoadConfig {
            connections,
            rate: self.rate.map(|rate| rate * share),
            max_connecting,
            sources,
            ..self.clone()
        }
    }
}

impl fmt::Display for LoadConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LoadConfigError::Nothing(what) => write!(f, "{what}: there has to be at least one"),
            LoadConfigError::Work(Workload::Churn) => f.write_str("churn: datagrams have no connections"),
            LoadConfigError::Work(_) => f.write_str("hold: datagrams have no connections"),
            LoadConfigError::Size(size) => {
                write!(f, "size: a message has at most {} bytes, and not {size}", LoadConfig::MAX_SIZE)
            }
            LoadConfigError::Sources => f.write_str("from: only connections of TCP have source addresses"),
            LoadConfigError::DatagramSize(size) => {
                write!(f, "size: a datagram has 8 to 65507 bytes, and not {size}")
            }
            LoadConfigError::Rate(rate) => write!(f, "rate: {rate} is not a number above 0"),
        }
    }
}

impl std::error::Error for LoadConfigError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_the_whole() {
        let config = LoadConfig { connections: 10, rate: Some(1000.0), ..LoadConfig::default() };
        let parts = [0, 1, 2].map(|index| config.part(index, 3));
        assert_eq!(parts.each_ref().map(|part| part.connections), [4, 3, 3]);
        assert_eq!(parts.iter().filter_map(|part| part.rate).sum::<f64>(), 1000.0);
    }

    #[test]
    fn a_plan_of_nothing_is_no_plan() {
        let config = LoadConfig::default();
        assert_eq!(config.check(), Ok(()));
        assert_eq!(LoadConfig { depth: 0, ..config.clone() }.check(), Err(LoadConfigError::Nothing("depth")));
        let long = LoadConfig::MAX_SIZE + 1;
        assert_eq!(LoadConfig { size: long, ..config.clone() }.check(), Err(LoadConfigError::Size(long)));
        for rate in [0.0, -1.0, f64::INFINITY] {
            assert_eq!(
                LoadConfig { rate: Some(rate), ..config.clone() }.check(),
                Err(LoadConfigError::Rate(rate))
            );
        }
    }
}
