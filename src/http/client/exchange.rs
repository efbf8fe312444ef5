//! A request from its start to the end of its response, over retries and redirects.

use super::pool::Route;
use super::sink::{Sink, StreamEnd};
use super::{Client, FetchError, FetchStage, Timeouts, Timings};
use crate::http::{Request, Url};
use crate::{ConnectionId, ConnectorId, ConnectorState, DelayedCall, Instant, Reactor};
use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

/// A request in flight.
pub(super) struct Exchange {
    pub(super) client: Client,
    pub(super) request: Request,
    pub(super) stage: FetchStage,
    pub(super) place: Placed,
    pub(super) reused: bool,
    pub(super) cancelled: bool,
    /// Reading was paused by the caller.
    pub(super) paused: bool,
    pub(super) redirects: Vec<Url>,
    pub(super) marks: Marks,
    timeouts: Timeouts,
    started: Instant,
    timer: Option<(DelayedCall, Instant)>,
    total_at: Option<(Instant, Duration)>,
    phase_at: (Instant, Duration),
    pub(super) sink: Option<Box<dyn Sink>>,
}

/// The place of a request.
pub(super) enum Placed {
    Nowhere,
    Waiting(Route),
    Connecting(ConnectorId),
    Connection(ConnectionId),
}

/// Times at which phases ended.
#[derive(Clone, Copy)]
pub(super) struct Marks {
    started: Instant,
    pub(super) placed: Option<Instant>,
    pub(super) connected: Option<Instant>,
    pub(super) connect_time: Option<Duration>,
    pub(super) secured: Option<Instant>,
    pub(super) sent: Option<Instant>,
    pub(super) first_byte: Option<Instant>,
}

pub(super) type Pending = Rc<RefCell<Exchange>>;

impl Exchange {
    pub(super) fn new(
        client: Client,
        request: Request,
        timeouts: Timeouts,
        sink: Box<dyn Sink>,
        now: Instant,
    ) -> Exchange {
        Exchange {
            client,
            request,
            stage: FetchStage::Queued,
            place: Placed::Nowhere,
            reused: false,
            cancelled: false,
            paused: false,
            redirects: Vec::new(),
            marks: Marks::new(now),
            started: now,
            timer: None,
            total_at: timeouts.total.map(|limit| (now + limit, limit)),
            phase_at: (now + timeouts.connect, timeouts.connect),
            timeouts,
            sink: Some(sink),
        }
    }

    /// Starts over for a retry or a redirect.
    pub(super) fn restart(&mut self, now: Instant) {
        self.stage = FetchStage::Queued;
        self.place = Placed::Nowhere;
        self.reused = false;
        self.marks = Marks::new(now);
        self.phase_at = (now + self.timeouts.connect, self.timeouts.connect);
    }

    /// Time limit of connecting from now on.
    pub(super) fn connect_limit(&self, now: Instant) -> Duration {
        let total = self.total_at.map_or(Duration::MAX, |(at, _)| at - now);
        total.min(self.phase_at.0 - now)
    }

    /// The limit that an attempt exceeded, as the caller has set it.
    pub(super) fn exceeded(&self) -> Duration {
        match self.timeouts.total {
            Some(total) if total < self.timeouts.connect => total,
            _ => self.timeouts.connect,
        }
    }

    /// Only the head counts for the total time of a streamed response.
    pub(super) fn end_total(&mut self) {
        self.total_at = None;
    }

    pub(super) fn take_timer(&mut self) -> Option<DelayedCall> {
        self.timer.take().map(|(timer, _)| timer)
    }

    fn due(&self) -> Instant {
        self.total_at.map_or(self.phase_at.0, |(at, _)| at.min(self.phase_at.0))
    }

    fn ended(&self, now: Instant) -> (Duration, bool, Timings) {
        (now - self.started, self.reused, self.marks.timings(now))
    }
}

impl Marks {
    fn new(now: Instant) -> Marks {
        Marks {
            started: now,
            placed: None,
            connected: None,
            connect_time: None,
            secured: None,
            sent: None,
            first_byte: None,
        }
    }

    fn timings(&self, now: Instant) -> Timings {
        let placed = self.placed.unwrap_or(self.started);
        let sent = self.sent.unwrap_or(now);
        let first_byte = self.first_byte.unwrap_or(now);
        let reaching = self.connected.map(|connected| connected - placed);
        let connect = reaching.map(|reaching| self.connect_time.unwrap_or(reaching).min(reaching));
        Timings {
            queued: placed - self.started,
            resolve: reaching.zip(connect).map(|(reaching, connect)| reaching - connect),
            connect,
            tls: self.secured.zip(self.connected).map(|(secured, connected)| secured - connected),
            first_byte: first_byte - sent,
            transfer: now - first_byte,
        }
    }
}

/// Sets the timer of a new request.
pub(super) fn arm(reactor: &mut Reactor, exchange: &Pending) {
    let due = exchange.borrow().due();
    let timed = Rc::clone(exchange);
    let delay = due - reactor.now();
    let timer = reactor.call_later(delay, move |reactor| expired(reactor, &timed));
    exchange.borrow_mut().timer = Some((timer, due));
}

/// Enters a stage, or notes progress within it. The timer is only moved if it would be late.
pub(super) fn enter(reactor: &mut Reactor, exchange: &Pending, stage: FetchStage) {
    let now = reactor.now();
    let mut entering = exchange.borrow_mut();
    entering.stage = stage;
    let limit = match stage {
        // One limit for all of them.
        FetchStage::Queued | FetchStage::LookingUp | FetchStage::Connecting | FetchStage::Securing => return,
        FetchStage::Waiting => entering.timeouts.first_byte,
        FetchStage::Reading => entering.timeouts.idle,
    };
    entering.phase_at = (now + limit, limit);
    let due = entering.due();
    if let Some((timer, at)) = entering.timer
        && due < at
        && timer.reset(reactor, due - now).is_ok()
    {
        entering.timer = Some((timer, due));
    }
}

fn expired(reactor: &mut Reactor, exchange: &Pending) {
    let now = reactor.now();
    let mut current = exchange.borrow_mut();
    current.timer = None;
    if current.sink.is_none() {
        return;
    }
    if current.paused && current.stage == FetchStage::Reading {
        current.phase_at.0 = now + current.phase_at.1;
    }
    let exceeded = match (current.total_at, current.phase_at) {
        (Some((at, limit)), _) if at <= now => limit,
        (_, (at, limit)) if at <= now => limit,
        _ => {
            drop(current);
            return arm(reactor, exchange);
        }
    };
    let mut stage = current.stage;
    let connector = match &current.place {
        Placed::Connecting(id) => Some(*id),
        _ => None,
    };
    drop(current);
    if let Some(connector) = connector.and_then(|id| reactor.connector(id)) {
        stage = match connector.state() {
            ConnectorState::Resolving => FetchStage::LookingUp,
            ConnectorState::Securing => FetchStage::Securing,
            _ => FetchStage::Connecting,
        };
    }
    leave(reactor, exchange);
    complete(reactor, exchange, Err(FetchError::TimedOut(exceeded, stage)));
}

/// Takes a request away from where it is: out of the queue, its attempt cancelled or its connection
/// aborted.
pub(super) fn leave(reactor: &mut Reactor, exchange: &Pending) {
    let place = std::mem::replace(&mut exchange.borrow_mut().place, Placed::Nowhere);
    match place {
        Placed::Nowhere => {}
        Placed::Waiting(route) => {
            let client = exchange.borrow().client.clone();
            client.shared.pool.borrow_mut().stop_waiting(&route, exchange);
        }
        Placed::Connecting(id) => {
            if let Some(mut connector) = reactor.connector(id) {
                connector.disconnect();
            }
        }
        Placed::Connection(id) => {
            if let Some(mut transport) = reactor.transport(id) {
                transport.abort_connection();
            }
        }
    }
}

/// Passes the end to the caller, unless this was done already.
pub(super) fn complete(reactor: &mut Reactor, exchange: &Pending, result: Result<StreamEnd, FetchError>) {
    let mut ending = exchange.borrow_mut();
    let Some(sink) = ending.sink.take() else {
        return;
    };
    if let Some((timer, _)) = ending.timer.take() {
        // Fails if the timer is the one that has just expired.
        let _ = timer.cancel(reactor);
    }
    let result = result.map(|ended| {
        let (latency, reused, timings) = ending.ended(reactor.now());
        let redirects = std::mem::take(&mut ending.redirects);
        StreamEnd { latency, reused, timings, redirects, ..ended }
    });
    let upload = ending.request.sent_body().upload().cloned();
    drop(ending);
    if let Some(upload) = upload {
        crate::http::body::Upload::close(&upload);
    }
    sink.end(reactor, result);
}

/// Passes an error to the caller in a later callback.
pub(super) fn fail_later(reactor: &mut Reactor, exchange: &Pending, error: FetchError) {
    let failed = Rc::clone(exchange);
    reactor.handle().call(move |reactor| complete(reactor, &failed, Err(error)));
}
