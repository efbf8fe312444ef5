//! What a load is to be.

use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

/// What a load is to be.
#[derive(Clone, Debug, PartialEq)]
pub struct LoadConfig {
    /// What its connections do. Default: [`Workload::Echo`].
    pub work: Workload,
    /// How many connections; with [`Workload::Churn`] at most so many at a time. Default: 1.
    pub connections: usize,
    /// The size of a message in bytes, at most [`LoadConfig::MAX_SIZE`]. Default: 64.
    pub size: usize,
    /// Messages under way on each connection: without a rate always so many, with one at most. Default: 1.
    pub depth: usize,
    /// Messages a second on all connections together ([`Workload::Churn`]: connections a second), due evenly, whatever
    /// becomes of those before. Default: none; a message follows an answer.
    pub rate: Option<f64>,
    /// The time over which connections are opened evenly. Default: none; as soon as may be.
    pub ramp: Duration,
    /// Attempts to connect that may be under way at a time. Default: 128, which every backlog holds.
    pub attempts: usize,
    /// Messages flow, and are compared, but do not count yet. Default: none.
    pub warm_up: Duration,
    /// How long messages that count are sent, or connections are held. Default: 10 s.
    pub duration: Duration,
    /// How long the last answers are waited for after that. Default: 5 s.
    pub drain_timeout: Duration,
    /// For datagrams: how long an answer is waited for before its message counts as lost. Default: 1 s.
    pub lost_after: Duration,
    /// With a rate: the loop does not sleep between messages. They leave within microseconds of their time, and
    /// a processor is busy all the while. Default: no; they are late by up to a millisecond.
    pub spin: bool,
    /// With [`Workload::Churn`]: connections are reset (RST) instead of closed, so that none of them
    /// lingers on this side and takes a port. Default: no.
    pub reset: bool,
    /// Addresses of this machine that connections of TCP come from, in turn: each has ports of its own. Default: none;
    /// the system chooses.
    pub sources: Vec<IpAddr>,
}

/// What the connections of a load do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Workload {
    /// They are made once, and send messages all the time.
    Echo,
    /// Each is made, sends one message, and is closed; then the next.
    Churn,
    /// They are made once and are idle. At the end each sends one message.
    Hold {
        /// Each sends one message in every such time as well; all of them are spread evenly over it.
        every: Option<Duration>,
    },
}

/// Why a plan cannot be followed.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum PlanError {
    /// It asks for none of something that there has to be one of at least.
    Nothing(&'static str),
    /// The rate is no number above nothing.
    Rate(f64),
    /// A message of this many bytes is longer than [`LoadConfig::MAX_SIZE`].
    Size(usize),
    /// Datagrams are neither churned nor held.
    Work(Workload),
    /// Only connections of TCP have source addresses to choose.
    Sources,
    /// A datagram of so many bytes has no place for its number, or is none.
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
            attempts: 128,
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
    /// The longest message of a stream, in bytes: 1 GiB. (A datagram has at most 65,507.)
    pub const MAX_SIZE: usize = 1 << 30;

    /// Whether it can be followed.
    ///
    /// # Errors
    /// What stands against it.
    pub fn check(&self) -> Result<(), PlanError> {
        let counts = [
            (self.connections, "connections"),
            (self.size, "size"),
            (self.depth, "depth"),
            (self.attempts, "attempts"),
        ];
        if let Some((_, name)) = counts.iter().find(|(count, _)| *count == 0) {
            return Err(PlanError::Nothing(name));
        }
        if self.work == (Workload::Hold { every: Some(Duration::ZERO) }) {
            return Err(PlanError::Nothing("every"));
        }
        if self.size > LoadConfig::MAX_SIZE {
            return Err(PlanError::Size(self.size));
        }
        match self.rate {
            Some(rate) if !(rate.is_finite() && rate > 0.0) => Err(PlanError::Rate(rate)),
            _ => Ok(()),
        }
    }

    /// Whether it can be followed with datagrams: [`Workload::Echo`], and 8 to 65,507 bytes.
    ///
    /// # Errors
    /// What stands against it.
    pub fn check_datagrams(&self) -> Result<(), PlanError> {
        self.check()?;
        match (self.work, self.size) {
            _ if !self.sources.is_empty() => Err(PlanError::Sources),
            (Workload::Churn | Workload::Hold { .. }, _) => Err(PlanError::Work(self.work)),
            (Workload::Echo, size) if !(8..=65_507).contains(&size) => Err(PlanError::DatagramSize(size)),
            (Workload::Echo, _) => Ok(()),
        }
    }

    /// The rate at which messages are due by a schedule, if they are.
    pub(in crate::load) fn paced(&self) -> Option<f64> {
        match self.work {
            Workload::Echo | Workload::Churn => self.rate,
            Workload::Hold { every } => every.map(|every| self.connections as f64 / every.as_secs_f64()),
        }
    }

    /// The share of it that the `index`-th of `parts` does, on a reactor of its own.
    pub fn part(&self, index: usize, parts: usize) -> LoadConfig {
        let parts = parts.max(1);
        let connections = self.connections / parts + usize::from(index < self.connections % parts);
        let share = connections as f64 / self.connections.max(1) as f64;
        let attempts = (self.attempts / parts).max(1);
        let mut sources = self.sources.clone();
        // Each part begins with another: those that have few connections do not all take the first.
        let first = index.checked_rem(sources.len()).unwrap_or_default();
        sources.rotate_left(first);
        LoadConfig {
            connections,
            rate: self.rate.map(|rate| rate * share),
            attempts,
            sources,
            ..self.clone()
        }
    }
}

impl fmt::Display for PlanError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PlanError::Nothing(what) => write!(f, "{what}: there has to be one at least"),
            PlanError::Work(Workload::Churn) => f.write_str("churn: datagrams have no connections"),
            PlanError::Work(_) => f.write_str("hold: datagrams have no connections"),
            PlanError::Size(size) => {
                write!(f, "size: a message has at most {} bytes, and not {size}", LoadConfig::MAX_SIZE)
            }
            PlanError::Sources => f.write_str("from: only connections of TCP have source addresses"),
            PlanError::DatagramSize(size) => {
                write!(f, "size: a datagram has 8 to 65507 bytes, and not {size}")
            }
            PlanError::Rate(rate) => write!(f, "rate: {rate} is no number above 0"),
        }
    }
}

impl std::error::Error for PlanError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_the_whole() {
        let plan = LoadConfig { connections: 10, rate: Some(1000.0), ..LoadConfig::default() };
        let parts = [0, 1, 2].map(|index| plan.part(index, 3));
        assert_eq!(parts.each_ref().map(|part| part.connections), [4, 3, 3]);
        assert_eq!(parts.iter().filter_map(|part| part.rate).sum::<f64>(), 1000.0);
    }

    #[test]
    fn a_plan_of_nothing_is_no_plan() {
        let plan = LoadConfig::default();
        assert_eq!(plan.check(), Ok(()));
        assert_eq!(LoadConfig { depth: 0, ..plan.clone() }.check(), Err(PlanError::Nothing("depth")));
        let long = LoadConfig::MAX_SIZE + 1;
        assert_eq!(LoadConfig { size: long, ..plan.clone() }.check(), Err(PlanError::Size(long)));
        for rate in [0.0, -1.0, f64::INFINITY] {
            assert_eq!(LoadConfig { rate: Some(rate), ..plan.clone() }.check(), Err(PlanError::Rate(rate)));
        }
    }
}
