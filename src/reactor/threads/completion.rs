//! One-shot completion tokens: they can be completed anywhere, and their callback runs from the
//! loop.

use std::sync::Arc;

use crate::reactor::Reactor;
use crate::reactor::threads::Inbox;

/// A one-shot token that reports a result. Dropping it reports `None`, so that its callback always
/// runs. It can be sent to another thread.
pub(crate) struct Completion<T: Send + 'static> {
    inbox: Arc<Inbox>,
    name: Option<(usize, u64)>,
    result: Option<T>,
}

impl<T: Send + 'static> Completion<T> {
    /// Reports the result.
    pub(crate) fn complete(mut self, result: T) {
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
    /// Creates a token. Its completion calls `done` from the loop, in one of its next turns.
    pub(crate) fn completion<T: Send + 'static>(
        &mut self,
        done: impl FnOnce(&mut Reactor, Option<T>) + 'static,
    ) -> Completion<T> {
        let (inbox, name) = self.expect_result::<Option<T>>(Box::new(done));
        Completion { inbox, name: Some(name), result: None }
    }
}
