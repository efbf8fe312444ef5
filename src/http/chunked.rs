//! The chunked transfer coding (RFC 9112, 7.1), parsed strictly.

use super::error::HttpError;
use super::head::excerpt;
use super::headers::Headers;
use super::limits::Limits;
use super::lines::{Block, BlockFault, LINE_END, take_line};

/// Decoder of one chunked body.
#[derive(Debug, Default)]
pub(super) struct Chunked {
    part: Part,
    extensions: usize,
    /// Bytes of data so far, those of the current chunk included.
    announced: u64,
}

/// A step of decoding.
#[derive(Debug)]
pub(super) enum ChunkedEvent<'a> {
    Piece(&'a [u8]),
    /// The body is complete. These are its trailers.
    End(Headers),
}

/// The part of the body that is expected next.
#[derive(Debug)]
enum Part {
    Size(Vec<u8>),
    Data(u64),
    DataEnd { carriage_return: bool },
    Trailers(Block),
}

impl Default for Part {
    fn default() -> Part {
        Part::Size(Vec::new())
    }
}

impl Chunked {
    /// Decodes bytes from `data` and advances its start past them. Returns `None` when more bytes
    /// are needed.
    pub(super) fn next<'a>(
        &mut self,
        limits: &Limits,
        data: &mut &'a [u8],
    ) -> Result<Option<ChunkedEvent<'a>>, HttpError> {
        while !data.is_empty() {
            match &mut self.part {
                Part::Size(line) => {
                    let room = limits.chunk_line + LINE_END;
                    let ended = take_line(line, 0, room, data)
                        .map_err(|fault| fault.or_too_long(HttpError::ChunkLineTooLong(limits.chunk_line)))?;
                    if ended {
                        let mut line = std::mem::take(line);
                        line.truncate(line.len() - LINE_END);
                        self.part = self.chunk(&line, limits)?;
                    }
                }
                Part::Data(remaining) => {
                    let length = usize::try_from(*remaining).map_or(data.len(), |most| data.len().min(most));
                    let (taken, rest) = data.split_at(length);
                    *data = rest;
                    *remaining -= taken.len() as u64;
                    if *remaining == 0 {
                        self.part = Part::DataEnd { carriage_return: false };
                    }
                    return Ok(Some(ChunkedEvent::Piece(taken)));
                }
                Part::DataEnd { carriage_return } => {
                    let expected = if *carriage_return { b'\n' } else { b'\r' };
                    match data.split_first() {
                        Some((byte, rest)) if *byte == expected => *data = rest,
                        _ => return Err(HttpError::ChunkEnd),
                    }
                    self.part = match carriage_return {
                        false => Part::DataEnd { carriage_return: true },
                        true => Part::default(),
                    };
                }
                Part::Trailers(block) => match block.take(limits.line, limits.trailers, data) {
                    Ok(false) => {}
                    Ok(true) => return Ok(Some(ChunkedEvent::End(trailers(&block.bytes, limits)?))),
                    Err(BlockFault::TooLong) => {
                        return Err(HttpError::TrailersTooLong(limits.trailers));
                    }
                    Err(BlockFault::Line(fault)) => {
                        return Err(fault.or_too_long(HttpError::LineTooLong(limits.line)));
                    }
                },
            }
        }
        Ok(None)
    }

    /// Parses a chunk-size line, without its line end, and returns the next part.
    fn chunk(&mut self, line: &[u8], limits: &Limits) -> Result<Part, HttpError> {
        let digits = line.iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
        let (number, extension) = line.split_at(digits);
        let malformed = || HttpError::ChunkSize(excerpt(line));
        if !(1..=MAX_DIGITS).contains(&digits) || !is_extension(extension) {
            return Err(malformed());
        }
        self.extensions += extension.len();
        if self.extensions > limits.chunk_extensions {
            return Err(HttpError::ChunkExtensionsTooLong(limits.chunk_extensions));
        }
        let number = std::str::from_utf8(number).map_err(|_| malformed())?;
        let size = u64::from_str_radix(number, 16).map_err(|_| malformed())?;
        match size {
            0 => Ok(Part::Trailers(Block::default())),
            size if size <= (limits.body as u64).saturating_sub(self.announced) => {
                self.announced += size;
                Ok(Part::Data(size))
            }
            _ => Err(HttpError::BodyTooLong(limits.body)),
        }
    }
}

/// Accepts nothing, or `;` after optional blanks and then no control character.
fn is_extension(text: &[u8]) -> bool {
    let trimmed = text.trim_ascii_start();
    text.is_empty()
        || trimmed.starts_with(b";") && !text.iter().any(|byte| byte.is_ascii_control() && *byte != b'\t')
}

fn trailers(block: &[u8], limits: &Limits) -> Result<Headers, HttpError> {
    let mut fields = vec![httparse::EMPTY_HEADER; limits.headers];
    match httparse::parse_headers(block, &mut fields) {
        Ok(httparse::Status::Complete((length, fields))) if length == block.len() => {
            Ok(Headers::from_parsed(block, fields))
        }
        Err(httparse::Error::TooManyHeaders) => Err(HttpError::TooManyHeaders(limits.headers)),
        _ => Err(HttpError::Header),
    }
}

/// Number of hexadecimal digits of a `u64`.
const MAX_DIGITS: usize = 16;
