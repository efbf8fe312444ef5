//! How long messages took, as a load that waits for its answers sees it.

use std::time::Duration;

use hdrhistogram::Histogram;

use super::Result;

/// Durations from a nanosecond to minutes within 0.1 %, in constant memory.
pub struct Latencies {
    histogram: Histogram<u64>,
}

impl Latencies {
    pub fn new() -> Result<Latencies> {
        Ok(Latencies { histogram: Histogram::new_with_bounds(1, LONGEST, 3)? })
    }

    pub fn record(&mut self, latency: Duration) {
        self.histogram.saturating_record(latency.as_nanos().min(LONGEST.into()) as u64);
    }

    /// Seconds that this share of the messages stayed within.
    pub fn quantile(&self, share: f64) -> f64 {
        self.histogram.value_at_quantile(share) as f64 / 1e9
    }

    /// Seconds of the slowest.
    pub fn max(&self) -> f64 {
        self.histogram.max() as f64 / 1e9
    }
}

/// Nanoseconds; beyond this a load has given the server up.
const LONGEST: u64 = 120_000_000_000;
