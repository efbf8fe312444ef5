//! Datagrams on their way through the seam: several at a time, each with its other end.

use std::io;
use std::net::IpAddr;

use rustix::io::Errno;

use crate::net::Address;

/// Datagrams that came with one call, in one buffer.
#[derive(Default)]
pub(crate) struct RecvBatch {
    buffer: Vec<u8>,
    max_len: usize,
    max_count: usize,
    received: Vec<RecvMeta>,
    /// Those before it were handed over.
    next: usize,
    /// Whether more may wait; otherwise, as after `WouldBlock`, the next report tells.
    more: bool,
}

/// Where a datagram lies in the buffer, and what is known of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RecvMeta {
    pub(crate) start: usize,
    pub(crate) length: usize,
    pub(crate) from: Address,
    /// Where it was sent to, of a UDP socket that is bound to any address and has no peer.
    pub(crate) to: Option<Destination>,
    /// It was longer: the rest is gone.
    pub(crate) truncated: bool,
}

/// Where a datagram was sent to, in the family of the socket that received it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Destination {
    /// An address of this host, a group, or a broadcast address.
    pub(crate) address: IpAddr,
    /// The address that an answer leaves from; `None` leaves that to the system.
    pub(crate) answer_from: Option<Origin>,
}

/// An address of this host that a datagram leaves from, in the family of its socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Origin {
    pub(crate) address: IpAddr,
    /// Where a link-local address is; 0 for all others.
    pub(crate) interface: u32,
}

impl Origin {
    pub(crate) fn new(address: IpAddr, interface: u32) -> Origin {
        let link_local = matches!(address, IpAddr::V6(address) if address.is_unicast_link_local());
        Origin { address, interface: if link_local { interface } else { 0 } }
    }
}

impl RecvBatch {
    /// Makes room for so many datagrams, at most a batch, of so many bytes each, and forgets what came before.
    pub(crate) fn prepare(&mut self, longest: usize, most: usize) {
        let longest = longest.max(1);
        self.received.clear();
        self.next = 0;
        self.more = true;
        self.max_len = longest;
        self.max_count = most.clamp(1, BATCH);
        if self.buffer.len() < longest * BATCH {
            // Zeroed by the system, page by page, as they are used: short datagrams touch few.
            self.buffer = vec![0; longest * BATCH];
        }
    }

    /// Places for the datagrams that are wanted, each of the longest size, and where to note them.
    pub(crate) fn places(&mut self) -> (impl Iterator<Item = &mut [u8]>, &mut Vec<RecvMeta>) {
        (self.buffer.chunks_mut(self.max_len).take(self.max_count), &mut self.received)
    }

    /// How many are wanted.
    pub(crate) fn most(&self) -> usize {
        self.max_count
    }

    /// Nothing more waits.
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

    /// The first that was not handed over, and its bytes.
    pub(crate) fn first(&self) -> Option<(&RecvMeta, &[u8])> {
        self.received.get(self.next).map(|came| (came, self.data(came)))
    }

    pub(crate) fn hand_over(&mut self) {
        self.next += 1;
    }

    /// What was not handed over, for itself, and no larger than it has to be.
    pub(crate) fn rest(&mut self) -> RecvBatch {
        let mut rest = RecvBatch::default();
        for came in self.received.get(self.next..).unwrap_or_default() {
            let start = rest.buffer.len();
            rest.buffer.extend_from_slice(self.data(came));
            rest.received.push(RecvMeta { start, ..came.clone() });
        }
        self.next = self.received.len();
        rest
    }

    pub(crate) fn data(&self, came: &RecvMeta) -> &[u8] {
        self.buffer.get(came.start..came.start + came.length).unwrap_or_default()
    }
}

/// A datagram that waits to be sent; its bytes follow those of the one before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Transmit {
    pub(crate) length: usize,
    /// `None` where the socket has one peer.
    pub(crate) to: Option<Address>,
    /// `None` leaves it to the socket and the system.
    pub(crate) origin: Option<Origin>,
}

/// Whether an error can be news of the other side, which some call on the socket tells once, before it does what it was
/// asked to. The same numbers can be about that call, which will then fail again.
///
/// Of UDP they are what Linux makes of ICMP, and of ICMPv6: the network's answers to earlier datagrams. Of a UNIX socket it is
/// that its peer has taken another one, and not read all.
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

/// The network is not there: only Linux has the number.
#[cfg(any(target_os = "android", target_os = "linux"))]
const NONET: Errno = Errno::NONET;
#[cfg(not(any(target_os = "android", target_os = "linux")))]
const NONET: Errno = Errno::HOSTDOWN;

/// Datagrams of one call. Measured: 32 have most of what there is to gain.
pub(crate) const BATCH: usize = 32;

/// The longest datagram that UDP has room for; IPv6 has 20 bytes more, which nobody relies on.
pub(crate) const LONGEST_DATAGRAM: usize = 65_507;
