//! Decoders: the trait of all framings.

use std::error::Error;
use std::fmt;

/// A framing: cuts messages out of received bytes. ([`tokio_util::codec::Decoder`][tokio]; netty:
/// `ByteToMessageDecoder`.)
///
/// The same decoder serves a handler of a connection ([`Messages`](crate::framing::Messages)), a
/// task ([`StreamReader::read_message`](crate::stream::StreamReader::read_message)), code without a
/// reactor ([`MessageBuffer`](crate::framing::MessageBuffer)), and tests
/// ([`assert_any_cut`](crate::testing::assert_any_cut)). The shipped codecs implement it.
///
/// A decoder of MQTT's packets, whose length is a number of one to four bytes:
///
/// ```
/// use std::convert::Infallible;
/// use twistor::framing::{Decoder, MessageBuffer};
///
/// struct Packets;
///
/// impl Decoder for Packets {
///     type Message = (u8, Vec<u8>);
///     type Error = Infallible;
///
///     fn decode(&mut self, input: &mut &[u8]) -> Result<Option<(u8, Vec<u8>)>, Infallible> {
///         let Some((kind, rest)) = input.split_first() else { return Ok(None) };
///         let digits = rest.iter().take(4).take_while(|byte| **byte >= 0x80).count() + 1;
///         let Some((digits, rest)) = rest.split_at_checked(digits.min(4)) else { return Ok(None) };
///         let length = digits.iter().rev().fold(0, |length, digit| length << 7 | usize::from(digit & 0x7f));
///         let Some((body, rest)) = rest.split_at_checked(length) else { return Ok(None) };
///         *input = rest;
///         Ok(Some((*kind, body.to_vec())))
///     }
/// }
///
/// let mut buffer = MessageBuffer::new(Packets);
/// let mut input = &b"\xc0\x00\x30\x03a/b"[..];
/// assert_eq!(buffer.next(&mut input), Ok(Some((0xc0, vec![]))));
/// assert_eq!(buffer.next(&mut input), Ok(Some((0x30, b"a/b".to_vec()))));
/// assert_eq!(buffer.next(&mut input), Ok(None));
/// ```
///
/// # The contract
///
/// - **Input.** `input` has all bytes that were received and not consumed. The decoder consumes
///   bytes by advancing the slice. Unconsumed bytes are kept by the caller and are the start of the
///   next input.
/// - **Incomplete messages.** A decoder that needs more bytes returns `None`. A simple decoder
///   consumes nothing then, and reads the message again from its start when more has arrived. A
///   decoder may also consume a part and keep it, as the shipped ones do. It then implements
///   [`buffered`](Decoder::buffered).
/// - **Calls.** `decode` is called when bytes have arrived, and again after each message. It is
///   not called with less than [`min_input`](Decoder::min_input) bytes. Between two messages a
///   handler can change the decoder, or pause or end the delivery. The bytes after the message are
///   then untouched.
/// - **Linear time.** A decoder that reads an incomplete message again at each call takes quadratic
///   time if bytes arrive one by one. To avoid that it sets `min_input` once it knows the length,
///   stores the position up to which it has searched, or consumes what it has read. The decoders
///   [`LineDecoder`](crate::framing::LineDecoder) and
///   [`CountDecoder`](crate::framing::CountDecoder) are parts to build such decoders from.
/// - **Limit.** The caller limits the unconsumed bytes. A decoder never sees more than the limit.
///   If it has that many bytes and neither returns a message nor consumes any, the message is too
///   long. A decoder that consumes parts of messages limits these itself.
/// - **Errors** are final: the decoder is not called again.
/// - **The end.** At the end of the input, [`decode_eof`](Decoder::decode_eof) is called until it
///   returns `None`. Remaining bytes are an incomplete message, which is an error
///   ([`MessageError::UnexpectedEof`]).
/// - **Messages and errors depend only on the bytes**, not on their division into reads.
///   [`assert_any_cut`](crate::testing::assert_any_cut) checks that.
///
/// [tokio]: https://docs.rs/tokio-util/latest/tokio_util/codec/trait.Decoder.html
#[doc(alias("Framed", "FramedRead"))]
pub trait Decoder {
    /// A decoded message. It owns its data.
    type Message;

    /// The error of invalid input.
    type Error: Error + Send + Sync + 'static;

    /// Takes the next message from the start of `input`. Returns `None` if it is incomplete.
    ///
    /// # Errors
    /// The input is invalid. The connection ends.
    fn decode(&mut self, input: &mut &[u8]) -> Result<Option<Self::Message>, Self::Error>;

    /// Same as [`decode`](Decoder::decode), after the end of the input. `input` may be empty. A
    /// decoder whose last message needs no terminator returns it here. Default: calls `decode`
    /// unless `input` is empty.
    ///
    /// # Errors
    /// The input is invalid.
    fn decode_eof(&mut self, input: &mut &[u8]) -> Result<Option<Self::Message>, Self::Error> {
        if input.is_empty() { Ok(None) } else { self.decode(input) }
    }

    /// Minimum number of unconsumed bytes with which `decode` can do anything. Asked before each
    /// call. A decoder that has stored complete messages returns 0 until it has returned them.
    /// Default: 1.
    fn min_input(&self) -> usize {
        1
    }

    /// Number of consumed bytes that belong to an incomplete message, or any other number above 0
    /// while there are such bytes. Default: 0, for decoders that consume whole messages.
    fn buffered(&self) -> usize {
        0
    }
}

/// Error of received bytes that are no message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum MessageError<E> {
    /// The decoder has refused the bytes.
    Invalid(E),
    /// A message is longer than the limit.
    TooLong {
        /// The limit, in bytes.
        limit: usize,
    },
    /// The input ended in the middle of a message.
    UnexpectedEof {
        /// Number of bytes received of the message.
        read: usize,
    },
}

impl<E: fmt::Display> fmt::Display for MessageError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            MessageError::Invalid(error) => error.fmt(f),
            MessageError::TooLong { limit } => write!(f, "a message is longer than {limit} bytes"),
            MessageError::UnexpectedEof { read } => {
                write!(f, "the input ended after {read} bytes of a message")
            }
        }
    }
}

impl<E: Error> Error for MessageError<E> {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            MessageError::Invalid(error) => error.source(),
            MessageError::TooLong { .. } | MessageError::UnexpectedEof { .. } => None,
        }
    }
}

/// The result of a decoder, or the error that its caller found.
pub(crate) type Decoded<D> = Result<Option<<D as Decoder>::Message>, MessageError<<D as Decoder>::Error>>;

/// Returns the next message from `input`, and advances it past the consumed bytes. At most `limit`
/// unconsumed bytes are shown to the decoder.
pub(crate) fn next_message<D: Decoder>(decoder: &mut D, input: &mut &[u8], limit: usize) -> Decoded<D> {
    loop {
        if decoder.min_input() > input.len() {
            return incomplete(decoder, limit);
        }
        let (decoded, left) = call(decoder, input, limit, D::decode);
        if !matches!(decoded, Ok(None)) {
            return decoded;
        }
        if left >= limit {
            return Err(MessageError::TooLong { limit });
        }
        if left == input.len() {
            return incomplete(decoder, limit);
        }
        // The decoder has consumed a part, and has not seen all of the rest.
    }
}

/// The result for a message that is incomplete, and may be known to be too long.
fn incomplete<D: Decoder>(decoder: &D, limit: usize) -> Decoded<D> {
    match decoder.min_input() > limit {
        true => Err(MessageError::TooLong { limit }),
        false => Ok(None),
    }
}

/// Same as [`next_message`], after the end of the input.
pub(crate) fn last_message<D: Decoder>(decoder: &mut D, input: &mut &[u8], limit: usize) -> Decoded<D> {
    let (decoded, _) = call(decoder, input, limit, D::decode_eof);
    match (decoded, input.len() + decoder.buffered()) {
        (Ok(None), read @ 1..) => Err(MessageError::UnexpectedEof { read }),
        (decoded, _) => decoded,
    }
}

/// Calls the decoder with at most `limit` bytes. Returns how many of these it has left.
fn call<D: Decoder>(
    decoder: &mut D,
    input: &mut &[u8],
    limit: usize,
    decode: impl FnOnce(&mut D, &mut &[u8]) -> Result<Option<D::Message>, D::Error>,
) -> (Decoded<D>, usize) {
    let shown = input.get(..limit).unwrap_or(input);
    let mut rest = shown;
    let result = decode(decoder, &mut rest);
    // A decoder can put any slice in the place of the input. Only its length counts.
    let left = rest.len().min(shown.len());
    *input = input.get(shown.len() - left..).unwrap_or_default();
    (result.map_err(MessageError::Invalid), left)
}
