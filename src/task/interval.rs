//! Ticks.

use std::time::Duration;

use super::{here, sleep_until};
use crate::reactor::Instant;

/// Ticks a `period` apart, the first at once. It keeps its phase: the ticks come at whole periods after the first call of
/// [`tick`](Interval::tick), however long is done in between; what is missed is skipped, and counted. A period below a
/// millisecond counts as one.
///
/// ```
/// # use std::time::Duration;
/// twistor::block_on(async {
///     let mut interval = twistor::task::interval(Duration::from_millis(1));
///     for number in 0..3 {
///         let tick = interval.tick().await;
///         assert_eq!(tick.count, number + tick.skipped * 0);
/// #       if tick.skipped > 0 { break }
///     }
/// })?;
/// # Ok::<(), twistor::Error>(())
/// ```
pub fn interval(period: Duration) -> Interval {
    Interval { period: period.max(Duration::from_millis(1)), began: None, next: 0 }
}

/// See [`interval`].
#[derive(Debug)]
pub struct Interval {
    period: Duration,
    began: Option<Instant>,
    /// The number of the tick that is waited for.
    next: u64,
}

/// One of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tick {
    /// How many periods after the first.
    pub count: u64,
    /// How many were skipped since the one before.
    pub skipped: u64,
}

impl Interval {
    /// Waits for the next tick. Dropped before it comes, it is as if it had not been asked.
    ///
    /// # Panics
    /// Outside of a task, where there is no clock.
    pub async fn tick(&mut self) -> Tick {
        let now = || here().with_reactor(|reactor| reactor.now()).unwrap_or_default();
        let began = *self.began.get_or_insert_with(now);
        let period = self.period.as_nanos();
        let passed = (now() - began).as_nanos() / period;
        // 500 years of nanoseconds fit.
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
