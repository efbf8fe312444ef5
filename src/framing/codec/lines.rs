//! A decoder of lines, which are bytes up to a delimiter.
//!
//! Each byte is searched once, however the input is divided. The decoder copies a byte at most
//! once, and only if its line does not lie completely in one piece of input.

use std::borrow::Cow;
use std::fmt;

use crate::framing::Decoder;

/// A decoder of lines. [`Lines`](crate::framing::Lines) is built on it.
///
/// ```
/// use twistor::framing::LineDecoder;
///
/// let mut decoder = LineDecoder::new(b"\n", 100);
/// let mut lines = Vec::new();
/// for mut piece in [&b"one\ntw"[..], b"o\nthr"] {
///     while let Some(line) = decoder.next(&mut piece)? {
///         lines.push(line.to_vec());
///     }
/// }
/// assert_eq!(lines, [b"one", b"two"]);
/// assert_eq!(decoder.unfinished(), b"thr");
/// # Ok::<(), twistor::framing::LineTooLong>(())
/// ```
#[derive(Clone, Debug)]
pub struct LineDecoder {
    pub(in crate::framing) format: LineFormat,
    pub(in crate::framing) unfinished: UnfinishedLine,
}

/// The delimiter and the maximum length of lines.
#[derive(Clone, Debug)]
pub(in crate::framing) struct LineFormat {
    pub(in crate::framing) delimiter: Cow<'static, [u8]>,
    pub(in crate::framing) max_length: usize,
}

/// The received part of an incomplete line.
#[derive(Clone, Debug, Default)]
pub(in crate::framing) struct UnfinishedLine {
    bytes: Vec<u8>,
    state: State,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    /// The bytes contain no delimiter.
    #[default]
    Collecting,
    /// The bytes are a line with its delimiter, which was returned.
    HandedOut,
    /// Input is skipped up to the next delimiter. The bytes may be the start of one.
    Skipping,
}

impl LineDecoder {
    /// Creates a decoder of lines that end in `delimiter` and have at most `max_length` bytes
    /// without it. (Twisted: `delimiter`, `MAX_LENGTH`.) An empty delimiter never matches. Default:
    /// `\r\n` and 16,384.
    ///
    /// The search is for the last byte of the delimiter. It is linear in the input, plus the
    /// delimiter's length for each match of that byte alone.
    pub fn new(delimiter: impl Into<Cow<'static, [u8]>>, max_length: usize) -> LineDecoder {
        LineDecoder {
            format: LineFormat { delimiter: delimiter.into(), max_length },
            unfinished: UnfinishedLine::default(),
        }
    }

    /// Returns the next line, or `None` if there is no further complete line. `input` is advanced
    /// past the consumed bytes, which are all of it in the latter case. A line that lies completely
    /// in the input is borrowed from it, others from the decoder.
    ///
    /// # Errors
    /// [`LineTooLong`], as soon as it is certain:
    ///
    /// - A line of `max_length` bytes is accepted, however it is divided.
    /// - Without a whole delimiter, at most `max_length` bytes plus all but one byte of the
    ///   delimiter are buffered.
    ///
    /// No input is consumed then. [`unfinished`](LineDecoder::unfinished) and the input hold the
    /// line. The next calls return the same error, until [`clear`](LineDecoder::clear) or
    /// [`skip_line`](LineDecoder::skip_line) is called.
    #[inline]
    pub fn next<'a, 'i: 'a>(&'a mut self, input: &mut &'i [u8]) -> Result<Option<&'a [u8]>, LineTooLong> {
        self.unfinished.next(&self.format, input)
    }

    /// The received part of an incomplete line: taken from the input, and not yet returned.
    pub fn unfinished(&self) -> &[u8] {
        self.unfinished.bytes()
    }

    /// Takes the incomplete line. The next input starts a new line.
    pub fn clear(&mut self) -> Vec<u8> {
        self.unfinished.clear()
    }

    /// Skips the current line up to its delimiter, which may not have arrived yet.
    pub fn skip_line(&mut self) {
        self.unfinished.skip();
    }

    /// The delimiter of lines.
    pub fn delimiter(&self) -> &[u8] {
        &self.format.delimiter
    }

    /// The maximum length of a line, in bytes.
    pub fn max_length(&self) -> usize {
        self.format.max_length
    }
}

impl Default for LineDecoder {
    fn default() -> LineDecoder {
        LineDecoder::new(DELIMITER, MAX_LENGTH)
    }
}

/// Lines as messages. A line without a delimiter at the end of the input is incomplete.
impl Decoder for LineDecoder {
    type Message = Vec<u8>;
    type Error = LineTooLong;

    fn decode(&mut self, input: &mut &[u8]) -> Result<Option<Vec<u8>>, LineTooLong> {
        Ok(self.next(input)?.map(<[u8]>::to_vec))
    }

    fn buffered(&self) -> usize {
        self.unfinished().len()
    }
}

/// Appends a line and its delimiter to `out`. The caller must ensure that the line does not contain
/// the delimiter.
///
/// ```
/// let mut out = Vec::new();
/// twistor::framing::encode_line(&mut out, b"EHLO example.org", b"\r\n");
/// assert_eq!(out, b"EHLO example.org\r\n");
/// ```
pub fn encode_line(out: &mut Vec<u8>, line: &[u8], delimiter: &[u8]) {
    out.extend_from_slice(line);
    out.extend_from_slice(delimiter);
}

/// Error: a line is longer than the limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LineTooLong {
    /// The limit, in bytes.
    pub limit: usize,
}

impl fmt::Display for LineTooLong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a line is longer than {} bytes", self.limit)
    }
}

impl std::error::Error for LineTooLong {}

impl LineFormat {
    /// Length without a delimiter from which a line is too long.
    fn window_limit(&self) -> usize {
        self.max_length.saturating_add(self.delimiter.len())
    }

    /// Position after the first delimiter in `input`. `before` are the bytes that precede `input`.
    #[inline]
    fn find(&self, before: &[u8], input: &[u8]) -> Option<usize> {
        let (&last, head) = self.delimiter.split_last()?;
        let mut from = 0;
        // `from` is at most the length: it is the position after a match.
        while let Some(offset) = memchr::memchr(last, &input[from..]) {
            let at = from + offset;
            // `at` is the index of a byte.
            if ends_with(before, &input[..at], head) {
                return Some(at + 1);
            }
            from = at + 1;
        }
        None
    }
}

/// Whether the concatenation of `before` and `bytes` ends with `end`.
#[inline]
fn ends_with(before: &[u8], bytes: &[u8], end: &[u8]) -> bool {
    match end.len().checked_sub(bytes.len()) {
        // Compare byte by byte: mostly there is only one, which is not worth a call.
        None | Some(0) => bytes.iter().rev().zip(end.iter().rev()).all(|(byte, wanted)| byte == wanted),
        // `missing` is at most the length of `end`.
        Some(missing) => bytes == &end[missing..] && before.ends_with(&end[..missing]),
    }
}

impl UnfinishedLine {
    #[inline]
    pub(in crate::framing) fn next<'a, 'i: 'a>(
        &'a mut self,
        format: &LineFormat,
        input: &mut &'i [u8],
    ) -> Result<Option<&'a [u8]>, LineTooLong> {
        if self.bytes.is_empty() && self.state != State::Skipping {
            let window = &input[..input.len().min(format.window_limit())];
            if let Some(end) = format.find(&[], window) {
                // The slice ends with a delimiter, so it is at least as long.
                let line = &input[..end - format.delimiter.len()];
                *input = &input[end..];
                return Ok(Some(line));
            }
        }
        self.next_buffered(format, input)
    }

    /// The general case: the input contains no whole line, or a line started before it.
    fn next_buffered<'a, 'i: 'a>(
        &'a mut self,
        format: &LineFormat,
        input: &mut &'i [u8],
    ) -> Result<Option<&'a [u8]>, LineTooLong> {
        match self.state {
            State::Collecting => {}
            State::HandedOut => {
                self.bytes.clear();
                self.state = State::Collecting;
                return self.next_after(format, input);
            }
            State::Skipping => {
                self.skip_in(format, input);
                return match self.state {
                    State::Skipping => Ok(None),
                    State::Collecting | State::HandedOut => self.next_after(format, input),
                };
            }
        }
        let window_limit = format.window_limit().saturating_sub(self.bytes.len());
        let window = &input[..input.len().min(window_limit)];
        let found = format.find(&self.bytes, window);
        if found.is_none() && window.len() == window_limit {
            return Err(LineTooLong { limit: format.max_length });
        }
        let taken = found.unwrap_or(input.len());
        // `taken` is a position in the window or the length of the input.
        self.bytes.extend_from_slice(&input[..taken]);
        *input = &input[taken..];
        if found.is_none() {
            return Ok(None);
        }
        self.state = State::HandedOut;
        // The buffer ends with the delimiter.
        Ok(Some(&self.bytes[..self.bytes.len() - format.delimiter.len()]))
    }

    /// Continues with an empty buffer.
    fn next_after<'a, 'i: 'a>(
        &'a mut self,
        format: &LineFormat,
        input: &mut &'i [u8],
    ) -> Result<Option<&'a [u8]>, LineTooLong> {
        if input.is_empty() {
            // An idle decoder owns no buffer.
            self.bytes = Vec::new();
            return Ok(None);
        }
        self.next(format, input)
    }

    pub(in crate::framing) fn bytes(&self) -> &[u8] {
        match self.state {
            State::Collecting => &self.bytes,
            State::HandedOut | State::Skipping => &[],
        }
    }

    pub(in crate::framing) fn clear(&mut self) -> Vec<u8> {
        let bytes = std::mem::take(&mut self.bytes);
        match std::mem::take(&mut self.state) {
            State::Collecting => bytes,
            State::HandedOut | State::Skipping => Vec::new(),
        }
    }

    pub(in crate::framing) fn skip(&mut self) {
        if self.state == State::HandedOut {
            self.bytes.clear();
        }
        self.state = State::Skipping;
    }

    pub(in crate::framing) fn is_skipping(&self) -> bool {
        self.state == State::Skipping
    }

    /// Skips `input` up to the next delimiter, or all of it.
    pub(in crate::framing) fn skip_in(&mut self, format: &LineFormat, input: &mut &[u8]) {
        match format.find(&self.bytes, input) {
            Some(end) => {
                // `end` is a position in the input.
                *input = &input[end..];
                *self = UnfinishedLine::default();
            }
            None => {
                self.skip_over(format, input);
                *input = &[];
            }
        }
    }

    /// Skips these bytes and keeps the last ones, which may be the start of a delimiter.
    pub(in crate::framing) fn skip_over(&mut self, format: &LineFormat, bytes: &[u8]) {
        let beginning = format.delimiter.len().saturating_sub(1);
        let last = bytes.len().saturating_sub(beginning);
        self.bytes.extend_from_slice(bytes.get(last..).unwrap_or_default());
        self.bytes.drain(..self.bytes.len().saturating_sub(beginning));
    }
}

const DELIMITER: &[u8] = b"\r\n";

/// Default limit, in bytes: Twisted's.
const MAX_LENGTH: usize = 16_384;
