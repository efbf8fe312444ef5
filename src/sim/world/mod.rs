//! The simulated world: hosts, the paths between them, pending events and virtual time.
//!
//! A [`World`] holds all state. A process on one of its hosts reaches it through `SimNet`, which
//! implements the system calls, or through plain `Socket`s.
//!
//! TCP is two ordered streams of bytes for each connection. A lost segment is a stall. The
//! three-way handshake is modelled: the client is connected after one round trip, and the server
//! can accept half a round trip later. Each handshake occupies a place of the backlog from its SYN
//! on; there is no separate SYN queue. Segments, congestion windows, sequence numbers and TIME_WAIT
//! are not modelled. Results of calls (which errors, in which order, the effect of a close with
//! unread bytes) follow Linux.
//!
//! UNIX sockets are local to a host. `unix/names.rs` has their addresses, `unix/stream.rs` their
//! streams, which are connections without a path, and `unix/datagram.rs` their datagrams.
//! `datagram/queue.rs` has the receive queue of both kinds of datagram sockets.
//!
//! Each host has a disk (`disk/`), which outlives its processes.
//!
//! Virtual time is a number that jumps to the next event. All nondeterminism (the order of events
//! of the same time, latencies, losses, ports, faults) is drawn from streams of random numbers of
//! one seed. Nothing depends on addresses in memory, on hashes or on the machine.
//!
//! Connections, queues and hosts are identified by indices. Invariant: an index that one function
//! passes to another is valid. A token, an event or a list entry is checked where its index is
//! taken. Hosts, processes and paths are never removed.

pub(in crate::sim) mod clock;
pub(in crate::sim) mod datagram;
pub(in crate::sim) mod disk;
pub(in crate::sim) mod events;
pub(in crate::sim) mod host;
pub(in crate::sim) mod jobs;
pub(in crate::sim) mod paths;
pub(in crate::sim) mod process;
mod readiness;
mod rules;
pub(in crate::sim) mod scheduling;
pub(in crate::sim) mod tcp;
pub(in crate::sim) mod unix;

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use slab::Slab;

use crate::net::{Job, ThreadLimits};
use crate::sim::RuleId;
use crate::sim::network::coverage::{Coverage, FaultKind};
use crate::sim::network::errno::Errno;
use crate::sim::network::link::{Link, Path};
use crate::sim::network::lookups::Running;
use crate::sim::network::program::Program;
use crate::sim::network::rule::{CallKind, Rule};
use crate::sim::network::trace::{About, Record, RecordKind, Text, Trace};
use crate::sim::random::Random;
use crate::sim::world::datagram::queue::{DatagramQueue, DatagramQueueId};
use crate::sim::world::datagram::udp::Datagram;
use crate::sim::world::events::{Event, EventKind, Events};
use crate::sim::world::host::HostState;
use crate::sim::world::process::{Process, WakeQueue};
use crate::sim::world::tcp::connection::Connection;
use crate::sim::world::tcp::listen::Queue;

pub(in crate::sim) struct World {
    pub(in crate::sim) seed: u64,
    /// Virtual time in nanoseconds.
    pub(in crate::sim) now: u64,
    pub(in crate::sim) events: Events,
    pub(in crate::sim) hosts: Vec<HostState>,
    /// The host of each address except the loopback's.
    pub(in crate::sim) addresses: BTreeMap<IpAddr, u32>,
    pub(in crate::sim) names: BTreeMap<String, Vec<IpAddr>>,
    /// The host of addresses and names that no other host has.
    pub(in crate::sim) gateway: Option<u32>,
    /// The mean duration of a look-up.
    pub(in crate::sim) mean_lookup: Duration,
    pub(in crate::sim) processes: Vec<Process>,
    /// Programs by host and name.
    pub(in crate::sim) programs: BTreeMap<(u32, String), Program>,
    pub(in crate::sim) connections: Slab<Connection>,
    pub(in crate::sim) queues: Slab<Queue>,
    pub(in crate::sim) datagram_queues: Slab<DatagramQueue>,
    pub(in crate::sim) datagrams: Slab<Datagram>,
    pub(in crate::sim) answers: Slab<Running>,
    /// Held names and their pending look-ups.
    pub(in crate::sim) held_names: BTreeMap<String, Vec<u32>>,
    /// Local ports in use: host, port, destination.
    pub(in crate::sim) ports: BTreeSet<(u32, u16, SocketAddr)>,
    pub(in crate::sim) paths: Vec<Path>,
    pub(in crate::sim) path_indices: BTreeMap<(u32, u32), u32>,
    pub(in crate::sim) default_link: Link,
    pub(in crate::sim) loopback_link: Link,
    pub(in crate::sim) rules: Vec<(RuleId, Box<dyn Rule>)>,
    pub(in crate::sim) rules_added: u64,
    pub(in crate::sim) trace: Trace,
    pub(in crate::sim) coverage: Coverage,
    pub(in crate::sim) wake_queue: Arc<WakeQueue>,
    /// Processes woken since the scheduler last called.
    pub(in crate::sim) awake: Vec<u32>,
    /// Jobs to run as soon as the world is not borrowed.
    pub(in crate::sim) due: Vec<Job>,
    /// Readiness is reported once, and again only after a call that has drained it.
    pub(in crate::sim) minimal_edges: bool,
    /// Chooses which of several tasks runs first.
    pub(in crate::sim) task_order: Option<Random>,
    pub(in crate::sim) serials: u32,
    pub(in crate::sim) random: Streams,
}

/// The streams of random numbers. One more draw from one does not change the others.
pub(in crate::sim) struct Streams {
    pub(in crate::sim) links: Random,
    pub(in crate::sim) order: Random,
    pub(in crate::sim) rules: Random,
    pub(in crate::sim) jobs: Random,
    pub(in crate::sim) disk: Random,
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
            mean_lookup: MEAN_LOOKUP,
            processes: Vec::new(),
            programs: BTreeMap::new(),
            connections: Slab::new(),
            queues: Slab::new(),
            datagram_queues: Slab::new(),
            datagrams: Slab::new(),
            answers: Slab::new(),
            held_names: BTreeMap::new(),
            ports: BTreeSet::new(),
            paths: Vec::new(),
            path_indices: BTreeMap::new(),
            default_link: Link::default(),
            loopback_link: Link::fixed(LOOPBACK_LATENCY),
            rules: Vec::new(),
            rules_added: 0,
            trace: Trace::new(),
            coverage: Coverage::default(),
            wake_queue: Arc::default(),
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
                disk: Random::new(seed, "disk"),
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

    /// Marks a process as having work.
    #[inline]
    pub(in crate::sim) fn wake(&mut self, process: u32) {
        let found = &mut self.processes[process as usize];
        if !found.awake {
            found.awake = true;
            self.awake.push(process);
        }
    }

    /// Returns the time at which the process's current actions take effect.
    #[inline]
    pub(in crate::sim) fn local_now(&self, process: u32) -> u64 {
        self.now.saturating_add(self.process(process).ahead)
    }

    /// Returns the monotonic time of the process's host.
    pub(in crate::sim) fn monotonic(&self, process: u32) -> u64 {
        let host = self.process(process).host;
        self.host(host).clock.monotonic(self.local_now(process))
    }

    // -- time --

    /// Runs all events that are due, and takes the wake-ups from threads.
    pub(in crate::sim) fn catch_up(&mut self) {
        while let Some(event) = self.events.pop(self.now) {
            self.run_event(event);
        }
        for process in self.wake_queue.take() {
            self.process_mut(process).woken = true;
            self.wake(process);
        }
    }

    /// Advances virtual time without running events.
    pub(in crate::sim) fn advance_to(&mut self, at: u64) {
        self.now = self.now.max(at);
    }

    fn run_event(&mut self, event: Event) {
        let Event { kind, side, index, serial, .. } = event;
        let side = usize::from(side);
        match kind {
            EventKind::Timer if self.process(index).timers == serial => return self.wake(index),
            EventKind::Timer => return,
            EventKind::Program => {
                self.process_mut(index).woken = true;
                return self.wake(index);
            }
            EventKind::Job => return self.job_done(index, serial),
            EventKind::FileStep => return self.file_step(index, serial),
            EventKind::Answer => return self.answer(index),
            EventKind::Datagram => return self.datagram_arrives(index),
            EventKind::DatagramAnswered => {
                return self.datagram_answered(DatagramQueueId { index, serial }, Errno::from(side as i32));
            }
            EventKind::UnixDatagram => return self.unix_datagram_arrives(DatagramQueueId { index, serial }),
            EventKind::DatagramAgain => return self.datagram_again(DatagramQueueId { index, serial }),
            _ => {}
        }
        match self.connections.get(index as usize) {
            Some(connection) if connection.serial == serial => {}
            _ => return,
        }
        match kind {
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
        self.remove_if_over(index);
    }

    #[inline]
    pub(in crate::sim) fn schedule(
        &mut self,
        at: u64,
        kind: EventKind,
        side: usize,
        index: u32,
        serial: u32,
    ) {
        self.events.add(at, kind, side, index, serial, &mut self.random.order);
    }

    /// Schedules an event of a connection.
    #[inline]
    pub(in crate::sim) fn schedule_for(&mut self, at: u64, kind: EventKind, index: u32, side: usize) {
        let serial = self.connections[index as usize].serial;
        self.schedule(at, kind, side, index, serial);
    }

    pub(in crate::sim) fn next_serial(&mut self) -> u32 {
        self.serials = self.serials.wrapping_add(1);
        self.serials
    }

    // -- trace --

    #[inline]
    pub(in crate::sim) fn note(&mut self, host: u32, about: About, kind: RecordKind, value: i64) {
        self.trace.add(Record { at: self.now, host, about, kind, value });
    }

    pub(in crate::sim) fn note_text(&mut self, host: u32, about: About, kind: RecordKind, text: Text) {
        self.trace.add_text(Record { at: self.now, host, about, kind, value: 0 }, text);
    }

    /// Records a line of a program without a logger.
    pub(in crate::sim) fn note_log_line(&mut self, host: u32, line: String) {
        let record = Record { at: self.now, host, about: About::NOTHING, kind: RecordKind::Note, value: 0 };
        self.trace.add_unhashed(record, Text::Words(line));
    }

    /// Records and counts a fault.
    pub(in crate::sim) fn fault(&mut self, kind: FaultKind, host: u32) {
        self.coverage.note_fault(kind);
        self.note(host, About::NOTHING, RecordKind::Fault(kind), 0);
    }

    /// Records a call's result: bytes, or a negative error number.
    #[inline]
    pub(in crate::sim) fn note_call(&mut self, process: u32, about: About, kind: CallKind, value: i64) {
        let host = self.process(process).host;
        self.note(host, about, RecordKind::Call(kind), value);
    }
}

/// The default latency inside a host. Not zero, so that virtual time advances even if two local
/// programs never wait.
const LOOPBACK_LATENCY: Duration = Duration::from_micros(50);

/// The default mean duration of a look-up.
const MEAN_LOOKUP: Duration = Duration::from_millis(1);

/// The range of ephemeral ports, as on Linux.
pub(in crate::sim) const FIRST_PORT: u16 = 32_768;
pub(in crate::sim) const LAST_PORT: u16 = 60_999;
