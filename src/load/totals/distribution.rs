//! A distribution of times in constant memory, with an error below 0.1 %.

use hdrhistogram::Histogram;
use std::fmt;
use std::time::Duration;

/// A distribution of times (latencies, connect times) from a nanosecond to an hour. Each time is
/// kept within 0.1 % of its value; a longer one counts as an hour.
#[derive(Clone, PartialEq)]
pub struct Distribution {
    histogram: Histogram<u64>,
    /// The exact longest time in nanoseconds.
    longest: u64,
}

impl Distribution {
    /// Creates an empty distribution.
    pub fn new() -> Distribution {
        // The bounds and the precision are valid for a histogram.
        let histogram =
            Histogram::new_with_bounds(1, MAX_NANOSECONDS, DIGITS).unwrap_or_else(|_| unreachable!());
        Distribution { histogram, longest: 0 }
    }

    /// Adds a time, counted `times` times.
    #[inline]
    pub fn record(&mut self, time: Duration, times: u64) {
        let time = u64::try_from(time.as_nanos()).unwrap_or(MAX_NANOSECONDS).min(MAX_NANOSECONDS);
        self.longest = self.longest.max(time);
        self.histogram.saturating_record_n(time, times);
    }

    /// Adds all times of another distribution.
    pub fn merge(&mut self, other: &Distribution) {
        // Both have the same bounds, so this cannot fail.
        let _ = self.histogram.add(&other.histogram);
        self.longest = self.longest.max(other.longest);
    }

    /// Returns the number of times.
    pub fn count(&self) -> u64 {
        self.histogram.len()
    }

    /// Whether the distribution is empty.
    pub fn is_empty(&self) -> bool {
        self.histogram.is_empty()
    }

    /// Returns the time at a percentile (0 to 100). `None` if empty.
    pub fn percentile(&self, percent: f64) -> Option<Duration> {
        (!self.is_empty()).then(|| {
            let value = self.histogram.value_at_percentile(percent).min(self.longest);
            Duration::from_nanos(value)
        })
    }

    /// Returns the shortest time. `None` if empty.
    pub fn min(&self) -> Option<Duration> {
        (!self.is_empty()).then(|| Duration::from_nanos(self.histogram.min()))
    }

    /// Returns the longest time. `None` if empty.
    pub fn max(&self) -> Option<Duration> {
        (!self.is_empty()).then(|| Duration::from_nanos(self.longest))
    }

    /// Returns the mean. `None` if empty.
    pub fn mean(&self) -> Option<Duration> {
        (!self.is_empty()).then(|| Duration::from_nanos(self.histogram.mean() as u64))
    }

    /// Returns the number of times longer than `from` and at most `to`.
    pub(in crate::load) fn count_between(&self, from: Duration, to: Duration) -> u64 {
        let (from, to) = (from.as_nanos() as u64, to.as_nanos() as u64);
        let all = self.histogram.iter_recorded();
        all.filter(|step| {
            (from + 1..=to).contains(&self.histogram.lowest_equivalent(step.value_iterated_to()))
        })
        .map(|step| step.count_at_value())
        .sum()
    }

    /// Returns the longest time, and pairs of a value in nanoseconds and its count.
    #[cfg(feature = "cli")]
    pub(in crate::load) fn parts(&self) -> (u64, Vec<(u64, u64)>) {
        let all = self.histogram.iter_recorded();
        (self.longest, all.map(|step| (step.value_iterated_to(), step.count_at_value())).collect())
    }

    /// Creates a distribution from the result of [`parts`](Distribution::parts).
    #[cfg(feature = "cli")]
    pub(in crate::load) fn of_parts(
        longest: u64,
        pairs: impl IntoIterator<Item = (u64, u64)>,
    ) -> Distribution {
        let mut times = Distribution::new();
        for (value, count) in pairs {
            times.histogram.saturating_record_n(value.min(MAX_NANOSECONDS), count);
        }
        times.longest = longest.min(MAX_NANOSECONDS);
        times
    }

    /// Returns the percentile curve: each recorded time, and the fraction of all times (0 to 1)
    /// that did not exceed it.
    pub(in crate::load) fn curve(&self) -> Vec<(f64, Duration)> {
        let all = self.histogram.iter_recorded();
        let longest = self.longest;
        all.map(|step| (step.quantile(), Duration::from_nanos(step.value_iterated_to().min(longest))))
            .collect()
    }
}

impl Default for Distribution {
    fn default() -> Distribution {
        Distribution::new()
    }
}

impl fmt::Debug for Distribution {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Distribution")
            .field("count", &self.count())
            .field("median", &self.percentile(50.0))
            .field("max", &self.max())
            .finish()
    }
}

/// One hour in nanoseconds.
const MAX_NANOSECONDS: u64 = 3_600_000_000_000;

/// Significant digits of a recorded value.
const DIGITS: u8 = 3;

#[cfg(test)]
mod tests {
    use super::*;

    const MICROSECOND: Duration = Duration::from_micros(1);

    #[test]
    fn percentiles_are_within_a_thousandth_of_the_truth() {
        let mut times = Distribution::new();
        for number in 1..=10_000 {
            times.record(MICROSECOND * number, 1);
        }
        for (percent, truth) in [(50.0, 5_000), (90.0, 9_000), (99.0, 9_900), (99.9, 9_990), (100.0, 10_000)]
        {
            let found = times.percentile(percent).unwrap().as_nanos() as f64 / 1000.0;
            assert!((found / f64::from(truth) - 1.0).abs() <= 0.001, "p{percent}: {found}");
        }
        assert_eq!((times.count(), times.max()), (10_000, Some(MICROSECOND * 10_000)));
    }

    #[test]
    fn an_empty_distribution_has_no_values_and_an_hour_is_the_max() {
        let mut times = Distribution::new();
        assert_eq!(
            (times.percentile(50.0), times.min(), times.max(), times.mean()),
            (None, None, None, None)
        );
        times.record(Duration::MAX, 2);
        let hour = times.max().unwrap().as_secs_f64();
        assert!((hour / 3600.0 - 1.0).abs() < 0.001 && times.count() == 2, "{hour}");
    }

    #[test]
    fn two_merged_are_as_one() {
        let (mut one, mut other, mut both) = (Distribution::new(), Distribution::new(), Distribution::new());
        for number in 1..100 {
            let half = if number % 2 == 0 { &mut one } else { &mut other };
            half.record(MICROSECOND * number * number, 3);
            both.record(MICROSECOND * number * number, 3);
        }
        one.merge(&other);
        assert_eq!(one, both);
        let whole = one.count_between(Duration::ZERO, Duration::from_secs(1));
        assert_eq!(whole, one.count());
    }
}
