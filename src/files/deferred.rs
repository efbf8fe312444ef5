//! Operations as Deferreds.

use crate::deferred::Deferred;
use crate::files::FileOperation;
use crate::reactor::Reactor;

impl<T: 'static> FileOperation<T> {
    /// Starts the operation and returns a Deferred of its result. It fails with a
    /// [`FileError`](super::FileError). Cancelling or dropping the Deferred does not cancel the
    /// operation, and drops its result.
    #[track_caller]
    pub fn defer(self, reactor: &mut Reactor) -> Deferred<T> {
        let (resolver, deferred) = Deferred::new(&reactor.handle());
        let done = resolver.clone();
        let started = self.start(reactor, move |_, result| {
            // The error is ignored: the Deferred may have been cancelled.
            let _ = match result {
                Ok(value) => done.callback(value),
                Err(error) => done.errback(error),
            };
        });
        if let Err(error) = started {
            // Cannot fail: the Deferred was created above.
            let _ = resolver.errback(error);
        }
        deferred
    }
}
