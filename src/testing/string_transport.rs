//! One protocol, connected to a peer that the test controls.

use std::cell::RefMut;
use std::net::SocketAddr;
use std::ops::{Deref, DerefMut};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::rc::Rc;
use std::time::Duration;

use super::peer::{Peer, PeerEnd};
use super::stage::{SharedStage, TESTED_HOST};
use super::watched::{Record, Watched};
use crate::sim::Host;
use crate::{ConnectionId, Instant, ProducerKind, Protocol, Reactor, Reason, Settings, Transport};

/// A connection for testing one protocol. (Twisted: `StringTransport`, and
/// `StringTransportWithDisconnection`, which this always is.)
///
/// The protocol has an ordinary connection of an ordinary reactor, on a network without latency.
/// The other side is a [`Peer`], to which this type dereferences: it has the written bytes, feeds
/// data, finishes and resets. Time passes only in [`advance`](StringTransport::advance).
///
/// ```
/// use twistor::testing::StringTransport;
/// use twistor::{Protocol, Reason, Transport};
///
/// struct Shout;
///
/// impl Protocol for Shout {
///     fn data_received(&mut self, transport: &mut Transport<'_>, data: &[u8]) {
///         transport.write(&data.to_ascii_uppercase());
///     }
/// }
///
/// let mut transport = StringTransport::new(Shout);
/// transport.feed(b"hello");
/// assert_eq!(transport.value(), b"HELLO");
/// transport.finish();
/// assert_eq!(transport.lost(), Some(Reason::Done));
/// ```
///
/// A panic in a callback, such as a failed assertion, fails the test: the call that caused it
/// panics with its message.
#[doc(alias("StringTransportWithDisconnection", "proto_helpers"))]
pub struct StringTransport<P> {
    peer: Peer,
    stage: SharedStage,
    host: Host,
    connection: ConnectionId,
    record: Rc<Record<P>>,
}

/// The role, addresses and settings of a protocol under test. (Twisted: the arguments of
/// `StringTransport`.)
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConnectionSetup {
    /// The role of the protocol. Default: the server.
    pub role: Role,
    /// The protocol's local address. Default: 192.0.2.1:80, or 192.0.2.1:50000 for a client.
    pub host: Option<SocketAddr>,
    /// The peer's address. Default: 198.51.100.1:50000, or 198.51.100.1:80 for a client.
    pub peer: Option<SocketAddr>,
    /// The settings of its reactor. Default: `Settings::default()`.
    pub settings: Settings,
}

/// The role of a protocol in a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// The accepting side.
    Server,
    /// The connecting side.
    Client,
}

impl Default for ConnectionSetup {
    fn default() -> ConnectionSetup {
        ConnectionSetup { role: Role::Server, host: None, peer: None, settings: Settings::default() }
    }
}

impl ConnectionSetup {
    /// Returns the setup of a client's protocol.
    pub fn client() -> ConnectionSetup {
        ConnectionSetup { role: Role::Client, ..ConnectionSetup::default() }
    }

    /// Creates a connection with this setup.
    ///
    /// ```
    /// use twistor::testing::{AccumulatingProtocol, ConnectionSetup};
    ///
    /// let mut transport = ConnectionSetup::client().connect(AccumulatingProtocol::default());
    /// transport.feed(b"hello");
    /// assert_eq!(transport.with(|protocol, _| protocol.data.clone()), b"hello");
    /// ```
    ///
    /// # Panics
    /// If the two addresses are of different families, or cannot be bound.
    #[track_caller]
    pub fn connect<P: Protocol>(self, protocol: P) -> StringTransport<P> {
        StringTransport::on(&SharedStage::new(), TESTED_HOST, self, protocol)
    }

    fn addresses(&self) -> (SocketAddr, SocketAddr) {
        let (host, peer) = match self.role {
            Role::Server => (SERVER_PORT, CLIENT_PORT),
            Role::Client => (CLIENT_PORT, SERVER_PORT),
        };
        let host = self.host.unwrap_or_else(|| (HOST, host).into());
        (host, self.peer.unwrap_or_else(|| (PEER, peer).into()))
    }
}

impl<P: Protocol> StringTransport<P> {
    /// Creates a connection that the peer has started, for a server's protocol. For a client's
    /// protocol, and for other addresses and settings, see [`ConnectionSetup::connect`].
    #[track_caller]
    pub fn new(protocol: P) -> StringTransport<P> {
        ConnectionSetup::default().connect(protocol)
    }

    #[track_caller]
    pub(super) fn on(
        stage: &SharedStage,
        name: &str,
        setup: ConnectionSetup,
        protocol: P,
    ) -> StringTransport<P> {
        let addresses = setup.addresses();
        let host = stage.borrow().host(name, setup.settings);
        let (watched, record) = Watched::new(protocol);
        let mut peer = match setup.role {
            Role::Server => Peer::that_connects(stage, host, addresses, watched),
            Role::Client => Peer::that_accepts(stage, host, addresses, watched),
        };
        peer.close_after(Rc::clone(&record.gone));
        peer.sync();
        let Some(connection) = record.connection.get() else {
            panic!("no connection was made between {} and {}", addresses.0, addresses.1);
        };
        StringTransport { peer, stage: stage.clone(), host, connection, record }
    }

    /// Calls a closure with the protocol and its transport, even after the connection is lost. All
    /// consequences have happened when it returns.
    #[track_caller]
    pub fn with<R>(&mut self, call: impl FnOnce(&mut P, &mut Transport<'_>) -> R) -> R {
        self.peer.sync();
        let kept = self.record.protocol.borrow_mut().take();
        let connection = self.connection;
        let result = match kept {
            Some(mut protocol) => {
                let result = catch_unwind(AssertUnwindSafe(|| {
                    self.stage.borrow().with_any_reactor(self.host, |reactor| {
                        call(&mut protocol, &mut Transport { reactor, token: connection.0 })
                    })
                }));
                *self.record.protocol.borrow_mut() = Some(protocol);
                // The panic goes to the caller; the protocol was put back.
                Some(result.unwrap_or_else(|panic| resume_unwind(panic)))
            }
            None => self.stage.reactor(self.host).with_protocol(connection, call),
        };
        self.peer.sync();
        // Outside of its callbacks, the protocol is either in its connection or kept in `record`.
        result.unwrap_or_else(|| unreachable!())
    }

    /// Advances the time. Timers run, each at its own time.
    #[track_caller]
    pub fn advance(&mut self, time: Duration) {
        self.peer.sync();
        self.stage.advance(time);
        self.peer.sync();
    }

    /// Returns the virtual time.
    pub fn now(&self) -> Instant {
        self.stage.now()
    }

    /// Returns the protocol's reactor, for timers, signals and other connections. Requests to it
    /// take effect with the next call of another method here.
    ///
    /// # Panics
    /// If it has stopped.
    #[track_caller]
    pub fn reactor(&mut self) -> RefMut<'_, Reactor> {
        self.peer.sync();
        self.stage.reactor(self.host)
    }

    /// Makes panics of callbacks part of the test: they end the connection with
    /// [`Reason::Panicked`], as outside of tests. (Twisted: `flushLoggedErrors`.)
    pub fn allow_panics(&mut self) {
        self.stage.borrow().allow_panics();
    }

    // -- state of the transport --

    /// Returns the reason of the loss; `None` while the connection lasts. (Twisted: the argument of
    /// `connectionLost`.)
    #[track_caller]
    pub fn lost(&mut self) -> Option<Reason> {
        self.peer.sync();
        self.record.lost.borrow().clone()
    }

    /// Returns whether the connection is closing or lost. (Twisted: `disconnecting`.)
    #[track_caller]
    pub fn disconnecting(&mut self) -> bool {
        self.query(|transport| transport.is_closing()).unwrap_or(true)
    }

    /// Returns whether the protocol's side has reset the connection, by `abort_connection` or by a
    /// limit. (Twisted: `disconnected`, `abortConnection` called.)
    #[track_caller]
    pub fn aborted(&mut self) -> bool {
        self.peer.end() == Some(PeerEnd::Reset)
    }

    /// Returns whether the protocol has closed its write side; the connection may still be open.
    /// (Twisted: `loseWriteConnection` called.)
    #[track_caller]
    pub fn write_closed(&mut self) -> bool {
        self.peer.end().is_some()
    }

    /// Returns whether the protocol has paused reading. (Twisted: `producerState == 'paused'`.)
    #[track_caller]
    pub fn reading_paused(&mut self) -> bool {
        self.query(|transport| transport.reading_paused()).unwrap_or(false)
    }

    /// Returns whether `pause_writing` was called, and `resume_writing` not yet.
    #[track_caller]
    pub fn writing_paused(&mut self) -> bool {
        self.query(|transport| transport.writing_paused()).unwrap_or(false)
    }

    /// Returns the kind of the registered producer. (Twisted: `producer`, `streaming`.)
    #[track_caller]
    pub fn producer(&mut self) -> Option<ProducerKind> {
        self.query(|transport| transport.producer()).flatten()
    }

    /// Returns the number of written bytes that are not sent, because the peer [does not
    /// read](Peer::stop_reading).
    #[track_caller]
    pub fn write_buffer_size(&mut self) -> usize {
        self.query(|transport| transport.write_buffer_size()).unwrap_or(0)
    }

    #[track_caller]
    fn query<R>(&mut self, read: impl FnOnce(&Transport<'_>) -> R) -> Option<R> {
        self.peer.sync();
        let mut stage = self.stage.borrow();
        if stage.has_stopped(self.host) || self.record.gone.get() {
            return None;
        }
        stage.reactor(self.host).transport(self.connection).map(|transport| read(&transport))
    }
}

impl<P> Deref for StringTransport<P> {
    type Target = Peer;

    fn deref(&self) -> &Peer {
        &self.peer
    }
}

impl<P> DerefMut for StringTransport<P> {
    fn deref_mut(&mut self) -> &mut Peer {
        &mut self.peer
    }
}

/// Documentation addresses (RFC 5737), and their ports.
const HOST: [u8; 4] = [192, 0, 2, 1];
const PEER: [u8; 4] = [198, 51, 100, 1];
const SERVER_PORT: u16 = 80;
const CLIENT_PORT: u16 = 50_000;
