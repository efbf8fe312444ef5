//! Time limits for futures.

use std::fmt;
use std::future::Future;
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use super::sleep;

/// Runs `future` for at most `limit`, counted from the first poll. If the limit passes first,
/// `future` is dropped. A result that is ready exactly at the limit is returned. (asyncio:
/// `wait_for`.)
///
/// ```
/// # use std::time::Duration;
/// use twistor::task::{sleep, timeout};
///
/// twistor::block_on(async {
///     let result = timeout(Duration::from_millis(1), sleep(Duration::from_secs(60))).await;
///     assert_eq!(result.unwrap_err().to_string(), "timed out after 1ms");
/// })?;
/// # Ok::<(), twistor::Error>(())
/// ```
///
/// # Errors
/// [`TimedOut`] if the limit has passed.
#[doc(alias = "wait_for")]
pub async fn timeout<F: Future>(limit: Duration, future: F) -> Result<F::Output, TimedOut> {
    let mut future = pin!(future);
    let mut timer = pin!(sleep(limit));
    std::future::poll_fn(|context| {
        if let Poll::Ready(result) = future.as_mut().poll(context) {
            return Poll::Ready(Ok(result));
        }
        timer.as_mut().poll(context).map(|()| Err(TimedOut { limit }))
    })
    .await
}

/// Error: a future took longer than its limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[doc(alias("Elapsed", "TimeoutError"))]
pub struct TimedOut {
    /// The limit.
    pub limit: Duration,
}

impl fmt::Display for TimedOut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "timed out after {:?}", self.limit)
    }
}

impl std::error::Error for TimedOut {}

impl From<TimedOut> for std::io::Error {
    fn from(error: TimedOut) -> std::io::Error {
        std::io::Error::new(std::io::ErrorKind::TimedOut, error)
    }
}
