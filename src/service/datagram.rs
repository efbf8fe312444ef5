//! An open datagram socket.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use super::{Failure, Service, StopToken};
use crate::endpoint::DatagramEndpoint;
use crate::{Address, DatagramId, DatagramProtocol, DatagramTransport, Reactor};

/// Keeps a datagram socket open while it runs. (Twisted: `internet.UDPServer`.)
///
/// The socket is opened in `privileged_start`, so that a port below 1024 needs no privileges later.
/// Stopping closes it. The service has stopped when the protocol has received
/// [`stop_protocol`](DatagramProtocol::stop_protocol).
///
/// A socket whose peer's name has no address is closed, and only `stop_protocol` reports it. The
/// service does not open it again.
///
/// Clones share the service.
///
/// ```
/// use twistor::service::DatagramService;
/// use twistor::{Address, DatagramProtocol, DatagramTransport, ListenUdp};
///
/// struct Echo;
///
/// impl DatagramProtocol for Echo {
///     fn datagram_received(&mut self, transport: &mut DatagramTransport<'_>, data: &[u8], from: &Address) {
///         let _ = transport.write_to(data, from);
///     }
/// }
///
/// let echo = DatagramService::new(ListenUdp::new(([127, 0, 0, 1], 7)), || Echo).named("echo");
/// # drop(echo);
/// ```
#[doc(alias = "UDPServer")]
#[derive(Clone)]
pub struct DatagramService {
    name: Option<Rc<str>>,
    endpoint: Rc<dyn DatagramEndpoint>,
    build: Rc<RefCell<dyn FnMut() -> Box<dyn DatagramProtocol>>>,
    socket: Rc<RefCell<Option<DatagramId>>>,
}

impl DatagramService {
    /// Creates a service that opens `endpoint` and calls `build` for its protocol, at each start.
    pub fn new<P: DatagramProtocol>(
        endpoint: impl DatagramEndpoint + 'static,
        mut build: impl FnMut() -> P + 'static,
    ) -> DatagramService {
        DatagramService {
            name: None,
            endpoint: Rc::new(endpoint),
            build: Rc::new(RefCell::new(move || Box::new(build()) as Box<dyn DatagramProtocol>)),
            socket: Rc::default(),
        }
    }

    /// Sets the name.
    pub fn named(mut self, name: &str) -> DatagramService {
        self.name = Some(name.into());
        self
    }

    /// The socket, from the start to the stop.
    pub fn socket(&self) -> Option<DatagramId> {
        *self.socket.borrow()
    }

    fn open(&self, reactor: &mut Reactor) -> Result<(), Failure> {
        if self.socket().is_none() {
            let protocol = (self.build.borrow_mut())();
            let socket = self.endpoint.open(reactor, protocol)?;
            *self.socket.borrow_mut() = Some(socket);
        }
        Ok(())
    }
}

impl Service for DatagramService {
    fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    fn privileged_start(&mut self, reactor: &mut Reactor) -> Result<(), Failure> {
        self.open(reactor)
    }

    fn start(&mut self, reactor: &mut Reactor) -> Result<(), Failure> {
        self.open(reactor)
    }

    fn stop(&mut self, reactor: &mut Reactor, stopped: StopToken) {
        let socket = self.socket.borrow_mut().take();
        // It is gone if the protocol or the reactor has closed it.
        let Some(mut transport) = socket.and_then(|id| reactor.datagram_transport(id)) else { return };
        transport.stop_listening();
        // A timer of a closed socket is dropped after `stop_protocol`, and this one has the token.
        transport.call_later(Duration::MAX, move |_: &mut NoProtocol, _| drop(stopped));
    }
}

/// A type that no protocol has. The timer is only dropped and never called.
enum NoProtocol {}

impl DatagramProtocol for NoProtocol {
    fn datagram_received(&mut self, _: &mut DatagramTransport<'_>, _: &[u8], _: &Address) {
        match *self {}
    }
}
