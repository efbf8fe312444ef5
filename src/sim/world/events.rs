//! The queue of future events, ordered by time.

use std::cmp::Ordering;
use std::collections::BinaryHeap;

use crate::sim::random::Random;

/// The kind of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::sim) enum EventKind {
    /// A SYN arrives at the listening host.
    Syn,
    /// A SYN-ACK arrives at the client.
    SynAck,
    /// A refusal arrives at the client.
    Refused,
    /// The listening side's handshake times out.
    HandshakeOver,
    /// The client retransmits its SYN.
    SynAgain,
    /// The client finds that the destination does not exist.
    Unreachable,
    /// A segment arrives at this end.
    Arrival,
    /// Segments to this end are retransmitted after its path was cut.
    Retransmission,
    /// This end's acknowledgement is sent again after its path was cut.
    Acknowledgement,
    /// This end's keep-alive timer expires.
    KeepAlive,
    /// This end learns that its peer has read: it may write again.
    Room,
    /// This end's readiness is reported again.
    Again,
    /// A process's timer expires.
    Timer,
    /// A child of this process continues.
    Program,
    /// A job completes.
    Job,
    /// A job on files goes on.
    FileStep,
    /// A name look-up completes.
    Answer,
    /// A datagram arrives.
    Datagram,
    /// An ICMP error arrives at a datagram's sender; `side` is the error number.
    DatagramAnswered,
    /// A UNIX datagram becomes readable.
    UnixDatagram,
    /// A datagram socket's readiness is reported again.
    DatagramAgain,
}

#[derive(Clone, Copy, Debug)]
pub(in crate::sim) struct Event {
    pub(in crate::sim) at: u64,
    /// Orders events of the same time: random high bits, and the number of the event in the low
    /// ones.
    order: u64,
    pub(in crate::sim) kind: EventKind,
    /// The end of the connection.
    pub(in crate::sim) side: u8,
    pub(in crate::sim) index: u32,
    pub(in crate::sim) serial: u32,
}

/// The queue of events.
pub(in crate::sim) struct Events {
    heap: BinaryHeap<Event>,
    count: u64,
    /// Events of the same time come in the order of their creation.
    pub(in crate::sim) in_order: bool,
}

impl Events {
    pub(in crate::sim) fn new() -> Events {
        Events { heap: BinaryHeap::new(), count: 0, in_order: false }
    }

    #[inline]
    pub(in crate::sim) fn add(
        &mut self,
        at: u64,
        kind: EventKind,
        side: usize,
        index: u32,
        serial: u32,
        random: &mut Random,
    ) {
        self.count += 1;
        // Datagrams of the same time stay in order; only a link's `reorder` changes it.
        let in_order = self.in_order || matches!(kind, EventKind::Datagram | EventKind::UnixDatagram);
        let draw = if in_order { 0 } else { random.next() >> NUMBER_BITS << NUMBER_BITS };
        let order = draw | self.count & ((1 << NUMBER_BITS) - 1);
        self.heap.push(Event { at, order, kind, side: side as u8, index, serial });
    }

    /// Returns the time of the next event.
    #[inline]
    pub(in crate::sim) fn next(&self) -> Option<u64> {
        self.heap.peek().map(|event| event.at)
    }

    /// Takes the next event, if it is due.
    #[inline]
    pub(in crate::sim) fn pop(&mut self, now: u64) -> Option<Event> {
        if self.heap.peek()?.at > now {
            return None;
        }
        self.heap.pop()
    }

    pub(in crate::sim) fn count(&self) -> u64 {
        self.count
    }
}

// Reversed: the heap's maximum is the earliest event.
impl Ord for Event {
    fn cmp(&self, other: &Event) -> Ordering {
        (other.at, other.order).cmp(&(self.at, self.order))
    }
}

impl PartialOrd for Event {
    fn partial_cmp(&self, other: &Event) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Event {
    fn eq(&self, other: &Event) -> bool {
        (self.at, self.order) == (other.at, other.order)
    }
}

impl Eq for Event {}

/// Bits of the event's number, for 10^12 events; the random draw has the other bits.
const NUMBER_BITS: u32 = 40;
