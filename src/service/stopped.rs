//! The token that reports the end of a service.

use crate::Reactor;
use crate::reactor::Completion;

/// Token of a service that is stopping. Dropping it reports that the service has stopped. (Twisted:
/// the Deferred of `stopService`.)
///
/// A service that stops at once drops the token at once. A service that waits, for a connection or
/// a thread, keeps it. The token can be moved into any callback and sent to another thread.
///
/// ```
/// use twistor::Failure;
/// use twistor::service::{Service, StopToken};
/// use twistor::Reactor;
///
/// /// A service that takes a second to stop.
/// struct Slow;
///
/// impl Service for Slow {
///     fn start(&mut self, _: &mut Reactor) -> Result<(), Failure> {
///         Ok(())
///     }
///     fn stop(&mut self, reactor: &mut Reactor, stopped: StopToken) {
///         reactor.call_later(std::time::Duration::from_secs(1), move |_| drop(stopped));
///     }
/// }
/// ```
#[must_use = "dropping it reports that the service has stopped"]
pub struct StopToken {
    _completion: Option<Completion<()>>,
}

impl StopToken {
    /// Creates a token. `then` is called in a later turn of the reactor, after the token was
    /// dropped. Until then the token counts as a [resource](Reactor::resource_count).
    pub fn new(reactor: &mut Reactor, then: impl FnOnce(&mut Reactor) + 'static) -> StopToken {
        StopToken { _completion: Some(reactor.completion(|reactor, _| then(reactor))) }
    }

    /// Creates a token whose drop has no effect.
    pub fn ignored() -> StopToken {
        StopToken { _completion: None }
    }
}
