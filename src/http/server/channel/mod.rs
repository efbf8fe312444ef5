//! One connection of a site. (Twisted: `HTTPChannel`.)

mod body;
mod exchange;
mod output;
mod timing;

use std::any::{Any, TypeId};
use std::rc::Rc;

pub use self::body::RequestBody;
use self::exchange::{Exchange, Incoming, Meta, Outgoing, PendingBody};
pub use self::output::ResponseBody;
use super::access_log::AccessLine;
use super::handler::{BodyReceiver, Reply};
use super::head::{Framing, Head, Scan, slots};
use super::path::Parameters;
use super::refusal::Refusal;
use super::request::Request;
use super::response::Response;
use super::route::{Found, Handler, Target};
use super::site::{Core, count, handle};
use super::table::{Place, Stage};
use crate::{DelayedCall, Instant, Protocol, Reason, Transport};

/// The number of a request on its connection, from 1.
pub(super) type ExchangeId = u32;

/// The protocol of a connection.
pub(super) struct Channel {
    core: Rc<Core>,
    /// Input that was not processed: the start of a head, or requests that wait for their turn.
    buffer: Vec<u8>,
    scan: Scan,
    /// The request in progress. `None` between requests.
    current: Option<Box<Exchange>>,
    /// The protocol that has taken over.
    upgraded: Option<Box<dyn Protocol>>,
    place: Place,
    exchange: ExchangeId,
    state: Flags,
    made: Instant,
    deadline: Option<Instant>,
    timer: Option<(DelayedCall, Instant)>,
    stall: Option<Box<timing::Stall>>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Flags {
    /// The connection is closing: input is discarded.
    closing: bool,
    /// A graceful stop has begun.
    draining: bool,
    /// The client has ended its half.
    eof: bool,
    /// Input waits until the exchange, or the output before it, is done.
    input_waits: bool,
    /// Reading is paused.
    reading_paused: bool,
    /// Output is above the high-water mark.
    writing_paused: bool,
    /// The time limit of a head is running.
    head_begun: bool,
}

impl Channel {
    pub(super) fn new(core: Rc<Core>, place: Place, made: Instant) -> Channel {
        Channel {
            core,
            buffer: Vec::new(),
            scan: Scan::default(),
            current: None,
            upgraded: None,
            place,
            exchange: 0,
            state: Flags::default(),
            made,
            deadline: None,
            timer: None,
            stall: None,
        }
    }

    /// Processes input. Returns the number of bytes that are done with.
    fn consume(&mut self, transport: &mut Transport<'_>, input: &[u8]) -> usize {
        let mut at = 0;
        loop {
            let rest = input.get(at..).unwrap_or_default();
            if self.state.closing {
                return input.len();
            }
            if self.upgraded.is_some() {
                if !rest.is_empty() {
                    self.forward(transport, rest);
                }
                return input.len();
            }
            if let Some(exchange) = &self.current {
                match exchange.reads() && !rest.is_empty() {
                    true => at += self.body_received(transport, rest),
                    false => {
                        self.state.input_waits = !rest.is_empty();
                        return at;
                    }
                }
                continue;
            }
            if rest.is_empty() {
                return at;
            }
            if self.state.writing_paused || transport.writing_paused() {
                self.state.input_waits = true;
                return at;
            }
            match self.scan.find(rest, &self.core.limits) {
                Ok(Some((start, end))) => {
                    self.state.head_begun = false;
                    at += end;
                    let (head, body) = rest.split_at(end);
                    at += self.request_received(transport, head.get(start..).unwrap_or_default(), body);
                }
                Ok(None) => {
                    self.head_incomplete(transport, rest.len());
                    return at;
                }
                Err(refusal) => {
                    self.refuse(transport, refusal, None);
                    return input.len();
                }
            }
        }
    }

    /// Starts the time limit of a head with its first byte.
    fn head_incomplete(&mut self, transport: &mut Transport<'_>, length: usize) {
        if self.state.head_begun || !self.scan.begun(length) {
            return;
        }
        self.state.head_begun = true;
        if self.exchange > 0 {
            let now = transport.now();
            self.core.table.borrow_mut().touch(self.place, Stage::Head, now);
            self.set_deadline(transport, now + self.core.limits.head_timeout);
        }
    }

    /// Handles a complete head. Returns the number of bytes of its body that are done with.
    fn request_received(&mut self, transport: &mut Transport<'_>, head: &[u8], body: &[u8]) -> usize {
        self.exchange = self.exchange.wrapping_add(1);
        let bytes = head;
        let mut slots = slots();
        let head = match Head::parse(bytes, &mut slots) {
            Ok(head) => head,
            Err(refusal) => {
                self.refuse(transport, refusal, None);
                return body.len();
            }
        };
        let core = Rc::clone(&self.core);
        count(&core.counts.requests);
        let meta = self.meta(transport, &head);
        let path = head.target.split('?').next().unwrap_or_default();
        let (target, parameters) = match core.routes.find(head.method, path) {
            Found::Target(target, parameters) => (target, parameters),
            _ if head.method == "OPTIONS" && head.target == "*" => {
                return self.answer_head(transport, &head, meta, Response::new(204), body);
            }
            Found::MethodNotAllowed(allowed) => {
                let status = if head.method == "OPTIONS" { 204 } else { 405 };
                let mut response = Response::of_status(status);
                response.push_field("Allow", &allowed);
                return self.answer_head(transport, &head, meta, response, body);
            }
            Found::Nothing if head.method == "CONNECT" => {
                return self.answer_head(transport, &head, meta, Response::of_status(405), body);
            }
            Found::Nothing => match &core.fallback {
                Some(target) => (target, Parameters::new()),
                None => return self.answer_head(transport, &head, meta, Response::of_status(404), body),
            },
        };
        let max_body = target.max_body.unwrap_or(core.limits.max_body);
        if let Framing::Length(length) = head.framing
            && length > max_body as u64
        {
            self.refuse(transport, Refusal::BodyTooLong(max_body), Some(meta));
            return body.len();
        }
        let pending = PendingBody::new(&head, max_body, transport.now());
        if let Handler::Streamed(handler) = &target.handler {
            let mut request = Request {
                head: &head,
                parameters: &parameters,
                body: &[],
                exchange: self.exchange,
                transport: transport.reborrow(),
            };
            let receiver = match handler.try_borrow_mut() {
                Ok(mut handler) => handler(&mut request),
                Err(_) => Err(Response::of_status(503).into()),
            };
            return match receiver {
                Ok(receiver) => self.start_receiver(transport, receiver, pending, meta, body),
                Err(reply) => self.reply_head(transport, &head, meta, reply, body),
            };
        }
        match head.framing {
            // The whole body is there, and is not copied.
            Framing::Length(length) if length <= body.len() as u64 => {
                let length = length as usize;
                let whole = body.get(..length).unwrap_or_default();
                self.call_handler(transport, &target.handler, &head, &parameters, whole, meta);
                length
            }
            _ => {
                self.start_collecting(transport, bytes, target, pending, meta, body.is_empty());
                0
            }
        }
    }

    fn start_receiver(
        &mut self,
        transport: &mut Transport<'_>,
        receiver: Box<dyn BodyReceiver>,
        pending: PendingBody,
        meta: Meta,
        body: &[u8],
    ) -> usize {
        let waits = pending.expects_continue && body.is_empty() && !pending.is_complete();
        let complete = pending.is_complete();
        let incoming = Incoming::Streaming { receiver: Some(receiver), pending, paused: false };
        self.current = Some(Box::new(Exchange { incoming, outgoing: Outgoing::Waiting, meta }));
        if waits {
            transport.write(CONTINUE);
        }
        match complete {
            true => self.body_complete(transport),
            false => self.expect_body(transport),
        }
        0
    }

    fn start_collecting(
        &mut self,
        transport: &mut Transport<'_>,
        head: &[u8],
        target: &Target,
        pending: PendingBody,
        meta: Meta,
        nothing_yet: bool,
    ) {
        if pending.expects_continue && nothing_yet {
            transport.write(CONTINUE);
        }
        let (head, handler) = (head.to_vec(), target.handler.clone());
        let incoming = Incoming::Collecting { head, handler, pending, body: Vec::new() };
        self.current = Some(Box::new(Exchange { incoming, outgoing: Outgoing::Waiting, meta }));
        self.expect_body(transport);
    }

    /// Calls a handler with a whole request, and sends or awaits the response.
    fn call_handler(
        &mut self,
        transport: &mut Transport<'_>,
        handler: &Handler,
        head: &Head<'_>,
        parameters: &Parameters<'_>,
        body: &[u8],
        meta: Meta,
    ) {
        let mut request =
            Request { head, parameters, body, exchange: self.exchange, transport: transport.reborrow() };
        match handle(handler, &mut request) {
            Reply::Response(response) => self.start_response(transport, response, meta, true),
            Reply::Later => self.wait_for_answer(transport, meta),
        }
    }

    /// Answers without reading the body. The connection is closed then, if there is one.
    fn answer_head(
        &mut self,
        transport: &mut Transport<'_>,
        head: &Head<'_>,
        meta: Meta,
        response: Response,
        body: &[u8],
    ) -> usize {
        self.reply_head(transport, head, meta, Reply::Response(response), body)
    }

    fn reply_head(
        &mut self,
        transport: &mut Transport<'_>,
        head: &Head<'_>,
        mut meta: Meta,
        reply: Reply,
        body: &[u8],
    ) -> usize {
        let used = match head.framing {
            Framing::Length(length) if length <= body.len() as u64 => length as usize,
            _ => {
                meta.keep_alive = false;
                body.len()
            }
        };
        match reply {
            Reply::Response(response) => self.start_response(transport, response, meta, true),
            Reply::Later => self.wait_for_answer(transport, meta),
        }
        used
    }

    fn wait_for_answer(&mut self, transport: &mut Transport<'_>, meta: Meta) {
        self.current =
            Some(Box::new(Exchange { incoming: Incoming::Done, outgoing: Outgoing::Waiting, meta }));
        self.expect_answer(transport);
    }

    /// Answers the request of this number, if it waits for that.
    pub(super) fn answer(&mut self, transport: &mut Transport<'_>, exchange: ExchangeId, response: Response) {
        if exchange != self.exchange || self.state.closing {
            return;
        }
        let Some(mut current) = self.current.take_if(|current| matches!(current.outgoing, Outgoing::Waiting))
        else {
            return;
        };
        let reads = current.reads_at_all();
        let meta = current.meta.take();
        match reads {
            // The response may go on beside the request.
            true if matches!(current.incoming, Incoming::Streaming { .. }) => {
                self.current = Some(current);
                self.start_response(transport, response, meta, false);
            }
            true => {
                self.drop_incoming(transport, *current);
                let meta = Meta { keep_alive: false, ..meta };
                self.start_response(transport, response, meta, true);
            }
            false => self.start_response(transport, response, meta, true),
        }
        self.settle(transport);
    }

    /// Continues a paused body, or a producer that had nothing to write.
    pub(super) fn resume(&mut self, transport: &mut Transport<'_>, exchange: ExchangeId) {
        if exchange != self.exchange || self.state.closing {
            return;
        }
        let now = transport.now();
        if let Some(current) = &mut self.current
            && let Incoming::Streaming { pending, paused, .. } = &mut current.incoming
            && std::mem::replace(paused, false)
        {
            pending.resumed(now);
            self.expect_body(transport);
        }
        self.pump(transport);
        self.settle(transport);
    }

    /// Refuses a request, and closes the connection.
    fn refuse(&mut self, transport: &mut Transport<'_>, refusal: Refusal, meta: Option<Meta>) {
        let core = Rc::clone(&self.core);
        count(&core.counts.refused);
        let peer = transport.peer().to_string();
        log::debug!(target: LOG_TARGET, peer:% = peer; "refused a request: {refusal}");
        let mut meta =
            meta.unwrap_or_else(|| Meta::of_refused(core.access_log.then(|| AccessLine::unread(transport))));
        meta.keep_alive = false;
        if let Some(current) = self.current.take() {
            let answered = !matches!(current.outgoing, Outgoing::Waiting);
            self.drop_incoming(transport, *current);
            if answered {
                // The client would take the text for a part of the response.
                self.end(transport, true);
                return;
            }
        }
        let status = refusal.status();
        let response = Response::text(format!("{refusal}\n")).with_status(status).uncompressed();
        self.start_response(transport, response, meta, true);
    }

    /// Ends the connection: with a reset if a response is incomplete.
    fn end(&mut self, transport: &mut Transport<'_>, incomplete: bool) {
        self.state.closing = true;
        self.buffer = Vec::new();
        match incomplete {
            true => transport.abort_connection(),
            false => transport.lose_connection(),
        }
    }

    /// Pauses or resumes reading after a change, and schedules waiting input.
    fn settle(&mut self, transport: &mut Transport<'_>) {
        if self.state.closing || self.upgraded.is_some() {
            return;
        }
        let (busy, receiver_paused) = match &self.current {
            Some(exchange) => (!exchange.reads(), exchange.receiver_paused()),
            None => (self.state.writing_paused, false),
        };
        let pause = receiver_paused || busy && self.state.input_waits;
        if pause != self.state.reading_paused {
            self.state.reading_paused = pause;
            match pause {
                true => transport.pause_reading(),
                false => transport.resume_reading(),
            }
        }
        if self.state.input_waits && !pause {
            self.state.input_waits = false;
            transport.schedule_data_received();
        }
    }

    fn forward(&mut self, transport: &mut Transport<'_>, data: &[u8]) {
        if let Some(protocol) = &mut self.upgraded {
            protocol.data_received(transport, data);
        }
    }
}

impl Protocol for Channel {
    fn connection_made(&mut self, transport: &mut Transport<'_>) {
        let at = self.made + self.core.limits.head_timeout;
        self.set_deadline(transport, at);
    }

    fn data_received(&mut self, transport: &mut Transport<'_>, data: &[u8]) {
        if self.upgraded.is_some() {
            return self.forward(transport, data);
        }
        if self.buffer.is_empty() {
            let used = self.consume(transport, data);
            self.buffer.extend_from_slice(data.get(used..).unwrap_or_default());
        } else {
            let mut input = std::mem::take(&mut self.buffer);
            input.extend_from_slice(data);
            let used = self.consume(transport, &input);
            if used < input.len() {
                input.drain(..used);
                self.buffer = input;
            }
        }
        self.settle(transport);
    }

    fn read_connection_lost(&mut self, transport: &mut Transport<'_>) {
        if let Some(protocol) = &mut self.upgraded {
            return protocol.read_connection_lost(transport);
        }
        self.state.eof = true;
        match &self.current {
            None => self.end(transport, false),
            Some(exchange) if exchange.reads_at_all() => {
                if let Some(current) = self.current.take() {
                    self.stop_exchange(transport, *current);
                }
                self.end(transport, false);
            }
            Some(exchange) if exchange.continues_after_eof() => {}
            Some(_) => {
                if let Some(current) = self.current.take() {
                    self.stop_exchange(transport, *current);
                }
                self.end(transport, false);
            }
        }
    }

    fn write_connection_lost(&mut self, transport: &mut Transport<'_>) {
        if let Some(protocol) = &mut self.upgraded {
            protocol.write_connection_lost(transport);
        }
    }

    fn pause_writing(&mut self, transport: &mut Transport<'_>) {
        if let Some(protocol) = &mut self.upgraded {
            return protocol.pause_writing(transport);
        }
        self.state.writing_paused = true;
        self.watch_output(transport);
    }

    fn resume_writing(&mut self, transport: &mut Transport<'_>) {
        if let Some(protocol) = &mut self.upgraded {
            return protocol.resume_writing(transport);
        }
        self.state.writing_paused = false;
        self.output_progressed(transport);
        self.pump(transport);
        self.settle(transport);
    }

    fn drain(&mut self, transport: &mut Transport<'_>) {
        if let Some(protocol) = &mut self.upgraded {
            return protocol.drain(transport);
        }
        self.state.draining = true;
        match &self.current {
            Some(exchange) if exchange.continues_after_eof() => {}
            // An endless response.
            Some(_) => {
                if let Some(current) = self.current.take() {
                    self.stop_exchange(transport, *current);
                }
                self.end(transport, false);
            }
            None if self.state.head_begun || self.state.input_waits => {}
            None => self.drain_idle(transport),
        }
    }

    fn layers_ready(&mut self, transport: &mut Transport<'_>) {
        if let Some(protocol) = &mut self.upgraded {
            protocol.layers_ready(transport);
        }
    }

    fn connection_lost(&mut self, transport: &mut Transport<'_>, reason: &Reason) {
        self.core.table.borrow_mut().remove(self.place);
        if let Some((timer, _)) = self.timer.take() {
            // Fails if it has expired.
            let _ = timer.cancel(transport.reactor());
        }
        if let Some(current) = self.current.take() {
            self.stop_exchange(transport, *current);
        }
        if let Some(protocol) = &mut self.upgraded {
            protocol.connection_lost(transport, reason);
        }
    }

    fn downcast_inner(&mut self, want: TypeId) -> Option<&mut dyn Any> {
        let upgraded = self.upgraded.as_mut()?;
        let inner: &mut dyn Protocol = &mut **upgraded;
        if (*inner).type_id() == want {
            let inner: &mut dyn Any = inner;
            return Some(inner);
        }
        inner.downcast_inner(want)
    }
}

const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

const LOG_TARGET: &str = "twistor::http::server";
