//! Layers: user code between a socket and its protocol.

mod attach;
pub(in crate::reactor) mod relay;
mod requests;
pub(in crate::reactor) mod run;
pub(in crate::reactor) mod stack;
use crate::escape::Escaped;
use std::error::Error;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::net::{Instant, Readiness, Token};
use crate::reactor::connection::Pauses;
use crate::reactor::protocol::build_context::guards;
use crate::reactor::{
    Address, BuildContext, ClientFactory, ConnectionGuards, ConnectionId, Connector, Factory, Protocol,
    Reactor, Reason,
};

/// Code between the socket and the protocol of one connection. A layer sees both directions, and
/// can change, hold back and add data. The protocol sees the same [`Transport`](crate::Transport)
/// as without layers. (Twisted: `ProtocolWrapper`; here, writes from other connections pass through
/// the layers too.)
///
/// A connection has any number of layers in a stack. [`layered`] puts a layer below the protocols
/// of a factory. [`Transport::add_layer`](crate::Transport::add_layer) adds one on top in
/// mid-connection.
///
/// The rules of protocols apply to layers:
/// - A method is never called from inside another callback.
/// - What a layer requests happens after its method has returned.
/// - A panic ends only this connection.
///
/// By default, every method passes its data or event on:
///
/// ```
/// use twistor::{LayerContext, Layer, Protocol, Reactor, Transport, layered};
///
/// /// Sends each byte inverted, and inverts received bytes.
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
#[doc(alias("ProtocolWrapper", "TLSMemoryBIOProtocol", "ssl"))]
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a layer",
    label = "does not implement `Layer`",
    note = "implement `Layer` for it, and put it below protocols with `twistor::layered(factory, || layer)`"
)]
pub trait Layer: 'static {
    /// Called first, once the layer is in place and the layer below is ready. Default: calls
    /// [`ready`](LayerContext::ready).
    fn started(&mut self, below: &mut LayerContext<'_>) {
        below.ready();
    }

    /// Called with bytes from below.
    fn data_received(&mut self, below: &mut LayerContext<'_>, data: &[u8]) {
        below.pass_up(data);
    }

    /// Called with bytes written above.
    fn data_written(&mut self, below: &mut LayerContext<'_>, data: &[u8]) {
        below.pass_down(data);
    }

    /// Called at the end of the input from below. Deliver buffered bytes, then call
    /// [`pass_eof_up`](LayerContext::pass_eof_up).
    fn read_ended(&mut self, below: &mut LayerContext<'_>) {
        below.pass_eof_up();
    }

    /// Called when the protocol has finished writing (close or half-close). Send buffered bytes,
    /// then call [`pass_eof_down`](LayerContext::pass_eof_down), now or later. The connection
    /// closes once all layers have, or after
    /// [`Settings::close_timeout`](crate::Settings::close_timeout).
    fn write_closing(&mut self, below: &mut LayerContext<'_>) {
        below.pass_eof_down();
    }

    /// Called after the kernel has accepted output of the connection. `bytes` is the number
    /// accepted since the last call, at least 1, counted below the lowest layer and for all layers
    /// together. Only called after [`watch_sent`](LayerContext::watch_sent).
    fn sent(&mut self, below: &mut LayerContext<'_>, bytes: usize) {
        let _ = (below, bytes);
    }

    /// Called when the timer of [`set_timer`](LayerContext::set_timer) expires.
    fn timer_expired(&mut self, below: &mut LayerContext<'_>) {
        let _ = below;
    }

    /// Number of bytes from above that the layer holds back. They count as unsent for the water
    /// marks and the write buffer limit. Called after each other method.
    fn buffered(&self) -> usize {
        0
    }

    /// Called when the connection is lost, after the protocol's `connection_lost` if there is a
    /// protocol.
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

/// A layer's handle on its connection. No method calls back into user code: callbacks follow after
/// the layer's method has returned.
pub struct LayerContext<'a> {
    pub(in crate::reactor) reactor: &'a mut Reactor,
    pub(in crate::reactor) token: Token,
    /// The layer's position. 0 is the lowest.
    pub(in crate::reactor) index: usize,
    /// Bytes were passed down in this call.
    passed_down: bool,
    /// Takes the guards of a connection that is gone.
    unattached: ConnectionGuards,
}

impl<'a> LayerContext<'a> {
    pub(in crate::reactor) fn new(reactor: &'a mut Reactor, token: Token, index: usize) -> LayerContext<'a> {
        LayerContext { reactor, token, index, passed_down: false, unattached: ConnectionGuards::default() }
    }

    /// The connection's ID.
    pub fn id(&self) -> ConnectionId {
        ConnectionId(self.token)
    }

    /// The current time, as [`Reactor::now`].
    pub fn now(&self) -> Instant {
        self.reactor.now()
    }

    /// The reactor.
    pub fn reactor(&mut self) -> &mut Reactor {
        self.reactor
    }

    /// The peer's address, as set by the layers below.
    pub fn peer(&self) -> &Address {
        self.reactor.peer_of(self.token)
    }

    /// The local address, as set by the layers below.
    pub fn host(&self) -> Address {
        self.reactor.host_of(self.token)
    }

    /// Replaces the connection's addresses, for example by those of a PROXY header. Call it before
    /// [`ready`](LayerContext::ready), so that factories and protocols see only the new addresses.
    pub fn set_addresses(&mut self, peer: Address, host: Address) {
        if let Some(connection) = self.reactor.registry.connection_mut(self.token) {
            connection.peer = peer;
            connection.cold().host = Some(host);
        }
    }

    /// Attaches a value to the connection for its protocol and factory, such as a parsed header or
    /// the result of a handshake. There is one value per type; a new value replaces the old one. It
    /// is kept until the connection's slot is freed. See
    /// [`Transport::extension`](crate::Transport::extension).
    pub fn insert_extension<T: 'static>(&mut self, value: T) {
        self.reactor.attach(self.token, value);
    }

    /// The values that factories and layers hold until the connection is lost.
    pub fn guards(&mut self) -> &mut ConnectionGuards {
        guards(self.reactor, self.token, &mut self.unattached)
    }

    /// Starts the layer above. Above the highest layer, builds the protocol and calls its
    /// `connection_made`. To be called once, in [`started`](Layer::started) or later.
    pub fn ready(&mut self) {
        if let Some(place) = self.reactor.place_mut(self.token, self.index) {
            place.ready = true;
        }
    }

    /// Passes bytes to the layer above, or to the protocol.
    pub fn pass_up(&mut self, data: &[u8]) {
        if !self.reactor.send.relay.take_up(data) {
            self.reactor.deliver_above(self.token, self.index, data);
        }
    }

    /// Passes the end of the input up. Bytes passed up after it are dropped.
    pub fn pass_eof_up(&mut self) {
        self.reactor.deliver_eof_above(self.token, self.index);
    }

    /// Passes bytes to the layer below, or to the socket.
    pub fn pass_down(&mut self, data: &[u8]) {
        self.passed_down |= !data.is_empty();
        if !self.reactor.send.take_down(data) {
            self.reactor.send_below(self.token, self.index, data);
        }
    }

    /// Passes the end of the output down, so that the pending close can continue. Bytes passed down
    /// after it are dropped. Does nothing before [`write_closing`](Layer::write_closing) was
    /// called.
    pub fn pass_eof_down(&mut self) {
        self.reactor.send_eof_below(self.token, self.index);
    }

    /// Enables calls of [`sent`](Layer::sent).
    pub fn watch_sent(&mut self) {
        if let Some(place) = self.reactor.place_mut(self.token, self.index) {
            place.watches_sent = true;
        }
    }

    /// Whether the connection is closing or gone, as
    /// [`Transport::is_closing`](crate::Transport::is_closing).
    pub fn is_closing(&self) -> bool {
        let connection = self.reactor.registry.connection(self.token);
        connection.is_none_or(|connection| connection.state.is_closing())
    }

    /// Whether a close would have to wait: output is unsent, or a producer is registered.
    pub fn is_sending(&self) -> bool {
        let connection = self.reactor.registry.connection(self.token);
        let written = self.reactor.send.connection == self.token && !self.reactor.send.batch.is_empty();
        written || connection.is_some_and(|connection| connection.unsent() > 0 || connection.has_producer())
    }

    /// Retries sending after this call has returned, before WRITABLE is reported. Linux reports it
    /// when a third of the send buffer is free, which can take minutes with a slow peer.
    /// [`sent`](Layer::sent) reports accepted bytes.
    pub fn retry_send(&mut self) {
        if let Some(connection) = self.reactor.registry.connection_mut(self.token) {
            connection.readiness.insert(Readiness::WRITABLE);
            self.reactor.schedule_flush(self.token);
        }
    }

    /// Sets the layer's timer: [`timer_expired`](Layer::timer_expired) is called after `delay`.
    /// Each layer has one timer; a new call replaces the time. Postponing it is cheap.
    pub fn set_timer(&mut self, delay: Duration) {
        let at = self.reactor.now() + delay;
        self.reactor.set_layer_timer(self.token, self.index, at);
    }

    /// Cancels the layer's timer.
    pub fn cancel_timer(&mut self) {
        self.reactor.cancel_layer_timer(self.token, self.index);
    }

    /// Stops reading until this layer calls `resume_reading`. Other layers and the protocol can
    /// pause reading too. Data stays in the kernel.
    pub fn pause_reading(&mut self) {
        self.reactor.pause_from_layer(self.token, self.index, true);
    }

    /// Resumes reading, unless it is paused elsewhere.
    pub fn resume_reading(&mut self) {
        self.reactor.pause_from_layer(self.token, self.index, false);
    }

    /// Whether the protocol has paused reading.
    pub fn reading_paused(&self) -> bool {
        let connection = self.reactor.registry.connection(self.token);
        connection.is_some_and(|connection| connection.pauses.has(Pauses::PROTOCOL))
    }

    /// Sends all output, then closes the connection, as
    /// [`Transport::lose_connection`](crate::Transport::lose_connection), also before the layers
    /// are ready. [`write_closing`](Layer::write_closing) of the started layers follows. The reason
    /// of the loss is [`Reason::Layer`] with an error, and [`Reason::Done`] without.
    pub fn close(&mut self, error: Option<LayerError>) {
        self.reactor.close_from_layer(self.token, error);
    }

    /// Ends the connection with [`Reason::Layer`], once the data passed up before is delivered; a
    /// protocol that has paused reading gets it first, when it resumes. Nothing more is read.
    ///
    /// Last words of the layer, which are the bytes passed down in the call that ends the
    /// connection, such as an alert, are sent first. If nothing else is unsent above, the
    /// connection is then closed as [`close`](LayerContext::close) does. Otherwise what was written
    /// above is discarded, and the socket is reset, at once: the end of the input would tell the
    /// peer that it has got everything.
    pub fn end(&mut self, error: LayerError) {
        self.reactor.end_from_layer(self.token, self.index, error, self.passed_down);
    }

    /// Discards unsent output and resets the connection. The reason is [`Reason::Aborted`].
    pub fn abort(&mut self) {
        self.reactor.abort_connection(self.token);
    }
}

/// The error with which a layer ended its connection, and the layer's name.
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
    /// Creates an error of the named layer.
    pub fn new(layer: &'static str, error: impl Error + Send + Sync + 'static) -> LayerError {
        LayerError { layer, error: Arc::new(error) }
    }

    /// The layer's name, such as `"proxy protocol"`.
    pub fn layer(&self) -> &'static str {
        self.layer
    }

    /// The layer's own error, if it is an `E`.
    pub fn error<E: Error + 'static>(&self) -> Option<&E> {
        self.error.downcast_ref()
    }

    /// Whether the layer's own error is an `E`.
    pub fn is<E: Error + 'static>(&self) -> bool {
        self.error.is::<E>()
    }
}

/// Equal if the layer and the error's text are equal.
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
        // The error's text is part of `Display`.
        self.error.source()
    }
}

/// Adds a layer to the connections of `factory`, below the factory's own layers: in
/// `layered(layered(f, upper), lower)`, `lower` is next to the socket. For listeners and
/// connectors. (Twisted: `WrappingFactory`.)
///
/// The protocol is built once all layers are ready, so it sees the addresses that they set. If the
/// listener stops before that, the connection is closed.
#[doc(alias = "WrappingFactory")]
pub fn layered<F, M, L>(factory: F, make: M) -> Layered<F, M>
where
    F: Factory,
    M: FnMut() -> L + 'static,
    L: Layer,
{
    Layered { factory, make }
}

/// The factory returned by [`layered`].
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
    fn build_protocol(&mut self, context: &mut BuildContext<'_>) -> Option<Box<dyn Protocol>> {
        self.factory.build_protocol(context)
    }

    fn layers(&mut self, context: &mut BuildContext<'_>) -> Vec<Box<dyn Layer>> {
        let mut layers = self.factory.layers(context);
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
