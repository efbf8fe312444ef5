//! Results of requests, and their timings.

use crate::http::{Response, Url};
use std::ops::Deref;
use std::time::Duration;

/// A response and details of its request. It dereferences to the [`Response`].
#[derive(Clone, Debug)]
pub struct FetchResult {
    /// The response, with any status.
    pub response: Response,
    /// The URL that answered, after redirects.
    pub url: Url,
    /// URLs that redirected, in order. Empty without redirects.
    pub redirects: Vec<Url>,
    /// Time from the request to the last byte of the response, including connecting if a new
    /// connection was needed, and redirects.
    pub latency: Duration,
    /// Whether the connection was reused.
    pub reused: bool,
    /// Times of the last request, after redirects.
    pub timings: Timings,
}

impl Deref for FetchResult {
    type Target = Response;

    fn deref(&self) -> &Response {
        &self.response
    }
}

/// Times of the phases of a request. The phases of connecting are `None` on a reused connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Timings {
    /// Wait for a connection of the pool.
    pub queued: Duration,
    /// Look-up of the host name, and attempts to addresses that did not answer.
    pub resolve: Option<Duration>,
    /// Connecting to the address that answered; of a tunnel, to the proxy.
    pub connect: Option<Duration>,
    /// TLS handshake; of a tunnel, with the request for it.
    pub tls: Option<Duration>,
    /// From sending the request to the first byte of the response.
    pub first_byte: Duration,
    /// From the first byte to the last.
    pub transfer: Duration,
}
