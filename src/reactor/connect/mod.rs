//! Connectors: one destination each, and what users do with it.

pub(in crate::reactor) mod attempt;
pub(in crate::reactor) mod happy_eyeballs;
pub(in crate::reactor) mod lookup;
pub(in crate::reactor) mod tcp;
pub(in crate::reactor) mod unix;
use std::fmt;
use std::time::Duration;

use crate::net::{BadAddress, Instant, Open, Token};
use crate::reactor::connect::happy_eyeballs::{HappyEyeballs, MIN_ATTEMPT_DELAY};
use crate::reactor::error::Error;
use crate::reactor::lifecycle::RunState;
use crate::reactor::queues::Callback;
use crate::reactor::registry::Source;
use crate::reactor::{
    Address, ClientFactory, ConnectTcp, ConnectUnix, ConnectionId, DelayedCall, Lookup, Reactor, Reason,
    Result, TimedCall,
};

/// A connector by name. (Twisted: the `IConnector` itself.)
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ConnectorId(pub(crate) Token);

impl fmt::Debug for ConnectorId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ConnectorId({:?})", self.0)
    }
}

impl fmt::Display for ConnectorId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.0)
    }
}

/// One destination and the connections to it, one after the other. (Twisted: `IConnector`.)
///
/// It lives as long as it waits, connects or is connected.
pub struct Connector<'a> {
    reactor: &'a mut Reactor,
    token: Token,
}

/// What a connector does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConnectorState {
    /// Nothing: it is about to go, unless `connect` or `connect_later` is called.
    Disconnected,
    /// It waits to connect, as [`Connector::connect_later`] said.
    Waiting,
    /// It looks the host name up.
    Resolving,
    /// It connects.
    Connecting,
    /// It is connected.
    Connected,
}

/// A connector in its slot.
pub(crate) struct ConnectorSlot {
    /// Out of its place while one of its callbacks runs.
    pub(in crate::reactor) factory: Option<Box<dyn ClientFactory>>,
    pub(in crate::reactor) started: bool,
    pub(in crate::reactor) options: ConnectOptions,
    pub(in crate::reactor) destination: Box<str>,
    pub(in crate::reactor) phase: Phase,
    /// Counts the attempts: what comes late from an earlier one is ignored.
    pub(in crate::reactor) attempt: u32,
    pub(in crate::reactor) timeout: Option<DelayedCall>,
    /// How long the last connection took to make.
    pub(in crate::reactor) took: Option<Duration>,
}

/// Where to, and how.
pub(in crate::reactor) enum ConnectOptions {
    Tcp(ConnectTcp),
    Unix(ConnectUnix),
}

impl ConnectOptions {
    pub(in crate::reactor) fn timeout(&self) -> Duration {
        match self {
            ConnectOptions::Tcp(options) => options.timeout,
            ConnectOptions::Unix(options) => options.timeout,
        }
    }

    /// How long after one attempt the next begins, if none fails.
    pub(in crate::reactor) fn attempt_delay(&self) -> Duration {
        match self {
            ConnectOptions::Tcp(options) => options.attempt_delay.max(MIN_ATTEMPT_DELAY),
            ConnectOptions::Unix(_) => MIN_ATTEMPT_DELAY,
        }
    }

    /// What to ask the system for, to connect to an address of this kind.
    pub(in crate::reactor) fn open(&self, address: &Address) -> Option<Open> {
        match (self, address) {
            (ConnectOptions::Tcp(options), Address::Tcp(address)) => Some(Open::TcpConnect {
                address: *address,
                bind: options.bind,
                reuse_address: options.reuse_address,
                buffers: options.buffers(),
            }),
            (ConnectOptions::Unix(options), Address::Unix(address)) => Some(Open::UnixConnect {
                address: address.clone(),
                bind: options.bind.clone(),
                buffers: options.buffers(),
            }),
            _ => None,
        }
    }
}

pub(in crate::reactor) enum Phase {
    Disconnected,
    /// The failure is queued.
    Failing,
    Waiting(DelayedCall),
    /// The start is queued.
    Starting,
    Resolving(Lookup),
    /// The addresses are tried. In a box: a connection may be held for long.
    Connecting(Box<HappyEyeballs>),
    Connected(Token),
}

impl<'a> Connector<'a> {
    pub(in crate::reactor) fn new(reactor: &'a mut Reactor, token: Token) -> Connector<'a> {
        Connector { reactor, token }
    }
}

impl Connector<'_> {
    /// Its name, which can be kept.
    pub fn id(&self) -> ConnectorId {
        ConnectorId(self.token)
    }

    /// Where it connects to, as `host:port`, or the path or name of a UNIX socket.
    pub fn destination(&self) -> &str {
        self.reactor.registry.connector(self.token).map_or("", |slot| &slot.destination)
    }

    /// How it connects, if over TCP. `None` once it is gone.
    pub fn options(&self) -> Option<&ConnectTcp> {
        match &self.reactor.registry.connector(self.token)?.options {
            ConnectOptions::Tcp(options) => Some(options),
            ConnectOptions::Unix(_) => None,
        }
    }

    /// What it does now.
    pub fn state(&self) -> ConnectorState {
        match self.reactor.registry.connector(self.token).map(|slot| &slot.phase) {
            None | Some(Phase::Disconnected | Phase::Failing) => ConnectorState::Disconnected,
            Some(Phase::Waiting(_)) => ConnectorState::Waiting,
            Some(Phase::Starting | Phase::Connecting(_)) => ConnectorState::Connecting,
            Some(Phase::Resolving(_)) => ConnectorState::Resolving,
            Some(Phase::Connected(_)) => ConnectorState::Connected,
        }
    }

    /// Its connection, while it has one.
    pub fn connection(&self) -> Option<ConnectionId> {
        match self.reactor.registry.connector(self.token)?.phase {
            Phase::Connected(token) => Some(ConnectionId(token)),
            _ => None,
        }
    }

    /// How long the last connection took to make: from the call that asked the system to connect to the address that
    /// it was made to (the host name was looked up before, and other addresses may have been tried) to the poll that
    /// found it done.
    pub fn connect_time(&self) -> Option<Duration> {
        self.reactor.registry.connector(self.token)?.took
    }

    /// Connects again; everything else comes by callback. `false`, and nothing happens, when it is not
    /// disconnected or the reactor stops.
    pub fn connect(&mut self) -> bool {
        self.begin(|reactor, token| {
            reactor.queues.callbacks.push(Callback::Connect(token));
            Phase::Starting
        })
    }

    /// Connects again after `delay`; its factory stays in use meanwhile. `false`, and nothing happens,
    /// when it is not disconnected or the reactor stops.
    pub fn connect_later(&mut self, delay: Duration) -> bool {
        self.begin(|reactor, token| {
            let at = reactor.now() + delay;
            Phase::Waiting(reactor.timers.set(at, TimedCall::Reconnect(token)))
        })
    }

    /// Gives up: `client_connection_failed` comes with [`Reason::Cancelled`], unless it only waited.
    ///
    /// # Errors
    /// [`Error::NotConnecting`] when it is connected or disconnected.
    pub fn stop_connecting(&mut self) -> Result<()> {
        self.reactor.stop_connecting(self.token, Reason::Cancelled)
    }

    /// Gives up or closes the connection, whichever there is; does nothing else.
    pub fn disconnect(&mut self) {
        self.reactor.disconnect_connector(self.token, &Reason::Cancelled);
        if let Some(connection) = self.connection() {
            self.reactor.lose_connection(connection.0, None);
        }
    }

    /// The time, as [`Reactor::now`].
    pub fn now(&mut self) -> Instant {
        self.reactor.now()
    }

    /// The reactor.
    pub fn reactor(&mut self) -> &mut Reactor {
        self.reactor
    }

    fn begin(&mut self, how: impl FnOnce(&mut Reactor, Token) -> Phase) -> bool {
        let slot = self.reactor.registry.connector(self.token);
        let ready = slot.is_some_and(|slot| matches!(slot.phase, Phase::Disconnected));
        if !ready || !self.reactor.begins_new_things() {
            return false;
        }
        let phase = how(self.reactor, self.token);
        if let Some(slot) = self.reactor.registry.connector_mut(self.token) {
            slot.phase = phase;
        }
        true
    }
}

impl Reactor {
    /// Connects to a TCP port and makes a protocol with `factory` once the connection is made. Nothing is called
    /// before this returns, whatever becomes of it. (Twisted: `connectTCP`.)
    ///
    /// `address` is text (`"localhost:80"`, `"[::1]:80"`), a `SocketAddr`, `(host, port)` or a [`ConnectTcp`]. A
    /// host name is [looked up](Reactor::resolve) by the system's resolver on a thread. Its addresses race (RFC 8305, happy eyeballs): the
    /// families take turns, each address has a [head start](ConnectTcp::attempt_delay), one that fails makes room for the
    /// next at once, the first connection wins, and the others are closed and never heard of. When all fail, the reason
    /// is the one that tells most: a refusal before an answer that never came, that before an address that could not be
    /// reached.
    ///
    /// # Errors
    /// [`Error::BadAddress`]; [`Error::BadOption`];
    /// [`Error::Stopping`] or [`Error::ReactorFinished`] when the reactor stops or has stopped.
    pub fn connect_tcp<A>(&mut self, address: A, factory: impl ClientFactory) -> Result<ConnectorId>
    where
        A: TryInto<ConnectTcp>,
        A::Error: Into<Error>,
    {
        let options = address.try_into().map_err(Into::into)?;
        let destination = options.to_string();
        options.check().map_err(|why| Error::BadAddress(BadAddress { text: destination.clone(), why }))?;
        options.of_connections().check()?;
        self.begin_connector(ConnectOptions::Tcp(options), destination, Box::new(factory))
    }

    pub(in crate::reactor) fn begin_connector(
        &mut self,
        options: ConnectOptions,
        destination: String,
        factory: Box<dyn ClientFactory>,
    ) -> Result<ConnectorId> {
        self.check_begins()?;
        let slot = ConnectorSlot {
            factory: Some(factory),
            started: false,
            options,
            destination: destination.into(),
            phase: Phase::Starting,
            attempt: 0,
            timeout: None,
            took: None,
        };
        let token = self.registry.insert(Source::Connector(Box::new(slot)));
        self.queues.callbacks.push(Callback::Connect(token));
        Ok(ConnectorId(token))
    }

    /// A connector, if it still is there.
    pub fn connector(&mut self, id: ConnectorId) -> Option<Connector<'_>> {
        self.registry.connector(id.0)?;
        Some(Connector { reactor: self, token: id.0 })
    }

    /// The connector whose attempt this is.
    pub(crate) fn connector_of(&self, attempt: Token) -> Option<ConnectorId> {
        match self.registry.get(attempt)? {
            Source::Attempt(connector) => Some(ConnectorId(*connector)),
            _ => None,
        }
    }

    /// Whether listeners and connections can still begin.
    pub(crate) fn begins_new_things(&self) -> bool {
        self.check_begins().is_ok()
    }

    /// The same, with the error that says why not. While triggers or tasks hold the shutdown up they can: a graceful end may need
    /// a connection.
    pub(crate) fn check_begins(&self) -> Result<()> {
        match self.lifecycle.state {
            RunState::Draining { .. } | RunState::Ending => Err(Error::Stopping),
            RunState::Finished => Err(Error::ReactorFinished),
            _ => Ok(()),
        }
    }
}
