//! Endpoints that wrap others in TLS.

use crate::endpoint::{ClientEndpoint, ServerEndpoint};
use crate::tls::TlsFactory;
use crate::tls::layer::Role;
use crate::{ClientFactory, ConnectorId, Factory, Listener, Reactor, Result};

/// A place to connect to with TLS. See
/// [`TlsConnector::endpoint`](crate::tls::TlsConnector::endpoint). (Twisted: `wrapClientTLS`.)
#[doc(alias = "wrapClientTLS")]
pub struct TlsClientEndpoint {
    endpoint: Box<dyn ClientEndpoint>,
    role: Role,
}

impl TlsClientEndpoint {
    pub(super) fn new(endpoint: Box<dyn ClientEndpoint>, role: Role) -> TlsClientEndpoint {
        TlsClientEndpoint { endpoint, role }
    }

    /// The wrapped endpoint.
    pub fn inner(&self) -> &dyn ClientEndpoint {
        &*self.endpoint
    }
}

impl ClientEndpoint for TlsClientEndpoint {
    fn connect(&self, reactor: &mut Reactor, factory: Box<dyn ClientFactory>) -> Result<ConnectorId> {
        self.endpoint.connect(reactor, Box::new(TlsFactory::new(factory, self.role.clone())))
    }

    fn describe(&self) -> String {
        format!("tls:{}", self.endpoint.describe())
    }
}

/// A place to listen with TLS. See [`TlsAcceptor::endpoint`](crate::tls::TlsAcceptor::endpoint).
pub struct TlsServerEndpoint {
    endpoint: Box<dyn ServerEndpoint>,
    role: Role,
}

impl TlsServerEndpoint {
    pub(super) fn new(endpoint: Box<dyn ServerEndpoint>, role: Role) -> TlsServerEndpoint {
        TlsServerEndpoint { endpoint, role }
    }

    /// The wrapped endpoint.
    pub fn inner(&self) -> &dyn ServerEndpoint {
        &*self.endpoint
    }
}

impl ServerEndpoint for TlsServerEndpoint {
    fn listen(&self, reactor: &mut Reactor, factory: Box<dyn Factory>) -> Result<Listener> {
        self.endpoint.listen(reactor, Box::new(TlsFactory::new(factory, self.role.clone())))
    }

    fn describe(&self) -> String {
        format!("tls:{}", self.endpoint.describe())
    }
}
