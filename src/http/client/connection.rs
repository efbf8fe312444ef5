//! A connection of the client, which carries one request after another and is idle between them.

use super::dispatch::{fail, retry};
use super::exchange::{Exchange, Pending, Placed, complete, enter};
use super::pool::{KEEP_ALIVE_MARGIN, Slot};
use super::redirect::Redirect;
use super::send::Outgoing;
use super::sink::StreamEnd;
use super::{FetchError, FetchStage};
use crate::http::coding::Decoder;
use crate::http::head::Framing;
use crate::http::response_parser::{ResponseEvent, ResponseParser};
use crate::http::{Headers, HttpError, Limits, ResponseHead};
use crate::{BuildContext, ClientFactory, Connector, Factory, Layer, Protocol, Reactor, Reason, Transport};
use std::rc::Rc;
use std::time::Duration;

/// Factory of the connection for a request.
pub(super) struct Attempt {
    slot: Option<Slot>,
    exchange: Pending,
}

/// Protocol of a connection to a server.
pub(super) struct Connection {
    pub(super) slot: Slot,
    pub(super) parser: ResponseParser,
    /// The request in flight; `None` while idle.
    pub(super) exchange: Option<Pending>,
    pub(super) outgoing: Outgoing,
    /// Number of requests so far.
    pub(super) requests: u64,
    tunnel: Tunnel,
    response: Received,
    /// The reactor stops: the connection is not kept after the response.
    draining: bool,
}

/// Progress of a tunnel through a proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Tunnel {
    /// There is none, or it is complete.
    Open,
    Requested,
    /// TLS with the server begins.
    Securing,
}

/// What becomes of the response.
enum Received {
    /// No final head yet.
    Nothing,
    Passed {
        keep: Keep,
        decoder: Option<Box<Decoder>>,
    },
    /// The body of a redirect is discarded.
    Redirected {
        keep: Keep,
        redirect: Redirect,
        discarded: usize,
    },
}

/// How long the connection may be idle after the response. `None`: not at all.
type Keep = Option<Duration>;

impl Attempt {
    pub(super) fn new(slot: Slot, exchange: Pending) -> Attempt {
        Attempt { slot: Some(slot), exchange }
    }
}

impl Factory for Attempt {
    fn layers(&mut self, context: &mut BuildContext<'_>) -> Vec<Box<dyn Layer>> {
        let now = context.reactor().now();
        let connector = match self.exchange.borrow().place {
            Placed::Connecting(id) => Some(id),
            _ => None,
        };
        let connector = connector.and_then(|id| context.reactor().connector(id));
        let connect_time = connector.and_then(|connector| connector.connect_time());
        let mut exchange = self.exchange.borrow_mut();
        exchange.marks.connected = Some(now);
        exchange.marks.connect_time = connect_time;
        Vec::new()
    }

    fn build_protocol(&mut self, _: &mut BuildContext<'_>) -> Option<Box<dyn Protocol>> {
        let slot = self.slot.take()?;
        let tunnel = if slot.route.tunnel { Tunnel::Requested } else { Tunnel::Open };
        Some(Box::new(Connection {
            slot,
            parser: ResponseParser::new(Limits::default()),
            exchange: Some(Rc::clone(&self.exchange)),
            outgoing: Outgoing::Done,
            requests: 0,
            tunnel,
            response: Received::Nothing,
            draining: false,
        }))
    }
}

impl ClientFactory for Attempt {
    fn client_connection_failed(&mut self, connector: &mut Connector<'_>, reason: &Reason) {
        // Given back first, so that a request in the callback can have it.
        self.slot = None;
        let exceeded = self.exchange.borrow().exceeded();
        let error = match reason {
            Reason::TimedOut(_) => FetchError::TimedOut(exceeded, FetchStage::Connecting),
            Reason::LookupTimedOut { .. } => FetchError::TimedOut(exceeded, FetchStage::LookingUp),
            reason => FetchError::Connect(reason.clone()),
        };
        fail(connector.reactor(), &self.exchange, error);
    }
}

impl Connection {
    /// Sends a request on this connection.
    pub(super) fn begin(&mut self, transport: &mut Transport<'_>, exchange: &Pending, reused: bool) {
        let now = transport.now();
        let mut beginning = exchange.borrow_mut();
        beginning.reused = reused;
        beginning.place = Placed::Connection(transport.id());
        beginning.marks.placed.get_or_insert(now);
        drop(beginning);
        self.exchange = Some(Rc::clone(exchange));
        self.requests += 1;
        self.response = Received::Nothing;
        self.send(transport, exchange);
    }

    /// Closes an idle connection, so that another server gets its place.
    pub(super) fn give_way(&mut self, transport: &mut Transport<'_>) {
        self.slot.release();
        transport.lose_connection();
    }

    /// Ends the request, and the connection with it.
    pub(super) fn fail(&mut self, transport: &mut Transport<'_>, error: FetchError) {
        self.outgoing = Outgoing::Done;
        if let Some(exchange) = self.exchange.take() {
            self.slot.release();
            transport.abort_connection();
            fail(transport.reactor(), &exchange, error);
        }
    }

    fn is_cancelled(&self) -> bool {
        self.exchange.as_ref().is_none_or(|exchange| exchange.borrow().sink.is_none())
    }

    fn head_received(&mut self, transport: &mut Transport<'_>, exchange: &Pending, head: ResponseHead) {
        // The body that the server did not wait for is not sent any more, and then the next request
        // would be taken for it.
        let unsent = !self.outgoing.is_done();
        if unsent {
            self.outgoing = Outgoing::Done;
        }
        let client = self.slot.client.clone();
        let settings = &client.shared.settings;
        let idle =
            if unsent || !head.keep_alive { None } else { idle_time(&head.headers, settings.idle_timeout) };
        if settings.cookies {
            let now = transport.reactor().system_time();
            let exchange = exchange.borrow();
            client.shared.cookies.borrow_mut().store(exchange.request.url(), &head.headers, now);
        }
        let redirect = Redirect::of(&exchange.borrow(), &head, settings);
        match redirect {
            Err(error) => return self.fail(transport, error),
            Ok(Some(redirect)) => {
                // A long body is not worth the connection.
                let long = match head.framing {
                    Framing::Length(length) => length > MAX_DISCARDED as u64,
                    Framing::Chunked => false,
                    Framing::UntilClose => true,
                };
                self.response = Received::Redirected { keep: idle, redirect, discarded: 0 };
                if long {
                    self.end(transport, exchange, Headers::default(), false);
                }
                return;
            }
            Ok(None) => {}
        }
        let mut head = head;
        let decoded = settings.decompress && !exchange.borrow().request.headers().contains("Accept-Encoding");
        let decoder = if decoded { Decoder::of(&head.headers, settings) } else { None };
        head.decompressed = decoder.is_some();
        self.response = Received::Passed { keep: idle, decoder: decoder.map(Box::new) };
        let url = exchange.borrow().request.url().clone();
        let streamed = self.with_sink(transport, exchange, |sink, reactor| {
            sink.head(reactor, head, &url);
            sink.is_streamed()
        });
        if streamed == Some(true) {
            exchange.borrow_mut().end_total();
        }
    }

    /// Calls the receiver of the response. It is not in the exchange meanwhile, because it may
    /// cancel the request.
    fn with_sink<R>(
        &mut self,
        transport: &mut Transport<'_>,
        exchange: &Pending,
        call: impl FnOnce(&mut dyn super::sink::Sink, &mut Reactor) -> R,
    ) -> Option<R> {
        let mut sink = exchange.borrow_mut().sink.take()?;
        let result = call(&mut *sink, transport.reactor());
        let mut exchange = exchange.borrow_mut();
        match exchange.cancelled {
            true => {
                drop(exchange);
                drop(sink);
            }
            false => exchange.sink = Some(sink),
        }
        Some(result)
    }

    fn piece_received(&mut self, transport: &mut Transport<'_>, exchange: &Pending, piece: &[u8]) {
        match &mut self.response {
            Received::Nothing => {}
            Received::Redirected { discarded, .. } => {
                *discarded += piece.len();
                if *discarded > MAX_DISCARDED {
                    self.end(transport, exchange, Headers::default(), false);
                }
            }
            Received::Passed { decoder: None, .. } => {
                self.with_sink(transport, exchange, |sink, reactor| sink.piece(reactor, piece));
            }
            Received::Passed { decoder, .. } => {
                // Out of its place, because the receiver is called with what it returns.
                let Some(mut decoding) = decoder.take() else { return };
                let unlimited = exchange.borrow().sink.as_ref().is_some_and(|sink| sink.is_streamed());
                let mut input = piece;
                let decoded = loop {
                    match decoding.decode(&mut input, unlimited) {
                        Ok(Some(piece)) => {
                            self.with_sink(transport, exchange, |sink, reactor| sink.piece(reactor, &piece));
                            if self.is_cancelled() {
                                break Ok(());
                            }
                        }
                        Ok(None) => break Ok(()),
                        Err(error) => break Err(error),
                    }
                };
                match (decoded, &mut self.response) {
                    (Err(error), _) => self.fail(transport, error),
                    (Ok(()), Received::Passed { decoder, .. }) => *decoder = Some(decoding),
                    _ => {}
                }
            }
        }
    }

    /// Ends the response. `reusable`: nothing follows it on the connection.
    fn end(&mut self, transport: &mut Transport<'_>, exchange: &Pending, trailers: Headers, reusable: bool) {
        self.exchange = None;
        let received = std::mem::replace(&mut self.response, Received::Nothing);
        let (keep, outcome) = match received {
            Received::Nothing => (None, Err(FetchError::Http(HttpError::ClosedInHead))),
            Received::Redirected { keep, redirect, .. } => (keep, Ok(Some(redirect))),
            Received::Passed { keep, decoder } => match decoder.map(|mut decoder| decoder.finish()) {
                Some(Err(error)) => (keep, Err(error)),
                Some(Ok(())) | None => (keep, Ok(None)),
            },
        };
        let keep = keep.filter(|_| reusable && !self.draining && !transport.is_closing());
        let (id, client) = (transport.id(), self.slot.client.clone());
        if keep.is_some() {
            client.shared.pool.borrow_mut().begin_finishing(id, &self.slot.route);
        } else {
            self.slot.release();
            transport.lose_connection();
        }
        exchange.borrow_mut().place = Placed::Nowhere;
        match outcome {
            Err(error) => complete(transport.reactor(), exchange, Err(error)),
            Ok(Some(redirect)) => {
                let now = transport.now();
                let mut following = exchange.borrow_mut();
                redirect.follow(&mut following);
                following.restart(now);
                drop(following);
                client.dispatch(transport.reactor(), exchange, false);
            }
            Ok(None) => {
                let url = exchange.borrow().request.url().clone();
                complete(transport.reactor(), exchange, Ok(StreamEnd::new(url, trailers)));
            }
        }
        if let Some(idle) = keep {
            self.go_on(transport, idle);
        }
    }

    /// Sends the next request, or keeps the connection idle.
    fn go_on(&mut self, transport: &mut Transport<'_>, idle: Duration) {
        let client = self.slot.client.clone();
        let id = transport.id();
        let mut pool = client.shared.pool.borrow_mut();
        let next = match pool.end_finishing(id) {
            // All connections are closed.
            None => {
                drop(pool);
                return transport.lose_connection();
            }
            Some(Some(next)) => Some(next),
            Some(None) => pool.next_waiting(&self.slot.route),
        };
        drop(pool);
        match next {
            Some(next) if next.borrow().sink.is_some() => self.begin(transport, &next, true),
            _ => {
                let until = transport.now() + idle;
                let sweep = client.shared.pool.borrow_mut().keep(&self.slot.route, id, until);
                if let Some(at) = sweep {
                    client.set_sweep(transport.reactor(), at);
                }
                client.start_waiting(transport.reactor());
            }
        }
    }

    fn tunnel_received(&mut self, transport: &mut Transport<'_>, mut data: &[u8]) {
        loop {
            match self.parser.next(&mut data) {
                Ok(None) => return,
                Ok(Some(ResponseEvent::Head(head))) if !(200..300).contains(&head.status) => {
                    return self.fail(transport, FetchError::ProxyRefused(head.status));
                }
                Ok(Some(ResponseEvent::End(_))) => break,
                Ok(Some(_)) => {}
                Err(error) => return self.fail(transport, FetchError::Http(error)),
            }
        }
        self.tunnel = Tunnel::Securing;
        let client = self.slot.client.clone();
        match client.shared.tls.start(transport, &self.slot.route.origin.host) {
            // What came after the answer of the proxy belongs to the handshake.
            Ok(()) => transport.unread(data),
            Err(error) => self.fail(transport, error),
        }
    }

    fn forget(&self, transport: &Transport<'_>) {
        self.slot.client.shared.pool.borrow_mut().forget(&self.slot.route, transport.id());
    }
}

impl Protocol for Connection {
    fn connection_made(&mut self, transport: &mut Transport<'_>) {
        let Some(exchange) = self.exchange.clone().filter(|_| !self.is_cancelled()) else {
            return transport.abort_connection();
        };
        exchange.borrow_mut().place = Placed::Connection(transport.id());
        if self.tunnel == Tunnel::Requested {
            enter(transport.reactor(), &exchange, FetchStage::Securing);
            return self.request_tunnel(transport);
        }
        if self.slot.route.origin.secure {
            exchange.borrow_mut().marks.secured = Some(transport.now());
        }
        self.begin(transport, &exchange, false);
    }

    fn layers_ready(&mut self, transport: &mut Transport<'_>) {
        if self.tunnel == Tunnel::Securing
            && let Some(exchange) = self.exchange.clone()
        {
            self.tunnel = Tunnel::Open;
            exchange.borrow_mut().marks.secured = Some(transport.now());
            self.begin(transport, &exchange, false);
        }
    }

    fn data_received(&mut self, transport: &mut Transport<'_>, mut data: &[u8]) {
        if self.tunnel == Tunnel::Requested {
            return self.tunnel_received(transport, data);
        }
        let Some(exchange) = self.exchange.clone() else {
            // Unsolicited bytes, which must not be taken for the response to the next request.
            self.forget(transport);
            self.slot.release();
            return transport.abort_connection();
        };
        if exchange.borrow().marks.first_byte.is_none() {
            let now = transport.now();
            exchange.borrow_mut().marks.first_byte = Some(now);
        }
        enter(transport.reactor(), &exchange, FetchStage::Reading);
        loop {
            match self.parser.next(&mut data) {
                Ok(None) => return,
                Ok(Some(ResponseEvent::Interim(head))) => {
                    if head.status == 100 {
                        self.release_body(transport);
                    }
                }
                Ok(Some(ResponseEvent::Head(head))) => self.head_received(transport, &exchange, head),
                Ok(Some(ResponseEvent::Piece(piece))) => self.piece_received(transport, &exchange, piece),
                Ok(Some(ResponseEvent::End(trailers))) => {
                    return self.end(transport, &exchange, trailers, data.is_empty());
                }
                Err(error) => return self.fail(transport, FetchError::Http(error)),
            }
            if self.is_cancelled() {
                return;
            }
        }
    }

    fn resume_writing(&mut self, transport: &mut Transport<'_>) {
        self.send_body(transport);
    }

    fn read_connection_lost(&mut self, transport: &mut Transport<'_>) {
        self.forget(transport);
        if let Some(exchange) = self.exchange.clone().filter(|_| self.tunnel == Tunnel::Open) {
            match self.parser.finish() {
                Ok(true) => self.end(transport, &exchange, Headers::default(), false),
                // `connection_lost` completes a request without a response.
                Ok(false) => {}
                Err(error) => self.fail(transport, FetchError::Http(error)),
            }
        }
        transport.lose_connection();
    }

    /// A request in flight is completed first.
    fn drain(&mut self, transport: &mut Transport<'_>) {
        self.draining = true;
        if self.exchange.is_none() {
            self.forget(transport);
            transport.lose_connection();
        }
    }

    fn connection_lost(&mut self, transport: &mut Transport<'_>, reason: &Reason) {
        self.forget(transport);
        self.slot.release();
        self.outgoing = Outgoing::Done;
        let id = transport.id();
        let client = self.slot.client.clone();
        let finishing = client.shared.pool.borrow_mut().end_finishing(id);
        if let Some(Some(next)) = finishing {
            // The callback that made it has panicked afterwards.
            client.dispatch(transport.reactor(), &next, true);
        }
        let Some(exchange) = self.exchange.take() else {
            return;
        };
        let state = exchange.borrow();
        let Exchange { reused, stage, request, .. } = &*state;
        let (stage, stale) = (*stage, *reused && *stage == FetchStage::Waiting && request.is_repeatable());
        drop(state);
        let stopped = matches!(reason, Reason::Stopped | Reason::Aborted | Reason::Panicked(_));
        if stale && !stopped {
            return retry(transport.reactor(), &exchange);
        }
        let error = match stage {
            FetchStage::Reading => FetchError::Lost(reason.clone()),
            FetchStage::Waiting => FetchError::Closed(reason.clone()),
            _ => FetchError::Connect(reason.clone()),
        };
        fail(transport.reactor(), &exchange, error);
    }
}

/// Returns how long a connection may be idle: less than the server allows, by a margin.
fn idle_time(headers: &Headers, most: Duration) -> Keep {
    let parameter = |item: &[u8]| {
        let text = std::str::from_utf8(item).ok()?;
        let (name, value) = text.split_once('=')?;
        let seconds =
            name.trim().eq_ignore_ascii_case("timeout").then_some(value.trim().trim_matches('"'))?;
        seconds.parse::<u32>().ok()
    };
    match headers.items("Keep-Alive").find_map(parameter) {
        None => Some(most),
        Some(seconds) => {
            let allowed = Duration::from_secs(seconds.into()).checked_sub(KEEP_ALIVE_MARGIN)?;
            (!allowed.is_zero()).then_some(allowed.min(most))
        }
    }
}

/// Maximum number of bytes of a redirect's body that are read for the sake of its connection.
const MAX_DISCARDED: usize = 64 << 10;
