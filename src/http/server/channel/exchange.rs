//! A request in progress, and its response.

use super::super::access_log::AccessLine;
use super::super::handler::{BodyProducer, BodyReceiver};
use super::super::head::{Framing, Head};
use super::super::limits::SiteLimits;
use super::super::route::Handler;
use super::output::Framer;
use super::{Channel, Rc};
use crate::http::chunked::{Chunked, ChunkedEvent};
use crate::{Instant, Transport};

/// A request in progress.
pub(super) struct Exchange {
    pub(super) incoming: Incoming,
    pub(super) outgoing: Outgoing,
    pub(super) meta: Meta,
}

/// The body of the request.
pub(super) enum Incoming {
    /// It is collected for the handler.
    Collecting { head: Vec<u8>, handler: Handler, pending: PendingBody, body: Vec<u8> },
    /// It is passed on. The receiver is out of its place during its calls.
    Streaming { receiver: Option<Box<dyn BodyReceiver>>, pending: PendingBody, paused: bool },
    /// It is complete.
    Done,
}

/// The response.
pub(super) enum Outgoing {
    /// The handler has not answered.
    Waiting,
    /// The producer is out of its place during its calls.
    Sending { producer: Option<Box<dyn BodyProducer>>, framer: Framer },
    /// All of it was written, before the end of the request.
    Done,
}

/// What the response depends on.
#[derive(Default)]
pub(super) struct Meta {
    /// The response has no body.
    pub(super) head_only: bool,
    /// The minor version.
    pub(super) minor: u8,
    /// Whether the connection can be kept.
    pub(super) keep_alive: bool,
    /// Whether the client accepts gzip.
    pub(super) gzip: bool,
    pub(super) log: Option<Box<AccessLine>>,
}

/// The rest of a body.
pub(super) struct PendingBody {
    rest: Rest,
    pub(super) received: u64,
    pub(super) max: usize,
    /// The start of the body, postponed by the time in which it was not read.
    started: Instant,
    /// The time of the last byte.
    progress: Instant,
    pub(super) expects_continue: bool,
}

enum Rest {
    Length(u64),
    Chunked(Chunked),
    Complete,
}

impl PendingBody {
    pub(super) fn new(head: &Head<'_>, max: usize, now: Instant) -> PendingBody {
        let rest = match head.framing {
            Framing::Length(0) => Rest::Complete,
            Framing::Length(length) => Rest::Length(length),
            Framing::Chunked => Rest::Chunked(Chunked::default()),
        };
        let expects_continue = head.expects_continue;
        PendingBody { rest, received: 0, max, started: now, progress: now, expects_continue }
    }

    pub(super) fn is_complete(&self) -> bool {
        matches!(self.rest, Rest::Complete)
    }

    /// Decodes bytes of `data` into `body`, and advances `data`.
    pub(super) fn take(
        &mut self,
        limits: &SiteLimits,
        data: &mut &[u8],
        body: &mut Vec<u8>,
        now: Instant,
    ) -> Result<(), super::Refusal> {
        self.progress = now;
        match &mut self.rest {
            Rest::Complete => {}
            Rest::Length(remaining) => {
                let length = usize::try_from(*remaining).map_or(data.len(), |length| length.min(data.len()));
                let (taken, rest) = data.split_at(length);
                body.extend_from_slice(taken);
                *data = rest;
                self.received += length as u64;
                *remaining -= length as u64;
                if *remaining == 0 {
                    self.rest = Rest::Complete;
                }
            }
            Rest::Chunked(chunked) => {
                // The decoder counts the announced bytes.
                let limits = limits.of_chunks(self.max);
                let refusal = |error| super::Refusal::of_chunks(error, self.max);
                while let Some(event) = chunked.next(&limits, data).map_err(refusal)? {
                    match event {
                        ChunkedEvent::Piece(piece) => {
                            body.extend_from_slice(piece);
                            self.received += piece.len() as u64;
                        }
                        ChunkedEvent::End(trailers) => {
                            let forbidden =
                                |name: &str| FORBIDDEN.iter().any(|known| known.eq_ignore_ascii_case(name));
                            if trailers.iter().any(|(name, _)| forbidden(name)) {
                                return Err(super::Refusal::Trailer);
                            }
                            self.rest = Rest::Complete;
                            break;
                        }
                    }
                }
            }
        }
        Ok(())
    }

    /// The time until which the next byte has to come.
    pub(super) fn deadline(&self, limits: &SiteLimits) -> Instant {
        let idle = self.progress + limits.body_timeout;
        match limits.min_body_rate {
            0 => idle,
            rate => {
                let allowed = std::time::Duration::from_millis(self.received.saturating_mul(1000) / rate);
                idle.min(self.started + limits.body_timeout + allowed)
            }
        }
    }

    /// Notes that reading begins again after a pause, which does not count.
    pub(super) fn resumed(&mut self, now: Instant) {
        self.started += now - self.progress;
        self.progress = now;
    }
}

/// Fields that must not be in trailers (RFC 9110, 6.5.1).
const FORBIDDEN: &[&str] = &["Content-Length", "Transfer-Encoding", "Host"];

impl Exchange {
    /// Whether input belongs to the body, and is wanted now.
    pub(super) fn reads(&self) -> bool {
        match &self.incoming {
            Incoming::Collecting { .. } => true,
            Incoming::Streaming { paused, .. } => !paused,
            Incoming::Done => false,
        }
    }

    /// Whether the body is incomplete.
    pub(super) fn reads_at_all(&self) -> bool {
        !matches!(self.incoming, Incoming::Done)
    }

    pub(super) fn receiver_paused(&self) -> bool {
        matches!(self.incoming, Incoming::Streaming { paused: true, .. })
    }

    /// Whether the exchange is worth finishing when the client sends no more.
    pub(super) fn continues_after_eof(&self) -> bool {
        match &self.outgoing {
            Outgoing::Sending { producer: Some(producer), .. } => producer.continues_after_eof(),
            _ => true,
        }
    }
}

impl Meta {
    /// The properties of the response to a request that was not understood.
    pub(super) fn of_refused(log: Option<AccessLine>) -> Meta {
        Meta { minor: 1, log: log.map(Box::new), ..Meta::default() }
    }

    /// Takes it out of an exchange that gets its response.
    pub(super) fn take(&mut self) -> Meta {
        std::mem::take(self)
    }
}

impl Channel {
    /// The properties of the response to a request.
    pub(super) fn meta(&self, transport: &mut Transport<'_>, head: &Head<'_>) -> Meta {
        let limits = &self.core.limits;
        let keep_alive = head.keep_alive
            && self.exchange < limits.max_requests
            && transport.now() - self.made < limits.max_age;
        Meta {
            head_only: head.method == "HEAD",
            minor: head.minor,
            keep_alive,
            gzip: self.core.gzip && super::super::gzip::accepted(head),
            log: self.core.access_log.then(|| Box::new(AccessLine::new(transport, head))),
        }
    }

    /// Drops a request whose body is not read to its end.
    pub(super) fn drop_incoming(&mut self, transport: &mut Transport<'_>, exchange: Exchange) {
        if let Incoming::Streaming { receiver: Some(mut receiver), .. } = exchange.incoming {
            receiver.lost(transport.reactor());
        }
    }

    /// Ends an exchange in the middle.
    pub(super) fn stop_exchange(&mut self, transport: &mut Transport<'_>, mut exchange: Exchange) {
        if let Outgoing::Sending { producer, framer } = &mut exchange.outgoing {
            if let Some(mut producer) = producer.take() {
                producer.stop_producing(transport.reactor());
            }
            let (status, sent) = (framer.status, framer.sent);
            if let Some(line) = exchange.meta.log.take() {
                line.log(status, sent);
            }
        }
        self.drop_incoming(transport, exchange);
    }

    pub(super) fn core(&self) -> Rc<super::Core> {
        Rc::clone(&self.core)
    }
}
