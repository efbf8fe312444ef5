//! Lines that end in CR LF, collected over several reads, with limits for each line and for a block
//! of lines.
//!
//! Errors depend on the bytes only, never on how they were split into reads.

use super::error::HttpError;

/// A fault of a line. The caller knows which limit applied.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Fault {
    TooLong,
    BareLineFeed,
    BareCarriageReturn,
}

impl Fault {
    pub(super) fn or_too_long(self, too_long: HttpError) -> HttpError {
        match self {
            Fault::TooLong => too_long,
            Fault::BareLineFeed => HttpError::BareLineFeed,
            Fault::BareCarriageReturn => HttpError::BareCarriageReturn,
        }
    }
}

/// Moves the bytes of one line from `data` to `line`, which may hold earlier lines before `start`.
/// Returns `Ok(true)` once the CR LF has been moved as well. `room` is the maximum length of
/// `line`.
pub(super) fn take_line(
    line: &mut Vec<u8>,
    start: usize,
    room: usize,
    data: &mut &[u8],
) -> Result<bool, Fault> {
    let end = data.iter().position(|byte| *byte == b'\n');
    let (taken, rest) = data.split_at(end.map_or(data.len(), |end| end + 1));
    if line.len() + taken.len() > room {
        return Err(Fault::TooLong);
    }
    line.extend_from_slice(taken);
    *data = rest;
    if end.is_none() {
        return Ok(false);
    }
    let Some(text) = line[start..].strip_suffix(b"\r\n") else {
        return Err(Fault::BareLineFeed);
    };
    match text.contains(&b'\r') {
        true => Err(Fault::BareCarriageReturn),
        false => Ok(true),
    }
}

/// Lines up to and including an empty line: a head or trailers.
#[derive(Debug, Default)]
pub(super) struct Block {
    pub(super) bytes: Vec<u8>,
    line_start: usize,
}

/// A fault of a block.
pub(super) enum BlockFault {
    Line(Fault),
    TooLong,
}

impl Block {
    pub(super) const EMPTY: Block = Block { bytes: Vec::new(), line_start: 0 };

    /// Takes bytes up to the end of the block. Returns `Ok(true)` once the empty line has been
    /// taken.
    pub(super) fn take(&mut self, line: usize, block: usize, data: &mut &[u8]) -> Result<bool, BlockFault> {
        while !data.is_empty() {
            let line_room = self.line_start.saturating_add(line).saturating_add(LINE_END);
            let room = line_room.min(block);
            match take_line(&mut self.bytes, self.line_start, room, data) {
                Err(Fault::TooLong) if block < line_room => return Err(BlockFault::TooLong),
                Err(fault) => return Err(BlockFault::Line(fault)),
                Ok(false) => return Ok(false),
                Ok(true) if self.bytes.len() == self.line_start + LINE_END => return Ok(true),
                Ok(true) => self.line_start = self.bytes.len(),
            }
        }
        Ok(false)
    }
}

pub(super) const LINE_END: usize = 2;
