//! Delays between connection attempts.

use std::time::Duration;

/// Retry policy: a function of the number of consecutive failures and of 64 random bits that
/// returns the delay before the next attempt. Zero failures means that an established connection
/// was lost. `None` means no further attempt.
pub type RetryPolicy = dyn Fn(u32, u64) -> Option<Duration>;

/// Exponential backoff: `min(initial · factor^failures, max)`, plus a random jitter of up to
/// `jitter`. (Twisted: `backoffPolicy`.)
///
/// ```
/// use std::time::Duration;
/// use twistor::service::Backoff;
///
/// let backoff = Backoff { jitter: Duration::ZERO, ..Backoff::default() };
/// let waits: Vec<_> = (0..4).map(|failures| backoff.delay(failures, 0).unwrap().as_secs_f64()).collect();
/// assert_eq!(waits, [1.0, 1.5, 2.25, 3.375]);
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Backoff {
    /// Delay after zero failures. Default: 1 s.
    pub initial: Duration,
    /// Factor by which each failure multiplies the delay. Values below 1 count as 1. Default: 1.5.
    pub factor: f64,
    /// Maximum delay, without the jitter. Default: 60 s.
    pub max: Duration,
    /// Maximum jitter, which keeps clients that lost the same server from reconnecting at the same
    /// time. Default: 1 s.
    pub jitter: Duration,
    /// Number of consecutive failures after which the client gives up. Default: no limit.
    pub attempts: Option<u32>,
}

impl Backoff {
    /// Returns the delay after `failures` consecutive failures, with a jitter derived from 64
    /// random bits. Returns `None` if the limit of attempts is reached.
    pub fn delay(&self, failures: u32, random: u64) -> Option<Duration> {
        if self.attempts.is_some_and(|attempts| failures >= attempts) {
            return None;
        }
        let growth = self.factor.max(1.0).powi(i32::try_from(failures).unwrap_or(i32::MAX));
        let grown = Duration::try_from_secs_f64(self.initial.as_secs_f64() * growth).unwrap_or(self.max);
        // A fraction from 0 to 1, from the 53 bits that an f64 can hold.
        let fraction = (random >> 11) as f64 / (1_u64 << 53) as f64;
        let jitter = Duration::try_from_secs_f64(self.jitter.as_secs_f64() * fraction).unwrap_or(self.jitter);
        Some(grown.min(self.max).saturating_add(jitter))
    }

    /// Converts the backoff to a retry policy.
    pub fn policy(self) -> impl Fn(u32, u64) -> Option<Duration> {
        move |failures, random| self.delay(failures, random)
    }
}

impl Default for Backoff {
    fn default() -> Backoff {
        Backoff {
            initial: Duration::from_secs(1),
            factor: 1.5,
            max: Duration::from_secs(60),
            jitter: Duration::from_secs(1),
            attempts: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_by_the_factor_up_to_the_limit() {
        let backoff = Backoff { jitter: Duration::ZERO, ..Backoff::default() };
        assert_eq!(backoff.delay(3, u64::MAX), Some(Duration::from_millis(3375)));
        for many in [11, 1000, u32::MAX] {
            assert_eq!(backoff.delay(many, u64::MAX), Some(Duration::from_secs(60)));
        }
    }

    #[test]
    fn jitter_is_added_and_less_than_its_limit() {
        let backoff = Backoff::default();
        assert_eq!(backoff.delay(0, 0), Some(Duration::from_secs(1)));
        let longest = backoff.delay(20, u64::MAX).unwrap();
        assert!(longest > Duration::from_millis(60_999) && longest <= Duration::from_secs(61), "{longest:?}");
    }

    #[test]
    fn it_gives_up_after_as_many_failures_as_were_asked_for() {
        let backoff = Backoff { attempts: Some(3), ..Backoff::default() };
        assert!(backoff.delay(2, 0).is_some());
        assert!(backoff.delay(3, 0).is_none());
        assert!(Backoff { attempts: Some(0), ..backoff }.delay(0, 0).is_none());
    }

    #[test]
    fn senseless_figures_give_waits_all_the_same() {
        for factor in [f64::NAN, f64::INFINITY, -1.0, 0.0] {
            let backoff = Backoff { factor, ..Backoff::default() };
            assert!(backoff.delay(5, 7).unwrap() <= Duration::from_secs(61));
        }
        let forever = Backoff { max: Duration::MAX, initial: Duration::MAX, ..Backoff::default() };
        assert_eq!(forever.delay(1, u64::MAX), Some(Duration::MAX));
    }
}
