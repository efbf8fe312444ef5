//! A client that reuses connections.
//!
//! A connection carries one GET at a time. If the server closes a reused connection before it
//! answers, the client retries once on a new connection. The server may not have received the
//! request, and a GET can be repeated (RFC 9112, 9.3.1).

use super::connection::{Attempt, Connection};
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

/// An HTTP client with a pool of idle connections. Clones share the pool.
#[derive(Clone)]
pub struct Client {
    pool: Rc<RefCell<Pool>>,
}

struct Pool {
    limits: Limits,
    /// Endpoint of all connections, instead of the URLs' hosts.
    via: Option<Rc<dyn ClientEndpoint>>,
    idle: Vec<(Origin, ConnectionId)>,
}

/// Host and port. A connection can be reused for requests to the same origin.
pub(super) type Origin = Rc<(String, u16)>;

/// A response and details of its request.
#[derive(Clone, Debug)]
pub struct FetchResult {
    /// The response, with any status.
    pub response: Response,
    /// Time from the request to the last byte of the response, including connecting if a new
    /// connection was needed.
    pub latency: Duration,
    /// Whether the connection was reused.
    pub reused: bool,
}

/// Failure of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum FetchError {
    /// The connection failed.
    Connect(Reason),
    /// The request exceeded this timeout in the given stage.
    TimedOut(Duration, FetchStage),
    /// The connection ended before the first byte of the response.
    Closed(Reason),
    /// The connection ended within the response.
    Lost(Reason),
    /// The response is malformed, too large or truncated.
    Http(HttpError),
}

/// Progress of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FetchStage {
    /// Resolving the host name.
    LookingUp,
    /// Connecting.
    Connecting,
    /// Sending the request and waiting for the first byte of the response.
    Waiting,
    /// Receiving the response.
    Reading,
}

/// A request in flight.
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
    /// Creates a client with an empty pool and these limits for responses.
    pub fn new(limits: Limits) -> Client {
        Client { pool: Rc::new(RefCell::new(Pool { limits, via: None, idle: Vec::new() })) }
    }

    /// Makes this client and its clones connect to one endpoint for all URLs, such as a service on
    /// a UNIX socket. Requests still contain the URL's host. (Twisted:
    /// `Agent.usingEndpointFactory`.)
    ///
    /// ```
    /// use twistor::ConnectUnix;
    /// use twistor::http::{Client, Limits};
    ///
    /// let client = Client::new(Limits::default()).via(ConnectUnix::at("/run/service.sock")?);
    /// # drop(client);
    /// # Ok::<(), twistor::Error>(())
    /// ```
    pub fn via(self, endpoint: impl ClientEndpoint) -> Client {
        self.pool.borrow_mut().via = Some(Rc::new(endpoint));
        self
    }

    /// Sends `request`, which was made from `url`. Calls `done` once with the result, after at most
    /// `timeout`, and never before this function returns.
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
        let timed_out = Rc::clone(&exchange);
        let deadline = reactor.call_later(timeout, move |reactor| time_out(reactor, &timed_out));
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
        let attempt = Attempt::new(self.clone(), Rc::clone(origin), Rc::clone(&exchange));
        let via = self.pool.borrow().via.clone();
        let connector = match via {
            Some(endpoint) => endpoint.connect(reactor, Box::new(attempt)),
            None => reactor.connect_tcp(options, attempt),
        };
        match connector {
            Ok(connector) => exchange.borrow_mut().connector = Some(connector),
            // The address was checked when the URL was parsed, so the reactor is stopping.
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

    /// Takes the most recently used connection, which is the least likely to have been closed.
    fn take_idle(&self, origin: &Origin) -> Option<ConnectionId> {
        let idle = &mut self.pool.borrow_mut().idle;
        let at = idle.iter().rposition(|(known, _)| known == origin)?;
        Some(idle.remove(at).1)
    }
}

/// Passes the result to the caller in a later callback, unless this was done already.
pub(super) fn complete(reactor: &mut Reactor, exchange: &Pending, result: Result<Response, FetchError>) {
    let mut exchange = exchange.borrow_mut();
    let Some(done) = exchange.done.take() else {
        return;
    };
    if let Some(deadline) = exchange.deadline.take() {
        // Fails if the timer is the one that has just expired.
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
    /// Returns whether the failure says nothing about the server, because its cause is on this
    /// machine: see [`Reason::is_local`]. A lookup that timed out counts as local.
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

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let pool = self.pool.borrow();
        f.debug_struct("Client")
            .field("limits", &pool.limits)
            .field("via", &pool.via.as_ref().map(|endpoint| endpoint.describe()))
            .field("idle", &pool.idle.len())
            .finish()
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
                write!(f, "connected, but no answer within {limit:?}")
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
