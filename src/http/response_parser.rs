//! The incremental parser of responses, which passes each part on as it arrives.

use super::chunked::{Chunked, ChunkedEvent};
use super::error::HttpError;
use super::head::{Asked, Framing, ResponseHead, whole_head};
use super::headers::Headers;
use super::limits::Limits;
use super::lines::{Block, BlockFault};
use super::method::Method;

/// Parser of the responses to consecutive requests on one connection, a part at a time. It keeps no
/// body: each piece is a slice of the input.
///
/// ```
/// use twistor::http::{Limits, ResponseEvent, ResponseParser};
///
/// let mut parser = ResponseParser::new(Limits::default());
/// let mut bytes: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhel";
/// let Some(ResponseEvent::Head(head)) = parser.next(&mut bytes)? else { unreachable!() };
/// assert_eq!((head.status, head.content_length()), (200, Some(5)));
/// assert_eq!(parser.next(&mut bytes)?, Some(ResponseEvent::Piece(b"hel")));
/// assert_eq!(parser.next(&mut bytes)?, None);
/// bytes = b"lo";
/// assert_eq!(parser.next(&mut bytes)?, Some(ResponseEvent::Piece(b"lo")));
/// assert!(matches!(parser.next(&mut bytes)?, Some(ResponseEvent::End(_))));
/// # Ok::<(), twistor::http::HttpError>(())
/// ```
///
/// After an error, every further call returns the same error.
#[derive(Debug)]
pub struct ResponseParser {
    limits: Limits,
    asked: Asked,
    state: State,
}

/// A part of a response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ResponseEvent<'a> {
    /// An interim (1xx) response, which others follow.
    Interim(ResponseHead),
    /// The head of the final response.
    Head(ResponseHead),
    /// The next bytes of the body, at least one, with the transfer coding removed.
    Piece(&'a [u8]),
    /// The end of the response, with the trailer fields of a chunked body. They are kept apart from
    /// the headers and never override them.
    End(Headers),
}

#[derive(Debug)]
enum State {
    Head { block: Block, interim: usize },
    Length { received: u64, length: u64 },
    Chunked { received: u64, chunked: Chunked },
    UntilClose { received: u64 },
    Failed(HttpError),
}

impl ResponseParser {
    /// Creates a parser for a new connection.
    pub fn new(limits: Limits) -> ResponseParser {
        ResponseParser { limits, asked: Asked::Other, state: State::START }
    }

    /// Sets the method of the request that the next response belongs to. A response to HEAD has no
    /// body, even if its headers announce one. Default: a method whose responses have a body.
    pub fn expect(&mut self, method: &Method) {
        self.asked = if *method == Method::HEAD { Asked::Head } else { Asked::Other };
    }

    pub(super) fn expect_any(&mut self, asked: Asked) {
        self.asked = asked;
    }

    /// Replaces the limits, from the next head on.
    pub fn set_limits(&mut self, limits: Limits) {
        self.limits = limits;
    }

    /// Whether a final head was parsed and the end was not reached yet.
    pub fn is_in_body(&self) -> bool {
        matches!(self.state, State::Length { .. } | State::Chunked { .. } | State::UntilClose { .. })
    }

    /// Parses the next part from `data` and advances its start past it. Returns `None` when more
    /// bytes are needed; then `data` is empty.
    ///
    /// The bytes after an [`End`](ResponseEvent::End) stay in `data`. If only one request was sent,
    /// they are unsolicited.
    ///
    /// # Errors
    /// The response is malformed or exceeds a limit.
    pub fn next<'a>(&mut self, data: &mut &'a [u8]) -> Result<Option<ResponseEvent<'a>>, HttpError> {
        let result = self.advance(data);
        if let Err(error) = &result {
            self.state = State::Failed(error.clone());
        }
        result
    }

    /// Handles the end of the connection. Returns whether a response ended with it; `false` if the
    /// connection ended between responses.
    ///
    /// # Errors
    /// The response is truncated, or has failed before.
    pub fn finish(&mut self) -> Result<bool, HttpError> {
        let error = match std::mem::replace(&mut self.state, State::START) {
            State::Head { block, interim: 0 } if block.bytes.is_empty() => return Ok(false),
            State::UntilClose { .. } => return Ok(true),
            State::Head { .. } => HttpError::ClosedInHead,
            State::Failed(error) => error,
            State::Length { received, length } => {
                HttpError::ClosedInBody { received, expected: Some(length) }
            }
            State::Chunked { received, .. } => HttpError::ClosedInBody { received, expected: None },
        };
        self.state = State::Failed(error.clone());
        Err(error)
    }

    fn advance<'a>(&mut self, data: &mut &'a [u8]) -> Result<Option<ResponseEvent<'a>>, HttpError> {
        match &mut self.state {
            State::Failed(error) => Err(error.clone()),
            State::Head { block, interim } => {
                let Some(head) = take_head(block, &self.limits, self.asked, data)? else {
                    return Ok(None);
                };
                if head.is_interim() {
                    let interim = *interim + 1;
                    if interim > self.limits.interim {
                        return Err(HttpError::TooManyInterim(self.limits.interim));
                    }
                    self.state = State::Head { block: Block::default(), interim };
                    return Ok(Some(ResponseEvent::Interim(head)));
                }
                self.state = match head.framing {
                    // Refused before the body arrives.
                    Framing::Length(length) if length > self.limits.body as u64 => {
                        return Err(HttpError::BodyTooLong(self.limits.body));
                    }
                    Framing::Length(length) => State::Length { received: 0, length },
                    Framing::Chunked => State::Chunked { received: 0, chunked: Chunked::default() },
                    Framing::UntilClose => State::UntilClose { received: 0 },
                };
                Ok(Some(ResponseEvent::Head(head)))
            }
            State::Length { received, length } if received == length => {
                self.state = State::START;
                Ok(Some(ResponseEvent::End(Headers::default())))
            }
            State::Length { received, length } => {
                let missing = usize::try_from(*length - *received).unwrap_or(usize::MAX);
                let (taken, rest) = data.split_at(data.len().min(missing));
                *data = rest;
                *received += taken.len() as u64;
                Ok((!taken.is_empty()).then_some(ResponseEvent::Piece(taken)))
            }
            State::Chunked { received, chunked } => match chunked.next(&self.limits, data)? {
                None => Ok(None),
                Some(ChunkedEvent::Piece(piece)) => {
                    *received += piece.len() as u64;
                    Ok(Some(ResponseEvent::Piece(piece)))
                }
                Some(ChunkedEvent::End(trailers)) => {
                    self.state = State::START;
                    Ok(Some(ResponseEvent::End(trailers)))
                }
            },
            State::UntilClose { .. } if data.is_empty() => Ok(None),
            State::UntilClose { received } => {
                let taken = std::mem::take(data);
                *received += taken.len() as u64;
                if *received > self.limits.body as u64 {
                    return Err(HttpError::BodyTooLong(self.limits.body));
                }
                Ok(Some(ResponseEvent::Piece(taken)))
            }
        }
    }
}

impl State {
    const START: State = State::Head { block: Block::EMPTY, interim: 0 };
}

fn take_head(
    block: &mut Block,
    limits: &Limits,
    asked: Asked,
    data: &mut &[u8],
) -> Result<Option<ResponseHead>, HttpError> {
    let expected = START_OF_HEAD.iter().skip(block.bytes.len());
    if expected.zip(data.iter()).any(|(expected, byte)| expected != byte) {
        return Err(HttpError::NotHttp);
    }
    // Most heads arrive whole, and are parsed where they are.
    if block.bytes.is_empty()
        && let Some((whole, rest)) = whole_head(data, limits).and_then(|length| data.split_at_checked(length))
        && let Ok(head) = ResponseHead::parse(whole, limits, asked)
    {
        *data = rest;
        return Ok(Some(head));
    }
    match block.take(limits.line, limits.head, data) {
        Ok(true) => ResponseHead::parse(&block.bytes, limits, asked).map(Some),
        Ok(false) => Ok(None),
        Err(BlockFault::TooLong) => Err(HttpError::HeadTooLong(limits.head)),
        Err(BlockFault::Line(fault)) => Err(fault.or_too_long(HttpError::LineTooLong(limits.line))),
    }
}

/// Compared byte by byte, so that another protocol is detected at once.
const START_OF_HEAD: &[u8] = b"HTTP/1.";
