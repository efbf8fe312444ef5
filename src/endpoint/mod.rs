//! Endpoints: where connections live, as values and as text, apart from what they do.

use crate::{ClientFactory, ConnectTcp, ConnectorId, Factory, ListenTcp, Listener, Reactor, Result};

/// Where a server listens. (Twisted: `IStreamServerEndpoint`.)
pub trait ServerEndpoint {
    /// Listens, and makes a protocol with `factory` for each connection.
    ///
    /// # Errors
    /// As [`Reactor::listen_tcp`].
    fn listen(&self, reactor: &mut Reactor, factory: Box<dyn Factory>) -> Result<Listener>;

    /// The endpoint as text.
    fn describe(&self) -> String;
}

/// Where a client connects to. (Twisted: `IStreamClientEndpoint`.)
pub trait ClientEndpoint {
    /// Connects, and makes a protocol with `factory` once the connection is made.
    ///
    /// # Errors
    /// As [`Reactor::connect_tcp`].
    fn connect(&self, reactor: &mut Reactor, factory: Box<dyn ClientFactory>) -> Result<ConnectorId>;

    /// The endpoint as text.
    fn describe(&self) -> String;
}

impl ServerEndpoint for ListenTcp {
    fn listen(&self, reactor: &mut Reactor, factory: Box<dyn Factory>) -> Result<Listener> {
        reactor.listen_tcp(self.clone(), factory)
    }

    fn describe(&self) -> String {
        self.address.to_string()
    }
}

impl ClientEndpoint for ConnectTcp {
    fn connect(&self, reactor: &mut Reactor, factory: Box<dyn ClientFactory>) -> Result<ConnectorId> {
        reactor.connect_tcp(self.clone(), factory)
    }

    fn describe(&self) -> String {
        self.to_string()
    }
}
