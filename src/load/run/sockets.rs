//! Datagram sockets of a run: choosing the address, opening the sockets, and finding lost
//! datagrams.

use super::{Run, Stage};
use crate::load::error::{LoadError, Mismatch};
use crate::load::sender::{DatagramClient, Sender};
use crate::{
    Address, DatagramId, DatagramProtocol, DatagramTransport, Instant, Reactor, Reason, SystemError,
};
use std::collections::VecDeque;
use std::fmt::Write as _;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::time::Duration;

impl Run {
    pub(in crate::load) fn look_up(self: &Rc<Run>, reactor: &mut Reactor, host: &str, port: u16) {
        if let Ok(address) = host.parse::<IpAddr>() {
            return self.open_sockets(reactor, SocketAddr::new(address, port));
        }
        let run = Rc::clone(self);
        let found = move |reactor: &mut Reactor, found: Result<Vec<SocketAddr>, Reason>| {
            if run.state.borrow().stage == Stage::Finished {
                return;
            }
            match found {
                Ok(addresses) => run.choose(reactor, addresses),
                Err(reason) => run.give_up(reactor, reason.to_string()),
            }
        };
        if let Err(full) = reactor.resolve(host, port, found) {
            self.give_up(reactor, full.to_string());
        }
    }

    /// Uses the only address, or the first that answers.
    fn choose(self: &Rc<Run>, reactor: &mut Reactor, addresses: Vec<SocketAddr>) {
        match addresses[..] {
            [] => self.give_up(reactor, "the host has no address".to_owned()),
            [only] => self.use_address(reactor, only),
            _ => {
                self.state.borrow_mut().candidates.rest = addresses.into();
                self.probe_next(reactor);
            }
        }
    }

    fn use_address(self: &Rc<Run>, reactor: &mut Reactor, address: SocketAddr) {
        // Writing to a String cannot fail.
        let _ = write!(self.described.borrow_mut(), " ({})", address.ip());
        self.open_sockets(reactor, address);
    }

    /// Sends one message to the next address. If none answers, uses the first that did not refuse;
    /// its lost messages are counted.
    fn probe_next(self: &Rc<Run>, reactor: &mut Reactor) {
        loop {
            let Some(address) = self.state.borrow_mut().candidates.rest.pop_front() else { break };
            match reactor.connect_udp(address, Probe(Rc::clone(self))) {
                Ok(id) => {
                    self.state.borrow_mut().candidates.asked = Some((address, id));
                    return self
                        .later(reactor, self.config.lost_after, |run, reactor| run.not_answered(reactor));
                }
                Err(error) => self.state.borrow_mut().candidates.why = error.to_string(),
            }
        }
        let Candidates { silent, why, .. } = std::mem::take(&mut self.state.borrow_mut().candidates);
        match silent {
            Some(address) => self.use_address(reactor, address),
            None => self.give_up(reactor, why),
        }
    }

    /// Closes the socket of the current probe, and returns its address.
    pub(in crate::load) fn end_probe(&self, reactor: &mut Reactor) -> Option<SocketAddr> {
        let (address, id) = self.state.borrow_mut().candidates.asked.take()?;
        if let Some(mut transport) = reactor.datagram_transport(id) {
            transport.stop_listening();
        }
        Some(address)
    }

    fn answered(self: &Rc<Run>, reactor: &mut Reactor) {
        if let Some(address) = self.end_probe(reactor) {
            self.use_address(reactor, address);
        }
    }

    fn not_answered(self: &Rc<Run>, reactor: &mut Reactor) {
        if let Some(address) = self.end_probe(reactor) {
            self.state.borrow_mut().candidates.silent.get_or_insert(address);
            self.probe_next(reactor);
        }
    }

    fn not_there(self: &Rc<Run>, reactor: &mut Reactor, why: String) {
        if self.end_probe(reactor).is_some() {
            self.state.borrow_mut().candidates.why = why;
            self.probe_next(reactor);
        }
    }

    /// Opens all sockets at once.
    pub(in crate::load) fn open_sockets(self: &Rc<Run>, reactor: &mut Reactor, peer: SocketAddr) {
        let now = reactor.now();
        for number in 0..self.config.connections as u64 {
            self.state.borrow_mut().totals.started += 1;
            match reactor.connect_udp(peer, DatagramClient::new(Rc::clone(self), number, now)) {
                Ok(id) => {
                    let mut state = self.state.borrow_mut();
                    state.open.insert(number, Sender::Datagrams(id));
                    state.totals.connected += 1;
                }
                Err(error) => {
                    self.note(&LoadError::NotConnected { connection: number + 1, reason: error.to_string() });
                }
            }
        }
        self.opened(reactor);
        self.sweep(reactor);
    }

    pub(in crate::load) fn give_up(self: &Rc<Run>, reactor: &mut Reactor, reason: String) {
        self.state.borrow_mut().totals.started += 1;
        self.note(&LoadError::NotConnected { connection: 1, reason });
        self.finish(reactor);
    }

    /// Counts datagrams that are too old as lost, periodically.
    pub(in crate::load) fn sweep(self: &Rc<Run>, reactor: &mut Reactor) {
        let state = self.state.borrow();
        if state.stage == Stage::Finished {
            return;
        }
        let senders: Vec<Sender> = state.open.values().copied().collect();
        drop(state);
        for sender in senders {
            sender.sweep(reactor);
        }
        let run = Rc::clone(self);
        let wait = (self.config.lost_after / SWEEPS).max(Duration::from_millis(1));
        let next = reactor.call_later(wait, move |reactor| run.sweep(reactor));
        self.state.borrow_mut().sweep = Some(next);
    }

    /// Notes that a datagram was not answered in time.
    pub(in crate::load) fn dropped(&self, due: Instant, sent: Instant, now: Instant) {
        let mut state = self.state.borrow_mut();
        if due >= state.since {
            state.totals.dropped += 1;
        }
        state.record_wait(due, Some(sent), 1, now);
    }

    /// Notes that the system refused to send a datagram. It will count as lost.
    pub(in crate::load) fn not_sent(&self, now: Instant, error: &SystemError) {
        let mut state = self.state.borrow_mut();
        if now < state.since {
            return;
        }
        let reason = match error.kind {
            _ if error.is_too_long() => {
                format!(
                    "a datagram of {} bytes is larger than this machine or the way takes",
                    self.config.size
                )
            }
            io::ErrorKind::NetworkUnreachable | io::ErrorKind::NetworkDown => {
                format!("this machine has no route to it: {error}")
            }
            _ => error.to_string(),
        };
        *state.totals.unsendable.entry(reason).or_default() += 1;
    }

    /// Notes that a datagram was received twice or too late.
    pub(in crate::load) fn repeated(&self) {
        self.state.borrow_mut().totals.repeated += 1;
    }

    /// Notes that a datagram has wrong bytes. The socket stays open.
    pub(in crate::load) fn wrong_datagram(&self, mismatch: Mismatch) {
        self.note(&LoadError::Wrong(mismatch));
    }

    /// Notes that the port is closed. `heard` is set if the server answered before: how long ago
    /// the socket was opened, and the number of messages in flight.
    pub(in crate::load) fn refused(
        self: &Rc<Run>,
        reactor: &mut Reactor,
        number: u64,
        heard: Option<(Duration, u64)>,
        busy: bool,
    ) {
        let reason = REFUSED.to_owned();
        let in_flight = heard.map_or(0, |(_, in_flight)| in_flight);
        self.gone(reactor, number, in_flight, busy);
        let connection = number + 1;
        match heard {
            Some((after, in_flight)) => {
                self.note(&LoadError::Lost { connection, after, in_flight, reason });
            }
            None => {
                let mut state = self.state.borrow_mut();
                state.totals.connected -= 1;
                state.totals.lost -= 1;
                drop(state);
                self.note(&LoadError::NotConnected { connection, reason });
            }
        }
    }
}

/// The addresses of a name, until one of them has answered.
#[derive(Default)]
pub(in crate::load) struct Candidates {
    /// Addresses not probed yet.
    rest: VecDeque<SocketAddr>,
    /// The address that is probed now.
    asked: Option<(SocketAddr, DatagramId)>,
    /// The first address that neither answered nor refused.
    silent: Option<SocketAddr>,
    /// The reason of the last refusal.
    why: String,
}

/// Sends one message to an address. Any answer counts; its bytes are compared only in the load
/// itself.
struct Probe(Rc<Run>);

impl Probe {
    /// Ends the probe from the loop, in place of its timeout.
    fn end(&self, reactor: &mut Reactor, call: impl FnOnce(&Rc<Run>, &mut Reactor) + 'static) {
        self.0.later(reactor, Duration::ZERO, call);
    }
}

impl DatagramProtocol for Probe {
    fn start_protocol(&mut self, transport: &mut DatagramTransport<'_>) {
        // A failed send is reported below, or has no answer.
        let _ = transport.write(&vec![0; self.0.config.size]);
    }

    fn datagram_received(&mut self, transport: &mut DatagramTransport<'_>, _: &[u8], _: &Address) {
        self.end(transport.reactor(), Run::answered);
    }

    fn connection_refused(&mut self, transport: &mut DatagramTransport<'_>) {
        self.end(transport.reactor(), |run, reactor| run.not_there(reactor, REFUSED.to_owned()));
    }

    fn error_received(&mut self, transport: &mut DatagramTransport<'_>, error: &SystemError) {
        let why = error.to_string();
        self.end(transport.reactor(), move |run, reactor| run.not_there(reactor, why));
    }

    fn send_failed(
        &mut self,
        transport: &mut DatagramTransport<'_>,
        _: Option<&Address>,
        error: &SystemError,
    ) {
        self.error_received(transport, error);
    }
}

const REFUSED: &str = "connection refused";

/// Number of searches for lost datagrams within
/// [`LoadConfig::lost_after`](crate::load::LoadConfig::lost_after).
const SWEEPS: u32 = 10;
