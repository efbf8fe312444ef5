//! The network as its owner sees it: hosts, links, and everything that can be done to them.

pub(in crate::sim) mod connect_gate;
pub(in crate::sim) mod coverage;
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
use crate::sim::network::trace::{About, Text, What};
use crate::sim::random::Random;
use crate::sim::world::World;
use crate::sim::world::tcp::connection::Phase;
use crate::sim::{Host, Instant};

/// A simulated network. Clones are handles on the same one, for callbacks and conditions.
///
/// [`Simulation`](crate::sim::Simulation) is a network with reactors that get their turns; alone it is for reactors that
/// the caller turns ([`reactor`](Network::reactor)), and for plain sockets.
#[derive(Clone)]
pub struct Network {
    pub(in crate::sim) world: Rc<RefCell<World>>,
}

impl std::fmt::Debug for Network {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Network(seed {}, at {:?})", self.seed(), self.now())
    }
}

/// A rule that was added, by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RuleId(pub(in crate::sim) u64);

impl Network {
    /// A network without hosts. The seed decides everything that chance would.
    pub fn new(seed: u64) -> Network {
        Network { world: Rc::new(RefCell::new(World::new(seed))) }
    }

    /// The seed.
    pub fn seed(&self) -> u64 {
        self.world.borrow().seed
    }

    /// A stream of random numbers that the seed decides, for what the world does not draw itself.
    pub fn random(&self, name: &str) -> Random {
        Random::new(self.seed(), name)
    }

    /// The world's time, from its beginning on.
    pub fn now(&self) -> Instant {
        Instant::from_nanoseconds(self.world.borrow().now)
    }

    /// What happens at the same time, happens in the order in which it was caused, instead of one that
    /// the seed decides. For tests that compare with a real loopback.
    pub fn set_fifo_order(&self) {
        self.world.borrow_mut().events.in_order = true;
    }

    /// Readiness is told once, and again only after a call that found the end of it: as little as the seam's contract
    /// promises. Otherwise as Linux tells it: at each arrival, everything.
    pub fn set_minimal_readiness(&self, on: bool) {
        self.world.borrow_mut().minimal_edges = on;
    }

    /// Lets the seed decide which of several [tasks](crate::task) that are ready is polled first. Otherwise it is the one that
    /// was woken first, as on the real network.
    pub fn shuffle_tasks(&self, on: bool) {
        let order = on.then(|| self.random("tasks"));
        self.world.borrow_mut().task_order = order;
    }

    // -- hosts --

    /// The host of this name; it is made when it is first asked for. Its addresses are the next free ones of
    /// 10.0.0.0/8 and fd00::/112, beside the loopback; other hosts find it by its name.
    pub fn host(&self, name: &str) -> Host {
        let mut world = self.world.borrow_mut();
        let known = world.hosts.iter().position(|host| host.name == name);
        Host(known.map_or_else(|| world.add_host(name), |index| index as u32))
    }

    /// The host's name.
    pub fn name(&self, host: Host) -> String {
        self.world.borrow().host(host.0).name.clone()
    }

    /// The host's first address.
    pub fn address(&self, host: Host) -> IpAddr {
        // Every host was given two.
        self.world.borrow().host(host.0).addresses[0]
    }

    /// All its addresses, beside the loopback.
    pub fn addresses(&self, host: Host) -> Vec<IpAddr> {
        self.world.borrow().host(host.0).addresses.clone()
    }

    /// All hosts, in the order in which they were made.
    pub fn hosts(&self) -> Vec<Host> {
        (0..self.world.borrow().hosts.len() as u32).map(Host).collect()
    }

    /// Gives a host one more address.
    pub fn add_address(&self, host: Host, address: IpAddr) {
        let mut world = self.world.borrow_mut();
        world.addresses.insert(address, host.0);
        world.host_mut(host.0).addresses.push(address);
    }

    /// Lets a name lead to these addresses.
    pub fn add_name(&self, name: &str, addresses: &[IpAddr]) {
        self.world.borrow_mut().names.insert(name.to_ascii_lowercase(), addresses.to_vec());
    }

    /// Whether the host has power.
    pub fn is_up(&self, host: Host) -> bool {
        self.world.borrow().host(host.0).up
    }

    /// Open sockets of all processes of a host.
    pub fn sockets(&self, host: Host) -> usize {
        let world = self.world.borrow();
        world.processes.iter().filter(|process| process.host == host.0).map(|process| process.open).sum()
    }

    /// Connections that are not over for both sides.
    pub fn connections(&self) -> usize {
        self.world.borrow().connections.len()
    }

    // -- links --

    /// The link between two hosts, or inside one.
    pub fn set_link(&self, one: Host, other: Host, link: Link) {
        let mut world = self.world.borrow_mut();
        for (from, to) in [(one, other), (other, one)] {
            let path = world.path(from.0, to.0);
            world.path_mut(path).set_link(link.clone());
        }
    }

    /// The link of all pairs of hosts, those included that have one of their own by now.
    pub fn set_links(&self, link: Link) {
        let mut world = self.world.borrow_mut();
        for path in world.paths.iter_mut().filter(|path| path.from != path.to) {
            path.set_link(link.clone());
        }
        world.between_hosts = link;
    }

    /// The link inside every host.
    pub fn set_loopback(&self, link: Link) {
        let mut world = self.world.borrow_mut();
        for path in world.paths.iter_mut().filter(|path| path.from == path.to) {
            path.set_link(link.clone());
        }
        world.inside_a_host = link;
    }

    /// Nothing gets through between two hosts. What is on its way waits, and is sent again when the
    /// partition has healed, as TCP does; after a quarter of an hour it is given up.
    pub fn partition(&self, one: Host, other: Host) {
        self.cut(one, other, true);
        self.cut(other, one, true);
        self.fault(FaultKind::Partition, one);
    }

    /// Nothing gets from one host to another; the other way is open.
    pub fn partition_one_way(&self, from: Host, to: Host) {
        self.cut(from, to, true);
        self.fault(FaultKind::OneWayPartition, from);
    }

    /// Ends partitions between two hosts.
    pub fn heal(&self, one: Host, other: Host) {
        self.cut(one, other, false);
        self.cut(other, one, false);
        self.fault(FaultKind::Heal, one);
    }

    /// Ends all partitions.
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

    /// Adds a rule, which is asked after those that were added before.
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

    /// A port of a host, or all of them, refuses connections although it is listened on.
    pub fn refuse(&self, host: Host, port: Option<u16>) {
        self.world.borrow_mut().host_mut(host.0).refuses.add(port);
    }

    /// Handshakes and datagrams to a port of a host, or to all of them, vanish, as behind a filter.
    pub fn drop_connects(&self, host: Host, port: Option<u16>) {
        self.world.borrow_mut().host_mut(host.0).silent.add(port);
    }

    /// The queues of a port's listeners, or of all, have no room.
    pub fn fill_backlog(&self, host: Host, port: Option<u16>) {
        self.world.borrow_mut().host_mut(host.0).full.add(port);
    }

    /// Ends refusal, silence and full queues of a port or of all.
    pub fn accept_connects(&self, host: Host, port: Option<u16>) {
        let mut world = self.world.borrow_mut();
        let machine = world.host_mut(host.0);
        for ports in [&mut machine.refuses, &mut machine.silent, &mut machine.full] {
            ports.remove(port);
        }
    }

    /// All connections between two hosts are reset, as by a firewall between them. Returns how many.
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

    /// One connection, which the seed chooses, is reset on both sides; `false` when there is none.
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

    /// How many descriptors each process of a host may have open, those that begin later included.
    /// Default: 1,048,576.
    pub fn set_descriptor_limit(&self, host: Host, limit: usize) {
        self.world.borrow_mut().host_mut(host.0).descriptors = limit;
        self.limit_processes(host, None);
    }

    /// A limit of a host's processes that run by now; `None`: the host's own again.
    pub(crate) fn limit_processes(&self, host: Host, limit: Option<usize>) {
        let mut world = self.world.borrow_mut();
        let limit = limit.unwrap_or(world.host(host.0).descriptors);
        let processes = world.processes.iter_mut().filter(|process| process.host == host.0);
        processes.for_each(|process| process.limit = limit);
    }

    /// Whether a host finds names. Addresses and `localhost` are always found.
    pub fn set_name_resolution(&self, host: Host, found: bool) {
        self.world.borrow_mut().host_mut(host.0).finds_no_names = !found;
    }

    /// How many bytes a second a host's processes read, all together; `None`: all that come.
    pub fn set_read_rate(&self, host: Host, rate: Option<u64>) {
        self.world.borrow_mut().host_mut(host.0).reads = rate;
    }

    /// How long every system call of a host's processes takes. Default: no time.
    pub fn set_call_cost(&self, host: Host, cost: Duration) {
        self.world.borrow_mut().host_mut(host.0).call_cost = nanoseconds(cost);
    }

    /// Lets a host's monotonic clock run fast by so many millionths; negative: slow.
    pub fn set_clock_drift(&self, host: Host, millionths: i32) {
        let mut world = self.world.borrow_mut();
        let now = world.now;
        world.host_mut(host.0).clock.set_drift(now, millionths);
        if millionths != 0 {
            world.fault(FaultKind::ClockDrift, host.0);
        }
        // Who sleeps by the old rate looks again.
        let processes = world.processes.iter().enumerate();
        let own: Vec<u32> =
            processes.filter(|(_, p)| p.host == host.0).map(|(index, _)| index as u32).collect();
        own.into_iter().for_each(|process| world.wake(process));
    }

    /// Lets a host's calendar time jump, by seconds.
    pub fn step_clock(&self, host: Host, seconds: i64) {
        let mut world = self.world.borrow_mut();
        let clock = &mut world.host_mut(host.0).clock;
        clock.stepped = clock.stepped.saturating_add(seconds.saturating_mul(1_000_000_000));
        world.fault(FaultKind::ClockStep, host.0);
    }

    /// In a callback: this host's processes have worked for so long. Everything that they do in this turn
    /// happens that much later, and their next turn comes after it.
    pub fn advance_host_clock(&self, host: Host, time: Duration) {
        let mut world = self.world.borrow_mut();
        for process in world.processes.iter_mut().filter(|process| process.host == host.0) {
            process.ahead = process.ahead.saturating_add(nanoseconds(time));
        }
    }

    /// Sends a signal to all processes of a host that watch it. Returns whether any does: by
    /// default the system ends those that do not, which is the owner's to do.
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
        self.world.borrow_mut().note_text(u32::MAX, About::NOTHING, What::Note, Text::Words(text.to_owned()));
    }

    /// Writes what a host's program says without a logger into the trace.
    pub(crate) fn note_said(&self, host: Host, line: String) {
        self.world.borrow_mut().note_said(host.0, line);
    }

    /// How many of the last records the trace keeps. Default: 4,096.
    pub fn keep_trace(&self, records: usize) {
        self.world.borrow_mut().trace.keep(records);
    }

    /// The last `most` lines of the trace: time, host, connection, what happened, and bytes or an error.
    pub fn trace(&self, most: usize) -> String {
        let world = self.world.borrow();
        world
            .trace
            .tail(most, |host| world.hosts.get(host as usize).map_or_else(String::new, |h| h.name.clone()))
    }

    /// A hash of the whole trace: the same for the same seed and scenario, on every run and machine.
    pub fn trace_hash(&self) -> u64 {
        self.world.borrow().trace.hash()
    }

    /// How many records the trace had in all.
    pub fn trace_length(&self) -> u64 {
        self.world.borrow().trace.count()
    }

    /// How often each fault and each call happened.
    pub fn coverage(&self) -> Coverage {
        self.world.borrow().coverage.clone()
    }

    /// How many things have been made to happen later.
    pub fn events(&self) -> u64 {
        self.world.borrow().events.count()
    }

    pub(in crate::sim) fn fault(&self, kind: FaultKind, host: Host) {
        self.world.borrow_mut().fault(kind, host.0);
    }
}
