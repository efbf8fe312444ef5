//! Delays between connection attempts.

use std::time::Duration;

/// The delay before the next connection attempt. (Twisted: `retryPolicy`.)
///
/// [`Backoff`] is one, and so is a function of these arguments.
///
/// ```
/// # use std::time::Duration;
/// # use twistor::ConnectTcp;
/// # use twistor::service::{Backoff, ClientService};
/// # let client = || ClientService::new(ConnectTcp::new("server.example", 4000), || Silent);
/// # struct Silent;
/// # impl twistor::Protocol for Silent {
/// #     fn data_received(&mut self, _: &mut twistor::Transport<'_>, _: &[u8]) {}
/// # }
/// let patient = client().retry(Backoff { max: Duration::from_secs(600), ..Backoff::default() });
/// let steady = client().retry(|_failures: u32, _random: u64| Some(Duration::from_secs(1)));
/// # drop((patient, steady));
/// ```
#[doc(alias = "retryPolicy")]
pub trait RetryPolicy: 'static {
    /// Returns the delay after `failures` consecutive failures, or `None` for no further attempt.
    /// Zero failures means that an established connection was lost. `random` is 64 random bits of
    /// the reactor.
    fn next_delay(&self, failures: u32, random: u64) -> Option<Duration>;
}

impl<F: Fn(u32, u64) -> Option<Duration> + 'static> RetryPolicy for F {
    fn next_delay(&self, failures: u32, random: u64) -> Option<Duration> {
        self(failures, random)
    }
}

/// Never gives up.
impl RetryPolicy for Backoff {
    fn next_delay(&self, failures: u32, random: u64) -> Option<Duration> {
        Some(self.delay(failures, random))
    }
}

/// Exponential backoff with jitter: `initial · factor^failures`, at most `max`. (Twisted:
/// `backoffPolicy`.)
///
/// ```
/// use std::time::Duration;
/// use twistor::service::Backoff;
///
/// let backoff = Backoff { jitter: 0.0, ..Backoff::default() };
/// let waits: Vec<_> = (0..4).map(|failures| backoff.delay(failures, 0).as_secs_f64()).collect();
/// assert_eq!(waits, [1.0, 1.5, 2.25, 3.375]);
/// ```
#[derive(Clone, Debug, PartialEq)]
#[doc(alias("backoffPolicy", "ReconnectingClientFactory"))]
pub struct Backoff {
    /// Delay after zero failures. Default: 1 s.
    pub initial: Duration,
    /// Factor by which each failure multiplies the delay. Values below 1 count as 1. Default: 1.5.
    pub factor: f64,
    /// Maximum delay, with its jitter. Default: 60 s.
    pub max: Duration,
    /// Maximum deviation of each delay, as a fraction of it, at most 1. Jitter keeps clients that
    /// lost the same server from reconnecting at the same time. Default: 0.2.
    pub jitter: f64,
}

impl Backoff {
    /// Returns the delay after `failures` consecutive failures, with a jitter derived from 64
    /// random bits.
    pub fn delay(&self, failures: u32, random: u64) -> Duration {
        let growth = self.factor.max(1.0).powi(i32::try_from(failures).unwrap_or(i32::MAX));
        let (max, jitter) = (self.max.as_secs_f64(), self.jitter.clamp(0.0, 1.0));
        // Room for the jitter, so that not all clients wait for exactly the maximum in the end.
        let grown = (self.initial.as_secs_f64() * growth).min(max / (1.0 + jitter));
        // The 53 bits that an f64 holds, mapped to -1 to 1.
        let spread = (random >> 11) as f64 / (1_u64 << 52) as f64 - 1.0;
        let jittered = grown * (1.0 + spread * jitter);
        Duration::try_from_secs_f64(jittered.clamp(0.0, max)).unwrap_or(self.max)
    }

    /// Returns a policy with these delays that gives up after `failures` consecutive failures.
    pub fn give_up_after(self, failures: u32) -> impl RetryPolicy {
        move |failed: u32, random: u64| (failed < failures).then(|| self.delay(failed, random))
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
        for many in [11, 1000, u32::MAX] {
            // The jitter is symmetric around what leaves room for it, also at the maximum.
            assert_eq!(backoff.delay(many, MIDDLE), Duration::from_secs(50));
            assert_eq!(backoff.delay(many, 0), Duration::from_secs(40));
            let longest = backoff.delay(many, u64::MAX).as_secs_f64();
            assert!((59.9..=60.0).contains(&longest), "{longest}");
        }
    }

    #[test]
    fn jitter_is_a_share_of_the_wait() {
        let backoff = Backoff::default();
        assert_eq!(backoff.delay(0, 0), Duration::from_millis(800));
        let longest = backoff.delay(0, u64::MAX).as_secs_f64();
        assert!((1.19..=1.2).contains(&longest), "{longest}");
        assert_eq!(Backoff { jitter: 0.0, ..backoff }.delay(0, 0), Duration::from_secs(1));
    }

    #[test]
    fn it_gives_up_after_as_many_failures_as_were_asked_for() {
        let policy = Backoff::default().give_up_after(3);
        assert_eq!(policy.next_delay(2, MIDDLE), Some(Duration::from_millis(2250)));
        assert_eq!(policy.next_delay(3, MIDDLE), None);
        assert_eq!(Backoff::default().give_up_after(0).next_delay(0, MIDDLE), None);
    }

    #[test]
    fn senseless_figures_give_waits_all_the_same() {
        for figure in [f64::NAN, f64::INFINITY, -1.0, 0.0] {
            for backoff in [
                Backoff { factor: figure, ..Backoff::default() },
                Backoff { jitter: figure, ..Backoff::default() },
                Backoff { factor: figure, initial: Duration::ZERO, ..Backoff::default() },
            ] {
                assert!(backoff.delay(5, 7) <= Duration::from_secs(60), "{backoff:?}");
            }
        }
        let forever = Backoff { max: Duration::MAX, initial: Duration::MAX, ..Backoff::default() };
        assert_eq!(forever.delay(1, u64::MAX), Duration::MAX);
    }
}
