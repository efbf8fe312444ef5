//! A limit for how long something may take.

use std::fmt;
use std::future::Future;
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use super::sleep;

/// The result of `future`, if it comes within `limit`, counted from when this is first polled; else `future` is dropped.
/// What comes at the limit itself counts. (asyncio: `wait_for`.)
///
/// ```
/// # use std::time::Duration;
/// use twistor::task::{sleep, timeout};
///
/// twistor::block_on(async {
///     let late = timeout(Duration::from_millis(1), sleep(Duration::from_secs(60))).await;
///     assert_eq!(late.unwrap_err().to_string(), "nothing came within 1ms");
/// })?;
/// # Ok::<(), twistor::Error>(())
/// ```
///
/// # Errors
/// [`TimedOut`].
pub async fn timeout<F: Future>(limit: Duration, future: F) -> Result<F::Output, TimedOut> {
    let mut future = pin!(future);
    let mut limited = pin!(sleep(limit));
    std::future::poll_fn(|context| {
        if let Poll::Ready(result) = future.as_mut().poll(context) {
            return Poll::Ready(Ok(result));
        }
        limited.as_mut().poll(context).map(|()| Err(TimedOut { limit }))
    })
    .await
}

/// It took longer than it was granted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimedOut {
    /// What was granted.
    pub limit: Duration,
}

impl fmt::Display for TimedOut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "nothing came within {:?}", self.limit)
    }
}

impl std::error::Error for TimedOut {}

impl From<TimedOut> for std::io::Error {
    fn from(late: TimedOut) -> std::io::Error {
        std::io::Error::new(std::io::ErrorKind::TimedOut, late)
    }
}
