//! One-shot completions: completed anywhere, and reported by the loop.

use std::sync::Arc;

use crate::reactor::Reactor;
use crate::reactor::threads::Inbox;

/// A one-shot token for a result that comes later, from a callback or another thread. (tokio:
/// `oneshot::Sender`.)
///
/// [`Reactor::completion`] makes it. [`complete`](Completion::complete) reports the result; a drop
/// reports `None`. So the callback runs exactly once, from the loop, unless the reactor finishes
/// first.
///
/// ```
/// use std::thread;
///
/// use twistor::Reactor;
///
/// let mut reactor = Reactor::new()?;
/// let completion = reactor.completion(|reactor, result: Option<u64>| {
///     assert_eq!(result, Some(5050));
///     reactor.stop();
/// });
/// thread::spawn(move || completion.complete((1..=100).sum()));
/// reactor.run()?;
/// # Ok::<(), twistor::Error>(())
/// ```
#[must_use = "dropping it reports that there is no result"]
#[doc(alias = "oneshot")]
pub struct Completion<T: Send + 'static> {
    inbox: Arc<Inbox>,
    name: Option<(usize, u64)>,
    result: Option<T>,
}

impl<T: Send + 'static> Completion<T> {
    /// Reports the result. Ignored if the reactor has finished.
    pub fn complete(mut self, result: T) {
        self.result = Some(result);
    }
}

impl<T: Send + 'static> Drop for Completion<T> {
    fn drop(&mut self) {
        if let Some(name) = self.name.take() {
            let result = self.result.take();
            // The push fails only if the reactor is gone. Then the result is not needed.
            let _ = self.inbox.push(Box::new(move |reactor| reactor.job_done(name, result)), usize::MAX);
        }
    }
}

impl Reactor {
    /// Creates a token. When it is completed or dropped, `done` is called from the loop, in one of
    /// its next turns: with the result, or with `None` if there is none. Until then, the token
    /// counts as a [resource](Reactor::resource_count). If the reactor finishes first, `done` is
    /// dropped.
    pub fn completion<T: Send + 'static>(
        &mut self,
        done: impl FnOnce(&mut Reactor, Option<T>) + 'static,
    ) -> Completion<T> {
        let (inbox, name) = self.expect_result::<Option<T>>(Box::new(done));
        Completion { inbox, name: Some(name), result: None }
    }
}
