//! The local address of a datagram: the destination of a received one, the origin of a sent one.
//! (IP_PKTINFO, IPV6_PKTINFO.)

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::BorrowedFd;

use nix::libc::{in_addr, in_pktinfo, in6_addr, in6_pktinfo};
use nix::sys::socket::ControlMessageOwned;

use super::socket_address::wrong_family;
use crate::net::{Destination, Origin};

/// Makes the system report destinations. (IP_PKTINFO, IPV6_RECVPKTINFO.)
pub(in crate::net::os) fn request_destinations(socket: BorrowedFd<'_>, v6: bool) -> io::Result<()> {
    use nix::sys::socket::{setsockopt, sockopt};
    match v6 {
        false => setsockopt(&socket, sockopt::Ipv4PacketInfo, &true)?,
        true => setsockopt(&socket, sockopt::Ipv6RecvPacketInfo, &true)?,
    }
    Ok(())
}

/// The destination of a datagram, if the system reported it.
pub(super) fn destination<S>(message: &nix::sys::socket::RecvMsg<'_, '_, S>) -> Option<Destination> {
    message.cmsgs().ok()?.find_map(|control| match control {
        ControlMessageOwned::Ipv4PacketInfo(info) => {
            let address = Ipv4Addr::from(info.ipi_addr.s_addr.to_ne_bytes());
            // For broadcast and multicast, the header's address differs from the receiving
            // interface's address.
            let to_one = info.ipi_addr.s_addr == info.ipi_spec_dst.s_addr;
            let address = IpAddr::V4(address);
            Some(Destination { address, answer_from: to_one.then(|| Origin::new(address, 0)) })
        }
        ControlMessageOwned::Ipv6PacketInfo(info) => {
            let address = Ipv6Addr::from(info.ipi6_addr.s6_addr);
            let canonical = address.to_canonical();
            let to_many = canonical.is_multicast()
                || matches!(canonical, IpAddr::V4(address) if address.is_broadcast());
            let address = IpAddr::V6(address);
            #[allow(clippy::unnecessary_cast, reason = "the type differs between systems")]
            let interface = info.ipi6_ifindex as u32;
            Some(Destination { address, answer_from: (!to_many).then(|| Origin::new(address, interface)) })
        }
        _ => None,
    })
}

pub(super) fn packet_info4(origin: Origin) -> io::Result<in_pktinfo> {
    let IpAddr::V4(address) = origin.address else { return Err(wrong_family()) };
    let address = in_addr { s_addr: u32::from_ne_bytes(address.octets()) };
    Ok(in_pktinfo { ipi_ifindex: 0, ipi_spec_dst: address, ipi_addr: in_addr { s_addr: 0 } })
}

pub(super) fn packet_info6(origin: Origin) -> in6_pktinfo {
    let address = match origin.address {
        IpAddr::V4(address) => address.to_ipv6_mapped(),
        IpAddr::V6(address) => address,
    };
    // The type of an interface index differs between systems.
    in6_pktinfo { ipi6_addr: in6_addr { s6_addr: address.octets() }, ipi6_ifindex: origin.interface as _ }
}
