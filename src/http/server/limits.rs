//! Limits of a site.

use std::time::Duration;

use crate::http::Limits;

/// Limits of the connections of a [`Site`](super::Site). A request that reaches a limit is
/// accepted; one that exceeds it is refused with the status that is named here.
///
/// ```
/// use std::time::Duration;
/// use twistor::http::server::{Site, SiteLimits};
///
/// let limits = SiteLimits { head_timeout: Duration::from_secs(5), ..SiteLimits::default() };
/// let site = Site::new().limits(limits);
/// # drop(site);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SiteLimits {
    /// Bytes of the request line and headers, including line ends: 431. Default: 16 KiB.
    pub max_head: usize,
    /// Bytes of a line of the head, without its line end: 414 for the request line, 431 for a
    /// header. Default: 8 KiB.
    pub max_line: usize,
    /// Number of header fields: 431. At most 256. Default: 100.
    pub max_headers: usize,
    /// Bytes of the body of a request, unless the [`Route`](super::Route) has its own limit: 413.
    /// Default: 1 MiB.
    pub max_body: usize,
    /// Bytes of a chunk-size line, without its line end: 400. Default: 256.
    pub max_chunk_line: usize,
    /// Bytes of all chunk extensions of a body: 400. Default: 16 KiB.
    pub max_chunk_extensions: usize,
    /// Bytes of the trailers, including line ends: 431. Default: 8 KiB.
    pub max_trailers: usize,
    /// Time from the first byte of a request to the end of its head, and from the start of a
    /// connection to the end of its first head: 408. A connection without any byte of a request is
    /// closed silently. Default: 10 s.
    pub head_timeout: Duration,
    /// Time without a byte of a body that is expected: 408. Default: 30 s.
    pub body_timeout: Duration,
    /// Lowest average rate of a body in bytes per second, after `body_timeout`: 408. Zero: no
    /// limit. Default: 500.
    pub min_body_rate: u64,
    /// Time for a handler that answers later: 503. Default: 60 s.
    pub response_timeout: Duration,
    /// Time in which the kernel takes nothing of a response, after which the connection is
    /// aborted. It is noticed up to one sixth later. Default: 30 s.
    pub send_timeout: Duration,
    /// Time between requests, after which the connection is closed. Default: 60 s.
    pub keep_alive_timeout: Duration,
    /// Requests on one connection. The last response closes it. Default: 1000.
    pub max_requests: u32,
    /// Age of a connection after which the next response closes it. Default: 1 h.
    pub max_age: Duration,
    /// Open connections. When another one comes, the connection without progress for the longest
    /// time gives way. The limit in effect is at most 15/16 of
    /// [`Settings::max_connections`](crate::Settings::max_connections), because the reactor closes
    /// newcomers above that. Default: 10,000.
    pub max_connections: usize,
    /// Time that a connection without a request gets for another one in a graceful stop, if it had
    /// one within the same time before. It is answered with `Connection: close`. Default: 1 s.
    pub drain_timeout: Duration,
}

impl Default for SiteLimits {
    fn default() -> SiteLimits {
        SiteLimits {
            max_head: 16 << 10,
            max_line: 8 << 10,
            max_headers: 100,
            max_body: 1 << 20,
            max_chunk_line: 256,
            max_chunk_extensions: 16 << 10,
            max_trailers: 8 << 10,
            head_timeout: Duration::from_secs(10),
            body_timeout: Duration::from_secs(30),
            min_body_rate: 500,
            response_timeout: Duration::from_secs(60),
            send_timeout: Duration::from_secs(30),
            keep_alive_timeout: Duration::from_secs(60),
            max_requests: 1000,
            max_age: Duration::from_secs(3600),
            max_connections: 10_000,
            drain_timeout: Duration::from_secs(1),
        }
    }
}

impl SiteLimits {
    /// The limits of a chunked body of at most this number of bytes.
    pub(super) fn of_chunks(&self, remaining: usize) -> Limits {
        Limits {
            line: self.max_line,
            headers: self.max_headers.min(MAX_HEADERS),
            chunk_line: self.max_chunk_line,
            chunk_extensions: self.max_chunk_extensions,
            trailers: self.max_trailers,
            body: remaining,
            ..Limits::default()
        }
    }
}

/// The number of parsed fields that are kept on the stack.
pub(super) const MAX_HEADERS: usize = 256;
