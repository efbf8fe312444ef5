//! A connection: two ends, and the segments in flight to each.

use std::collections::VecDeque;
use std::net::SocketAddr;

use crate::net::{Readiness, Token};
use crate::sim::network::errno::Errno;
use crate::sim::world::unix::stream::Unix;

/// Both ends of a connection. End 0 is the client's.
///
/// TCP is modelled as two ordered streams of bytes. Sent bytes go into the receiver's buffer at
/// once, and become visible there when they arrive. A lost segment takes longer and delays the
/// segments behind it.
pub(in crate::sim) struct Connection {
    /// The connection's number in this world. Events carry it, because the index is reused.
    pub(in crate::sim) serial: u32,
    pub(in crate::sim) ends: [End; 2],
    /// A socket that is connected to its own address: both ends are the same socket.
    pub(in crate::sim) with_itself: bool,
    /// The connect is held, with no SYN sent (see `Network::hold_connects`).
    pub(in crate::sim) held: bool,
    /// SYNs sent.
    pub(in crate::sim) attempts: u8,
    /// The listener, while the handshake is incomplete.
    pub(in crate::sim) listener: u32,
    /// The state of a UNIX stream.
    pub(in crate::sim) unix: Option<Box<Unix>>,
}

pub(in crate::sim) struct End {
    pub(in crate::sim) phase: Phase,
    /// The process that owns the socket, and the socket's token there.
    pub(in crate::sim) process: u32,
    pub(in crate::sim) token: Token,
    pub(in crate::sim) host: u32,
    /// The path to this end.
    pub(in crate::sim) path: u32,
    pub(in crate::sim) address: SocketAddr,
    /// A listener with SO_REUSEADDR may share its port.
    pub(in crate::sim) reuse_address: bool,
    /// Bytes sent to this end and not read; the first `visible` bytes have arrived.
    pub(in crate::sim) incoming: VecDeque<u8>,
    pub(in crate::sim) visible: usize,
    /// Bytes that occupy the buffers: in flight or unread.
    pub(in crate::sim) held: usize,
    /// The limit of `held`: the sender's send buffer and this end's receive buffer.
    pub(in crate::sim) room: usize,
    /// Segments in flight to this end, in order.
    pub(in crate::sim) flight: VecDeque<Segment>,
    /// The arrival time of the last segment in flight.
    pub(in crate::sim) last_arrival: u64,
    /// An event for the next arrival is scheduled.
    pub(in crate::sim) scheduled: bool,
    /// The path is cut: segments wait for a retransmission.
    pub(in crate::sim) frozen: bool,
    /// Failed retransmissions.
    pub(in crate::sim) retries: u8,
    /// Failed attempts to acknowledge, while the path back is cut.
    pub(in crate::sim) unacknowledged: Option<u8>,
    /// The time since which the peer's segments have not been acknowledged.
    pub(in crate::sim) stalled: Option<u64>,
    /// The peer's FIN has arrived.
    pub(in crate::sim) ended: bool,
    /// This end's FIN was sent.
    pub(in crate::sim) finished: bool,
    /// A reset has arrived.
    pub(in crate::sim) reset: bool,
    /// The pending error; the next call takes it.
    pub(in crate::sim) error: Option<Errno>,
    /// Readiness that the process's next poll reports.
    pub(in crate::sim) pending: Readiness,
    /// With minimal readiness: the events that may be reported.
    pub(in crate::sim) armed: Readiness,
    /// A write found no room. Writability is reported when there is some.
    pub(in crate::sim) wants_room: bool,
    pub(in crate::sim) keepalive: Option<Box<KeepAlive>>,
    /// The limit of unacknowledged time in nanoseconds (TCP_USER_TIMEOUT).
    pub(in crate::sim) user_timeout: Option<u64>,
}

/// The state of an end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::sim) enum Phase {
    /// The server side before the SYN has arrived.
    Nothing,
    /// The client side before the SYN-ACK has arrived.
    Connecting,
    /// The server side before the ACK has arrived: it cannot be accepted yet.
    Handshaking,
    /// In a listener's queue, ready to be accepted.
    Queued,
    Open,
    /// Closed by its process.
    Closed,
    /// Its host has lost power; no packet was sent.
    Vanished,
}

pub(in crate::sim) struct Segment {
    pub(in crate::sim) at: u64,
    pub(in crate::sim) payload: Payload,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::sim) enum Payload {
    /// The handshake's ACK.
    Ack,
    Data(u32),
    Fin,
    Reset,
    /// The other end of a UNIX stream was closed, with or without unread data.
    Hangup {
        unread: bool,
    },
}

pub(in crate::sim) struct KeepAlive {
    pub(in crate::sim) idle: u64,
    pub(in crate::sim) heard: u64,
    pub(in crate::sim) probes: u8,
}

impl Connection {
    pub(in crate::sim) fn other(&self, side: usize) -> usize {
        if self.with_itself { side } else { side ^ 1 }
    }

    /// Returns whether the connection can be removed: no pending event can have an effect.
    pub(in crate::sim) fn is_over(&self) -> bool {
        self.ends.iter().all(|end| end.phase.is_gone() && end.flight.is_empty())
    }
}

impl End {
    pub(in crate::sim) fn new(host: u32, path: u32, address: SocketAddr) -> End {
        End {
            phase: Phase::Nothing,
            process: NO_PROCESS,
            token: Token::NONE,
            host,
            path,
            address,
            reuse_address: false,
            incoming: VecDeque::new(),
            visible: 0,
            held: 0,
            room: 0,
            flight: VecDeque::new(),
            last_arrival: 0,
            scheduled: false,
            frozen: false,
            retries: 0,
            unacknowledged: None,
            stalled: None,
            ended: false,
            finished: false,
            reset: false,
            error: None,
            pending: Readiness::default(),
            armed: Readiness::ALL,
            wants_room: false,
            keepalive: None,
            user_timeout: None,
        }
    }

    /// Returns the level-triggered readiness.
    pub(in crate::sim) fn level(&self, free: bool) -> Readiness {
        if self.ended || self.reset || self.error.is_some() {
            return Readiness::ALL;
        }
        match self.phase {
            Phase::Open => Readiness::of(self.visible > 0, free),
            _ => Readiness::default(),
        }
    }

    /// Detaches the end from its process.
    pub(in crate::sim) fn leave(&mut self, phase: Phase) {
        self.phase = phase;
        self.process = NO_PROCESS;
        self.token = Token::NONE;
        self.incoming = VecDeque::new();
        self.visible = 0;
        self.pending = Readiness::default();
        self.keepalive = None;
    }
}

impl Phase {
    pub(in crate::sim) fn is_gone(self) -> bool {
        matches!(self, Phase::Nothing | Phase::Closed | Phase::Vanished)
    }
}

/// The process number of an end without a process.
pub(in crate::sim) const NO_PROCESS: u32 = u32::MAX;
