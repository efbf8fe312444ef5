//! Failures of requests.

use super::super::error::HttpError;
use super::super::request::RequestError;
use super::super::url::UrlError;
use crate::Reason;
use crate::escape::Escaped;
use std::fmt;
use std::time::Duration;

/// Failure of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum FetchError {
    /// The URL is malformed.
    Url(UrlError),
    /// The request is malformed.
    Request(RequestError),
    /// The connection failed; with `https`, also the handshake.
    Connect(Reason),
    /// The request exceeded this timeout in the given stage.
    TimedOut(Duration, FetchStage),
    /// The connection ended before the first byte of the response.
    Closed(Reason),
    /// The connection ended within the response.
    Lost(Reason),
    /// The response is malformed, too large or truncated.
    Http(HttpError),
    /// This many requests wait for a connection:
    /// [`max_waiting`](super::ClientSettings::max_waiting).
    QueueFull(usize),
    /// `https` needs one of the features `tls`, `tls-aws-lc-rs` and `tls-no-provider`.
    NoTls,
    /// TLS cannot be set up: no root certificates, or a host that cannot be in a certificate.
    Tls(String),
    /// There were more redirects than [`max_redirects`](super::ClientSettings::max_redirects).
    TooManyRedirects(usize),
    /// A redirect leads to a URL that is not supported.
    BadRedirect(String, UrlError),
    /// A redirect leads from `https` to `http`.
    Downgrade(String),
    /// The proxy refused the tunnel with this status.
    ProxyRefused(u16),
    /// The sender of the body was dropped before it had finished, or the body was sent before.
    BodyUnfinished,
    /// The compressed body is malformed or too large.
    Compression(String),
}

/// Progress of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FetchStage {
    /// Waiting for a connection of the pool.
    Queued,
    /// Resolving the host name.
    LookingUp,
    /// Connecting.
    Connecting,
    /// Handshakes: TLS, and the tunnel through a proxy.
    Securing,
    /// Sending the request and waiting for the first byte of the response.
    Waiting,
    /// Receiving the response.
    Reading,
}

impl FetchError {
    /// Returns whether the failure says nothing about the server, because its cause is on this
    /// machine: see [`Reason::is_local`]. A lookup that timed out counts as local.
    pub fn is_local(&self) -> bool {
        match self {
            FetchError::Connect(reason) | FetchError::Closed(reason) | FetchError::Lost(reason) => {
                reason.is_local()
            }
            FetchError::TimedOut(_, stage) => matches!(stage, FetchStage::LookingUp | FetchStage::Queued),
            FetchError::Url(_)
            | FetchError::Request(_)
            | FetchError::QueueFull(_)
            | FetchError::NoTls
            | FetchError::Tls(_)
            | FetchError::BodyUnfinished => true,
            FetchError::Http(_)
            | FetchError::TooManyRedirects(_)
            | FetchError::BadRedirect(..)
            | FetchError::Downgrade(_)
            | FetchError::ProxyRefused(_)
            | FetchError::Compression(_) => false,
        }
    }
}

impl fmt::Display for FetchError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FetchError::Url(error) => write!(f, "bad URL: {error}"),
            FetchError::Request(error) => error.fmt(f),
            FetchError::Connect(reason) => reason.fmt(f),
            FetchError::TimedOut(limit, FetchStage::Queued) => {
                write!(f, "all connections to the server were busy for {limit:?}")
            }
            FetchError::TimedOut(limit, FetchStage::LookingUp) => {
                write!(f, "the name was not looked up within {limit:?}")
            }
            FetchError::TimedOut(limit, FetchStage::Connecting) => {
                write!(f, "no connection within {limit:?}")
            }
            FetchError::TimedOut(limit, FetchStage::Securing) => {
                write!(f, "connected, but no handshake within {limit:?}")
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
            FetchError::QueueFull(limit) => write!(f, "{limit} requests wait for a connection already"),
            FetchError::NoTls => f.write_str("https:// needs twistor with the feature \"tls\""),
            FetchError::Tls(why) => write!(f, "TLS cannot be set up: {}", Escaped(why)),
            FetchError::TooManyRedirects(limit) => write!(f, "more than {limit} redirects"),
            FetchError::BadRedirect(location, error) => {
                write!(f, "redirected to \"{}\": {error}", Escaped(location))
            }
            FetchError::Downgrade(location) => {
                write!(f, "redirected from https to \"{}\", which is not encrypted", Escaped(location))
            }
            FetchError::ProxyRefused(status) => {
                write!(f, "the proxy refused the tunnel with status {status}")
            }
            FetchError::BodyUnfinished => f.write_str("the body of the request was not finished"),
            FetchError::Compression(why) => write!(f, "the compressed body is unreadable: {}", Escaped(why)),
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
            _ => None,
        }
    }
}
