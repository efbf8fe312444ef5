//! What users write: protocols, factories and producers.

pub(in crate::reactor) mod building;
use crate::escape::Escaped;
use std::any::{Any, TypeId};
use std::cell::RefCell;
use std::os::fd::OwnedFd;
use std::rc::Rc;

use crate::reactor::{Address, Connector, Layer, Reactor, Reason, Transport};

/// One connection's behaviour. (Twisted: `IProtocol`, `IHalfCloseableProtocol`.)
///
/// For one connection the calls are: `connection_made` once, then the others in any number, then
/// `connection_lost` once, and nothing after it. No call comes from inside another callback, of
/// whatever connection. A panic ends this connection alone, with [`Reason::Panicked`].
///
/// ```
/// use twistor::{Protocol, Transport};
///
/// struct Echo;
///
/// impl Protocol for Echo {
///     fn data_received(&mut self, transport: &mut Transport<'_>, data: &[u8]) {
///         transport.write(data);
///     }
/// }
/// ```
pub trait Protocol: Any {
    /// The connection is made; both addresses are known.
    fn connection_made(&mut self, transport: &mut Transport<'_>) {
        let _ = transport;
    }

    /// Some bytes came: one to as many as the read buffer holds, cut anywhere. None, if the protocol asked for that with
    /// [`Transport::schedule_data_received`].
    fn data_received(&mut self, transport: &mut Transport<'_>, data: &[u8]);

    /// A descriptor came over a UNIX socket, after [`Transport::receive_descriptors`]. The byte that it travelled with is in
    /// the next `data_received`, where the system may have put bytes sent before it as well. By default it is closed. (Twisted: `fileDescriptorReceived`.)
    fn descriptor_received(&mut self, transport: &mut Transport<'_>, descriptor: OwnedFd) {
        let _ = (transport, descriptor);
    }

    /// Descriptors came when the process could have no more, and the system has closed them: one or more, the last of
    /// those that travelled with the bytes of the `data_received` that follows. By default everything written so far is sent and the
    /// connection closed, because the next descriptor could be taken for the one that is missing. All bytes come, even
    /// after a `lose_connection` in here. It is counted ([`Statistics::descriptors_lost`](crate::reactor::Statistics::descriptors_lost)) and logged
    /// in any case.
    fn descriptors_lost(&mut self, transport: &mut Transport<'_>) {
        transport.lose_connection();
    }

    /// The peer sent FIN: no more bytes will come, writing is still possible. By default
    /// everything written so far is sent and the connection closed. (Twisted: without
    /// `IHalfCloseableProtocol` what waits to be sent is discarded.)
    fn read_connection_lost(&mut self, transport: &mut Transport<'_>) {
        transport.lose_connection();
    }

    /// Our FIN was sent, as asked for with `lose_write_connection`.
    fn write_connection_lost(&mut self, transport: &mut Transport<'_>) {
        let _ = transport;
    }

    /// More unsent bytes than the high-water mark wait: stop writing until `resume_writing`. Comes once a crossing.
    fn pause_writing(&mut self, transport: &mut Transport<'_>) {
        let _ = transport;
    }

    /// The unsent bytes came down to the low-water mark.
    fn resume_writing(&mut self, transport: &mut Transport<'_>) {
        let _ = transport;
    }

    /// The connection is gone. What is written from now on goes nowhere; the addresses can still be asked for.
    fn connection_lost(&mut self, transport: &mut Transport<'_>, reason: &Reason) {
        let _ = (transport, reason);
    }

    /// For a protocol that wraps another or a handler: the wrapped one, so that
    /// [`Reactor::with_protocol`] and [`Transport::call_later`] find it by its type.
    fn downcast_inner(&mut self, want: TypeId) -> Option<&mut dyn Any> {
        let _ = want;
        None
    }
}

/// The protocol as a `P`, or the one that it wraps.
pub(crate) fn find<P: 'static>(protocol: &mut dyn Protocol) -> Option<&mut P> {
    let outer: &dyn Any = protocol;
    if outer.is::<P>() {
        let outer: &mut dyn Any = protocol;
        return outer.downcast_mut();
    }
    protocol.downcast_inner(TypeId::of::<P>())?.downcast_mut()
}

/// Makes a protocol for each connection. (Twisted: `IProtocolFactory`.)
///
/// Every `FnMut() -> impl Protocol` is one; [`factory`] makes one of a closure that looks at the peer.
pub trait Factory: 'static {
    /// The protocol for a connection with `peer`; `None` closes it at once, and no protocol hears of it. A client's
    /// factory does: the connection was made, and [`ClientFactory::client_connection_lost`] follows with
    /// [`Reason::Done`]. (Twisted: the same.) A panic closes the connection as well.
    fn build_protocol(&mut self, reactor: &mut Reactor, peer: &Address) -> Option<Box<dyn Protocol>>;

    /// What stands between the socket and the protocol of a connection with `peer`, the lowest first; asked for before the
    /// protocol, which is built when they are all ready. By default nothing. A factory that wraps another hands its layers on; see
    /// [`layered`](crate::layered).
    fn layers(&mut self, reactor: &mut Reactor, peer: &Address) -> Vec<Box<dyn Layer>> {
        let _ = (reactor, peer);
        Vec::new()
    }

    /// Before its first use by a listener or connector. A panic is logged and counted, and changes nothing else.
    /// (Twisted: `doStart`, `startFactory`.)
    fn start_factory(&mut self, reactor: &mut Reactor) {
        let _ = reactor;
    }

    /// After its last use. A panic is logged as that of [`CallbackKind::StopFactory`](crate::reactor::CallbackKind::StopFactory), counted in
    /// [`Statistics::panics`](crate::reactor::Statistics::panics), and changes nothing else: the listener or connector is gone all the same.
    /// (Twisted: `doStop`, `stopFactory`.)
    fn stop_factory(&mut self, reactor: &mut Reactor) {
        let _ = reactor;
    }
}

/// A factory for connections to others, told what becomes of them. (Twisted: `ClientFactory`.)
///
/// A connector whose last callback returned without asking for another connection
/// ([`Connector::connect`], [`Connector::connect_later`]) is gone.
pub trait ClientFactory: Factory {
    /// An attempt begins; `stop_connecting` ends it at once.
    fn started_connecting(&mut self, connector: &mut Connector<'_>) {
        let _ = connector;
    }

    /// No connection was made, or it was lost before its layers were ready. By default that is logged as a warning, or
    /// written to standard error when the program has set no logger. A reactor whose only connect has failed goes on
    /// running: see [`on_failure`](ClientFactory::on_failure).
    fn client_connection_failed(&mut self, connector: &mut Connector<'_>, reason: &Reason) {
        log_warn!([destination:% = Escaped(connector.destination())] "cannot connect to {}: {reason}", Escaped(connector.destination()));
    }

    /// A connection was made and is lost; its protocol's `connection_lost` came before. By default an unclean
    /// loss is logged.
    fn client_connection_lost(&mut self, connector: &mut Connector<'_>, reason: &Reason) {
        if !reason.is_clean() {
            log::info!(destination:% = Escaped(connector.destination()); "lost {}: {reason}", Escaped(connector.destination()));
        }
    }

    /// This factory, which calls `call` when no connection is made, in the place of
    /// [`client_connection_failed`](ClientFactory::client_connection_failed). So a closure can be told:
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

/// See [`ClientFactory::on_failure`].
pub struct OnFailure<T, F> {
    factory: T,
    call: F,
}

impl<T: Factory, F: 'static> Factory for OnFailure<T, F> {
    fn build_protocol(&mut self, reactor: &mut Reactor, peer: &Address) -> Option<Box<dyn Protocol>> {
        self.factory.build_protocol(reactor, peer)
    }

    fn layers(&mut self, reactor: &mut Reactor, peer: &Address) -> Vec<Box<dyn Layer>> {
        self.factory.layers(reactor, peer)
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
    fn build_protocol(&mut self, _: &mut Reactor, _: &Address) -> Option<Box<dyn Protocol>> {
        Some(Box::new(self()))
    }
}

impl<F, P> ClientFactory for F
where
    F: FnMut() -> P + 'static,
    P: Protocol,
{
}

/// A factory whose type is not known: what endpoints and services hold.
impl Factory for Box<dyn Factory> {
    fn build_protocol(&mut self, reactor: &mut Reactor, peer: &Address) -> Option<Box<dyn Protocol>> {
        (**self).build_protocol(reactor, peer)
    }

    fn layers(&mut self, reactor: &mut Reactor, peer: &Address) -> Vec<Box<dyn Layer>> {
        (**self).layers(reactor, peer)
    }

    fn start_factory(&mut self, reactor: &mut Reactor) {
        (**self).start_factory(reactor);
    }

    fn stop_factory(&mut self, reactor: &mut Reactor) {
        (**self).stop_factory(reactor);
    }
}

impl Factory for Box<dyn ClientFactory> {
    fn build_protocol(&mut self, reactor: &mut Reactor, peer: &Address) -> Option<Box<dyn Protocol>> {
        (**self).build_protocol(reactor, peer)
    }

    fn layers(&mut self, reactor: &mut Reactor, peer: &Address) -> Vec<Box<dyn Layer>> {
        (**self).layers(reactor, peer)
    }

    fn start_factory(&mut self, reactor: &mut Reactor) {
        (**self).start_factory(reactor);
    }

    fn stop_factory(&mut self, reactor: &mut Reactor) {
        (**self).stop_factory(reactor);
    }
}

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

/// A factory of a closure that looks at the peer, or refuses it with `None`.
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
pub fn factory<P: Protocol>(build: impl FnMut(&Address) -> Option<P> + 'static) -> impl ClientFactory {
    Choosing(build)
}

struct Choosing<F>(F);

impl<F, P> Factory for Choosing<F>
where
    F: FnMut(&Address) -> Option<P> + 'static,
    P: Protocol,
{
    fn build_protocol(&mut self, _: &mut Reactor, peer: &Address) -> Option<Box<dyn Protocol>> {
        (self.0)(peer).map(|protocol| Box::new(protocol) as Box<dyn Protocol>)
    }
}

impl<F, P> ClientFactory for Choosing<F>
where
    F: FnMut(&Address) -> Option<P> + 'static,
    P: Protocol,
{
}

/// One factory for several listeners and connectors: its clones are the same factory, which is
/// started at the first use of any and stopped at the last. (Twisted counts in `doStart` and `doStop`.)
///
/// ```
/// # struct Echo;
/// # impl twistor::Protocol for Echo {
/// #     fn data_received(&mut self, _: &mut twistor::Transport<'_>, _: &[u8]) {}
/// # }
/// # let mut reactor = twistor::Reactor::new()?;
/// let echo = twistor::shared(|| Echo);
/// reactor.listen_tcp("127.0.0.1:0", echo.clone())?;
/// reactor.listen_tcp("127.0.0.1:0", echo)?;
/// # Ok::<(), twistor::Error>(())
/// ```
pub fn shared<F: Factory>(factory: F) -> Shared<F> {
    Shared(Rc::new(RefCell::new(Counted { factory, uses: 0 })))
}

/// See [`shared`].
pub struct Shared<F>(Rc<RefCell<Counted<F>>>);

struct Counted<F> {
    factory: F,
    uses: usize,
}

impl<F> Shared<F> {
    /// Looks into the factory. Inside one of its own callbacks there is nothing to see: `None`.
    pub fn with_factory<R>(&self, look: impl FnOnce(&mut F) -> R) -> Option<R> {
        Some(look(&mut self.0.try_borrow_mut().ok()?.factory))
    }
}

impl<F> Clone for Shared<F> {
    fn clone(&self) -> Shared<F> {
        Shared(Rc::clone(&self.0))
    }
}

impl<F: Factory> Factory for Shared<F> {
    fn build_protocol(&mut self, reactor: &mut Reactor, peer: &Address) -> Option<Box<dyn Protocol>> {
        self.0.try_borrow_mut().ok()?.factory.build_protocol(reactor, peer)
    }

    fn layers(&mut self, reactor: &mut Reactor, peer: &Address) -> Vec<Box<dyn Layer>> {
        match self.0.try_borrow_mut() {
            Ok(mut counted) => counted.factory.layers(reactor, peer),
            // Inside one of its own callbacks: `build_protocol` refuses as well.
            Err(_) => Vec::new(),
        }
    }

    fn start_factory(&mut self, reactor: &mut Reactor) {
        if let Ok(mut counted) = self.0.try_borrow_mut() {
            counted.uses += 1;
            if counted.uses == 1 {
                counted.factory.start_factory(reactor);
            }
        }
    }

    fn stop_factory(&mut self, reactor: &mut Reactor) {
        if let Ok(mut counted) = self.0.try_borrow_mut() {
            counted.uses = counted.uses.saturating_sub(1);
            if counted.uses == 0 {
                counted.factory.stop_factory(reactor);
            }
        }
    }
}

impl<F: ClientFactory> ClientFactory for Shared<F> {
    fn started_connecting(&mut self, connector: &mut Connector<'_>) {
        if let Ok(mut counted) = self.0.try_borrow_mut() {
            counted.factory.started_connecting(connector);
        }
    }

    fn client_connection_failed(&mut self, connector: &mut Connector<'_>, reason: &Reason) {
        if let Ok(mut counted) = self.0.try_borrow_mut() {
            counted.factory.client_connection_failed(connector, reason);
        }
    }

    fn client_connection_lost(&mut self, connector: &mut Connector<'_>, reason: &Reason) {
        if let Ok(mut counted) = self.0.try_borrow_mut() {
            counted.factory.client_connection_lost(connector, reason);
        }
    }
}

/// A source of bytes that a transport controls. (Twisted: `IPushProducer`, `IPullProducer`.)
pub trait Producer: 'static {
    /// Push: go on producing. Pull: write one more piece now.
    fn resume_producing(&mut self, transport: &mut Transport<'_>);

    /// Push: stop producing until resumed. A pull producer is not told.
    fn pause_producing(&mut self, transport: &mut Transport<'_>) {
        let _ = transport;
    }

    /// The connection is lost (comes before the protocol's `connection_lost`): nobody consumes any more.
    fn stop_producing(&mut self, reactor: &mut Reactor) {
        let _ = reactor;
    }
}

/// How a producer works.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProducerKind {
    /// It writes by itself until it is paused. (Twisted: `streaming=True`.)
    Push,
    /// It writes a piece each time it is asked to: at once, and when everything was sent.
    ///
    /// One that writes nothing is asked again after 1 ms, then after twice as long each time, up to 100 ms. It is asked sooner
    /// when something else that was written has been sent, and after
    /// [`Transport::resume_producer`](crate::reactor::Transport::resume_producer).
    Pull,
}
