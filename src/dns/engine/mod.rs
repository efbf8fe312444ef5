//! The engine: flights of questions, their attempts at servers, and the limits on them.
//!
//! A flight begins with the first request for a question, and later requests join it. Each attempt
//! asks one server. An attempt ends with a response, an error or a timeout. Then the flight has its
//! outcome, or the next attempt begins. No callback runs while the state is borrowed.

pub(in crate::dns) mod flight;
mod server;
mod stream;
mod udp;

use std::cell::RefCell;
use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use slab::Slab;

use crate::dns::cache::{Cache, Outcome};
use crate::dns::engine::flight::{Ask, Attempt, Done, Flight, FlightId, NextAttempt, Stage};
use crate::dns::engine::server::{Attempts, Choice, MAX_PLACES, MAX_SERVERS, Server, choose};
use crate::dns::engine::stream::Stream;
use crate::dns::key_hash::KeyHash;
use crate::dns::message::answer::{AnswerKind, Meaning, read, response_code};
use crate::dns::message::question::{QueryMessage, Question, Relation, is_truncated, relation};
use crate::dns::message::response::Shared;
use crate::dns::{
    DnsError, NameServer, ResolverConfig, ResolverStatistics, Response, ResponseCode, Transport,
};
use crate::{DatagramId, Handle, Instant, Reactor};

/// The state of a resolver that its clones, its timers and its sockets share.
pub(in crate::dns) struct Engine {
    config: RefCell<Rc<ResolverConfig>>,
    pub(in crate::dns) state: RefCell<State>,
}

pub(in crate::dns) struct State {
    pub(in crate::dns) cache: Cache,
    pub(in crate::dns) statistics: ResolverStatistics,
    servers: Vec<Server>,
    flights: Slab<Flight>,
    /// The flights by name, type and reactor.
    joined: HashMap<Rc<[u8]>, usize, KeyHash>,
    /// Flights that wait for the limits.
    waiting: VecDeque<FlightId>,
    /// Flights that are not waiting.
    active: usize,
    /// Waiting flights are being started, further up on the stack.
    starting: bool,
    serial: u64,
    /// The reactors that use the resolver. Their index is part of a flight's key.
    homes: Vec<Handle>,
    streams: Slab<Stream>,
    rotation: usize,
}

/// What follows from an event.
enum Next {
    Nothing,
    /// The attempt is over; the flight goes on.
    Attempt,
    Finish(Outcome),
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

/// The next step of a flight.
#[expect(clippy::large_enum_variant, reason = "it is on the stack for a moment")]
enum Step {
    Nothing,
    Finish(Outcome),
    Send { server: usize, address: SocketAddr, transport: Transport, home: u16, query: QueryMessage },
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

impl State {
    pub(in crate::dns) fn pending(&self) -> usize {
        self.flights.len()
    }

    fn flight_mut(&mut self, id: FlightId) -> Option<&mut Flight> {
        self.flights.get_mut(id.place).filter(|flight| flight.serial == id.serial)
    }

    /// Replaces the servers. Those of running queries keep their place in the table until these
    /// have ended, and those that stay are known already.
    fn replace_servers(&mut self, servers: &[NameServer]) {
        let rank = |of: &NameServer| servers.iter().take(MAX_SERVERS).position(|server| server == of);
        self.servers.iter_mut().for_each(|server| server.rank = rank(&server.config));
        for (rank, config) in servers.iter().take(MAX_SERVERS).enumerate() {
            if self.servers.iter().any(|known| known.config == *config) {
                continue;
            }
            let streams = &self.streams;
            let is_free = |(index, server): (usize, &Server)| {
                let unused = server.rank.is_none() && server.in_flight == 0;
                unused && !streams.iter().any(|(_, stream)| stream.server == index)
            };
            let free = self.servers.iter().enumerate().position(is_free);
            let index = free.unwrap_or(self.servers.len());
            match self.servers.get_mut(index) {
                Some(place) => *place = Server::new(config.clone(), rank),
                None if index < MAX_PLACES => self.servers.push(Server::new(config.clone(), rank)),
                None => {}
            }
        }
    }

    /// The number of a reactor.
    fn home(&mut self, handle: &Handle) -> u16 {
        if let Some(index) = self.homes.iter().position(|home| home.is_same(handle)) {
            return index as u16;
        }
        let free = self.homes.iter().enumerate().position(|(index, home)| {
            home.finished() && !self.flights.iter().any(|(_, flight)| usize::from(flight.home()) == index)
        });
        let index = free.unwrap_or(self.homes.len());
        match self.homes.get_mut(index) {
            Some(home) => *home = handle.clone(),
            None => self.homes.push(handle.clone()),
        }
        index as u16
    }

    /// Chooses the next attempt of a flight and writes its query.
    fn next_step(
        &mut self,
        id: FlightId,
        config: &ResolverConfig,
        now: Instant,
        random: u64,
        case_bits: Option<[u64; 4]>,
    ) -> Step {
        let (active, limit) = (self.active, config.max_in_flight.max(1));
        let Some(flight) = self.flights.get_mut(id.place).filter(|flight| flight.serial == id.serial) else {
            return Step::Nothing;
        };
        if active >= limit {
            self.waiting.push_back(id);
            return Step::Nothing;
        }
        let next = match flight.next.take() {
            Some(next) => next,
            None => {
                let rotation = config.rotate.then_some(flight.rotation);
                match choose(&mut self.servers, &flight.attempts, rotation, now, config) {
                    Choice::Busy => {
                        self.waiting.push_back(id);
                        return Step::Nothing;
                    }
                    Choice::None => {
                        let after = now - flight.began;
                        let server = flight.last_server.and_then(|last| self.servers.get(last));
                        let server = server.map(|server| server.config.address);
                        let timed_out = Err(DnsError::TimedOut { after, server });
                        return Step::Finish(flight.failure.take().unwrap_or(timed_out));
                    }
                    Choice::Server(index) => {
                        let Some(server) = self.servers.get(index) else { return Step::Nothing };
                        let transport = match config.tcp_only {
                            true => Transport::Tcp,
                            false => server.config.transport,
                        };
                        NextAttempt { server: index, transport, edns: config.edns && server.edns }
                    }
                }
            }
        };
        let NextAttempt { server: index, transport, edns } = next;
        let Some(server) = self.servers.get_mut(index) else { return Step::Nothing };
        flight.attempts.begin(index);
        flight.last_server = Some(index);
        server.in_flight += 1;
        self.active += 1;
        let message_id = (random >> 48) as u16;
        let sent_name = case_bits.map(|bits| mixed_case(flight.name(), bits));
        let name = sent_name.as_deref().unwrap_or(flight.name());
        let query = QueryMessage::new(message_id, name, flight.record_type(), edns, config.trust_ad);
        flight.stage = Stage::Opening(Attempt {
            server: index,
            transport,
            edns,
            id: message_id,
            sent_at: now,
            sent_name,
        });
        let (address, home) = (server.config.address, flight.home());
        Step::Send { server: index, address, transport, home, query }
    }

    /// The next flight to be started, if the limits allow one.
    fn next_waiting(&mut self, config: &ResolverConfig) -> Option<FlightId> {
        while self.active < config.max_in_flight.max(1) {
            let id = self.waiting.pop_front()?;
            if self.flight_mut(id).is_some_and(|flight| matches!(flight.stage, Stage::Waiting)) {
                return Some(id);
            }
        }
        None
    }

    /// Ends the stage of a flight, and returns it.
    fn end_stage(&mut self, id: FlightId) -> Stage {
        let Some(flight) = self.flight_mut(id) else { return Stage::Waiting };
        let stage = std::mem::replace(&mut flight.stage, Stage::Waiting);
        if let Some(attempt) = stage.attempt() {
            self.active -= 1;
            if let Some(server) = self.servers.get_mut(attempt.server) {
                server.in_flight -= 1;
            }
        }
        stage
    }

    fn remove_flight(&mut self, id: FlightId) -> Option<Flight> {
        self.flight_mut(id)?;
        let flight = self.flights.try_remove(id.place)?;
        self.joined.remove(&flight.key);
        Some(flight)
    }

    /// Handles the timer of a flight.
    fn timed_out(&mut self, id: FlightId, config: &ResolverConfig, now: Instant) -> Next {
        let Some(flight) = self.flights.get_mut(id.place).filter(|flight| flight.serial == id.serial) else {
            return Next::Nothing;
        };
        let after = now - flight.began;
        let mut address = None;
        if let Some(attempt) = flight.stage.attempt()
            && let Some(server) = self.servers.get_mut(attempt.server)
        {
            server.failed(now);
            address = Some(server.config.address);
            flight.timeouts += 1;
            self.statistics.timeouts += 1;
        }
        let over = after >= config.timeout || flight.timeouts >= config.timeouts.len().max(1);
        match over {
            true => {
                let timed_out = Err(DnsError::TimedOut { after, server: address });
                Next::Finish(flight.failure.take().filter(Result::is_ok).unwrap_or(timed_out))
            }
            false => Next::Attempt,
        }
    }

    /// Handles a message that may be the response to a flight's query.
    fn response(
        &mut self,
        id: FlightId,
        config: &ResolverConfig,
        message: &[u8],
        cut: bool,
        now: Instant,
    ) -> Next {
        let Some(flight) = self.flights.get_mut(id.place).filter(|flight| flight.serial == id.serial) else {
            return Next::Nothing;
        };
        let Some(attempt) = flight.stage.attempt().cloned() else { return Next::Nothing };
        let Attempt { server: index, transport, edns, .. } = attempt;
        let record_type = flight.record_type();
        let relation = match &attempt.sent_name {
            Some(sent) => relation(message, attempt.id, sent, record_type, true),
            None => relation(message, attempt.id, flight.name(), record_type, false),
        };
        let Some(server) = self.servers.get_mut(index) else { return Next::Nothing };
        if relation == Relation::Mismatch {
            self.statistics.mismatches += 1;
            return match &mut flight.stage {
                Stage::Udp { mismatches, .. } if *mismatches + 1 < MAX_MISMATCHES => {
                    *mismatches += 1;
                    Next::Nothing
                }
                Stage::Udp { .. } => {
                    // A forger guesses. TCP has sequence numbers to be guessed too.
                    flight.next = Some(NextAttempt { server: index, transport: Transport::Tcp, edns });
                    Next::Attempt
                }
                _ => Next::Nothing,
            };
        }
        self.statistics.responses += 1;
        let took = now - attempt.sent_at;
        // The time of a connection is not that of a response.
        server.answered((transport == server.config.transport).then_some(took));
        let address = server.config.address;
        if cut || (transport == Transport::Udp && is_truncated(message)) {
            self.statistics.truncated += 1;
            flight.next = Some(NextAttempt { server: index, transport: Transport::Tcp, edns });
            return Next::Attempt;
        }
        let code = match relation {
            Relation::BareError => ResponseCode(message.get(3).map_or(0, |code| u16::from(code & 15))),
            _ => response_code(message),
        };
        let shared = |kind, ttl, addresses, aliases, earlier| {
            let message = pass_on(message, config.trust_ad);
            let server = address;
            let shared = Shared { message, earlier, server, transport, took, kind, ttl, addresses, aliases };
            Response { shared: Rc::new(shared), age: Duration::ZERO, cached: false }
        };
        let failure = match code {
            ResponseCode::NOERROR | ResponseCode::NXDOMAIN => {
                match read(message, flight.name(), record_type, flight.aliases) {
                    Ok(Meaning::Answer { kind, ttl, addresses, aliases }) => {
                        let limit = match kind {
                            AnswerKind::Positive => config.max_ttl,
                            _ => config.max_negative_ttl,
                        };
                        let ttl = ttl.map(|ttl| ttl.min(flight.alias_ttl)).unwrap_or_default();
                        let ttl = Duration::from_secs(u64::from(ttl)).min(limit);
                        let earlier = std::mem::take(&mut flight.earlier);
                        return Next::Finish(Ok(shared(Some(kind), ttl, addresses, aliases, earlier)));
                    }
                    Ok(Meaning::Alias { target, ttl, aliases }) => {
                        flight.earlier.push(message.into());
                        flight.alias_ttl = flight.alias_ttl.min(ttl);
                        (flight.alias, flight.aliases) = (Some(target), aliases);
                        flight.attempts = Attempts::default();
                        return Next::Attempt;
                    }
                    Ok(Meaning::TooManyAliases) => return Next::Finish(Err(DnsError::TooManyAliases)),
                    Ok(Meaning::Lame) => Err(DnsError::Lame { server: address }),
                    Err(_) => Err(DnsError::Malformed { server: address }),
                }
            }
            ResponseCode::FORMERR | ResponseCode::NOTIMP | ResponseCode::BADVERS if edns => {
                server.edns = false;
                flight.next = Some(NextAttempt { server: index, transport, edns: false });
                return Next::Attempt;
            }
            code => {
                if code == ResponseCode::REFUSED || code == ResponseCode::NOTIMP {
                    // It will hardly answer the next question.
                    server.failed(now);
                }
                Ok(shared(None, Duration::ZERO, Vec::new(), 0, Vec::new()))
            }
        };
        flight.attempts.exclude(index);
        flight.note(failure);
        Next::Attempt
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

/// Copies a message. The AD flag is only passed on for trusted servers. (RFC 6840 section 5.8.)
fn pass_on(message: &[u8], trust_ad: bool) -> Box<[u8]> {
    let mut message: Box<[u8]> = message.into();
    if let Some(flags) = message.get_mut(3)
        && !trust_ad
    {
        *flags &= !0x20;
    }
    message
}

/// Mixes upper and lower case in a name.
fn mixed_case(name: &[u8], bits: [u64; 4]) -> Box<[u8]> {
    let mut name: Box<[u8]> = name.into();
    for (index, byte) in name.iter_mut().enumerate() {
        let bits = bits.get(index / 64).copied().unwrap_or_default();
        if bits >> (index % 64) & 1 == 1 {
            // Length bytes are below the letters.
            byte.make_ascii_uppercase();
        }
    }
    name
}

const UDP: Transport = Transport::Udp;

/// Number of datagrams that are no response, after which a query goes to TCP.
const MAX_MISMATCHES: u8 = 8;

#[cfg(test)]
mod tests {
    use super::*;

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
