//! What a load has come to, in figures.

use crate::load::distribution::Distribution;
use crate::load::error::LoadError;
use crate::load::limit::Limit;
use std::collections::BTreeMap;
use std::time::Duration;

/// What a load has come to. Several of them (of several threads) add up with [`merge`](Totals::merge).
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Totals {
    /// Connections that were begun.
    pub begun: u64,
    /// Of these, those that were made.
    pub connected: u64,
    /// Connections that were made and lost before the end, wrong bytes included.
    pub lost: u64,
    /// Connections that stood at the end.
    pub standing: u64,
    /// Messages that were answered rightly; those of the warm-up are not among them. With
    /// [`Workload::Churn`](crate::load::Workload::Churn): connections that were made, used and closed.
    pub messages: u64,
    /// The bytes of these messages, in one direction.
    pub bytes: u64,
    /// Messages that were sent and not answered: lost with their connection, or awaited in vain at the end.
    pub unanswered: u64,
    /// Datagrams that were not answered in time.
    pub dropped: u64,
    /// Of these, the datagrams that this machine did not send, by what the system said.
    pub unsendable: BTreeMap<String, u64>,
    /// Datagrams that came again, or after they counted as lost.
    pub repeated: u64,
    /// Messages of the schedule that were never sent, because their connections were busy or gone.
    pub unsent: u64,
    /// The time from the end of the warm-up to the end of the load, or to the last answer if that was later.
    pub elapsed: Duration,
    /// The time from the first attempt to connect to the last connection; zero with [`Workload::Churn`](crate::load::Workload::Churn).
    pub opening: Duration,
    /// How long connections took to make.
    pub connects: Distribution,
    /// How long messages took: from when they were due or, without a rate, sent, to their last byte. With
    /// [`Workload::Churn`](crate::load::Workload::Churn): from when the connection was due or begun.
    ///
    /// Every message that was due is one of them. Those that were not answered (`count` less [`messages`](Totals::messages))
    /// count with the time that they had waited when their connection was lost, their datagram was given up, or the load ended.
    pub latencies: Distribution,
    /// With a rate: the same from when they were really sent; what was never sent is not there.
    pub since_sent: Distribution,
    /// With a rate: how late the generator itself was, for messages that nothing else held up.
    pub lateness: Distribution,
    /// How often what went wrong, by sort and reason.
    pub errors: BTreeMap<(&'static str, String), u64>,
    /// How many connections ran into a limit of a system; what went wrong otherwise is in `errors` alone.
    pub limits: BTreeMap<Limit, u64>,
    /// The first few troubles, with all that is known of them.
    pub troubles: Vec<LoadError>,
}

impl Totals {
    /// Adds what another has counted in the same time.
    pub fn merge(&mut self, other: &Totals) {
        self.begun += other.begun;
        self.connected += other.connected;
        self.lost += other.lost;
        self.standing += other.standing;
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
        self.troubles.extend(other.troubles.iter().cloned());
        self.troubles.truncate(TROUBLES);
    }

    /// Messages a second; 0 when no time has passed.
    pub fn rate(&self) -> f64 {
        per_second(self.messages, self.elapsed)
    }

    /// Bytes a second in one direction; 0 when no time has passed.
    pub fn bytes_rate(&self) -> f64 {
        per_second(self.bytes, self.elapsed)
    }

    /// How many things went wrong.
    pub fn error_count(&self) -> u64 {
        self.errors.values().sum()
    }

    pub(in crate::load) fn note(&mut self, trouble: &LoadError) {
        let count = match trouble {
            LoadError::Unanswered { messages, .. } => *messages,
            _ => 1,
        };
        *self.errors.entry((trouble.kind(), trouble.reason().to_owned())).or_default() += count;
        if self.troubles.len() < TROUBLES {
            self.troubles.push(trouble.clone());
        }
    }
}

fn per_second(count: u64, time: Duration) -> f64 {
    match time.is_zero() {
        true => 0.0,
        false => count as f64 / time.as_secs_f64(),
    }
}

/// So many are told one by one; the others are counted.
const TROUBLES: usize = 10;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn troubles_are_counted_by_reason_and_the_first_few_are_kept() {
        let mut tally = Totals::default();
        for connection in 1..=30 {
            let reason = if connection % 3 == 0 { "refused" } else { "no route" }.to_owned();
            tally.note(&LoadError::NotConnected { connection, reason });
        }
        tally.note(&LoadError::Unanswered { connection: 31, messages: 5 });
        assert_eq!((tally.error_count(), tally.troubles.len()), (35, TROUBLES));
        assert_eq!(tally.errors[&("connect", "refused".to_owned())], 10);
        let (once, mut twice) = (tally.clone(), tally);
        twice.merge(&once);
        assert_eq!((twice.error_count(), twice.troubles), (70, once.troubles));
    }

    #[test]
    fn a_rate_is_of_the_time_that_has_passed() {
        let tally = Totals { messages: 50, bytes: 100, elapsed: Duration::from_secs(2), ..Totals::default() };
        assert_eq!((tally.rate(), tally.bytes_rate(), Totals::default().rate()), (25.0, 50.0, 0.0));
    }
}
