//! A service whose lifetime is that of a reactor.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use super::{Failure, MultiService, Service, ServiceError, StopToken};
use crate::{Phase, Reactor, SystemEvent};

/// Starts a service now and stops it when the reactor stops. For reactors other than that of
/// [`run`](super::run), on threads, in tests and in simulations.
///
/// While the service stops, the reactor keeps running and its connections stay open, for at most
/// `limit`. Then the connections are aborted.
///
/// ```
/// use std::time::Duration;
/// use twistor::service::{TimerService, run_service};
///
/// let mut reactor = twistor::Reactor::new()?;
/// let once = TimerService::new(Duration::from_secs(60), |reactor, _| {
///     reactor.stop();
/// });
/// run_service(&mut reactor, once, Duration::from_secs(30))?;
/// reactor.run()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// [`ServiceError::Failed`] if the service does not start. A partial start is undone.
pub fn run_service(
    reactor: &mut Reactor,
    service: impl Service,
    limit: Duration,
) -> Result<(), ServiceError> {
    let attached = Attached::new(service);
    attached.stop_with(reactor, limit, |_| {});
    attached.privileged_start(reactor)?;
    attached.start(reactor)
}

/// The root service of a reactor. Clones share it.
#[derive(Clone)]
pub(super) struct Attached {
    /// A parent with a single child, the program's service. It turns a panic of the child into a
    /// failure, and it can be stopped from any callback.
    root: MultiService,
    named: bool,
    /// The service did not stop within the limit.
    pub(super) timed_out: Rc<Cell<bool>>,
}

impl Attached {
    pub(super) fn new(service: impl Service) -> Attached {
        // The limit is enforced by the shutdown trigger below.
        let root = MultiService::new().stop_timeout(Duration::MAX);
        let named = service.name().is_some();
        // Cannot fail: no other service has the name.
        let _ = root.add(service);
        Attached { root, named, timed_out: Rc::default() }
    }

    pub(super) fn privileged_start(&self, reactor: &mut Reactor) -> Result<(), ServiceError> {
        self.root.clone().privileged_start(reactor).map_err(|failure| self.reason(failure))
    }

    pub(super) fn start(&self, reactor: &mut Reactor) -> Result<(), ServiceError> {
        self.root.clone().start(reactor).map_err(|failure| self.reason(failure))
    }

    pub(super) fn reload(&self, reactor: &mut Reactor) {
        self.root.clone().reload(reactor);
    }

    /// Stops the service with the reactor. `on_stopping` is called first.
    pub(super) fn stop_with(
        &self,
        reactor: &mut Reactor,
        limit: Duration,
        on_stopping: impl FnOnce(&mut Reactor) + 'static,
    ) {
        let (mut root, timed_out) = (self.root.clone(), Rc::clone(&self.timed_out));
        reactor.add_system_event_trigger(Phase::Before, SystemEvent::Shutdown, move |reactor, hold| {
            on_stopping(reactor);
            let hold = Rc::new(Cell::new(Some(hold)));
            let pending_hold = Rc::clone(&hold);
            reactor.call_later(limit, move |reactor| {
                if pending_hold.take().is_some() {
                    log_warn!("the services have not stopped within {limit:?}");
                    timed_out.set(true);
                }
                // The limit applies to the connections as well.
                for id in reactor.connections() {
                    if let Some(mut transport) = reactor.transport(id) {
                        transport.abort_connection();
                    }
                }
            });
            let stopped = StopToken::new(reactor, move |_| drop(hold.take()));
            root.stop(reactor, stopped);
        });
    }

    /// Removes the error of the root service, unless the service has a name. It adds no
    /// information.
    fn reason(&self, failure: Failure) -> ServiceError {
        let (service, source) = match failure.downcast::<ServiceError>() {
            Ok(ServiceError::Failed { service, source }) => (service, source),
            Ok(error) => return error,
            Err(source) => return ServiceError::Failed { service: String::new(), source },
        };
        if self.named {
            return ServiceError::Failed { service, source };
        }
        match source.downcast::<ServiceError>() {
            Ok(inner) => inner,
            Err(source) => ServiceError::Failed { service, source },
        }
    }
}
