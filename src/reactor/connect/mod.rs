//! Connectors: each makes connections to one destination.

pub(in crate::reactor) mod attempt;
mod destination_order;
pub(in crate::reactor) mod happy_eyeballs;
pub(in crate::reactor) mod tcp;
pub(in crate::reactor) mod unix;
use std::time::Duration;

use crate::net::{BadAddress, Instant, Open, Token};
use crate::reactor::connect::happy_eyeballs::{HappyEyeballs, MIN_ATTEMPT_DELAY};
use crate::reactor::error::Error;
use crate::reactor::registry::{Source, source_id};
use crate::reactor::turn::lifecycle::RunState;
use crate::reactor::turn::queues::Callback;
use crate::reactor::{
    Address, ClientFactory, ConnectTcp, ConnectUnix, ConnectionId, DelayedCall, Lookup, Reactor, Reason,
    Result, TimedCall,
};

source_id! {
    /// A handle to a connector. (Twisted: the `IConnector` itself.)
    pub struct ConnectorId;
}

/// A destination and the successive connections to it. (Twisted: `IConnector`.)
///
/// A connector exists while it waits, connects or is connected.
#[doc(alias = "IConnector")]
pub struct Connector<'a> {
    reactor: &'a mut Reactor,
    token: Token,
}

/// The state of a connector.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConnectorState {
    /// Idle. The connector is removed unless `connect` or `connect_later` is called.
    Disconnected,
    /// Waiting to reconnect after [`Connector::connect_later`].
    Waiting,
    /// Looking up the host name.
    Resolving,
    /// Connecting.
    Connecting,
    /// Connected, and the layers are not ready yet: a TLS handshake is in progress. The connect
    /// timeout covers it.
    Securing,
    /// Connected.
    Connected,
}

/// A connector in the registry.
pub(crate) struct ConnectorSlot {
    /// `None` while one of its callbacks runs.
    pub(in crate::reactor) factory: Option<Box<dyn ClientFactory>>,
    pub(in crate::reactor) started: bool,
    pub(in crate::reactor) options: ConnectOptions,
    pub(in crate::reactor) destination: Box<str>,
    pub(in crate::reactor) phase: Phase,
    /// The number of attempts. Late results of an earlier attempt are ignored.
    pub(in crate::reactor) attempt: u32,
    pub(in crate::reactor) timeout: Option<DelayedCall>,
    /// The time that the last connection took to establish.
    pub(in crate::reactor) connect_time: Option<Duration>,
}

/// The options of a connector.
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

    /// The delay between the start of one attempt and the next, if none fails.
    pub(in crate::reactor) fn attempt_delay(&self) -> Duration {
        match self {
            ConnectOptions::Tcp(options) => options.attempt_delay.max(MIN_ATTEMPT_DELAY),
            ConnectOptions::Unix(_) => MIN_ATTEMPT_DELAY,
        }
    }

    /// The request to the driver that connects to `address`; `None` for a different kind of
    /// address.
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
    /// The failure callback is queued.
    Failing,
    Waiting(DelayedCall),
    /// The start is queued.
    Starting,
    Resolving(Lookup),
    /// Attempts are in progress. Boxed, because connections may be held for long.
    Connecting(Box<HappyEyeballs>),
    Connected(Token),
}

impl<'a> Connector<'a> {
    pub(in crate::reactor) fn new(reactor: &'a mut Reactor, token: Token) -> Connector<'a> {
        Connector { reactor, token }
    }
}

impl Connector<'_> {
    /// The handle of the connector.
    pub fn id(&self) -> ConnectorId {
        ConnectorId(self.token)
    }

    /// The destination: `host:port`, or the path or name of a UNIX socket.
    #[doc(alias = "getDestination")]
    pub fn destination(&self) -> &str {
        self.reactor.registry.connector(self.token).map_or("", |slot| &slot.destination)
    }

    /// The TCP options; `None` for a UNIX socket, or when the connector is gone.
    pub fn options(&self) -> Option<&ConnectTcp> {
        match &self.reactor.registry.connector(self.token)?.options {
            ConnectOptions::Tcp(options) => Some(options),
            ConnectOptions::Unix(_) => None,
        }
    }

    /// The current state.
    pub fn state(&self) -> ConnectorState {
        match self.reactor.registry.connector(self.token).map(|slot| &slot.phase) {
            None | Some(Phase::Disconnected | Phase::Failing) => ConnectorState::Disconnected,
            Some(Phase::Waiting(_)) => ConnectorState::Waiting,
            Some(Phase::Starting | Phase::Connecting(_)) => ConnectorState::Connecting,
            Some(Phase::Resolving(_)) => ConnectorState::Resolving,
            Some(Phase::Connected(token)) if self.reactor.awaits_layers(*token) => ConnectorState::Securing,
            Some(Phase::Connected(_)) => ConnectorState::Connected,
        }
    }

    /// The connection, while there is one.
    pub fn connection(&self) -> Option<ConnectionId> {
        match self.reactor.registry.connector(self.token)?.phase {
            Phase::Connected(token) => Some(ConnectionId(token)),
            _ => None,
        }
    }

    /// The time that the last connection took to establish. It runs from the `connect` call to the
    /// successful address until the poll that reported the result. Host name look-up and attempts
    /// to other addresses are not included.
    pub fn connect_time(&self) -> Option<Duration> {
        self.reactor.registry.connector(self.token)?.connect_time
    }

    /// Connects again. The outcome is reported by callbacks. Returns `false`, without effect, when
    /// the connector is not disconnected or the reactor is stopping.
    pub fn connect(&mut self) -> bool {
        self.begin(|reactor, token| {
            reactor.queues.callbacks.push(Callback::Connect(token));
            Phase::Starting
        })
    }

    /// Connects again after `delay`. Its factory stays in use meanwhile. Returns `false`, without
    /// effect, when the connector is not disconnected or the reactor is stopping.
    #[doc(alias = "retry")]
    pub fn connect_later(&mut self, delay: Duration) -> bool {
        self.begin(|reactor, token| {
            let at = reactor.now() + delay;
            Phase::Waiting(reactor.timers.set(at, TimedCall::Reconnect(token)))
        })
    }

    /// Cancels the attempt. `client_connection_failed` follows with [`Reason::Cancelled`], unless
    /// the connector was only waiting.
    ///
    /// # Errors
    /// [`Error::NotConnecting`] when the connector is connected or disconnected.
    #[doc(alias = "stopConnecting")]
    pub fn stop_connecting(&mut self) -> Result<()> {
        self.reactor.stop_connecting(self.token, Reason::Cancelled)
    }

    /// Cancels the attempt or closes the connection. Otherwise does nothing.
    pub fn disconnect(&mut self) {
        self.reactor.disconnect_connector(self.token, &Reason::Cancelled);
        if let Some(connection) = self.connection() {
            self.reactor.lose_connection(connection.0, None);
        }
    }

    /// The current time, as [`Reactor::now`].
    pub fn now(&mut self) -> Instant {
        self.reactor.now()
    }

    /// The reactor.
    pub fn reactor(&mut self) -> &mut Reactor {
        self.reactor
    }

    fn begin(&mut self, enter: impl FnOnce(&mut Reactor, Token) -> Phase) -> bool {
        let slot = self.reactor.registry.connector(self.token);
        let ready = slot.is_some_and(|slot| matches!(slot.phase, Phase::Disconnected));
        if !ready || !self.reactor.accepts_new_work() {
            return false;
        }
        let phase = enter(self.reactor, self.token);
        if let Some(slot) = self.reactor.registry.connector_mut(self.token) {
            slot.phase = phase;
        }
        true
    }
}

impl Reactor {
    /// Connects to a TCP port and builds a protocol with `factory` once the connection is made.
    /// Nothing is called before this returns. (Twisted: `connectTCP`.)
    ///
    /// `address` is text (`"localhost:80"`, `"[::1]:80"`), a `SocketAddr`, `(host, port)` or a
    /// [`ConnectTcp`].
    ///
    /// A host name is looked up by the [resolver](Reactor::set_resolver) of the reactor. Its
    /// addresses race (RFC 8305, happy eyeballs):
    /// - IPv6 and IPv4 addresses alternate. Those that the resolver finds late join the race.
    /// - The first attempt to an IPv4 address waits for IPv6 addresses, until the look-up has ended
    ///   or for 50 ms.
    /// - Each address has a [head start](ConnectTcp::attempt_delay). When an attempt fails, the
    ///   next begins at once.
    /// - The first connection wins. The others are closed without a callback.
    /// - When all attempts fail, the most informative reason is reported: a refusal before a
    ///   timeout, and a timeout before an address that could not be reached.
    ///
    /// # Errors
    /// - [`Error::BadAddress`], [`Error::BadOption`].
    /// - [`Error::Stopping`] or [`Error::ReactorFinished`] when the reactor is stopping or has
    ///   stopped.
    #[doc(alias("connectTCP", "create_connection", "TcpStream"))]
    pub fn connect_tcp<A>(&mut self, address: A, factory: impl ClientFactory) -> Result<ConnectorId>
    where
        A: TryInto<ConnectTcp>,
        A::Error: Into<Error>,
    {
        let options = address.try_into().map_err(Into::into)?;
        let destination = options.to_string();
        options.check().map_err(|why| Error::BadAddress(BadAddress { text: destination.clone(), why }))?;
        options.of_connections().check()?;
        self.start_connector(ConnectOptions::Tcp(options), destination, Box::new(factory))
    }

    pub(in crate::reactor) fn start_connector(
        &mut self,
        options: ConnectOptions,
        destination: String,
        factory: Box<dyn ClientFactory>,
    ) -> Result<ConnectorId> {
        self.check_not_stopping()?;
        let slot = ConnectorSlot {
            factory: Some(factory),
            started: false,
            options,
            destination: destination.into(),
            phase: Phase::Starting,
            attempt: 0,
            timeout: None,
            connect_time: None,
        };
        let token = self.registry.insert(Source::Connector(Box::new(slot)));
        self.queues.callbacks.push(Callback::Connect(token));
        Ok(ConnectorId(token))
    }

    /// The connector of a handle; `None` when it is gone.
    pub fn connector(&mut self, id: ConnectorId) -> Option<Connector<'_>> {
        self.registry.connector(id.0)?;
        Some(Connector { reactor: self, token: id.0 })
    }

    /// The connector to which an attempt belongs.
    #[cfg(any(feature = "sim", test))]
    pub(crate) fn connector_of(&self, attempt: Token) -> Option<ConnectorId> {
        match self.registry.get(attempt)? {
            Source::Attempt(connector) => Some(ConnectorId(*connector)),
            _ => None,
        }
    }

    /// Whether listeners and connections can still be created.
    pub(in crate::reactor) fn accepts_new_work(&self) -> bool {
        self.check_not_stopping().is_ok()
    }

    /// Checks the same, and returns the error. While triggers or tasks delay the shutdown, new
    /// connections are allowed, because a graceful end may need them.
    pub(in crate::reactor) fn check_not_stopping(&self) -> Result<()> {
        match self.lifecycle.state {
            RunState::Draining { .. } | RunState::Ending => Err(Error::Stopping),
            RunState::Finished => Err(Error::ReactorFinished),
            _ => Ok(()),
        }
    }
}
