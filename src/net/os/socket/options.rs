//! Options of open sockets.

use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::os::fd::BorrowedFd;

use rustix::net::sockopt;
use socket2::{InterfaceIndexOrAddress, SockRef, TcpKeepalive};

use super::Kind;
use crate::net::os::datagram::Family;
use crate::net::{Interface, KEEPALIVE_PROBES, SocketOption, keepalive_interval};

pub(in crate::net::os) fn set(
    descriptor: BorrowedFd<'_>,
    kind: Kind,
    option: SocketOption,
) -> io::Result<()> {
    let socket = SockRef::from(&descriptor);
    let v6 = matches!(kind.family(), Some(Family::V6(_)));
    match option {
        SocketOption::NoDelay(on) => socket.set_tcp_nodelay(on),
        SocketOption::KeepAlive(None) => socket.set_keepalive(false),
        SocketOption::KeepAlive(Some(idle)) => {
            // Linux's default is nine probes, 75 seconds apart: eleven minutes.
            let probes = TcpKeepalive::new()
                .with_time(idle)
                .with_interval(keepalive_interval(idle))
                .with_retries(KEEPALIVE_PROBES);
            socket.set_tcp_keepalive(&probes)
        }
        #[cfg(any(target_os = "android", target_os = "linux"))]
        SocketOption::UserTimeout(limit) => socket.set_tcp_user_timeout(limit),
        #[cfg(not(any(target_os = "android", target_os = "linux")))]
        SocketOption::UserTimeout(_) => Err(io::ErrorKind::Unsupported.into()),
        SocketOption::Broadcast(on) => socket.set_broadcast(on),
        SocketOption::Ttl(hops) if v6 => socket.set_unicast_hops_v6(hops),
        SocketOption::Ttl(hops) => socket.set_ttl_v4(hops),
        SocketOption::MulticastTtl(hops) if v6 => socket.set_multicast_hops_v6(hops),
        SocketOption::MulticastTtl(hops) => socket.set_multicast_ttl_v4(hops),
        SocketOption::MulticastLoop(on) if v6 => socket.set_multicast_loop_v6(on),
        SocketOption::MulticastLoop(on) => socket.set_multicast_loop_v4(on),
        SocketOption::MulticastInterface(interface) if v6 => socket.set_multicast_if_v6(index(interface)?),
        SocketOption::MulticastInterface(interface) => outgoing_v4(descriptor, interface),
        SocketOption::Join(IpAddr::V4(group), interface) => {
            // By default Linux also delivers datagrams of groups that other sockets on this host
            // have joined.
            #[cfg(any(target_os = "android", target_os = "linux"))]
            socket.set_multicast_all_v4(false)?;
            socket.join_multicast_v4_n(&group, &interface_v4(interface))
        }
        SocketOption::Join(IpAddr::V6(group), interface) => {
            #[cfg(any(target_os = "android", target_os = "linux"))]
            socket.set_multicast_all_v6(false)?;
            socket.join_multicast_v6(&group, index(interface)?)
        }
        SocketOption::Leave(IpAddr::V4(group), interface) => {
            socket.leave_multicast_v4_n(&group, &interface_v4(interface))
        }
        SocketOption::Leave(IpAddr::V6(group), interface) => {
            socket.leave_multicast_v6(&group, index(interface)?)
        }
    }
}

fn interface_v4(interface: Interface) -> InterfaceIndexOrAddress {
    match interface {
        Interface::Default => InterfaceIndexOrAddress::Address(Ipv4Addr::UNSPECIFIED),
        Interface::Address(address) => InterfaceIndexOrAddress::Address(address),
        Interface::Index(index) => InterfaceIndexOrAddress::Index(index),
    }
}

fn outgoing_v4(descriptor: BorrowedFd<'_>, interface: Interface) -> io::Result<()> {
    let unspecified = Ipv4Addr::UNSPECIFIED;
    match interface {
        Interface::Default => Ok(sockopt::set_ip_multicast_if(descriptor, &unspecified)?),
        Interface::Address(address) => Ok(sockopt::set_ip_multicast_if(descriptor, &address)?),
        #[cfg(any(target_os = "android", target_os = "linux"))]
        Interface::Index(index) => {
            Ok(sockopt::set_ip_multicast_if_with_ifindex(descriptor, &unspecified, &unspecified, index)?)
        }
        #[cfg(not(any(target_os = "android", target_os = "linux")))]
        Interface::Index(_) => Err(io::ErrorKind::Unsupported.into()),
    }
}

/// The index of an interface. IPv6 identifies interfaces by index only.
fn index(interface: Interface) -> io::Result<u32> {
    match interface {
        Interface::Default => Ok(0),
        Interface::Index(index) => Ok(index),
        Interface::Address(_) => Err(io::ErrorKind::InvalidInput.into()),
    }
}

#[cfg(all(test, any(target_os = "android", target_os = "linux")))]
mod tests {
    use std::os::fd::AsFd;
    use std::time::Duration;

    use socket2::{Domain, Socket, Type};

    use super::*;
    use crate::net::os::datagram::Destinations;

    #[test]
    fn keepalive_asks_four_times_within_the_idle_time_or_never() {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        let set = |idle| set(socket.as_fd(), Kind::Tcp, SocketOption::KeepAlive(idle)).unwrap();
        set(Some(Duration::from_secs(40)));
        assert!(socket.keepalive().unwrap());
        assert_eq!(socket.tcp_keepalive_time().unwrap(), Duration::from_secs(40));
        assert_eq!(socket.tcp_keepalive_interval().unwrap(), Duration::from_secs(10));
        assert_eq!(socket.tcp_keepalive_retries().unwrap(), 4);
        set(None);
        assert!(!socket.keepalive().unwrap());
    }

    #[test]
    fn multicast_options_are_set_on_and_off() {
        for (domain, family) in [
            (Domain::IPV4, Family::V4(Destinations::Unreported)),
            (Domain::IPV6, Family::V6(Destinations::Unreported)),
        ] {
            let socket = Socket::new(domain, Type::DGRAM, None).unwrap();
            for on in [false, true] {
                set(socket.as_fd(), Kind::Datagram(family), SocketOption::MulticastLoop(on)).unwrap();
                let is_on = match domain {
                    Domain::IPV4 => socket.multicast_loop_v4(),
                    _ => socket.multicast_loop_v6(),
                };
                assert_eq!(is_on.unwrap(), on);
            }
        }
    }
}
