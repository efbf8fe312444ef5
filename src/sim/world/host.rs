//! Hosts: their state, addresses and ports.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::sim::network::rule::CallKind;
use crate::sim::random::Random;
use crate::sim::world::clock::Clock;
use crate::sim::world::disk::DiskState;
use crate::sim::world::unix::names::Names;
use crate::sim::world::{FIRST_PORT, LAST_PORT, World};

/// The state of a host.
pub(in crate::sim) struct HostState {
    pub(in crate::sim) name: String,
    pub(in crate::sim) addresses: Vec<IpAddr>,
    pub(in crate::sim) up: bool,
    pub(in crate::sim) clock: Clock,
    /// Listeners by port.
    pub(in crate::sim) listeners: BTreeMap<u16, Vec<u32>>,
    pub(in crate::sim) datagram_queues: BTreeMap<u16, Vec<u32>>,
    /// The names of UNIX sockets.
    pub(in crate::sim) names: Names,
    pub(in crate::sim) disk: DiskState,
    pub(in crate::sim) next_port: u16,
    pub(in crate::sim) refuses: Ports,
    pub(in crate::sim) silent: Ports,
    pub(in crate::sim) full: Ports,
    /// The descriptor limit of each process.
    pub(in crate::sim) descriptors: usize,
    pub(in crate::sim) finds_no_names: bool,
    pub(in crate::sim) binds_any_address: bool,
    pub(in crate::sim) holds_connects: bool,
    /// The read limit in bytes per second, and the time of the next read that it allows.
    pub(in crate::sim) read_rate: Option<u64>,
    pub(in crate::sim) next_read: u64,
    /// The duration of each call, in nanoseconds.
    pub(in crate::sim) call_cost: u64,
    pub(in crate::sim) calls: [u64; CallKind::ALL.len()],
    /// The process of sockets without a reactor.
    pub(in crate::sim) socket_process: Option<u32>,
}

/// A set of ports, or all.
#[derive(Clone, Debug, Default)]
pub(in crate::sim) struct Ports {
    pub(in crate::sim) all: bool,
    pub(in crate::sim) some: BTreeSet<u16>,
}

impl Ports {
    pub(in crate::sim) fn has(&self, port: u16) -> bool {
        self.all || self.some.contains(&port)
    }

    /// Adds a port; `None`: all.
    pub(in crate::sim) fn add(&mut self, port: Option<u16>) {
        match port {
            Some(port) => {
                self.some.insert(port);
            }
            None => self.all = true,
        }
    }

    pub(in crate::sim) fn remove(&mut self, port: Option<u16>) {
        match port {
            Some(port) => {
                self.some.remove(&port);
            }
            None => *self = Ports::default(),
        }
    }
}

impl World {
    pub(in crate::sim) fn add_host(&mut self, name: &str) -> u32 {
        let index = self.hosts.len() as u32;
        // 10.0.0.1, 10.0.0.2 ..; fd00::1, fd00::2 ..
        let number = index + 1;
        let [_, b, c, d] = number.to_be_bytes();
        let addresses = vec![
            IpAddr::V4(Ipv4Addr::new(10, b, c, d)),
            IpAddr::V6(Ipv6Addr::from(0xfd00_u128 << 112 | u128::from(number))),
        ];
        for address in &addresses {
            self.addresses.insert(*address, index);
        }
        self.names.insert(name.to_owned(), addresses.clone());
        let first_port = Random::new(self.seed, "ports").next() ^ u64::from(index).wrapping_mul(0x9e37_79b9);
        self.hosts.push(HostState {
            name: name.to_owned(),
            addresses,
            up: true,
            clock: Clock::default(),
            listeners: BTreeMap::new(),
            datagram_queues: BTreeMap::new(),
            names: Names::default(),
            disk: DiskState::default(),
            next_port: FIRST_PORT + (first_port % u64::from(LAST_PORT - FIRST_PORT)) as u16,
            refuses: Ports::default(),
            silent: Ports::default(),
            full: Ports::default(),
            descriptors: DESCRIPTORS,
            finds_no_names: false,
            binds_any_address: false,
            holds_connects: false,
            read_rate: None,
            next_read: 0,
            call_cost: 0,
            calls: [0; CallKind::ALL.len()],
            socket_process: None,
        });
        index
    }

    #[inline]
    pub(in crate::sim) fn host(&self, host: u32) -> &HostState {
        // Hosts are never removed.
        &self.hosts[host as usize]
    }

    #[inline]
    pub(in crate::sim) fn host_mut(&mut self, host: u32) -> &mut HostState {
        &mut self.hosts[host as usize]
    }

    pub(in crate::sim) fn find_host(&self, from: u32, address: IpAddr) -> Option<u32> {
        let address = address.to_canonical();
        if address.is_loopback() || address.is_unspecified() {
            return Some(from);
        }
        self.addresses.get(&address).copied().or(self.gateway)
    }

    /// Returns the source address of connections to an address.
    pub(in crate::sim) fn source_address(&self, from: u32, to: IpAddr) -> Option<IpAddr> {
        let to = to.to_canonical();
        let same_family = |address: &&IpAddr| address.is_ipv4() == to.is_ipv4();
        let own = &self.host(from).addresses;
        match to {
            _ if own.contains(&to) => Some(to),
            IpAddr::V4(to) if to.is_loopback() => Some(IpAddr::V4(Ipv4Addr::LOCALHOST)),
            IpAddr::V6(to) if to.is_loopback() => Some(IpAddr::V6(Ipv6Addr::LOCALHOST)),
            _ => own.iter().find(same_family).copied(),
        }
    }
}

/// The default descriptor limit, a common hard limit on Linux.
const DESCRIPTORS: usize = 1_048_576;
