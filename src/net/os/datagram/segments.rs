//! Segmentation offload: the system splits one large buffer into datagrams. (UDP_SEGMENT.)

use std::io::{self, IoSlice};
use std::os::fd::{AsRawFd, BorrowedFd};

use nix::sys::socket::{ControlMessage, MsgFlags};

use super::Family;
use super::packet_info::{packet_info4, packet_info6};
use super::socket_address::{v4, v6};
use crate::net::Transmit;

/// State of segmentation offload (UDP_SEGMENT): whether the system splits a large buffer into
/// datagrams.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Segments {
    /// Not known to be missing.
    Supported,
    /// The system returned ENOPROTOOPT, which may have been a pending ICMP error.
    Uncertain,
    Unsupported,
}

impl Segments {
    /// After an error: whether to send the same datagrams without segmentation, because
    /// segmentation caused the error. Any other error goes to the caller.
    pub(super) fn should_retry_unsegmented(&mut self, error: &io::Error, has_peer: bool) -> bool {
        use rustix::io::Errno;
        match error.raw_os_error().map(Errno::from_raw_os_error) {
            // ICMP can cause the same error, for an earlier datagram. A pending error is returned
            // only once.
            Some(Errno::NOPROTOOPT) if has_peer && *self == Segments::Supported => {
                *self = Segments::Uncertain;
                false
            }
            // The system or the device lacks segmentation. It is not tried again.
            Some(Errno::IO | Errno::NOPROTOOPT | Errno::OPNOTSUPP) => {
                *self = Segments::Unsupported;
                true
            }
            // Too large for the device, the path or the memory. If the error was about an earlier
            // datagram's size, it is lost.
            Some(Errno::INVAL | Errno::MSGSIZE | Errno::NOBUFS | Errno::NOMEM) => true,
            _ => false,
        }
    }
}

/// Number of datagrams at the front that one segmented send can carry. They have the same
/// destination, origin and length; the last one may be shorter.
pub(super) fn segmentable(datagrams: &[Transmit]) -> usize {
    let Some(first) = datagrams.first() else { return 0 };
    if first.length == 0 || first.length > MAX_SEGMENT_LEN {
        return 1;
    }
    let max = MAX_SEGMENTS.min(MAX_SEGMENTED_BYTES / first.length);
    let same_route = |other: &Transmit| other.to == first.to && other.origin == first.origin;
    let same = datagrams
        .iter()
        .take(max)
        .take_while(|other| other.length == first.length && same_route(other))
        .count();
    let shorter = |last: &&Transmit| (1..first.length).contains(&last.length) && same_route(last);
    same + usize::from(same < max && datagrams.get(same).as_ref().is_some_and(shorter))
}

pub(super) fn send_segments(
    socket: BorrowedFd<'_>,
    family: Family,
    bytes: &[u8],
    datagrams: &[Transmit],
    count: usize,
) -> io::Result<()> {
    let total: usize = datagrams.iter().take(count).map(|datagram| datagram.length).sum();
    let Some(first) = datagrams.first() else { return Ok(()) };
    let slices = [IoSlice::new(bytes.get(..total).unwrap_or(bytes))];
    let length = u16::try_from(first.length).unwrap_or(u16::MAX);
    let segments = ControlMessage::UdpGsoSegments(&length);
    let (descriptor, flags) = (socket.as_raw_fd(), MsgFlags::MSG_NOSIGNAL);
    match (family, first.origin) {
        (Family::V4(_), origin) => {
            let to = first.to.as_ref().map(v4).transpose()?;
            let info = origin.map(packet_info4).transpose()?;
            let mut control = vec![segments];
            control.extend(info.as_ref().map(ControlMessage::Ipv4PacketInfo));
            nix::sys::socket::sendmsg(descriptor, &slices, &control, flags, to.as_ref())?
        }
        (Family::V6(_) | Family::Unix, origin) => {
            let to = first.to.as_ref().map(v6).transpose()?;
            let info = origin.map(packet_info6);
            let mut control = vec![segments];
            control.extend(info.as_ref().map(ControlMessage::Ipv6PacketInfo));
            nix::sys::socket::sendmsg(descriptor, &slices, &control, flags, to.as_ref())?
        }
    };
    Ok(())
}

/// Min datagrams for a segmented send.
pub(super) const MIN_SEGMENTS: usize = 3;

/// Max segments on every system with segmentation. (UDP_MAX_SEGMENTS of Linux 4.18.)
const MAX_SEGMENTS: usize = 64;

/// Max length of a segment, which has to fit into one packet: Ethernet's MTU, less the headers of
/// IPv6 and UDP.
const MAX_SEGMENT_LEN: usize = 1452;

/// Max total length of the segments, which have to fit into one datagram.
const MAX_SEGMENTED_BYTES: usize = crate::net::LONGEST_DATAGRAM;

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, SocketAddr};

    use super::*;
    use crate::net::{Address, Origin};

    fn datagram(length: usize, port: u16) -> Transmit {
        Transmit { length, to: Some(Address::Udp(SocketAddr::from(([127, 0, 0, 1], port)))), origin: None }
    }

    fn from(last: u8, datagram: Transmit) -> Transmit {
        let origin = Some(Origin::new(IpAddr::from([127, 0, 0, last]), 0));
        Transmit { origin, ..datagram }
    }

    #[test]
    fn segmentation_is_disabled_only_where_the_system_lacks_it() {
        use rustix::io::Errno;
        let after = |errno: Errno, has_peer| {
            let mut segments = Segments::Supported;
            let one_by_one = segments.should_retry_unsegmented(&errno.into(), has_peer);
            (one_by_one, segments)
        };
        for has_peer in [false, true] {
            for errno in [Errno::IO, Errno::OPNOTSUPP] {
                assert_eq!(after(errno, has_peer), (true, Segments::Unsupported), "{errno}");
            }
            for errno in [Errno::INVAL, Errno::MSGSIZE, Errno::NOBUFS, Errno::NOMEM] {
                assert_eq!(after(errno, has_peer), (true, Segments::Supported), "{errno}");
            }
            for errno in [
                Errno::AGAIN,
                Errno::INTR,
                Errno::CONNREFUSED,
                Errno::HOSTUNREACH,
                Errno::NETUNREACH,
                Errno::PROTO,
                Errno::PERM,
                Errno::ACCESS,
            ] {
                assert_eq!(after(errno, has_peer), (false, Segments::Supported), "{errno}");
            }
        }
        assert_eq!(after(Errno::NOPROTOOPT, false), (true, Segments::Unsupported));
        // With a peer, the first error may have been an ICMP error. A second one in succession is
        // not.
        let mut segments = Segments::Supported;
        assert!(!segments.should_retry_unsegmented(&Errno::NOPROTOOPT.into(), true));
        assert!(segments.should_retry_unsegmented(&Errno::NOPROTOOPT.into(), true));
        assert_eq!(segments, Segments::Unsupported);
    }

    #[test]
    fn datagrams_batch_by_size_and_route_with_a_shorter_last_one() {
        let cases: [(&[Transmit], usize); 11] = [
            (&[], 0),
            (&[datagram(0, 1), datagram(0, 1)], 1),
            (&[datagram(9, 1)], 1),
            (&[datagram(9, 1), datagram(9, 1), datagram(9, 2)], 2),
            (&[datagram(9, 1), datagram(9, 1), datagram(5, 1), datagram(9, 1)], 3),
            (&[datagram(9, 1), datagram(9, 1), datagram(5, 2)], 2),
            (&[datagram(9, 1), datagram(9, 1), datagram(0, 1)], 2),
            (&[datagram(9, 1), datagram(10, 1)], 1),
            (&[from(1, datagram(9, 1)), from(1, datagram(9, 1)), from(1, datagram(5, 1))], 3),
            (&[from(1, datagram(9, 1)), from(2, datagram(9, 1))], 1),
            (&[from(1, datagram(9, 1)), from(1, datagram(9, 1)), datagram(5, 1)], 2),
        ];
        for (queue, count) in cases {
            assert_eq!(segmentable(queue), count, "{queue:?}");
        }
        assert_eq!(segmentable(&vec![datagram(9, 1); 100]), MAX_SEGMENTS);
        assert_eq!(segmentable(&vec![datagram(1452, 1); 100]), 45);
        assert_eq!(segmentable(&vec![datagram(1453, 1); 100]), 1);
    }
}
