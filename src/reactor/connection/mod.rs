//! One connection: its state, and what waits to be sent.

pub(in crate::reactor) mod adopt;
pub(in crate::reactor) mod callbacks;
pub(in crate::reactor) mod close;
pub(in crate::reactor) mod fd_passing;
pub(crate) mod options;
pub(in crate::reactor) mod producer;
pub(in crate::reactor) mod read;
pub(in crate::reactor) mod read_handoff;
pub(in crate::reactor) mod transport;
pub(in crate::reactor) mod write;
pub(in crate::reactor) mod write_batch;
use std::time::Duration;

use crate::net::{Instant, Readiness, Token};
use crate::reactor::connection::fd_passing::FdQueue;
use crate::reactor::layer::stack::Layers;
use crate::reactor::protocol::building::Extensions;
use crate::reactor::{Address, DelayedCall, Producer, ProducerKind, Protocol, Reason};

/// An open connection. Sized for many idle ones: what few need is in [`ColdState`], and there is no buffer
/// but while bytes wait.
pub(crate) struct Connection {
    /// Out of its slot while one of its callbacks runs. Never here when there are layers: it stands above them.
    pub(crate) protocol: Option<Box<dyn Protocol>>,
    pub(crate) peer: Address,
    /// The listener or connector that it came from.
    pub(crate) origin: Token,
    /// What waits to be sent begins at `sent`.
    pub(crate) outgoing: Vec<u8>,
    pub(crate) sent: usize,
    pub(crate) cold: Option<Box<ColdState>>,
    pub(crate) state: State,
    /// Who wants nothing read: the kernel keeps what comes.
    pub(crate) pauses: Pauses,
    pub(crate) flow: Flow,
    /// While the flow is paused: the fewest bytes that have waited since `pause_writing` was delivered. The
    /// buffer limit counts from here. Saturates at 4 GiB.
    pub(crate) unsent_floor: u32,
    /// Its high-water mark is below the size of the scratch buffer: what a callback writes is weighed at once.
    pub(crate) small_marks: bool,
    /// Latched, because no edge tells twice: a read may find something, a write may be taken, the end of what comes
    /// is known to the kernel.
    pub(crate) readiness: Readiness,
    /// Our FIN is out, and the protocol has not been told.
    pub(crate) write_closed_pending: bool,
    /// Something was written: a reset could destroy it.
    pub(crate) wrote: bool,
    /// It stands in the list of those to flush at the end of the turn.
    pub(crate) flush_scheduled: bool,
    /// It stands in the list of those that had their share of the turn.
    pub(crate) resume_scheduled: bool,
}

/// Where a connection is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// Bytes flow both ways.
    Open,
    /// The peer's FIN was read; writing goes on.
    InputClosed,
    /// Our FIN follows when everything is sent; reading goes on.
    OutputClosing,
    /// Our FIN is out; reading goes on.
    OutputClosed,
    /// The peer's FIN was read, ours follows when everything is sent.
    InputClosedOutputClosing,
    /// A write failed; what had come before is still delivered, then the connection is lost.
    Broken,
    /// `lose_connection`: close when everything is sent. `eof`: the peer's FIN was read.
    Closing { eof: bool },
    /// The loss is queued; nothing but `connection_lost` will come.
    Lost,
    /// The loss was delivered, our FIN is out, what still comes is dropped.
    Lingering,
}

impl State {
    /// Whether what comes is read.
    pub(crate) fn reads(self) -> bool {
        match self {
            State::Open | State::OutputClosing | State::OutputClosed | State::Broken | State::Lingering => {
                true
            }
            State::InputClosed | State::InputClosedOutputClosing | State::Closing { .. } | State::Lost => {
                false
            }
        }
    }

    /// Whether waiting bytes are sent.
    pub(crate) fn sends(self) -> bool {
        match self {
            State::Open
            | State::InputClosed
            | State::OutputClosing
            | State::InputClosedOutputClosing
            | State::Closing { .. } => true,
            State::OutputClosed | State::Broken | State::Lost | State::Lingering => false,
        }
    }

    /// Whether nothing is sent or told any more.
    pub(crate) fn is_over(self) -> bool {
        matches!(self, State::Lost | State::Lingering)
    }

    /// Whether the connection is on its way out.
    pub(crate) fn is_closing(self) -> bool {
        match self {
            State::Closing { .. } | State::Broken | State::Lost | State::Lingering => true,
            State::Open
            | State::InputClosed
            | State::OutputClosing
            | State::OutputClosed
            | State::InputClosedOutputClosing => false,
        }
    }
}

/// What the protocol knows of its unsent bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flow {
    /// They have not passed the high-water mark, or came down to the low one.
    Open,
    /// Above the high-water mark; `pause_writing` is queued.
    PauseQueued,
    /// `pause_writing` was delivered: what is written from now on counts for the buffer limit.
    Paused,
}

/// Who has paused reading: nobody, or some.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Pauses(u8);

impl Pauses {
    /// `Transport::pause_reading`.
    pub(crate) const PROTOCOL: Pauses = Pauses(1);
    /// At least one of the layers.
    pub(crate) const LAYERS: Pauses = Pauses(2);
    /// It was adopted, and its protocol has not begun.
    pub(crate) const UNBEGUN: Pauses = Pauses(8);
    /// The protocol keeps something that came, and is called for it before anything else is read.
    pub(crate) const AGAIN: Pauses = Pauses(16);
    /// What layers had for a protocol that was paused goes before anything else is read.
    pub(crate) const KEPT: Pauses = Pauses(32);
    /// Nobody: it is read in another way, which brings descriptors.
    pub(crate) const DESCRIPTORS: Pauses = Pauses(4);

    #[inline]
    pub(crate) fn any(self) -> bool {
        self.0 != 0
    }

    /// Whether the protocol has paused reading, and nothing else keeps input back.
    pub(crate) fn only_the_protocols(self) -> bool {
        self.0 & !Pauses::DESCRIPTORS.0 == Pauses::PROTOCOL.0
    }

    pub(crate) fn has(self, who: Pauses) -> bool {
        self.0 & who.0 != 0
    }

    pub(crate) fn set(&mut self, who: Pauses, paused: bool) {
        match paused {
            true => self.0 |= who.0,
            false => self.0 &= !who.0,
        }
    }
}

/// What few connections need.
#[derive(Default)]
pub(crate) struct ColdState {
    /// This side's address, once asked for.
    pub(crate) host: Option<Address>,
    pub(crate) producer: Option<Registered>,
    pub(crate) timers: Vec<DelayedCall>,
    /// The turn up to which timers wait for what had come before them; 0 if they do not.
    pub(crate) timers_wait_until: u64,
    pub(crate) close_limit: Option<CloseLimit>,
    /// High and low, if not the reactor's.
    pub(crate) water_marks: Option<(usize, usize)>,
    /// Why a write failed.
    pub(crate) broken: Option<Reason>,
    /// What a clean close is told as, if not as `Reason::Done`.
    pub(crate) close_reason: Option<Reason>,
    pub(crate) layers: Option<Box<Layers>>,
    /// What layers and factories left with it.
    pub(crate) extensions: Extensions,
    /// Descriptors that travel with its bytes.
    pub(crate) fd_queue: Option<Box<FdQueue>>,
    /// It belongs to a child process, and is nobody's connection.
    pub(crate) child_pipe: bool,
}

/// A registered producer.
pub(crate) struct Registered {
    /// Out of its place while it is called.
    pub(crate) producer: Option<Box<dyn Producer>>,
    pub(crate) kind: ProducerKind,
    /// Push: it was told to pause. Pull: that it will be asked is queued.
    pub(crate) waits: bool,
    /// Pull: it is asked again when everything is sent.
    pub(crate) sending: bool,
    /// Pull: it had nothing to write, and is asked again then.
    pub(crate) again: Option<DelayedCall>,
    /// How long it is left alone when it has nothing to write.
    pub(crate) pause: Duration,
}

impl Registered {
    pub(crate) fn new(producer: Box<dyn Producer>, kind: ProducerKind) -> Registered {
        let producer = Some(producer);
        Registered { producer, kind, waits: false, sending: false, again: None, pause: SHORTEST_PAUSE }
    }
}

/// The time limit of a closing or lingering connection.
#[derive(Clone, Copy)]
pub(crate) struct CloseLimit {
    pub(crate) timer: DelayedCall,
    /// How long nothing may happen.
    pub(crate) limit: Duration,
    /// The last moment, whatever happens.
    pub(crate) last: Option<Instant>,
}

impl Connection {
    pub(crate) fn new(peer: Address, origin: Token, small_marks: bool) -> Connection {
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

    /// Bytes that wait to be sent, those included that layers hold back.
    pub(crate) fn unsent(&self) -> usize {
        self.waiting().saturating_add(self.held())
    }

    /// Bytes that wait for the system.
    pub(crate) fn waiting(&self) -> usize {
        self.outgoing.len() - self.sent
    }

    /// Whether the user may write. A close that waits for a producer takes what is written until then.
    pub(crate) fn takes_writes(&self) -> bool {
        match self.state {
            State::Open | State::InputClosed => true,
            State::OutputClosing | State::InputClosedOutputClosing | State::Closing { .. } => {
                self.has_producer()
            }
            State::OutputClosed | State::Broken | State::Lost | State::Lingering => false,
        }
    }

    /// Whether the small writes of a callback can be collected outside of it.
    #[inline]
    pub(crate) fn can_batch(&self) -> bool {
        self.state == State::Open && self.outgoing.is_empty() && !self.small_marks
    }

    /// `pause_writing` is delivered.
    pub(crate) fn enter_pause(&mut self) {
        if self.flow == Flow::PauseQueued {
            self.flow = Flow::Paused;
            self.unsent_floor = u32::try_from(self.unsent()).unwrap_or(u32::MAX);
        }
    }

    /// Whether so many unsent bytes are more than may wait beyond those written before `pause_writing`.
    pub(crate) fn exceeds(&self, unsent: usize, limit: usize) -> bool {
        self.flow == Flow::Paused && unsent.saturating_sub(self.unsent_floor as usize) > limit
    }

    /// Whether a read should be tried now.
    #[inline]
    pub(crate) fn wants_read(&self) -> bool {
        let quickly = self.state == State::Open && !self.pauses.any();
        self.readiness.has(Readiness::READABLE) && (quickly || self.wants_read_still())
    }

    /// One that is paused, or on its way out.
    #[cold]
    #[inline(never)]
    fn wants_read_still(&self) -> bool {
        let held = self.pauses.any() && self.state != State::Lingering;
        !held && self.state.reads()
    }

    /// Whether reading is paused although the kernel knows the end of what comes, which may be a reset.
    pub(crate) fn pauses_at_the_end(&self) -> bool {
        self.pauses.has(Pauses::PROTOCOL) && self.readiness.has(Readiness::READ_CLOSED)
    }

    /// Whether it is a pipe to or from a child process.
    pub(crate) fn is_child_pipe(&self) -> bool {
        self.cold.as_ref().is_some_and(|rare| rare.child_pipe)
    }

    pub(crate) fn rare(&mut self) -> &mut ColdState {
        self.cold.get_or_insert_default()
    }

    pub(crate) fn has_producer(&self) -> bool {
        self.cold.as_ref().is_some_and(|rare| rare.producer.is_some())
    }

    pub(crate) fn registered(&mut self) -> Option<&mut Registered> {
        self.cold.as_mut()?.producer.as_mut()
    }

    pub(crate) fn water_marks(&self) -> Option<(usize, usize)> {
        self.cold.as_ref()?.water_marks
    }
}

/// The first pause of a pull producer that has nothing to write.
pub(in crate::reactor) const SHORTEST_PAUSE: Duration = Duration::from_millis(1);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_idle_connection_takes_few_bytes() {
        assert!(size_of::<Connection>() <= 128, "{}", size_of::<Connection>());
    }
}
