//! Settings of a client.

use super::proxy::Proxies;
use crate::http::Limits;
#[cfg(feature = "tls-no-provider")]
use crate::tls::TlsConnector;
use std::time::Duration;

/// Settings of a [`Client`](super::Client).
///
/// ```
/// use std::time::Duration;
/// use twistor::http::{Client, ClientSettings, Timeouts};
///
/// let timeouts = Timeouts { total: Some(Duration::from_secs(5)), ..Timeouts::default() };
/// let client = Client::new(ClientSettings { timeouts, max_redirects: 0, ..ClientSettings::default() });
/// # drop(client);
/// ```
#[derive(Clone, Debug)]
pub struct ClientSettings {
    /// Limits of responses.
    pub limits: Limits,
    /// Time limits of requests. A call can have others.
    pub timeouts: Timeouts,
    /// Maximum number of connections to one server, or through one proxy. Further requests wait
    /// in order. Default: 6 (browsers).
    pub max_per_host: usize,
    /// Maximum number of connections. An idle one gives way to a request to another server.
    /// Default: 256.
    pub max_connections: usize,
    /// Maximum number of requests that wait for a connection. Default: 10,000.
    pub max_waiting: usize,
    /// Time that a connection stays open without a request. A server's `Keep-Alive: timeout` is
    /// respected, less one second. Default: 60 s. (Servers close idle connections after 5 s (Node,
    /// Apache) to 75 s (nginx).)
    pub idle_timeout: Duration,
    /// Maximum number of redirects of a request; 0 returns the redirect itself. Default: 10 (Go,
    /// aiohttp).
    pub max_redirects: usize,
    /// Whether a redirect from `https` to `http` is followed. Default: `false`.
    pub allow_downgrade: bool,
    /// Whether the client asks for compressed bodies and decompresses them. It does nothing for a
    /// request with an `Accept-Encoding` of its own. Default: `true`, with the feature
    /// `compression`.
    pub decompress: bool,
    /// Maximum ratio of a decompressed body to the bytes received, once it is longer than 1 MiB.
    /// [`Limits::body`] limits the decompressed body, so this only ends a bomb sooner. GeoJSON of
    /// many roads is compressed 10 to 30 times. Default: 100.
    pub max_expansion: u32,
    /// Whether cookies are kept and sent back, each to the host that has set it. Default: `false`.
    pub cookies: bool,
    /// Proxies by scheme. Default: none.
    pub proxies: Proxies,
    /// TLS of `https`. Default: certificates of the system's roots, loaded with the first request
    /// to an `https` URL.
    #[cfg(feature = "tls-no-provider")]
    pub tls: Option<TlsConnector>,
}

impl Default for ClientSettings {
    fn default() -> ClientSettings {
        ClientSettings {
            limits: Limits::default(),
            timeouts: Timeouts::default(),
            max_per_host: 6,
            max_connections: 256,
            max_waiting: 10_000,
            idle_timeout: Duration::from_secs(60),
            max_redirects: 10,
            allow_downgrade: false,
            decompress: true,
            max_expansion: 100,
            cookies: false,
            proxies: Proxies::default(),
            #[cfg(feature = "tls-no-provider")]
            tls: None,
        }
    }
}

/// Time limits of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// From the start to the end of the response, redirects included. Of a streamed response, to
    /// its head. Default: 60 s.
    pub total: Option<Duration>,
    /// For a connection: its wait in the pool, look-up, connecting and handshakes. Default: 10 s.
    pub connect: Duration,
    /// Without progress in sending, and then for the first byte of the response. Default: 30 s.
    pub first_byte: Duration,
    /// Between two pieces of the response. Default: 30 s.
    pub idle: Duration,
}

impl Default for Timeouts {
    fn default() -> Timeouts {
        Timeouts {
            total: Some(Duration::from_secs(60)),
            connect: Duration::from_secs(10),
            first_byte: Duration::from_secs(30),
            idle: Duration::from_secs(30),
        }
    }
}
