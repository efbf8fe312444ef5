//! Flights: one question on its way to an answer, and the requests that wait for it.

use std::rc::Rc;

use crate::dns::cache::Outcome;
use crate::dns::engine::server::Attempts;
use crate::dns::message::question::Question;
use crate::dns::{Name, Transport};
use crate::{DatagramId, DelayedCall, Instant, Reactor};

/// A flight by its place and its serial number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::dns) struct FlightId {
    pub(super) place: usize,
    pub(super) serial: u64,
}

/// A request that waits for a flight.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::dns) struct Ask {
    pub(super) flight: FlightId,
    pub(super) asker: u64,
}

/// Called once with the outcome, never inside the call that made the request.
pub(in crate::dns) type Done = Box<dyn FnOnce(&mut Reactor, Outcome)>;

/// A question on its way to an answer.
pub(super) struct Flight {
    pub(super) serial: u64,
    /// Name, type and reactor.
    pub(super) key: Rc<[u8]>,
    /// The name that the last response led to by aliases.
    pub(super) alias: Option<Name>,
    /// Number of aliases so far, and the responses with them.
    pub(super) aliases: u8,
    pub(super) earlier: Vec<Box<[u8]>>,
    /// Lowest TTL of these aliases.
    pub(super) alias_ttl: u32,
    /// The first request, and those that have joined it.
    pub(super) first: Option<(u64, Done)>,
    pub(super) joined: Vec<(u64, Done)>,
    pub(super) stage: Stage,
    /// The next attempt, if it is not up to the choice among servers.
    pub(super) next: Option<NextAttempt>,
    pub(super) attempts: Attempts,
    /// Number of attempts without a response in time.
    pub(super) timeouts: usize,
    pub(super) rotation: usize,
    pub(super) began: Instant,
    /// The timer of the stage. It is always set.
    pub(super) timer: Option<DelayedCall>,
    /// The failure to report if no server has an answer.
    pub(super) failure: Option<Outcome>,
    pub(super) last_server: Option<usize>,
}

/// What a flight waits for.
#[derive(Clone, Debug)]
pub(super) enum Stage {
    /// For the limits on running queries, or for nothing yet.
    Waiting,
    /// A socket is being opened.
    Opening(Attempt),
    Udp {
        attempt: Attempt,
        socket: DatagramId,
        /// Datagrams from the server's address that were no response to the query.
        mismatches: u8,
    },
    /// On a connection, which is found by its place.
    Stream { attempt: Attempt, stream: usize },
}

/// One query to one server.
#[derive(Clone, Debug)]
pub(super) struct Attempt {
    pub(super) server: usize,
    pub(super) transport: Transport,
    pub(super) edns: bool,
    pub(super) id: u16,
    pub(super) sent_at: Instant,
    /// The name as it was sent, if not in lower case.
    pub(super) sent_name: Option<Box<[u8]>>,
}

/// An attempt that follows from a response.
#[derive(Clone, Copy, Debug)]
pub(super) struct NextAttempt {
    pub(super) server: usize,
    pub(super) transport: Transport,
    pub(super) edns: bool,
}

impl Stage {
    pub(super) fn attempt(&self) -> Option<&Attempt> {
        match self {
            Stage::Waiting => None,
            Stage::Opening(attempt) | Stage::Udp { attempt, .. } | Stage::Stream { attempt, .. } => {
                Some(attempt)
            }
        }
    }
}

impl Flight {
    /// The name to ask for now, in lower case.
    pub(super) fn name(&self) -> &[u8] {
        match &self.alias {
            Some(alias) => alias.as_wire(),
            None => self.key.get(..self.key.len().saturating_sub(4)).unwrap_or_default(),
        }
    }

    pub(super) fn record_type(&self) -> u16 {
        match self.key.get(self.key.len().saturating_sub(4)..) {
            Some(&[high, low, ..]) => u16::from_be_bytes([high, low]),
            _ => 0,
        }
    }

    /// The number of its reactor.
    pub(super) fn home(&self) -> u16 {
        match *self.key {
            [.., high, low] => u16::from_be_bytes([high, low]),
            _ => 0,
        }
    }

    /// The question that was asked for.
    pub(super) fn question(&self) -> Question {
        let name = self.key.get(..self.key.len().saturating_sub(4)).unwrap_or_default();
        Question::new(name, self.record_type())
    }

    /// Notes a failure. A response of a server says more than a silence.
    pub(super) fn note(&mut self, failure: Outcome) {
        if failure.is_ok() || !matches!(self.failure, Some(Ok(_))) {
            self.failure = Some(failure);
        }
    }
}
