//! Sending a header, to a server that expects one.

use crate::proxy_protocol::Header;
use crate::{Factory, Layer, LayerContext, Layered, layered};

/// For a connector to a server that expects PROXY headers: each connection begins with one. Whoever forwards for several clients makes
/// a factory for each, as [`PortForward`](crate::policy::PortForward) does.
///
/// ```
/// use twistor::proxy_protocol::{Header, Version, announced};
/// # struct Ask;
/// # impl twistor::Protocol for Ask {
/// #     fn data_received(&mut self, _: &mut twistor::Transport<'_>, _: &[u8]) {}
/// # }
///
/// let ask = announced(|| Ask, Header::local(Version::Two));
/// twistor::Reactor::new()?.connect_tcp("127.0.0.1:8080", ask)?;
/// # Ok::<(), twistor::Error>(())
/// ```
pub fn announced<F: Factory>(factory: F, header: Header) -> Layered<F, impl FnMut() -> SendProxyHeader> {
    layered(factory, move || SendProxyHeader::new(&header))
}

/// Sends a header before everything else.
pub struct SendProxyHeader {
    bytes: Vec<u8>,
}

impl SendProxyHeader {
    /// Sends this one.
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
