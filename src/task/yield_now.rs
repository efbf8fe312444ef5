//! Yielding to the loop.

use std::future::poll_fn;
use std::task::Poll;

/// Yields until the next turn, so that I/O, timers and other tasks run. (asyncio: `sleep(0)`.)
///
/// ```
/// twistor::block_on(async {
///     twistor::task::yield_now().await;
/// })?;
/// # Ok::<(), twistor::Error>(())
/// ```
pub async fn yield_now() {
    let mut yielded = false;
    poll_fn(|context| {
        if std::mem::replace(&mut yielded, true) {
            return Poll::Ready(());
        }
        // A task that is woken while tasks are polled runs in the next turn.
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}
