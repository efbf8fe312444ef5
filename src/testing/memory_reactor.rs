//! A reactor whose connections the test completes or fails.

use std::cell::RefMut;
use std::net::SocketAddr;
use std::time::Duration;

use super::peer::Peer;
use super::stage::{SharedStage, TESTED_HOST};
use crate::sim::{CallKind, Errno, Fault, Host, Network, PendingConnect, RuleId};
use crate::{Address, ConnectTcp, ConnectorId, Instant, ListenTcp, Listener, Reactor, Settings};

/// A reactor that records requests to listen and to connect. The test decides their results.
/// (Twisted: `MemoryReactorClock`, `RaisingMemoryReactor`, `iosim.ConnectionCompleter`.)
///
/// Every address can be listened on, and every name resolves. No packet leaves the test. Time
/// passes only in [`advance`](MemoryReactor::advance).
///
/// ```
/// use twistor::sim::Errno;
/// use twistor::testing::MemoryReactor;
/// use twistor::{Protocol, Reactor, Transport};
///
/// struct Greeter;
///
/// impl Protocol for Greeter {
///     fn connection_made(&mut self, transport: &mut Transport<'_>) {
///         transport.write(b"hello");
///     }
///     fn data_received(&mut self, _: &mut Transport<'_>, _: &[u8]) {}
/// }
///
/// /// The code under test.
/// fn begin(reactor: &mut Reactor) -> twistor::Result<()> {
///     reactor.listen_tcp("192.0.2.1:80", || Greeter)?;
///     reactor.connect_tcp("example.org:7", || Greeter)?;
///     reactor.connect_tcp("example.org:8", || Greeter)?;
///     Ok(())
/// }
///
/// let mut memory = MemoryReactor::new();
/// begin(&mut memory.reactor())?;
/// assert_eq!(memory.listening()[0].options.backlog, 1024);
/// let mut visitor = memory.connect(([192, 0, 2, 1], 80));
/// assert_eq!(visitor.value(), b"hello");
///
/// assert_eq!(memory.connecting()[0].options.host, "example.org");
/// let mut server = memory.succeed_next();
/// assert_eq!(server.value(), b"hello");
/// memory.fail_next(Errno::ECONNREFUSED);
/// # Ok::<(), twistor::Error>(())
/// ```
///
/// A panic in a callback fails the test: the call that caused it panics with its message.
#[doc(alias = "MemoryReactorClock")]
pub struct MemoryReactor {
    stage: SharedStage,
    host: Host,
    listen_rule: Option<RuleId>,
    connect_rule: Option<RuleId>,
}

/// A listening port. (Twisted: an entry of `tcpServers`.)
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listening {
    /// The listener.
    pub listener: Listener,
    /// The requested options: the address, the backlog and the rest.
    pub options: ListenTcp,
}

/// A pending connect. (Twisted: an entry of `tcpClients`.)
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Connecting {
    /// The connector.
    pub connector: ConnectorId,
    /// The requested options: the host, the port, the timeout, the local address and the rest.
    pub options: ConnectTcp,
    /// The resolved address of this attempt.
    pub address: SocketAddr,
}

impl Default for MemoryReactor {
    fn default() -> MemoryReactor {
        MemoryReactor::new()
    }
}

impl MemoryReactor {
    /// Creates a reactor that has not started yet.
    pub fn new() -> MemoryReactor {
        MemoryReactor::with_settings(Settings::default())
    }

    /// Creates a reactor with these settings, not started yet.
    pub fn with_settings(settings: Settings) -> MemoryReactor {
        let stage = SharedStage::new();
        let host = stage.borrow().host(TESTED_HOST, settings);
        stage.network().hold_connects(host, true);
        MemoryReactor { stage, host, listen_rule: None, connect_rule: None }
    }

    /// Returns the reactor. Requests to it take effect with the next call of another method here.
    ///
    /// # Panics
    /// If it has stopped.
    #[track_caller]
    pub fn reactor(&mut self) -> RefMut<'_, Reactor> {
        self.stage.reactor(self.host)
    }

    // -- lifecycle and time --

    /// Starts the reactor: startup triggers and `call_when_running` calls run. Every other method
    /// here that runs the reactor starts it as well. (Twisted: `run`.)
    #[track_caller]
    pub fn start(&mut self) {
        self.stage.run_due_events();
    }

    /// Stops the reactor and runs its shutdown triggers. Triggers before the shutdown may delay it.
    /// (Twisted: `stop`.)
    #[track_caller]
    pub fn stop(&mut self) {
        self.stage.run_due_events();
        if !self.has_stopped() {
            self.reactor().stop();
            self.stage.run_due_events();
        }
    }

    /// Returns whether the reactor has started: `call_when_running` calls have run. (Twisted:
    /// `hasRun`.)
    pub fn has_run(&self) -> bool {
        self.has_stopped() || self.stage.reactor(self.host).running()
    }

    /// Returns whether it has stopped. (Twisted: `hasStopped`.)
    pub fn has_stopped(&self) -> bool {
        self.stage.has_stopped(self.host)
    }

    /// Returns the virtual time.
    pub fn now(&self) -> Instant {
        self.stage.now()
    }

    /// Advances the time. Timed calls run, each at its own time. See [`Clock`](super::Clock).
    #[track_caller]
    pub fn advance(&mut self, time: Duration) {
        self.stage.advance(time);
    }

    /// Makes panics of callbacks part of the test: they are logged and counted, as outside of
    /// tests.
    pub fn allow_panics(&mut self) {
        self.stage.borrow().allow_panics();
    }

    /// Returns the underlying simulated network and the reactor's host, for features without a
    /// method here.
    pub fn network(&self) -> (Network, Host) {
        (self.stage.network(), self.host)
    }

    // -- listening --

    /// Returns the listening ports. (Twisted: `tcpServers`.)
    pub fn listening(&self) -> Vec<Listening> {
        if self.has_stopped() {
            return Vec::new();
        }
        let reactor = self.stage.reactor(self.host);
        let with_options = |listener: Listener| {
            let options = reactor.listen_options(&listener)?.clone();
            Some(Listening { listener, options })
        };
        reactor.listeners().into_iter().filter_map(with_options).collect()
    }

    /// Connects to a listening port, from an address that the kit chooses. A wildcard address means
    /// this reactor's own.
    ///
    /// # Panics
    /// If there is no listener. (A listener that refuses a connection accepts and closes it.)
    #[track_caller]
    pub fn connect(&mut self, to: impl Into<SocketAddr>) -> Peer {
        self.connect_peer(to.into(), None)
    }

    /// Connects to a listening port, from this address.
    ///
    /// # Panics
    /// If there is no listener, or the addresses are of different families.
    #[track_caller]
    pub fn connect_from(&mut self, from: impl Into<SocketAddr>, to: impl Into<SocketAddr>) -> Peer {
        self.connect_peer(to.into(), Some(from.into()))
    }

    #[track_caller]
    fn connect_peer(&mut self, to: SocketAddr, from: Option<SocketAddr>) -> Peer {
        self.stage.run_due_events();
        let there = |listening: &Listening| {
            listening.listener.address().socket_address().is_some_and(|address| {
                address.port() == to.port() && (address.ip() == to.ip() || address.ip().is_unspecified())
            })
        };
        assert!(self.listening().iter().any(there), "there is no listener on {to}");
        let mut peer = Peer::connect(&self.stage, self.host, to, from);
        peer.sync();
        peer
    }

    // -- connecting --

    /// Returns the pending connects, in the order in which they were started. (Twisted:
    /// `tcpClients`.)
    #[track_caller]
    pub fn connecting(&mut self) -> Vec<Connecting> {
        let pending = self.pending_connects();
        if pending.is_empty() {
            return Vec::new();
        }
        let mut reactor = self.stage.reactor(self.host);
        let asked = |pending: PendingConnect| {
            let connector = reactor.connector_of(pending.token)?;
            let options = reactor.connector(connector)?.options()?.clone();
            Some(Connecting { connector, options, address: pending.to })
        };
        pending.into_iter().filter_map(asked).collect()
    }

    /// Completes the first pending connect, and returns its peer. (Twisted:
    /// `ConnectionCompleter.succeedOnce`.)
    ///
    /// # Panics
    /// If there is none, or the reactor itself listens on the address.
    #[track_caller]
    pub fn succeed_next(&mut self) -> Peer {
        let pending = self.next();
        let mut peer = Peer::accept(&self.stage, self.host, pending);
        peer.sync();
        peer
    }

    /// Fails the first pending connect with a system error. (Twisted:
    /// `ConnectionCompleter.failOnce`.) For a connect without an answer, advance the time. For
    /// failing name resolution see [`Network::set_name_resolution`].
    ///
    /// # Panics
    /// If there is none.
    #[track_caller]
    pub fn fail_next(&mut self, errno: Errno) {
        let pending = self.next();
        self.stage.network().fail_connect(pending, errno);
        self.stage.run_due_events();
    }

    /// Routes the first pending connect to the reactor's own listener, if there is one at the
    /// address. Otherwise it is refused.
    ///
    /// # Panics
    /// If there is none.
    #[track_caller]
    pub fn allow_next(&mut self) {
        let pending = self.next();
        let network = self.stage.network();
        let here = |listening: &Listening| *listening.listener.address() == Address::Tcp(pending.to);
        if self.listening().iter().any(here) && !pending.to.ip().is_loopback() {
            network.add_address(self.host, pending.to.ip());
        }
        network.allow_connect(pending);
        self.stage.run_due_events();
    }

    #[track_caller]
    fn pending_connects(&mut self) -> Vec<PendingConnect> {
        self.stage.run_due_events();
        self.stage.network().held_connects(self.host)
    }

    #[track_caller]
    fn next(&mut self) -> PendingConnect {
        match self.pending_connects().first() {
            Some(pending) => *pending,
            None => panic!("there is no pending connect"),
        }
    }

    // -- failing requests --

    /// Makes every following `listen_tcp` fail with this error; `None` ends it. (Twisted:
    /// `RaisingMemoryReactor`.)
    pub fn fail_listens(&mut self, errno: impl Into<Option<Errno>>) {
        self.listen_rule = self.fail(CallKind::Bind, errno.into(), self.listen_rule);
    }

    /// Makes every following connect fail with this error, without recording it; `None` ends it.
    /// (Twisted: `RaisingMemoryReactor`.)
    pub fn fail_connects(&mut self, errno: impl Into<Option<Errno>>) {
        self.connect_rule = self.fail(CallKind::Connect, errno.into(), self.connect_rule);
    }

    fn fail(&mut self, call: CallKind, errno: Option<Errno>, earlier: Option<RuleId>) -> Option<RuleId> {
        let network = self.stage.network();
        if let Some(earlier) = earlier {
            network.remove_rule(earlier);
        }
        errno.map(|errno| network.add_rule(Fault::fail(call, errno).on(self.host)))
    }
}
