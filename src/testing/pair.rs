//! Two protocols, joined by a wire that the test works.

use std::time::Duration;

use super::peer::Peer;
use super::stage::SharedStage;
use super::string_transport::{ConnectionSetup, Side, StringTransport};
use super::wire::Wire;
use crate::{Instant, Protocol, Settings};

/// A server's and a client's protocol, joined stepwise. (Twisted: `iosim.connectedServerAndClient`, `IOPump`,
/// `FakeTransport`.)
///
/// Each has its own reactor, and is a [`StringTransport`] whose other side leads to the other one. What it wrote and was
/// not pumped yet is its [`value`](Peer::value); the test can [take](Peer::take) it away, [feed](Peer::feed) one that the other
/// never sent, or [reset](Peer::reset) one side alone. Pumping takes no time.
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
pub struct Pair<S, C> {
    /// The server's protocol, and the side of its connection that leads to the client.
    pub server: StringTransport<S>,
    /// The client's protocol, and the side of its connection that leads to the server.
    pub client: StringTransport<C>,
    stage: SharedStage,
    wire: Wire,
}

impl<S: Protocol, C: Protocol> Pair<S, C> {
    /// Two protocols whose connection was just made, for the client first. Nothing was carried yet.
    #[track_caller]
    pub fn new(server: S, client: C) -> Pair<S, C> {
        Pair::with_settings(Settings::default(), server, client)
    }

    /// The same, with settings for both reactors.
    #[track_caller]
    pub fn with_settings(settings: Settings, server: S, client: C) -> Pair<S, C> {
        let stage = SharedStage::new();
        let situation =
            |side| ConnectionSetup { side, settings: settings.clone(), ..ConnectionSetup::default() };
        let (clients, servers) = (situation(Side::Client), situation(Side::Server));
        // The client's address and the server's are each other's peers.
        let (clients, servers) = (
            ConnectionSetup { host: Some(CLIENT.into()), peer: Some(SERVER.into()), ..clients },
            ConnectionSetup { host: Some(SERVER.into()), peer: Some(CLIENT.into()), ..servers },
        );
        let client = StringTransport::on(&stage, "client", clients, client);
        let server = StringTransport::on(&stage, "server", servers, server);
        for side in [&client as &Peer, &server] {
            side.set_send_room(UNREAD);
        }
        Pair { server, client, stage, wire: Wire::new() }
    }

    /// Carries what both have written to the other one, once; the server hears first. Returns how many bytes it was.
    /// (Twisted: `pump`.)
    #[track_caller]
    pub fn pump(&mut self) -> usize {
        self.wire.pump(&mut self.client, &mut self.server)
    }

    /// Pumps until neither has anything left to say. Returns how many bytes it was. (Twisted: `flush`.)
    ///
    /// # Panics
    /// When the two would go on for ever.
    #[track_caller]
    pub fn flush(&mut self) -> usize {
        self.wire.flush(&mut self.client, &mut self.server)
    }

    /// Lets time pass for both: timers run, each at its own time. Nothing is carried meanwhile.
    #[track_caller]
    pub fn advance(&mut self, time: Duration) {
        self.client.sync();
        self.server.sync();
        self.stage.advance(time);
        self.client.sync();
        self.server.sync();
    }

    /// The time.
    pub fn now(&self) -> Instant {
        self.stage.now()
    }

    /// Cuts the wire: pumping carries nothing, and nobody hears of it.
    pub fn cut(&mut self) {
        self.wire.cut();
    }

    /// Mends it. What was written meanwhile is carried next.
    pub fn restore(&mut self) {
        self.wire.restore();
    }

    /// Throws away what both have written and was not carried. Returns how many bytes it was.
    #[track_caller]
    pub fn drop_bytes(&mut self) -> usize {
        self.wire.drop_bytes(&mut self.client, &mut self.server)
    }
}

/// Bytes that may be on their way to a protocol that does not read, before the wire takes no more from the other one: what
/// a system's buffers commonly hold.
const UNREAD: usize = 64 * 1024;

const SERVER: ([u8; 4], u16) = ([192, 0, 2, 1], 80);
const CLIENT: ([u8; 4], u16) = ([198, 51, 100, 1], 50_000);
