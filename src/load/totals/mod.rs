//! The totals of a load.

mod distribution;
#[cfg(feature = "cli")]
pub(crate) mod json;
mod limit;

pub use self::distribution::Distribution;
pub use self::limit::{Bottleneck, Limit};
use crate::load::error::LoadError;
use std::collections::BTreeMap;
use std::time::Duration;

/// The totals of a load. Those of several threads are added with [`merge`](Totals::merge).
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Totals {
    /// Number of connections started.
    pub started: u64,
    /// Number of connections made.
    pub connected: u64,
    /// Number of connections lost before the end, including those with wrong bytes.
    pub lost: u64,
    /// Number of connections open at the end.
    pub open: u64,
    /// Number of messages answered correctly, without those of the warm-up. With
    /// [`Workload::Churn`](crate::load::Workload::Churn): connections that were made, used and
    /// closed.
    pub messages: u64,
    /// Number of bytes of these messages, in one direction.
    pub bytes: u64,
    /// Number of messages sent but not answered: lost with their connection, or still awaited at
    /// the end.
    pub unanswered: u64,
    /// Number of datagrams not answered in time.
    pub dropped: u64,
    /// The dropped datagrams that this machine did not send, by the system's error.
    pub unsendable: BTreeMap<String, u64>,
    /// Number of datagrams received twice, or after they counted as lost.
    pub repeated: u64,
    /// Number of messages of the schedule never sent, because their connections were busy or gone.
    pub unsent: u64,
    /// Time from the end of the warm-up to the end of the load, or to the last answer if that was
    /// later.
    pub elapsed: Duration,
    /// Time from the first connection attempt to the last connection; zero with
    /// [`Workload::Churn`](crate::load::Workload::Churn).
    pub opening: Duration,
    /// Connect times.
    pub connects: Distribution,
    /// Latencies of messages, from when they were due or, without a rate, sent, to their last byte.
    /// With [`Workload::Churn`](crate::load::Workload::Churn): from when the connection was due or
    /// started.
    ///
    /// Every due message is included. Unanswered ones (the count less
    /// [`messages`](Totals::messages)) count with their wait until their connection was lost, their
    /// datagram was given up, or the load ended.
    pub latencies: Distribution,
    /// With a rate: latencies from the actual send, without the messages that were never sent.
    pub since_sent: Distribution,
    /// With a rate: delays of the generator itself, for messages that nothing else held up.
    pub lateness: Distribution,
    /// Number of errors by kind and reason.
    pub errors: BTreeMap<(&'static str, String), u64>,
    /// Number of connections that ran into a system limit. Other failures are only in `errors`.
    pub limits: BTreeMap<Limit, u64>,
    /// The first errors in detail.
    pub first_errors: Vec<LoadError>,
}

impl Totals {
    /// Adds totals counted over the same time.
    pub fn merge(&mut self, other: &Totals) {
        self.started += other.started;
        self.connected += other.connected;
        self.lost += other.lost;
        self.open += other.open;
        self.messages += other.messages;
        self.bytes += other.bytes;
        self.unanswered += other.unanswered;
        self.dropped += other.dropped;
        self.repeated += other.repeated;
        self.unsent += other.unsent;
        self.elapsed = self.elapsed.max(other.elapsed);
        self.opening = self.opening.max(other.opening);
        self.connects.merge(&other.connects);
        self.latencies.merge(&other.latencies);
        self.since_sent.merge(&other.since_sent);
        self.lateness.merge(&other.lateness);
        for (error, count) in &other.errors {
            *self.errors.entry(error.clone()).or_default() += count;
        }
        for (reason, count) in &other.unsendable {
            *self.unsendable.entry(reason.clone()).or_default() += count;
        }
        for (limit, count) in &other.limits {
            *self.limits.entry(*limit).or_default() += count;
        }
        self.first_errors.extend(other.first_errors.iter().cloned());
        self.first_errors.truncate(MAX_DETAILED);
    }

    /// Returns messages per second; 0 if no time has passed.
    pub fn rate(&self) -> f64 {
        per_second(self.messages, self.elapsed)
    }

    /// Returns bytes per second in one direction; 0 if no time has passed.
    pub fn bytes_rate(&self) -> f64 {
        per_second(self.bytes, self.elapsed)
    }

    /// Returns the number of errors.
    pub fn error_count(&self) -> u64 {
        self.errors.values().sum()
    }

    pub(super) fn note(&mut self, trouble: &LoadError) {
        let count = match trouble {
            LoadError::Unanswered { messages, .. } => *messages,
            _ => 1,
        };
        *self.errors.entry((trouble.kind(), trouble.reason().to_owned())).or_default() += count;
        if self.first_errors.len() < MAX_DETAILED {
            self.first_errors.push(trouble.clone());
        }
    }
}

fn per_second(count: u64, time: Duration) -> f64 {
    match time.is_zero() {
        true => 0.0,
        false => count as f64 / time.as_secs_f64(),
    }
}

/// Maximum number of errors kept in detail.
const MAX_DETAILED: usize = 10;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn troubles_are_counted_by_reason_and_the_first_few_are_kept() {
        let mut totals = Totals::default();
        for connection in 1..=30 {
            let reason = if connection % 3 == 0 { "refused" } else { "no route" }.to_owned();
            totals.note(&LoadError::NotConnected { connection, reason });
        }
        totals.note(&LoadError::Unanswered { connection: 31, messages: 5 });
        assert_eq!((totals.error_count(), totals.first_errors.len()), (35, MAX_DETAILED));
        assert_eq!(totals.errors[&("connect", "refused".to_owned())], 10);
        let (once, mut twice) = (totals.clone(), totals);
        twice.merge(&once);
        assert_eq!((twice.error_count(), twice.first_errors), (70, once.first_errors));
    }

    #[test]
    fn a_rate_is_of_the_time_that_has_passed() {
        let totals =
            Totals { messages: 50, bytes: 100, elapsed: Duration::from_secs(2), ..Totals::default() };
        assert_eq!((totals.rate(), totals.bytes_rate(), Totals::default().rate()), (25.0, 50.0, 0.0));
    }
}
