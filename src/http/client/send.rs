//! Sending a request: its head, and its body as the connection takes it.

use super::connection::Connection;
use super::exchange::{Exchange, Pending, enter};
use super::{FetchError, FetchStage};
use crate::http::body::{Body, Upload, UploadEnd};
use crate::http::head::Asked;
use crate::http::request::{Request, Target};
use crate::http::{Headers, Limits};
use crate::{ConnectionId, Handle, Transport};
use std::cell::RefCell;
use std::io::Write;
use std::rc::Rc;

/// The body that is being sent.
pub(super) enum Outgoing {
    /// Everything was sent.
    Done,
    /// The body is held back until the server agrees, or for the time of patience.
    Held(Body),
    Bytes {
        bytes: Rc<[u8]>,
        sent: usize,
    },
    Upload {
        upload: Rc<RefCell<Upload>>,
        chunked: bool,
    },
}

impl Outgoing {
    pub(super) fn is_done(&self) -> bool {
        matches!(self, Outgoing::Done)
    }

    fn of(body: &Body) -> Outgoing {
        match (body.as_bytes(), body.upload()) {
            (_, Some(upload)) => {
                Outgoing::Upload { upload: Rc::clone(upload), chunked: body.length().is_none() }
            }
            (Some(bytes), None) if !bytes.is_empty() => Outgoing::Bytes { bytes: Rc::clone(bytes), sent: 0 },
            _ => Outgoing::Done,
        }
    }
}

impl Connection {
    /// Sends the head of the request, and its body or the beginning of it.
    pub(super) fn send(&mut self, transport: &mut Transport<'_>, exchange: &Pending) {
        let now = transport.now();
        let client = self.slot.client.clone();
        let mut sending = exchange.borrow_mut();
        sending.marks.sent = Some(now);
        let settings = &client.shared.settings;
        let limits = match sending.sink.as_ref().is_some_and(|sink| sink.is_streamed()) {
            true => Limits { body: usize::MAX, ..settings.limits.clone() },
            false => settings.limits.clone(),
        };
        self.parser.set_limits(limits);
        self.parser.expect(sending.request.method());
        let mut bytes = std::mem::take(&mut client.shared.pool.borrow_mut().scratch);
        bytes.clear();
        self.encode_head(&sending, transport, &mut bytes);
        self.outgoing = Outgoing::of(sending.request.sent_body());
        if let (Outgoing::Bytes { bytes: body, sent }, None) =
            (&mut self.outgoing, sending.request.patience())
            && body.len() <= PIECE
        {
            bytes.extend_from_slice(body);
            *sent = body.len();
            self.outgoing = Outgoing::Done;
        }
        transport.write(&bytes);
        client.shared.pool.borrow_mut().scratch = bytes;
        let patience = sending.request.patience();
        if let Some(upload) = sending.request.sent_body().upload().cloned() {
            let (handle, id) = (transport.reactor().handle(), transport.id());
            let attached = upload.borrow_mut().attach(notify(handle, id));
            if !attached {
                drop(sending);
                return self.fail(transport, FetchError::BodyUnfinished);
            }
        }
        let body = sending.request.sent_body().clone();
        drop(sending);
        enter(transport.reactor(), exchange, FetchStage::Waiting);
        match patience {
            Some(patience) => {
                self.outgoing = Outgoing::Held(body);
                let count = self.requests;
                transport.call_later(patience, move |this: &mut Connection, transport| {
                    if this.requests == count {
                        this.release_body(transport);
                    }
                });
            }
            None => self.send_body(transport),
        }
    }

    fn encode_head(&self, exchange: &Exchange, transport: &mut Transport<'_>, bytes: &mut Vec<u8>) {
        let client = &self.slot.client;
        let settings = &client.shared.settings;
        let mut more = Headers::default();
        let mut target = Target::Origin;
        if let Some(proxy) = self.slot.route.proxy.as_ref().filter(|_| !self.slot.route.tunnel) {
            target = Target::Absolute;
            if let Some(credentials) = proxy.credentials() {
                more.push(b"Proxy-Authorization", credentials.as_bytes());
            }
        }
        let request: &Request = &exchange.request;
        if settings.cookies {
            let now = transport.reactor().system_time();
            let cookies = client.shared.cookies.borrow_mut().header(request.url(), now);
            if let Some(cookies) = cookies {
                more.push(b"Cookie", cookies.as_bytes());
            }
        }
        let codings = if settings.decompress { crate::http::coding::ACCEPTED } else { "identity" };
        request.encode_head(target, codings, &more, bytes);
    }

    /// Sends the body that was held back.
    pub(super) fn release_body(&mut self, transport: &mut Transport<'_>) {
        if let Outgoing::Held(body) = &self.outgoing {
            self.outgoing = Outgoing::of(body);
            self.send_body(transport);
        }
    }

    /// Sends what the connection takes now.
    pub(super) fn send_body(&mut self, transport: &mut Transport<'_>) {
        let Some(exchange) = self.exchange.clone() else {
            return;
        };
        let mut progress = false;
        while !transport.writing_paused() && !transport.is_closing() {
            match &mut self.outgoing {
                Outgoing::Done | Outgoing::Held(_) => break,
                Outgoing::Bytes { bytes, sent } => {
                    let rest = bytes.get(*sent..).unwrap_or_default();
                    let piece = rest.get(..PIECE).unwrap_or(rest);
                    *sent += piece.len();
                    let done = *sent == bytes.len();
                    transport.write(piece);
                    progress = true;
                    if done {
                        self.outgoing = Outgoing::Done;
                    }
                }
                Outgoing::Upload { upload, chunked } => {
                    let (upload, chunked) = (Rc::clone(upload), *chunked);
                    let piece = Upload::take(&upload);
                    let end = upload.borrow().end;
                    progress |= !piece.is_empty();
                    match chunked {
                        true if !piece.is_empty() => {
                            let mut size = Vec::with_capacity(20);
                            // Writing to a vector cannot fail.
                            let _ = write!(size, "{:x}\r\n", piece.len());
                            transport.write_sequence(&[&size, &piece, b"\r\n"]);
                        }
                        _ => transport.write(&piece),
                    }
                    if !upload.borrow().pending.is_empty() {
                        continue;
                    }
                    match end {
                        UploadEnd::Open => break,
                        UploadEnd::Finished => {
                            if chunked {
                                transport.write(b"0\r\n\r\n");
                            }
                            self.outgoing = Outgoing::Done;
                        }
                        UploadEnd::Dropped | UploadEnd::Closed => {
                            return self.fail(transport, FetchError::BodyUnfinished);
                        }
                    }
                }
            }
        }
        if progress && exchange.borrow().stage == FetchStage::Waiting {
            enter(transport.reactor(), &exchange, FetchStage::Waiting);
        }
    }

    /// Asks the proxy for a tunnel.
    pub(super) fn request_tunnel(&mut self, transport: &mut Transport<'_>) {
        let target = self.slot.route.origin.tunnel_target();
        let agent = crate::http::request::USER_AGENT;
        let mut bytes = format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\nUser-Agent: {agent}\r\n");
        if let Some(credentials) = self.slot.route.proxy.as_ref().and_then(|proxy| proxy.credentials()) {
            bytes.push_str(&format!("Proxy-Authorization: {credentials}\r\n"));
        }
        bytes.push_str("\r\n");
        self.parser.set_limits(self.slot.client.shared.settings.limits.clone());
        self.parser.expect_any(Asked::Connect);
        transport.write(&bytes);
    }
}

/// Makes the function by which a sender tells the connection of new bytes. It may be called from
/// anywhere, so it only queues the work.
fn notify(handle: Handle, id: ConnectionId) -> Rc<dyn Fn()> {
    Rc::new(move || {
        handle.call(move |reactor| {
            reactor
                .with_protocol(id, |connection: &mut Connection, transport| connection.send_body(transport));
        });
    })
}

/// Size of the pieces in which a body of bytes is written.
const PIECE: usize = 64 << 10;
