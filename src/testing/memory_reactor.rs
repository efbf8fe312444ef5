//! A reactor that does nothing of what it is asked, until the test decides about it.

use std::cell::RefMut;
use std::net::SocketAddr;
use std::time::Duration;

use super::peer::Peer;
use super::stage::{HERE, SharedStage};
use crate::sim::{CallKind, Errno, Fault, Host, Network, PendingConnect, RuleId};
use crate::{Address, ConnectTcp, ConnectorId, Instant, ListenTcp, Listener, Reactor, Settings};

/// A reactor that records what it was asked for: ports to listen on, connections to make. The test decides what
/// becomes of it. (Twisted: `MemoryReactorClock`, `RaisingMemoryReactor`, `iosim.ConnectionCompleter`.)
///
/// Any address can be listened on, and any name is found; nothing leaves the test. Time stands still but for
/// [`advance`](MemoryReactor::advance).
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
/// /// What is tested.
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
/// A panic in a callback is the test's: whatever call led to it panics with its text.
pub struct MemoryReactor {
    stage: SharedStage,
    host: Host,
    listen_rule: Option<RuleId>,
    connect_rule: Option<RuleId>,
}

/// A port that is listened on. (Twisted: an entry of `tcpServers`.)
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listening {
    /// Its name.
    pub listener: Listener,
    /// What was asked for: the address, the backlog and the rest.
    pub options: ListenTcp,
}

/// A connection that was asked for, and that waits to be decided about. (Twisted: an entry of `tcpClients`.)
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Connecting {
    /// The connector that asks.
    pub connector: ConnectorId,
    /// What was asked for: the host, the port, the timeout, the address to connect from, and the rest.
    pub options: ConnectTcp,
    /// The address that its host was found to have, or the one of those that is tried now.
    pub address: SocketAddr,
}

impl Default for MemoryReactor {
    fn default() -> MemoryReactor {
        MemoryReactor::new()
    }
}

impl MemoryReactor {
    /// One that has not begun to run.
    pub fn new() -> MemoryReactor {
        MemoryReactor::with_settings(Settings::default())
    }

    /// One with these settings.
    pub fn with_settings(settings: Settings) -> MemoryReactor {
        let stage = SharedStage::new();
        let host = stage.borrow().host(HERE, settings);
        stage.network().hold_connects(host, true);
        MemoryReactor { stage, host, listen_rule: None, connect_rule: None }
    }

    /// The reactor. What is asked of it happens with the next call of anything else here.
    ///
    /// # Panics
    /// When it has stopped.
    #[track_caller]
    pub fn reactor(&mut self) -> RefMut<'_, Reactor> {
        self.stage.reactor(self.host)
    }

    // -- its life and its time --

    /// Lets it begin to run: triggers of the startup, and what was to be called when it runs. Everything else here that
    /// lets something happen does so as well. (Twisted: `run`.)
    #[track_caller]
    pub fn start(&mut self) {
        self.stage.settle();
    }

    /// Stops it, with all triggers of the shutdown; those before it may hold it up. (Twisted: `stop`.)
    #[track_caller]
    pub fn stop(&mut self) {
        self.stage.settle();
        if !self.has_stopped() {
            self.reactor().stop();
            self.stage.settle();
        }
    }

    /// Whether it has begun to run: what was to be called when it runs was called. (Twisted: `hasRun`.)
    pub fn has_run(&self) -> bool {
        self.has_stopped() || self.stage.reactor(self.host).running()
    }

    /// Whether it has stopped. (Twisted: `hasStopped`.)
    pub fn has_stopped(&self) -> bool {
        self.stage.has_stopped(self.host)
    }

    /// The time.
    pub fn now(&self) -> Instant {
        self.stage.now()
    }

    /// Lets time pass: timed calls come, each at its own time. See [`Clock`](super::Clock).
    #[track_caller]
    pub fn advance(&mut self, time: Duration) {
        self.stage.advance(time);
    }

    /// Panics of callbacks are a part of the test, from now on: they are logged and counted, as outside of tests.
    pub fn allow_panics(&mut self) {
        self.stage.borrow().allow_panics();
    }

    /// The simulated network that it stands on, for what is not offered here, and its host there.
    pub fn network(&self) -> (Network, Host) {
        (self.stage.network(), self.host)
    }

    // -- listening --

    /// The ports that are listened on now. (Twisted: `tcpServers`.)
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

    /// Connects to one of them, from an address of the kit's choice. A wildcard address is this reactor's own.
    ///
    /// # Panics
    /// When nobody listens there. (A listener that refuses a connection has accepted and closed it.)
    #[track_caller]
    pub fn connect(&mut self, to: impl Into<SocketAddr>) -> Peer {
        self.connect_peer(to.into(), None)
    }

    /// The same, from an address of the test's choice.
    ///
    /// # Panics
    /// When nobody listens there, or the addresses are of different families.
    #[track_caller]
    pub fn connect_from(&mut self, from: impl Into<SocketAddr>, to: impl Into<SocketAddr>) -> Peer {
        self.connect_peer(to.into(), Some(from.into()))
    }

    #[track_caller]
    fn connect_peer(&mut self, to: SocketAddr, from: Option<SocketAddr>) -> Peer {
        self.stage.settle();
        let there = |listening: &Listening| {
            listening.listener.address().socket_address().is_some_and(|address| {
                address.port() == to.port() && (address.ip() == to.ip() || address.ip().is_unspecified())
            })
        };
        assert!(self.listening().iter().any(there), "nobody listens on {to}");
        let mut peer = Peer::connect(&self.stage, self.host, to, from);
        peer.sync();
        peer
    }

    // -- connecting --

    /// The connections that were asked for and wait, in the order in which the network was asked. (Twisted: `tcpClients`.)
    #[track_caller]
    pub fn connecting(&mut self) -> Vec<Connecting> {
        let held = self.held();
        if held.is_empty() {
            return Vec::new();
        }
        let mut reactor = self.stage.reactor(self.host);
        let asked = |held: PendingConnect| {
            let connector = reactor.connector_of(held.token)?;
            let options = reactor.connector(connector)?.options()?.clone();
            Some(Connecting { connector, options, address: held.to })
        };
        held.into_iter().filter_map(asked).collect()
    }

    /// Lets the first of them be made. What it leads to is in the test's hands. (Twisted:
    /// `ConnectionCompleter.succeedOnce`.)
    ///
    /// # Panics
    /// When there is none, or the reactor itself listens on the address.
    #[track_caller]
    pub fn succeed_next(&mut self) -> Peer {
        let held = self.next();
        let mut peer = Peer::accept(&self.stage, self.host, held);
        peer.sync();
        peer
    }

    /// Lets the first of them fail with an error of the system. (Twisted: `ConnectionCompleter.failOnce`.) For one that
    /// nobody answers, let time pass; for names that are not found, see
    /// [`Network::set_name_resolution`].
    ///
    /// # Panics
    /// When there is none.
    #[track_caller]
    pub fn fail_next(&mut self, errno: Errno) {
        let held = self.next();
        self.stage.network().fail_connect(held, errno);
        self.stage.settle();
    }

    /// Lets the first of them go its way: to the reactor's own listener if it has one there; everybody else refuses it.
    ///
    /// # Panics
    /// When there is none.
    #[track_caller]
    pub fn allow_next(&mut self) {
        let held = self.next();
        let network = self.stage.network();
        let here = |listening: &Listening| *listening.listener.address() == Address::Tcp(held.to);
        if self.listening().iter().any(here) && !held.to.ip().is_loopback() {
            network.add_address(self.host, held.to.ip());
        }
        network.allow_connect(held);
        self.stage.settle();
    }

    #[track_caller]
    fn held(&mut self) -> Vec<PendingConnect> {
        self.stage.settle();
        self.stage.network().held_connects(self.host)
    }

    #[track_caller]
    fn next(&mut self) -> PendingConnect {
        match self.held().first() {
            Some(held) => *held,
            None => panic!("no connection waits to be made"),
        }
    }

    // -- refusing to do what it is asked --

    /// From now on, every `listen_tcp` fails with this error; `None`: none does. (Twisted: `RaisingMemoryReactor`.)
    pub fn fail_listens(&mut self, errno: impl Into<Option<Errno>>) {
        self.listen_rule = self.fail(CallKind::Bind, errno.into(), self.listen_rule);
    }

    /// From now on, every attempt to connect fails with this error before anything is recorded; `None`: none does.
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
