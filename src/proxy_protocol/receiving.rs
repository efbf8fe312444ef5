//! Receiving headers. The protocol is built after the header has arrived and sees the header's
//! addresses.

use std::time::Duration;

use crate::proxy_protocol::{Header, HeaderError, TrustedProxies};
use crate::{BuildContext, Factory, Layer, LayerContext, LayerError, Protocol, Reactor, Reason};

/// Options for receiving headers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProxyOptions {
    /// Peers that may send headers. Connections of other peers are closed.
    pub trusted: TrustedProxies,
    /// Time limit for the complete header, from the accept on. Default: 5 s.
    pub timeout: Duration,
}

impl ProxyOptions {
    /// Creates options that accept headers from these peers.
    pub fn from(trusted: TrustedProxies) -> ProxyOptions {
        ProxyOptions { trusted, timeout: Duration::from_secs(5) }
    }
}

/// Makes each connection of a listener expect a PROXY header, of version 1 or 2. (Twisted:
/// `HAProxyWrappingFactory`, where `connectionMade` still sees the proxy.)
///
/// The header's addresses are the peer and host from [`Factory::build_protocol`] and
/// `connection_made` on. With LOCAL and UNKNOWN, the connection keeps its own addresses. The
/// connection ends with a [`HeaderError`] if
///
/// - the header is invalid;
/// - the header is not complete within the time limit;
/// - the peer is not trusted.
///
/// The [`Header`], with its values, is [attached](crate::Transport::extension) to the connection:
///
/// ```
/// use twistor::proxy_protocol::Header;
/// use twistor::{Protocol, Transport};
///
/// struct Greeter;
///
/// impl Protocol for Greeter {
///     fn connection_made(&mut self, transport: &mut Transport<'_>) {
///         // PP2_TYPE_AUTHORITY: the host name that the client asked for.
///         let header = transport.extension::<Header>();
///         let host = header.and_then(|header| header.value(2)).unwrap_or_default().to_vec();
///         transport.write(&[b"hello from ", &host[..]].concat());
///     }
///     fn data_received(&mut self, _: &mut Transport<'_>, _: &[u8]) {}
/// }
/// ```
///
/// ```
/// use twistor::proxy_protocol::{ProxyOptions, TrustedProxies, behind_proxy};
/// # struct Echo;
/// # impl twistor::Protocol for Echo {
/// #     fn data_received(&mut self, _: &mut twistor::Transport<'_>, _: &[u8]) {}
/// # }
///
/// let trusted: TrustedProxies = "127.0.0.1, 10.0.0.0/8".parse()?;
/// let echo = behind_proxy(|| Echo, ProxyOptions::from(trusted));
/// twistor::Reactor::new().unwrap().listen_tcp("127.0.0.1:0", echo).unwrap();
/// # Ok::<(), twistor::proxy_protocol::ParseTrustedError>(())
/// ```
pub fn behind_proxy<F: Factory>(factory: F, options: ProxyOptions) -> ProxyFactory<F> {
    ProxyFactory { factory, options }
}

/// Factory returned by [`behind_proxy`].
pub struct ProxyFactory<F> {
    factory: F,
    options: ProxyOptions,
}

impl<F: Factory> Factory for ProxyFactory<F> {
    fn build_protocol(&mut self, context: &mut BuildContext<'_>) -> Option<Box<dyn Protocol>> {
        self.factory.build_protocol(context)
    }

    fn layers(&mut self, context: &mut BuildContext<'_>) -> Vec<Box<dyn Layer>> {
        context.set_addresses_pending();
        let mut layers = self.factory.layers(context);
        layers.insert(0, Box::new(ReceiveProxyHeader::new(self.options.clone())));
        layers
    }

    fn start_factory(&mut self, reactor: &mut Reactor) {
        self.factory.start_factory(reactor);
    }

    fn stop_factory(&mut self, reactor: &mut Reactor) {
        self.factory.stop_factory(reactor);
    }
}

/// Layer that reads the header of one connection.
pub struct ReceiveProxyHeader {
    options: ProxyOptions,
    state: State,
}

enum State {
    /// The part of the header that was received so far.
    Waiting(Vec<u8>),
    Done,
}

impl ReceiveProxyHeader {
    /// Creates a layer that expects a header.
    pub fn new(options: ProxyOptions) -> ReceiveProxyHeader {
        ReceiveProxyHeader { options, state: State::Waiting(Vec::new()) }
    }

    fn refuse(&mut self, below: &mut LayerContext<'_>, error: HeaderError) {
        self.state = State::Done;
        let (id, peer) = (below.id(), below.peer());
        log::info!(connection:% = id, peer:% = peer; "PROXY header from {peer}: {error}");
        below.end(LayerError::new(NAME, error));
    }
}

impl Layer for ReceiveProxyHeader {
    fn started(&mut self, below: &mut LayerContext<'_>) {
        let peer = below.peer().clone();
        match self.options.trusted.has(&peer) {
            true => below.set_timer(self.options.timeout),
            false => self.refuse(below, HeaderError::NotTrusted(peer)),
        }
    }

    fn data_received(&mut self, below: &mut LayerContext<'_>, data: &[u8]) {
        let State::Waiting(received) = &mut self.state else { return below.pass_up(data) };
        received.extend_from_slice(data);
        match Header::parse(received) {
            Ok(None) => {}
            Ok(Some((header, length))) => {
                if let Some((client, server)) = header.addresses.clone() {
                    below.set_addresses(client, server);
                }
                below.insert_extension(header);
                below.cancel_timer();
                below.ready();
                below.pass_up(received.get(length..).unwrap_or_default());
                self.state = State::Done;
            }
            Err(error) => self.refuse(below, error),
        }
    }

    fn read_ended(&mut self, below: &mut LayerContext<'_>) {
        match &self.state {
            State::Done => below.pass_eof_up(),
            // A health check of the proxy: it connects and closes without sending anything.
            State::Waiting(received) if received.is_empty() => below.close(None),
            State::Waiting(_) => self.refuse(below, HeaderError::Ended),
        }
    }

    fn timer_expired(&mut self, below: &mut LayerContext<'_>) {
        self.refuse(below, HeaderError::TimedOut(self.options.timeout));
    }

    fn connection_lost(&mut self, _: &mut Reactor, _: &Reason) {
        self.state = State::Done;
    }
}

/// Name of the layer in its errors.
const NAME: &str = "PROXY header";
