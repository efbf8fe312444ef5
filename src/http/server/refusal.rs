//! Requests that are refused before a handler sees them.

use std::fmt;
use std::time::Duration;

use crate::http::HttpError;

/// The reason why a request is refused. The response has its [status](Refusal::status) and its
/// text, and closes the connection.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Refusal {
    /// The first byte is not that of a method: TLS on a plain port, for example.
    NotHttp,
    /// A line ends without a carriage return.
    BareLineFeed,
    /// The request line is malformed.
    RequestLine,
    /// The version is not HTTP/1.0 or HTTP/1.1.
    Version,
    /// A header or trailer field is malformed.
    Header,
    /// A trailer field has a name that is not allowed there.
    Trailer,
    /// The `Host` field is missing, repeated or invalid.
    Host,
    /// The target does not fit the method, has invalid characters, or names another host.
    Target,
    /// The length of the body is repeated or not a number.
    ContentLength,
    /// The request has a length and a transfer coding.
    LengthAndEncoding,
    /// The transfer coding is malformed, repeated, or sent with HTTP/1.0.
    TransferEncoding,
    /// The transfer coding is not known.
    UnknownEncoding,
    /// The expectation is not `100-continue`.
    Expectation,
    /// A chunk is malformed.
    Chunk,
    /// The request line is over the limit in bytes.
    RequestLineTooLong(usize),
    /// A header is over the limit in bytes.
    LineTooLong(usize),
    /// The head, or the trailers, are over the limit in bytes.
    HeadTooLong(usize),
    /// There are more fields than the limit.
    TooManyHeaders(usize),
    /// The body is over the limit in bytes.
    BodyTooLong(usize),
    /// The head did not come within this time.
    HeadTimedOut(Duration),
    /// The body came too slowly.
    BodyTimedOut(Duration),
    /// The handler did not answer within this time.
    ResponseTimedOut(Duration),
}

impl Refusal {
    /// The status of the response.
    pub fn status(&self) -> u16 {
        match self {
            Refusal::HeadTimedOut(_) | Refusal::BodyTimedOut(_) => 408,
            Refusal::BodyTooLong(_) => 413,
            Refusal::RequestLineTooLong(_) => 414,
            Refusal::Expectation => 417,
            Refusal::LineTooLong(_) | Refusal::HeadTooLong(_) | Refusal::TooManyHeaders(_) => 431,
            Refusal::UnknownEncoding => 501,
            Refusal::ResponseTimedOut(_) => 503,
            Refusal::Version => 505,
            _ => 400,
        }
    }

    /// The refusal for an error of the chunked coding, with the limit on the whole body.
    pub(super) fn of_chunks(error: HttpError, max_body: usize) -> Refusal {
        match error {
            HttpError::BodyTooLong(_) => Refusal::BodyTooLong(max_body),
            HttpError::BareLineFeed => Refusal::BareLineFeed,
            HttpError::Header => Refusal::Header,
            HttpError::TooManyHeaders(limit) => Refusal::TooManyHeaders(limit),
            HttpError::TrailersTooLong(limit) => Refusal::HeadTooLong(limit),
            HttpError::LineTooLong(limit) => Refusal::LineTooLong(limit),
            _ => Refusal::Chunk,
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Refusal::NotHttp => f.write_str("this is not HTTP"),
            Refusal::BareLineFeed => f.write_str("a line ends without a carriage return"),
            Refusal::RequestLine => f.write_str("the request line is malformed"),
            Refusal::Version => f.write_str("the version is not HTTP/1.0 or HTTP/1.1"),
            Refusal::Header => f.write_str("a header field is malformed"),
            Refusal::Trailer => f.write_str("a field is not allowed in trailers"),
            Refusal::Host => f.write_str("the Host field is missing, repeated or invalid"),
            Refusal::Target => f.write_str("the target is invalid"),
            Refusal::ContentLength => f.write_str("the Content-Length is repeated or not a number"),
            Refusal::LengthAndEncoding => f.write_str("both Content-Length and Transfer-Encoding were sent"),
            Refusal::TransferEncoding => f.write_str("the Transfer-Encoding is not \"chunked\""),
            Refusal::UnknownEncoding => f.write_str("the Transfer-Encoding is not known"),
            Refusal::Expectation => f.write_str("the expectation is not \"100-continue\""),
            Refusal::Chunk => f.write_str("a chunk is malformed"),
            Refusal::RequestLineTooLong(limit) => write!(f, "the request line is longer than {limit} bytes"),
            Refusal::LineTooLong(limit) => write!(f, "a header is longer than {limit} bytes"),
            Refusal::HeadTooLong(limit) => write!(f, "the headers are longer than {limit} bytes"),
            Refusal::TooManyHeaders(limit) => write!(f, "there are more than {limit} headers"),
            Refusal::BodyTooLong(limit) => write!(f, "the body is longer than {limit} bytes"),
            Refusal::HeadTimedOut(limit) => write!(f, "the request did not come within {limit:?}"),
            Refusal::BodyTimedOut(limit) => {
                write!(f, "the body came too slowly, or not at all for {limit:?}")
            }
            Refusal::ResponseTimedOut(limit) => write!(f, "there was no answer within {limit:?}"),
        }
    }
}

impl std::error::Error for Refusal {}
