//! Errors in responses.

use crate::escape::Escaped;
use std::fmt;

/// An invalid response. All of these are caused by the server, and end the connection.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum HttpError {
    /// The response does not begin with `HTTP/1.`, so the server speaks another protocol.
    NotHttp,
    /// The status line is not `HTTP/1.0` or `HTTP/1.1` followed by a status.
    StatusLine,
    /// The status is not between 100 and 599.
    Status(u16),
    /// `101 Switching Protocols`, without a request for an upgrade.
    Upgrade,
    /// A line ends in LF without CR.
    BareLineFeed,
    /// A CR is not followed by LF.
    BareCarriageReturn,
    /// A header line is not `name: value` (a space before the colon, a folded line, a control
    /// character).
    Header,
    /// The head is longer than [`Limits::head`](super::Limits::head) bytes.
    HeadTooLong(usize),
    /// A line of head or trailers is longer than [`Limits::line`](super::Limits::line) bytes.
    LineTooLong(usize),
    /// There are more than [`Limits::headers`](super::Limits::headers) fields.
    TooManyHeaders(usize),
    /// There are more than [`Limits::interim`](super::Limits::interim) responses with a 1xx status.
    TooManyInterim(usize),
    /// A `Content-Length` is not a decimal number.
    ContentLength(String),
    /// There are two different values of `Content-Length`.
    ContentLengthsDiffer(u64, u64),
    /// There are both `Content-Length` and `Transfer-Encoding` (RFC 9112, 6.1: an attack or a
    /// broken proxy).
    LengthAndEncoding,
    /// A `Transfer-Encoding` is not exactly `chunked`, or occurs with HTTP/1.0.
    TransferEncoding(String),
    /// A chunk size is not a hexadecimal number of at most 16 digits, or its extension is
    /// malformed.
    ChunkSize(String),
    /// A chunk-size line is longer than [`Limits::chunk_line`](super::Limits::chunk_line) bytes.
    ChunkLineTooLong(usize),
    /// There are more than [`Limits::chunk_extensions`](super::Limits::chunk_extensions) bytes of
    /// chunk extensions.
    ChunkExtensionsTooLong(usize),
    /// The data of a chunk is not followed by CR LF.
    ChunkEnd,
    /// The trailers are longer than [`Limits::trailers`](super::Limits::trailers) bytes.
    TrailersTooLong(usize),
    /// The body is longer than [`Limits::body`](super::Limits::body) bytes.
    BodyTooLong(usize),
    /// A line of an event stream or of NDJSON, or an event, is longer than this many bytes.
    StreamLineTooLong(usize),
    /// The connection ended within the head.
    ClosedInHead,
    /// The connection ended within the body.
    ClosedInBody {
        /// Number of body bytes received.
        received: u64,
        /// Value of `Content-Length`; `None` for a chunked body.
        expected: Option<u64>,
    },
}

impl fmt::Display for HttpError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            HttpError::NotHttp => f.write_str("the answer is not HTTP/1"),
            HttpError::StatusLine => f.write_str("malformed status line"),
            HttpError::Status(status) => write!(f, "invalid status {status}"),
            HttpError::Upgrade => f.write_str("unsolicited 101 Switching Protocols"),
            HttpError::BareLineFeed => f.write_str("a line ends in LF without CR"),
            HttpError::BareCarriageReturn => f.write_str("a CR without LF in a line"),
            HttpError::Header => f.write_str("malformed header line"),
            HttpError::HeadTooLong(limit) => write!(f, "the headers are longer than {limit} bytes"),
            HttpError::LineTooLong(limit) => {
                write!(f, "a header line is longer than {limit} bytes")
            }
            HttpError::TooManyHeaders(limit) => write!(f, "more than {limit} headers"),
            HttpError::TooManyInterim(limit) => write!(f, "more than {limit} interim responses"),
            HttpError::ContentLength(value) => {
                write!(f, "malformed Content-Length \"{}\"", Escaped(value))
            }
            HttpError::ContentLengthsDiffer(first, second) => {
                write!(f, "two values of Content-Length, {first} and {second}")
            }
            HttpError::LengthAndEncoding => f.write_str("both Content-Length and Transfer-Encoding"),
            HttpError::TransferEncoding(value) => {
                write!(f, "unsupported Transfer-Encoding \"{}\"", Escaped(value))
            }
            HttpError::ChunkSize(line) => {
                write!(f, "malformed chunk size \"{}\"", Escaped(line))
            }
            HttpError::ChunkLineTooLong(limit) => {
                write!(f, "a chunk-size line is longer than {limit} bytes")
            }
            HttpError::ChunkExtensionsTooLong(limit) => {
                write!(f, "more than {limit} bytes of chunk extensions")
            }
            HttpError::ChunkEnd => f.write_str("a chunk is longer than its size"),
            HttpError::TrailersTooLong(limit) => {
                write!(f, "the trailers are longer than {limit} bytes")
            }
            HttpError::BodyTooLong(limit) => write!(f, "the body is longer than {limit} bytes"),
            HttpError::StreamLineTooLong(limit) => write!(f, "a line is longer than {limit} bytes"),
            HttpError::ClosedInHead => f.write_str("closed in the middle of the headers"),
            HttpError::ClosedInBody { received, expected: Some(expected) } => {
                write!(f, "closed in the middle of the body, after {received} of {expected} bytes")
            }
            HttpError::ClosedInBody { received, expected: None } => {
                write!(f, "closed in the middle of the body, after {received} bytes")
            }
        }
    }
}

impl std::error::Error for HttpError {}
