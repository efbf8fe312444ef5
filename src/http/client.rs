//! A client that keeps connections open between requests.
//!
//! One GET at a time runs on a connection. One that was kept, and that the server closed before it
//! answered, is replaced by a new one without a word, once: the server may not have seen the
//! request, and a GET can be repeated (RFC 9112, 9.3.1).

use super::connection::{Connection, Dial};
use super::error::HttpError;
use super::limits::Limits;
use super::request::Request;
use super::response::Response;
use super::url::Url;
use crate::endpoint::ClientEndpoint;
use crate::{ConnectTcp, ConnectionId, ConnectorId, ConnectorState, DelayedCall, Instant, Reactor, Reason};
use std::cell::RefCell;
use std::fmt;
use std::rc::Rc;
use std::time::Duration;

/// An HTTP client with its pool of idle connections. A clone is another handle to the same pool.
#[derive(Clone)]
pub struct Client {
    pool: Rc<RefCell<Pool>>,
}

struct Pool {
    limits: Limits,
    /// Where all connections are made to, if not to the hosts of the URLs.
    via: Option<Rc<dyn ClientEndpoint>>,
    idle: Vec<(Origin, ConnectionId)>,
}

/// A host and a port: what a connection can be used again for.
pub(super) type Origin = Rc<(String, u16)>;

/// A response and how it came.
#[derive(Clone, Debug)]
pub struct FetchResult {
    /// The response, of whatever status.
    pub response: Response,
    /// From the request to the last byte of the response; connecting included when that was necessary.
    pub latency: Duration,
    /// Whether the connection had been used before.
    pub reused: bool,
}

/// Why there is no response.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum FetchError {
    /// The connection could not be made.
    Connect(Reason),
    /// It took longer than this.
    TimedOut(Duration, FetchStage),
    /// The connection ended before a byte of the response came.
    Closed(Reason),
    /// The connection broke in the middle of the response.
    Lost(Reason),
    /// The response is malformed, too large, or cut short.
    Http(HttpError),
}

/// How far a request has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FetchStage {
    /// The name of the host is being looked up.
    LookingUp,
    /// There is no connection yet.
    Connecting,
    /// The request is under way, and no byte of the response has come.
    Waiting,
    /// The response is coming.
    Reading,
}

/// A request under way.
pub(super) struct Exchange {
    pub(super) request: Vec<u8>,
    pub(super) stage: FetchStage,
    pub(super) reused: bool,
    pub(super) connection: Option<ConnectionId>,
    connector: Option<ConnectorId>,
    started: Instant,
    timeout: Duration,
    deadline: Option<DelayedCall>,
    done: Option<Done>,
}

type Done = Box<dyn FnOnce(&mut Reactor, Result<FetchResult, FetchError>)>;
pub(super) type Pending = Rc<RefCell<Exchange>>;

impl Client {
    /// A client with an empty pool, whose responses have these limits.
    pub fn new(limits: Limits) -> Client {
        Client { pool: Rc::new(RefCell::new(Pool { limits, via: None, idle: Vec::new() })) }
    }

    /// One that connects to this endpoint whatever the host of a URL is, which it still sends in its requests: for a
    /// service on a UNIX socket, say. (Twisted: `Agent.usingEndpointFactory`.)
    pub fn via(limits: Limits, endpoint: impl ClientEndpoint) -> Client {
        let via: Option<Rc<dyn ClientEndpoint>> = Some(Rc::new(endpoint));
        Client { pool: Rc::new(RefCell::new(Pool { limits, via, idle: Vec::new() })) }
    }

    /// Sends `request`, made from `url`, and calls `done` once with what came of it, at the latest
    /// after `timeout`, and never before this returns.
    pub fn fetch(
        &self,
        reactor: &mut Reactor,
        url: &Url,
        request: &Request,
        timeout: Duration,
        done: impl FnOnce(&mut Reactor, Result<FetchResult, FetchError>) + 'static,
    ) {
        let exchange = Rc::new(RefCell::new(Exchange {
            request: request.encode(),
            stage: FetchStage::Connecting,
            reused: false,
            connection: None,
            connector: None,
            started: reactor.now(),
            timeout,
            deadline: None,
            done: Some(Box::new(done)),
        }));
        let late = Rc::clone(&exchange);
        let deadline = reactor.call_later(timeout, move |reactor| time_out(reactor, &late));
        exchange.borrow_mut().deadline = Some(deadline);
        let origin = Rc::new((url.host().to_owned(), url.port()));
        while let Some(idle) = self.take_idle(&origin) {
            let taken = reactor.with_protocol(idle, |connection: &mut Connection, transport| {
                connection.reuse(transport, Rc::clone(&exchange));
            });
            if taken.is_some() {
                return;
            }
        }
        self.connect(reactor, &origin, exchange);
    }

    /// Closes the idle connections.
    pub fn close(&self, reactor: &mut Reactor) {
        let idle = std::mem::take(&mut self.pool.borrow_mut().idle);
        for (_, id) in idle {
            if let Some(mut transport) = reactor.transport(id) {
                transport.lose_connection();
            }
        }
    }

    pub(super) fn connect(&self, reactor: &mut Reactor, origin: &Origin, exchange: Pending) {
        let timeout = exchange.borrow().timeout;
        let options = ConnectTcp { timeout, ..ConnectTcp::new(origin.0.as_str(), origin.1) };
        let dial = Dial::new(self.clone(), Rc::clone(origin), Rc::clone(&exchange));
        let via = self.pool.borrow().via.clone();
        let connector = match via {
            Some(endpoint) => endpoint.connect(reactor, Box::new(dial)),
            None => reactor.connect_tcp(options, dial),
        };
        match connector {
            Ok(connector) => exchange.borrow_mut().connector = Some(connector),
            // The address was checked with the URL: the reactor stops.
            Err(_) => complete(reactor, &exchange, Err(FetchError::Connect(Reason::Stopped))),
        }
    }

    pub(super) fn limits(&self) -> Limits {
        self.pool.borrow().limits.clone()
    }

    pub(super) fn keep(&self, origin: &Origin, connection: ConnectionId) {
        self.pool.borrow_mut().idle.push((Rc::clone(origin), connection));
    }

    pub(super) fn forget(&self, connection: ConnectionId) {
        self.pool.borrow_mut().idle.retain(|(_, idle)| *idle != connection);
    }

    /// The one that was used last: it is the least likely to have been closed.
    fn take_idle(&self, origin: &Origin) -> Option<ConnectionId> {
        let idle = &mut self.pool.borrow_mut().idle;
        let at = idle.iter().rposition(|(known, _)| known == origin)?;
        Some(idle.remove(at).1)
    }
}

/// Hands the result over, unless that has been done; from the loop, on a fresh stack.
pub(super) fn complete(reactor: &mut Reactor, exchange: &Pending, result: Result<Response, FetchError>) {
    let mut exchange = exchange.borrow_mut();
    let Some(done) = exchange.done.take() else {
        return;
    };
    if let Some(deadline) = exchange.deadline.take() {
        // The one that is running now cannot be cancelled.
        let _ = deadline.cancel(reactor);
    }
    let (latency, reused) = (reactor.now() - exchange.started, exchange.reused);
    let result = result.map(|response| FetchResult { response, latency, reused });
    reactor.call_later(Duration::ZERO, move |reactor| done(reactor, result));
}

fn time_out(reactor: &mut Reactor, exchange: &Pending) {
    let (timeout, mut stage) = (exchange.borrow().timeout, exchange.borrow().stage);
    let (connector, connection) = (exchange.borrow().connector, exchange.borrow().connection);
    let state = connector.and_then(|id| reactor.connector(id)).map(|connector| connector.state());
    if stage == FetchStage::Connecting && state == Some(ConnectorState::Resolving) {
        stage = FetchStage::LookingUp;
    }
    complete(reactor, exchange, Err(FetchError::TimedOut(timeout, stage)));
    if let Some(mut transport) = connection.and_then(|id| reactor.transport(id)) {
        transport.abort_connection();
    } else if let Some(mut connector) = connector.and_then(|id| reactor.connector(id)) {
        connector.disconnect();
    }
}

impl FetchError {
    /// Whether it says nothing about the server, because this machine could not even ask it: as
    /// [`Reason::is_local`], and a look-up that took too long.
    pub fn is_local(&self) -> bool {
        match self {
            FetchError::Connect(reason) | FetchError::Closed(reason) | FetchError::Lost(reason) => {
                reason.is_local()
            }
            FetchError::TimedOut(_, stage) => *stage == FetchStage::LookingUp,
            FetchError::Http(_) => false,
        }
    }
}

impl fmt::Display for FetchError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FetchError::Connect(reason) => reason.fmt(f),
            FetchError::TimedOut(limit, FetchStage::LookingUp) => {
                write!(f, "the name was not looked up within {limit:?}")
            }
            FetchError::TimedOut(limit, FetchStage::Connecting) => {
                write!(f, "no connection within {limit:?}")
            }
            FetchError::TimedOut(limit, FetchStage::Waiting) => {
                write!(f, "connected, and no answer within {limit:?}")
            }
            FetchError::TimedOut(limit, FetchStage::Reading) => {
                write!(f, "the answer was not complete within {limit:?}")
            }
            FetchError::Closed(Reason::Done) => f.write_str("closed without an answer"),
            FetchError::Closed(reason) => write!(f, "no answer: {reason}"),
            FetchError::Lost(reason) => write!(f, "in the middle of the answer: {reason}"),
            FetchError::Http(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for FetchError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            FetchError::Connect(reason) | FetchError::Closed(reason) | FetchError::Lost(reason) => {
                reason.source()
            }
            FetchError::Http(error) => error.source(),
            FetchError::TimedOut(..) => None,
        }
    }
}
