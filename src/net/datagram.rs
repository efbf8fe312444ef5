//! Datagrams at the driver interface: batches, each datagram with its peer.

use std::io;
use std::net::IpAddr;

use rustix::io::Errno;

use crate::net::Address;

/// Datagrams received with one call, in one buffer.
#[derive(Default)]
pub(crate) struct RecvBatch {
    buffer: Vec<u8>,
    max_len: usize,
    max_count: usize,
    received: Vec<RecvMeta>,
    /// Index of the first datagram that was not handed over.
    next: usize,
    /// Whether more datagrams may wait. If not, as after `WouldBlock`, the next readiness event
    /// reports them.
    more: bool,
}

/// The position of a datagram in the buffer, and its metadata.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RecvMeta {
    pub(crate) start: usize,
    pub(crate) length: usize,
    pub(crate) from: Address,
    /// Destination, for a UDP socket that is bound to any address and has no peer.
    pub(crate) to: Option<Destination>,
    /// The datagram was longer than the buffer; the rest is lost.
    pub(crate) truncated: bool,
}

/// The destination of a received datagram, in the address family of the receiving socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Destination {
    /// An address of this host, a multicast group, or a broadcast address.
    pub(crate) address: IpAddr,
    /// Source address for an answer. `None` leaves the choice to the system.
    pub(crate) answer_from: Option<Origin>,
}

/// The source address of a sent datagram, in the address family of its socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Origin {
    pub(crate) address: IpAddr,
    /// Interface index of a link-local address; 0 for all others.
    pub(crate) interface: u32,
}

impl Origin {
    pub(crate) fn new(address: IpAddr, interface: u32) -> Origin {
        let link_local = matches!(address, IpAddr::V6(address) if address.is_unicast_link_local());
        Origin { address, interface: if link_local { interface } else { 0 } }
    }
}

impl RecvBatch {
    /// Clears the batch and makes room for `max_count` datagrams (1 to `BATCH`) of `max_len` bytes.
    pub(crate) fn prepare(&mut self, max_len: usize, max_count: usize) {
        let max_len = max_len.max(1);
        self.received.clear();
        self.next = 0;
        self.more = true;
        self.max_len = max_len;
        self.max_count = max_count.clamp(1, BATCH);
        if self.buffer.len() < max_len * BATCH {
            // The system zeroes pages on first use, so short datagrams touch few pages.
            self.buffer = vec![0; max_len * BATCH];
        }
    }

    /// Buffers for the wanted datagrams, each of the max length, and the list for their metadata.
    pub(crate) fn places(&mut self) -> (impl Iterator<Item = &mut [u8]>, &mut Vec<RecvMeta>) {
        (self.buffer.chunks_mut(self.max_len).take(self.max_count), &mut self.received)
    }

    /// Max datagrams to receive.
    pub(crate) fn most(&self) -> usize {
        self.max_count
    }

    /// Records that no more datagrams wait.
    pub(crate) fn drained(&mut self) {
        self.more = false;
    }

    pub(crate) fn more(&self) -> bool {
        self.more
    }

    #[cfg(test)]
    pub(crate) fn came(&self) -> &[RecvMeta] {
        &self.received
    }

    /// The first datagram that was not handed over, and its bytes.
    pub(crate) fn first(&self) -> Option<(&RecvMeta, &[u8])> {
        self.received.get(self.next).map(|meta| (meta, self.data(meta)))
    }

    pub(crate) fn hand_over(&mut self) {
        self.next += 1;
    }

    /// Moves the remaining datagrams to a batch of their own, with a buffer of minimal size.
    pub(crate) fn rest(&mut self) -> RecvBatch {
        let mut rest = RecvBatch::default();
        for meta in self.received.get(self.next..).unwrap_or_default() {
            let start = rest.buffer.len();
            rest.buffer.extend_from_slice(self.data(meta));
            rest.received.push(RecvMeta { start, ..meta.clone() });
        }
        self.next = self.received.len();
        rest
    }

    pub(crate) fn data(&self, meta: &RecvMeta) -> &[u8] {
        self.buffer.get(meta.start..meta.start + meta.length).unwrap_or_default()
    }
}

/// A datagram to be sent. Its bytes follow those of the datagram before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Transmit {
    pub(crate) length: usize,
    /// `None` for a connected socket.
    pub(crate) to: Option<Address>,
    /// Source address. `None` leaves the choice to the socket and the system.
    pub(crate) origin: Option<Origin>,
}

/// Whether an error can report an earlier datagram's fate. Some call on the socket returns it once,
/// before it does its own work. The same numbers can be about the call itself, which then fails
/// again.
///
/// On UDP sockets, Linux maps ICMP and ICMPv6 messages about earlier datagrams to these numbers. On
/// UNIX sockets, ECONNRESET means that the peer connected to another socket with unread data.
pub(crate) fn is_icmp_error(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error().map(Errno::from_raw_os_error),
        Some(
            Errno::CONNREFUSED
                | Errno::CONNRESET
                | Errno::HOSTUNREACH
                | Errno::NETUNREACH
                | Errno::HOSTDOWN
                | NONET
                | Errno::NOPROTOOPT
                | Errno::PROTO
                | Errno::MSGSIZE
                | Errno::ACCESS
        )
    )
}

/// Linux's number for an absent network. Other systems have none.
#[cfg(any(target_os = "android", target_os = "linux"))]
const NONET: Errno = Errno::NONET;
#[cfg(not(any(target_os = "android", target_os = "linux")))]
const NONET: Errno = Errno::HOSTDOWN;

/// Max datagrams per call. Measured: 32 has most of the gain of larger batches.
pub(crate) const BATCH: usize = 32;

/// Max payload of a UDP datagram over IPv4. Over IPv6 it is 20 bytes more, which is not used in
/// practice.
pub(crate) const LONGEST_DATAGRAM: usize = 65_507;
