//! Periodic ticks for tasks.

use std::time::Duration;

use super::{current_handle, sleep_until};
use crate::reactor::Instant;

/// Creates an interval that ticks every `period`. The first tick completes at once. Ticks keep
/// their phase: they come at whole multiples of the period after the first call of
/// [`tick`](Interval::tick). Missed ticks are skipped and counted. Minimum period: 1 ms.
///
/// ```
/// # use std::time::Duration;
/// twistor::block_on(async {
///     let mut interval = twistor::task::interval(Duration::from_millis(1));
///     let mut next = 0;
///     for _ in 0..3 {
///         let tick = interval.tick().await;
///         assert_eq!(tick.count, next + tick.skipped);
///         next = tick.count + 1;
///     }
/// })?;
/// # Ok::<(), twistor::Error>(())
/// ```
pub fn interval(period: Duration) -> Interval {
    Interval { period: period.max(Duration::from_millis(1)), began: None, next: 0 }
}

/// A periodic timer, created by [`interval`].
#[derive(Debug)]
pub struct Interval {
    period: Duration,
    began: Option<Instant>,
    /// The number of the next tick.
    next: u64,
}

/// One tick of an [`Interval`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tick {
    /// Number of periods since the first tick.
    pub count: u64,
    /// Number of ticks skipped since the previous one.
    pub skipped: u64,
}

impl Interval {
    /// Waits for the next tick. Dropping the future skips no tick.
    ///
    /// # Panics
    /// Outside of a task, because there is no clock.
    pub async fn tick(&mut self) -> Tick {
        let now = || current_handle().with_reactor(|reactor| reactor.now()).unwrap_or_default();
        let began = *self.began.get_or_insert_with(now);
        let period = self.period.as_nanos();
        let passed = (now() - began).as_nanos() / period;
        // 500 years fit into 64 bits of nanoseconds.
        let passed = u64::try_from(passed).unwrap_or(u64::MAX);
        let number = self.next.max(passed);
        if number > passed {
            let wait = u64::try_from(u128::from(number) * period).unwrap_or(u64::MAX);
            sleep_until(began + Duration::from_nanos(wait)).await;
        }
        let skipped = number - self.next;
        self.next = number + 1;
        Tick { count: number, skipped }
    }
}
