//! One protocol, and the other side of its connection in the test's hands.

use std::cell::RefMut;
use std::net::SocketAddr;
use std::ops::{Deref, DerefMut};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::rc::Rc;
use std::time::Duration;

use super::peer::{Peer, PeerEnd};
use super::stage::{HERE, SharedStage};
use super::watched::{Seen, Watched};
use crate::sim::Host;
use crate::{ConnectionId, Instant, ProducerKind, Protocol, Reactor, Reason, Settings, Transport};

/// A connection for the test of one protocol. (Twisted: `StringTransport`, and `StringTransportWithDisconnection`, which
/// this always is.)
///
/// The protocol's side is an ordinary connection of an ordinary reactor, on a network that takes no time. The other
/// side is a [`Peer`], which this is (by [`Deref`]): it has what was written, feeds, finishes, resets. Time stands still but
/// for [`advance`](StringTransport::advance).
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
/// A panic in a callback, a failed assertion for one, is the test's: whatever call led to it panics with its text.
pub struct StringTransport<P> {
    peer: Peer,
    stage: SharedStage,
    host: Host,
    connection: ConnectionId,
    seen: Rc<Seen<P>>,
}

/// In what situation a protocol finds itself. (Twisted: the arguments of `StringTransport`.)
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConnectionSetup {
    /// Who asked for the connection. Default: the peer.
    pub side: Side,
    /// The address on the protocol's side. Default: 192.0.2.1:80, or 192.0.2.1:50000 for a client's.
    pub host: Option<SocketAddr>,
    /// The address on the other side. Default: 198.51.100.1:50000, or 198.51.100.1:80 for a client's.
    pub peer: Option<SocketAddr>,
    /// The settings of its reactor. Default: those of every reactor.
    pub settings: Settings,
}

/// A side of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The side that accepts.
    Server,
    /// The side that connects.
    Client,
}

impl Default for ConnectionSetup {
    fn default() -> ConnectionSetup {
        ConnectionSetup { side: Side::Server, host: None, peer: None, settings: Settings::default() }
    }
}

impl ConnectionSetup {
    /// That of a client's protocol.
    pub fn client() -> ConnectionSetup {
        ConnectionSetup { side: Side::Client, ..ConnectionSetup::default() }
    }

    fn addresses(&self) -> (SocketAddr, SocketAddr) {
        let (host, peer) = match self.side {
            Side::Server => (SERVICE, CUSTOMER),
            Side::Client => (CUSTOMER, SERVICE),
        };
        let host = self.host.unwrap_or_else(|| (HOST, host).into());
        (host, self.peer.unwrap_or_else(|| (PEER, peer).into()))
    }
}

impl<P: Protocol> StringTransport<P> {
    /// A connection that the peer asked for, as a server's protocol has it.
    #[track_caller]
    pub fn new(protocol: P) -> StringTransport<P> {
        StringTransport::with_situation(ConnectionSetup::default(), protocol)
    }

    /// A connection that the protocol's side asked for, as a client's protocol has it.
    #[track_caller]
    pub fn client(protocol: P) -> StringTransport<P> {
        StringTransport::with_situation(ConnectionSetup::client(), protocol)
    }

    /// A connection with addresses and settings of the test's choice.
    ///
    /// # Panics
    /// When the two addresses are of different families, or cannot be bound.
    #[track_caller]
    pub fn with_situation(situation: ConnectionSetup, protocol: P) -> StringTransport<P> {
        StringTransport::on(&SharedStage::new(), HERE, situation, protocol)
    }

    #[track_caller]
    pub(super) fn on(
        stage: &SharedStage,
        name: &str,
        situation: ConnectionSetup,
        protocol: P,
    ) -> StringTransport<P> {
        let addresses = situation.addresses();
        let host = stage.borrow().host(name, situation.settings);
        let (watched, seen) = Watched::new(protocol);
        let mut peer = match situation.side {
            Side::Server => Peer::that_connects(stage, host, addresses, watched),
            Side::Client => Peer::that_accepts(stage, host, addresses, watched),
        };
        peer.leave_with(Rc::clone(&seen.gone));
        peer.sync();
        let Some(connection) = seen.connection.get() else {
            panic!("no connection was made between {} and {}", addresses.0, addresses.1);
        };
        StringTransport { peer, stage: stage.clone(), host, connection, seen }
    }

    /// The protocol, and the transport that it knows; also when the connection is lost. Everything that follows
    /// has happened when this returns.
    #[track_caller]
    pub fn with<R>(&mut self, call: impl FnOnce(&mut P, &mut Transport<'_>) -> R) -> R {
        self.peer.sync();
        let kept = self.seen.protocol.borrow_mut().take();
        let connection = self.connection;
        let result = match kept {
            Some(mut protocol) => {
                let result = catch_unwind(AssertUnwindSafe(|| {
                    self.stage.borrow().with_any_reactor(self.host, |reactor| {
                        call(&mut protocol, &mut Transport { reactor, token: connection.0 })
                    })
                }));
                *self.seen.protocol.borrow_mut() = Some(protocol);
                // The panic is the caller's; the protocol stays.
                Some(result.unwrap_or_else(|panic| resume_unwind(panic)))
            }
            None => self.stage.reactor(self.host).with_protocol(connection, call),
        };
        self.peer.sync();
        // Outside of its callbacks, the protocol is either in its connection or was kept.
        result.unwrap_or_else(|| unreachable!())
    }

    /// Lets time pass: timers run, each at its own time.
    #[track_caller]
    pub fn advance(&mut self, time: Duration) {
        self.peer.sync();
        self.stage.advance(time);
        self.peer.sync();
    }

    /// The time.
    pub fn now(&self) -> Instant {
        self.stage.now()
    }

    /// The protocol's reactor, for timers, signals, other connections; what is asked of it happens with the next call of
    /// this transport's.
    ///
    /// # Panics
    /// When it has stopped.
    #[track_caller]
    pub fn reactor(&mut self) -> RefMut<'_, Reactor> {
        self.peer.sync();
        self.stage.reactor(self.host)
    }

    /// Panics of callbacks are a part of the test, from now on: they end the connection with
    /// [`Reason::Panicked`], as they do outside of tests. (Twisted: `flushLoggedErrors`.)
    pub fn allow_panics(&mut self) {
        self.stage.borrow().allow_panics();
    }

    // -- what the protocol asked of its transport --

    /// Why the connection was lost; `None` while it is not. (Twisted: what `connectionLost` was called with.)
    #[track_caller]
    pub fn lost(&mut self) -> Option<Reason> {
        self.peer.sync();
        self.seen.lost.borrow().clone()
    }

    /// Whether the connection is closing or lost. (Twisted: `disconnecting`.)
    #[track_caller]
    pub fn disconnecting(&mut self) -> bool {
        self.ask(|transport| transport.is_closing()).unwrap_or(true)
    }

    /// Whether the connection was reset from the protocol's side, by `abort_connection` or by a limit. (Twisted:
    /// `disconnected`, `abortConnection` called.)
    #[track_caller]
    pub fn aborted(&mut self) -> bool {
        self.peer.end() == Some(PeerEnd::Reset)
    }

    /// Whether the protocol has ended its direction, while the connection may go on. (Twisted: `loseWriteConnection`
    /// called.)
    #[track_caller]
    pub fn write_closed(&mut self) -> bool {
        self.peer.end().is_some()
    }

    /// Whether the protocol has paused reading. (Twisted: `producerState == 'paused'`.)
    #[track_caller]
    pub fn reading_paused(&mut self) -> bool {
        self.ask(|transport| transport.reading_paused()).unwrap_or(false)
    }

    /// Whether the protocol was told to pause writing, and not yet to resume.
    #[track_caller]
    pub fn writing_paused(&mut self) -> bool {
        self.ask(|transport| transport.writing_paused()).unwrap_or(false)
    }

    /// The kind of the registered producer, if there is one. (Twisted: `producer`, `streaming`.)
    #[track_caller]
    pub fn producer(&mut self) -> Option<ProducerKind> {
        self.ask(|transport| transport.producer()).flatten()
    }

    /// Bytes written that could not be sent, because the peer [does not read](Peer::stop_reading).
    #[track_caller]
    pub fn write_buffer_size(&mut self) -> usize {
        self.ask(|transport| transport.write_buffer_size()).unwrap_or(0)
    }

    #[track_caller]
    fn ask<R>(&mut self, what: impl FnOnce(&Transport<'_>) -> R) -> Option<R> {
        self.peer.sync();
        let mut stage = self.stage.borrow();
        if stage.has_stopped(self.host) || self.seen.gone.get() {
            return None;
        }
        stage.reactor(self.host).transport(self.connection).map(|transport| what(&transport))
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

/// Addresses for documentation (RFC 5737), and their ports.
const HOST: [u8; 4] = [192, 0, 2, 1];
const PEER: [u8; 4] = [198, 51, 100, 1];
const SERVICE: u16 = 80;
const CUSTOMER: u16 = 50_000;
