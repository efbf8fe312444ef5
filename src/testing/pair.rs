//! Two protocols, joined by a wire that the test controls.

use std::time::Duration;

use super::peer::Peer;
use super::stage::SharedStage;
use super::string_transport::{ConnectionSetup, Role, StringTransport};
use super::wire::Wire;
use crate::{Instant, Protocol, Settings};

/// A server's and a client's protocol, joined step by step. (Twisted:
/// `iosim.connectedServerAndClient`, `IOPump`, `FakeTransport`.)
///
/// Each side has its own reactor, and is a [`StringTransport`] whose peer is the other side. Its
/// [`value`](Peer::value) is the bytes that it has written and that were not pumped yet. The test
/// can [take](Peer::take) those, [feed](Peer::feed) bytes that the other side never sent, or
/// [reset](Peer::reset) one side alone. Pumping takes no virtual time.
///
/// ```
/// use twistor::testing::{AccumulatingProtocol, Pair};
/// use twistor::{Protocol, Transport};
///
/// struct Echo;
///
/// impl Protocol for Echo {
///     fn data_received(&mut self, transport: &mut Transport<'_>, data: &[u8]) {
///         transport.write(data);
///     }
/// }
///
/// let mut pair = Pair::new(Echo, AccumulatingProtocol::default());
/// pair.client.with(|_, transport| transport.write(b"hello"));
/// assert_eq!(pair.pump(), 5);
/// assert_eq!(pair.server.value(), b"hello");
/// assert_eq!(pair.pump(), 5);
/// pair.client.with(|client, _| assert_eq!(client.data, b"hello"));
/// assert_eq!(pair.flush(), 0);
/// ```
#[doc(alias("iosim", "FakeTransport", "duplex"))]
pub struct Pair<S, C> {
    /// The server's protocol, and the peer end of its connection.
    pub server: StringTransport<S>,
    /// The client's protocol, and the peer end of its connection.
    pub client: StringTransport<C>,
    stage: SharedStage,
    wire: Wire,
}

impl<S: Protocol, C: Protocol> Pair<S, C> {
    /// Creates two connected protocols; the client's `connection_made` runs first. No bytes have
    /// been carried yet.
    #[track_caller]
    pub fn new(server: S, client: C) -> Pair<S, C> {
        Pair::with_settings(Settings::default(), server, client)
    }

    /// Creates two connected protocols whose reactors have these settings.
    #[track_caller]
    pub fn with_settings(settings: Settings, server: S, client: C) -> Pair<S, C> {
        let stage = SharedStage::new();
        let setup = |role| ConnectionSetup { role, settings: settings.clone(), ..ConnectionSetup::default() };
        let (clients, servers) = (setup(Role::Client), setup(Role::Server));
        // The client's address and the server's are each other's peers.
        let (clients, servers) = (
            ConnectionSetup { host: Some(CLIENT.into()), peer: Some(SERVER.into()), ..clients },
            ConnectionSetup { host: Some(SERVER.into()), peer: Some(CLIENT.into()), ..servers },
        );
        let client = StringTransport::on(&stage, "client", clients, client);
        let server = StringTransport::on(&stage, "server", servers, server);
        for side in [&client as &Peer, &server] {
            side.set_send_buffer_size(IN_FLIGHT_LIMIT);
        }
        Pair { server, client, stage, wire: Wire::new() }
    }

    /// Carries the written bytes of both sides to the other side, once; the server receives first.
    /// Returns the number of bytes. (Twisted: `pump`.)
    #[track_caller]
    pub fn pump(&mut self) -> usize {
        self.wire.pump(&mut self.client, &mut self.server)
    }

    /// Pumps until both sides are idle. Returns the number of bytes. (Twisted: `flush`.)
    ///
    /// # Panics
    /// If the two do not become idle within 100,000 rounds.
    #[track_caller]
    pub fn flush(&mut self) -> usize {
        self.wire.flush(&mut self.client, &mut self.server)
    }

    /// Advances the time of both. Timers run, each at its own time. No bytes are carried meanwhile.
    #[track_caller]
    pub fn advance(&mut self, time: Duration) {
        self.client.sync();
        self.server.sync();
        self.stage.advance(time);
        self.client.sync();
        self.server.sync();
    }

    /// Returns the virtual time.
    pub fn now(&self) -> Instant {
        self.stage.now()
    }

    /// Cuts the wire: pumping carries no bytes, and neither side is notified.
    pub fn cut(&mut self) {
        self.wire.cut();
    }

    /// Restores the wire. The next pump carries the bytes written meanwhile.
    pub fn restore(&mut self) {
        self.wire.restore();
    }

    /// Drops the written bytes of both sides that were not carried yet. Returns their number.
    #[track_caller]
    pub fn drop_bytes(&mut self) -> usize {
        self.wire.drop_bytes(&mut self.client, &mut self.server)
    }
}

/// The limit of bytes in flight to a protocol that does not read; beyond it the wire stops reading
/// from the other one. A common size of a system's buffers.
const IN_FLIGHT_LIMIT: usize = 64 * 1024;

const SERVER: ([u8; 4], u16) = ([192, 0, 2, 1], 80);
const CLIENT: ([u8; 4], u16) = ([198, 51, 100, 1], 50_000);
