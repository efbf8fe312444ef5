//! Delays between connection attempts.

use std::time::Duration;

/// Exponential backoff with jitter, like Twisted's `ReconnectingClientFactory` with gentler
/// numbers.
#[derive(Clone, Debug, PartialEq)]
pub struct Backoff {
    /// First delay. Default: 1 s.
    pub initial: Duration,
    /// Factor between consecutive delays. Default: 1.5.
    pub factor: f64,
    /// Maximum delay. Default: 60 s.
    pub max: Duration,
    /// Maximum deviation of each delay, as a fraction of it. Jitter keeps clients that lost the
    /// same server from reconnecting at the same time. Default: 0.2.
    pub jitter: f64,
}

impl Backoff {
    /// Returns the delay after `failures` failures in a row (0 for the first), jittered by 64
    /// random bits.
    pub fn delay(&self, failures: u32, random: u64) -> Duration {
        let growth = self.factor.max(1.0).powi(i32::try_from(failures).unwrap_or(i32::MAX));
        let max = self.max.as_secs_f64();
        let grown = (self.initial.as_secs_f64() * growth).min(max);
        // The 53 bits that an f64 holds, mapped to -1 to 1.
        let spread = (random >> 11) as f64 / (1_u64 << 52) as f64 - 1.0;
        let jittered = grown * (1.0 + spread * self.jitter.clamp(0.0, 1.0));
        Duration::try_from_secs_f64(jittered.clamp(0.0, max)).unwrap_or(self.max)
    }
}

impl Default for Backoff {
    fn default() -> Backoff {
        Backoff { initial: Duration::from_secs(1), factor: 1.5, max: Duration::from_secs(60), jitter: 0.2 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Random bits that give no jitter.
    const MIDDLE: u64 = 1 << 63;

    #[test]
    fn waits_grow_by_the_factor_up_to_the_limit() {
        let backoff = Backoff::default();
        let waits: Vec<f64> = (0..4).map(|failures| backoff.delay(failures, MIDDLE).as_secs_f64()).collect();
        assert_eq!(waits, [1.0, 1.5, 2.25, 3.375]);
        assert_eq!(backoff.delay(11, MIDDLE), Duration::from_secs(60));
        assert_eq!(backoff.delay(u32::MAX, u64::MAX), Duration::from_secs(60));
    }

    #[test]
    fn jitter_is_a_share_of_the_wait() {
        let backoff = Backoff::default();
        assert_eq!(backoff.delay(0, 0), Duration::from_millis(800));
        let longest = backoff.delay(0, u64::MAX).as_secs_f64();
        assert!((1.19..=1.2).contains(&longest), "{longest}");
        assert_eq!(Backoff { jitter: 0.0, ..backoff }.delay(0, 0), Duration::from_secs(1));
    }
}
