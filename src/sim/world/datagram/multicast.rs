//! Multicast groups and their members, broadcasts, and the options of datagram sockets.
//!
//! A host has two interfaces: 1, its loopback, and 2, the network with all other hosts. There are
//! no routers. A datagram reaches all members with any TTL except 0, which keeps it on the host.

use std::net::{IpAddr, Ipv4Addr};

use crate::net::{Interface, SocketOption};
use crate::sim::network::errno::Errno;
use crate::sim::world::World;
use crate::sim::world::datagram::queue::Family;
use crate::sim::world::datagram::udp::{LOOPBACK, LOOPBACK_BROADCAST, NETWORK, Udp, is_broadcast};
use crate::sim::world::unix::stream::set_unix;

/// A socket's multicast options.
#[derive(Clone)]
pub(in crate::sim) struct Multicast {
    hops: u32,
    loops_back: bool,
    interface: Option<u32>,
    /// Receives from groups that other sockets have joined (IP_MULTICAST_ALL). As on Linux, until
    /// the socket joins a group itself.
    all: bool,
    /// Joined groups, and the interfaces that they were joined on.
    groups: Vec<(IpAddr, u32)>,
}

impl Default for Multicast {
    fn default() -> Multicast {
        Multicast { hops: 1, loops_back: true, interface: None, all: true, groups: Vec::new() }
    }
}

impl Udp {
    /// Returns the outgoing interface for a destination.
    pub(in crate::sim) fn outgoing_interface(&self, to: IpAddr) -> u32 {
        let chosen = self.multicast.interface.filter(|_| to.is_multicast());
        let lasting = to.is_loopback() || to == IpAddr::V4(LOOPBACK_BROADCAST);
        match chosen {
            Some(interface) => interface,
            None if lasting || self.address.ip().to_canonical().is_loopback() => LOOPBACK,
            None => NETWORK,
        }
    }
}

impl World {
    /// Returns the hosts that a multicast or broadcast datagram reaches, and their incoming
    /// interfaces.
    pub(in crate::sim) fn destinations(&self, host: u32, udp: &Udp, to: IpAddr) -> Vec<(u32, u32)> {
        let interface = udp.outgoing_interface(to);
        if interface == LOOPBACK {
            // The loopback always returns its datagrams, with or without IP_MULTICAST_LOOP.
            return vec![(host, LOOPBACK)];
        }
        let group = to.is_multicast();
        let all = 0..self.hosts.len() as u32;
        let stays = group && udp.multicast.hops == 0;
        let reached = all.filter(|remote_host| match *remote_host == host {
            true => !group || udp.multicast.loops_back,
            false => !stays,
        });
        reached.map(|remote_host| (remote_host, NETWORK)).collect()
    }

    /// Returns whether any socket of the host has joined the group.
    pub(in crate::sim) fn has_member(&self, host: u32, group: IpAddr, interface: u32) -> bool {
        let sockets = self.host(host).datagram_queues.values().flatten();
        let mut members = sockets.filter_map(|index| self.datagram_queues[*index as usize].udp());
        members.any(|udp| udp.multicast.groups.contains(&(group, interface)))
    }

    pub(in crate::sim) fn set_datagram(&mut self, index: u32, option: SocketOption) -> Result<(), Errno> {
        let queue = &self.datagram_queues[index as usize];
        let host = queue.host;
        let Family::Udp(udp) = &queue.family else { return set_unix(option) };
        let v6 = udp.address.is_ipv6();
        let number = match option {
            SocketOption::MulticastInterface(interface)
            | SocketOption::Join(_, interface)
            | SocketOption::Leave(_, interface) => self.number(host, v6, interface),
            _ => Ok(None),
        };
        let Family::Udp(udp) = &mut self.datagram_queues[index as usize].family else { return Ok(()) };
        match option {
            SocketOption::NoDelay(_) | SocketOption::KeepAlive(Some(_)) | SocketOption::UserTimeout(_) => {
                return Err(Errno::ENOPROTOOPT);
            }
            SocketOption::KeepAlive(None) => {}
            SocketOption::Broadcast(on) => udp.broadcast = on,
            SocketOption::Ttl(hops) if hops > 255 || (hops == 0 && !v6) => return Err(Errno::EINVAL),
            SocketOption::Ttl(_) => {}
            SocketOption::MulticastTtl(hops) if hops > 255 => return Err(Errno::EINVAL),
            SocketOption::MulticastTtl(hops) => udp.multicast.hops = hops,
            SocketOption::MulticastLoop(on) => udp.multicast.loops_back = on,
            SocketOption::MulticastInterface(Interface::Address(_)) if number == Err(Errno::ENODEV) => {
                return Err(Errno::EADDRNOTAVAIL);
            }
            SocketOption::MulticastInterface(_) => udp.multicast.interface = number?,
            SocketOption::Join(group, _) | SocketOption::Leave(group, _) if group.is_ipv6() && !v6 => {
                return Err(Errno::ENOPROTOOPT);
            }
            SocketOption::Join(group, _) => return udp.multicast.join(group, number),
            SocketOption::Leave(group, _) => return udp.multicast.leave(group, number),
        }
        Ok(())
    }

    /// Returns the number of an interface; `None`: the kernel chooses.
    fn number(&self, host: u32, v6: bool, interface: Interface) -> Result<Option<u32>, Errno> {
        match interface {
            Interface::Default => Ok(None),
            Interface::Index(0) => Ok(None),
            Interface::Index(number @ (LOOPBACK | NETWORK)) => Ok(Some(number)),
            Interface::Address(_) if v6 => Err(Errno::EINVAL),
            Interface::Address(Ipv4Addr::UNSPECIFIED) => Ok(None),
            Interface::Address(address) if address.is_loopback() => Ok(Some(LOOPBACK)),
            Interface::Address(address) if self.host(host).addresses.contains(&address.into()) => {
                Ok(Some(NETWORK))
            }
            Interface::Index(_) | Interface::Address(_) => Err(Errno::ENODEV),
        }
    }
}

impl Multicast {
    fn join(&mut self, group: IpAddr, interface: Result<Option<u32>, Errno>) -> Result<(), Errno> {
        self.all = false;
        if !group.is_multicast() || is_broadcast(group) {
            return Err(Errno::EINVAL);
        }
        let interface = interface?.unwrap_or(NETWORK);
        if self.groups.contains(&(group, interface)) {
            return Err(Errno::EADDRINUSE);
        }
        self.groups.push((group, interface));
        Ok(())
    }

    /// Returns whether the socket receives from a group on this interface.
    pub(in crate::sim) fn takes(&self, group: IpAddr, interface: u32) -> bool {
        self.all || self.groups.contains(&(group, interface))
    }

    fn leave(&mut self, group: IpAddr, interface: Result<Option<u32>, Errno>) -> Result<(), Errno> {
        let interface = interface?;
        let found = self
            .groups
            .iter()
            .position(|(joined, on)| *joined == group && interface.is_none_or(|interface| interface == *on));
        match found {
            Some(at) => {
                self.groups.remove(at);
                Ok(())
            }
            None => Err(Errno::EADDRNOTAVAIL),
        }
    }
}
