//! Forwarding connections to another place.

use crate::escape::Escaped;
use std::rc::Rc;

use crate::endpoint::ClientEndpoint;
use crate::proxy_protocol::{Header, SendProxyHeader, Version};
use crate::{
    Address, ClientFactory, ConnectionId, Connector, ConnectorId, Factory, Layer, Protocol, Reactor, Reason,
    Transport,
};

/// A factory whose connections lead to another place: each has one of its own there, made when it comes. Neither side runs ahead of
/// the other; the end of one direction, a close and an abort are carried through. (Twisted: `portforward.ProxyFactory`.)
///
/// A client whose target cannot be reached is aborted, and the reason logged.
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
    /// Leads to this place.
    pub fn new(target: Box<dyn ClientEndpoint>) -> PortForward {
        PortForward { target: target.into(), announce: None }
    }

    /// Tells the target who the client is, with a PROXY header of this version. Default: it is not told.
    pub fn announcing(mut self, version: Version) -> PortForward {
        self.announce = Some(version);
        self
    }
}

impl Factory for PortForward {
    fn build_protocol(&mut self, _: &mut Reactor, _: &Address) -> Option<Box<dyn Protocol>> {
        let target = Some((Rc::clone(&self.target), self.announce));
        Some(Box::new(Side { other: Other::Nobody, target }))
    }
}

/// One side of a pair.
struct Side {
    other: Other,
    /// The client's side, before it is made: where to connect to, and whether to announce it there.
    target: Option<(Rc<dyn ClientEndpoint>, Option<Version>)>,
}

/// What there is of the other side.
#[derive(Clone, Copy)]
enum Other {
    Nobody,
    Coming(ConnectorId),
    Here(ConnectionId),
}

impl Side {
    fn with_other(&self, transport: &mut Transport<'_>, act: impl FnOnce(&mut Transport<'_>)) {
        if let Other::Here(id) = self.other
            && let Some(mut other) = transport.reactor().transport(id)
        {
            act(&mut other);
        }
    }

    /// The client is there: the connection for it begins.
    fn connect(
        &mut self,
        transport: &mut Transport<'_>,
        target: &dyn ClientEndpoint,
        announce: Option<Version>,
    ) {
        // Nothing is read before there is somewhere to send it to.
        transport.pause_reading();
        let header = announce.map(|version| Header::new(version, transport.peer().clone(), transport.host()));
        let factory = ToTarget { client: transport.id(), header, place: target.describe() };
        match target.connect(transport.reactor(), Box::new(factory)) {
            Ok(connector) => self.other = Other::Coming(connector),
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
        let Other::Here(client) = self.other else { return };
        let target = transport.id();
        let joined = transport.reactor().with_protocol(client, |side: &mut Side, client| {
            side.other = Other::Here(target);
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
            Other::Nobody => {}
            Other::Coming(connector) => {
                if let Some(mut connector) = transport.reactor().connector(connector) {
                    connector.disconnect();
                }
            }
            Other::Here(_) if reason.is_clean() => {
                self.with_other(transport, |other| other.lose_connection())
            }
            Other::Here(_) => self.with_other(transport, |other| other.abort_connection()),
        }
    }
}

/// The connection to the target, on behalf of a client.
struct ToTarget {
    client: ConnectionId,
    header: Option<Header>,
    place: String,
}

impl ToTarget {
    /// There will be no connection to the target.
    fn give_up(&self, reactor: &mut Reactor) {
        if let Some(mut client) = reactor.transport(self.client) {
            client.abort_connection();
        }
    }
}

impl Factory for ToTarget {
    fn build_protocol(&mut self, _: &mut Reactor, _: &Address) -> Option<Box<dyn Protocol>> {
        Some(Box::new(Side { other: Other::Here(self.client), target: None }))
    }

    fn layers(&mut self, _: &mut Reactor, _: &Address) -> Vec<Box<dyn Layer>> {
        self.header.iter().map(|header| Box::new(SendProxyHeader::new(header)) as Box<dyn Layer>).collect()
    }
}

impl ClientFactory for ToTarget {
    fn client_connection_failed(&mut self, connector: &mut Connector<'_>, reason: &Reason) {
        if *reason != Reason::Cancelled {
            log_warn!("cannot forward to {}: {reason}", Escaped(&self.place));
        }
        self.give_up(connector.reactor());
    }

    // Its protocol has told the other side.
    fn client_connection_lost(&mut self, _: &mut Connector<'_>, _: &Reason) {}
}
