//! Factories whose connections start with TLS, and the choice of a protocol by ALPN.

use crate::tls::layer::Role;
use crate::tls::{TlsInfo, TlsLayer};
use crate::{BuildContext, ClientFactory, Connector, Factory, Layer, Protocol, Reactor, Reason};

/// A factory whose connections start with TLS. [`TlsConnector::factory`] and
/// [`TlsAcceptor::factory`] make it. For a listener or a connector, by the side that it was made
/// for.
///
/// [`TlsConnector::factory`]: crate::tls::TlsConnector::factory
/// [`TlsAcceptor::factory`]: crate::tls::TlsAcceptor::factory
#[doc(alias = "TLSMemoryBIOFactory")]
pub struct TlsFactory<F> {
    factory: F,
    role: Role,
}

impl<F> TlsFactory<F> {
    pub(super) fn new(factory: F, role: Role) -> TlsFactory<F> {
        TlsFactory { factory, role }
    }
}

impl<F: Factory> Factory for TlsFactory<F> {
    fn build_protocol(&mut self, context: &mut BuildContext<'_>) -> Option<Box<dyn Protocol>> {
        self.factory.build_protocol(context)
    }

    fn layers(&mut self, context: &mut BuildContext<'_>) -> Vec<Box<dyn Layer>> {
        let mut layers = self.factory.layers(context);
        layers.insert(0, Box::new(TlsLayer::new(self.role.clone())));
        layers
    }

    fn start_factory(&mut self, reactor: &mut Reactor) {
        self.factory.start_factory(reactor);
    }

    fn stop_factory(&mut self, reactor: &mut Reactor) {
        self.factory.stop_factory(reactor);
    }
}

impl<F: ClientFactory> ClientFactory for TlsFactory<F> {
    fn started_connecting(&mut self, connector: &mut Connector<'_>) {
        self.factory.started_connecting(connector);
    }

    fn client_connection_failed(&mut self, connector: &mut Connector<'_>, reason: &Reason) {
        self.factory.client_connection_failed(connector, reason);
    }

    fn client_connection_lost(&mut self, connector: &mut Connector<'_>, reason: &Reason) {
        self.factory.client_connection_lost(connector, reason);
    }
}

/// Creates a factory that chooses the protocol of a connection by the negotiated application
/// protocol (ALPN), for servers and clients. The closure gets `None` if there is none. It refuses a
/// connection with `None`. (Twisted: `IProtocolNegotiationFactory`.)
///
/// ```
/// use twistor::Protocol;
/// use twistor::tls::by_alpn;
/// # struct Http2;
/// # impl Protocol for Http2 {
/// #     fn data_received(&mut self, _: &mut twistor::Transport<'_>, _: &[u8]) {}
/// # }
/// # struct Http1;
/// # impl Protocol for Http1 {
/// #     fn data_received(&mut self, _: &mut twistor::Transport<'_>, _: &[u8]) {}
/// # }
/// # fn wrapped(acceptor: twistor::tls::TlsAcceptor) {
///
/// let factory = acceptor.factory(by_alpn(|protocol| match protocol {
///     Some(b"h2") => Some(Box::new(Http2)),
///     Some(b"http/1.1") | None => Some(Box::new(Http1)),
///     Some(_) => None,
/// }));
/// # }
/// ```
#[doc(alias("acceptableProtocols", "IProtocolNegotiationFactory"))]
pub fn by_alpn(
    choose: impl FnMut(Option<&[u8]>) -> Option<Box<dyn Protocol>> + 'static,
) -> impl ClientFactory {
    ByAlpn(choose)
}

struct ByAlpn<C>(C);

impl<C> Factory for ByAlpn<C>
where
    C: FnMut(Option<&[u8]>) -> Option<Box<dyn Protocol>> + 'static,
{
    fn build_protocol(&mut self, context: &mut BuildContext<'_>) -> Option<Box<dyn Protocol>> {
        (self.0)(context.extension::<TlsInfo>().and_then(TlsInfo::alpn))
    }
}

impl<C> ClientFactory for ByAlpn<C> where C: FnMut(Option<&[u8]>) -> Option<Box<dyn Protocol>> + 'static {}
