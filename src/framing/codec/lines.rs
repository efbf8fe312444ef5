//! Lines: bytes up to a delimiter, which is not part of them.
//!
//! Each byte is looked at once, however the input is cut: what was searched is not searched again. A byte is copied at most once
//! by the decoder, and only when its line does not lie whole in one piece of input.

use std::borrow::Cow;
use std::fmt;

/// Takes lines from bytes. The one implementation beneath [`Lines`](crate::framing::Lines) and
/// [`LinesOnly`](crate::framing::LinesOnly).
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

/// What ends a line, and how long it may be.
#[derive(Clone, Debug)]
pub(in crate::framing) struct LineFormat {
    pub(in crate::framing) delimiter: Cow<'static, [u8]>,
    pub(in crate::framing) max_length: usize,
}

/// What came of a line before its end.
#[derive(Clone, Debug, Default)]
pub(in crate::framing) struct UnfinishedLine {
    bytes: Vec<u8>,
    state: State,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    /// The bytes hold no delimiter.
    #[default]
    Collecting,
    /// They were a line, with its delimiter, and it was handed out.
    HandedOut,
    /// Nothing is of use up to the next delimiter; the bytes may be the beginning of one.
    Skipping,
}

impl LineDecoder {
    /// Lines that end in `delimiter` and have at most `max_length` bytes without it. The default is `\r\n` and 16,384. (Twisted:
    /// `delimiter`, `MAX_LENGTH`.) An empty delimiter ends no line.
    ///
    /// The last byte of the delimiter is what is searched for: time goes with the bytes, and with the delimiter's length where
    /// that byte stands alone.
    pub fn new(delimiter: impl Into<Cow<'static, [u8]>>, max_length: usize) -> LineDecoder {
        LineDecoder {
            format: LineFormat { delimiter: delimiter.into(), max_length },
            unfinished: UnfinishedLine::default(),
        }
    }

    /// The next line. `input` is moved behind what was taken, which is all of it when there is no further line. A line that
    /// lies whole in the input is borrowed from it, another one from the decoder.
    ///
    /// # Errors
    /// [`LineTooLong`], as soon as that is certain: a line of `max_length` is in order however it is cut, and without its delimiter
    /// `max_length` bytes and all but one of the delimiter's may wait. Nothing is taken then: [`unfinished`](LineDecoder::unfinished) and the
    /// input hold the line, and the next call says the same, until [`clear`](LineDecoder::clear) or
    /// [`skip_line`](LineDecoder::skip_line).
    #[inline]
    pub fn next<'a, 'i: 'a>(&'a mut self, input: &mut &'i [u8]) -> Result<Option<&'a [u8]>, LineTooLong> {
        self.unfinished.next(&self.format, input)
    }

    /// What came of a line before its end: taken from the input, and not handed out.
    pub fn unfinished(&self) -> &[u8] {
        self.unfinished.bytes()
    }

    /// Forgets the unfinished line and returns it. What comes next is the beginning of a line.
    pub fn clear(&mut self) -> Vec<u8> {
        self.unfinished.clear()
    }

    /// Throws away what there is of a line up to its delimiter, which may be still to come; the next line is the one after it.
    pub fn skip_line(&mut self) {
        self.unfinished.skip();
    }

    /// What ends a line.
    pub fn delimiter(&self) -> &[u8] {
        &self.format.delimiter
    }

    /// How many bytes a line may have.
    pub fn max_length(&self) -> usize {
        self.format.max_length
    }
}

impl Default for LineDecoder {
    fn default() -> LineDecoder {
        LineDecoder::new(DELIMITER, MAX_LENGTH)
    }
}

/// Appends a line and its delimiter to what goes out. A delimiter in the line would end it for whoever reads it: that is for the caller
/// to see to.
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

/// A line is longer than it may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LineTooLong {
    /// How many bytes it may have.
    pub limit: usize,
}

impl fmt::Display for LineTooLong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a line is longer than {} bytes", self.limit)
    }
}

impl std::error::Error for LineTooLong {}

impl LineFormat {
    /// As many bytes without a delimiter are a line that is too long.
    fn room(&self) -> usize {
        self.max_length.saturating_add(self.delimiter.len())
    }

    /// Where the first delimiter ends in `input`, which comes after `before`.
    #[inline]
    pub(in crate::framing) fn find(&self, before: &[u8], input: &[u8]) -> Option<usize> {
        let (&last, head) = self.delimiter.split_last()?;
        let mut from = 0;
        // `from` is at most the length: it is behind a byte that was found.
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

/// Whether `before` and `bytes`, put together, end with `end`.
#[inline]
fn ends_with(before: &[u8], bytes: &[u8], end: &[u8]) -> bool {
    match end.len().checked_sub(bytes.len()) {
        // Byte by byte: there is one, mostly, and it is not worth a call.
        None | Some(0) => bytes.iter().rev().zip(end.iter().rev()).all(|(byte, wanted)| byte == wanted),
        // No more than the end is long.
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
            let window = &input[..input.len().min(format.room())];
            if let Some(end) = format.find(&[], window) {
                // A delimiter ends there, so there are as many bytes before it as it has.
                let line = &input[..end - format.delimiter.len()];
                *input = &input[end..];
                return Ok(Some(line));
            }
        }
        self.next_in_pieces(format, input)
    }

    /// There is no whole line in the input, or one has begun before it.
    fn next_in_pieces<'a, 'i: 'a>(
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
            State::Skipping => match format.find(&self.bytes, input) {
                Some(end) => {
                    *input = &input[end..];
                    self.bytes = Vec::new();
                    self.state = State::Collecting;
                    return self.next_after(format, input);
                }
                None => {
                    self.skip_over(format, input);
                    *input = &[];
                    return Ok(None);
                }
            },
        }
        let room = format.room().saturating_sub(self.bytes.len());
        let window = &input[..input.len().min(room)];
        let found = format.find(&self.bytes, window);
        if found.is_none() && window.len() == room {
            return Err(LineTooLong { limit: format.max_length });
        }
        let taken = found.unwrap_or(input.len());
        // At most the window, or all of it.
        self.bytes.extend_from_slice(&input[..taken]);
        *input = &input[taken..];
        if found.is_none() {
            return Ok(None);
        }
        self.state = State::HandedOut;
        // The delimiter was found at its end.
        Ok(Some(&self.bytes[..self.bytes.len() - format.delimiter.len()]))
    }

    /// The bytes before the input are gone.
    fn next_after<'a, 'i: 'a>(
        &'a mut self,
        format: &LineFormat,
        input: &mut &'i [u8],
    ) -> Result<Option<&'a [u8]>, LineTooLong> {
        if input.is_empty() {
            // A decoder that rests owns no buffer.
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

    /// These bytes are skipped, and their end may be the beginning of a delimiter.
    pub(in crate::framing) fn skip_over(&mut self, format: &LineFormat, bytes: &[u8]) {
        let beginning = format.delimiter.len().saturating_sub(1);
        let last = bytes.len().saturating_sub(beginning);
        self.bytes.extend_from_slice(bytes.get(last..).unwrap_or_default());
        self.bytes.drain(..self.bytes.len().saturating_sub(beginning));
    }
}

const DELIMITER: &[u8] = b"\r\n";

/// Twisted's.
const MAX_LENGTH: usize = 16_384;
