//! What users write to stand between a socket and its protocol.

pub(in crate::reactor) mod run;
pub(in crate::reactor) mod stack;
use crate::escape::Escaped;
use std::error::Error;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::net::{Instant, Readiness, Token};
use crate::reactor::connection::Pauses;
use crate::reactor::{Address, ClientFactory, ConnectionId, Connector, Factory, Protocol, Reactor, Reason};

/// Something between the socket and the protocol of one connection: it sees, changes, holds back and adds to what goes
/// either way, while the protocol sees the same [`Transport`](crate::Transport) as without it. (Twisted:
/// `ProtocolWrapper`; but a write from another connection takes the same way down.)
///
/// A connection has any number of them, one on the other. [`layered`] puts one beneath what a factory makes,
/// [`Transport::add_layer`](crate::Transport::add_layer) one on top in mid-connection. All have the rules of protocols: no call
/// comes from inside another callback, what they ask for happens when they have returned, and a panic ends this connection alone.
///
/// What is not overridden lets everything through:
///
/// ```
/// use twistor::{LayerContext, Layer, Protocol, Reactor, Transport, layered};
///
/// /// Sends each byte as its opposite, and turns what comes back.
/// struct Inverse;
///
/// impl Layer for Inverse {
///     fn data_received(&mut self, below: &mut LayerContext<'_>, data: &[u8]) {
///         let turned: Vec<u8> = data.iter().map(|byte| !byte).collect();
///         below.pass_up(&turned);
///     }
///     fn data_written(&mut self, below: &mut LayerContext<'_>, data: &[u8]) {
///         let turned: Vec<u8> = data.iter().map(|byte| !byte).collect();
///         below.pass_down(&turned);
///     }
/// }
/// # struct Echo;
/// # impl Protocol for Echo {
/// #     fn data_received(&mut self, transport: &mut Transport<'_>, data: &[u8]) {
/// #         transport.write(data);
/// #     }
/// # }
///
/// let mut reactor = Reactor::new()?;
/// reactor.listen_tcp("127.0.0.1:0", layered(|| Echo, || Inverse))?;
/// # Ok::<(), twistor::Error>(())
/// ```
pub trait Layer: 'static {
    /// It is in its place, and the one beneath is ready. Nothing is called before. By default it is
    /// [`ready`](LayerContext::ready) at once.
    fn started(&mut self, below: &mut LayerContext<'_>) {
        below.ready();
    }

    /// Bytes came from beneath.
    fn data_received(&mut self, below: &mut LayerContext<'_>, data: &[u8]) {
        below.pass_up(data);
    }

    /// Bytes were written above.
    fn data_written(&mut self, below: &mut LayerContext<'_>, data: &[u8]) {
        below.pass_down(data);
    }

    /// Nothing more will come from beneath. Whoever holds bytes back delivers them, then the end.
    fn read_ended(&mut self, below: &mut LayerContext<'_>) {
        below.pass_eof_up();
    }

    /// Nothing more will be written above: the protocol closes the connection, or its half. Whoever holds bytes back sends
    /// them, then the end, at once or later; the close waits for it, within
    /// [`Settings::close_timeout`](crate::Settings::close_timeout).
    fn write_closing(&mut self, below: &mut LayerContext<'_>) {
        below.pass_eof_down();
    }

    /// The system took this many bytes of the connection, at least one, since the last call: as they left the lowest layer, and
    /// whichever layer sent them. Called only for layers that asked for it with [`watch_sent`](LayerContext::watch_sent).
    fn sent(&mut self, below: &mut LayerContext<'_>, bytes: usize) {
        let _ = (below, bytes);
    }

    /// The time of [`set_timer`](LayerContext::set_timer) has come.
    fn timer_expired(&mut self, below: &mut LayerContext<'_>) {
        let _ = below;
    }

    /// How many of the bytes written above it holds back: they count as unsent, for the water marks and the buffer's
    /// limit. Asked after each call.
    fn buffered(&self) -> usize {
        0
    }

    /// The connection is lost; the protocol, if there was one, knows already.
    fn connection_lost(&mut self, reactor: &mut Reactor, reason: &Reason) {
        let _ = (reactor, reason);
    }
}

impl Layer for Box<dyn Layer> {
    fn started(&mut self, below: &mut LayerContext<'_>) {
        (**self).started(below);
    }

    fn data_received(&mut self, below: &mut LayerContext<'_>, data: &[u8]) {
        (**self).data_received(below, data);
    }

    fn data_written(&mut self, below: &mut LayerContext<'_>, data: &[u8]) {
        (**self).data_written(below, data);
    }

    fn read_ended(&mut self, below: &mut LayerContext<'_>) {
        (**self).read_ended(below);
    }

    fn write_closing(&mut self, below: &mut LayerContext<'_>) {
        (**self).write_closing(below);
    }

    fn sent(&mut self, below: &mut LayerContext<'_>, bytes: usize) {
        (**self).sent(below, bytes);
    }

    fn timer_expired(&mut self, below: &mut LayerContext<'_>) {
        (**self).timer_expired(below);
    }

    fn buffered(&self) -> usize {
        (**self).buffered()
    }

    fn connection_lost(&mut self, reactor: &mut Reactor, reason: &Reason) {
        (**self).connection_lost(reactor, reason);
    }
}

/// What a layer may do: hand on, hold up, end. Nothing here calls back; what follows comes when the layer has returned.
pub struct LayerContext<'a> {
    pub(in crate::reactor) reactor: &'a mut Reactor,
    pub(in crate::reactor) token: Token,
    /// The layer's place; the lowest is 0.
    pub(in crate::reactor) index: usize,
}

impl LayerContext<'_> {
    /// The connection's name.
    pub fn id(&self) -> ConnectionId {
        ConnectionId(self.token)
    }

    /// The time, as [`Reactor::now`].
    pub fn now(&self) -> Instant {
        self.reactor.now()
    }

    /// The reactor.
    pub fn reactor(&mut self) -> &mut Reactor {
        self.reactor
    }

    /// The other side's address, as the layers beneath have it.
    pub fn peer(&mut self) -> Address {
        self.transport().peer().clone()
    }

    /// This side's address, as the layers beneath have it.
    pub fn host(&mut self) -> Address {
        self.transport().host()
    }

    /// Gives the connection other addresses: those that a proxy tells of. Before [`ready`](LayerContext::ready), so that protocols and
    /// factories never see others.
    pub fn set_addresses(&mut self, peer: Address, host: Address) {
        if let Some(connection) = self.reactor.registry.connection_mut(self.token) {
            connection.peer = peer;
            connection.rare().host = Some(host);
        }
    }

    /// Leaves something with the connection, for its protocol and its factory: what a header said, or a handshake came to. One
    /// of each type: a later one takes the place of an earlier. It stays as long as the connection has its name. See
    /// [`Transport::extension`](crate::Transport::extension).
    pub fn insert_extension<T: 'static>(&mut self, value: T) {
        self.reactor.attach(self.token, value);
    }

    /// The layer above can begin, or, above the last, the protocol: it is built then, and its connection made. Once, in
    /// [`started`](Layer::started) or any time later.
    pub fn ready(&mut self) {
        if let Some(place) = self.reactor.place_mut(self.token, self.index) {
            place.ready = true;
        }
    }

    /// Hands bytes on to the layer above, or to the protocol.
    pub fn pass_up(&mut self, data: &[u8]) {
        self.reactor.deliver_above(self.token, self.index, data);
    }

    /// Hands the end of the input on. Bytes delivered after it are dropped.
    pub fn pass_eof_up(&mut self) {
        self.reactor.deliver_end_above(self.token, self.index);
    }

    /// Hands bytes on to the layer beneath, or to the system.
    pub fn pass_down(&mut self, data: &[u8]) {
        self.reactor.send_beneath(self.token, self.index, data);
    }

    /// Everything was sent: the close that is under way can go on. Bytes sent after it are dropped. Before
    /// [`write_closing`](Layer::write_closing) was called it does nothing.
    pub fn pass_eof_down(&mut self) {
        self.reactor.send_end_beneath(self.token, self.index);
    }

    /// From now on [`sent`](Layer::sent) is called when the system has taken bytes of this connection.
    pub fn watch_sent(&mut self) {
        if let Some(place) = self.reactor.place_mut(self.token, self.index) {
            place.watches_sent = true;
        }
    }

    /// Whether the connection is closing or gone, as [`Transport::is_closing`](crate::Transport::is_closing).
    pub fn is_closing(&self) -> bool {
        let connection = self.reactor.registry.connection(self.token);
        connection.is_none_or(|connection| connection.state.is_closing())
    }

    /// Whether a close now would wait: bytes that were written have not been sent, or a registered producer has not come to
    /// its end.
    pub fn is_sending(&self) -> bool {
        let connection = self.reactor.registry.connection(self.token);
        let written = self.reactor.send.connection == self.token && !self.reactor.send.batch.is_empty();
        written || connection.is_some_and(|connection| connection.unsent() > 0 || connection.has_producer())
    }

    /// Offers bytes that wait to the system once more when this call has returned, although it has not said that it takes any:
    /// Linux says so when a third of its buffer is free, which a slow peer may take minutes for. What it takes is told by
    /// [`sent`](Layer::sent).
    pub fn retry_send(&mut self) {
        if let Some(connection) = self.reactor.registry.connection_mut(self.token) {
            connection.readiness.insert(Readiness::WRITABLE);
            self.reactor.schedule_flush(self.token);
        }
    }

    /// [`woken`](Layer::timer_expired) is called after `delay`. There is one such time for each layer: the last one asked for. Putting it off
    /// is cheap.
    pub fn set_timer(&mut self, delay: Duration) {
        let at = self.reactor.now() + delay;
        self.reactor.wake_layer_at(self.token, self.index, at);
    }

    /// `woken` is not called any more.
    pub fn cancel_timer(&mut self) {
        self.reactor.cancel_wake(self.token, self.index);
    }

    /// Leaves what comes with the system, until this layer and whoever else has paused it resume.
    pub fn pause_reading(&mut self) {
        self.reactor.layer_pauses(self.token, self.index, true);
    }

    /// Reads again.
    pub fn resume_reading(&mut self) {
        self.reactor.layer_pauses(self.token, self.index, false);
    }

    /// Whether the protocol has paused reading.
    pub fn reading_paused(&self) -> bool {
        let connection = self.reactor.registry.connection(self.token);
        connection.is_some_and(|connection| connection.pauses.has(Pauses::PROTOCOL))
    }

    /// Closes the connection as [`Transport::lose_connection`](crate::Transport::lose_connection): what was written is sent first. With
    /// an error, it is lost with [`Reason::Layer`]; without one, with [`Reason::Done`].
    pub fn close(&mut self, error: Option<LayerError>) {
        self.reactor.close_from_layer(self.token, error);
    }

    /// Ends the connection as soon as what was delivered has been told, with [`Reason::Layer`]. Where something that was
    /// written is thrown away with it, the peer sees a reset.
    pub fn end(&mut self, error: LayerError) {
        self.reactor.end_from_layer(self.token, error);
    }

    /// Throws away what was not sent and resets the connection, with [`Reason::Aborted`].
    pub fn abort(&mut self) {
        self.reactor.abort_connection(self.token);
    }

    fn transport(&mut self) -> crate::reactor::Transport<'_> {
        crate::reactor::Transport { reactor: self.reactor, token: self.token }
    }
}

/// Why a layer ended its connection: which one, and its own error.
///
/// ```
/// use twistor::LayerError;
///
/// let error = LayerError::new("password", std::fmt::Error);
/// assert_eq!(error.layer(), "password");
/// assert!(error.is::<std::fmt::Error>());
/// ```
#[derive(Clone, Debug)]
pub struct LayerError {
    layer: &'static str,
    error: Arc<dyn Error + Send + Sync>,
}

impl LayerError {
    /// The error of the layer of this name.
    pub fn new(layer: &'static str, error: impl Error + Send + Sync + 'static) -> LayerError {
        LayerError { layer, error: Arc::new(error) }
    }

    /// The layer's name, as `"proxy protocol"`.
    pub fn layer(&self) -> &'static str {
        self.layer
    }

    /// Its error, if it is of this type.
    pub fn error<E: Error + 'static>(&self) -> Option<&E> {
        self.error.downcast_ref()
    }

    /// Whether its error is of this type.
    pub fn is<E: Error + 'static>(&self) -> bool {
        self.error.is::<E>()
    }
}

/// Of the same layer, and saying the same.
impl PartialEq for LayerError {
    fn eq(&self, other: &LayerError) -> bool {
        self.layer == other.layer && self.error.to_string() == other.error.to_string()
    }
}

impl Eq for LayerError {}

impl fmt::Display for LayerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.layer, Escaped(&self.error))
    }
}

impl Error for LayerError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        // Its text is in ours.
        self.error.source()
    }
}

/// Puts a layer beneath everything that `factory` makes, the layers of its own included: of `layered(layered(f, upper), lower)`
/// the `lower` one is at the socket. For listeners and connectors alike. (Twisted: `WrappingFactory`.)
///
/// The protocol is built when the layers are ready, and so knows the addresses that they gave. A connection that is not as
/// far when its listener stops is closed.
pub fn layered<F, M, L>(factory: F, make: M) -> Layered<F, M>
where
    F: Factory,
    M: FnMut() -> L + 'static,
    L: Layer,
{
    Layered { factory, make }
}

/// See [`layered`].
pub struct Layered<F, M> {
    factory: F,
    make: M,
}

impl<F, M, L> Factory for Layered<F, M>
where
    F: Factory,
    M: FnMut() -> L + 'static,
    L: Layer,
{
    fn build_protocol(&mut self, reactor: &mut Reactor, peer: &Address) -> Option<Box<dyn Protocol>> {
        self.factory.build_protocol(reactor, peer)
    }

    fn layers(&mut self, reactor: &mut Reactor, peer: &Address) -> Vec<Box<dyn Layer>> {
        let mut layers = self.factory.layers(reactor, peer);
        layers.insert(0, Box::new((self.make)()));
        layers
    }

    fn start_factory(&mut self, reactor: &mut Reactor) {
        self.factory.start_factory(reactor);
    }

    fn stop_factory(&mut self, reactor: &mut Reactor) {
        self.factory.stop_factory(reactor);
    }
}

impl<F, M, L> ClientFactory for Layered<F, M>
where
    F: ClientFactory,
    M: FnMut() -> L + 'static,
    L: Layer,
{
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
