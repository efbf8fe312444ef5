//! UDP: binding, connecting, and datagrams in flight. Each datagram may be lost, duplicated,
//! reordered, or dropped because it is longer than the MTU.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::net::{Address, Destination, Open, OpenError, OpenStep, Origin, Readiness, Token, nanoseconds};
use crate::sim::network::coverage::FaultKind;
use crate::sim::network::errno::Errno;
use crate::sim::network::link::MAX_DATAGRAM;
use crate::sim::network::rule::{CallKind, PacketKind, Verdict};
use crate::sim::network::trace::{About, RecordKind, Text};
use crate::sim::world::datagram::multicast::Multicast;
use crate::sim::world::datagram::queue::{
    DatagramQueue, DatagramQueueId, Family, QueuedDatagram, accounted_size,
};
use crate::sim::world::events::EventKind;
use crate::sim::world::process::Socket;
use crate::sim::world::tcp::listen::{failed, mapped_address, overlap};
use crate::sim::world::{FIRST_PORT, LAST_PORT, World};

/// The state of a UDP socket.
#[derive(Clone)]
pub(in crate::sim) struct Udp {
    pub(in crate::sim) address: SocketAddr,
    /// The connected peer. The socket receives from it alone.
    pub(in crate::sim) peer: Option<SocketAddr>,
    pub(in crate::sim) ipv6_only: bool,
    reuse_address: bool,
    reuse_port: bool,
    pub(in crate::sim) broadcast: bool,
    pub(in crate::sim) multicast: Multicast,
}

/// A datagram in flight.
pub(in crate::sim) struct Datagram {
    sender: DatagramQueueId,
    from: SocketAddr,
    to: SocketAddr,
    path: u32,
    /// The incoming interface of a multicast or broadcast datagram.
    interface: Option<u32>,
    data: Vec<u8>,
}

impl World {
    pub(in crate::sim) fn open_udp(
        &mut self,
        process: u32,
        token: Token,
        open: &Open,
    ) -> Result<(), OpenError> {
        let Open::Udp { bind, connect, reuse_address, reuse_port, ipv6_only, broadcast, buffers } = open
        else {
            return failed(OpenStep::Socket, Errno::EAFNOSUPPORT);
        };
        let host = self.process(process).host;
        let mut udp = Udp {
            address: *bind,
            peer: None,
            ipv6_only: ipv6_only.unwrap_or(false),
            reuse_address: *reuse_address,
            reuse_port: *reuse_port,
            broadcast: *broadcast,
            multicast: Multicast::default(),
        };
        self.allow(process, CallKind::Bind, OpenStep::Bind)?;
        self.bind_udp(host, &mut udp)
            .map_err(|errno| OpenError { step: OpenStep::Bind, error: errno.into() })?;
        if let Some(peer) = connect {
            self.allow(process, CallKind::Connect, OpenStep::Connect)?;
            let connected = self.connect_udp(host, &mut udp, *peer);
            connected.map_err(|errno| OpenError { step: OpenStep::Connect, error: errno.into() })?;
        }
        self.allow(process, CallKind::Watch, OpenStep::Watch)?;
        let serial = self.next_serial();
        let address = udp.address;
        let mut queue = DatagramQueue::new(serial, host, process, token, Family::Udp(udp));
        queue.room = buffers.receive.map_or(queue.room, crate::sim::world::tcp::connect::granted);
        let index = self.datagram_queues.insert(queue) as u32;
        self.host_mut(host).datagram_queues.entry(address.port()).or_default().push(index);
        self.process_mut(process).insert(token, Socket::Datagram(index));
        self.note_text(host, About::listener(serial), RecordKind::Opens, Text::DatagramsAt(address));
        self.report_datagram_queue(index, Readiness::ALL);
        Ok(())
    }

    fn bind_udp(&mut self, host: u32, udp: &mut Udp) -> Result<(), Errno> {
        let address = udp.address;
        let group = address.ip().to_canonical().is_multicast();
        if !group && !is_broadcast(address.ip()) && !self.is_own(host, address.ip()) {
            return Err(Errno::EADDRNOTAVAIL);
        }
        if address.port() == 0 {
            let free = (FIRST_PORT..=LAST_PORT).find_map(|_| {
                let port = self.next_port(host);
                self.host(host).datagram_queues.get(&port).is_none_or(Vec::is_empty).then_some(port)
            });
            udp.address.set_port(free.ok_or(Errno::EADDRINUSE)?);
            return Ok(());
        }
        let candidates = self.host(host).datagram_queues.get(&address.port()).into_iter().flatten();
        let mut others = candidates.filter_map(|index| self.datagram_queues[*index as usize].udp());
        match others.any(|other| udp.conflicts(other)) {
            true => Err(Errno::EADDRINUSE),
            false => Ok(()),
        }
    }

    fn connect_udp(&mut self, host: u32, udp: &mut Udp, peer: SocketAddr) -> Result<(), Errno> {
        let peer = udp.destination(peer)?;
        if is_broadcast(peer.ip()) && !udp.broadcast {
            return Err(Errno::EACCES);
        }
        let source = self.source_for(host, udp, peer)?;
        udp.address.set_ip(source);
        udp.peer = Some(peer);
        Ok(())
    }

    /// Returns the source address of a datagram, in the socket's family.
    fn source_for(&self, host: u32, udp: &Udp, to: SocketAddr) -> Result<IpAddr, Errno> {
        let (bound, to) = (udp.address.ip(), to.ip().to_canonical());
        if !bound.is_unspecified() && !bound.to_canonical().is_multicast() && !is_broadcast(bound) {
            let same_family = bound.to_canonical().is_ipv4() == to.is_ipv4();
            if !same_family {
                return Err(Errno::ENETUNREACH);
            }
            let stays = to.is_loopback() || to.is_multicast() || is_broadcast(to) || self.is_own(host, to);
            if bound.to_canonical().is_loopback() && !stays {
                return Err(Errno::EINVAL);
            }
            return Ok(bound);
        }
        let source = match udp.outgoing_interface(to) {
            LOOPBACK => Some(loopback(to)),
            _ => self.source_address(host, to),
        };
        let source = source.ok_or(Errno::ENETUNREACH)?;
        Ok(if udp.address.is_ipv6() { mapped_address(source) } else { source })
    }

    /// Returns the source address that the sender has requested, in canonical form.
    fn origin_for(&self, host: u32, udp: &Udp, to: SocketAddr, origin: IpAddr) -> Result<IpAddr, Errno> {
        if origin.is_ipv4() != udp.address.is_ipv4() {
            return Err(if udp.address.is_ipv4() { Errno::EAFNOSUPPORT } else { Errno::EINVAL });
        }
        let (origin, to) = (origin.to_canonical(), to.ip().to_canonical());
        let stays = to.is_loopback() || to.is_multicast() || is_broadcast(to) || self.is_own(host, to);
        let is_of_a_host = !origin.is_unspecified() && !origin.is_multicast() && !is_broadcast(origin);
        let leads_there = origin.is_ipv4() == to.is_ipv4() && (stays || !origin.is_loopback());
        match self.is_own(host, origin) {
            _ if !is_of_a_host => Err(Errno::EINVAL),
            true if leads_there => Ok(origin),
            false if origin.is_ipv4() => Err(Errno::ENETUNREACH),
            true | false => Err(Errno::EINVAL),
        }
    }

    // -- sending --

    pub(in crate::sim) fn send_udp(
        &mut self,
        process: u32,
        index: u32,
        data: &[u8],
        to: Option<SocketAddr>,
        origin: Option<Origin>,
    ) -> Result<(), Errno> {
        let Some(udp) = self.datagram_queues[index as usize].udp().cloned() else {
            return Err(Errno::EINVAL);
        };
        if data.len() > usize::from(u16::MAX) {
            return Err(Errno::EMSGSIZE);
        }
        let to = match (to, udp.peer) {
            (Some(to), _) => udp.destination(to)?,
            (None, Some(peer)) => peer,
            (None, None) => return Err(Errno::EDESTADDRREQ),
        };
        let host = self.datagram_queues[index as usize].host;
        let source = match origin {
            Some(origin) => self.origin_for(host, &udp, to, origin.address)?,
            None => self.source_for(host, &udp, to)?,
        };
        let from = SocketAddr::new(source, udp.address.port());
        if is_broadcast(to.ip()) && !udp.broadcast {
            return Err(Errno::EACCES);
        }
        if data.len() > MAX_DATAGRAM {
            return Err(Errno::EMSGSIZE);
        }
        if let Some(errno) = self.datagram_queues[index as usize].error.take() {
            return Err(errno);
        }
        let sender = self.id_of(index);
        let (from, to) = (canonical(from), canonical(to));
        let copy = |path, interface| Datagram { sender, from, to, path, interface, data: data.to_vec() };
        if !to.ip().is_multicast() && !is_broadcast(to.ip()) {
            // A datagram to an unknown host is lost.
            let Some(to_host) = self.find_host(host, to.ip()) else { return Ok(()) };
            let path = self.path(host, to_host);
            self.dispatch(process, copy(path, None));
            return Ok(());
        }
        for (to_host, interface) in self.destinations(host, &udp, to.ip()) {
            let path = self.path(host, to_host);
            self.dispatch(process, copy(path, Some(interface)));
        }
        Ok(())
    }

    fn dispatch(&mut self, process: u32, datagram: Datagram) {
        let Datagram { from, to, path, .. } = datagram;
        let (to_host, size) = (self.paths[path as usize].to, datagram.data.len());
        let at = self.local_now(process);
        let mut late = 0;
        match self.judge_packet(path, PacketKind::Datagram, size, from, to) {
            Verdict::Drop => return,
            Verdict::Fail(errno) => return self.answer_datagram(datagram.sender, path, to, errno),
            Verdict::Delay(by) => late = nanoseconds(by),
            Verdict::Pass | Verdict::Short(_) => {}
        }
        let link = self.paths[path as usize].link.clone();
        if size > link.mtu {
            return self.fault(FaultKind::TooLong, to_host);
        }
        let random = &mut self.random.links;
        let (lost, twice) = (random.chance(link.loss), random.chance(link.duplicate));
        let overtaken = random.chance(link.reorder);
        if lost {
            return self.fault(FaultKind::Loss, to_host);
        }
        if overtaken {
            self.fault(FaultKind::Reorder, to_host);
            let held_back = link.latency.draw(&mut self.random.links).saturating_mul(2);
            late = late.saturating_add(nanoseconds(held_back)).saturating_add(REORDER_DELAY);
        }
        if twice {
            self.fault(FaultKind::Duplicate, to_host);
            let Datagram { sender, interface, ref data, .. } = datagram;
            let again = Datagram { sender, from, to, path, interface, data: data.clone() };
            self.schedule_datagram(at, late, again);
        }
        self.schedule_datagram(at, late, datagram);
    }

    fn schedule_datagram(&mut self, at: u64, late: u64, datagram: Datagram) {
        let (path, size) = (datagram.path as usize, datagram.data.len());
        let arrival = self.paths[path].travel(at, size, &mut self.random.links) + late;
        let index = self.datagrams.insert(datagram) as u32;
        if arrival <= self.now {
            self.datagram_arrives(index);
        } else {
            self.schedule(arrival, EventKind::Datagram, 0, index, 0);
        }
    }

    pub(in crate::sim) fn datagram_arrives(&mut self, index: u32) {
        let Some(datagram) = self.datagrams.try_remove(index as usize) else { return };
        let Datagram { sender, from, to, path, interface, data } = datagram;
        let host = self.paths[path as usize].to;
        let size = data.len() as i64;
        if !self.is_open(path) || self.host(host).silent.has(to.port()) {
            return self.note(host, About::NOTHING, RecordKind::Lost(PacketKind::Datagram), size);
        }
        if let Some(interface) = interface {
            let receivers = self.receivers(host, interface, from, to);
            if receivers.is_empty() {
                self.note(host, About::NOTHING, RecordKind::Lost(PacketKind::Datagram), size);
            }
            return receivers.into_iter().for_each(|taker| self.enqueue(taker, from, to, data.clone()));
        }
        match self.datagram_queue_for(host, from, to) {
            Some(queue) => self.enqueue(queue, from, to, data),
            None => {
                self.note(host, About::NOTHING, RecordKind::Lost(PacketKind::Datagram), size);
                self.answer_datagram(sender, path, to, Errno::ECONNREFUSED);
            }
        }
    }

    /// Sends an ICMP error to the sender. Only a sender that is connected to this destination
    /// receives it.
    fn answer_datagram(&mut self, sender: DatagramQueueId, path: u32, to: SocketAddr, errno: Errno) {
        let Some(udp) = self.datagram_queue_mut(sender).and_then(|queue| queue.udp()) else { return };
        if udp.peer.map(canonical) != Some(to) {
            return;
        }
        let (from, to_host) = (self.paths[path as usize].from, self.paths[path as usize].to);
        let back = self.path(to_host, from);
        let loss = self.paths[back as usize].link.loss;
        if !self.is_open(back) || (loss > 0.0 && self.random.links.chance(loss)) {
            return;
        }
        let arrival = self.paths[back as usize].travel(self.now, 0, &mut self.random.links);
        if arrival <= self.now {
            self.datagram_answered(sender, errno);
        } else {
            // Error numbers fit into `side`: those of the network are below 256.
            let number = errno.raw() as usize;
            self.schedule(arrival, EventKind::DatagramAnswered, number, sender.index, sender.serial);
        }
    }

    pub(in crate::sim) fn datagram_answered(&mut self, sender: DatagramQueueId, errno: Errno) {
        if let Some(queue) = self.datagram_queue_mut(sender) {
            queue.error = Some(errno);
            self.report_datagram_queue(sender.index, Readiness::ALL);
        }
    }

    // -- receiving --

    /// Returns the socket that receives a datagram: the most specific one. Sockets with
    /// SO_REUSEPORT share by a hash of both addresses. Of sockets with SO_REUSEADDR the last one
    /// receives.
    fn datagram_queue_for(&self, host: u32, from: SocketAddr, to: SocketAddr) -> Option<u32> {
        let candidates = self.host(host).datagram_queues.get(&to.port())?;
        let of = |index: &u32| self.datagram_queues[*index as usize].udp().and_then(|udp| udp.rank(from, to));
        let best = candidates.iter().filter_map(of).min()?;
        let equals: Vec<u32> = candidates.iter().copied().filter(|index| of(index) == Some(best)).collect();
        let shares =
            |index: &u32| self.datagram_queues[*index as usize].udp().is_some_and(|udp| udp.reuse_port);
        match equals.iter().all(shares) {
            true => equals.get(spread(from, to) as usize % equals.len()).copied(),
            false => equals.last().copied(),
        }
    }

    /// Returns all sockets that receive a multicast or broadcast datagram.
    fn receivers(&self, host: u32, interface: u32, from: SocketAddr, to: SocketAddr) -> Vec<u32> {
        if to.ip().is_multicast() && !self.has_member(host, to.ip(), interface) {
            return Vec::new();
        }
        let candidates = self.host(host).datagram_queues.get(&to.port()).into_iter().flatten().copied();
        let takes = |index: &u32| {
            let udp = self.datagram_queues[*index as usize].udp();
            let group = to.ip().is_multicast();
            udp.is_some_and(|udp| {
                udp.rank(from, to).is_some() && (!group || udp.multicast.takes(to.ip(), interface))
            })
        };
        candidates.filter(takes).collect()
    }

    /// Queues a datagram at a socket, if it has room.
    fn enqueue(&mut self, index: u32, from: SocketAddr, to: SocketAddr, data: Vec<u8>) {
        let now = self.now;
        let queue = &mut self.datagram_queues[index as usize];
        let (host, size) = (queue.host, data.len() as i64);
        // An empty queue takes a datagram of any size.
        if queue.held > 0 && queue.held + accounted_size(data.len()) > queue.room {
            self.fault(FaultKind::Overflow, host);
            return self.note(host, About::NOTHING, RecordKind::Lost(PacketKind::Datagram), size);
        }
        let v6 = queue.udp().is_some_and(|udp| udp.address.is_ipv6());
        let from = if v6 { SocketAddr::new(mapped_address(from.ip()), from.port()) } else { from };
        let anywhere = queue.udp().is_some_and(|udp| udp.address.ip().is_unspecified() && udp.peer.is_none());
        let to_many = to.ip().is_multicast() || is_broadcast(to.ip());
        let address = if v6 { mapped_address(to.ip()) } else { to.ip() };
        let answer_from = (!to_many).then(|| Origin::new(address, NETWORK));
        let to = anywhere.then_some(Destination { address, answer_from });
        queue.held += accounted_size(data.len());
        queue.waiting.push_back(QueuedDatagram { from: Address::Udp(from), to, data, at: now, sender: None });
        let serial = queue.serial;
        self.note(host, About::listener(serial), RecordKind::Arrives(PacketKind::Datagram), size);
        self.report_datagram_queue(index, Readiness::READABLE);
    }
}

impl Udp {
    /// Returns the effective destination of a datagram, in the socket's family.
    fn destination(&self, to: SocketAddr) -> Result<SocketAddr, Errno> {
        let mut ip = to.ip();
        match (self.address, to.ip()) {
            (SocketAddr::V4(_), IpAddr::V6(_)) => return Err(Errno::EAFNOSUPPORT),
            (SocketAddr::V6(_), ip) if ip.to_canonical().is_ipv4() && self.ipv6_only => {
                return Err(Errno::ENETUNREACH);
            }
            (SocketAddr::V6(_), IpAddr::V4(v4)) => ip = v4.to_ipv6_mapped().into(),
            _ => {}
        }
        if to.port() == 0 {
            return Err(Errno::EINVAL);
        }
        if ip.is_unspecified() {
            ip = loopback(ip);
        }
        Ok(SocketAddr::new(ip, to.port()))
    }

    /// Returns whether the two sockets cannot have the same port.
    fn conflicts(&self, other: &Udp) -> bool {
        let (ours, theirs) = (self.address.ip().to_canonical(), other.address.ip().to_canonical());
        let meet = match (ours.is_ipv4(), theirs.is_ipv4()) {
            (true, true) | (false, false) => overlap(ours, theirs),
            // An IPv6 wildcard takes IPv4 as well, unless it is IPv6-only.
            (true, false) => theirs.is_unspecified() && !other.ipv6_only,
            (false, true) => ours.is_unspecified() && !self.ipv6_only,
        };
        let share = (self.reuse_address && other.reuse_address) || (self.reuse_port && other.reuse_port);
        meet && !share
    }

    /// Returns how specifically the socket matches a datagram, 0 being the most specific; `None`:
    /// not at all.
    fn rank(&self, from: SocketAddr, to: SocketAddr) -> Option<u8> {
        if self.peer.is_some_and(|peer| canonical(peer) != from) {
            return None;
        }
        let (ours, theirs) = (self.address.ip(), to.ip());
        let general = if ours.to_canonical() == theirs {
            0
        } else if ours.is_unspecified() && ours.is_ipv4() == theirs.is_ipv4() {
            1
        } else if ours.is_unspecified() && ours.is_ipv6() && !self.ipv6_only {
            2
        } else {
            return None;
        };
        Some(general + if self.peer.is_some() { 0 } else { 3 })
    }
}

/// Returns an address in its form on the network, without IPv4-mapped IPv6.
fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

/// Returns whether this is a broadcast address: limited, of the simulated network, or of the
/// loopback.
pub(in crate::sim) fn is_broadcast(address: IpAddr) -> bool {
    let all = [Ipv4Addr::BROADCAST, Ipv4Addr::new(10, 255, 255, 255), LOOPBACK_BROADCAST];
    matches!(address.to_canonical(), IpAddr::V4(address) if all.contains(&address))
}

pub(in crate::sim) fn loopback(of: IpAddr) -> IpAddr {
    match of {
        IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
    }
}

/// Hashes both addresses.
fn spread(from: SocketAddr, to: SocketAddr) -> u64 {
    let words = [from, to].map(|address| match address.ip() {
        IpAddr::V4(ip) => u64::from(ip.to_bits()) << 16 | u64::from(address.port()),
        IpAddr::V6(ip) => ip.to_bits() as u64 ^ (ip.to_bits() >> 64) as u64 ^ u64::from(address.port()) << 48,
    });
    let mixed = words.iter().fold(0x9e37_79b9_7f4a_7c15_u64, |sum, word| {
        (sum ^ word).wrapping_mul(0xbf58_476d_1ce4_e5b9).rotate_left(31)
    });
    mixed >> 32
}

pub(in crate::sim) const LOOPBACK_BROADCAST: Ipv4Addr = Ipv4Addr::new(127, 255, 255, 255);

/// A host's interface numbers, as Linux assigns them.
pub(in crate::sim) const LOOPBACK: u32 = 1;
pub(in crate::sim) const NETWORK: u32 = 2;

/// The minimum delay of a reordered datagram, in nanoseconds.
const REORDER_DELAY: u64 = 1_000_000;
