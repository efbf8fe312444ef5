//! Requests, as a handler sees them.

use std::borrow::Cow;

use super::channel::ExchangeId;
use super::handler::Responder;
use super::head::Head;
use super::path::{Parameters, decode};
use crate::{Address, ConnectionId, Reactor, Transport};

/// A request: its head, and its body if the route waits for that.
pub struct Request<'a> {
    pub(super) head: &'a Head<'a>,
    pub(super) parameters: &'a Parameters<'a>,
    pub(super) body: &'a [u8],
    pub(super) exchange: ExchangeId,
    pub(super) transport: Transport<'a>,
}

impl Request<'_> {
    /// The method, such as `GET`. A route for `GET` sees `HEAD` here as well; the body of its
    /// response is not sent.
    pub fn method(&self) -> &str {
        self.head.method
    }

    /// The path and the query, as they were sent.
    pub fn target(&self) -> &str {
        self.head.target
    }

    /// The path, as it was sent: percent-encoded, and never empty.
    pub fn path(&self) -> &str {
        self.head.target.split('?').next().unwrap_or_default()
    }

    /// The part after the question mark, as it was sent.
    pub fn query(&self) -> Option<&str> {
        self.head.target.split_once('?').map(|(_, query)| query)
    }

    /// The decoded names and values of the query, in its form of HTML forms. A pair that cannot be
    /// decoded is left out.
    pub fn query_pairs(&self) -> impl Iterator<Item = (Cow<'_, str>, Cow<'_, str>)> {
        let pairs = self.query().unwrap_or_default().split('&').filter(|pair| !pair.is_empty());
        pairs.filter_map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            Some((decode(name, true)?, decode(value, true)?))
        })
    }

    /// The first value of this name in the query.
    pub fn query_value(&self, name: &str) -> Option<Cow<'_, str>> {
        self.query_pairs().find(|(known, _)| known == name).map(|(_, value)| value)
    }

    /// The decoded value of a parameter of the route's pattern.
    pub fn parameter(&self, name: &str) -> Option<&str> {
        self.parameters.iter().find(|(known, _)| *known == name).map(|(_, value)| value.as_ref())
    }

    /// The first value of a header field, if it is UTF-8. Names are compared ignoring case.
    pub fn header(&self, name: &str) -> Option<&str> {
        std::str::from_utf8(self.head.field(name)?).ok()
    }

    /// All header fields in the order of the message.
    pub fn headers(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.head.fields.iter().map(|field| (field.name, field.value))
    }

    /// The whole body. Empty in a streamed route.
    pub fn body(&self) -> &[u8] {
        self.body
    }

    /// The minor version of HTTP: 0 or 1.
    pub fn minor_version(&self) -> u8 {
        self.head.minor
    }

    /// Whether the client asks for another protocol (`Connection: Upgrade`).
    pub fn wants_upgrade(&self) -> bool {
        self.head.upgrade
    }

    /// The client's address, or that of a PROXY header.
    pub fn peer(&self) -> &Address {
        self.transport.peer()
    }

    /// The connection's id.
    pub fn connection(&self) -> ConnectionId {
        self.transport.id()
    }

    /// The value of type `T` that a layer has attached to the connection, such as information about
    /// TLS, or a PROXY header.
    pub fn extension<T: 'static>(&self) -> Option<&T> {
        self.transport.extension()
    }

    /// The reactor.
    pub fn reactor(&mut self) -> &mut Reactor {
        self.transport.reactor()
    }

    /// A handle that answers this request later. The handler returns
    /// [`Reply::Later`](super::Reply::Later) then.
    pub fn responder(&mut self) -> Responder {
        let handle = self.transport.reactor().handle();
        Responder::new(self.transport.id(), self.exchange, handle)
    }
}
