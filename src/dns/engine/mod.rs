//! The engine: flights of questions, their attempts at servers, and the limits on them.
//!
//! A flight begins with the first request for a question, and later requests join it. Each attempt
//! asks one server. An attempt ends with a response, an error or a timeout. Then the flight has its
//! outcome, or the next attempt begins. No callback runs while the state is borrowed.

pub(in crate::dns) mod flight;
mod server;
mod state;
mod stream;
mod udp;

use std::cell::RefCell;
use std::collections::{HashMap, VecDeque};
use std::rc::Rc;
use std::time::Duration;

use slab::Slab;

use crate::dns::cache::{Cache, Outcome};
use crate::dns::engine::flight::{Ask, Attempt, Done, Flight, FlightId, NextAttempt, Stage};
use crate::dns::engine::server::{Attempts, MAX_SERVERS, Server};
use crate::dns::engine::state::{Next, State, Step};
use crate::dns::message::question::Question;
use crate::dns::{DnsError, ResolverConfig, ResolverStatistics, Transport};
use crate::{DatagramId, Instant, Reactor};

/// The state of a resolver that its clones, its timers and its sockets share.
pub(in crate::dns) struct Engine {
    config: RefCell<Rc<ResolverConfig>>,
    pub(in crate::dns) state: RefCell<State>,
}

/// Error of sending a query.
enum SendError {
    /// This server cannot be asked.
    Server(DnsError),
    /// No server can be asked.
    Local(DnsError),
    /// The reactor is stopping.
    Stopping,
}

/// The timer of a flight. A flight whose timer is dropped has lost its reactor.
struct Watch {
    engine: Rc<Engine>,
    flight: FlightId,
    ran: bool,
}

impl Drop for Watch {
    fn drop(&mut self) {
        if !self.ran {
            self.engine.forget(self.flight);
        }
    }
}

impl Engine {
    pub(in crate::dns) fn new(config: ResolverConfig) -> Engine {
        let mut servers = Vec::new();
        for (rank, server) in config.servers.iter().take(MAX_SERVERS).enumerate() {
            servers.push(Server::new(server.clone(), rank));
        }
        let state = State {
            cache: Cache::new(config.max_cache_entries, config.max_cache_bytes),
            statistics: ResolverStatistics::default(),
            servers,
            flights: Slab::new(),
            joined: HashMap::default(),
            waiting: VecDeque::new(),
            active: 0,
            starting: false,
            serial: 0,
            homes: Vec::new(),
            streams: Slab::new(),
            rotation: 0,
        };
        Engine { config: RefCell::new(Rc::new(config)), state: RefCell::new(state) }
    }

    pub(in crate::dns) fn config(&self) -> Rc<ResolverConfig> {
        Rc::clone(&self.config.borrow())
    }

    /// Replaces the configuration. Queries in flight end as they began. Answers of other servers
    /// are not used any more.
    pub(in crate::dns) fn set_config(&self, config: ResolverConfig) {
        let earlier = self.config.replace(Rc::new(config));
        let config = self.config();
        let mut state = self.state.borrow_mut();
        if config.servers != earlier.servers {
            state.cache.clear();
            state.replace_servers(&config.servers);
        }
    }

    /// The cached outcome of a question.
    pub(in crate::dns) fn cached(&self, question: &mut Question, now: Instant) -> Option<Outcome> {
        let mut state = self.state.borrow_mut();
        let outcome = state.cache.get(question, now);
        match outcome {
            Some(_) => state.statistics.cache_hits += 1,
            None => state.statistics.cache_misses += 1,
        }
        outcome
    }

    /// Asks the servers. `done` is called later, from the loop.
    pub(in crate::dns) fn ask(
        self: &Rc<Engine>,
        reactor: &mut Reactor,
        question: &mut Question,
        done: Done,
    ) -> Result<Ask, DnsError> {
        let config = self.config();
        let mut state = self.state.borrow_mut();
        let home = state.home(reactor.as_ref());
        state.serial += 1;
        let serial = state.serial;
        let key = question.key_of(home);
        if let Some(place) = state.joined.get(key).copied()
            && let Some(flight) = state.flights.get_mut(place)
        {
            flight.joined.push((serial, done));
            let flight = FlightId { place, serial: flight.serial };
            state.statistics.joined += 1;
            return Ok(Ask { flight, asker: serial });
        }
        if state.servers.is_empty() {
            return Err(DnsError::NoServers);
        }
        if state.flights.len() >= config.max_pending {
            state.statistics.refused += 1;
            return Err(DnsError::QueueFull(config.max_pending));
        }
        let id = FlightId { place: state.flights.vacant_key(), serial };
        let watch = Watch { engine: Rc::clone(self), flight: id, ran: false };
        let timer = reactor.call_later(config.first_timeout(), move |reactor| watch.due(reactor));
        state.rotation = state.rotation.wrapping_add(1);
        let key: Rc<[u8]> = key.into();
        let flight = Flight {
            serial,
            key: Rc::clone(&key),
            alias: None,
            aliases: 0,
            earlier: Vec::new(),
            alias_ttl: u32::MAX,
            first: Some((serial, done)),
            joined: Vec::new(),
            stage: Stage::Waiting,
            next: None,
            attempts: Attempts::default(),
            timeouts: 0,
            rotation: state.rotation,
            began: reactor.now(),
            timer: Some(timer),
            failure: None,
            last_server: None,
        };
        state.flights.insert(flight);
        state.joined.insert(key, id.place);
        drop(state);
        if let Some(outcome) = self.attempt_with(reactor, id, true) {
            // The caller is not called inside its own call.
            let engine = Rc::clone(self);
            reactor.handle().call(move |reactor| engine.finish(reactor, id, outcome));
        }
        Ok(Ask { flight: id, asker: serial })
    }

    /// Drops a request. A flight without requests ends.
    pub(in crate::dns) fn cancel(self: &Rc<Engine>, reactor: &mut Reactor, ask: Ask) {
        let mut state = self.state.borrow_mut();
        let Some(flight) = state.flight_mut(ask.flight) else { return };
        let asker = match flight.first.take_if(|(asker, _)| *asker == ask.asker) {
            Some(asker) => asker,
            None => match flight.joined.iter().position(|(asker, _)| *asker == ask.asker) {
                Some(index) => flight.joined.remove(index),
                None => return,
            },
        };
        let last = flight.first.is_none() && flight.joined.is_empty();
        drop(state);
        if last {
            self.end_attempt(reactor, ask.flight);
            let removed = self.state.borrow_mut().remove_flight(ask.flight);
            self.cancel_timer(reactor, removed);
            self.start_waiting(reactor);
        }
        drop(asker);
    }

    /// Begins attempts until one is under way. Returns the outcome if there is none.
    fn attempt(self: &Rc<Engine>, reactor: &mut Reactor, id: FlightId) -> Option<Outcome> {
        self.attempt_with(reactor, id, false)
    }

    /// As `attempt`. `timed`: the timer of the flight is that of its first attempt already.
    fn attempt_with(self: &Rc<Engine>, reactor: &mut Reactor, id: FlightId, timed: bool) -> Option<Outcome> {
        loop {
            let now = reactor.now();
            let random = reactor.random();
            let config = self.config();
            let case_bits = config.mixed_case.then(|| [(); 4].map(|()| reactor.random()));
            let step = self.state.borrow_mut().next_step(id, &config, now, random, case_bits);
            let (server, address, transport, home, mut query) = match step {
                Step::Nothing => return None,
                Step::Finish(outcome) => return Some(outcome),
                Step::Send { server, address, transport, home, query } => {
                    (server, address, transport, home, query)
                }
            };
            let sent = match transport {
                Transport::Udp => self.send_by_udp(reactor, id, address, query.as_bytes()).map(Sent::Udp),
                Transport::Tcp => {
                    let to = (home, server, address);
                    let sent = self.send_by_tcp(reactor, id, to, query.as_bytes_mut());
                    sent.map(|(stream, query)| Sent::Stream(stream, query))
                }
            };
            let mut state = self.state.borrow_mut();
            state.statistics.queries += u64::from(sent.is_ok());
            let flight = state.flight_mut(id)?;
            match sent {
                Ok(sent) => {
                    let Stage::Opening(mut attempt) = std::mem::replace(&mut flight.stage, Stage::Waiting)
                    else {
                        return None;
                    };
                    flight.stage = match sent {
                        Sent::Udp(socket) => Stage::Udp { attempt, socket, mismatches: 0 },
                        Sent::Stream(stream, query) => {
                            attempt.id = query;
                            Stage::Stream { attempt, stream }
                        }
                    };
                    if !timed {
                        let limit = time_limit(&config, flight, now);
                        drop(state);
                        self.set_timer(reactor, id, limit);
                    }
                    return None;
                }
                Err(SendError::Server(error)) => {
                    flight.attempts.exclude(server);
                    flight.note(Err(error));
                    drop(state);
                    self.end_attempt(reactor, id);
                }
                Err(SendError::Local(error)) => return Some(Err(error)),
                Err(SendError::Stopping) => return Some(Err(DnsError::ReactorUnavailable)),
            }
        }
    }

    fn set_timer(self: &Rc<Engine>, reactor: &mut Reactor, id: FlightId, delay: Duration) {
        let timer = self.state.borrow_mut().flight_mut(id).and_then(|flight| flight.timer);
        if timer.is_some_and(|timer| timer.reset(reactor, delay).is_ok()) {
            return;
        }
        let watch = Watch { engine: Rc::clone(self), flight: id, ran: false };
        let timer = reactor.call_later(delay, move |reactor| watch.due(reactor));
        if let Some(flight) = self.state.borrow_mut().flight_mut(id) {
            flight.timer = Some(timer);
        }
    }

    fn cancel_timer(&self, reactor: &mut Reactor, flight: Option<Flight>) {
        if let Some(timer) = flight.and_then(|flight| flight.timer) {
            // It may be the one that runs.
            let _ = timer.cancel(reactor);
        }
    }

    /// Handles a datagram from the address of the server.
    fn datagram_received(
        self: &Rc<Engine>,
        reactor: &mut Reactor,
        id: FlightId,
        socket: DatagramId,
        message: &[u8],
        cut: bool,
    ) {
        let now = reactor.now();
        let next = {
            let mut state = self.state.borrow_mut();
            match state.flight_mut(id).map(|flight| &flight.stage) {
                Some(Stage::Udp { socket: own, .. }) if *own == socket => {
                    state.response(id, &self.config(), message, cut, now)
                }
                _ => Next::Nothing,
            }
        };
        self.go_on(reactor, id, next);
    }

    /// Handles a message from the connection that the query was sent on.
    fn message_received(
        self: &Rc<Engine>,
        reactor: &mut Reactor,
        id: FlightId,
        place: usize,
        message: &[u8],
    ) {
        let now = reactor.now();
        let next = {
            let mut state = self.state.borrow_mut();
            match state.flight_mut(id).map(|flight| &flight.stage) {
                Some(Stage::Stream { stream, .. }) if *stream == place => {
                    state.response(id, &self.config(), message, false, now)
                }
                _ => Next::Nothing,
            }
        };
        self.go_on(reactor, id, next);
    }

    /// Handles an error of a socket.
    fn socket_failed(
        self: &Rc<Engine>,
        reactor: &mut Reactor,
        id: FlightId,
        socket: DatagramId,
        why: String,
    ) {
        let own = match self.state.borrow_mut().flight_mut(id).map(|flight| &flight.stage) {
            Some(Stage::Udp { socket: own, .. }) => *own == socket,
            _ => false,
        };
        if own {
            self.attempt_lost(reactor, id, false, why);
        }
    }

    /// Handles an attempt that failed without a response. If the server had answered on the same
    /// connection before, it is asked again.
    fn attempt_lost(self: &Rc<Engine>, reactor: &mut Reactor, id: FlightId, served: bool, why: String) {
        let now = reactor.now();
        {
            let mut state = self.state.borrow_mut();
            let Some(attempt) = state.flight_mut(id).and_then(|flight| flight.stage.attempt()).cloned()
            else {
                return;
            };
            let Some(server) = state.servers.get_mut(attempt.server) else { return };
            let address = server.config.address;
            if !served {
                server.failed(now);
            }
            let Some(flight) = state.flight_mut(id) else { return };
            let Attempt { server, transport, edns, .. } = attempt;
            match served {
                true => flight.next = Some(NextAttempt { server, transport, edns }),
                false => {
                    flight.attempts.exclude(server);
                    flight.note(Err(DnsError::Unreachable { server: address, why }));
                }
            }
        }
        self.go_on(reactor, id, Next::Attempt);
    }

    fn go_on(self: &Rc<Engine>, reactor: &mut Reactor, id: FlightId, next: Next) {
        match next {
            Next::Nothing => {}
            Next::Attempt => {
                self.end_attempt(reactor, id);
                match self.attempt(reactor, id) {
                    Some(outcome) => self.finish(reactor, id, outcome),
                    // The query may wait, and another may be able to begin.
                    None => self.start_waiting(reactor),
                }
            }
            Next::Finish(outcome) => self.finish(reactor, id, outcome),
        }
    }

    /// Closes what belongs to the attempt of a flight.
    fn end_attempt(self: &Rc<Engine>, reactor: &mut Reactor, id: FlightId) {
        let stage = self.state.borrow_mut().end_stage(id);
        match stage {
            Stage::Udp { socket, .. } => {
                if let Some(mut transport) = reactor.datagram_transport(socket) {
                    transport.stop_listening();
                }
            }
            Stage::Stream { stream, .. } => self.leave_stream(reactor, stream, id),
            Stage::Waiting | Stage::Opening(_) => {}
        }
    }

    /// Ends a flight: caches its outcome and calls its requesters.
    fn finish(self: &Rc<Engine>, reactor: &mut Reactor, id: FlightId, outcome: Outcome) {
        self.end_attempt(reactor, id);
        let now = reactor.now();
        let flight = {
            let mut state = self.state.borrow_mut();
            let Some(mut flight) = state.remove_flight(id) else { return };
            if is_cacheable(&outcome) {
                state.cache.insert(&mut flight.question(), &outcome, now);
            }
            if outcome.is_err() {
                state.statistics.failures += 1;
            }
            if let Some(timer) = flight.timer.take() {
                drop(state);
                // It may be the one that runs.
                let _ = timer.cancel(reactor);
            }
            flight
        };
        let mut askers = flight.first.into_iter().chain(flight.joined);
        let mut next = askers.next();
        while let Some((_, done)) = next {
            next = askers.next();
            match &next {
                Some(_) => done(reactor, outcome.clone()),
                None => {
                    done(reactor, outcome);
                    break;
                }
            }
        }
        self.start_waiting(reactor);
    }

    /// Begins the attempts of flights that wait, as far as the limits allow.
    fn start_waiting(self: &Rc<Engine>, reactor: &mut Reactor) {
        if self.state.borrow().waiting.is_empty()
            || std::mem::replace(&mut self.state.borrow_mut().starting, true)
        {
            return;
        }
        loop {
            let id = {
                let mut state = self.state.borrow_mut();
                let Some(id) = state.next_waiting(&self.config()) else { break };
                id
            };
            if let Some(outcome) = self.attempt(reactor, id) {
                self.finish(reactor, id, outcome);
            } else if self.state.borrow().waiting.back() == Some(&id) {
                // All of its servers are busy.
                break;
            }
        }
        self.state.borrow_mut().starting = false;
    }

    /// Drops a flight whose reactor is gone.
    fn forget(&self, id: FlightId) {
        let Ok(mut state) = self.state.try_borrow_mut() else { return };
        if state.flight_mut(id).is_none() {
            return;
        }
        state.end_stage(id);
        let flight = state.remove_flight(id);
        drop(state);
        drop(flight);
    }
}

enum Sent {
    Udp(DatagramId),
    Stream(usize, u16),
}

impl Watch {
    /// Handles the end of the time for an attempt, or for the flight.
    fn due(mut self, reactor: &mut Reactor) {
        self.ran = true;
        let (engine, id) = (Rc::clone(&self.engine), self.flight);
        let now = reactor.now();
        let next = {
            let mut state = engine.state.borrow_mut();
            state.timed_out(id, &engine.config(), now)
        };
        engine.go_on(reactor, id, next);
        // A flight that goes on has a new timer by now, and one that waits needs one.
        let waits = engine
            .state
            .borrow_mut()
            .flight_mut(id)
            .is_some_and(|flight| flight.timer.is_none_or(|timer| !timer.active(reactor)));
        if waits {
            let rest = engine.state.borrow_mut().flight_mut(id).map(|flight| flight.began);
            let rest = rest.map(|began| began + engine.config().timeout - now);
            engine.set_timer(reactor, id, rest.unwrap_or_default());
        }
    }
}

/// The time for the attempt that has just begun.
fn time_limit(config: &ResolverConfig, flight: &Flight, now: Instant) -> Duration {
    let own = config.timeouts.get(flight.timeouts).or(config.timeouts.last()).copied();
    let rest = flight.began + config.timeout - now;
    own.unwrap_or(config.timeout).min(rest)
}

/// Whether an outcome says something about the name and its servers, and not about this side.
fn is_cacheable(outcome: &Outcome) -> bool {
    !matches!(
        outcome,
        Err(DnsError::NoServers
            | DnsError::NoSocket(_)
            | DnsError::QueueFull(_)
            | DnsError::ReactorUnavailable
            | DnsError::TimedOut { server: None, .. })
    )
}

const UDP: Transport = Transport::Udp;

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use super::*;
    use crate::dns::NameServer;

    fn config(servers: &[u8]) -> ResolverConfig {
        let servers = servers.iter().map(|last| NameServer::from(([192, 0, 2, *last], 53))).collect();
        ResolverConfig { servers, ..ResolverConfig::default() }
    }

    /// Last bytes of the addresses by place, with their ranks.
    fn places(engine: &Engine) -> Vec<(u8, Option<usize>)> {
        let last = |server: &Server| match server.config.address {
            SocketAddr::V4(address) => address.ip().octets()[3],
            SocketAddr::V6(_) => 0,
        };
        engine.state.borrow().servers.iter().map(|server| (last(server), server.rank)).collect()
    }

    #[test]
    fn servers_keep_their_places_when_others_come() {
        let engine = Engine::new(config(&[1, 2]));
        engine.state.borrow_mut().servers[0].in_flight = 1;
        engine.set_config(config(&[3, 2]));
        assert_eq!(places(&engine), [(1, None), (2, Some(1)), (3, Some(0))], "a query is at the first one");
        engine.state.borrow_mut().servers[0].in_flight = 0;
        engine.set_config(config(&[4]));
        assert_eq!(places(&engine), [(4, Some(0)), (2, None), (3, None)]);
        for round in 0..100 {
            engine.set_config(config(&[round, round + 1]));
        }
        assert_eq!(places(&engine).len(), 3);
        assert_eq!(engine.config(), Rc::new(config(&[99, 100])));
    }
}
