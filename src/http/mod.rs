//! HTTP/1.1: a client with a pool of connections, and its parts without I/O.
//!
//! [`Client`] makes requests over a [`Reactor`](crate::Reactor): connections that are kept, TLS,
//! redirects, proxies, compression, cookies, time limits. Its parts are bytes in and values out:
//! [`Request`] encodes, [`ResponseParser`] and [`ResponseReader`] parse strictly, at any cut of the
//! input.
//!
//! ```
//! use twistor::http::{Limits, Request, ResponseReader, Url};
//!
//! let url: Url = "http://127.0.0.1:8080/feed.json".parse()?;
//! let request = Request::get(&url).header("Accept", "application/json")?.encode();
//! assert!(request.starts_with(b"GET /feed.json HTTP/1.1\r\nHost: 127.0.0.1:8080\r\n"));
//!
//! let mut reader = ResponseReader::new(Limits::default());
//! let mut bytes: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}";
//! let response = reader.feed(&mut bytes)?.expect("the bytes hold a whole response");
//! assert_eq!((response.status, response.body.as_slice()), (200, &b"{}"[..]));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # What the client does
//!
//! | | |
//! |---|---|
//! | connections | reused, the most recent first; at most 6 per server and 256 in all; further requests wait in order |
//! | idle connections | closed after 60 s, or one second before the server's `Keep-Alive: timeout` |
//! | retries | once, on a new connection, of an idempotent request without a streamed body, if a reused connection ended before the first byte |
//! | redirects | at most 10; 303 and, after POST, 301 and 302 become GET; credentials are dropped across origins; `https` to `http` is refused |
//! | `https` | needs the feature `tls`; certificates of the system's roots by default |
//! | the end of a body | a length or the last chunk; a body that ends with the connection needs TLS's `close_notify` |
//! | compression | gzip, deflate and brotli, with the feature `compression`; limits on size and expansion |
//! | proxies | whole URLs for `http`, tunnels for `https`; [`Proxies::from_environment`] |
//! | cookies | off by default; host-only |
//!
//! All of it is in [`ClientSettings`], and the limits of a response are in [`Limits`].
//!
//! # HTTP/1.1 only
//!
//! HTTP/2 and HTTP/3 are not supported, by decision: feeds and probes are one request at a time,
//! for which they save nothing, and their state machines are several times the size of this module.
//! Every public server speaks HTTP/1.1.
//!
//! Reading order: [`Client`] with [`Call`] and [`FetchResult`], [`ClientSettings`], [`StreamEvent`]
//! and [`StreamedResponse`]; [`Url`], [`Request`], [`Body`]; [`ResponseParser`] with [`Limits`] and
//! [`HttpError`].

mod base64;
mod body;
mod chunked;
mod client;
mod coding;
mod cookies;
mod error;
mod event_stream;
mod head;
mod headers;
mod json_lines;
mod limits;
mod lines;
mod method;
mod request;
mod response;
mod response_parser;
pub mod server;
mod text;
mod url;

#[cfg(test)]
mod tests;

pub use body::{Body, BodyError, BodySender};
pub use client::{
    BodyLines, Call, Client, ClientSettings, FetchError, FetchFuture, FetchResult, FetchStage, Proxies,
    Proxy, ProxyError, RequestHandle, ServerEvents, StreamEnd, StreamEvent, StreamedResponse, Timeouts,
    Timings,
};
pub use error::HttpError;
pub use event_stream::{EventStreamDecoder, ServerEvent};
pub use head::ResponseHead;
pub use headers::Headers;
pub use json_lines::JsonLines;
pub use limits::Limits;
pub use method::Method;
pub use request::{Request, RequestError};
pub use response::{Response, ResponseReader};
pub use response_parser::{ResponseEvent, ResponseParser};
pub use text::TextError;
pub use url::{Url, UrlError};
