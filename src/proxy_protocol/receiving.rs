//! Receiving headers: the protocol is built when the header is in, and knows the addresses that it tells of.

use std::time::Duration;

use crate::proxy_protocol::{Header, HeaderError, TrustedProxies};
use crate::{Address, Factory, Layer, LayerContext, LayerError, Protocol, Reactor, Reason};

/// From whom headers are taken, and how long that may last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProxyOptions {
    /// Who may send headers; connections of others end.
    pub trusted: TrustedProxies,
    /// How long the header may take, from the connection's begin. Default: 5 s.
    pub timeout: Duration,
}

impl ProxyOptions {
    /// Takes headers from these peers.
    pub fn from(trusted: TrustedProxies) -> ProxyOptions {
        ProxyOptions { trusted, timeout: Duration::from_secs(5) }
    }
}

/// For a listener behind a proxy: every connection begins with a PROXY header, of version 1 or 2. Peer and host are those of the
/// header from [`Factory::build_protocol`] and `connection_made` on; with LOCAL and UNKNOWN they are the connection's own. A wrong
/// header, none in time, or a peer that is not trusted ends that connection with a [`HeaderError`]. (Twisted:
/// `HAProxyWrappingFactory`, where `connectionMade` still sees the proxy.)
///
/// The [`Header`] itself, with its values, is [attached](crate::Transport::extension) to the connection:
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
pub fn behind_proxy<F: Factory>(factory: F, receiving: ProxyOptions) -> ProxyFactory<F> {
    ProxyFactory { factory, receiving }
}

/// See [`behind_proxy`].
pub struct ProxyFactory<F> {
    factory: F,
    receiving: ProxyOptions,
}

impl<F: Factory> Factory for ProxyFactory<F> {
    fn build_protocol(&mut self, reactor: &mut Reactor, peer: &Address) -> Option<Box<dyn Protocol>> {
        self.factory.build_protocol(reactor, peer)
    }

    fn layers(&mut self, reactor: &mut Reactor, peer: &Address) -> Vec<Box<dyn Layer>> {
        reactor.await_addresses();
        let mut layers = self.factory.layers(reactor, peer);
        layers.insert(0, Box::new(ReceiveProxyHeader::new(self.receiving.clone())));
        layers
    }

    fn start_factory(&mut self, reactor: &mut Reactor) {
        self.factory.start_factory(reactor);
    }

    fn stop_factory(&mut self, reactor: &mut Reactor) {
        self.factory.stop_factory(reactor);
    }
}

/// Takes the header from the begin of one connection.
pub struct ReceiveProxyHeader {
    receiving: ProxyOptions,
    state: State,
}

enum State {
    /// What came of the header.
    Waiting(Vec<u8>),
    Done,
}

impl ReceiveProxyHeader {
    /// Waits for a header.
    pub fn new(receiving: ProxyOptions) -> ReceiveProxyHeader {
        ReceiveProxyHeader { receiving, state: State::Waiting(Vec::new()) }
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
        let peer = below.peer();
        match self.receiving.trusted.has(&peer) {
            true => below.set_timer(self.receiving.timeout),
            false => self.refuse(below, HeaderError::NotTrusted(peer)),
        }
    }

    fn data_received(&mut self, below: &mut LayerContext<'_>, data: &[u8]) {
        let State::Waiting(begun) = &mut self.state else { return below.pass_up(data) };
        begun.extend_from_slice(data);
        match Header::parse(begun) {
            Ok(None) => {}
            Ok(Some((header, length))) => {
                if let Some((client, server)) = header.addresses.clone() {
                    below.set_addresses(client, server);
                }
                below.insert_extension(header);
                below.cancel_timer();
                below.ready();
                below.pass_up(begun.get(length..).unwrap_or_default());
                self.state = State::Done;
            }
            Err(error) => self.refuse(below, error),
        }
    }

    fn read_ended(&mut self, below: &mut LayerContext<'_>) {
        match &self.state {
            State::Done => below.pass_eof_up(),
            // A proxy that looks whether somebody listens.
            State::Waiting(begun) if begun.is_empty() => below.close(None),
            State::Waiting(_) => self.refuse(below, HeaderError::Ended),
        }
    }

    fn timer_expired(&mut self, below: &mut LayerContext<'_>) {
        self.refuse(below, HeaderError::TimedOut(self.receiving.timeout));
    }

    fn connection_lost(&mut self, _: &mut Reactor, _: &Reason) {
        self.state = State::Done;
    }
}

/// The layer's name in its errors.
const NAME: &str = "PROXY header";
