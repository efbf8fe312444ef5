//! Handlers: what they return, and how they answer later.

use std::fmt;
use std::time::Duration;

use super::channel::{Channel, ExchangeId};
use super::request::Request;
use super::response::Response;
use crate::escape::Escaped;
use crate::{ConnectionId, Handle, Reactor};

pub use super::channel::{RequestBody, ResponseBody};

/// The answer of a handler.
///
/// A handler returns anything that converts to it: a [`Response`], or a `Result`. An error is
/// logged, and answered with 500.
#[derive(Debug)]
pub enum Reply {
    /// The response.
    Response(Response),
    /// The response follows by the request's [`Responder`].
    Later,
}

impl From<Response> for Reply {
    fn from(response: Response) -> Reply {
        Reply::Response(response)
    }
}

impl<R: Into<Reply>, E: fmt::Display> From<Result<R, E>> for Reply {
    fn from(result: Result<R, E>) -> Reply {
        match result {
            Ok(reply) => reply.into(),
            Err(error) => {
                log_error!("a handler of HTTP requests failed: {}", Escaped(&error));
                Reply::Response(Response::of_status(500))
            }
        }
    }
}

/// A handler of all methods of a path, with state. (Twisted: `Resource`.)
///
/// ```
/// use twistor::http::server::{Reply, Request, Resource, Response, Route, Site};
///
/// #[derive(Default)]
/// struct Counter(u64);
///
/// impl Resource for Counter {
///     fn handle(&mut self, request: &mut Request<'_>) -> Reply {
///         match request.method() {
///             "GET" | "HEAD" => Response::text(format!("{}\n", self.0)).into(),
///             "POST" => {
///                 self.0 += 1;
///                 Response::new(204).into()
///             }
///             _ => Response::of_status(405).header("Allow", "GET, HEAD, POST").into(),
///         }
///     }
/// }
///
/// let site = Site::new().route(Route::resource("/counter", Counter::default()));
/// # drop(site);
/// ```
pub trait Resource: 'static {
    /// Answers a request whose body is complete.
    fn handle(&mut self, request: &mut Request<'_>) -> Reply;
}

/// A receiver of the body of one request.
pub trait BodyReceiver: 'static {
    /// Called with each piece. [`RequestBody::pause`] stops the client within the buffers of the
    /// kernel.
    fn data_received(&mut self, body: &mut RequestBody<'_>, data: &[u8]);

    /// Called at the end of the body. If the request was answered before, the reply is ignored.
    fn finished(&mut self, body: &mut RequestBody<'_>) -> Reply;

    /// Called when the body does not become complete: the connection was lost, or the rest was
    /// refused.
    fn lost(&mut self, reactor: &mut Reactor) {
        let _ = reactor;
    }
}

/// A producer of the body of one response. (Twisted: a pull producer.)
pub trait BodyProducer: 'static {
    /// Called for the next piece, when there is room for it. It writes, or calls
    /// [`ResponseBody::finish`], or does neither: then it is called again after
    /// [`BodyHandle::resume`].
    fn resume_producing(&mut self, body: &mut ResponseBody<'_>);

    /// Called when the client needs no more: the connection is lost, or the request was `HEAD`.
    fn stop_producing(&mut self, reactor: &mut Reactor) {
        let _ = reactor;
    }

    /// Whether the response goes on when the client has ended its own half of the connection. An
    /// endless body ends then. Default: it goes on.
    fn continues_after_eof(&self) -> bool {
        true
    }
}

/// A handle on a body in progress, for code outside of its callbacks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BodyHandle {
    pub(super) connection: ConnectionId,
    pub(super) exchange: ExchangeId,
}

impl BodyHandle {
    /// Goes on: a producer that had nothing to write is called again, and a paused request body is
    /// read again. Does nothing when the exchange is over.
    pub fn resume(self, reactor: &mut Reactor) {
        let resumed = reactor.with_protocol(self.connection, |channel: &mut Channel, transport| {
            channel.resume(transport, self.exchange);
        });
        if resumed.is_none() && reactor.transport(self.connection).is_some_and(|open| !open.is_closing()) {
            // Inside one of the connection's own callbacks.
            reactor.call_later(Duration::ZERO, move |reactor| {
                reactor.with_protocol(self.connection, |channel: &mut Channel, transport| {
                    channel.resume(transport, self.exchange);
                });
            });
        }
    }
}

/// A handle that answers one request later, from [`Request::responder`].
///
/// If it is dropped without an answer, the request is answered with 500.
pub struct Responder {
    connection: ConnectionId,
    exchange: ExchangeId,
    handle: Option<Handle>,
}

impl Responder {
    pub(super) fn new(connection: ConnectionId, exchange: ExchangeId, handle: Handle) -> Responder {
        Responder { connection, exchange, handle: Some(handle) }
    }

    /// Answers the request. Does nothing if the connection is gone, or the time for the answer is
    /// over ([`SiteLimits::response_timeout`](super::SiteLimits::response_timeout)).
    pub fn respond(mut self, reactor: &mut Reactor, response: Response) {
        self.handle = None;
        respond(reactor, self.connection, self.exchange, response);
    }

    /// As [`respond`](Responder::respond), on the reactor of the running task.
    pub(super) fn respond_from_task(mut self, response: Response) {
        let Some(handle) = self.handle.take() else { return };
        let (connection, exchange) = (self.connection, self.exchange);
        // Fails after the reactor's end, when the connection is gone.
        let _ = handle.with_reactor(|reactor| respond(reactor, connection, exchange, response));
    }
}

impl Drop for Responder {
    fn drop(&mut self) {
        let Some(handle) = self.handle.take() else { return };
        let (connection, exchange) = (self.connection, self.exchange);
        // Not on this stack: a callback may be running that has the reactor.
        handle.call(move |reactor| respond(reactor, connection, exchange, Response::of_status(500)));
    }
}

impl fmt::Debug for Responder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Responder")
            .field("connection", &self.connection)
            .field("exchange", &self.exchange)
            .finish_non_exhaustive()
    }
}

/// Answers a request, or does so in the next turn if a callback of the connection is running.
fn respond(reactor: &mut Reactor, connection: ConnectionId, exchange: ExchangeId, response: Response) {
    let mut response = Some(response);
    reactor.with_protocol(connection, |channel: &mut Channel, transport| {
        if let Some(response) = response.take() {
            channel.answer(transport, exchange, response);
        }
    });
    let Some(response) = response else { return };
    if reactor.transport(connection).is_some_and(|open| !open.is_closing()) {
        reactor.call_later(Duration::ZERO, move |reactor| {
            reactor.with_protocol(connection, |channel: &mut Channel, transport| {
                channel.answer(transport, exchange, response);
            });
        });
    }
}
