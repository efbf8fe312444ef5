//! Sending headers to a server that expects them.

use crate::proxy_protocol::Header;
use crate::{Factory, Layer, LayerContext, Layered, layered};

/// Makes each connection of a connector begin with a PROXY header, for servers that expect one. To
/// forward several clients, use one factory for each, as
/// [`PortForward`](crate::policy::PortForward) does.
///
/// ```
/// use twistor::proxy_protocol::{Header, Version, with_proxy_header};
/// # struct Ask;
/// # impl twistor::Protocol for Ask {
/// #     fn data_received(&mut self, _: &mut twistor::Transport<'_>, _: &[u8]) {}
/// # }
///
/// let ask = with_proxy_header(|| Ask, Header::local(Version::Two));
/// twistor::Reactor::new()?.connect_tcp("127.0.0.1:8080", ask)?;
/// # Ok::<(), twistor::Error>(())
/// ```
pub fn with_proxy_header<F: Factory>(
    factory: F,
    header: Header,
) -> Layered<F, impl FnMut() -> SendProxyHeader> {
    layered(factory, move || SendProxyHeader::new(&header))
}

/// Layer that sends a header before all other data.
pub struct SendProxyHeader {
    bytes: Vec<u8>,
}

impl SendProxyHeader {
    /// Creates a layer that sends `header`.
    pub fn new(header: &Header) -> SendProxyHeader {
        SendProxyHeader { bytes: header.encode() }
    }
}

impl Layer for SendProxyHeader {
    fn started(&mut self, below: &mut LayerContext<'_>) {
        below.pass_down(&self.bytes);
        self.bytes = Vec::new();
        below.ready();
    }
}
