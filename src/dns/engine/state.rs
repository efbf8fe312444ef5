//! The state of the engine, and what each event means for it. It neither sends nor calls back.

use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use slab::Slab;

use crate::dns::cache::{Cache, Outcome};
use crate::dns::engine::flight::{Attempt, Flight, FlightId, NextAttempt, Stage};
use crate::dns::engine::server::{Attempts, Choice, MAX_PLACES, MAX_SERVERS, Server, choose};
use crate::dns::engine::stream::Stream;
use crate::dns::key_hash::KeyHash;
use crate::dns::message::answer::{AnswerKind, Meaning, read, response_code};
use crate::dns::message::question::{QueryMessage, Relation, is_truncated, relation};
use crate::dns::message::response::Shared;
use crate::dns::{
    DnsError, NameServer, ResolverConfig, ResolverStatistics, Response, ResponseCode, Transport,
};
use crate::{Handle, Instant};

/// The cache, the servers and the flights.
pub(in crate::dns) struct State {
    pub(in crate::dns) cache: Cache,
    pub(in crate::dns) statistics: ResolverStatistics,
    pub(in crate::dns::engine) servers: Vec<Server>,
    pub(in crate::dns::engine) flights: Slab<Flight>,
    /// The flights by name, type and reactor.
    pub(in crate::dns::engine) joined: HashMap<Rc<[u8]>, usize, KeyHash>,
    /// Flights that wait for the limits.
    pub(in crate::dns::engine) waiting: VecDeque<FlightId>,
    /// Flights that are not waiting.
    pub(in crate::dns::engine) active: usize,
    /// Waiting flights are being started, further up on the stack.
    pub(in crate::dns::engine) starting: bool,
    pub(in crate::dns::engine) serial: u64,
    /// The reactors that use the resolver. Their index is part of a flight's key.
    pub(in crate::dns::engine) homes: Vec<Handle>,
    pub(in crate::dns::engine) streams: Slab<Stream>,
    pub(in crate::dns::engine) rotation: usize,
}

/// What follows from an event.
pub(in crate::dns::engine) enum Next {
    Nothing,
    /// The attempt is over; the flight goes on.
    Attempt,
    Finish(Outcome),
}

/// The next step of a flight.
#[expect(clippy::large_enum_variant, reason = "it is on the stack for a moment")]
pub(in crate::dns::engine) enum Step {
    Nothing,
    Finish(Outcome),
    Send { server: usize, address: SocketAddr, transport: Transport, home: u16, query: QueryMessage },
}

impl State {
    pub(in crate::dns) fn pending(&self) -> usize {
        self.flights.len()
    }

    pub(in crate::dns::engine) fn flight_mut(&mut self, id: FlightId) -> Option<&mut Flight> {
        self.flights.get_mut(id.place).filter(|flight| flight.serial == id.serial)
    }

    /// Replaces the servers. Those of running queries keep their place in the table until these
    /// have ended, and those that stay are known already.
    pub(in crate::dns::engine) fn replace_servers(&mut self, servers: &[NameServer]) {
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
    pub(in crate::dns::engine) fn home(&mut self, handle: &Handle) -> u16 {
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
    pub(in crate::dns::engine) fn next_step(
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
    pub(in crate::dns::engine) fn next_waiting(&mut self, config: &ResolverConfig) -> Option<FlightId> {
        while self.active < config.max_in_flight.max(1) {
            let id = self.waiting.pop_front()?;
            if self.flight_mut(id).is_some_and(|flight| matches!(flight.stage, Stage::Waiting)) {
                return Some(id);
            }
        }
        None
    }

    /// Ends the stage of a flight, and returns it.
    pub(in crate::dns::engine) fn end_stage(&mut self, id: FlightId) -> Stage {
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

    pub(in crate::dns::engine) fn remove_flight(&mut self, id: FlightId) -> Option<Flight> {
        self.flight_mut(id)?;
        let flight = self.flights.try_remove(id.place)?;
        self.joined.remove(&flight.key);
        Some(flight)
    }

    /// Handles the timer of a flight.
    pub(in crate::dns::engine) fn timed_out(
        &mut self,
        id: FlightId,
        config: &ResolverConfig,
        now: Instant,
    ) -> Next {
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
    pub(in crate::dns::engine) fn response(
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

/// Number of datagrams that are no response, after which a query goes to TCP.
const MAX_MISMATCHES: u8 = 8;
