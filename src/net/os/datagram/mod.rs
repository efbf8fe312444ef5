//! Sending and receiving datagrams, with one call for a batch where the system supports it.

mod packet_info;
mod segments;
mod socket_address;

use std::io::{self, IoSlice, IoSliceMut};
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, BorrowedFd};

use nix::libc::{in_pktinfo, in6_pktinfo};
use nix::sys::socket::{ControlMessage, MsgFlags, MultiHeaders, SockaddrIn, SockaddrIn6, SockaddrLike};
use rustix::net::{RecvAncillaryBuffer, RecvFlags, ReturnFlags, SendFlags};

pub(super) use self::packet_info::request_destinations;
use self::packet_info::{destination, packet_info4, packet_info6};
use self::segments::{MIN_SEGMENTS, Segments, segmentable, send_segments};
use self::socket_address::{v4, v6, wrong_family};
use crate::net::os::socket::address::{address_of, system_address};
use crate::net::{Address, BATCH, RecvBatch, RecvMeta, Transmit, UnixAddress};

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
        // The usual case of a connected socket, without headers of a batch.
        if let [Transmit { to: None, origin: None, .. }] = datagrams {
            return send_one(socket, bytes, datagrams);
        }
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

/// Placeholder for a missing sender address. The system always reports one.
const UNKNOWN_SENDER: SocketAddr =
    SocketAddr::V4(std::net::SocketAddrV4::new(std::net::Ipv4Addr::UNSPECIFIED, 0));

/// Room for the control messages of a received datagram. Other owners of the socket may have
/// enabled further ones, such as timestamps.
const CONTROL_SPACE: usize = 128;

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv6Addr};

    use super::*;

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
}
