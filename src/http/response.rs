//! The incremental response parser.

use super::chunked::Chunked;
use super::error::HttpError;
use super::head::{Framing, Head};
use super::headers::Headers;
use super::limits::Limits;
use super::lines::{Block, BlockFault};

/// A complete response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    /// Status, from 200 to 599.
    pub status: u16,
    /// Header fields.
    pub headers: Headers,
    /// Body, with its transfer coding removed.
    pub body: Vec<u8>,
    /// Trailer fields of a chunked body. They are kept apart from the headers and never override
    /// them.
    pub trailers: Headers,
    /// Whether the connection can carry another request.
    pub keep_alive: bool,
}

/// Parser of the responses to consecutive GET requests on one connection.
///
/// Interim (1xx) responses are skipped. After an error, every further call returns the same error.
#[derive(Debug)]
pub struct ResponseReader {
    limits: Limits,
    state: State,
}

#[derive(Debug)]
enum State {
    Head { block: Block, interim: usize },
    Body { head: Head, body: Vec<u8>, chunked: Chunked },
    Failed(HttpError),
}

impl ResponseReader {
    /// Creates a parser for a new connection.
    pub fn new(limits: Limits) -> ResponseReader {
        ResponseReader { limits, state: State::START }
    }

    /// Parses bytes from `data` and advances its start past them.
    ///
    /// A complete response is returned at once. The bytes after it stay in `data`. If only one
    /// request was sent, these bytes are unsolicited.
    pub fn feed(&mut self, data: &mut &[u8]) -> Result<Option<Response>, HttpError> {
        let result = self.advance(data);
        if let Err(error) = &result {
            self.state = State::Failed(error.clone());
        }
        result
    }

    /// Handles the end of the connection. Returns the response that ends with it, `None` if the
    /// connection ended between responses, or the error of a truncated response.
    pub fn finish(&mut self) -> Result<Option<Response>, HttpError> {
        let error = match std::mem::replace(&mut self.state, State::START) {
            State::Head { block, interim: 0 } if block.bytes.is_empty() => return Ok(None),
            State::Head { .. } => HttpError::ClosedInHead,
            State::Failed(error) => error,
            State::Body { head, body, .. } => match head.framing {
                Framing::UntilClose => return Ok(Some(response(head, body, Headers::default()))),
                Framing::Length(expected) => {
                    HttpError::ClosedInBody { received: body.len() as u64, expected: Some(expected) }
                }
                Framing::Chunked => HttpError::ClosedInBody { received: body.len() as u64, expected: None },
            },
        };
        self.state = State::Failed(error.clone());
        Err(error)
    }

    fn advance(&mut self, data: &mut &[u8]) -> Result<Option<Response>, HttpError> {
        loop {
            match &mut self.state {
                State::Failed(error) => return Err(error.clone()),
                State::Head { block, interim } => {
                    let Some(head) = take_head(block, &self.limits, data)? else {
                        return Ok(None);
                    };
                    self.state = if head.is_interim() {
                        let interim = *interim + 1;
                        if interim > self.limits.interim {
                            return Err(HttpError::TooManyInterim(self.limits.interim));
                        }
                        State::Head { block: Block::default(), interim }
                    } else {
                        // Refused before the body arrives.
                        if matches!(head.framing, Framing::Length(length) if length > self.limits.body as u64)
                        {
                            return Err(HttpError::BodyTooLong(self.limits.body));
                        }
                        State::Body { head, body: Vec::new(), chunked: Chunked::default() }
                    };
                }
                State::Body { head, body, chunked } => {
                    let trailers = match head.framing {
                        Framing::Length(length) => take_length(length, data, body),
                        Framing::Chunked => chunked.take(&self.limits, data, body)?,
                        Framing::UntilClose if data.len() > self.limits.body - body.len() => {
                            return Err(HttpError::BodyTooLong(self.limits.body));
                        }
                        Framing::UntilClose => {
                            body.extend_from_slice(std::mem::take(data));
                            None
                        }
                    };
                    let Some(trailers) = trailers else {
                        return Ok(None);
                    };
                    return match std::mem::replace(&mut self.state, State::START) {
                        State::Body { head, body, .. } => Ok(Some(response(head, body, trailers))),
                        _ => Ok(None),
                    };
                }
            }
        }
    }
}

impl State {
    const START: State = State::Head { block: Block::EMPTY, interim: 0 };
}

fn take_head(block: &mut Block, limits: &Limits, data: &mut &[u8]) -> Result<Option<Head>, HttpError> {
    let expected = START_OF_HEAD.iter().skip(block.bytes.len());
    if expected.zip(data.iter()).any(|(expected, byte)| expected != byte) {
        return Err(HttpError::NotHttp);
    }
    match block.take(limits.line, limits.head, data) {
        Ok(true) => Head::parse(&block.bytes, limits).map(Some),
        Ok(false) => Ok(None),
        Err(BlockFault::TooLong) => Err(HttpError::HeadTooLong(limits.head)),
        Err(BlockFault::Line(fault)) => Err(fault.or_too_long(HttpError::LineTooLong(limits.line))),
    }
}

/// Returns the trailers, which are empty, once `length` bytes are complete.
fn take_length(length: u64, data: &mut &[u8], body: &mut Vec<u8>) -> Option<Headers> {
    let missing = length - body.len() as u64;
    let (taken, rest) = data.split_at(data.len().min(usize::try_from(missing).unwrap_or(usize::MAX)));
    body.extend_from_slice(taken);
    *data = rest;
    (body.len() as u64 == length).then(Headers::default)
}

fn response(head: Head, body: Vec<u8>, trailers: Headers) -> Response {
    Response { status: head.status, headers: head.headers, body, trailers, keep_alive: head.keep_alive }
}

/// Compared byte by byte, so that another protocol is detected at once.
const START_OF_HEAD: &[u8] = b"HTTP/1.";
