//! Giving way.

use std::future::poll_fn;
use std::task::Poll;

/// Lets everything else have a turn: the network, timers, other tasks. (asyncio: `sleep(0)`.)
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
        // Who is woken while tasks are polled comes in the next turn.
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}
