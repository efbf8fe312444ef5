//! Many times as one distribution: constant memory, every value within a thousandth.

use hdrhistogram::Histogram;
use std::fmt;
use std::time::Duration;

/// A distribution of times (latencies, connect times), from a nanosecond to an hour; each is kept within 0.1 % of
/// its value, and what is longer counts as an hour.
#[derive(Clone, PartialEq)]
pub struct Distribution {
    histogram: Histogram<u64>,
    /// The longest in nanoseconds, to the last of them.
    longest: u64,
}

impl Distribution {
    /// One without any times.
    pub fn new() -> Distribution {
        // The bounds and the precision are among those that a histogram can have.
        let histogram = Histogram::new_with_bounds(1, LONGEST, DIGITS).unwrap_or_else(|_| unreachable!());
        Distribution { histogram, longest: 0 }
    }

    /// Adds `times` equal ones.
    #[inline]
    pub fn record(&mut self, time: Duration, times: u64) {
        let time = u64::try_from(time.as_nanos()).unwrap_or(LONGEST).min(LONGEST);
        self.longest = self.longest.max(time);
        self.histogram.saturating_record_n(time, times);
    }

    /// Adds all of another.
    pub fn merge(&mut self, other: &Distribution) {
        // Both have the same bounds, so there is room.
        let _ = self.histogram.add(&other.histogram);
        self.longest = self.longest.max(other.longest);
    }

    /// How many there are.
    pub fn count(&self) -> u64 {
        self.histogram.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.histogram.is_empty()
    }

    /// The time that this share of all, in percent (0 to 100), did not exceed. `None` when there are none.
    pub fn percentile(&self, percent: f64) -> Option<Duration> {
        (!self.is_empty()).then(|| {
            let value = self.histogram.value_at_percentile(percent).min(self.longest);
            Duration::from_nanos(value)
        })
    }

    /// The shortest. `None` when there are none.
    pub fn min(&self) -> Option<Duration> {
        (!self.is_empty()).then(|| Duration::from_nanos(self.histogram.min()))
    }

    /// The longest. `None` when there are none.
    pub fn max(&self) -> Option<Duration> {
        (!self.is_empty()).then(|| Duration::from_nanos(self.longest))
    }

    /// The mean. `None` when there are none.
    pub fn mean(&self) -> Option<Duration> {
        (!self.is_empty()).then(|| Duration::from_nanos(self.histogram.mean() as u64))
    }

    /// How many are longer than `from` and not longer than `to`.
    pub(super) fn count_between(&self, from: Duration, to: Duration) -> u64 {
        let (from, to) = (from.as_nanos() as u64, to.as_nanos() as u64);
        let all = self.histogram.iter_recorded();
        all.filter(|step| {
            (from + 1..=to).contains(&self.histogram.lowest_equivalent(step.value_iterated_to()))
        })
        .map(|step| step.count_at_value())
        .sum()
    }

    /// All of it as pairs of a value in nanoseconds and how often it occurred, after the longest.
    #[cfg(feature = "cli")]
    pub(super) fn parts(&self) -> (u64, Vec<(u64, u64)>) {
        let all = self.histogram.iter_recorded();
        (self.longest, all.map(|step| (step.value_iterated_to(), step.count_at_value())).collect())
    }

    /// One of these parts.
    #[cfg(feature = "cli")]
    pub(super) fn of_parts(longest: u64, pairs: impl IntoIterator<Item = (u64, u64)>) -> Distribution {
        let mut times = Distribution::new();
        for (value, count) in pairs {
            times.histogram.saturating_record_n(value.min(LONGEST), count);
        }
        times.longest = longest.min(LONGEST);
        times
    }

    /// The curve of the percentiles: each time that occurred, with the share of all (0 to 1) that did not exceed it.
    pub(super) fn curve(&self) -> Vec<(f64, Duration)> {
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

/// An hour in nanoseconds.
const LONGEST: u64 = 3_600_000_000_000;

/// Significant digits.
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
