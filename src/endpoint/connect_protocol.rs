//! Connecting a single existing protocol.

use crate::endpoint::ClientEndpoint;
use crate::{
    BuildContext, ClientFactory, Connector, ConnectorId, Factory, Protocol, Reactor, Reason, Result,
};

/// Connects one existing protocol. (Twisted: `connectProtocol`.)
///
/// On success, the protocol's `connection_made` is called. On failure, `failed` is called once
/// instead, with [`Reason::Cancelled`] if the attempt was cancelled.
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
/// # let closed = reactor.listen_tcp("127.0.0.1:0", || Hello)?;
/// # reactor.stop_listening(&closed)?;
/// # let port = closed.address().port().unwrap();
/// let endpoint = client_from_string(&format!("tcp:localhost:{port}"))?;
/// connect_protocol(&mut reactor, &*endpoint, Hello, |reactor, reason| {
///     println!("cannot say hello: {reason}");
///     reactor.stop();
/// })?;
/// reactor.run()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// The errors of [`ClientEndpoint::connect`]. `failed` is not called then.
#[doc(alias = "connectProtocol")]
pub fn connect_protocol(
    reactor: &mut Reactor,
    endpoint: &dyn ClientEndpoint,
    protocol: impl Protocol,
    failed: impl FnOnce(&mut Reactor, &Reason) + 'static,
) -> Result<ConnectorId> {
    let factory = SingleUse { protocol: Some(Box::new(protocol)), failed: Some(Box::new(failed)) };
    endpoint.connect(reactor, Box::new(factory))
}

struct SingleUse {
    protocol: Option<Box<dyn Protocol>>,
    failed: Option<Failed>,
}

type Failed = Box<dyn FnOnce(&mut Reactor, &Reason)>;

impl Factory for SingleUse {
    fn build_protocol(&mut self, _: &mut BuildContext<'_>) -> Option<Box<dyn Protocol>> {
        self.protocol.take()
    }
}

impl ClientFactory for SingleUse {
    fn client_connection_failed(&mut self, connector: &mut Connector<'_>, reason: &Reason) {
        if let Some(failed) = self.failed.take() {
            failed(connector.reactor(), reason);
        }
    }

    // The protocol has handled the loss.
    fn client_connection_lost(&mut self, _: &mut Connector<'_>, _: &Reason) {}
}
