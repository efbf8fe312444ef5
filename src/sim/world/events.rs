//! What is to happen, by the time at which it does.

use std::cmp::Ordering;
use std::collections::BinaryHeap;

use crate::sim::random::Random;

/// What is to happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::sim) enum EventKind {
    /// A handshake comes to the host that it asks.
    Syn,
    /// The answer comes back.
    SynAck,
    /// So does a refusal.
    Refused,
    /// The listening side has waited long enough for the third leg of the handshake.
    HandshakeOver,
    /// The handshake is sent again.
    SynAgain,
    /// The host that was asked does not exist, as its neighbours find out.
    Unreachable,
    /// Something comes to this end.
    Arrival,
    /// What waits for a cut way to this end is tried again.
    Retransmission,
    /// The acknowledgement of what came to this end is tried again.
    Acknowledgement,
    /// This end asks whether the other one is there.
    KeepAlive,
    /// The other end has read: this one may write.
    Room,
    /// This end's process is told again what it can do.
    Again,
    /// A process looks at its timers.
    Timer,
    /// A child of this process goes on.
    Program,
    /// A job is done.
    Job,
    /// A name's addresses are found.
    Answer,
    /// A datagram comes.
    Datagram,
    /// Its sender hears why one did not get there, the number of the error in the place of the side.
    DatagramAnswered,
    /// A UNIX datagram can be read.
    Letter,
    /// The process of a socket of datagrams is told again what it can do.
    MailAgain,
}

#[derive(Clone, Copy, Debug)]
pub(in crate::sim) struct Event {
    pub(in crate::sim) at: u64,
    /// A draw, and below it the number of the event: those of the same time come in an order that the seed decides.
    order: u64,
    pub(in crate::sim) what: EventKind,
    /// The end of the connection that it concerns.
    pub(in crate::sim) side: u8,
    pub(in crate::sim) index: u32,
    pub(in crate::sim) serial: u32,
}

/// All that is to happen.
pub(in crate::sim) struct Events {
    heap: BinaryHeap<Event>,
    count: u64,
    /// What happens at the same time comes in the order in which it was caused.
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
        what: EventKind,
        side: usize,
        index: u32,
        serial: u32,
        random: &mut Random,
    ) {
        self.count += 1;
        // Datagrams of the same time overtake each other only where a link says so.
        let in_order = self.in_order || matches!(what, EventKind::Datagram | EventKind::Letter);
        let draw = if in_order { 0 } else { random.next() >> NUMBER_BITS << NUMBER_BITS };
        let order = draw | self.count & ((1 << NUMBER_BITS) - 1);
        self.heap.push(Event { at, order, what, side: side as u8, index, serial });
    }

    /// When the next one comes.
    #[inline]
    pub(in crate::sim) fn next(&self) -> Option<u64> {
        self.heap.peek().map(|event| event.at)
    }

    /// The next one, if it comes at this time or before.
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

// The heap's first is the earliest.
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

/// Enough for a million million events; the draw has the rest.
const NUMBER_BITS: u32 = 40;
