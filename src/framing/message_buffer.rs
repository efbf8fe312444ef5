//! A decoder with a buffer for the incomplete message.

use super::codec::MAX_STRING;
use super::decoder::{Decoded, Decoder, last_message, next_message};

/// A [`Decoder`] with a buffer for the message that has not arrived completely, for use without a
/// reactor. [`Messages`](crate::framing::Messages) is built on it.
///
/// ```
/// use twistor::framing::{LineDecoder, MessageBuffer, MessageError};
///
/// let mut buffer = MessageBuffer::new(LineDecoder::default());
/// let mut lines = Vec::new();
/// for mut piece in [&b"one\r\ntw"[..], b"o\r\nthr"] {
///     while let Some(line) = buffer.next(&mut piece)? {
///         lines.push(line);
///     }
/// }
/// assert_eq!(lines, [b"one", b"two"]);
/// assert_eq!(buffer.finish(), Err(MessageError::UnexpectedEof { read: 3 }));
/// # Ok::<(), MessageError<twistor::framing::LineTooLong>>(())
/// ```
///
/// A message that lies completely in one piece of input is not copied into the buffer. Others are
/// copied once. An empty buffer owns no memory.
#[derive(Clone, Debug)]
pub struct MessageBuffer<D> {
    decoder: D,
    max_length: usize,
    bytes: Vec<u8>,
    /// Number of leading `bytes` that were consumed.
    start: usize,
}

impl<D: Decoder> MessageBuffer<D> {
    /// Creates an empty buffer with the default limit.
    pub fn new(decoder: D) -> MessageBuffer<D> {
        MessageBuffer::with_max_length(decoder, MAX_STRING)
    }

    /// Creates an empty buffer with a limit of unconsumed bytes, which is the maximum length of a
    /// message for a decoder that consumes whole messages. Minimum: 1. Default: 99,999.
    pub fn with_max_length(decoder: D, max_length: usize) -> MessageBuffer<D> {
        MessageBuffer { decoder, max_length: max_length.max(1), bytes: Vec::new(), start: 0 }
    }

    /// Returns the next message, or `None` if there is no further complete one. `input` is advanced
    /// past the consumed and the buffered bytes, which are all of it in the latter case.
    ///
    /// # Errors
    /// No method but [`take_rest`](MessageBuffer::take_rest) is of use after an error.
    /// - [`MessageError::Invalid`][Invalid]: the decoder has refused the input.
    /// - [`MessageError::TooLong`][TooLong]: the maximum number of bytes has arrived without a
    ///   message.
    ///
    /// [Invalid]: crate::framing::MessageError::Invalid
    /// [TooLong]: crate::framing::MessageError::TooLong
    #[inline]
    pub fn next(&mut self, input: &mut &[u8]) -> Decoded<D> {
        if self.bytes.is_empty() {
            let decoded = next_message(&mut self.decoder, input, self.max_length);
            if let Ok(None) = decoded
                && !input.is_empty()
            {
                self.bytes.extend_from_slice(input);
                *input = &[];
            }
            return decoded;
        }
        self.next_buffered(input)
    }

    /// Continues a message that started before `input`.
    fn next_buffered(&mut self, input: &mut &[u8]) -> Decoded<D> {
        loop {
            let unread = self.bytes.len() - self.start;
            if self.start > unread {
                // Amortized: at most as many bytes are moved as were consumed.
                self.bytes.drain(..std::mem::take(&mut self.start));
            }
            // Twice the bytes at each call, so that the time is linear and the rest of a large
            // input is not copied.
            let wanted = self.decoder.min_input().saturating_sub(unread).max(unread).max(MIN_GROWTH);
            let (taken, rest) = input.split_at(wanted.min(input.len()));
            self.bytes.extend_from_slice(taken);
            let decoded = self.decode_buffered(next_message);
            let unread = self.bytes.len() - self.start;
            match &decoded {
                Ok(None) => *input = rest,
                // Unread bytes that came from the input go back there.
                Ok(Some(_)) | Err(_) => match taken.len().checked_sub(unread) {
                    Some(used) => {
                        *input = input.get(used..).unwrap_or_default();
                        self.reset();
                    }
                    None => self.bytes.truncate(self.bytes.len() - taken.len()),
                },
            }
            if self.start == self.bytes.len() {
                self.reset();
                if let Ok(None) = decoded {
                    return self.next_of_nonempty(input);
                }
            }
            if !matches!(decoded, Ok(None)) || input.is_empty() {
                return decoded;
            }
        }
    }

    fn next_of_nonempty(&mut self, input: &mut &[u8]) -> Decoded<D> {
        if input.is_empty() { Ok(None) } else { self.next(input) }
    }

    /// Returns the last messages, one a call, after the end of the input. `None`: that was the
    /// last.
    ///
    /// # Errors
    /// - [`MessageError::Invalid`][Invalid]: the decoder has refused the input.
    /// - [`MessageError::UnexpectedEof`][UnexpectedEof]: the message is incomplete.
    ///
    /// [Invalid]: crate::framing::MessageError::Invalid
    /// [UnexpectedEof]: crate::framing::MessageError::UnexpectedEof
    pub fn finish(&mut self) -> Decoded<D> {
        self.decode_buffered(last_message)
    }

    fn decode_buffered(
        &mut self,
        decode: impl FnOnce(&mut D, &mut &[u8], usize) -> Decoded<D>,
    ) -> Decoded<D> {
        let mut unread = self.bytes.get(self.start..).unwrap_or_default();
        let decoded = decode(&mut self.decoder, &mut unread, self.max_length);
        self.start = self.bytes.len() - unread.len();
        decoded
    }

    /// The buffered bytes: taken from the input, and not consumed by the decoder.
    pub fn unfinished(&self) -> &[u8] {
        self.bytes.get(self.start..).unwrap_or_default()
    }

    /// Takes the buffered bytes, for example for another protocol. Bytes that the decoder has
    /// consumed for an incomplete message are not among them.
    pub fn take_rest(&mut self) -> Vec<u8> {
        let mut bytes = std::mem::take(&mut self.bytes);
        bytes.drain(..std::mem::take(&mut self.start));
        bytes
    }

    /// The decoder.
    pub fn decoder(&self) -> &D {
        &self.decoder
    }

    /// The decoder, for example to change its mode.
    pub fn decoder_mut(&mut self) -> &mut D {
        &mut self.decoder
    }

    /// The limit of unconsumed bytes.
    pub fn max_length(&self) -> usize {
        self.max_length
    }

    /// Sets the limit of unconsumed bytes. Minimum: 1.
    pub fn set_max_length(&mut self, max_length: usize) {
        self.max_length = max_length.max(1);
    }

    fn reset(&mut self) {
        self.bytes = Vec::new();
        self.start = 0;
    }
}

/// Minimum number of bytes that are added to an incomplete message.
const MIN_GROWTH: usize = 64;
