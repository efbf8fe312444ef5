//! Complete responses.

use super::error::HttpError;
use super::head::ResponseHead;
use super::headers::Headers;
use super::limits::Limits;
use super::method::Method;
use super::response_parser::{ResponseEvent, ResponseParser};

/// A complete response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    /// Status, from 200 to 599.
    pub status: u16,
    /// Header fields.
    pub headers: Headers,
    /// Body, with its transfer coding removed. The client removes known content codings too.
    pub body: Vec<u8>,
    /// Trailer fields of a chunked body. They are kept apart from the headers and never override
    /// them.
    pub trailers: Headers,
    /// Whether the connection can carry another request.
    pub keep_alive: bool,
    /// Whether the body was decompressed by the client, so that it is not as `Content-Encoding` and
    /// `Content-Length` say.
    pub decompressed: bool,
}

impl Response {
    /// Whether the status is 200 to 299.
    pub fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }

    pub(super) fn from_head(head: ResponseHead, body: Vec<u8>) -> Response {
        let ResponseHead { status, headers, keep_alive, decompressed, .. } = head;
        Response { status, headers, body, trailers: Headers::default(), keep_alive, decompressed }
    }
}

/// Parser of the responses to consecutive requests on one connection, each as a whole.
///
/// Interim (1xx) responses are skipped. After an error, every further call returns the same error.
/// [`ResponseParser`] passes each part on as it arrives.
#[derive(Debug)]
pub struct ResponseReader {
    parser: ResponseParser,
    response: Option<Response>,
}

impl ResponseReader {
    /// Creates a parser for a new connection.
    pub fn new(limits: Limits) -> ResponseReader {
        ResponseReader { parser: ResponseParser::new(limits), response: None }
    }

    /// Sets the method of the request that the next response belongs to, as
    /// [`ResponseParser::expect`].
    pub fn expect(&mut self, method: &Method) {
        self.parser.expect(method);
    }

    /// Parses bytes from `data` and advances its start past them.
    ///
    /// A complete response is returned at once. The bytes after it stay in `data`. If only one
    /// request was sent, these bytes are unsolicited.
    ///
    /// # Errors
    /// The response is malformed or exceeds a limit.
    pub fn feed(&mut self, data: &mut &[u8]) -> Result<Option<Response>, HttpError> {
        while let Some(event) = self.parser.next(data)? {
            match (event, &mut self.response) {
                (ResponseEvent::Head(head), _) => {
                    self.response = Some(Response::from_head(head, Vec::new()));
                }
                (ResponseEvent::Piece(piece), Some(response)) => response.body.extend_from_slice(piece),
                (ResponseEvent::End(trailers), Some(_)) => {
                    return Ok(self.response.take().map(|response| Response { trailers, ..response }));
                }
                _ => {}
            }
        }
        Ok(None)
    }

    /// Handles the end of the connection. Returns the response that ends with it, `None` if the
    /// connection ended between responses, or the error of a truncated response.
    ///
    /// # Errors
    /// The response is truncated, or has failed before.
    pub fn finish(&mut self) -> Result<Option<Response>, HttpError> {
        match self.parser.finish()? {
            true => Ok(self.response.take()),
            false => Ok(None),
        }
    }
}
