//! A port that is listened on while the service runs.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use super::{Failure, Service, StopToken};
use crate::endpoint::ServerEndpoint;
use crate::{Factory, Listener, Reactor, Shared, Transport, shared};

/// Listens at an endpoint while it runs. (Twisted: `StreamServerEndpointService`.)
///
/// It listens from the privileged half of its start on, so that a port below 1024 needs no privileges later. To
/// stop closes the port; connections go on, unless [`graceful`](StreamServerService::graceful) says what becomes of them.
///
/// Clones are the same service.
///
/// ```
/// use twistor::service::StreamServerService;
/// use twistor::{ListenTcp, Protocol, Transport};
///
/// struct Echo;
///
/// impl Protocol for Echo {
///     fn data_received(&mut self, transport: &mut Transport<'_>, data: &[u8]) {
///         transport.write(data);
///     }
/// }
///
/// let echo = StreamServerService::new(ListenTcp::new(([127, 0, 0, 1], 7)), || Echo).named("echo");
/// # drop(echo);
/// ```
#[derive(Clone)]
pub struct StreamServerService {
    name: Option<Rc<str>>,
    server: Rc<RefCell<Server>>,
}

struct Server {
    endpoint: Rc<dyn ServerEndpoint>,
    factory: Shared<Box<dyn Factory>>,
    listener: Option<Listener>,
    /// How long connections may take to end.
    patience: Option<Duration>,
}

impl StreamServerService {
    /// Listens at `endpoint`, and makes a protocol with `factory` for each connection.
    pub fn new(endpoint: impl ServerEndpoint + 'static, factory: impl Factory) -> StreamServerService {
        let factory: Box<dyn Factory> = Box::new(factory);
        let server =
            Server { endpoint: Rc::new(endpoint), factory: shared(factory), listener: None, patience: None };
        StreamServerService { name: None, server: Rc::new(RefCell::new(server)) }
    }

    /// With this name.
    pub fn named(mut self, name: &str) -> StreamServerService {
        self.name = Some(name.into());
        self
    }

    /// To stop, after the port is closed, waits until the connections have ended by themselves; those that have not within `limit` are
    /// aborted. Default: the service has stopped when the port is closed.
    pub fn graceful(self, limit: Duration) -> StreamServerService {
        self.server.borrow_mut().patience = Some(limit);
        self
    }

    /// The port that is listened on, while it is.
    pub fn listener(&self) -> Option<Listener> {
        self.server.borrow().listener.clone()
    }

    fn listen(&self, reactor: &mut Reactor) -> Result<(), Failure> {
        let (endpoint, factory) = {
            let server = self.server.borrow();
            if server.listener.is_some() {
                return Ok(());
            }
            (Rc::clone(&server.endpoint), server.factory.clone())
        };
        let listener = endpoint.listen(reactor, Box::new(factory))?;
        self.server.borrow_mut().listener = Some(listener);
        Ok(())
    }
}

impl Service for StreamServerService {
    fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    fn privileged_start(&mut self, reactor: &mut Reactor) -> Result<(), Failure> {
        self.listen(reactor)
    }

    fn start(&mut self, reactor: &mut Reactor) -> Result<(), Failure> {
        self.listen(reactor)
    }

    fn stop(&mut self, reactor: &mut Reactor, stopped: StopToken) {
        let (listener, patience) = {
            let mut server = self.server.borrow_mut();
            (server.listener.take(), server.patience)
        };
        let Some(listener) = listener else { return drop(stopped) };
        // The reactor may have stopped it before.
        let _ = reactor.stop_listening(&listener);
        let connections = reactor.connections_of(&listener);
        let Some(patience) = patience.filter(|_| !connections.is_empty()) else { return drop(stopped) };
        let late = reactor.call_later(patience, move |reactor| {
            for id in reactor.connections_of(&listener) {
                if let Some(mut transport) = reactor.transport(id) {
                    transport.abort_connection();
                }
            }
        });
        // A timed call of a connection is dropped with it: the last one drops what all share.
        let all_ended = Rc::new(StopToken::new(reactor, move |reactor| {
            // It was called when the limit came first.
            let _ = late.cancel(reactor);
            drop(stopped);
        }));
        for id in connections {
            if let Some(mut transport) = reactor.transport(id) {
                let share = Rc::clone(&all_ended);
                let longer = patience.saturating_mul(2).saturating_add(LONGER);
                transport.call_later(longer, move |_: &mut Nobody, _: &mut Transport<'_>| drop(share));
            }
        }
    }
}

/// No protocol is of this type.
enum Nobody {}

/// A connection is lost in the turn after it was aborted.
const LONGER: Duration = Duration::from_secs(1);
