//! Connecting: looking the name up, trying one address after the other, and what becomes of it.

use std::collections::VecDeque;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use super::connection::Connection;
use super::connector::{ConnectOptions, Phase};
use super::error::Error;
use super::sources::Source;
use super::tasks::Task;
use super::{Address, ClientFactory, Connector, Place, Reactor, Reason, Result, SystemError, TimedCall};
use crate::net::{Close, Instant, Ready, Step, Token};

impl Reactor {
    /// Calls a connector's factory, which is out of its place meanwhile.
    fn with_client_factory<R>(
        &mut self,
        token: Token,
        place: Place,
        call: impl FnOnce(&mut dyn ClientFactory, &mut Reactor) -> R,
    ) -> Option<Result<R, String>> {
        let mut factory = self.sources.connector_mut(token)?.factory.take()?;
        let result = self.guarded(place, None, |reactor| call(&mut *factory, reactor));
        if let Some(slot) = self.sources.connector_mut(token) {
            slot.factory = Some(factory);
        }
        Some(result)
    }

    fn start_client_factory(&mut self, token: Token) {
        let Some(slot) = self.sources.connector_mut(token) else { return };
        if !std::mem::replace(&mut slot.started, true) {
            self.with_client_factory(token, Place::StartFactory, |factory, reactor| {
                factory.start_factory(reactor);
            });
        }
    }

    pub(crate) fn begin_to_connect(&mut self, token: Token) {
        let Some(slot) = self.sources.connector_mut(token) else {
            return;
        };
        if !matches!(slot.phase, Phase::Starting | Phase::Waiting(_)) {
            return;
        }
        slot.phase = Phase::Starting;
        slot.attempt = slot.attempt.wrapping_add(1);
        self.start_client_factory(token);
        self.with_client_factory(token, Place::StartedConnecting, |factory, reactor| {
            factory.started_connecting(&mut Connector::new(reactor, token));
        });
        let now = self.now();
        let Some(slot) = self.sources.connector_mut(token) else {
            return;
        };
        if slot.phase != Phase::Starting {
            return;
        }
        let deadline = now + slot.options.timeout();
        slot.timeout = Some(self.timers.set(deadline, TimedCall::ConnectTimeout(token)));
        let (host, port) = match &slot.options {
            ConnectOptions::Tcp(options) => (options.host.clone(), options.port),
            ConnectOptions::Unix(options) => {
                slot.addresses = VecDeque::from([Address::Unix(options.address.clone())]);
                return self.try_next_address(token, None);
            }
        };
        if let Ok(address) = host.parse::<IpAddr>() {
            slot.addresses = VecDeque::from([Address::Tcp(SocketAddr::new(address, port))]);
            return self.try_next_address(token, None);
        }
        slot.phase = Phase::Resolving;
        let attempt = slot.attempt;
        let answered = move |reactor: &mut Reactor, found| reactor.resolved(token, attempt, found);
        if let Err(full) = self.resolve(&host, port, answered) {
            self.connector_failed(token, &Reason::Unresolved { host, why: full.to_string() });
        }
    }

    fn resolved(&mut self, token: Token, attempt: u32, found: Result<Vec<SocketAddr>, Reason>) {
        let Some(slot) = self.sources.connector_mut(token) else {
            return;
        };
        if slot.attempt != attempt || slot.phase != Phase::Resolving {
            return;
        }
        match found {
            Ok(addresses) => {
                slot.addresses = addresses.into_iter().map(Address::Tcp).collect();
                let (timeout, limit) = (slot.timeout, slot.options.timeout());
                let now = self.now();
                // Only a loop that was held up finds an answer when the time is over: its own delay is not the peer's.
                if let Some(timeout) = timeout
                    && self.timers.due(timeout).is_some_and(|due| due <= now)
                {
                    self.timers.reset(timeout, now + limit);
                }
                self.try_next_address(token, None);
            }
            // Queued: this runs inside the callback that brought the answer.
            Err(reason) => self.fail_soon(token, reason),
        }
    }

    /// Begins with the next address; without one the attempt has failed, for `last`.
    fn try_next_address(&mut self, token: Token, mut last: Option<Reason>) {
        while let Some(slot) = self.sources.connector_mut(token) {
            let Some(address) = slot.addresses.pop_front() else {
                break;
            };
            let Some(open) = slot.options.open(&address) else {
                continue;
            };
            slot.began = self.net.now();
            let attempt = self.sources.insert(Source::Attempt(token));
            match self.net.open(attempt, &open) {
                Ok(()) => {
                    if let Some(slot) = self.sources.connector_mut(token) {
                        slot.phase = Phase::Connecting(attempt);
                    }
                    return;
                }
                Err(failed)
                    if failed.step == Step::Connect
                        && failed.error.kind() == io::ErrorKind::WouldBlock
                        && matches!(address, Address::Unix(_)) =>
                {
                    self.sources.remove(attempt);
                    return self.wait_for_room(token, address);
                }
                Err(failed) => {
                    self.sources.remove(attempt);
                    let call = failed.step.name();
                    last = Some(match failed.step {
                        Step::Bind => Reason::Bind(SystemError::new(call, &failed.error)),
                        _ => Reason::of_connect(&failed.error, call),
                    });
                }
            }
        }
        let nothing_to_try = || {
            let error = io::Error::from(io::ErrorKind::AddrNotAvailable);
            Reason::ConnectFailed(SystemError::new("connect", &error))
        };
        self.fail_soon(token, last.unwrap_or_else(nothing_to_try));
    }

    /// The queue of a UNIX socket is full, and no event will tell when it is not.
    fn wait_for_room(&mut self, token: Token, address: Address) {
        let at = self.now() + CROWDED_PAUSE;
        if let Some(slot) = self.sources.connector_mut(token) {
            slot.addresses.push_front(address);
            slot.phase = Phase::Crowded(self.timers.set(at, TimedCall::ConnectAgain(token)));
        }
    }

    pub(crate) fn connect_again(&mut self, token: Token) {
        if let Some(slot) = self.sources.connector_mut(token)
            && let Phase::Crowded(_) = slot.phase
        {
            self.try_next_address(token, None);
        }
    }

    /// The kernel has news of a connection under way.
    pub(crate) fn attempt_ready(&mut self, attempt: Token, connector: Token, ready: Ready, seen: Instant) {
        let failed = match self.net.peer_address(attempt) {
            // A port that nobody listens on can connect to itself, when it lies where the system takes local ports
            // from; those below 1024 it never takes.
            Ok(peer)
                if peer.port().is_some_and(|port| port >= 1024)
                    && self.net.local_address(attempt).is_ok_and(|local| local == peer) =>
            {
                Reason::SelfConnected
            }
            Ok(peer) => {
                if let Some(slot) = self.sources.connector_mut(connector) {
                    slot.took = Some(seen - slot.began);
                }
                return self.connected(attempt, connector, peer, ready);
            }
            Err(not_connected) => match self.net.take_error(attempt) {
                Ok(Some(error)) | Err(error) => Reason::of_connect(&error, "connect"),
                // Not yet: an event that says nothing.
                Ok(None)
                    if not_connected.kind() == io::ErrorKind::NotConnected
                        && !ready.has(Ready::READ_CLOSED) =>
                {
                    return;
                }
                Ok(None) => Reason::of_connect(&not_connected, "connect"),
            },
        };
        self.net.close(attempt, Close::Graceful);
        self.sources.remove(attempt);
        self.try_next_address(connector, Some(failed));
    }

    fn connected(&mut self, token: Token, connector: Token, peer: Address, ready: Ready) {
        self.statistics.connects += 1;
        let Some(slot) = self.sources.connector_mut(connector) else {
            return;
        };
        slot.phase = Phase::Connected(token);
        // Gives the memory back: a connection may be held for long.
        slot.addresses = VecDeque::new();
        let (nodelay, keepalive) = match &slot.options {
            ConnectOptions::Tcp(options) => (options.nodelay, options.keepalive),
            ConnectOptions::Unix(_) => (false, None),
        };
        if let Some(timeout) = slot.timeout.take() {
            self.timers.cancel(timeout);
        }
        self.set_options(token, nodelay, keepalive);
        self.sources.promote(token, Connection::new(peer.clone(), connector));
        let built = self.with_client_factory(connector, Place::BuildProtocol, |factory, reactor| {
            factory.build_protocol(reactor, &peer)
        });
        match built {
            Some(Ok(Some(protocol))) => {
                self.begin_connection(token, protocol);
                // What the kernel said beside "connected" will not be said again.
                if ready.has(Ready::READABLE)
                    && let Some(connection) = self.sources.connection_mut(token)
                {
                    connection.ready.insert(ready);
                    self.queue(token);
                }
            }
            refused => {
                self.net.close(token, Close::Graceful);
                self.sources.remove(token);
                match refused {
                    Some(Err(panic)) => self.connector_failed(connector, &Reason::Panicked(panic)),
                    _ => self.connector_lost(connector, token, &Reason::Done),
                }
            }
        }
    }

    pub(crate) fn connect_timed_out(&mut self, token: Token) {
        let Some(slot) = self.sources.connector_mut(token) else {
            return;
        };
        slot.timeout = None;
        if let Phase::Connecting(attempt) = slot.phase {
            // An answer that came while the loop was held up waits for the poll, and counts. Bytes may have come
            // with it, and the poll may have told of them already.
            let now = self.net.now();
            self.attempt_ready(attempt, token, Ready::READABLE, now);
        }
        if let Some(slot) = self.sources.connector(token)
            && matches!(slot.phase, Phase::Resolving | Phase::Connecting(_) | Phase::Crowded(_))
        {
            let reason = Reason::TimedOut(slot.options.timeout());
            self.connector_failed(token, &reason);
        }
    }

    fn fail_soon(&mut self, token: Token, reason: Reason) {
        self.abandon_attempt(token);
        if let Some(slot) = self.sources.connector_mut(token) {
            slot.phase = Phase::Failing;
            self.tasks.push(Task::ConnectFailed(token, reason));
        }
    }

    /// Ends whatever the connector is about.
    fn abandon_attempt(&mut self, token: Token) {
        let Some(slot) = self.sources.connector_mut(token) else {
            return;
        };
        slot.addresses.clear();
        if let Some(timeout) = slot.timeout.take() {
            self.timers.cancel(timeout);
        }
        match std::mem::replace(&mut slot.phase, Phase::Disconnected) {
            Phase::Connecting(attempt) => {
                self.net.close(attempt, Close::Graceful);
                self.sources.remove(attempt);
            }
            Phase::Waiting(timer) | Phase::Crowded(timer) => {
                self.timers.cancel(timer);
            }
            Phase::Disconnected
            | Phase::Failing
            | Phase::Starting
            | Phase::Resolving
            | Phase::Connected(_) => {}
        }
    }

    pub(crate) fn connector_failed(&mut self, token: Token, reason: &Reason) {
        self.abandon_attempt(token);
        self.start_client_factory(token);
        self.statistics.connect_failures += 1;
        self.with_client_factory(token, Place::ClientConnectionFailed, |factory, reactor| {
            factory.client_connection_failed(&mut Connector::new(reactor, token), reason);
        });
        self.release_connector(token);
    }

    /// The connection of a connector was lost; its protocol knows already.
    pub(crate) fn connector_lost(&mut self, token: Token, connection: Token, reason: &Reason) {
        let Some(slot) = self.sources.connector_mut(token) else {
            return;
        };
        if slot.phase != Phase::Connected(connection) {
            return;
        }
        slot.phase = Phase::Disconnected;
        self.with_client_factory(token, Place::ClientConnectionLost, |factory, reactor| {
            factory.client_connection_lost(&mut Connector::new(reactor, token), reason);
        });
        self.release_connector(token);
    }

    /// A connector that does nothing any more goes.
    pub(crate) fn release_connector(&mut self, token: Token) {
        let Some(slot) = self.sources.connector(token) else {
            return;
        };
        if slot.phase != Phase::Disconnected {
            return;
        }
        if slot.started {
            self.with_client_factory(token, Place::StopFactory, |factory, reactor| {
                factory.stop_factory(reactor);
            });
        }
        if let Some(gone) = self.sources.remove(token) {
            self.call(Place::Drop, |_| drop(gone));
        }
    }

    pub(super) fn stop_connecting(&mut self, token: Token, reason: Reason) -> Result<()> {
        match self.sources.connector(token).map(|slot| slot.phase) {
            Some(Phase::Starting | Phase::Resolving | Phase::Connecting(_) | Phase::Crowded(_)) => {
                self.fail_soon(token, reason);
            }
            Some(Phase::Waiting(_)) => {
                self.abandon_attempt(token);
                self.tasks.push(Task::Release(token));
            }
            _ => return Err(Error::NotConnecting),
        }
        Ok(())
    }

    /// Gives up if it connects or waits to.
    pub(crate) fn disconnect_connector(&mut self, token: Token, reason: &Reason) {
        // Not connecting is what was wanted.
        let _ = self.stop_connecting(token, reason.clone());
    }
}

/// How soon a full queue of a UNIX socket is tried again.
const CROWDED_PAUSE: Duration = Duration::from_millis(10);
