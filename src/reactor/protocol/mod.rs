//! The traits that users implement: protocols, factories and producers.

pub(in crate::reactor) mod building;
use crate::escape::Escaped;
use std::any::{Any, TypeId};
use std::cell::RefCell;
use std::os::fd::OwnedFd;
use std::rc::Rc;

use crate::reactor::{Address, Connector, Layer, Reactor, Reason, Transport};

/// The behaviour of one connection. (Twisted: `IProtocol`, `IHalfCloseableProtocol`.)
///
/// The calls for a connection are `connection_made` once, then any number of others, then
/// `connection_lost` once and last. No call comes from inside another callback, of any connection.
/// A panic ends only this connection, with [`Reason::Panicked`].
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
    /// Called when the connection is made. Both addresses are known.
    fn connection_made(&mut self, transport: &mut Transport<'_>) {
        let _ = transport;
    }

    /// Called with received bytes: at least one, at most a full read buffer, split at any point.
    /// The slice is empty if the protocol requested the call with
    /// [`Transport::schedule_data_received`].
    fn data_received(&mut self, transport: &mut Transport<'_>, data: &[u8]);

    /// Called when a descriptor arrives over a UNIX socket, after
    /// [`Transport::receive_descriptors`]. By default it is closed. (Twisted:
    /// `fileDescriptorReceived`.)
    ///
    /// The byte that carried the descriptor is in the next `data_received`. The kernel may have put
    /// earlier bytes before it.
    fn descriptor_received(&mut self, transport: &mut Transport<'_>, descriptor: OwnedFd) {
        let _ = (transport, descriptor);
    }

    /// Called when descriptors arrived while the process had reached its limit. The kernel has
    /// closed one or more of them: the last of those sent with the bytes of the next
    /// `data_received`.
    ///
    /// By default, all buffered data is sent and the connection closed, because the next descriptor
    /// could be mistaken for the missing one. All received bytes are still delivered, even after a
    /// `lose_connection` in this call. The event is always logged and counted
    /// ([`Statistics::descriptors_lost`](crate::reactor::Statistics::descriptors_lost)).
    fn descriptors_lost(&mut self, transport: &mut Transport<'_>) {
        transport.lose_connection();
    }

    /// Called when the peer has sent FIN. No more data arrives, but writing is still possible. By
    /// default all buffered data is sent and the connection closed. (Twisted: without
    /// `IHalfCloseableProtocol`, unsent data is discarded.)
    fn read_connection_lost(&mut self, transport: &mut Transport<'_>) {
        transport.lose_connection();
    }

    /// Called when FIN was sent after `lose_write_connection`.
    fn write_connection_lost(&mut self, transport: &mut Transport<'_>) {
        let _ = transport;
    }

    /// Called when unsent bytes exceed the high-water mark. The protocol should stop writing until
    /// `resume_writing`. Comes once per crossing.
    fn pause_writing(&mut self, transport: &mut Transport<'_>) {
        let _ = transport;
    }

    /// Called when unsent bytes have fallen to the low-water mark.
    fn resume_writing(&mut self, transport: &mut Transport<'_>) {
        let _ = transport;
    }

    /// Called when the connection is gone. Later writes are ignored. The addresses are still
    /// available.
    fn connection_lost(&mut self, transport: &mut Transport<'_>, reason: &Reason) {
        let _ = (transport, reason);
    }

    /// Returns the wrapped protocol or handler, for a protocol that wraps one. With it,
    /// [`Reactor::with_protocol`] and [`Transport::call_later`] find it by its type.
    fn downcast_inner(&mut self, want: TypeId) -> Option<&mut dyn Any> {
        let _ = want;
        None
    }
}

/// The protocol itself or the one it wraps, as a `P`.
pub(crate) fn find<P: 'static>(protocol: &mut dyn Protocol) -> Option<&mut P> {
    let outer: &dyn Any = protocol;
    if outer.is::<P>() {
        let outer: &mut dyn Any = protocol;
        return outer.downcast_mut();
    }
    protocol.downcast_inner(TypeId::of::<P>())?.downcast_mut()
}

/// A builder of protocols, called once per connection. (Twisted: `IProtocolFactory`.)
///
/// Every `FnMut() -> impl Protocol` is a factory. [`factory`] makes one of a closure that takes the
/// peer's address.
pub trait Factory: 'static {
    /// Builds the protocol for a connection with `peer`. `None` closes the connection at once. A
    /// panic does so, too.
    ///
    /// On a client, a connection closed by `None` counts as made:
    /// [`ClientFactory::client_connection_lost`] follows with [`Reason::Done`]. (Twisted: the
    /// same.)
    fn build_protocol(&mut self, reactor: &mut Reactor, peer: &Address) -> Option<Box<dyn Protocol>>;

    /// Returns the layers between the socket and the protocol of a connection with `peer`, lowest
    /// first. By default there are none. It is called before `build_protocol`, which follows when
    /// all layers are ready. A factory that wraps another must return its layers; see
    /// [`layered`](crate::layered).
    fn layers(&mut self, reactor: &mut Reactor, peer: &Address) -> Vec<Box<dyn Layer>> {
        let _ = (reactor, peer);
        Vec::new()
    }

    /// Called before the first use by a listener or connector. A panic is logged and counted, and
    /// has no other effect. (Twisted: `doStart`, `startFactory`.)
    fn start_factory(&mut self, reactor: &mut Reactor) {
        let _ = reactor;
    }

    /// Called after the last use. The listener or connector is gone even after a panic, which is
    /// logged as [`CallbackKind::StopFactory`](crate::reactor::CallbackKind::StopFactory) and
    /// counted in [`Statistics::panics`](crate::reactor::Statistics::panics). (Twisted: `doStop`,
    /// `stopFactory`.)
    fn stop_factory(&mut self, reactor: &mut Reactor) {
        let _ = reactor;
    }
}

/// A factory for outgoing connections, which is notified of their outcome. (Twisted:
/// `ClientFactory`.)
///
/// A connector is removed when its last callback returns without a request for another connection
/// ([`Connector::connect`], [`Connector::connect_later`]).
pub trait ClientFactory: Factory {
    /// Called when an attempt begins. `stop_connecting` ends it at once.
    fn started_connecting(&mut self, connector: &mut Connector<'_>) {
        let _ = connector;
    }

    /// Called when no connection was made, or when it was lost before its layers were ready.
    ///
    /// By default the reason is logged as a warning, or written to standard error if the program
    /// has set no logger. A reactor keeps running when its only connect has failed: see
    /// [`on_failure`](ClientFactory::on_failure).
    fn client_connection_failed(&mut self, connector: &mut Connector<'_>, reason: &Reason) {
        log_warn!([destination:% = Escaped(connector.destination())] "cannot connect to {}: {reason}", Escaped(connector.destination()));
    }

    /// Called when an established connection is lost, after the protocol's `connection_lost`. By
    /// default an unclean loss is logged.
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

/// A factory of an unknown type, as endpoints and services hold it.
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

/// Shares one factory between several listeners and connectors.
///
/// All clones are the same factory. It is started at the first use of any clone and stopped after
/// the last. (Twisted counts in `doStart` and `doStop`.)
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

/// A shared factory; see [`shared`].
pub struct Shared<F>(Rc<RefCell<Counted<F>>>);

struct Counted<F> {
    factory: F,
    uses: usize,
}

impl<F> Shared<F> {
    /// Calls `look` with the factory. Returns `None` inside one of its own callbacks.
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
            // Inside one of its own callbacks. `build_protocol` refuses as well.
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
    /// Push producer: continue producing. Pull producer: write the next piece now.
    fn resume_producing(&mut self, transport: &mut Transport<'_>);

    /// Push producer: stop producing until resumed. Not called for a pull producer.
    fn pause_producing(&mut self, transport: &mut Transport<'_>) {
        let _ = transport;
    }

    /// The connection is lost and consumes no more data. Called before the protocol's
    /// `connection_lost`.
    fn stop_producing(&mut self, reactor: &mut Reactor) {
        let _ = reactor;
    }
}

/// The kind of a producer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProducerKind {
    /// Writes by itself until it is paused. (Twisted: `streaming=True`.)
    Push,
    /// Writes one piece per call. The calls come at once, and when all data was sent.
    ///
    /// A call that writes nothing is repeated after 1 ms, then after twice the time, up to 100 ms.
    /// It comes sooner when other data has been sent, and after
    /// [`Transport::resume_producer`](crate::reactor::Transport::resume_producer).
    Pull,
}
