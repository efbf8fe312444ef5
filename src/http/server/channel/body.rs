//! The body of a request as it comes in.

use super::exchange::{Incoming, Outgoing};
use super::{Channel, ExchangeId, Head, Reply, Request, Stage, handle, slots};
use crate::http::server::handler::{BodyHandle, BodyReceiver, Responder};
use crate::http::server::path::Parameters;
use crate::http::server::route::Found;
use crate::{Reactor, Transport};

/// The body of a request, as its receiver sees it.
pub struct RequestBody<'a> {
    transport: Transport<'a>,
    exchange: ExchangeId,
    paused: bool,
}

impl RequestBody<'_> {
    /// Stops reading until [`BodyHandle::resume`]. The client can send as much as the kernel
    /// buffers. The time in which reading is paused does not count for the client's limits. No
    /// piece follows, except for the rest of the one that is being delivered.
    pub fn pause(&mut self) {
        self.paused = true;
    }

    /// A handle that resumes reading.
    pub fn handle(&self) -> BodyHandle {
        BodyHandle { connection: self.transport.id(), exchange: self.exchange }
    }

    /// A handle that answers the request, now or later.
    pub fn responder(&mut self) -> Responder {
        let handle = self.transport.reactor().handle();
        Responder::new(self.transport.id(), self.exchange, handle)
    }

    /// The reactor.
    pub fn reactor(&mut self) -> &mut Reactor {
        self.transport.reactor()
    }
}

impl Channel {
    /// Takes bytes of the body of the current request. Returns their number.
    pub(super) fn body_received(&mut self, transport: &mut Transport<'_>, data: &[u8]) -> usize {
        let core = self.core();
        let now = transport.now();
        let mut rest = data;
        let Some(current) = &mut self.current else { return data.len() };
        let (result, complete) = match &mut current.incoming {
            Incoming::Collecting { pending, body, .. } => {
                let result = pending.take(&core.limits, &mut rest, body, now);
                (result, pending.is_complete())
            }
            Incoming::Streaming { pending, receiver, paused } => {
                let mut piece = Vec::new();
                let result = pending.take(&core.limits, &mut rest, &mut piece, now);
                let complete = pending.is_complete();
                if let Some(mut receiver) = receiver.take_if(|_| !piece.is_empty()) {
                    let mut body = RequestBody {
                        transport: transport.reborrow(),
                        exchange: self.exchange,
                        paused: false,
                    };
                    receiver.data_received(&mut body, &piece);
                    *paused |= body.paused && !complete;
                    if let Some(Incoming::Streaming { receiver: place, .. }) =
                        self.current.as_mut().map(|current| &mut current.incoming)
                    {
                        *place = Some(receiver);
                    }
                }
                (result, complete)
            }
            Incoming::Done => return 0,
        };
        if let Err(refusal) = result {
            let meta = self.current.as_mut().map(|current| current.meta.take());
            self.refuse(transport, refusal, meta);
            return data.len();
        }
        match complete {
            true => self.body_complete(transport),
            false => self.expect_body(transport),
        }
        data.len() - rest.len()
    }

    /// Restarts the time limits of the body.
    pub(super) fn expect_body(&mut self, transport: &mut Transport<'_>) {
        let Some(current) = &self.current else { return };
        let deadline = match &current.incoming {
            Incoming::Collecting { pending, .. } | Incoming::Streaming { pending, paused: false, .. } => {
                pending.deadline(&self.core.limits)
            }
            Incoming::Streaming { .. } => return self.clear_deadline(),
            Incoming::Done => return,
        };
        let now = transport.now();
        self.core.table.borrow_mut().touch(self.place, Stage::Body, now);
        self.set_deadline(transport, deadline);
    }

    /// Ends the body: the handler or the receiver answers.
    pub(super) fn body_complete(&mut self, transport: &mut Transport<'_>) {
        let Some(current) = &mut self.current else { return };
        match std::mem::replace(&mut current.incoming, Incoming::Done) {
            Incoming::Collecting { head, handler, body, .. } => {
                let meta = current.meta.take();
                self.current = None;
                let mut slots = slots();
                // It was parsed before.
                let Ok(head) = Head::parse(&head, &mut slots) else { return self.end(transport, true) };
                let core = self.core();
                let path = head.target.split('?').next().unwrap_or_default();
                let parameters = match core.routes.find(head.method, path) {
                    Found::Target(_, parameters) => parameters,
                    _ => Parameters::new(),
                };
                let mut request = Request {
                    head: &head,
                    parameters: &parameters,
                    body: &body,
                    exchange: self.exchange,
                    transport: transport.reborrow(),
                };
                match handle(&handler, &mut request) {
                    Reply::Response(response) => self.start_response(transport, response, meta, true),
                    Reply::Later => self.wait_for_answer(transport, meta),
                }
            }
            Incoming::Streaming { receiver: Some(receiver), .. } => {
                self.receiver_finished(transport, receiver)
            }
            Incoming::Streaming { .. } | Incoming::Done => {}
        }
    }

    fn receiver_finished(&mut self, transport: &mut Transport<'_>, mut receiver: Box<dyn BodyReceiver>) {
        let mut body =
            RequestBody { transport: transport.reborrow(), exchange: self.exchange, paused: false };
        let reply = receiver.finished(&mut body);
        drop(receiver);
        let Some(current) = &mut self.current else { return };
        match (&current.outgoing, reply) {
            (Outgoing::Waiting, Reply::Response(response)) => {
                let meta = current.meta.take();
                self.current = None;
                self.start_response(transport, response, meta, true);
            }
            (Outgoing::Waiting, Reply::Later) => self.expect_answer(transport),
            // The response is being sent.
            (Outgoing::Sending { .. }, _) => self.clear_deadline(),
            (Outgoing::Done, _) => {
                let meta = current.meta.take();
                self.current = None;
                self.exchange_complete(transport, meta.keep_alive);
            }
        }
    }
}
