//! A listening port.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use super::{Failure, Service, StopToken};
use crate::endpoint::ServerEndpoint;
use crate::{Factory, Listener, Reactor, Shared, Transport, shared};

/// Listens at an endpoint while it runs. (Twisted: `StreamServerEndpointService`.)
///
/// It starts to listen in `privileged_start`, so that a port below 1024 needs no privileges later.
/// Stopping closes the port. Connections stay open, unless
/// [`graceful`](StreamServerService::graceful) sets a time limit for them.
///
/// Clones share the service.
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
#[doc(alias("StreamServerEndpointService", "TCPServer"))]
pub struct StreamServerService {
    name: Option<Rc<str>>,
    server: Rc<RefCell<Server>>,
}

struct Server {
    endpoint: Rc<dyn ServerEndpoint>,
    factory: Shared<Box<dyn Factory>>,
    listener: Option<Listener>,
    /// Time limit for connections to close.
    graceful_limit: Option<Duration>,
}

impl StreamServerService {
    /// Creates a service that listens at `endpoint` and builds a protocol with `factory` for each
    /// connection.
    pub fn new(endpoint: impl ServerEndpoint + 'static, factory: impl Factory) -> StreamServerService {
        let factory: Box<dyn Factory> = Box::new(factory);
        let server = Server {
            endpoint: Rc::new(endpoint),
            factory: shared(factory),
            listener: None,
            graceful_limit: None,
        };
        StreamServerService { name: None, server: Rc::new(RefCell::new(server)) }
    }

    /// Sets the name.
    pub fn named(mut self, name: &str) -> StreamServerService {
        self.name = Some(name.into());
        self
    }

    /// Makes the stop wait, after the port is closed, until all connections have closed.
    /// Each protocol is asked to finish ([`Protocol::drain`](crate::Protocol::drain), which closes
    /// by default). Connections that are open after `limit` are aborted.
    ///
    /// Default: the service has stopped when the port is closed. When the program stops, the
    /// reactor then asks each protocol to finish.
    pub fn graceful(self, limit: Duration) -> StreamServerService {
        self.server.borrow_mut().graceful_limit = Some(limit);
        self
    }

    /// The listener, while the service listens.
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
        let (listener, graceful_limit) = {
            let mut server = self.server.borrow_mut();
            (server.listener.take(), server.graceful_limit)
        };
        let Some(listener) = listener else { return drop(stopped) };
        // Fails if the reactor has stopped the listener already.
        let _ = reactor.stop_listening(&listener);
        let connections = reactor.connections_of(&listener);
        let Some(graceful_limit) = graceful_limit.filter(|_| !connections.is_empty()) else {
            return drop(stopped);
        };
        let deadline = reactor.call_later(graceful_limit, move |reactor| {
            for id in reactor.connections_of(&listener) {
                if let Some(mut transport) = reactor.transport(id) {
                    transport.abort_connection();
                }
            }
        });
        // A connection's timer is dropped with the connection. Each timer holds a reference, and
        // the last one to be dropped fires the token.
        let all_ended = Rc::new(StopToken::new(reactor, move |reactor| {
            // Fails if the limit has expired.
            let _ = deadline.cancel(reactor);
            drop(stopped);
        }));
        for id in connections {
            if let Some(mut transport) = reactor.transport(id) {
                transport.drain();
                let reference = Rc::clone(&all_ended);
                let timeout = graceful_limit.saturating_mul(2).saturating_add(ABORT_MARGIN);
                transport
                    .call_later(timeout, move |_: &mut NoProtocol, _: &mut Transport<'_>| drop(reference));
            }
        }
    }
}

/// A type that no protocol has. The timer is only dropped and never called.
enum NoProtocol {}

/// An aborted connection is lost in the next turn, before this margin has passed.
const ABORT_MARGIN: Duration = Duration::from_secs(1);
