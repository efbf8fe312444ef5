//! One connection of the client: a request, its response, and then idleness until the next.

use super::client::{Client, FetchError, FetchStage, Origin, Pending, complete};
use super::response::{Response, ResponseReader};
use crate::{Address, ClientFactory, Connector, DelayedCall, Factory, Protocol, Reactor, Reason, Transport};
use std::rc::Rc;
use std::time::Duration;

/// Makes the connection for one request.
pub(super) struct Dial {
    client: Client,
    origin: Origin,
    exchange: Pending,
}

/// The protocol of a connection to a server.
pub(super) struct Connection {
    client: Client,
    origin: Origin,
    reader: ResponseReader,
    /// The request under way; none while idle.
    exchange: Option<Pending>,
    /// Closes the connection when it has been idle for too long.
    idle: Option<DelayedCall>,
}

impl Dial {
    pub(super) fn new(client: Client, origin: Origin, exchange: Pending) -> Dial {
        Dial { client, origin, exchange }
    }
}

impl Factory for Dial {
    fn build_protocol(&mut self, _: &mut Reactor, _: &Address) -> Option<Box<dyn Protocol>> {
        Some(Box::new(Connection {
            client: self.client.clone(),
            origin: Rc::clone(&self.origin),
            reader: ResponseReader::new(self.client.limits()),
            exchange: Some(Rc::clone(&self.exchange)),
            idle: None,
        }))
    }
}

impl ClientFactory for Dial {
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
    /// Sends another request on an idle connection.
    pub(super) fn reuse(&mut self, transport: &mut Transport<'_>, exchange: Pending) {
        if let Some(idle) = self.idle.take() {
            // One that has just been called finds the exchange, and does nothing.
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

    fn answer(&mut self, transport: &mut Transport<'_>, result: Result<Response, FetchError>) {
        if let Some(exchange) = self.exchange.take() {
            exchange.borrow_mut().connection = None;
            complete(transport.reactor(), &exchange, result);
        }
    }

    fn rest(&mut self, transport: &mut Transport<'_>) {
        self.client.keep(&self.origin, transport.id());
        self.idle = Some(transport.call_later(LONGEST_IDLE, |this: &mut Connection, transport| {
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
            // Bytes that nobody asked for: whatever they are, they are no answer to the next request.
            self.client.forget(transport.id());
            return transport.abort_connection();
        };
        exchange.borrow_mut().stage = FetchStage::Reading;
        match self.reader.feed(&mut data) {
            Ok(None) => {}
            Ok(Some(response)) => {
                match response.keep_alive && data.is_empty() {
                    true => self.rest(transport),
                    false => transport.lose_connection(),
                }
                self.answer(transport, Ok(response));
            }
            Err(error) => {
                self.answer(transport, Err(FetchError::Http(error)));
                transport.abort_connection();
            }
        }
    }

    fn read_connection_lost(&mut self, transport: &mut Transport<'_>) {
        match self.reader.finish() {
            Ok(Some(response)) => self.answer(transport, Ok(response)),
            // `connection_lost` sees to a request that has no answer.
            Ok(None) => {}
            Err(error) => self.answer(transport, Err(FetchError::Http(error))),
        }
        self.client.forget(transport.id());
        transport.lose_connection();
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

/// Servers close idle connections after 5 s (Node, Apache) to 75 s (nginx); a feed is read every 10 s.
const LONGEST_IDLE: Duration = Duration::from_secs(60);
