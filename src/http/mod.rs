//! An HTTP/1.1 client: URLs, requests, and a strict incremental response parser.
//!
//! All of it is sans-I/O (bytes in, values out) except [`Client`], which keeps connections open
//! between requests on a [`Reactor`](crate::Reactor). `https://` is not supported yet, since it
//! needs the TLS layer.
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
//! Reading order: [`Url`], [`Request`], [`ResponseReader`] with [`Limits`] and
//! [`HttpError`], [`Client`].

mod chunked;
mod client;
mod connection;
mod error;
mod head;
mod headers;
mod limits;
mod lines;
mod request;
mod response;
pub mod server;
mod url;

#[cfg(test)]
mod tests;

pub use client::{Client, FetchError, FetchResult, FetchStage};
pub use error::HttpError;
pub use headers::Headers;
pub use limits::Limits;
pub use request::{Request, RequestError};
pub use response::{Response, ResponseReader};
pub use url::{Url, UrlError};
