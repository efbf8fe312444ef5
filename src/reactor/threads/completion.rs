//! Tokens that say, from wherever they are, that something is done: what follows from it comes from the loop.

use std::sync::Arc;

use crate::reactor::Reactor;
use crate::reactor::threads::Inbox;

/// Says once how something ended. Dropped before, it says `None`: nobody waits for what cannot come any more.
/// It can be sent to another thread.
pub(crate) struct Completion<T: Send + 'static> {
    inbox: Arc<Inbox>,
    name: Option<(usize, u64)>,
    result: Option<T>,
}

impl<T: Send + 'static> Completion<T> {
    /// Says the result.
    pub(crate) fn complete(mut self, result: T) {
        self.result = Some(result);
    }
}

impl<T: Send + 'static> Drop for Completion<T> {
    fn drop(&mut self) {
        if let Some(name) = self.name.take() {
            let result = self.result.take();
            // Refused only by a reactor that is gone, and then nobody waits.
            let _ = self.inbox.push(Box::new(move |reactor| reactor.job_done(name, result)), usize::MAX);
        }
    }
}

impl Reactor {
    /// A token whose end calls `done`, from the loop and in one of its next turns.
    pub(crate) fn completion<T: Send + 'static>(
        &mut self,
        done: impl FnOnce(&mut Reactor, Option<T>) + 'static,
    ) -> Completion<T> {
        let (inbox, name) = self.expect_result::<Option<T>>(Box::new(done));
        Completion { inbox, name: Some(name), result: None }
    }
}
