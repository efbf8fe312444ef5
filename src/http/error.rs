//! The ways in which a response can be wrong.

use crate::escape::Escaped;
use std::fmt;

/// What was wrong with a response. Every one of them is the peer's doing, and ends the connection.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum HttpError {
    /// The first bytes are not `HTTP/1.`: another protocol speaks there.
    NotHttp,
    /// The status line is not `HTTP/1.0` or `HTTP/1.1` and a status.
    StatusLine,
    /// The status is not between 100 and 599.
    Status(u16),
    /// `101 Switching Protocols`, which nobody asked for.
    Upgrade,
    /// A line that ends in LF without CR.
    BareLineFeed,
    /// A CR that no LF follows.
    BareCarriageReturn,
    /// A header line that is no `name: value` (a space before the colon, a folded line, a control character).
    Header,
    /// The head is longer than [`Limits::head`](super::Limits::head) bytes.
    HeadTooLong(usize),
    /// A line of head or trailers is longer than [`Limits::line`](super::Limits::line) bytes.
    LineTooLong(usize),
    /// More than [`Limits::headers`](super::Limits::headers) fields.
    TooManyHeaders(usize),
    /// More than [`Limits::interim`](super::Limits::interim) responses with a 1xx status.
    TooManyInterim(usize),
    /// A `Content-Length` that is not a decimal number.
    ContentLength(String),
    /// Two different values of `Content-Length`.
    ContentLengthsDiffer(u64, u64),
    /// Both `Content-Length` and `Transfer-Encoding` (RFC 9112, 6.1: an attack or a broken proxy).
    LengthAndEncoding,
    /// A `Transfer-Encoding` that is not exactly `chunked`, or one on HTTP/1.0.
    TransferEncoding(String),
    /// A chunk size that is not a hexadecimal number of at most 16 digits, or a malformed extension.
    ChunkSize(String),
    /// A chunk-size line is longer than [`Limits::chunk_line`](super::Limits::chunk_line) bytes.
    ChunkLineTooLong(usize),
    /// More than [`Limits::chunk_extensions`](super::Limits::chunk_extensions) bytes of chunk extensions.
    ChunkExtensionsTooLong(usize),
    /// The bytes of a chunk are not followed by CR LF.
    ChunkEnd,
    /// The trailers are longer than [`Limits::trailers`](super::Limits::trailers) bytes.
    TrailersTooLong(usize),
    /// The body is longer than [`Limits::body`](super::Limits::body) bytes.
    BodyTooLong(usize),
    /// The connection ended before the head did.
    ClosedInHead,
    /// The connection ended before the body did.
    ClosedInBody {
        /// The bytes of body that came.
        received: u64,
        /// The bytes that `Content-Length` announced; none for a chunked body.
        expected: Option<u64>,
    },
}

impl fmt::Display for HttpError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            HttpError::NotHttp => f.write_str("the answer is not HTTP/1"),
            HttpError::StatusLine => f.write_str("malformed status line"),
            HttpError::Status(status) => write!(f, "impossible status {status}"),
            HttpError::Upgrade => f.write_str("unasked 101 Switching Protocols"),
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
