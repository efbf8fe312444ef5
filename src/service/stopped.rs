//! The token with which a service says that it has stopped.

use crate::Reactor;
use crate::reactor::Completion;

/// Says that a service has stopped, when it is dropped. (Twisted: the Deferred of `stopService`.)
///
/// A service that ends at once drops it at once. One that waits, for a connection or a thread, keeps it until then: it
/// can be moved into any callback, and sent to another thread.
///
/// ```
/// use twistor::service::{Failure, Service, StopToken};
/// use twistor::Reactor;
///
/// /// Takes a second to end.
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
#[must_use = "dropping it says that the service has stopped"]
pub struct StopToken {
    _completion: Option<Completion<()>>,
}

impl StopToken {
    /// A token; `then` is called once it was dropped, in one of the reactor's next turns. It counts as
    /// [in use](Reactor::resource_count) until then.
    pub fn new(reactor: &mut Reactor, then: impl FnOnce(&mut Reactor) + 'static) -> StopToken {
        StopToken { _completion: Some(reactor.completion(|reactor, _| then(reactor))) }
    }

    /// A token that nobody waits for.
    pub fn ignored() -> StopToken {
        StopToken { _completion: None }
    }
}
