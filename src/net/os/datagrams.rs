//! Sending and receiving datagrams, many with one call where the system can.

use std::io::{self, IoSlice, IoSliceMut};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsRawFd, BorrowedFd};

use nix::libc::{in_addr, in_pktinfo, in6_addr, in6_pktinfo};
use nix::sys::socket::{
    ControlMessage, ControlMessageOwned, MsgFlags, MultiHeaders, SockaddrIn, SockaddrIn6, SockaddrLike,
};
use rustix::net::{RecvAncillaryBuffer, RecvFlags, ReturnFlags, SendFlags};

use super::names::{address_of, system_address};
use crate::net::{Address, BATCH, Destination, Origin, RecvBatch, RecvMeta, Transmit, UnixAddress};

/// What calls for many datagrams need, kept from one to the next. The system writes the length of the addresses into
/// the headers, so each family has its own. It writes the length of the control messages, too: what is received with one, and
/// what is sent with one, has headers of its own, made when they are first needed.
pub(super) struct Batches {
    received4: MultiHeaders<SockaddrIn>,
    received6: MultiHeaders<SockaddrIn6>,
    told4: Option<MultiHeaders<SockaddrIn>>,
    told6: Option<MultiHeaders<SockaddrIn6>>,
    sent4: MultiHeaders<SockaddrIn>,
    sent6: MultiHeaders<SockaddrIn6>,
    sent_from4: Option<MultiHeaders<SockaddrIn>>,
    sent_from6: Option<MultiHeaders<SockaddrIn6>>,
    segments: Segments,
}

/// Whether the system cuts a large buffer into datagrams itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Segments {
    /// As far as we know.
    Can,
    /// It said that it knows of no such thing, which may have been the answer to an earlier datagram.
    Doubted,
    Cannot,
}

impl Default for Batches {
    fn default() -> Batches {
        Batches {
            received4: MultiHeaders::preallocate(BATCH, None),
            received6: MultiHeaders::preallocate(BATCH, None),
            told4: None,
            told6: None,
            sent4: MultiHeaders::preallocate(BATCH, None),
            sent6: MultiHeaders::preallocate(BATCH, None),
            sent_from4: None,
            sent_from6: None,
            segments: Segments::Can,
        }
    }
}

/// What a socket of datagrams talks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Family {
    V4(Destinations),
    V6(Destinations),
    Unix,
}

/// Whether the system tells with each datagram where it was sent to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Destinations {
    Told,
    Untold,
}

/// Has the system tell where datagrams are sent to. (IP_PKTINFO, IPV6_RECVPKTINFO.)
pub(super) fn ask_for_destinations(socket: BorrowedFd<'_>, v6: bool) -> io::Result<()> {
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
        into: &mut RecvBatch,
    ) -> io::Result<()> {
        let address4 = |from: &SockaddrIn| SocketAddr::V4((*from).into());
        let address6 = |from: &SockaddrIn6| SocketAddr::V6((*from).into());
        match family {
            Family::V4(Destinations::Untold) => receive_many(socket, &mut self.received4, into, address4),
            Family::V6(Destinations::Untold) => receive_many(socket, &mut self.received6, into, address6),
            Family::V4(Destinations::Told) => receive_told(socket, &mut self.told4, into, address4),
            Family::V6(Destinations::Told) => receive_told(socket, &mut self.told6, into, address6),
            Family::Unix => receive_one(socket, into),
        }
    }

    /// How many of them the system took: at least one.
    pub(super) fn send(
        &mut self,
        socket: BorrowedFd<'_>,
        family: Family,
        bytes: &[u8],
        going: &[Transmit],
    ) -> io::Result<usize> {
        let alike = alike(going);
        if self.segments != Segments::Cannot && family != Family::Unix && alike >= WORTH_SEGMENTING {
            match send_segments(socket, family, bytes, going, alike) {
                Ok(()) => {
                    self.segments = Segments::Can;
                    return Ok(alike);
                }
                Err(error) => {
                    let has_peer = going.first().is_some_and(|first| first.to.is_none());
                    if !self.segments.go_one_by_one(&error, has_peer) {
                        return Err(error);
                    }
                }
            }
        }
        // The calls take one origin for all.
        let origin = going.first().and_then(|first| first.origin);
        let same = going.iter().take_while(|other| other.origin == origin).count();
        let going = going.get(..same).unwrap_or(going);
        match (family, origin) {
            (Family::V4(_), None) => send_many(socket, &mut self.sent4, bytes, going, v4, &[]),
            (Family::V6(_), None) => send_many(socket, &mut self.sent6, bytes, going, v6, &[]),
            (Family::V4(_), Some(origin)) => {
                let info = packet_info4(origin)?;
                let space = nix::cmsg_space!(in_pktinfo);
                let headers =
                    self.sent_from4.get_or_insert_with(|| MultiHeaders::preallocate(BATCH, Some(space)));
                send_many(socket, headers, bytes, going, v4, &[ControlMessage::Ipv4PacketInfo(&info)])
            }
            (Family::V6(_), Some(origin)) => {
                let info = packet_info6(origin);
                let space = nix::cmsg_space!(in6_pktinfo);
                let headers =
                    self.sent_from6.get_or_insert_with(|| MultiHeaders::preallocate(BATCH, Some(space)));
                send_many(socket, headers, bytes, going, v6, &[ControlMessage::Ipv6PacketInfo(&info)])
            }
            (Family::Unix, _) => send_one(socket, bytes, going),
        }
    }
}

impl Segments {
    /// After an error: whether the same datagrams are to be sent one by one, because it is about segments. Anything
    /// else has to be told.
    fn go_one_by_one(&mut self, error: &io::Error, has_peer: bool) -> bool {
        use rustix::io::Errno;
        match error.raw_os_error().map(Errno::from_raw_os_error) {
            // The network says the same of an earlier one, once.
            Some(Errno::NOPROTOOPT) if has_peer && *self == Segments::Can => {
                *self = Segments::Doubted;
                false
            }
            // The system or the device does not know how: it is not asked again.
            Some(Errno::IO | Errno::NOPROTOOPT | Errno::OPNOTSUPP) => {
                *self = Segments::Cannot;
                true
            }
            // Too much for the device, the way or the memory. That an earlier one was too long for the way is not told then.
            Some(Errno::INVAL | Errno::MSGSIZE | Errno::NOBUFS | Errno::NOMEM) => true,
            _ => false,
        }
    }
}

fn receive_many<S: SockaddrLike + Copy>(
    socket: BorrowedFd<'_>,
    headers: &mut MultiHeaders<S>,
    into: &mut RecvBatch,
    address: impl Fn(&S) -> SocketAddr,
) -> io::Result<()> {
    let most = into.most();
    let (mut places, came) = into.places();
    let mut slices: [_; BATCH] =
        std::array::from_fn(|_| [IoSliceMut::new(places.next().unwrap_or_default())]);
    let longest = slices.first().map_or(0, |[first]| first.len());
    let flags = MsgFlags::empty();
    let slices = slices.iter_mut().take(most);
    let received = nix::sys::socket::recvmmsg(socket.as_raw_fd(), headers, slices, flags, None)?;
    came.extend(received.enumerate().map(|(index, message)| RecvMeta {
        start: index * longest,
        length: message.bytes.min(longest),
        from: Address::Udp(message.address.as_ref().map_or(NOBODY, &address)),
        to: destination(&message),
        truncated: message.flags.contains(MsgFlags::MSG_TRUNC),
    }));
    let full = came.len() == most;
    drop(places);
    if !full {
        into.drained();
    }
    Ok(())
}

/// As `receive_many`, where the system tells with each datagram where it was sent to.
fn receive_told<S: SockaddrLike + Copy>(
    socket: BorrowedFd<'_>,
    headers: &mut Option<MultiHeaders<S>>,
    into: &mut RecvBatch,
    address: impl Fn(&S) -> SocketAddr,
) -> io::Result<()> {
    let space = || Some(Vec::with_capacity(CONTROL));
    let of_call = headers.get_or_insert_with(|| MultiHeaders::preallocate(BATCH, space()));
    receive_many(socket, of_call, into, address)?;
    let (_, came) = into.places();
    if came.iter().any(|came| came.to.is_none()) {
        // The system has cut the room for control messages down to what it used: there may be too little for the next.
        *headers = None;
    }
    Ok(())
}

/// Where a datagram was sent to, if the system tells.
fn destination<S>(message: &nix::sys::socket::RecvMsg<'_, '_, S>) -> Option<Destination> {
    message.cmsgs().ok()?.find_map(|control| match control {
        ControlMessageOwned::Ipv4PacketInfo(info) => {
            let address = Ipv4Addr::from(info.ipi_addr.s_addr.to_ne_bytes());
            // What goes to many has another address in the header than that of the interface it came in by.
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
    // The type of an interface's number differs between systems.
    in6_pktinfo { ipi6_addr: in6_addr { s6_addr: address.octets() }, ipi6_ifindex: origin.interface as _ }
}

fn receive_one(socket: BorrowedFd<'_>, into: &mut RecvBatch) -> io::Result<()> {
    let (mut places, came) = into.places();
    let place = places.next().unwrap_or_default();
    let message = rustix::net::recvmsg(
        socket,
        &mut [IoSliceMut::new(place)],
        &mut RecvAncillaryBuffer::default(),
        RecvFlags::CMSG_CLOEXEC,
    )?;
    let from = match message.address {
        Some(address) => address_of(address, false)?,
        None => Address::Unix(UnixAddress::UNNAMED),
    };
    let truncated = message.flags.contains(ReturnFlags::TRUNC);
    came.push(RecvMeta { start: 0, length: message.bytes.min(place.len()), from, to: None, truncated });
    Ok(())
}

/// How many datagrams at the front go the same way and have the same length; the last one may be shorter.
fn alike(going: &[Transmit]) -> usize {
    let Some(first) = going.first() else { return 0 };
    if first.length == 0 || first.length > LONGEST_SEGMENT {
        return 1;
    }
    let most = SEGMENTS.min(MOST_BYTES / first.length);
    let same_way = |other: &Transmit| other.to == first.to && other.origin == first.origin;
    let same =
        going.iter().take(most).take_while(|other| other.length == first.length && same_way(other)).count();
    let shorter = |last: &&Transmit| (1..first.length).contains(&last.length) && same_way(last);
    same + usize::from(same < most && going.get(same).as_ref().is_some_and(shorter))
}

fn send_segments(
    socket: BorrowedFd<'_>,
    family: Family,
    bytes: &[u8],
    going: &[Transmit],
    count: usize,
) -> io::Result<()> {
    let total: usize = going.iter().take(count).map(|going| going.length).sum();
    let Some(first) = going.first() else { return Ok(()) };
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
    going: &[Transmit],
    address: impl Fn(&Address) -> io::Result<S>,
    control: &[ControlMessage<'_>],
) -> io::Result<usize> {
    let mut rest = bytes;
    let mut slices = Vec::with_capacity(going.len().min(BATCH));
    let mut addresses = Vec::with_capacity(going.len().min(BATCH));
    for one in going.iter().take(BATCH) {
        let (data, behind) = rest.split_at(one.length.min(rest.len()));
        rest = behind;
        slices.push([IoSlice::new(data)]);
        addresses.push(one.to.as_ref().map(&address).transpose()?);
    }
    let flags = MsgFlags::MSG_NOSIGNAL;
    let sent = nix::sys::socket::sendmmsg(socket.as_raw_fd(), headers, &slices, &addresses, control, flags)?;
    Ok(sent.count())
}

fn send_one(socket: BorrowedFd<'_>, bytes: &[u8], going: &[Transmit]) -> io::Result<usize> {
    let Some(first) = going.first() else { return Ok(0) };
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

/// The system says from whom a datagram came; should it not, there is nobody to answer.
const NOBODY: SocketAddr = SocketAddr::V4(std::net::SocketAddrV4::new(std::net::Ipv4Addr::UNSPECIFIED, 0));

/// Room for the control messages of a datagram that is received: others may have asked for more, timestamps say.
const CONTROL: usize = 128;

/// Fewer datagrams to one place go with the others.
const WORTH_SEGMENTING: usize = 3;

/// What every system that can segment takes. (UDP_MAX_SEGMENTS of Linux 4.18.)
const SEGMENTS: usize = 64;

/// A segment has to fit into a packet of its own: that of Ethernet, less the headers of IPv6 and UDP.
const LONGEST_SEGMENT: usize = 1452;

/// All of them together have to fit into one datagram.
const MOST_BYTES: usize = crate::net::LONGEST_DATAGRAM;

#[cfg(test)]
mod tests {
    use super::*;

    fn going(length: usize, port: u16) -> Transmit {
        Transmit { length, to: Some(Address::Udp(SocketAddr::from(([127, 0, 0, 1], port)))), origin: None }
    }

    fn from(last: u8, going: Transmit) -> Transmit {
        let origin = Some(Origin::new(IpAddr::from([127, 0, 0, last]), 0));
        Transmit { origin, ..going }
    }

    #[test]
    fn where_datagrams_go_is_told_beside_other_control_messages() {
        use nix::sys::socket::{setsockopt, sockopt};
        use std::os::fd::AsFd;

        let socket = socket2::Socket::new(socket2::Domain::IPV6, socket2::Type::DGRAM, None).unwrap();
        socket.set_only_v6(false).unwrap();
        let anywhere = SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0));
        socket.bind(&anywhere.into()).unwrap();
        ask_for_destinations(socket.as_fd(), true).unwrap();
        let port = socket.local_addr().unwrap().as_socket().unwrap().port();
        let peer = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::DGRAM, None).unwrap();
        let (mut batches, mut inbound) = (Batches::default(), RecvBatch::default());
        let mut receive = || {
            peer.send_to(b"hello", &SocketAddr::from(([127, 0, 0, 2], port)).into()).unwrap();
            inbound.prepare(10, 1);
            batches.receive(socket.as_fd(), Family::V6(Destinations::Told), &mut inbound).unwrap();
            inbound.came()[0].to.map(|to| to.address.to_canonical())
        };
        let asked = Some(IpAddr::from([127, 0, 0, 2]));
        assert_eq!(receive(), asked);
        // There was no room for this one: the next has it again.
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
            let mut segments = Segments::Can;
            let one_by_one = segments.go_one_by_one(&errno.into(), has_peer);
            (one_by_one, segments)
        };
        for has_peer in [false, true] {
            for errno in [Errno::IO, Errno::OPNOTSUPP] {
                assert_eq!(after(errno, has_peer), (true, Segments::Cannot), "{errno}");
            }
            for errno in [Errno::INVAL, Errno::MSGSIZE, Errno::NOBUFS, Errno::NOMEM] {
                assert_eq!(after(errno, has_peer), (true, Segments::Can), "{errno}");
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
                assert_eq!(after(errno, has_peer), (false, Segments::Can), "{errno}");
            }
        }
        assert_eq!(after(Errno::NOPROTOOPT, false), (true, Segments::Cannot));
        // Of one with a peer it may have been an answer; said twice in succession it was not.
        let mut segments = Segments::Can;
        assert!(!segments.go_one_by_one(&Errno::NOPROTOOPT.into(), true));
        assert!(segments.go_one_by_one(&Errno::NOPROTOOPT.into(), true));
        assert_eq!(segments, Segments::Cannot);
    }

    #[test]
    fn datagrams_batch_by_size_and_route_with_a_shorter_last_one() {
        let cases: [(&[Transmit], usize); 11] = [
            (&[], 0),
            (&[going(0, 1), going(0, 1)], 1),
            (&[going(9, 1)], 1),
            (&[going(9, 1), going(9, 1), going(9, 2)], 2),
            (&[going(9, 1), going(9, 1), going(5, 1), going(9, 1)], 3),
            (&[going(9, 1), going(9, 1), going(5, 2)], 2),
            (&[going(9, 1), going(9, 1), going(0, 1)], 2),
            (&[going(9, 1), going(10, 1)], 1),
            (&[from(1, going(9, 1)), from(1, going(9, 1)), from(1, going(5, 1))], 3),
            (&[from(1, going(9, 1)), from(2, going(9, 1))], 1),
            (&[from(1, going(9, 1)), from(1, going(9, 1)), going(5, 1)], 2),
        ];
        for (queue, count) in cases {
            assert_eq!(alike(queue), count, "{queue:?}");
        }
        assert_eq!(alike(&vec![going(9, 1); 100]), SEGMENTS);
        assert_eq!(alike(&vec![going(1452, 1); 100]), 45);
        assert_eq!(alike(&vec![going(1453, 1); 100]), 1);
    }
}
