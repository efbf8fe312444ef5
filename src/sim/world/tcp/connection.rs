//! A connection in the world: two ends, and what travels to each.

use std::collections::VecDeque;
use std::net::SocketAddr;

use crate::net::{Readiness, Token};
use crate::sim::network::errno::Errno;
use crate::sim::world::unix::stream::Unix;

/// Both ends of a connection; the one that asked for it is the first.
///
/// TCP is modelled as two ordered streams of bytes. What is sent goes into the receiver's buffer at once, and becomes
/// visible there when it has travelled: a lost segment is one that takes longer, and holds up what follows it.
pub(in crate::sim) struct Connection {
    /// The number of the connection in this world, which events carry so that they do not meet its successor.
    pub(in crate::sim) serial: u32,
    pub(in crate::sim) ends: [End; 2],
    /// A socket that connected to its own address is both of its ends.
    pub(in crate::sim) with_itself: bool,
    /// It waits until somebody decides about it: no handshake was sent.
    pub(in crate::sim) held: bool,
    /// Handshakes sent.
    pub(in crate::sim) attempts: u8,
    /// The listener that granted it, as long as its handshake is not complete.
    pub(in crate::sim) listener: u32,
    /// It is a UNIX stream.
    pub(in crate::sim) unix: Option<Box<Unix>>,
}

pub(in crate::sim) struct End {
    pub(in crate::sim) phase: Phase,
    /// The process that has it as a socket, and its name there.
    pub(in crate::sim) process: u32,
    pub(in crate::sim) token: Token,
    pub(in crate::sim) host: u32,
    /// The way that leads here.
    pub(in crate::sim) path: u32,
    pub(in crate::sim) address: SocketAddr,
    /// Its port may be listened on by one that says so too.
    pub(in crate::sim) reuse_address: bool,
    /// What was sent here and not read yet; the first `visible` bytes have arrived.
    pub(in crate::sim) incoming: VecDeque<u8>,
    pub(in crate::sim) visible: usize,
    /// Bytes that the sender may not send again: on their way, or unread.
    pub(in crate::sim) held: usize,
    /// Bytes that may be held: the sender's buffer and this one's.
    pub(in crate::sim) room: usize,
    /// What is on its way here, in order.
    pub(in crate::sim) flight: VecDeque<Segment>,
    /// When the last of it arrives.
    pub(in crate::sim) last_arrival: u64,
    /// Its next arrival is an event to come.
    pub(in crate::sim) scheduled: bool,
    /// The way is cut: it waits until it is tried again.
    pub(in crate::sim) frozen: bool,
    /// Tries in vain.
    pub(in crate::sim) retries: u8,
    /// What came was not acknowledged, for the way back is cut; tries in vain.
    pub(in crate::sim) unacknowledged: Option<u8>,
    /// Since when what the other end has sent goes unanswered.
    pub(in crate::sim) stalled: Option<u64>,
    /// The end of what comes has come.
    pub(in crate::sim) ended: bool,
    /// Our end was sent.
    pub(in crate::sim) finished: bool,
    /// A reset has come.
    pub(in crate::sim) reset: bool,
    /// Told once, to whoever asks first.
    pub(in crate::sim) error: Option<Errno>,
    /// Told to the process with its next poll.
    pub(in crate::sim) news: Readiness,
    /// With minimal edges: what may be told.
    pub(in crate::sim) armed: Readiness,
    /// A write found no room: the process is told when there is some.
    pub(in crate::sim) wants_room: bool,
    pub(in crate::sim) keepalive: Option<Box<KeepAlive>>,
    /// How long what it sends may go unanswered.
    pub(in crate::sim) user_timeout: Option<u64>,
}

/// Where an end is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::sim) enum Phase {
    /// Nothing is there yet: the handshake has not come so far.
    Nothing,
    /// The handshake is under way.
    Connecting,
    /// Granted, and not complete before the peer's acknowledgement has arrived: no process can accept it yet.
    Handshaking,
    /// In a listener's queue.
    Queued,
    Open,
    /// Its process has closed it.
    Closed,
    /// Its host has lost its power: nobody said anything.
    Vanished,
}

pub(in crate::sim) struct Segment {
    pub(in crate::sim) at: u64,
    pub(in crate::sim) what: Payload,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::sim) enum Payload {
    /// The third leg of the handshake.
    Ack,
    Data(u32),
    Fin,
    Reset,
    /// The other end of a UNIX stream was closed, with something unread or without.
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

    /// Nothing that could still happen to it matters to anybody.
    pub(in crate::sim) fn is_over(&self) -> bool {
        self.ends.iter().all(|end| end.phase.is_gone() && end.flight.is_empty())
    }
}

impl End {
    pub(in crate::sim) fn new(host: u32, path: u32, address: SocketAddr) -> End {
        End {
            phase: Phase::Nothing,
            process: NOBODY,
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
            news: Readiness::default(),
            armed: Readiness::ALL,
            wants_room: false,
            keepalive: None,
            user_timeout: None,
        }
    }

    /// What a process that looks now would be told.
    pub(in crate::sim) fn level(&self, free: bool) -> Readiness {
        if self.ended || self.reset || self.error.is_some() {
            return Readiness::ALL;
        }
        match self.phase {
            Phase::Open => Readiness::of(self.visible > 0, free),
            _ => Readiness::default(),
        }
    }

    /// Nobody reads or writes it any more.
    pub(in crate::sim) fn leave(&mut self, phase: Phase) {
        self.phase = phase;
        self.process = NOBODY;
        self.token = Token::NONE;
        self.incoming = VecDeque::new();
        self.visible = 0;
        self.news = Readiness::default();
        self.keepalive = None;
    }
}

impl Phase {
    pub(in crate::sim) fn is_gone(self) -> bool {
        matches!(self, Phase::Nothing | Phase::Closed | Phase::Vanished)
    }
}

/// No process.
pub(in crate::sim) const NOBODY: u32 = u32::MAX;
