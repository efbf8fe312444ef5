//! A connection: state, flags and unsent output.

pub(in crate::reactor) mod adopt;
pub(in crate::reactor) mod callbacks;
pub(in crate::reactor) mod close;
pub(in crate::reactor) mod fd_passing;
pub(crate) mod options;
pub(in crate::reactor) mod producer;
pub(in crate::reactor) mod read;
mod state;
pub(in crate::reactor) mod transport;
pub(in crate::reactor) mod write;
pub(in crate::reactor) mod write_batch;
use std::time::Duration;

pub(in crate::reactor) use self::state::{Action, Event, State};
use crate::net::{Instant, Readiness, Token};
use crate::reactor::connection::fd_passing::FdQueue;
use crate::reactor::layer::stack::Layers;
use crate::reactor::protocol::build_context::Extensions;
use crate::reactor::{Address, DelayedCall, Producer, ProducerKind, Protocol, Reason};

/// An open connection. The struct is small because most connections are idle: rarely used state is
/// in [`ColdState`], and buffers exist only while bytes wait.
pub(crate) struct Connection {
    /// `None` while one of its callbacks runs, and on a connection with layers: the protocol is
    /// then stored above them.
    pub(crate) protocol: Option<Box<dyn Protocol>>,
    pub(crate) peer: Address,
    /// The listener or connector that created the connection.
    pub(crate) origin: Token,
    /// Output buffer. Unsent bytes start at `sent`.
    pub(crate) outgoing: Vec<u8>,
    pub(crate) sent: usize,
    pub(crate) cold: Option<Box<ColdState>>,
    pub(in crate::reactor) state: State,
    /// Reasons not to read. Data stays in the kernel.
    pub(crate) pauses: Pauses,
    pub(crate) flow: Flow,
    /// Least number of unsent bytes since `pause_writing` was delivered, while the flow is paused.
    /// The buffer limit counts from here. Saturates at 4 GiB.
    pub(crate) unsent_floor: u32,
    /// The high-water mark is below the size of the write batch, so marks are checked on every
    /// write.
    pub(crate) small_marks: bool,
    /// Latched readiness, because an edge is reported only once: a read may return data, a write
    /// may be accepted, or the kernel has the peer's FIN.
    pub(crate) readiness: Readiness,
    /// Our FIN was sent, and `write_connection_lost` was not delivered yet.
    pub(crate) write_closed_pending: bool,
    /// Something was written, so a reset could destroy it.
    pub(crate) wrote: bool,
    /// Queued for a flush at the end of the turn.
    pub(crate) flush_scheduled: bool,
    /// Queued for another share in the next turn.
    pub(crate) resume_scheduled: bool,
}

/// The water-mark state of a connection's output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flow {
    /// Unsent bytes are at most the high-water mark, or have come down to the low one.
    Open,
    /// Above the high-water mark; `pause_writing` is queued.
    PauseQueued,
    /// `pause_writing` was delivered. Bytes written from now on count for the buffer limit.
    Paused,
}

/// A set of reasons for which reading is paused.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Pauses(u8);

impl Pauses {
    /// `Transport::pause_reading`.
    pub(crate) const PROTOCOL: Pauses = Pauses(1);
    /// At least one of the layers.
    pub(crate) const LAYERS: Pauses = Pauses(2);
    /// The connection was adopted, and `connection_made` was not called yet.
    pub(crate) const NOT_STARTED: Pauses = Pauses(8);
    /// The protocol kept unprocessed input and asked for another `data_received` before the next
    /// read.
    pub(crate) const AGAIN: Pauses = Pauses(16);
    /// Layers hold input for a protocol that was paused. It is delivered before the next read.
    pub(crate) const KEPT: Pauses = Pauses(32);
    /// The layer on top was added, and `started` of it was not called yet.
    pub(crate) const LAYER_ADDED: Pauses = Pauses(64);
    /// Not a pause: reads use `recvmsg`, which returns descriptors.
    pub(crate) const DESCRIPTORS: Pauses = Pauses(4);

    #[inline]
    pub(in crate::reactor) fn any(self) -> bool {
        self.0 != 0
    }

    /// Whether input for the protocol waits: it paused reading, or it has just added a layer that
    /// the rest of its input is for.
    #[inline]
    pub(in crate::reactor) fn stops_delivery(self) -> bool {
        self.0 & (Pauses::PROTOCOL.0 | Pauses::LAYER_ADDED.0) != 0
    }

    /// Whether a layer, or the start of the connection, stops layers that are not ready from
    /// reading. Reasons of the protocol do not: the layers read for themselves.
    fn stops_handshake(self) -> bool {
        self.0 & (Pauses::LAYERS.0 | Pauses::NOT_STARTED.0) != 0
    }

    /// Whether only the protocol has paused reading.
    pub(in crate::reactor) fn only_protocol(self) -> bool {
        self.0 & !Pauses::DESCRIPTORS.0 == Pauses::PROTOCOL.0
    }

    pub(in crate::reactor) fn has(self, who: Pauses) -> bool {
        self.0 & who.0 != 0
    }

    pub(in crate::reactor) fn set(&mut self, who: Pauses, paused: bool) {
        match paused {
            true => self.0 |= who.0,
            false => self.0 &= !who.0,
        }
    }
}

/// State that few connections need.
#[derive(Default)]
pub(crate) struct ColdState {
    /// The local address, if a layer has set it.
    pub(crate) host: Option<Address>,
    pub(crate) producer: Option<Registered>,
    pub(crate) timers: Vec<DelayedCall>,
    /// Timers wait for earlier input until this turn. 0: they do not wait.
    pub(crate) timers_wait_until: u64,
    pub(crate) close_limit: Option<CloseLimit>,
    /// High and low, if they differ from the reactor's.
    pub(crate) water_marks: Option<(usize, usize)>,
    /// The reason why a write failed.
    pub(crate) broken: Option<Reason>,
    /// The reason of a clean close. Default: `Reason::Done`.
    pub(crate) close_reason: Option<Reason>,
    pub(crate) layers: Option<Box<Layers>>,
    /// Input that the protocol gave back, for its next `data_received`.
    pub(crate) unread: Vec<u8>,
    /// Values attached by layers and factories.
    pub(in crate::reactor) extensions: Extensions,
    /// Descriptors to be sent with output bytes.
    pub(crate) fd_queue: Option<Box<FdQueue>>,
    /// The connection is a pipe of a child process.
    pub(crate) child_pipe: bool,
}

/// A registered producer.
pub(crate) struct Registered {
    /// `None` while it is called.
    pub(crate) producer: Option<Box<dyn Producer>>,
    pub(crate) kind: ProducerKind,
    /// Push: the producer was told to pause. Pull: a call to it is queued.
    pub(crate) waits: bool,
    /// Pull: the producer is called again once all output is sent.
    pub(crate) sending: bool,
    /// Pull: the timer of the next call, when the producer had nothing to write.
    pub(crate) again: Option<DelayedCall>,
    /// Delay before the next call when the producer has nothing to write.
    pub(crate) pause: Duration,
}

impl Registered {
    pub(in crate::reactor) fn new(producer: Box<dyn Producer>, kind: ProducerKind) -> Registered {
        let producer = Some(producer);
        Registered { producer, kind, waits: false, sending: false, again: None, pause: MIN_PULL_DELAY }
    }
}

/// The time limit of a closing or lingering connection.
#[derive(Clone, Copy)]
pub(crate) struct CloseLimit {
    pub(crate) timer: DelayedCall,
    /// Max time without progress.
    pub(crate) limit: Duration,
    /// Latest end, whether or not there is progress.
    pub(crate) last: Option<Instant>,
}

impl Connection {
    pub(in crate::reactor) fn new(peer: Address, origin: Token, small_marks: bool) -> Connection {
        Connection {
            protocol: None,
            peer,
            origin,
            outgoing: Vec::new(),
            sent: 0,
            cold: None,
            state: State::Open,
            pauses: Pauses::default(),
            flow: Flow::Open,
            unsent_floor: 0,
            small_marks,
            readiness: Readiness::WRITABLE,
            write_closed_pending: false,
            wrote: false,
            flush_scheduled: false,
            resume_scheduled: false,
        }
    }

    /// Unsent bytes, including bytes held by layers.
    pub(in crate::reactor) fn unsent(&self) -> usize {
        self.waiting().saturating_add(self.held())
    }

    /// Bytes in the output buffer, not accepted by the kernel yet.
    pub(in crate::reactor) fn waiting(&self) -> usize {
        self.outgoing.len() - self.sent
    }

    /// Whether writes are accepted. A close that waits for a producer accepts its writes.
    pub(in crate::reactor) fn takes_writes(&self) -> bool {
        match self.state {
            State::Open | State::InputClosed => true,
            State::OutputClosing | State::InputClosedOutputClosing | State::Closing { .. } => {
                self.has_producer()
            }
            State::OutputClosed | State::Broken | State::Lost | State::Lingering => false,
        }
    }

    /// Whether small writes of a callback may go to the shared write batch.
    #[inline]
    pub(in crate::reactor) fn can_batch(&self) -> bool {
        self.state.is_open() && self.outgoing.is_empty() && !self.small_marks
    }

    /// Records that `pause_writing` is delivered.
    pub(in crate::reactor) fn enter_pause(&mut self) {
        if self.flow == Flow::PauseQueued {
            self.flow = Flow::Paused;
            self.unsent_floor = u32::try_from(self.unsent()).unwrap_or(u32::MAX);
        }
    }

    /// Whether `unsent` exceeds `limit`, not counting bytes written before `pause_writing`.
    pub(in crate::reactor) fn exceeds(&self, unsent: usize, limit: usize) -> bool {
        self.flow == Flow::Paused && unsent.saturating_sub(self.unsent_floor as usize) > limit
    }

    /// Whether a read should be tried now.
    #[inline]
    pub(in crate::reactor) fn wants_read(&self) -> bool {
        let fast = self.state.is_open() && !self.pauses.any();
        self.readiness.has(Readiness::READABLE) && (fast || self.wants_read_slow())
    }

    /// The slow path, for a paused or closing connection.
    #[cold]
    #[inline(never)]
    fn wants_read_slow(&self) -> bool {
        // Layers that are not ready read although the protocol pauses or closes. What it wrote
        // before a close can only be sent once they are.
        if self.layers().is_some_and(Layers::in_handshake) {
            let closes = self.state == State::Closing { eof: false } && self.layers_send();
            return !self.pauses.stops_handshake() && (self.state.reads() || closes);
        }
        let held = self.pauses.any() && self.state != State::Lingering;
        !held && self.state.reads()
    }

    /// Whether the protocol has paused reading and the kernel has the end of the input, which may
    /// be a reset.
    pub(in crate::reactor) fn pauses_at_the_end(&self) -> bool {
        self.pauses.has(Pauses::PROTOCOL) && self.readiness.has(Readiness::READ_CLOSED)
    }

    /// Whether the connection is a pipe to or from a child process.
    pub(in crate::reactor) fn is_child_pipe(&self) -> bool {
        self.cold.as_ref().is_some_and(|cold| cold.child_pipe)
    }

    pub(in crate::reactor) fn cold(&mut self) -> &mut ColdState {
        self.cold.get_or_insert_default()
    }

    pub(in crate::reactor) fn has_producer(&self) -> bool {
        self.cold.as_ref().is_some_and(|cold| cold.producer.is_some())
    }

    pub(in crate::reactor) fn registered(&mut self) -> Option<&mut Registered> {
        self.cold.as_mut()?.producer.as_mut()
    }

    pub(in crate::reactor) fn water_marks(&self) -> Option<(usize, usize)> {
        self.cold.as_ref()?.water_marks
    }
}

/// First delay of a pull producer that has nothing to write.
pub(in crate::reactor) const MIN_PULL_DELAY: Duration = Duration::from_millis(1);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_idle_connection_takes_few_bytes() {
        assert!(size_of::<Connection>() <= 128, "{}", size_of::<Connection>());
    }
}
