//! The simulated world: hosts, the ways between them, pending events and virtual time.
//!
//! A [`World`] holds everything; a process on one of its hosts reaches it through `SimNet`, which answers
//! the calls of the seam, or through plain `Socket`s. TCP is two ordered streams of bytes for each connection, whose loss is a
//! stall. A handshake has three legs: the client is connected after one round trip, and the server can accept half a
//! round trip later. Packets, windows of congestion and sequence numbers are not modelled, nor is TIME_WAIT, nor a
//! queue of handshakes apart from the backlog: each takes a place there from its first leg on. What a system
//! answers (which errors, in which order, what a close with unread bytes does) follows Linux.
//!
//! UNIX sockets are inside a host: `unix/names.rs` has what they are bound to, `unix/stream.rs` their streams, which are connections
//! without a way, `unix/datagram.rs` their datagrams. `datagram/queue.rs` holds the received datagrams of every kind.
//!
//! Time is a number that jumps to the next thing that happens. Everything that could be otherwise (order of what
//! happens at the same time, latencies, losses, ports, faults) is drawn from streams of random numbers that
//! one seed decides; nothing depends on addresses in memory, hashes or the machine.
//!
//! Connections, queues and hosts are named by indices. One that is handed from function to function names something that is
//! there: whoever takes it from a token, from an event or from a list has looked. Hosts, processes and ways are never removed.

pub(in crate::sim) mod clock;
pub(in crate::sim) mod datagram;
pub(in crate::sim) mod events;
pub(in crate::sim) mod host;
pub(in crate::sim) mod jobs;
pub(in crate::sim) mod process;
pub(in crate::sim) mod scheduling;
pub(in crate::sim) mod tcp;
pub(in crate::sim) mod unix;
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use slab::Slab;

use crate::net::{Instant, Job, Readiness, ThreadLimits, nanoseconds};
use crate::sim::network::coverage::{Coverage, FaultKind};
use crate::sim::network::errno::Errno;
use crate::sim::network::link::{Link, Path};
use crate::sim::network::lookups::Running;
use crate::sim::network::program::Program;
use crate::sim::network::rule::{Call, CallKind, Packet, PacketKind, Rule, Verdict};
use crate::sim::network::trace::{About, Record, Text, Trace, What};
use crate::sim::random::Random;
use crate::sim::world::datagram::queue::{DatagramQueue, MailboxId};
use crate::sim::world::datagram::udp::Datagram;
use crate::sim::world::events::{Event, EventKind, Events};
use crate::sim::world::host::HostState;
use crate::sim::world::process::{Alarms, Process, Socket};
use crate::sim::world::tcp::connection::{Connection, NOBODY};
use crate::sim::world::tcp::listen::Queue;
use crate::sim::{Host, RuleId};

pub(in crate::sim) struct World {
    pub(in crate::sim) seed: u64,
    /// In nanoseconds.
    pub(in crate::sim) now: u64,
    pub(in crate::sim) events: Events,
    pub(in crate::sim) hosts: Vec<HostState>,
    /// By address, the loopback's apart.
    pub(in crate::sim) addresses: BTreeMap<IpAddr, u32>,
    pub(in crate::sim) names: BTreeMap<String, Vec<IpAddr>>,
    /// Addresses and names that nobody has lead to this host.
    pub(in crate::sim) gateway: Option<u32>,
    /// How long a look-up takes, on average.
    pub(in crate::sim) look_up: Duration,
    pub(in crate::sim) processes: Vec<Process>,
    /// By host and name.
    pub(in crate::sim) programs: BTreeMap<(u32, String), Program>,
    pub(in crate::sim) connections: Slab<Connection>,
    pub(in crate::sim) queues: Slab<Queue>,
    pub(in crate::sim) mailboxes: Slab<DatagramQueue>,
    pub(in crate::sim) datagrams: Slab<Datagram>,
    pub(in crate::sim) answers: Slab<Running>,
    /// Names whose look-ups hang, with those that do.
    pub(in crate::sim) held_names: BTreeMap<String, Vec<u32>>,
    /// Ports that connections were given: host, port, destination.
    pub(in crate::sim) ports: BTreeSet<(u32, u16, SocketAddr)>,
    pub(in crate::sim) paths: Vec<Path>,
    pub(in crate::sim) ways: BTreeMap<(u32, u32), u32>,
    pub(in crate::sim) between_hosts: Link,
    pub(in crate::sim) inside_a_host: Link,
    pub(in crate::sim) rules: Vec<(RuleId, Box<dyn Rule>)>,
    pub(in crate::sim) rules_added: u64,
    pub(in crate::sim) trace: Trace,
    pub(in crate::sim) coverage: Coverage,
    pub(in crate::sim) alarms: Arc<Alarms>,
    /// Processes that have something to do since the scheduler last asked.
    pub(in crate::sim) awake: Vec<u32>,
    /// To be run as soon as nothing holds the world.
    pub(in crate::sim) due: Vec<Job>,
    /// Readiness is told once, and again only when a call has found the end of it.
    pub(in crate::sim) minimal_edges: bool,
    /// Decides which of several tasks goes first.
    pub(in crate::sim) task_order: Option<Random>,
    pub(in crate::sim) serials: u32,
    pub(in crate::sim) random: Streams,
}

/// The streams of random numbers: one more draw in one does not shift the others.
pub(in crate::sim) struct Streams {
    pub(in crate::sim) links: Random,
    pub(in crate::sim) order: Random,
    pub(in crate::sim) rules: Random,
    pub(in crate::sim) jobs: Random,
}

impl World {
    pub(in crate::sim) fn new(seed: u64) -> World {
        World {
            seed,
            now: 0,
            events: Events::new(),
            hosts: Vec::new(),
            addresses: BTreeMap::new(),
            names: BTreeMap::new(),
            gateway: None,
            look_up: LOOK_UP,
            processes: Vec::new(),
            programs: BTreeMap::new(),
            connections: Slab::new(),
            queues: Slab::new(),
            mailboxes: Slab::new(),
            datagrams: Slab::new(),
            answers: Slab::new(),
            held_names: BTreeMap::new(),
            ports: BTreeSet::new(),
            paths: Vec::new(),
            ways: BTreeMap::new(),
            between_hosts: Link::default(),
            inside_a_host: Link::fixed(INSIDE),
            rules: Vec::new(),
            rules_added: 0,
            trace: Trace::new(),
            coverage: Coverage::default(),
            alarms: Arc::default(),
            awake: Vec::new(),
            due: Vec::new(),
            minimal_edges: false,
            task_order: None,
            serials: 0,
            random: Streams {
                links: Random::new(seed, "links"),
                order: Random::new(seed, "order"),
                rules: Random::new(seed, "rules"),
                jobs: Random::new(seed, "jobs"),
            },
        }
    }

    // -- processes --

    pub(in crate::sim) fn add_process(&mut self, host: u32, limits: ThreadLimits) -> u32 {
        let index = self.processes.len() as u32;
        let name = format!("process {index} of {}", self.host(host).name);
        let random = Random::new(self.seed, &name);
        let descriptors = self.host(host).descriptors;
        self.processes.push(Process::new(host, descriptors, random, limits));
        index
    }

    #[inline]
    pub(in crate::sim) fn process(&self, process: u32) -> &Process {
        // Processes are never removed.
        &self.processes[process as usize]
    }

    #[inline]
    pub(in crate::sim) fn process_mut(&mut self, process: u32) -> &mut Process {
        &mut self.processes[process as usize]
    }

    /// It has something to do.
    #[inline]
    pub(in crate::sim) fn wake(&mut self, process: u32) {
        let found = &mut self.processes[process as usize];
        if !found.awake {
            found.awake = true;
            self.awake.push(process);
        }
    }

    /// When what a process does now happens.
    #[inline]
    pub(in crate::sim) fn local_now(&self, process: u32) -> u64 {
        self.now.saturating_add(self.process(process).ahead)
    }

    /// The host's monotonic time for a process.
    pub(in crate::sim) fn monotonic(&self, process: u32) -> u64 {
        let host = self.process(process).host;
        self.host(host).clock.monotonic(self.local_now(process))
    }

    // -- the time --

    /// Lets all happen that is due.
    pub(in crate::sim) fn catch_up(&mut self) {
        while let Some(event) = self.events.pop(self.now) {
            self.happen(event);
        }
        for process in self.alarms.take() {
            self.process_mut(process).woken = true;
            self.wake(process);
        }
    }

    /// The next thing that is due, alone.
    pub(in crate::sim) fn advance_to(&mut self, at: u64) {
        self.now = self.now.max(at);
    }

    fn happen(&mut self, event: Event) {
        let Event { what, side, index, serial, .. } = event;
        let side = usize::from(side);
        match what {
            EventKind::Timer if self.process(index).timers == serial => return self.wake(index),
            EventKind::Timer => return,
            EventKind::Program => {
                self.process_mut(index).woken = true;
                return self.wake(index);
            }
            EventKind::Job => return self.job_done(index, serial),
            EventKind::Answer => return self.answer(index),
            EventKind::Datagram => return self.datagram_arrives(index),
            EventKind::DatagramAnswered => {
                return self.datagram_answered(MailboxId { index, serial }, Errno::from(side as i32));
            }
            EventKind::Letter => return self.letter_arrives(MailboxId { index, serial }),
            EventKind::MailAgain => return self.mail_again(MailboxId { index, serial }),
            _ => {}
        }
        match self.connections.get(index as usize) {
            Some(connection) if connection.serial == serial => {}
            _ => return,
        }
        match what {
            EventKind::Arrival => self.arrive(index, side),
            EventKind::Syn => self.syn_arrives(index),
            EventKind::SynAck => self.syn_ack_arrives(index),
            EventKind::HandshakeOver => self.handshake_over(index),
            EventKind::Refused => self.refusal_arrives(index),
            EventKind::SynAgain => self.send_syn(index),
            EventKind::Unreachable => self.connect_fails(index, Errno::EHOSTUNREACH),
            EventKind::Retransmission => self.retransmit(index, side),
            EventKind::Acknowledgement => self.acknowledge(index, side),
            EventKind::KeepAlive => self.probe(index, side),
            EventKind::Room => self.room_again(index, side),
            EventKind::Again => self.again(index, side),
            _ => {}
        }
        self.forget_if_over(index);
    }

    #[inline]
    pub(in crate::sim) fn schedule(
        &mut self,
        at: u64,
        what: EventKind,
        side: usize,
        index: u32,
        serial: u32,
    ) {
        self.events.add(at, what, side, index, serial, &mut self.random.order);
    }

    /// Something about a connection.
    #[inline]
    pub(in crate::sim) fn schedule_for(&mut self, at: u64, what: EventKind, index: u32, side: usize) {
        let serial = self.connections[index as usize].serial;
        self.schedule(at, what, side, index, serial);
    }

    // -- ways --

    /// The way from one host to another, which is made when it is first taken.
    pub(in crate::sim) fn path(&mut self, from: u32, to: u32) -> u32 {
        if let Some(path) = self.ways.get(&(from, to)) {
            return *path;
        }
        let link = if from == to { &self.inside_a_host } else { &self.between_hosts };
        let path = self.paths.len() as u32;
        self.paths.push(Path::new(from, to, link.clone()));
        self.ways.insert((from, to), path);
        path
    }

    #[inline]
    pub(in crate::sim) fn path_mut(&mut self, path: u32) -> &mut Path {
        // Ways are never removed.
        &mut self.paths[path as usize]
    }

    /// Whether a packet gets to its end on this way now.
    #[inline]
    pub(in crate::sim) fn is_open(&self, path: u32) -> bool {
        let path = &self.paths[path as usize];
        !path.cut && self.host(path.to).up
    }

    /// When a packet of a stream, sent `at`, arrives. One that is lost is sent again, and arrives later.
    pub(in crate::sim) fn travel(&mut self, path: u32, at: u64, size: usize) -> u64 {
        let way = &mut self.paths[path as usize];
        if let Some(latency) = way.plain {
            return at.saturating_add(latency);
        }
        let loss = way.link.loss;
        let mut arrival = way.travel(at, size, &mut self.random.links);
        let mut again = RETRANSMISSION;
        for _ in 0..RETRANSMISSIONS {
            if loss == 0.0 || !self.random.links.chance(loss) {
                break;
            }
            self.fault(FaultKind::Loss, self.paths[path as usize].to);
            arrival = arrival.saturating_add(again);
            again = (again * 2).min(LONGEST_RETRANSMISSION);
        }
        arrival
    }

    // -- rules --

    /// A process is about to make a call: what becomes of it.
    #[inline]
    pub(in crate::sim) fn before(&mut self, process: u32, kind: CallKind, size: usize) -> Verdict {
        self.coverage.note_call(kind);
        let found = &mut self.processes[process as usize];
        let host = &mut self.hosts[found.host as usize];
        host.calls[kind as usize] += 1;
        found.ahead = found.ahead.saturating_add(host.call_cost);
        if self.rules.is_empty() { Verdict::Pass } else { self.judge_call(process, kind, size) }
    }

    #[cold]
    fn judge_call(&mut self, process: u32, kind: CallKind, size: usize) -> Verdict {
        let host = self.process(process).host;
        let at = Instant::from_nanoseconds(self.now);
        let count = self.host(host).calls[kind as usize];
        let call = Call { at, host: Host(host), kind, count, size };
        let verdict = self.ask_rules(|rule, random| rule.call(&call, random));
        match verdict {
            Verdict::Delay(by) => {
                let found = self.process_mut(process);
                found.ahead = found.ahead.saturating_add(nanoseconds(by));
                self.fault(FaultKind::SlowCall, host);
                Verdict::Pass
            }
            Verdict::Fail(_) => {
                self.fault(FaultKind::Failure, host);
                verdict
            }
            other => other,
        }
    }

    pub(in crate::sim) fn judge_packet(
        &mut self,
        path: u32,
        kind: PacketKind,
        size: usize,
        source: SocketAddr,
        destination: SocketAddr,
    ) -> Verdict {
        if self.rules.is_empty() {
            return Verdict::Pass;
        }
        let Path { from, to, .. } = self.paths[path as usize];
        let at = Instant::from_nanoseconds(self.now);
        let (from, to) = (Host(from), Host(to));
        let packet = Packet { at, from, to, source, destination, kind, size };
        let verdict = self.ask_rules(|rule, random| rule.packet(&packet, random));
        match verdict {
            Verdict::Delay(_) => self.fault(FaultKind::Delay, to.0),
            Verdict::Drop => self.fault(FaultKind::Loss, to.0),
            _ => {}
        }
        verdict
    }

    /// The first that has something to say decides.
    fn ask_rules(&mut self, ask: impl Fn(&mut dyn Rule, &mut Random) -> Verdict) -> Verdict {
        let random = &mut self.random.rules;
        let verdicts = self.rules.iter_mut().map(|(_, rule)| ask(&mut **rule, random));
        verdicts.into_iter().find(|verdict| *verdict != Verdict::Pass).unwrap_or(Verdict::Pass)
    }

    // -- what is written down --

    #[inline]
    pub(in crate::sim) fn note(&mut self, host: u32, about: About, what: What, value: i64) {
        self.trace.add(Record { at: self.now, host, about, what, value });
    }

    pub(in crate::sim) fn note_text(&mut self, host: u32, about: About, what: What, text: Text) {
        self.trace.add_text(Record { at: self.now, host, about, what, value: 0 }, text);
    }

    /// A line of a program that has no logger.
    pub(in crate::sim) fn note_said(&mut self, host: u32, line: String) {
        let record = Record { at: self.now, host, about: About::NOTHING, what: What::Note, value: 0 };
        self.trace.add_unhashed(record, Text::Words(line));
    }

    /// A fault has happened.
    pub(in crate::sim) fn fault(&mut self, kind: FaultKind, host: u32) {
        self.coverage.note_fault(kind);
        self.note(host, About::NOTHING, What::Fault(kind), 0);
    }

    /// A call has ended: its bytes, or its error as a negative number.
    #[inline]
    pub(in crate::sim) fn note_call(&mut self, process: u32, about: About, kind: CallKind, value: i64) {
        let host = self.process(process).host;
        self.note(host, about, What::Call(kind), value);
    }

    // -- news --

    /// Tells a process what its socket can do, with its next poll.
    #[inline]
    pub(in crate::sim) fn tell(&mut self, index: u32, side: usize, what: Readiness) {
        let free = self.has_room(index, side);
        self.tell_of_room(index, side, what, free);
    }

    /// As [`tell`](World::tell), of an end that has room to write, or has none.
    #[inline]
    pub(in crate::sim) fn tell_of_room(&mut self, index: u32, side: usize, what: Readiness, free: bool) {
        let end = &mut self.connections[index as usize].ends[side];
        if end.process == NOBODY {
            return;
        }
        let mut news = end.level(free);
        if self.minimal_edges && !news.has(Readiness::READ_CLOSED) {
            news = news.and(what).and(end.armed);
            end.armed.remove(news);
        }
        if news == Readiness::default() {
            return;
        }
        let first = end.news == Readiness::default();
        end.news.insert(news);
        if first {
            let (process, token) = (end.process, end.token);
            self.process_mut(process).news.push(token);
            self.wake(process);
        }
    }

    /// What there is news of, of one process: of all, in an order that the seed decides.
    pub(in crate::sim) fn take_news(&mut self, process: u32, events: &mut Vec<crate::net::Event>) {
        let mut tokens = std::mem::take(&mut self.process_mut(process).news);
        if !self.events.in_order && tokens.len() > 1 {
            self.random.order.shuffle(&mut tokens);
        }
        for token in tokens.drain(..) {
            let ready = match self.process(process).get(token) {
                Socket::Closed => continue,
                Socket::Stream { connection, side } => {
                    std::mem::take(&mut self.connections[connection as usize].ends[side].news)
                }
                Socket::Listener(queue) => self.queues[queue as usize].take_news(),
                Socket::Datagram(mailbox) => std::mem::take(&mut self.mailboxes[mailbox as usize].news),
            };
            if ready != Readiness::default() {
                events.push(crate::net::Event::Ready(token, ready));
            }
        }
        self.process_mut(process).news = tokens;
    }

    pub(in crate::sim) fn next_serial(&mut self) -> u32 {
        self.serials = self.serials.wrapping_add(1);
        self.serials
    }
}

/// Inside a host; not nothing, so that time goes on whatever a program does.
const INSIDE: Duration = Duration::from_micros(50);

/// What a look-up takes, on average.
const LOOK_UP: Duration = Duration::from_millis(1);

/// Ports that are given to sockets that ask for none in particular, as on Linux.
pub(in crate::sim) const FIRST_PORT: u16 = 32_768;
pub(in crate::sim) const LAST_PORT: u16 = 60_999;

/// TCP's timers, as on Linux: 200 ms, doubled up to two minutes, given up after fifteen: 924.6 seconds in all.
pub(in crate::sim) const RETRANSMISSION: u64 = 200_000_000;
pub(in crate::sim) const LONGEST_RETRANSMISSION: u64 = 120_000_000_000;
pub(in crate::sim) const RETRANSMISSIONS: u8 = 15;
