//! A connection in the world: two ends, and what travels to each.

use std::collections::VecDeque;
use std::net::SocketAddr;

use super::errno::Errno;
use super::unix::Unix;
use crate::net::{Readiness, Token};

/// Both ends of a connection; the one that asked for it is the first.
///
/// TCP is modelled as two ordered streams of bytes. What is sent goes into the receiver's buffer at once, and becomes
/// visible there when it has travelled: a lost segment is one that takes longer, and holds up what follows it.
pub(super) struct Connection {
    /// The number of the connection in this world, which events carry so that they do not meet its successor.
    pub(super) serial: u32,
    pub(super) ends: [End; 2],
    /// A socket that connected to its own address is both of its ends.
    pub(super) with_itself: bool,
    /// It waits until somebody decides about it: no handshake was sent.
    pub(super) held: bool,
    /// Handshakes sent.
    pub(super) attempts: u8,
    /// The listener that granted it, as long as its handshake is not complete.
    pub(super) listener: u32,
    /// It is a UNIX stream.
    pub(super) unix: Option<Box<Unix>>,
}

pub(super) struct End {
    pub(super) phase: Phase,
    /// The process that has it as a socket, and its name there.
    pub(super) process: u32,
    pub(super) token: Token,
    pub(super) host: u32,
    /// The way that leads here.
    pub(super) path: u32,
    pub(super) address: SocketAddr,
    /// Its port may be listened on by one that says so too.
    pub(super) reuse_address: bool,
    /// What was sent here and not read yet; the first `visible` bytes have arrived.
    pub(super) incoming: VecDeque<u8>,
    pub(super) visible: usize,
    /// Bytes that the sender may not send again: on their way, or unread.
    pub(super) held: usize,
    /// Bytes that may be held: the sender's buffer and this one's.
    pub(super) room: usize,
    /// What is on its way here, in order.
    pub(super) flight: VecDeque<Segment>,
    /// When the last of it arrives.
    pub(super) last_arrival: u64,
    /// Its next arrival is an event to come.
    pub(super) scheduled: bool,
    /// The way is cut: it waits until it is tried again.
    pub(super) frozen: bool,
    /// Tries in vain.
    pub(super) retries: u8,
    /// What came was not acknowledged, for the way back is cut; tries in vain.
    pub(super) unacknowledged: Option<u8>,
    /// Since when what the other end has sent goes unanswered.
    pub(super) stalled: Option<u64>,
    /// The end of what comes has come.
    pub(super) ended: bool,
    /// Our end was sent.
    pub(super) finished: bool,
    /// A reset has come.
    pub(super) reset: bool,
    /// Told once, to whoever asks first.
    pub(super) error: Option<Errno>,
    /// Told to the process with its next poll.
    pub(super) news: Readiness,
    /// With minimal edges: what may be told.
    pub(super) armed: Readiness,
    /// A write found no room: the process is told when there is some.
    pub(super) wants_room: bool,
    pub(super) keepalive: Option<Box<KeepAlive>>,
    /// How long what it sends may go unanswered.
    pub(super) user_timeout: Option<u64>,
}

/// Where an end is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
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

pub(super) struct Segment {
    pub(super) at: u64,
    pub(super) what: Payload,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Payload {
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

pub(super) struct KeepAlive {
    pub(super) idle: u64,
    pub(super) heard: u64,
    pub(super) probes: u8,
}

impl Connection {
    pub(super) fn other(&self, side: usize) -> usize {
        if self.with_itself { side } else { side ^ 1 }
    }

    /// Nothing that could still happen to it matters to anybody.
    pub(super) fn is_over(&self) -> bool {
        self.ends.iter().all(|end| end.phase.is_gone() && end.flight.is_empty())
    }
}

impl End {
    pub(super) fn new(host: u32, path: u32, address: SocketAddr) -> End {
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
    pub(super) fn level(&self, free: bool) -> Readiness {
        if self.ended || self.reset || self.error.is_some() {
            return Readiness::ALL;
        }
        match self.phase {
            Phase::Open => Readiness::of(self.visible > 0, free),
            _ => Readiness::default(),
        }
    }

    /// Nobody reads or writes it any more.
    pub(super) fn leave(&mut self, phase: Phase) {
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
    pub(super) fn is_gone(self) -> bool {
        matches!(self, Phase::Nothing | Phase::Closed | Phase::Vanished)
    }
}

/// No process.
pub(super) const NOBODY: u32 = u32::MAX;
