//! Receivers of a response: one that collects it, and one that passes each part on.

use super::{FetchError, FetchResult, Timings};
use crate::Reactor;
use crate::http::{Headers, Response, ResponseHead, Url};
use std::time::Duration;

/// A receiver of one response.
pub(super) trait Sink {
    /// Whether parts are passed on, so that the length of the body has no limit.
    fn is_streamed(&self) -> bool;
    fn head(&mut self, reactor: &mut Reactor, head: ResponseHead, url: &Url);
    fn piece(&mut self, reactor: &mut Reactor, piece: &[u8]);
    fn end(self: Box<Self>, reactor: &mut Reactor, result: Result<StreamEnd, FetchError>);
}

/// A part of a streamed response.
#[derive(Debug)]
pub enum StreamEvent<'a> {
    /// The head of the final response, after redirects.
    Head(ResponseHead),
    /// The next bytes of the body, decompressed; at least one.
    Piece(&'a [u8]),
    /// The end. It comes once and last; with an error it may come first.
    End(Result<StreamEnd, FetchError>),
}

/// The end of a response, and details of its request.
#[derive(Clone, Debug)]
pub struct StreamEnd {
    /// Trailer fields.
    pub trailers: Headers,
    /// The URL that answered, after redirects.
    pub url: Url,
    /// URLs that redirected, in order.
    pub redirects: Vec<Url>,
    /// Time from the request to the last byte.
    pub latency: Duration,
    /// Whether the connection was reused.
    pub reused: bool,
    /// Times of the last request, after redirects.
    pub timings: Timings,
}

impl StreamEnd {
    pub(super) fn new(url: Url, trailers: Headers) -> StreamEnd {
        StreamEnd {
            trailers,
            url,
            redirects: Vec::new(),
            latency: Duration::ZERO,
            reused: false,
            timings: Timings::default(),
        }
    }
}

/// Collects the whole response for a callback.
pub(super) struct Collect<F> {
    response: Option<Response>,
    done: F,
}

impl<F> Collect<F> {
    pub(super) fn new(done: F) -> Collect<F> {
        Collect { response: None, done }
    }
}

impl<F> Sink for Collect<F>
where
    F: FnOnce(&mut Reactor, Result<FetchResult, FetchError>) + 'static,
{
    fn is_streamed(&self) -> bool {
        false
    }

    fn head(&mut self, _: &mut Reactor, head: ResponseHead, _: &Url) {
        // Not more at once than a usual body: the peer's promise costs it nothing.
        let length = head.content_length().unwrap_or_default().min(MAX_RESERVED);
        let body = Vec::with_capacity(usize::try_from(length).unwrap_or_default());
        self.response = Some(Response::from_head(head, body));
    }

    fn piece(&mut self, _: &mut Reactor, piece: &[u8]) {
        if let Some(response) = &mut self.response {
            response.body.extend_from_slice(piece);
        }
    }

    fn end(self: Box<Self>, reactor: &mut Reactor, result: Result<StreamEnd, FetchError>) {
        let Collect { response, done } = *self;
        let result = match (result, response) {
            (Ok(end), Some(response)) => {
                let StreamEnd { trailers, url, redirects, latency, reused, timings } = end;
                let response = Response { trailers, ..response };
                Ok(FetchResult { response, url, redirects, latency, reused, timings })
            }
            (Err(error), _) => Err(error),
            // An end has a head before it.
            (Ok(_), None) => Err(FetchError::Http(crate::http::HttpError::ClosedInHead)),
        };
        done(reactor, result);
    }
}

/// Passes each part to a callback.
pub(super) struct Pass<F>(pub(super) F);

impl<F> Sink for Pass<F>
where
    F: FnMut(&mut Reactor, StreamEvent<'_>) + 'static,
{
    fn is_streamed(&self) -> bool {
        true
    }

    fn head(&mut self, reactor: &mut Reactor, head: ResponseHead, _: &Url) {
        (self.0)(reactor, StreamEvent::Head(head));
    }

    fn piece(&mut self, reactor: &mut Reactor, piece: &[u8]) {
        (self.0)(reactor, StreamEvent::Piece(piece));
    }

    fn end(mut self: Box<Self>, reactor: &mut Reactor, result: Result<StreamEnd, FetchError>) {
        (self.0)(reactor, StreamEvent::End(result));
    }
}

const MAX_RESERVED: u64 = 64 << 10;
