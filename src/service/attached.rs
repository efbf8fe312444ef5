//! A service and the reactor that it lives and dies with.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use super::{Failure, MultiService, Service, ServiceError, StopToken};
use crate::{Phase, Reactor, SystemEvent};

/// Starts a service now, and stops it when the reactor stops: the reactor waits for that, its connections alive, for `limit` at
/// the most; then it aborts them. For reactors that are not [`run`](super::run)'s own: on threads, in tests, in
/// simulations.
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
/// [`ServiceError::Failed`] when it does not start; what was begun is stopped again.
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

/// The service of a program. Clones are the same.
#[derive(Clone)]
pub(super) struct Attached {
    /// Its one service is the program's: so a panic in it is a failure, and it can be stopped from anywhere.
    root: MultiService,
    named: bool,
    /// It has not stopped in time.
    pub(super) late: Rc<Cell<bool>>,
}

impl Attached {
    pub(super) fn new(service: impl Service) -> Attached {
        // The limit is the reactor's here.
        let root = MultiService::new().stop_limit(Duration::MAX);
        let named = service.name().is_some();
        // The first one: no name is taken.
        let _ = root.add(service);
        Attached { root, named, late: Rc::default() }
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

    /// Stops the service with the reactor. `told` is called when that begins.
    pub(super) fn stop_with(
        &self,
        reactor: &mut Reactor,
        limit: Duration,
        told: impl FnOnce(&mut Reactor) + 'static,
    ) {
        let (mut root, late) = (self.root.clone(), Rc::clone(&self.late));
        reactor.add_system_event_trigger(Phase::Before, SystemEvent::Shutdown, move |reactor, hold| {
            told(reactor);
            let hold = Rc::new(Cell::new(Some(hold)));
            let held = Rc::clone(&hold);
            reactor.call_later(limit, move |reactor| {
                if held.take().is_some() {
                    log_warn!("the services have not stopped within {limit:?}");
                    late.set(true);
                }
                // The connections have had this time as well.
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

    /// A tree without a name adds nothing to what its service said.
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
