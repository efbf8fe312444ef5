//! The network's control interface: hosts, links, faults and traces.

pub(in crate::sim) mod connect_gate;
pub(in crate::sim) mod coverage;
pub(in crate::sim) mod disk;
pub(in crate::sim) mod errno;
pub(in crate::sim) mod fault;
pub(in crate::sim) mod link;
pub(in crate::sim) mod lookups;
pub(in crate::sim) mod program;
pub(in crate::sim) mod rule;
pub(in crate::sim) mod socket;
pub(in crate::sim) mod trace;
use std::cell::RefCell;
use std::net::IpAddr;
use std::rc::Rc;
use std::time::Duration;

use crate::net::{Signal, nanoseconds};
use crate::sim::network::coverage::{Coverage, FaultKind};
use crate::sim::network::link::Link;
use crate::sim::network::rule::Rule;
use crate::sim::network::trace::{About, RecordKind, Text};
use crate::sim::random::Random;
use crate::sim::world::World;
use crate::sim::world::tcp::connection::Phase;
use crate::sim::{Host, Instant, SimNet};
use crate::{Reactor, Settings};

/// A handle to a simulated network, for callbacks and conditions. Clones refer to the same network.
///
/// [`Simulation`](crate::sim::Simulation) adds reactors and schedules their turns. A network alone
/// serves plain sockets, and reactors that the caller runs ([`reactor`](Network::reactor)).
#[derive(Clone)]
pub struct Network {
    pub(in crate::sim) world: Rc<RefCell<World>>,
}

impl std::fmt::Debug for Network {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Network(seed {}, at {:?})", self.seed(), self.now())
    }
}

/// The identifier of an added rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RuleId(pub(in crate::sim) u64);

impl Network {
    /// Creates a network without hosts. The seed determines all randomness.
    pub fn new(seed: u64) -> Network {
        Network { world: Rc::new(RefCell::new(World::new(seed))) }
    }

    /// Returns the seed.
    pub fn seed(&self) -> u64 {
        self.world.borrow().seed
    }

    /// Returns a named stream of random numbers for the scenario's own draws, derived from the
    /// seed.
    pub fn random(&self, name: &str) -> Random {
        Random::new(self.seed(), name)
    }

    /// Returns the virtual time since the start.
    pub fn now(&self) -> Instant {
        Instant::from_nanoseconds(self.world.borrow().now)
    }

    /// Orders events of the same time by their creation instead of by the seed. For tests that
    /// compare with a real loopback.
    #[doc(hidden)]
    pub fn set_fifo_order(&self) {
        self.world.borrow_mut().events.in_order = true;
    }

    /// Selects the minimal readiness that the contract of the network allows. With `true`,
    /// readiness is reported once, and again only after a call that has drained it. With `false`,
    /// all readiness is reported at each arrival, as by Linux.
    #[doc(hidden)]
    pub fn set_minimal_readiness(&self, on: bool) {
        self.world.borrow_mut().minimal_edges = on;
    }

    /// Lets the seed choose which of several ready [tasks](crate::task) is polled first. Otherwise
    /// they are polled in the order of their wake-ups, as on the real network.
    pub fn shuffle_tasks(&self, on: bool) {
        let order = on.then(|| self.random("tasks"));
        self.world.borrow_mut().task_order = order;
    }

    // -- hosts --

    /// Returns the host of this name, and creates it on the first call. It has the next free
    /// addresses of 10.0.0.0/8 and fd00::/112, in addition to the loopback. Other hosts resolve its
    /// name.
    pub fn host(&self, name: &str) -> Host {
        let mut world = self.world.borrow_mut();
        let known = world.hosts.iter().position(|host| host.name == name);
        Host(known.map_or_else(|| world.add_host(name), |index| index as u32))
    }

    /// Returns the host's name.
    pub fn name(&self, host: Host) -> String {
        self.world.borrow().host(host.0).name.clone()
    }

    /// Returns the host's first address.
    pub fn address(&self, host: Host) -> IpAddr {
        // Every host has at least two addresses.
        self.world.borrow().host(host.0).addresses[0]
    }

    /// Returns all addresses of the host except the loopback.
    pub fn addresses(&self, host: Host) -> Vec<IpAddr> {
        self.world.borrow().host(host.0).addresses.clone()
    }

    /// Returns all hosts, in the order of their creation.
    pub fn hosts(&self) -> Vec<Host> {
        (0..self.world.borrow().hosts.len() as u32).map(Host).collect()
    }

    /// Adds an address to a host.
    pub fn add_address(&self, host: Host, address: IpAddr) {
        let mut world = self.world.borrow_mut();
        world.addresses.insert(address, host.0);
        world.host_mut(host.0).addresses.push(address);
    }

    /// Adds a name that resolves to these addresses.
    pub fn add_name(&self, name: &str, addresses: &[IpAddr]) {
        self.world.borrow_mut().names.insert(name.to_ascii_lowercase(), addresses.to_vec());
    }

    /// Returns whether the host has power.
    pub fn is_up(&self, host: Host) -> bool {
        self.world.borrow().host(host.0).up
    }

    /// Returns the number of open sockets of all processes of a host.
    pub fn sockets(&self, host: Host) -> usize {
        let world = self.world.borrow();
        world.processes.iter().filter(|process| process.host == host.0).map(|process| process.open).sum()
    }

    /// Returns the number of connections that are open on at least one side.
    pub fn connections(&self) -> usize {
        self.world.borrow().connections.len()
    }

    // -- links --

    /// Sets the link between two hosts, or inside one.
    pub fn set_link(&self, one: Host, other: Host, link: Link) {
        let mut world = self.world.borrow_mut();
        for (from, to) in [(one, other), (other, one)] {
            let path = world.path(from.0, to.0);
            world.path_mut(path).set_link(link.clone());
        }
    }

    /// Sets the link between all pairs of hosts. Replaces links that were set for one pair.
    pub fn set_links(&self, link: Link) {
        let mut world = self.world.borrow_mut();
        for path in world.paths.iter_mut().filter(|path| path.from != path.to) {
            path.set_link(link.clone());
        }
        world.default_link = link;
    }

    /// Sets the link inside every host.
    pub fn set_loopback(&self, link: Link) {
        let mut world = self.world.borrow_mut();
        for path in world.paths.iter_mut().filter(|path| path.from == path.to) {
            path.set_link(link.clone());
        }
        world.loopback_link = link;
    }

    /// Cuts both directions between two hosts. Packets in flight are retransmitted after the
    /// partition has healed, as by TCP. After about 15 minutes the connection times out.
    pub fn partition(&self, one: Host, other: Host) {
        self.cut(one, other, true);
        self.cut(other, one, true);
        self.fault(FaultKind::Partition, one);
    }

    /// Cuts one direction between two hosts; the other one stays open.
    pub fn partition_one_way(&self, from: Host, to: Host) {
        self.cut(from, to, true);
        self.fault(FaultKind::OneWayPartition, from);
    }

    /// Heals partitions between two hosts.
    pub fn heal(&self, one: Host, other: Host) {
        self.cut(one, other, false);
        self.cut(other, one, false);
        self.fault(FaultKind::Heal, one);
    }

    /// Heals all partitions.
    pub fn heal_all(&self) {
        let mut world = self.world.borrow_mut();
        world.paths.iter_mut().for_each(|path| path.cut = false);
        world.fault(FaultKind::Heal, 0);
    }

    fn cut(&self, from: Host, to: Host, cut: bool) {
        let mut world = self.world.borrow_mut();
        let path = world.path(from.0, to.0);
        world.path_mut(path).cut = cut;
    }

    // -- what goes wrong --

    /// Adds a rule behind the existing ones.
    pub fn add_rule(&self, rule: impl Rule + 'static) -> RuleId {
        let mut world = self.world.borrow_mut();
        world.rules_added += 1;
        let id = RuleId(world.rules_added);
        world.rules.push((id, Box::new(rule)));
        id
    }

    /// Removes a rule; `false` when it was removed before.
    pub fn remove_rule(&self, id: RuleId) -> bool {
        let mut world = self.world.borrow_mut();
        let before = world.rules.len();
        world.rules.retain(|(other, _)| *other != id);
        world.rules.len() < before
    }

    /// Refuses connections to a port of a host, or to all of them, although a listener exists.
    pub fn refuse(&self, host: Host, port: Option<u16>) {
        self.world.borrow_mut().host_mut(host.0).refuses.add(port);
    }

    /// Drops handshakes and datagrams to a port of a host, or to all of them, as a packet filter
    /// does.
    pub fn drop_connects(&self, host: Host, port: Option<u16>) {
        self.world.borrow_mut().host_mut(host.0).silent.add(port);
    }

    /// Fills the backlog of a port's listeners, or of all listeners.
    pub fn fill_backlog(&self, host: Host, port: Option<u16>) {
        self.world.borrow_mut().host_mut(host.0).full.add(port);
    }

    /// Ends refusal, dropping and full backlogs of a port, or of all ports.
    pub fn accept_connects(&self, host: Host, port: Option<u16>) {
        let mut world = self.world.borrow_mut();
        let machine = world.host_mut(host.0);
        for ports in [&mut machine.refuses, &mut machine.silent, &mut machine.full] {
            ports.remove(port);
        }
    }

    /// Resets all connections between two hosts, as a firewall between them does. Returns their
    /// number.
    pub fn reset_connections(&self, one: Host, other: Host) -> usize {
        let mut world = self.world.borrow_mut();
        let concerns = |ends: (u32, u32)| ends == (one.0, other.0) || ends == (other.0, one.0);
        let found: Vec<u32> = world
            .connections
            .iter()
            .filter(|(_, c)| c.unix.is_none() && concerns((c.ends[0].host, c.ends[1].host)))
            .filter(|(_, c)| c.ends.iter().any(|end| end.phase == Phase::Open))
            .map(|(index, _)| index as u32)
            .collect();
        for index in &found {
            world.reset_both(*index);
        }
        found.len()
    }

    /// Resets one connection, chosen by the seed, on both sides; `false` when there is none.
    pub fn reset_any_connection(&self) -> bool {
        let mut world = self.world.borrow_mut();
        let open = world
            .connections
            .iter()
            .filter(|(_, c)| c.unix.is_none() && c.ends.iter().any(|end| end.phase == Phase::Open));
        let open: Vec<u32> = open.map(|(index, _)| index as u32).collect();
        if open.is_empty() {
            return false;
        }
        let index = *world.random.rules.pick(&open);
        world.reset_both(index);
        true
    }

    /// Sets the descriptor limit of each process of a host, running or started later. Default:
    /// 1,048,576.
    pub fn set_descriptor_limit(&self, host: Host, limit: usize) {
        self.world.borrow_mut().host_mut(host.0).descriptors = limit;
        self.limit_processes(host, None);
    }

    /// Sets a limit for the running processes of a host; `None` restores the host's limit.
    pub(crate) fn limit_processes(&self, host: Host, limit: Option<usize>) {
        let mut world = self.world.borrow_mut();
        let limit = limit.unwrap_or(world.host(host.0).descriptors);
        let processes = world.processes.iter_mut().filter(|process| process.host == host.0);
        processes.for_each(|process| process.limit = limit);
    }

    /// Sets whether a host resolves names. Addresses and `localhost` are always resolved.
    pub fn set_name_resolution(&self, host: Host, found: bool) {
        self.world.borrow_mut().host_mut(host.0).finds_no_names = !found;
    }

    /// Limits the bytes per second that all processes of a host read together; `None`: no limit.
    pub fn set_read_rate(&self, host: Host, rate: Option<u64>) {
        self.world.borrow_mut().host_mut(host.0).read_rate = rate;
    }

    /// Sets the duration of each system call of a host's processes. Default: zero.
    pub fn set_call_cost(&self, host: Host, cost: Duration) {
        self.world.borrow_mut().host_mut(host.0).call_cost = nanoseconds(cost);
    }

    /// Sets the drift of a host's monotonic clock in parts per million; a negative drift is slow.
    /// The limit is 500,000 in both directions.
    pub fn set_clock_drift(&self, host: Host, millionths: i32) {
        let mut world = self.world.borrow_mut();
        let now = world.now;
        world.host_mut(host.0).clock.set_drift(now, millionths);
        if millionths != 0 {
            world.fault(FaultKind::ClockDrift, host.0);
        }
        // Poll deadlines were computed with the old rate.
        let processes = world.processes.iter().enumerate();
        let own: Vec<u32> =
            processes.filter(|(_, p)| p.host == host.0).map(|(index, _)| index as u32).collect();
        own.into_iter().for_each(|process| world.wake(process));
    }

    /// Steps a host's calendar time by a number of seconds.
    pub fn step_clock(&self, host: Host, seconds: i64) {
        let mut world = self.world.borrow_mut();
        let clock = &mut world.host_mut(host.0).clock;
        clock.stepped = clock.stepped.saturating_add(seconds.saturating_mul(1_000_000_000));
        world.fault(FaultKind::ClockStep, host.0);
    }

    /// Charges work to the running callback of a host's processes. Everything that they do later in
    /// this turn happens `time` later, and so does their next turn.
    pub fn advance_host_clock(&self, host: Host, time: Duration) {
        let mut world = self.world.borrow_mut();
        for process in world.processes.iter_mut().filter(|process| process.host == host.0) {
            process.ahead = process.ahead.saturating_add(nanoseconds(time));
        }
    }

    /// Sends a signal to all processes of a host that watch it. Returns whether any does. The
    /// default action of an unwatched signal is left to the caller.
    pub fn signal(&self, host: Host, signal: Signal) -> bool {
        let mut world = self.world.borrow_mut();
        let mut watched = false;
        for index in 0..world.processes.len() as u32 {
            let process = world.process_mut(index);
            let Some(place) = process.watched.iter().position(|watch| watch.signal == signal) else {
                continue;
            };
            if process.host != host.0 {
                continue;
            }
            if process.watched[place].once {
                process.watched.remove(place);
            }
            if !process.signals.contains(&signal) {
                process.signals.push(signal);
            }
            watched = true;
            world.wake(index);
        }
        watched
    }

    // -- what happened --

    /// Writes a line into the trace.
    pub fn trace_note(&self, text: &str) {
        self.world.borrow_mut().note_text(
            u32::MAX,
            About::NOTHING,
            RecordKind::Note,
            Text::Words(text.to_owned()),
        );
    }

    /// Writes a line that a host's program logged without a logger into the trace.
    pub(crate) fn note_log_line(&self, host: Host, line: String) {
        self.world.borrow_mut().note_log_line(host.0, line);
    }

    /// Sets the number of last records that the trace keeps. Default: 4,096.
    pub fn keep_trace(&self, records: usize) {
        self.world.borrow_mut().trace.keep(records);
    }

    /// Returns the last `max` lines of the trace: time, host, connection, event, and bytes or an
    /// error.
    pub fn trace(&self, max: usize) -> String {
        let world = self.world.borrow();
        world
            .trace
            .tail(max, |host| world.hosts.get(host as usize).map_or_else(String::new, |h| h.name.clone()))
    }

    /// Returns a hash of the whole trace. It is the same for the same seed and scenario, on every
    /// run and machine.
    pub fn trace_hash(&self) -> u64 {
        self.world.borrow().trace.hash()
    }

    /// Returns the number of all records of the trace, kept or not.
    pub fn trace_length(&self) -> u64 {
        self.world.borrow().trace.count()
    }

    /// Returns the counters of faults and calls.
    pub fn coverage(&self) -> Coverage {
        self.world.borrow().coverage.clone()
    }

    /// Returns the number of events that were scheduled.
    pub fn events(&self) -> u64 {
        self.world.borrow().events.count()
    }

    pub(in crate::sim) fn fault(&self, kind: FaultKind, host: Host) {
        self.world.borrow_mut().fault(kind, host.0);
    }
}

/// Reactors without a [`Simulation`](crate::sim::Simulation), which the caller runs on a simulated
/// network.
impl Network {
    /// Returns a reactor that the caller runs or turns. A poll that waits advances virtual time.
    /// With several such reactors, give turns to each. A poll without any event left fails with
    /// [`Error::System`](crate::Error::System), whose source lists the waiting processes.
    pub fn reactor(&self, host: Host, settings: Settings) -> Reactor {
        let net = SimNet::unscheduled(self, host, settings.thread_limits());
        Reactor::on(Box::new(net), settings)
    }
}
