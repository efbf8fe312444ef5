//! A connection of the client, which carries one request after another and is idle between them.

use super::client::{Client, FetchError, FetchStage, Origin, Pending, complete};
use super::response::{Response, ResponseReader};
use crate::{BuildContext, ClientFactory, Connector, DelayedCall, Factory, Protocol, Reason, Transport};
use std::rc::Rc;
use std::time::Duration;

/// Factory of the connection for a request.
pub(super) struct Attempt {
    client: Client,
    origin: Origin,
    exchange: Pending,
}

/// Protocol of a connection to a server.
pub(super) struct Connection {
    client: Client,
    origin: Origin,
    reader: ResponseReader,
    /// The request in flight; `None` while idle.
    exchange: Option<Pending>,
    /// Timer that closes an idle connection.
    idle: Option<DelayedCall>,
    /// The reactor stops: the connection is not kept after the response.
    draining: bool,
}

impl Attempt {
    pub(super) fn new(client: Client, origin: Origin, exchange: Pending) -> Attempt {
        Attempt { client, origin, exchange }
    }
}

impl Factory for Attempt {
    fn build_protocol(&mut self, _: &mut BuildContext<'_>) -> Option<Box<dyn Protocol>> {
        Some(Box::new(Connection {
            client: self.client.clone(),
            origin: Rc::clone(&self.origin),
            reader: ResponseReader::new(self.client.limits()),
            exchange: Some(Rc::clone(&self.exchange)),
            idle: None,
            draining: false,
        }))
    }
}

impl ClientFactory for Attempt {
    fn client_connection_failed(&mut self, connector: &mut Connector<'_>, reason: &Reason) {
        let error = match reason {
            Reason::TimedOut(limit) => FetchError::TimedOut(*limit, FetchStage::Connecting),
            Reason::LookupTimedOut { limit, .. } => FetchError::TimedOut(*limit, FetchStage::LookingUp),
            reason => FetchError::Connect(reason.clone()),
        };
        complete(connector.reactor(), &self.exchange, Err(error));
    }
}

impl Connection {
    /// Sends another request on this idle connection.
    pub(super) fn reuse(&mut self, transport: &mut Transport<'_>, exchange: Pending) {
        if let Some(idle) = self.idle.take() {
            // If the timer has just expired, its callback finds the exchange and does nothing.
            let _ = idle.cancel(transport.reactor());
        }
        exchange.borrow_mut().reused = true;
        self.exchange = Some(exchange);
        self.send(transport);
    }

    fn send(&mut self, transport: &mut Transport<'_>) {
        if let Some(exchange) = &self.exchange {
            let mut exchange = exchange.borrow_mut();
            exchange.stage = FetchStage::Waiting;
            exchange.connection = Some(transport.id());
            transport.write(&exchange.request);
        }
    }

    fn complete(&mut self, transport: &mut Transport<'_>, result: Result<Response, FetchError>) {
        if let Some(exchange) = self.exchange.take() {
            exchange.borrow_mut().connection = None;
            complete(transport.reactor(), &exchange, result);
        }
    }

    fn keep_idle(&mut self, transport: &mut Transport<'_>) {
        self.client.keep(&self.origin, transport.id());
        self.idle = Some(transport.call_later(IDLE_TIMEOUT, |this: &mut Connection, transport| {
            if this.exchange.is_none() {
                this.client.forget(transport.id());
                transport.lose_connection();
            }
        }));
    }
}

impl Protocol for Connection {
    fn connection_made(&mut self, transport: &mut Transport<'_>) {
        self.send(transport);
    }

    fn data_received(&mut self, transport: &mut Transport<'_>, mut data: &[u8]) {
        let Some(exchange) = &self.exchange else {
            // Unsolicited bytes, which must not be taken for the response to the next request.
            self.client.forget(transport.id());
            return transport.abort_connection();
        };
        exchange.borrow_mut().stage = FetchStage::Reading;
        match self.reader.feed(&mut data) {
            Ok(None) => {}
            Ok(Some(response)) => {
                match response.keep_alive && data.is_empty() && !self.draining {
                    true => self.keep_idle(transport),
                    false => transport.lose_connection(),
                }
                self.complete(transport, Ok(response));
            }
            Err(error) => {
                self.complete(transport, Err(FetchError::Http(error)));
                transport.abort_connection();
            }
        }
    }

    fn read_connection_lost(&mut self, transport: &mut Transport<'_>) {
        match self.reader.finish() {
            Ok(Some(response)) => self.complete(transport, Ok(response)),
            // `connection_lost` completes a request without a response.
            Ok(None) => {}
            Err(error) => self.complete(transport, Err(FetchError::Http(error))),
        }
        self.client.forget(transport.id());
        transport.lose_connection();
    }

    /// A request in flight is completed first.
    fn drain(&mut self, transport: &mut Transport<'_>) {
        self.draining = true;
        if self.exchange.is_none() {
            self.client.forget(transport.id());
            transport.lose_connection();
        }
    }

    fn connection_lost(&mut self, transport: &mut Transport<'_>, reason: &Reason) {
        self.client.forget(transport.id());
        let Some(exchange) = self.exchange.take() else {
            return;
        };
        let stale = exchange.borrow().reused && exchange.borrow().stage == FetchStage::Waiting;
        let stopped = matches!(reason, Reason::Stopped | Reason::Aborted);
        if stale && !stopped {
            let mut retried = exchange.borrow_mut();
            (retried.reused, retried.stage, retried.connection) = (false, FetchStage::Connecting, None);
            drop(retried);
            return self.client.connect(transport.reactor(), &self.origin, exchange);
        }
        let error = match exchange.borrow().stage {
            FetchStage::Reading => FetchError::Lost(reason.clone()),
            _ => FetchError::Closed(reason.clone()),
        };
        complete(transport.reactor(), &exchange, Err(error));
    }
}

/// Servers close idle connections after 5 s (Node, Apache) to 75 s (nginx). A feed is read every 10
/// s.
const IDLE_TIMEOUT: Duration = Duration::from_secs(60);
