//! Factories: builders of the protocol of each connection.

use crate::escape::Escaped;
use crate::reactor::{Address, BuildContext, Connector, Layer, Protocol, Reactor, Reason};

/// A builder of protocols, called once per connection. (Twisted: `IProtocolFactory`.)
///
/// Every `FnMut() -> impl Protocol` is a factory. [`factory`] makes one of a closure that takes the
/// peer's address.
#[doc(alias("IProtocolFactory", "ServerFactory", "protocol_factory"))]
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not build protocols",
    label = "not a factory",
    note = "a factory is a closure without arguments that returns a protocol: `|| Echo`",
    note = "a closure that takes the peer's address is made a factory by `twistor::factory(|peer| Some(Echo))`",
    note = "one factory for several listeners is `twistor::shared(factory)`"
)]
pub trait Factory: 'static {
    /// Builds the protocol of a connection. `None` closes the connection at once. A panic does so,
    /// too.
    ///
    /// On a client, a connection closed by `None` counts as made:
    /// [`ClientFactory::client_connection_lost`] follows with [`Reason::Done`]. (Twisted: the
    /// same.)
    #[doc(alias = "buildProtocol")]
    fn build_protocol(&mut self, context: &mut BuildContext<'_>) -> Option<Box<dyn Protocol>>;

    /// Returns the layers between the socket and the protocol of a connection, lowest first. By
    /// default there are none. It is called before `build_protocol`, which follows when all layers
    /// are ready. A factory that wraps another must return its layers; see
    /// [`layered`](crate::layered).
    fn layers(&mut self, context: &mut BuildContext<'_>) -> Vec<Box<dyn Layer>> {
        let _ = context;
        Vec::new()
    }

    /// Called before the first use by a listener or connector. A panic is logged and counted, and
    /// has no other effect. (Twisted: `doStart`, `startFactory`.)
    #[doc(alias("startFactory", "doStart"))]
    fn start_factory(&mut self, reactor: &mut Reactor) {
        let _ = reactor;
    }

    /// Called after the last use. The listener or connector is gone even after a panic, which is
    /// logged as [`CallbackKind::StopFactory`](crate::reactor::CallbackKind::StopFactory) and
    /// counted in [`Statistics::panics`](crate::reactor::Statistics::panics). (Twisted: `doStop`,
    /// `stopFactory`.)
    #[doc(alias("stopFactory", "doStop"))]
    fn stop_factory(&mut self, reactor: &mut Reactor) {
        let _ = reactor;
    }
}

/// A factory for outgoing connections, which is notified of their outcome. (Twisted:
/// `ClientFactory`.)
///
/// A connector is removed when its last callback returns without a request for another connection
/// ([`Connector::connect`], [`Connector::connect_later`]).
#[doc(alias = "ReconnectingClientFactory")]
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not build protocols for outgoing connections",
    label = "not a client factory",
    note = "a client factory is a closure without arguments that returns a protocol: `|| Client`",
    note = "a type that implements `Factory` also needs `impl ClientFactory for {Self} {{}}`"
)]
pub trait ClientFactory: Factory {
    /// Called when an attempt begins. `stop_connecting` ends it at once.
    #[doc(alias = "startedConnecting")]
    fn started_connecting(&mut self, connector: &mut Connector<'_>) {
        let _ = connector;
    }

    /// Called when no connection was made, or when it was lost before its layers were ready.
    ///
    /// By default the reason is logged as a warning, or written to standard error if the program
    /// has set no logger. A reactor keeps running when its only connect has failed: see
    /// [`on_failure`](ClientFactory::on_failure).
    #[doc(alias = "clientConnectionFailed")]
    fn client_connection_failed(&mut self, connector: &mut Connector<'_>, reason: &Reason) {
        log_warn!([destination:% = Escaped(connector.destination())] "cannot connect to {}: {reason}", Escaped(connector.destination()));
    }

    /// Called when an established connection is lost, after the protocol's `connection_lost`. By
    /// default an unclean loss is logged.
    #[doc(alias = "clientConnectionLost")]
    fn client_connection_lost(&mut self, connector: &mut Connector<'_>, reason: &Reason) {
        if !reason.is_clean() {
            log::info!(destination:% = Escaped(connector.destination()); "lost {}: {reason}", Escaped(connector.destination()));
        }
    }

    /// Returns this factory with `call` in place of
    /// [`client_connection_failed`](ClientFactory::client_connection_failed):
    ///
    /// ```
    /// # struct Echo;
    /// # impl twistor::Protocol for Echo {
    /// #     fn data_received(&mut self, _: &mut twistor::Transport<'_>, _: &[u8]) {}
    /// # }
    /// use twistor::{ClientFactory, Reactor};
    ///
    /// let mut reactor = Reactor::new()?;
    /// # let unused = std::net::TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).unwrap();
    /// # let address = unused;
    /// let factory = (|| Echo).on_failure(|connector, reason| {
    ///     eprintln!("no connection to {}: {reason}", connector.destination());
    ///     connector.reactor().stop();
    /// });
    /// reactor.connect_tcp(address, factory)?;
    /// reactor.run()?;
    /// # Ok::<(), twistor::Error>(())
    /// ```
    fn on_failure<F>(self, call: F) -> OnFailure<Self, F>
    where
        Self: Sized,
        F: FnMut(&mut Connector<'_>, &Reason) + 'static,
    {
        OnFailure { factory: self, call }
    }
}

/// A factory with its own failure callback; see [`ClientFactory::on_failure`].
pub struct OnFailure<T, F> {
    factory: T,
    call: F,
}

impl<T: Factory, F: 'static> Factory for OnFailure<T, F> {
    fn build_protocol(&mut self, context: &mut BuildContext<'_>) -> Option<Box<dyn Protocol>> {
        self.factory.build_protocol(context)
    }

    fn layers(&mut self, context: &mut BuildContext<'_>) -> Vec<Box<dyn Layer>> {
        self.factory.layers(context)
    }

    fn start_factory(&mut self, reactor: &mut Reactor) {
        self.factory.start_factory(reactor);
    }

    fn stop_factory(&mut self, reactor: &mut Reactor) {
        self.factory.stop_factory(reactor);
    }
}

impl<T, F> ClientFactory for OnFailure<T, F>
where
    T: ClientFactory,
    F: FnMut(&mut Connector<'_>, &Reason) + 'static,
{
    fn started_connecting(&mut self, connector: &mut Connector<'_>) {
        self.factory.started_connecting(connector);
    }

    fn client_connection_failed(&mut self, connector: &mut Connector<'_>, reason: &Reason) {
        (self.call)(connector, reason);
    }

    fn client_connection_lost(&mut self, connector: &mut Connector<'_>, reason: &Reason) {
        self.factory.client_connection_lost(connector, reason);
    }
}

impl<F, P> Factory for F
where
    F: FnMut() -> P + 'static,
    P: Protocol,
{
    fn build_protocol(&mut self, _: &mut BuildContext<'_>) -> Option<Box<dyn Protocol>> {
        Some(Box::new(self()))
    }
}

impl<F, P> ClientFactory for F
where
    F: FnMut() -> P + 'static,
    P: Protocol,
{
}

/// Factories of an unknown type, as endpoints and services hold them.
macro_rules! boxed_factory {
    ($factory:ty) => {
        impl Factory for Box<$factory> {
            fn build_protocol(&mut self, context: &mut BuildContext<'_>) -> Option<Box<dyn Protocol>> {
                (**self).build_protocol(context)
            }

            fn layers(&mut self, context: &mut BuildContext<'_>) -> Vec<Box<dyn Layer>> {
                (**self).layers(context)
            }

            fn start_factory(&mut self, reactor: &mut Reactor) {
                (**self).start_factory(reactor);
            }

            fn stop_factory(&mut self, reactor: &mut Reactor) {
                (**self).stop_factory(reactor);
            }
        }
    };
}

boxed_factory!(dyn Factory);
boxed_factory!(dyn ClientFactory);

impl ClientFactory for Box<dyn ClientFactory> {
    fn started_connecting(&mut self, connector: &mut Connector<'_>) {
        (**self).started_connecting(connector);
    }

    fn client_connection_failed(&mut self, connector: &mut Connector<'_>, reason: &Reason) {
        (**self).client_connection_failed(connector, reason);
    }

    fn client_connection_lost(&mut self, connector: &mut Connector<'_>, reason: &Reason) {
        (**self).client_connection_lost(connector, reason);
    }
}

/// Creates a factory from a closure that takes the peer's address. The closure refuses a connection
/// with `None`.
///
/// ```
/// # struct Echo;
/// # impl twistor::Protocol for Echo {
/// #     fn data_received(&mut self, _: &mut twistor::Transport<'_>, _: &[u8]) {}
/// # }
/// # let mut reactor = twistor::Reactor::new()?;
/// let local = twistor::factory(|peer| peer.ip()?.is_loopback().then_some(Echo));
/// reactor.listen_tcp("127.0.0.1:0", local)?;
/// # Ok::<(), twistor::Error>(())
/// ```
#[doc(alias = "forProtocol")]
pub fn factory<P: Protocol>(build: impl FnMut(&Address) -> Option<P> + 'static) -> impl ClientFactory {
    Choosing(build)
}

struct Choosing<F>(F);

impl<F, P> Factory for Choosing<F>
where
    F: FnMut(&Address) -> Option<P> + 'static,
    P: Protocol,
{
    fn build_protocol(&mut self, context: &mut BuildContext<'_>) -> Option<Box<dyn Protocol>> {
        (self.0)(context.peer()).map(|protocol| Box::new(protocol) as Box<dyn Protocol>)
    }
}

impl<F, P> ClientFactory for Choosing<F>
where
    F: FnMut(&Address) -> Option<P> + 'static,
    P: Protocol,
{
}
