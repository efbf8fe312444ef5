//! Port forwarding.

use crate::escape::Escaped;
use std::rc::Rc;

use crate::endpoint::ClientEndpoint;
use crate::policy::splice;
use crate::proxy_protocol::{Header, SendProxyHeader, Version};
use crate::{
    BuildContext, ClientFactory, ConnectionId, Connector, ConnectorId, Factory, Layer, Protocol, Reactor,
    Reason, Transport,
};

/// Factory that forwards each connection to a target through a connection of its own. (Twisted:
/// `portforward.ProxyFactory`.)
///
/// The two connections are joined by [`splice`], which describes backpressure and the ends.
///
/// If the target cannot be reached, the client's connection is aborted and the reason is logged.
///
/// ```
/// use twistor::endpoint::ClientEndpoint;
/// use twistor::policy::PortForward;
///
/// fn forward(reactor: &mut twistor::Reactor, to: Box<dyn ClientEndpoint>) -> twistor::Result<()> {
///     reactor.listen_tcp("127.0.0.1:8080", PortForward::new(to))?;
///     Ok(())
/// }
/// ```
#[doc(alias = "portforward")]
pub struct PortForward {
    target: Rc<dyn ClientEndpoint>,
    announce: Option<Version>,
}

impl PortForward {
    /// Creates a factory that forwards to `target`.
    pub fn new(target: Box<dyn ClientEndpoint>) -> PortForward {
        PortForward { target: target.into(), announce: None }
    }

    /// Sends the client's address to the target in a PROXY header of this version. Default: no
    /// header.
    pub fn announcing(mut self, version: Version) -> PortForward {
        self.announce = Some(version);
        self
    }
}

impl Factory for PortForward {
    fn build_protocol(&mut self, _: &mut BuildContext<'_>) -> Option<Box<dyn Protocol>> {
        let target = Rc::clone(&self.target);
        Some(Box::new(Client { target, announce: self.announce, connecting: None }))
    }
}

/// The protocol of a client. It gets no data: reading is paused until the connection is spliced.
struct Client {
    target: Rc<dyn ClientEndpoint>,
    /// The version of the PROXY header to send.
    announce: Option<Version>,
    connecting: Option<ConnectorId>,
}

impl Protocol for Client {
    fn connection_made(&mut self, transport: &mut Transport<'_>) {
        transport.pause_reading();
        let header =
            self.announce.map(|version| Header::new(version, transport.peer().clone(), transport.host()));
        let factory = ToTarget { client: transport.id(), header, target: self.target.describe() };
        match self.target.connect(transport.reactor(), Box::new(factory)) {
            Ok(connector) => self.connecting = Some(connector),
            Err(error) => {
                log_warn!("cannot forward to {}: {error}", Escaped(self.target.describe()));
                transport.abort_connection();
            }
        }
    }

    fn data_received(&mut self, _: &mut Transport<'_>, _: &[u8]) {}

    fn connection_lost(&mut self, transport: &mut Transport<'_>, _: &Reason) {
        if let Some(connector) = self.connecting
            && let Some(mut connector) = transport.reactor().connector(connector)
        {
            connector.disconnect();
        }
    }
}

/// The protocol of the connection to the target.
struct Target {
    client: ConnectionId,
}

impl Protocol for Target {
    fn connection_made(&mut self, transport: &mut Transport<'_>) {
        let own = transport.id();
        let reactor = transport.reactor();
        let _ = reactor.with_protocol(self.client, |client: &mut Client, _| client.connecting = None);
        if splice(reactor, self.client, own, |_, _| {}).is_err() {
            transport.abort_connection();
        }
    }

    fn data_received(&mut self, _: &mut Transport<'_>, _: &[u8]) {}
}

/// Factory of the connection to the target for one client.
struct ToTarget {
    client: ConnectionId,
    header: Option<Header>,
    target: String,
}

impl ToTarget {
    /// Aborts the client's connection, because the target cannot be reached.
    fn give_up(&self, reactor: &mut Reactor) {
        if let Some(mut client) = reactor.transport(self.client) {
            client.abort_connection();
        }
    }
}

impl Factory for ToTarget {
    fn build_protocol(&mut self, _: &mut BuildContext<'_>) -> Option<Box<dyn Protocol>> {
        Some(Box::new(Target { client: self.client }))
    }

    fn layers(&mut self, _: &mut BuildContext<'_>) -> Vec<Box<dyn Layer>> {
        self.header.iter().map(|header| Box::new(SendProxyHeader::new(header)) as Box<dyn Layer>).collect()
    }
}

impl ClientFactory for ToTarget {
    fn client_connection_failed(&mut self, connector: &mut Connector<'_>, reason: &Reason) {
        if *reason != Reason::Cancelled {
            log_warn!("cannot forward to {}: {reason}", Escaped(&self.target));
        }
        self.give_up(connector.reactor());
    }

    // The splice has already closed the other side.
    fn client_connection_lost(&mut self, _: &mut Connector<'_>, _: &Reason) {}
}
