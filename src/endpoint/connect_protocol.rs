//! One protocol that is ready, for one connection.

use crate::endpoint::ClientEndpoint;
use crate::{Address, ClientFactory, Connector, ConnectorId, Factory, Protocol, Reactor, Reason, Result};

/// Connects one protocol that was made before. Its own `connection_made` tells that it worked; when it does not,
/// `failed` is called instead, once, with [`Reason::Cancelled`] if connecting was given up. (Twisted:
/// `connectProtocol`.)
///
/// ```
/// use twistor::endpoint::{client_from_string, connect_protocol};
/// # use twistor::{Protocol, Reactor, Transport};
/// # struct Hello;
/// # impl Protocol for Hello {
/// #     fn data_received(&mut self, _: &mut Transport<'_>, _: &[u8]) {}
/// # }
///
/// let mut reactor = Reactor::new()?;
/// # let nobody = reactor.listen_tcp("127.0.0.1:0", || Hello)?;
/// # reactor.stop_listening(&nobody)?;
/// # let port = nobody.address().port().unwrap();
/// let endpoint = client_from_string(&format!("tcp:localhost:{port}"))?;
/// connect_protocol(&mut reactor, &*endpoint, Hello, |reactor, reason| {
///     println!("nobody says hello: {reason}");
///     reactor.stop();
/// })?;
/// reactor.run()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// As [`ClientEndpoint::connect`]; nothing is called then.
pub fn connect_protocol(
    reactor: &mut Reactor,
    endpoint: &dyn ClientEndpoint,
    protocol: impl Protocol,
    failed: impl FnOnce(&mut Reactor, &Reason) + 'static,
) -> Result<ConnectorId> {
    let ready = Ready { protocol: Some(Box::new(protocol)), failed: Some(Box::new(failed)) };
    endpoint.connect(reactor, Box::new(ready))
}

struct Ready {
    protocol: Option<Box<dyn Protocol>>,
    failed: Option<Failed>,
}

type Failed = Box<dyn FnOnce(&mut Reactor, &Reason)>;

impl Factory for Ready {
    fn build_protocol(&mut self, _: &mut Reactor, _: &Address) -> Option<Box<dyn Protocol>> {
        self.protocol.take()
    }
}

impl ClientFactory for Ready {
    fn client_connection_failed(&mut self, connector: &mut Connector<'_>, reason: &Reason) {
        if let Some(failed) = self.failed.take() {
            failed(connector.reactor(), reason);
        }
    }

    // The protocol knows.
    fn client_connection_lost(&mut self, _: &mut Connector<'_>, _: &Reason) {}
}
