//! Connection attempts: host name look-up, the race of addresses, and the outcome.

use std::io;

use crate::net::{Close, Instant, OpenStep, Readiness, Token};
use crate::reactor::connect::happy_eyeballs::{Attempt, HappyEyeballs, RESOLUTION_DELAY, RankedFailure};
use crate::reactor::connect::{ConnectOptions, Phase};
use crate::reactor::connection::Connection;
use crate::reactor::connection::options::StreamOptions;
use crate::reactor::error::Error;
use crate::reactor::protocol::build_context::{Built, build, build_protocol};
use crate::reactor::registry::Source;
use crate::reactor::resolve::Found;
use crate::reactor::resolve::lookup::{Overdue, Receiver};
use crate::reactor::turn::queues::Callback;
use crate::reactor::{
    Address, CallbackKind, ClientFactory, Connector, Protocol, Query, Reactor, Reason, Result, SystemError,
    TimedCall,
};

impl Reactor {
    /// Calls a connector's factory, which is out of its slot meanwhile.
    fn with_client_factory<R>(
        &mut self,
        token: Token,
        place: CallbackKind,
        call: impl FnOnce(&mut dyn ClientFactory, &mut Reactor) -> R,
    ) -> Option<Result<R, String>> {
        let mut factory = self.registry.connector_mut(token)?.factory.take()?;
        let result = self.run_user_code(place, None, |reactor| call(&mut *factory, reactor));
        if let Some(slot) = self.registry.connector_mut(token) {
            slot.factory = Some(factory);
        }
        Some(result)
    }

    fn start_client_factory(&mut self, token: Token) {
        let Some(slot) = self.registry.connector_mut(token) else { return };
        if !std::mem::replace(&mut slot.started, true) {
            self.with_client_factory(token, CallbackKind::StartFactory, |factory, reactor| {
                factory.start_factory(reactor);
            });
        }
    }

    pub(in crate::reactor) fn start_connecting(&mut self, token: Token) {
        let Some(slot) = self.registry.connector_mut(token) else {
            return;
        };
        if !matches!(slot.phase, Phase::Starting | Phase::Waiting(_)) {
            return;
        }
        slot.phase = Phase::Starting;
        slot.attempt = slot.attempt.wrapping_add(1);
        self.start_client_factory(token);
        self.with_client_factory(token, CallbackKind::StartedConnecting, |factory, reactor| {
            factory.started_connecting(&mut Connector::new(reactor, token));
        });
        let now = self.now();
        let Some(slot) = self.registry.connector_mut(token) else {
            return;
        };
        if !matches!(slot.phase, Phase::Starting) {
            return;
        }
        let timeout = slot.options.timeout();
        slot.timeout = Some(self.timers.set(now + timeout, TimedCall::ConnectTimeout(token)));
        let attempt = slot.attempt;
        let (host, port) = match &slot.options {
            ConnectOptions::Tcp(options) => (options.host.clone(), options.port),
            ConnectOptions::Unix(options) => {
                let address = Address::Unix(options.address.clone());
                return self.start_race(token, [address]);
            }
        };
        match self.literal(&host, port) {
            Some(Ok(address)) => return self.start_race(token, [Address::Tcp(address)]),
            Some(Err(reason)) => return self.connector_failed(token, &reason),
            None => {}
        }
        let query = Query { timeout, ..Query::new(host.clone(), port) };
        let lookup = self.start_lookup(query, Receiver::Connector(token, attempt));
        let goes_on =
            |slot: &super::ConnectorSlot| matches!(slot.phase, Phase::Starting) && slot.attempt == attempt;
        if !self.registry.connector(token).is_some_and(goes_on) {
            // The resolver, which is user code, has ended the attempt.
            if let Ok(lookup) = lookup {
                self.cancel_lookup(lookup);
            }
            return;
        }
        match lookup {
            Ok(lookup) => {
                if let Some(slot) = self.registry.connector_mut(token) {
                    slot.phase = Phase::Resolving(lookup);
                }
            }
            Err(error) => {
                let why = error.to_string();
                self.connector_failed(token, &Reason::LookupFailed { host, why });
            }
        }
    }

    /// Handles a look-up that found no address.
    pub(in crate::reactor) fn connector_unresolved(&mut self, token: Token, attempt: u32, reason: Reason) {
        if let Some(slot) = self.registry.connector(token)
            && slot.attempt == attempt
            && matches!(slot.phase, Phase::Resolving(_))
        {
            // Queued: this runs inside a call from a thread.
            self.fail_soon(token, reason);
        }
    }

    /// Handles addresses of a look-up. The resolver was asked at `began`.
    pub(in crate::reactor) fn connector_resolved(
        &mut self,
        token: Token,
        attempt: u32,
        began: Instant,
        found: Found,
    ) {
        let now = self.now();
        let Found { mut addresses, unordered, is_last } = found;
        if unordered && self.registry.connector(token).is_some_and(|slot| slot.attempt == attempt) {
            let waiting = self.race(token).map(HappyEyeballs::take_waiting).unwrap_or_default();
            addresses = self.in_destination_order(waiting.into_iter().chain(addresses).collect());
        }
        let Some(slot) = self.registry.connector_mut(token).filter(|slot| slot.attempt == attempt) else {
            return;
        };
        let bind = match &slot.options {
            ConnectOptions::Tcp(options) => options.bind,
            ConnectOptions::Unix(_) => None,
        };
        match &mut slot.phase {
            Phase::Resolving(lookup) => {
                let mut race = HappyEyeballs::resolving(*lookup, bind);
                race.add(addresses);
                if is_last {
                    race.end_lookup();
                }
                let awaits_ipv6 = race.awaits_ipv6();
                slot.phase = Phase::Connecting(Box::new(race));
                let (timeout, limit) = (slot.timeout, slot.options.timeout());
                if let Some(timeout) = timeout
                    && let Some(due) = self.timers.due(timeout)
                {
                    // The peer must not pay for the look-up's wait for a thread. If the time has
                    // already expired, the loop was blocked, and the peer must not pay for that
                    // either.
                    let due = due.max(began + limit);
                    self.timers.reset(timeout, if due <= now { now + limit } else { due });
                }
                match awaits_ipv6 {
                    true => self.start_next_after(token, now + RESOLUTION_DELAY),
                    false => self.start_next_attempt(token),
                }
            }
            Phase::Connecting(race) => {
                race.add(addresses);
                if is_last {
                    race.end_lookup();
                }
                self.continue_race(token);
            }
            _ => {}
        }
    }

    fn start_race(&mut self, token: Token, addresses: impl IntoIterator<Item = Address>) {
        if let Some(slot) = self.registry.connector_mut(token) {
            slot.phase = Phase::Connecting(Box::new(HappyEyeballs::new(addresses)));
            self.start_next_attempt(token);
        }
    }

    fn race(&mut self, token: Token) -> Option<&mut HappyEyeballs> {
        match &mut self.registry.connector_mut(token)?.phase {
            Phase::Connecting(race) => Some(race),
            _ => None,
        }
    }

    /// Continues after addresses have arrived, or after the last of them.
    fn continue_race(&mut self, token: Token) {
        let now = self.net.now();
        let Some(race) = self.race(token) else { return };
        match race.next_at {
            _ if race.awaits_ipv6() => {}
            // The first attempt, or the next after a failure.
            None => self.start_next_attempt(token),
            Some(_) if race.next.is_some() || race.waiting.is_empty() || !race.has_room() => {}
            Some(at) if at > now => self.start_next_after(token, at),
            Some(_) => self.start_next_attempt(token),
        }
    }

    /// Starts an attempt to the next address. If there is none, no attempt is in progress and no
    /// further address can arrive, all have failed.
    fn start_next_attempt(&mut self, token: Token) {
        while let Some(slot) = self.registry.connector_mut(token)
            && let Phase::Connecting(race) = &mut slot.phase
        {
            if let Some(timer) = race.next.take() {
                self.timers.cancel(timer);
            }
            if !race.has_room() {
                return;
            }
            let Some(address) = race.pop() else {
                break;
            };
            let Some(open) = slot.options.open(&address) else {
                continue;
            };
            let delay = slot.options.attempt_delay();
            let began = self.net.now();
            let attempt = self.registry.insert(Source::Attempt(token));
            let opened = self.net.open(attempt, &open);
            if opened.is_err() {
                self.registry.remove(attempt);
            }
            match opened {
                Ok(()) => {
                    if let Some(race) = self.race(token) {
                        race.attempts.push(Attempt { token: attempt, began });
                        race.next_at = Some(began + delay);
                        if !race.waiting.is_empty() {
                            self.start_next_after(token, began + delay);
                        }
                    }
                    return;
                }
                // The backlog of the UNIX socket is full (EAGAIN). No event reports room, so retry
                // on a timer.
                Err(failed)
                    if failed.step == OpenStep::Connect
                        && failed.error.kind() == io::ErrorKind::WouldBlock
                        && matches!(address, Address::Unix(_)) =>
                {
                    if let Some(race) = self.race(token) {
                        race.waiting.push_front(address);
                        self.start_next_after(token, began + delay);
                    }
                    return;
                }
                Err(failed) => {
                    if let Some(race) = self.race(token) {
                        let is_ipv6 = matches!(address, Address::Tcp(address) if address.is_ipv6());
                        RankedFailure::note_opening(&mut race.failure, &failed, is_ipv6);
                        race.next_at = None;
                    }
                }
            }
        }
        if let Some(race) = self.race(token)
            && race.attempts.is_empty()
            && race.lookup.is_none()
        {
            let nothing_to_try = || {
                let error = io::Error::from(io::ErrorKind::AddrNotAvailable);
                Reason::ConnectFailed(SystemError::new("connect", &error))
            };
            let reason = race.failure.take().map_or_else(nothing_to_try, RankedFailure::into_reason);
            self.fail_soon(token, reason);
        }
    }

    fn start_next_after(&mut self, token: Token, at: Instant) {
        let timer = self.timers.set(at, TimedCall::NextAttempt(token));
        if let Some(race) = self.race(token) {
            race.next = Some(timer);
        }
    }

    /// Handles the end of an attempt's head start.
    pub(in crate::reactor) fn next_attempt_due(&mut self, token: Token) {
        if let Some(race) = self.race(token) {
            race.next = None;
        }
        self.look_at_attempts(token);
        if self.race(token).is_some_and(|race| race.next.is_none()) {
            self.start_next_attempt(token);
        }
    }

    /// Checks the attempts for results that arrived while the loop was blocked, so that these
    /// count.
    fn look_at_attempts(&mut self, token: Token) {
        let Some(race) = self.race(token) else { return };
        let attempts: Vec<Token> = race.attempts.iter().map(|attempt| attempt.token).collect();
        let now = self.net.now();
        for attempt in attempts {
            if self.race(token).is_some_and(|race| race.attempts.iter().any(|other| other.token == attempt)) {
                // Data may have arrived with the connection, and the poll may have reported it
                // already.
                self.attempt_ready(attempt, token, Readiness::READABLE, now);
            }
        }
    }

    /// Handles an event of a connection attempt.
    pub(in crate::reactor) fn attempt_ready(
        &mut self,
        attempt: Token,
        connector: Token,
        ready: Readiness,
        established_at: Instant,
    ) {
        let failed = match self.net.peer_address(attempt) {
            // A connect to an unused port can connect to itself, if the port is in the range of
            // ephemeral ports. That range never includes ports below 1024.
            Ok(peer)
                if peer.port().is_some_and(|port| port >= 1024)
                    && self.net.local_address(attempt).is_ok_and(|local| local == peer) =>
            {
                Reason::SelfConnected
            }
            Ok(peer) => {
                let began = self.race(connector).and_then(|race| race.remove(attempt));
                if let Some(slot) = self.registry.connector_mut(connector) {
                    slot.connect_time = began.map(|began| established_at - began);
                }
                return self.connected(attempt, connector, peer, ready);
            }
            Err(not_connected) => match self.net.take_error(attempt) {
                Ok(Some(error)) | Err(error) => Reason::of_connect(&error, "connect"),
                // A spurious event: neither connected nor failed.
                Ok(None)
                    if not_connected.kind() == io::ErrorKind::NotConnected
                        && !ready.has(Readiness::READ_CLOSED) =>
                {
                    return;
                }
                Ok(None) => Reason::of_connect(&not_connected, "connect"),
            },
        };
        self.net.close(attempt, Close::Graceful);
        self.registry.remove(attempt);
        if let Some(race) = self.race(connector) {
            race.remove(attempt);
            race.next_at = None;
            RankedFailure::note(&mut race.failure, failed);
        }
        self.start_next_attempt(connector);
    }

    fn connected(&mut self, token: Token, connector: Token, peer: Address, ready: Readiness) {
        self.statistics.connects += 1;
        let Some(slot) = self.registry.connector_mut(connector) else {
            return;
        };
        let phase = std::mem::replace(&mut slot.phase, Phase::Connected(token));
        let options = match &slot.options {
            ConnectOptions::Tcp(options) => options.of_connections(),
            ConnectOptions::Unix(_) => StreamOptions::default(),
        };
        if let Phase::Connecting(race) = phase {
            self.end_race(&race);
        }
        if let Err(error) = self.set_options(token, options) {
            log_warn!("{peer}: an option of the connection could not be set: {error}");
        }
        let small_marks = self.has_small_marks();
        self.registry.promote(token, Connection::new(peer.clone(), connector, small_marks));
        let built = self.with_client_factory(connector, CallbackKind::BuildProtocol, |factory, reactor| {
            build(factory, reactor, token, &peer)
        });
        // Layers get ready within the remaining time.
        let layered = matches!(built, Some(Ok(Some(Built::Layers(_)))));
        if !layered
            && let Some(timeout) = self.registry.connector_mut(connector).and_then(|s| s.timeout.take())
        {
            self.timers.cancel(timeout);
        }
        match built {
            Some(Ok(Some(built))) => {
                self.start_connection(token, built);
                // An edge-triggered event is not repeated: keep what the kernel reported beside
                // "connected".
                if ready.has(Readiness::READABLE)
                    && let Some(connection) = self.registry.connection_mut(token)
                {
                    connection.readiness.insert(ready);
                    self.schedule_resume(token);
                }
            }
            refused => {
                self.net.close(token, Close::Graceful);
                self.forget(token);
                match refused {
                    Some(Err(panic)) => self.connector_failed(connector, &Reason::Panicked(panic)),
                    _ => self.connector_lost(connector, token, &Reason::Done),
                }
            }
        }
    }

    /// Builds the protocol of a connection whose layers are ready. The error is the message of the
    /// factory's panic.
    pub(in crate::reactor) fn build_for_connector(
        &mut self,
        connector: Token,
        token: Token,
        peer: &Address,
    ) -> Result<Option<Box<dyn Protocol>>, String> {
        let build = |factory: &mut dyn ClientFactory, reactor: &mut Reactor| {
            build_protocol(factory, reactor, token, peer)
        };
        self.with_client_factory(connector, CallbackKind::BuildProtocol, build).unwrap_or(Ok(None))
    }

    pub(in crate::reactor) fn connect_timed_out(&mut self, token: Token) {
        let Some(slot) = self.registry.connector_mut(token) else {
            return;
        };
        slot.timeout = None;
        if let Phase::Connected(connection) = slot.phase {
            let limit = slot.options.timeout();
            return self.handshake_timed_out(connection, limit);
        }
        if let Phase::Connecting(race) = &mut slot.phase {
            // The remaining addresses have no time left.
            race.waiting.clear();
        }
        self.look_at_attempts(token);
        if let Some(Phase::Connected(connection)) = self.registry.connector(token).map(|slot| &slot.phase)
            && self.awaits_layers(*connection)
        {
            // Established in the last moment. The layers get the same time again.
            let timeout =
                self.registry.connector(token).map(|slot| slot.options.timeout()).unwrap_or_default();
            let timer = self.timers.set(self.now() + timeout, TimedCall::ConnectTimeout(token));
            if let Some(slot) = self.registry.connector_mut(token) {
                slot.timeout = Some(timer);
            }
            return;
        }
        if let Some(slot) = self.registry.connector(token)
            && matches!(slot.phase, Phase::Resolving(_) | Phase::Connecting(_))
        {
            let limit = slot.options.timeout();
            let reason = match slot.phase {
                Phase::Resolving(lookup) => match self.overdue_lookup(lookup, limit) {
                    Overdue::Failed(reason) => reason,
                    Overdue::Until(at) => {
                        let timer = self.timers.set(at, TimedCall::ConnectTimeout(token));
                        if let Some(slot) = self.registry.connector_mut(token) {
                            slot.timeout = Some(timer);
                        }
                        return;
                    }
                },
                _ => {
                    // The answer of another address may be more informative than a timeout.
                    let mut failure = self.race(token).and_then(|race| race.failure.take());
                    RankedFailure::note(&mut failure, Reason::TimedOut(limit));
                    failure.map_or(Reason::TimedOut(limit), RankedFailure::into_reason)
                }
            };
            self.connector_failed(token, &reason);
        }
    }

    fn fail_soon(&mut self, token: Token, reason: Reason) {
        self.abandon_attempt(token);
        if let Some(slot) = self.registry.connector_mut(token) {
            slot.phase = Phase::Failing;
            self.queues.callbacks.push(Callback::ConnectFailed(token, reason));
        }
    }

    /// Ends the current activity of the connector.
    fn abandon_attempt(&mut self, token: Token) {
        let Some(slot) = self.registry.connector_mut(token) else {
            return;
        };
        if let Some(timeout) = slot.timeout.take() {
            self.timers.cancel(timeout);
        }
        match std::mem::replace(&mut slot.phase, Phase::Disconnected) {
            Phase::Connecting(race) => self.end_race(&race),
            Phase::Waiting(timer) => {
                self.timers.cancel(timer);
            }
            Phase::Resolving(lookup) => self.cancel_lookup(lookup),
            Phase::Disconnected | Phase::Failing | Phase::Starting | Phase::Connected(_) => {}
        }
    }

    /// Closes all attempts in progress and cancels the look-up, without a callback.
    fn end_race(&mut self, race: &HappyEyeballs) {
        if let Some(timer) = race.next {
            self.timers.cancel(timer);
        }
        if let Some(lookup) = race.lookup {
            self.cancel_lookup(lookup);
        }
        for attempt in &race.attempts {
            self.net.close(attempt.token, Close::Graceful);
            self.registry.remove(attempt.token);
        }
    }

    pub(in crate::reactor) fn connector_failed(&mut self, token: Token, reason: &Reason) {
        self.abandon_attempt(token);
        self.start_client_factory(token);
        self.statistics.connect_failures += 1;
        self.with_client_factory(token, CallbackKind::ClientConnectionFailed, |factory, reactor| {
            factory.client_connection_failed(&mut Connector::new(reactor, token), reason);
        });
        self.release_connector(token);
    }

    /// Reports the loss of a connection before its layers were ready to its connector, as a failed
    /// attempt.
    pub(in crate::reactor) fn connection_never_made(
        &mut self,
        token: Token,
        connection: Token,
        reason: &Reason,
    ) {
        let phase = self.registry.connector(token).map(|slot| &slot.phase);
        if matches!(phase, Some(Phase::Connected(current)) if *current == connection) {
            self.connector_failed(token, reason);
        }
    }

    /// Reports the loss of a connection to its connector. The protocol was called before.
    pub(in crate::reactor) fn connector_lost(&mut self, token: Token, connection: Token, reason: &Reason) {
        let Some(slot) = self.registry.connector_mut(token) else {
            return;
        };
        if !matches!(slot.phase, Phase::Connected(current) if current == connection) {
            return;
        }
        slot.phase = Phase::Disconnected;
        self.with_client_factory(token, CallbackKind::ClientConnectionLost, |factory, reactor| {
            factory.client_connection_lost(&mut Connector::new(reactor, token), reason);
        });
        self.release_connector(token);
    }

    /// Removes a connector that is idle.
    pub(in crate::reactor) fn release_connector(&mut self, token: Token) {
        let Some(slot) = self.registry.connector(token) else {
            return;
        };
        if !matches!(slot.phase, Phase::Disconnected) {
            return;
        }
        if slot.started {
            self.with_client_factory(token, CallbackKind::StopFactory, |factory, reactor| {
                factory.stop_factory(reactor);
            });
        }
        if let Some(gone) = self.registry.remove(token) {
            self.call(CallbackKind::Drop, |_| drop(gone));
        }
    }

    pub(in crate::reactor) fn stop_connecting(&mut self, token: Token, reason: Reason) -> Result<()> {
        match self.registry.connector(token).map(|slot| &slot.phase) {
            Some(Phase::Starting | Phase::Resolving(_) | Phase::Connecting(_)) => {
                self.fail_soon(token, reason);
            }
            Some(Phase::Waiting(_)) => {
                self.abandon_attempt(token);
                self.queues.callbacks.push(Callback::Release(token));
            }
            _ => return Err(Error::NotConnecting),
        }
        Ok(())
    }

    /// Cancels an attempt or a wait, if there is one.
    pub(in crate::reactor) fn disconnect_connector(&mut self, token: Token, reason: &Reason) {
        // A connector that is not connecting is already in the wanted state.
        let _ = self.stop_connecting(token, reason.clone());
    }
}
