//! Sending and receiving datagrams, with one call for a batch where the system supports it.

use std::io::{self, IoSlice, IoSliceMut};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsRawFd, BorrowedFd};

use nix::libc::{in_addr, in_pktinfo, in6_addr, in6_pktinfo};
use nix::sys::socket::{
    ControlMessage, ControlMessageOwned, MsgFlags, MultiHeaders, SockaddrIn, SockaddrIn6, SockaddrLike,
};
use rustix::net::{RecvAncillaryBuffer, RecvFlags, ReturnFlags, SendFlags};

use crate::net::os::socket::address::{address_of, system_address};
use crate::net::{Address, BATCH, Destination, Origin, RecvBatch, RecvMeta, Transmit, UnixAddress};

/// Buffers for batched calls, reused across calls. The system writes the address length into the
/// headers, so each family has its own. It also writes the length of the control messages. Calls
/// with control messages therefore have separate headers, created on first use.
pub(super) struct Batches {
    received4: MultiHeaders<SockaddrIn>,
    received6: MultiHeaders<SockaddrIn6>,
    reported4: Option<MultiHeaders<SockaddrIn>>,
    reported6: Option<MultiHeaders<SockaddrIn6>>,
    sent4: MultiHeaders<SockaddrIn>,
    sent6: MultiHeaders<SockaddrIn6>,
    sent_from4: Option<MultiHeaders<SockaddrIn>>,
    sent_from6: Option<MultiHeaders<SockaddrIn6>>,
    segments: Segments,
}

/// State of segmentation offload (UDP_SEGMENT): whether the system splits a large buffer into
/// datagrams.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Segments {
    /// Not known to be missing.
    Supported,
    /// The system returned ENOPROTOOPT, which may have been a pending ICMP error.
    Uncertain,
    Unsupported,
}

impl Default for Batches {
    fn default() -> Batches {
        Batches {
            received4: MultiHeaders::preallocate(BATCH, None),
            received6: MultiHeaders::preallocate(BATCH, None),
            reported4: None,
            reported6: None,
            sent4: MultiHeaders::preallocate(BATCH, None),
            sent6: MultiHeaders::preallocate(BATCH, None),
            sent_from4: None,
            sent_from6: None,
            segments: Segments::Supported,
        }
    }
}

/// The address family of a datagram socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Family {
    V4(Destinations),
    V6(Destinations),
    Unix,
}

/// Whether the system reports the destination of each received datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Destinations {
    Reported,
    Unreported,
}

/// Makes the system report destinations. (IP_PKTINFO, IPV6_RECVPKTINFO.)
pub(super) fn request_destinations(socket: BorrowedFd<'_>, v6: bool) -> io::Result<()> {
    use nix::sys::socket::{setsockopt, sockopt};
    match v6 {
        false => setsockopt(&socket, sockopt::Ipv4PacketInfo, &true)?,
        true => setsockopt(&socket, sockopt::Ipv6RecvPacketInfo, &true)?,
    }
    Ok(())
}

impl Batches {
    pub(super) fn receive(
        &mut self,
        socket: BorrowedFd<'_>,
        family: Family,
        batch: &mut RecvBatch,
    ) -> io::Result<()> {
        let address4 = |from: &SockaddrIn| SocketAddr::V4((*from).into());
        let address6 = |from: &SockaddrIn6| SocketAddr::V6((*from).into());
        match family {
            Family::V4(Destinations::Unreported) => {
                receive_many(socket, &mut self.received4, batch, address4)
            }
            Family::V6(Destinations::Unreported) => {
                receive_many(socket, &mut self.received6, batch, address6)
            }
            Family::V4(Destinations::Reported) => {
                receive_with_destinations(socket, &mut self.reported4, batch, address4)
            }
            Family::V6(Destinations::Reported) => {
                receive_with_destinations(socket, &mut self.reported6, batch, address6)
            }
            Family::Unix => receive_one(socket, batch),
        }
    }

    /// Sends datagrams and returns how many the system took: at least one.
    pub(super) fn send(
        &mut self,
        socket: BorrowedFd<'_>,
        family: Family,
        bytes: &[u8],
        datagrams: &[Transmit],
    ) -> io::Result<usize> {
        let segmentable = segmentable(datagrams);
        if self.segments != Segments::Unsupported && family != Family::Unix && segmentable >= MIN_SEGMENTS {
            match send_segments(socket, family, bytes, datagrams, segmentable) {
                Ok(()) => {
                    self.segments = Segments::Supported;
                    return Ok(segmentable);
                }
                Err(error) => {
                    let has_peer = datagrams.first().is_some_and(|first| first.to.is_none());
                    if !self.segments.should_retry_unsegmented(&error, has_peer) {
                        return Err(error);
                    }
                }
            }
        }
        // The calls take one origin for all datagrams.
        let origin = datagrams.first().and_then(|first| first.origin);
        let same = datagrams.iter().take_while(|other| other.origin == origin).count();
        let datagrams = datagrams.get(..same).unwrap_or(datagrams);
        match (family, origin) {
            (Family::V4(_), None) => send_many(socket, &mut self.sent4, bytes, datagrams, v4, &[]),
            (Family::V6(_), None) => send_many(socket, &mut self.sent6, bytes, datagrams, v6, &[]),
            (Family::V4(_), Some(origin)) => {
                let info = packet_info4(origin)?;
                let space = nix::cmsg_space!(in_pktinfo);
                let headers =
                    self.sent_from4.get_or_insert_with(|| MultiHeaders::preallocate(BATCH, Some(space)));
                send_many(socket, headers, bytes, datagrams, v4, &[ControlMessage::Ipv4PacketInfo(&info)])
            }
            (Family::V6(_), Some(origin)) => {
                let info = packet_info6(origin);
                let space = nix::cmsg_space!(in6_pktinfo);
                let headers =
                    self.sent_from6.get_or_insert_with(|| MultiHeaders::preallocate(BATCH, Some(space)));
                send_many(socket, headers, bytes, datagrams, v6, &[ControlMessage::Ipv6PacketInfo(&info)])
            }
            (Family::Unix, _) => send_one(socket, bytes, datagrams),
        }
    }
}

impl Segments {
    /// After an error: whether to send the same datagrams without segmentation, because
    /// segmentation caused the error. Any other error goes to the caller.
    fn should_retry_unsegmented(&mut self, error: &io::Error, has_peer: bool) -> bool {
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

fn receive_many<S: SockaddrLike + Copy>(
    socket: BorrowedFd<'_>,
    headers: &mut MultiHeaders<S>,
    batch: &mut RecvBatch,
    address: impl Fn(&S) -> SocketAddr,
) -> io::Result<()> {
    let max = batch.most();
    let (mut buffers, metadata) = batch.places();
    let mut slices: [_; BATCH] =
        std::array::from_fn(|_| [IoSliceMut::new(buffers.next().unwrap_or_default())]);
    let max_len = slices.first().map_or(0, |[first]| first.len());
    let flags = MsgFlags::empty();
    let slices = slices.iter_mut().take(max);
    let received = nix::sys::socket::recvmmsg(socket.as_raw_fd(), headers, slices, flags, None)?;
    metadata.extend(received.enumerate().map(|(index, message)| RecvMeta {
        start: index * max_len,
        length: message.bytes.min(max_len),
        from: Address::Udp(message.address.as_ref().map_or(UNKNOWN_SENDER, &address)),
        to: destination(&message),
        truncated: message.flags.contains(MsgFlags::MSG_TRUNC),
    }));
    let full = metadata.len() == max;
    drop(buffers);
    if !full {
        batch.drained();
    }
    Ok(())
}

/// As `receive_many`, for sockets whose destinations are reported.
fn receive_with_destinations<S: SockaddrLike + Copy>(
    socket: BorrowedFd<'_>,
    headers: &mut Option<MultiHeaders<S>>,
    batch: &mut RecvBatch,
    address: impl Fn(&S) -> SocketAddr,
) -> io::Result<()> {
    let space = || Some(Vec::with_capacity(CONTROL_SPACE));
    let headers_of_call = headers.get_or_insert_with(|| MultiHeaders::preallocate(BATCH, space()));
    receive_many(socket, headers_of_call, batch, address)?;
    let (_, metadata) = batch.places();
    if metadata.iter().any(|meta| meta.to.is_none()) {
        // The system has reduced the control buffer's length to what it used. It may be too short
        // for the next call.
        *headers = None;
    }
    Ok(())
}

/// The destination of a datagram, if the system reported it.
fn destination<S>(message: &nix::sys::socket::RecvMsg<'_, '_, S>) -> Option<Destination> {
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

fn packet_info4(origin: Origin) -> io::Result<in_pktinfo> {
    let IpAddr::V4(address) = origin.address else { return Err(wrong_family()) };
    let address = in_addr { s_addr: u32::from_ne_bytes(address.octets()) };
    Ok(in_pktinfo { ipi_ifindex: 0, ipi_spec_dst: address, ipi_addr: in_addr { s_addr: 0 } })
}

fn packet_info6(origin: Origin) -> in6_pktinfo {
    let address = match origin.address {
        IpAddr::V4(address) => address.to_ipv6_mapped(),
        IpAddr::V6(address) => address,
    };
    // The type of an interface index differs between systems.
    in6_pktinfo { ipi6_addr: in6_addr { s6_addr: address.octets() }, ipi6_ifindex: origin.interface as _ }
}

fn receive_one(socket: BorrowedFd<'_>, batch: &mut RecvBatch) -> io::Result<()> {
    let (mut buffers, metadata) = batch.places();
    let buffer = buffers.next().unwrap_or_default();
    let message = rustix::net::recvmsg(
        socket,
        &mut [IoSliceMut::new(buffer)],
        &mut RecvAncillaryBuffer::default(),
        RecvFlags::CMSG_CLOEXEC,
    )?;
    let from = match message.address {
        Some(address) => address_of(address, false)?,
        None => Address::Unix(UnixAddress::UNNAMED),
    };
    let truncated = message.flags.contains(ReturnFlags::TRUNC);
    metadata.push(RecvMeta { start: 0, length: message.bytes.min(buffer.len()), from, to: None, truncated });
    Ok(())
}

/// Number of datagrams at the front that one segmented send can carry. They have the same
/// destination, origin and length; the last one may be shorter.
fn segmentable(datagrams: &[Transmit]) -> usize {
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

fn send_segments(
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

fn send_many<S: SockaddrLike + Copy>(
    socket: BorrowedFd<'_>,
    headers: &mut MultiHeaders<S>,
    bytes: &[u8],
    datagrams: &[Transmit],
    address: impl Fn(&Address) -> io::Result<S>,
    control: &[ControlMessage<'_>],
) -> io::Result<usize> {
    let mut rest = bytes;
    let mut slices = Vec::with_capacity(datagrams.len().min(BATCH));
    let mut addresses = Vec::with_capacity(datagrams.len().min(BATCH));
    for datagram in datagrams.iter().take(BATCH) {
        let (data, after) = rest.split_at(datagram.length.min(rest.len()));
        rest = after;
        slices.push([IoSlice::new(data)]);
        addresses.push(datagram.to.as_ref().map(&address).transpose()?);
    }
    let flags = MsgFlags::MSG_NOSIGNAL;
    let sent = nix::sys::socket::sendmmsg(socket.as_raw_fd(), headers, &slices, &addresses, control, flags)?;
    Ok(sent.count())
}

fn send_one(socket: BorrowedFd<'_>, bytes: &[u8], datagrams: &[Transmit]) -> io::Result<usize> {
    let Some(first) = datagrams.first() else { return Ok(0) };
    let data = bytes.get(..first.length).unwrap_or(bytes);
    match first.to.as_ref().map(Address::unix) {
        None => rustix::net::send(socket, data, SendFlags::NOSIGNAL)?,
        Some(Some(to)) => rustix::net::sendto(socket, data, SendFlags::NOSIGNAL, &system_address(to)?)?,
        Some(None) => return Err(wrong_family()),
    };
    Ok(1)
}

fn v4(address: &Address) -> io::Result<SockaddrIn> {
    match address.socket_address() {
        Some(SocketAddr::V4(address)) => Ok(address.into()),
        _ => Err(wrong_family()),
    }
}

fn v6(address: &Address) -> io::Result<SockaddrIn6> {
    match address.socket_address() {
        Some(SocketAddr::V6(address)) => Ok(address.into()),
        Some(SocketAddr::V4(address)) => {
            let mapped = address.ip().to_ipv6_mapped();
            Ok(std::net::SocketAddrV6::new(mapped, address.port(), 0, 0).into())
        }
        None => Err(wrong_family()),
    }
}

fn wrong_family() -> io::Error {
    rustix::io::Errno::AFNOSUPPORT.into()
}

/// Placeholder for a missing sender address. The system always reports one.
const UNKNOWN_SENDER: SocketAddr =
    SocketAddr::V4(std::net::SocketAddrV4::new(std::net::Ipv4Addr::UNSPECIFIED, 0));

/// Room for the control messages of a received datagram. Other owners of the socket may have
/// enabled further ones, such as timestamps.
const CONTROL_SPACE: usize = 128;

/// Min datagrams for a segmented send.
const MIN_SEGMENTS: usize = 3;

/// Max segments on every system with segmentation. (UDP_MAX_SEGMENTS of Linux 4.18.)
const MAX_SEGMENTS: usize = 64;

/// Max length of a segment, which has to fit into one packet: Ethernet's MTU, less the headers of
/// IPv6 and UDP.
const MAX_SEGMENT_LEN: usize = 1452;

/// Max total length of the segments, which have to fit into one datagram.
const MAX_SEGMENTED_BYTES: usize = crate::net::LONGEST_DATAGRAM;

#[cfg(test)]
mod tests {
    use super::*;

    fn datagram(length: usize, port: u16) -> Transmit {
        Transmit { length, to: Some(Address::Udp(SocketAddr::from(([127, 0, 0, 1], port)))), origin: None }
    }

    fn from(last: u8, datagram: Transmit) -> Transmit {
        let origin = Some(Origin::new(IpAddr::from([127, 0, 0, last]), 0));
        Transmit { origin, ..datagram }
    }

    #[test]
    fn destinations_arrive_beside_other_control_messages() {
        use nix::sys::socket::{setsockopt, sockopt};
        use std::os::fd::AsFd;

        let socket = socket2::Socket::new(socket2::Domain::IPV6, socket2::Type::DGRAM, None).unwrap();
        socket.set_only_v6(false).unwrap();
        let anywhere = SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0));
        socket.bind(&anywhere.into()).unwrap();
        request_destinations(socket.as_fd(), true).unwrap();
        let port = socket.local_addr().unwrap().as_socket().unwrap().port();
        let peer = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::DGRAM, None).unwrap();
        let (mut batches, mut inbound) = (Batches::default(), RecvBatch::default());
        let mut receive = || {
            peer.send_to(b"hello", &SocketAddr::from(([127, 0, 0, 2], port)).into()).unwrap();
            inbound.prepare(10, 1);
            batches.receive(socket.as_fd(), Family::V6(Destinations::Reported), &mut inbound).unwrap();
            inbound.came()[0].to.map(|to| to.address.to_canonical())
        };
        let asked = Some(IpAddr::from([127, 0, 0, 2]));
        assert_eq!(receive(), asked);
        // The control buffer was too small for this datagram. The next one has its destination
        // again.
        setsockopt(&socket, sockopt::ReceiveTimestamp, &true).unwrap();
        assert_eq!(receive(), None);
        assert_eq!(receive(), asked);
        setsockopt(&socket, sockopt::ReceiveTimestamp, &false).unwrap();
        assert_eq!([receive(), receive()], [asked; 2]);
        setsockopt(&socket, sockopt::Ipv6RecvPacketInfo, &false).unwrap();
        assert_eq!([receive(), receive()], [None; 2]);
        setsockopt(&socket, sockopt::Ipv6RecvPacketInfo, &true).unwrap();
        assert_eq!([receive(), receive()], [asked; 2]);
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
