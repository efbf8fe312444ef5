//! Responses.

use std::borrow::Cow;
use std::fmt;

use super::handler::BodyProducer;
use super::head::is_token;
use crate::Protocol;

/// A response: status, header fields and body.
///
/// `Date`, `Content-Length`, `Transfer-Encoding` and `Connection` are the site's: they are added as
/// they are needed, and cannot be set here.
///
/// ```
/// use twistor::http::server::Response;
///
/// let response = Response::text("Gone fishing.\n").with_status(503).header("Retry-After", "3600")?;
/// assert_eq!(response.status(), 503);
/// # Ok::<(), twistor::http::server::ResponseError>(())
/// ```
pub struct Response {
    pub(super) status: u16,
    pub(super) content_type: Cow<'static, str>,
    /// Encoded fields, each with its line end.
    pub(super) fields: Vec<u8>,
    pub(super) body: Body,
    /// Whether the body may be compressed.
    pub(super) compressible: bool,
}

/// The body of a response.
pub(super) enum Body {
    Bytes(Cow<'static, [u8]>),
    /// Written by a producer. `None`: of unknown length.
    Stream(Option<u64>, Box<dyn BodyProducer>),
    /// The connection is another protocol's after the head.
    Upgrade(Box<dyn Protocol>),
}

/// A header field that cannot be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ResponseError {
    /// The name is not a token (RFC 9110, 5.1).
    Name(String),
    /// The value of this field has a control character.
    Value(String),
    /// The site sets this field.
    Reserved(String),
}

impl Response {
    /// Creates a response without a body.
    ///
    /// A status outside of 200 to 599 is sent as 500.
    pub fn new(status: u16) -> Response {
        Response {
            status: if (200..600).contains(&status) { status } else { 500 },
            content_type: Cow::Borrowed(""),
            fields: Vec::new(),
            body: Body::Bytes(Cow::Borrowed(&[])),
            compressible: true,
        }
    }

    /// Creates a response of plain text in UTF-8.
    pub fn text(text: impl Into<Cow<'static, str>>) -> Response {
        Response::of_text("text/plain; charset=utf-8", text.into())
    }

    /// Creates a response of HTML in UTF-8. Text from outside must be escaped:
    /// [`escape_html`](super::escape_html).
    pub fn html(text: impl Into<Cow<'static, str>>) -> Response {
        Response::of_text("text/html; charset=utf-8", text.into())
    }

    /// Creates a response of JSON text.
    pub fn json(text: impl Into<Cow<'static, str>>) -> Response {
        Response::of_text("application/json", text.into())
    }

    fn of_text(content_type: &'static str, text: Cow<'static, str>) -> Response {
        let bytes = match text {
            Cow::Borrowed(text) => Cow::Borrowed(text.as_bytes()),
            Cow::Owned(text) => Cow::Owned(text.into_bytes()),
        };
        // The types of this file are valid.
        let content_type = Cow::Borrowed(content_type);
        Response { content_type, body: Body::Bytes(bytes), ..Response::new(200) }
    }

    /// Creates a response of bytes with a media type.
    pub fn bytes(
        content_type: impl Into<Cow<'static, str>>,
        bytes: impl Into<Cow<'static, [u8]>>,
    ) -> Response {
        let body = Body::Bytes(bytes.into());
        Response { body, ..Response::new(200) }.with_content_type(content_type.into())
    }

    /// Creates a response whose body is produced piece by piece: chunked, or until the close for a
    /// client of HTTP/1.0.
    pub fn stream(content_type: impl Into<Cow<'static, str>>, producer: impl BodyProducer) -> Response {
        let body = Body::Stream(None, Box::new(producer));
        Response { body, ..Response::new(200) }.with_content_type(content_type.into())
    }

    /// Creates a response whose body is produced piece by piece, and has this length. If the
    /// producer finishes early, the connection is aborted, because the client would take the part
    /// for the whole. What it writes beyond the length is not sent.
    pub fn sized_stream(
        content_type: impl Into<Cow<'static, str>>,
        length: u64,
        producer: impl BodyProducer,
    ) -> Response {
        let body = Body::Stream(Some(length), Box::new(producer));
        Response { body, ..Response::new(200) }.with_content_type(content_type.into())
    }

    /// Creates a redirection to a path or a URL. Status 303 asks for a `GET`; 308 keeps the method.
    ///
    /// # Errors
    /// [`ResponseError::Value`]: the location has a control character.
    pub fn redirect(status: u16, location: &str) -> Result<Response, ResponseError> {
        Response::new(status).header("Location", location)
    }

    /// Creates the response 101, after which the connection is `protocol`'s. Its `connection_made`
    /// follows, and then the bytes after the request. For WebSocket and the like.
    pub fn upgrade(name: &str, protocol: impl Protocol) -> Result<Response, ResponseError> {
        let response = Response { body: Body::Upgrade(Box::new(protocol)), ..Response::new(200) };
        Ok(Response { status: 101, ..response.header("Upgrade", name)? })
    }

    /// Creates the response of a status with its reason as the text.
    pub fn of_status(status: u16) -> Response {
        let response = Response::new(status);
        let status = response.status;
        match has_no_body(status) {
            true => response,
            false => Response::text(format!("{status} {}\n", reason(status))).with_status(status),
        }
    }

    /// The status.
    pub fn status(&self) -> u16 {
        self.status
    }

    /// Changes the status. One outside of 200 to 599 is sent as 500.
    pub fn with_status(mut self, status: u16) -> Response {
        self.status = Response::new(status).status;
        self
    }

    fn with_content_type(mut self, content_type: Cow<'static, str>) -> Response {
        let valid = content_type.bytes().all(is_value_byte);
        self.content_type = if valid { content_type } else { Cow::Borrowed("application/octet-stream") };
        self
    }

    /// Adds a header field.
    ///
    /// # Errors
    /// The name is not a token, or the site's own; or the value has a control character. Such a
    /// value could end the field and begin another one (response splitting).
    pub fn header(mut self, name: &str, value: &str) -> Result<Response, ResponseError> {
        if name.is_empty() || !name.bytes().all(is_token) {
            return Err(ResponseError::Name(name.to_owned()));
        }
        if RESERVED.iter().any(|reserved| reserved.eq_ignore_ascii_case(name)) {
            return Err(ResponseError::Reserved(name.to_owned()));
        }
        if !value.bytes().all(is_value_byte) {
            return Err(ResponseError::Value(name.to_owned()));
        }
        if name.eq_ignore_ascii_case("Content-Type") {
            self.content_type = Cow::Owned(value.to_owned());
            return Ok(self);
        }
        if name.eq_ignore_ascii_case("Content-Encoding") {
            self.compressible = false;
        }
        self.push_field(name, value);
        Ok(self)
    }

    /// Adds a field that is known to be valid.
    pub(super) fn push_field(&mut self, name: &str, value: &str) {
        self.fields.extend_from_slice(name.as_bytes());
        self.fields.extend_from_slice(b": ");
        self.fields.extend_from_slice(value.as_bytes());
        self.fields.extend_from_slice(b"\r\n");
    }

    /// Sends the body as it is, also to clients that accept compression. For data that is
    /// compressed already, and for secrets beside text of the client's choice (BREACH).
    pub fn uncompressed(mut self) -> Response {
        self.compressible = false;
        self
    }
}

impl fmt::Debug for Response {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let length = match &self.body {
            Body::Bytes(bytes) => Some(bytes.len() as u64),
            Body::Stream(length, _) => *length,
            Body::Upgrade(_) => None,
        };
        f.debug_struct("Response")
            .field("status", &self.status)
            .field("content_type", &self.content_type)
            .field("length", &length)
            .finish_non_exhaustive()
    }
}

impl fmt::Display for ResponseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use crate::escape::Escaped;
        match self {
            ResponseError::Name(name) => write!(f, "\"{}\" is not the name of a field", Escaped(name)),
            ResponseError::Value(name) => {
                write!(f, "the value of the field {} has a control character", Escaped(name))
            }
            ResponseError::Reserved(name) => write!(f, "the field {} is set by the site", Escaped(name)),
        }
    }
}

impl std::error::Error for ResponseError {}

/// Fields that decide about framing and connection.
const RESERVED: &[&str] = &["Date", "Content-Length", "Transfer-Encoding", "Connection", "Keep-Alive"];

/// Visible characters, blanks and bytes beyond ASCII (RFC 9110, 5.5).
fn is_value_byte(byte: u8) -> bool {
    byte == b'\t' || !byte.is_ascii_control()
}

/// Whether a response of this status never has a body (RFC 9110, 6.4.1).
pub(super) fn has_no_body(status: u16) -> bool {
    matches!(status, 100..=199 | 204 | 304)
}

/// The reason phrase of a status (RFC 9110, 15).
pub(super) fn reason(status: u16) -> &'static str {
    match status {
        101 => "Switching Protocols",
        200 => "OK",
        201 => "Created",
        202 => "Accepted",
        204 => "No Content",
        206 => "Partial Content",
        301 => "Moved Permanently",
        302 => "Found",
        303 => "See Other",
        304 => "Not Modified",
        307 => "Temporary Redirect",
        308 => "Permanent Redirect",
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        406 => "Not Acceptable",
        408 => "Request Timeout",
        409 => "Conflict",
        410 => "Gone",
        411 => "Length Required",
        412 => "Precondition Failed",
        413 => "Content Too Large",
        414 => "URI Too Long",
        415 => "Unsupported Media Type",
        416 => "Range Not Satisfiable",
        417 => "Expectation Failed",
        421 => "Misdirected Request",
        422 => "Unprocessable Content",
        426 => "Upgrade Required",
        429 => "Too Many Requests",
        431 => "Request Header Fields Too Large",
        500 => "Internal Server Error",
        501 => "Not Implemented",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        505 => "HTTP Version Not Supported",
        _ => "",
    }
}
