//! The response as it goes out.

use super::exchange::{Exchange, Incoming, Meta, Outgoing};
use super::{Channel, ExchangeId, Stage};
use crate::http::server::gzip;
use crate::http::server::handler::{BodyHandle, BodyProducer};
use crate::http::server::response::{Body, Response, has_no_body, reason};
use crate::http::server::site::DATE_LENGTH;
use crate::{Reactor, Transport};

/// The body of a response, as its producer sees it.
pub struct ResponseBody<'a> {
    transport: Transport<'a>,
    framer: &'a mut Framer,
    exchange: ExchangeId,
    end: Option<End>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Finished,
    Failed,
}

/// The framing of a body that is being sent.
pub(super) struct Framer {
    form: Form,
    pub(super) status: u16,
    /// Bytes of the body, without framing.
    pub(super) sent: u64,
}

enum Form {
    /// The number of bytes that are missing.
    Length(u64),
    Chunked,
    UntilClose,
}

impl ResponseBody<'_> {
    /// Writes bytes of the body. An empty piece does nothing.
    pub fn write(&mut self, data: impl AsRef<[u8]>) {
        if self.end.is_none() {
            self.framer.write(&mut self.transport, data.as_ref());
        }
    }

    /// Ends the body after what was written.
    pub fn finish(&mut self) {
        self.end.get_or_insert(End::Finished);
    }

    /// Ends the body in the middle: the connection is aborted, so that the client does not take the
    /// part for the whole.
    pub fn fail(&mut self) {
        self.end = Some(End::Failed);
    }

    /// Whether output is above the high-water mark. The producer is called again when it is not.
    pub fn is_full(&self) -> bool {
        self.transport.writing_paused()
    }

    /// A handle that has the producer called again.
    pub fn handle(&self) -> BodyHandle {
        BodyHandle { connection: self.transport.id(), exchange: self.exchange }
    }

    /// The reactor.
    pub fn reactor(&mut self) -> &mut Reactor {
        self.transport.reactor()
    }
}

impl Framer {
    fn write(&mut self, transport: &mut Transport<'_>, data: &[u8]) {
        if data.is_empty() {
            return;
        }
        match &mut self.form {
            Form::Length(missing) => {
                let length = usize::try_from(*missing).map_or(data.len(), |missing| missing.min(data.len()));
                transport.write(data.get(..length).unwrap_or_default());
                *missing -= length as u64;
                self.sent += length as u64;
                return;
            }
            Form::Chunked => {
                let mut size = Vec::with_capacity(20);
                push_hex(&mut size, data.len());
                size.extend_from_slice(b"\r\n");
                transport.write_sequence(&[&size, data, b"\r\n"]);
            }
            Form::UntilClose => transport.write(data),
        }
        self.sent += data.len() as u64;
    }

    fn is_complete(&self) -> bool {
        matches!(self.form, Form::Length(0))
    }
}

impl Channel {
    /// Sends the head of a response, and starts its body. `incoming_done`: the request is read, or
    /// not wanted any more.
    pub(super) fn start_response(
        &mut self,
        transport: &mut Transport<'_>,
        mut response: Response,
        mut meta: Meta,
        incoming_done: bool,
    ) {
        let core = self.core();
        meta.keep_alive &= !self.state.draining && !self.state.eof;
        if meta.gzip && response.compressible {
            gzip::compress(&mut response);
        }
        let Response { status, content_type, fields, body, .. } = response;
        let no_body = has_no_body(status);
        let form = match &body {
            Body::Bytes(bytes) => Form::Length(bytes.len() as u64),
            Body::Stream(Some(length), _) => Form::Length(*length),
            Body::Stream(None, _) if meta.minor == 1 || meta.head_only || no_body => Form::Chunked,
            Body::Stream(None, _) => {
                meta.keep_alive = false;
                Form::UntilClose
            }
            Body::Upgrade(_) => Form::Length(0),
        };
        let mut out = core.scratch.take();
        out.clear();
        push_status_line(&mut out, status);
        push_date(&mut out, &core.date(transport.reactor()));
        if !content_type.is_empty() {
            push_field(&mut out, b"Content-Type: ", content_type.as_bytes());
        }
        out.extend_from_slice(&fields);
        match &form {
            _ if no_body => {}
            Form::Length(length) => {
                out.extend_from_slice(b"Content-Length: ");
                push_decimal(&mut out, *length);
                out.extend_from_slice(b"\r\n");
            }
            Form::Chunked if meta.minor == 1 => out.extend_from_slice(b"Transfer-Encoding: chunked\r\n"),
            Form::Chunked | Form::UntilClose => {}
        }
        match (meta.keep_alive, meta.minor) {
            _ if matches!(body, Body::Upgrade(_)) => out.extend_from_slice(b"Connection: upgrade\r\n"),
            (true, 0) => out.extend_from_slice(b"Connection: keep-alive\r\n"),
            (true, _) => {}
            (false, _) => out.extend_from_slice(b"Connection: close\r\n"),
        }
        out.extend_from_slice(b"\r\n");
        let mut framer = Framer { form, status, sent: 0 };
        let with_body = !meta.head_only && !no_body;
        match body {
            Body::Bytes(bytes) => {
                if with_body {
                    framer.sent = bytes.len() as u64;
                }
                match with_body {
                    true if bytes.len() <= MAX_COPY => {
                        out.extend_from_slice(&bytes);
                        transport.write(&out);
                    }
                    true => transport.write_sequence(&[&out, &bytes]),
                    false => transport.write(&out),
                }
                core.scratch.set(out);
                self.response_written(transport, framer, meta, incoming_done);
            }
            Body::Stream(_, mut producer) => {
                transport.write(&out);
                core.scratch.set(out);
                if !with_body {
                    producer.stop_producing(transport.reactor());
                    drop(producer);
                    return self.response_written(transport, framer, meta, incoming_done);
                }
                self.start_producer(transport, producer, framer, meta, incoming_done);
            }
            Body::Upgrade(protocol) => {
                transport.write(&out);
                core.scratch.set(out);
                if let Some(line) = meta.log.take() {
                    line.log(status, 0);
                }
                self.current = None;
                self.clear_deadline();
                let now = transport.now();
                core.table.borrow_mut().touch(self.place, Stage::Response, now);
                let protocol = self.upgraded.insert(protocol);
                protocol.connection_made(transport);
                if !self.buffer.is_empty() {
                    transport.unread(&std::mem::take(&mut self.buffer));
                }
            }
        }
    }

    fn start_producer(
        &mut self,
        transport: &mut Transport<'_>,
        producer: Box<dyn BodyProducer>,
        framer: Framer,
        meta: Meta,
        incoming_done: bool,
    ) {
        let outgoing = Outgoing::Sending { producer: Some(producer), framer };
        match &mut self.current {
            Some(current) if !incoming_done => (current.outgoing, current.meta) = (outgoing, meta),
            _ => {
                self.current = Some(Box::new(Exchange { incoming: Incoming::Done, outgoing, meta }));
                self.clear_deadline();
                let now = transport.now();
                self.core.table.borrow_mut().touch(self.place, Stage::Response, now);
            }
        }
        self.pump(transport);
    }

    /// Handles a response that was written as a whole.
    fn response_written(
        &mut self,
        transport: &mut Transport<'_>,
        framer: Framer,
        mut meta: Meta,
        incoming_done: bool,
    ) {
        if let Some(line) = meta.log.take() {
            line.log(framer.status, framer.sent);
        }
        match &mut self.current {
            Some(current) if !incoming_done && current.reads_at_all() => {
                (current.outgoing, current.meta) = (Outgoing::Done, meta);
            }
            _ => {
                self.current = None;
                self.exchange_complete(transport, meta.keep_alive);
            }
        }
    }

    /// Calls the producer as long as it writes and there is room.
    pub(super) fn pump(&mut self, transport: &mut Transport<'_>) {
        while !self.state.closing && !transport.writing_paused() {
            let Some(current) = &mut self.current else { return };
            let Outgoing::Sending { producer: place, framer } = &mut current.outgoing else { return };
            // It is running.
            let Some(mut producer) = place.take() else { return };
            let before = framer.sent;
            let mut end = framer.is_complete().then_some(End::Finished);
            if end.is_none() {
                let mut body =
                    ResponseBody { transport: transport.reborrow(), framer, exchange: self.exchange, end };
                producer.resume_producing(&mut body);
                end = body.end;
                end = end.or_else(|| framer.is_complete().then_some(End::Finished));
            }
            let wrote = framer.sent > before;
            match end {
                None => {
                    *place = Some(producer);
                    if !wrote {
                        return;
                    }
                }
                Some(end) => {
                    drop(producer);
                    return self.producer_ended(transport, end);
                }
            }
        }
    }

    fn producer_ended(&mut self, transport: &mut Transport<'_>, end: End) {
        let Some(mut current) = self.current.take() else { return };
        let Outgoing::Sending { framer, .. } = &mut current.outgoing else { return };
        let complete = match framer.form {
            Form::Length(missing) => missing == 0,
            Form::Chunked => {
                if end == End::Finished {
                    transport.write(b"0\r\n\r\n");
                }
                true
            }
            Form::UntilClose => true,
        };
        if let Some(line) = current.meta.log.take() {
            line.log(framer.status, framer.sent);
        }
        if !complete || end == End::Failed {
            self.drop_incoming(transport, *current);
            return self.end(transport, true);
        }
        match current.reads_at_all() {
            true => {
                current.outgoing = Outgoing::Done;
                self.current = Some(current);
            }
            false => self.exchange_complete(transport, current.meta.keep_alive),
        }
    }

    /// Goes on to the next request, or closes the connection.
    pub(super) fn exchange_complete(&mut self, transport: &mut Transport<'_>, keep_alive: bool) {
        if !keep_alive || self.state.draining || self.state.eof {
            return self.end(transport, false);
        }
        let now = transport.now();
        self.core.table.borrow_mut().touch(self.place, Stage::Idle, now);
        self.set_deadline(transport, now + self.core.limits.keep_alive_timeout);
    }
}

fn push_status_line(out: &mut Vec<u8>, status: u16) {
    match status {
        200 => out.extend_from_slice(b"HTTP/1.1 200 OK\r\n"),
        status => {
            out.extend_from_slice(b"HTTP/1.1 ");
            push_decimal(out, status.into());
            out.push(b' ');
            out.extend_from_slice(reason(status).as_bytes());
            out.extend_from_slice(b"\r\n");
        }
    }
}

fn push_date(out: &mut Vec<u8>, date: &[u8; DATE_LENGTH]) {
    push_field(out, b"Date: ", date);
}

fn push_field(out: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    out.extend_from_slice(name);
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}

/// Writes a number. Faster than `write!`, and part of every response.
fn push_decimal(out: &mut Vec<u8>, mut number: u64) {
    let mut digits = [0; 20];
    let mut length = 0;
    for digit in digits.iter_mut().rev() {
        *digit = b'0' + (number % 10) as u8;
        number /= 10;
        length += 1;
        if number == 0 {
            break;
        }
    }
    out.extend_from_slice(digits.get(digits.len() - length..).unwrap_or_default());
}

fn push_hex(out: &mut Vec<u8>, number: usize) {
    use std::io::Write;
    // A vector takes everything.
    let _ = write!(out, "{number:x}");
}

/// Bodies up to this length are copied behind the head, and written with it.
const MAX_COPY: usize = 4096;
