//! Port forwarding.

use crate::escape::Escaped;
use std::rc::Rc;

use crate::endpoint::ClientEndpoint;
use crate::proxy_protocol::{Header, SendProxyHeader, Version};
use crate::{
    BuildContext, ClientFactory, ConnectionId, Connector, ConnectorId, Factory, Layer, Protocol, Reactor,
    Reason, Transport,
};

/// Factory that forwards each connection to a target through a connection of its own. (Twisted:
/// `portforward.ProxyFactory`.)
///
/// Backpressure works in both directions. A half-close, a close and an abort of one side are
/// repeated on the other.
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
        let target = Some((Rc::clone(&self.target), self.announce));
        Some(Box::new(Side { other: Other::Unconnected, target }))
    }
}

/// One of the two connections of a forwarded pair.
struct Side {
    other: Other,
    /// On the client's side, until connected: the target and the version of the PROXY header to
    /// send.
    target: Option<(Rc<dyn ClientEndpoint>, Option<Version>)>,
}

/// State of the paired connection.
#[derive(Clone, Copy)]
enum Other {
    Unconnected,
    Connecting(ConnectorId),
    Connected(ConnectionId),
}

impl Side {
    fn with_other(&self, transport: &mut Transport<'_>, act: impl FnOnce(&mut Transport<'_>)) {
        if let Other::Connected(id) = self.other
            && let Some(mut other) = transport.reactor().transport(id)
        {
            act(&mut other);
        }
    }

    /// Connects to the target for a client that was accepted.
    fn connect(
        &mut self,
        transport: &mut Transport<'_>,
        target: &dyn ClientEndpoint,
        announce: Option<Version>,
    ) {
        // Data cannot be forwarded before the target is connected.
        transport.pause_reading();
        let header = announce.map(|version| Header::new(version, transport.peer().clone(), transport.host()));
        let factory = ToTarget { client: transport.id(), header, target: target.describe() };
        match target.connect(transport.reactor(), Box::new(factory)) {
            Ok(connector) => self.other = Other::Connecting(connector),
            Err(error) => {
                log_warn!("cannot forward to {}: {error}", Escaped(target.describe()));
                transport.abort_connection();
            }
        }
    }
}

impl Protocol for Side {
    fn connection_made(&mut self, transport: &mut Transport<'_>) {
        if let Some((target, announce)) = self.target.take() {
            return self.connect(transport, &*target, announce);
        }
        let Other::Connected(client) = self.other else { return };
        let target = transport.id();
        let joined = transport.reactor().with_protocol(client, |side: &mut Side, client| {
            side.other = Other::Connected(target);
            client.resume_reading();
        });
        if joined.is_none() {
            transport.abort_connection();
        }
    }

    fn data_received(&mut self, transport: &mut Transport<'_>, data: &[u8]) {
        self.with_other(transport, |other| other.write(data));
    }

    fn pause_writing(&mut self, transport: &mut Transport<'_>) {
        self.with_other(transport, |other| other.pause_reading());
    }

    fn resume_writing(&mut self, transport: &mut Transport<'_>) {
        self.with_other(transport, |other| other.resume_reading());
    }

    fn read_connection_lost(&mut self, transport: &mut Transport<'_>) {
        self.with_other(transport, |other| other.lose_write_connection());
    }

    fn connection_lost(&mut self, transport: &mut Transport<'_>, reason: &Reason) {
        match self.other {
            Other::Unconnected => {}
            Other::Connecting(connector) => {
                if let Some(mut connector) = transport.reactor().connector(connector) {
                    connector.disconnect();
                }
            }
            Other::Connected(_) if reason.is_clean() => {
                self.with_other(transport, |other| other.lose_connection())
            }
            Other::Connected(_) => self.with_other(transport, |other| other.abort_connection()),
        }
    }
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
        Some(Box::new(Side { other: Other::Connected(self.client), target: None }))
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

    // The protocol has already closed the other side.
    fn client_connection_lost(&mut self, _: &mut Connector<'_>, _: &Reason) {}
}
