//! A property of decoders: messages do not depend on the division of the bytes into reads.

use std::fmt::Debug;

use crate::framing::{Decoder, MessageBuffer, MessageError};

/// Decodes `bytes` under many divisions, and panics unless all give the same messages and the same
/// error. Returns the messages, and `Err` if the input is invalid or ends in the middle of one.
///
/// The divisions are: all in one piece, each of two pieces, and pieces of each size with empty ones
/// between them. The time is quadratic in the number of bytes, which should be at most a few
/// thousand.
///
/// ```
/// use twistor::framing::{MessageError, NetstringDecoder};
/// use twistor::testing::assert_any_cut;
///
/// let decoder = NetstringDecoder::default;
/// let (strings, ended) = assert_any_cut(decoder, b"5:hello,0:,5:wo");
/// assert_eq!(strings, [&b"hello"[..], b""]);
/// assert_eq!(ended, Err(MessageError::UnexpectedEof { read: 4 }));
/// ```
///
/// # Panics
/// If two divisions differ. The message has the pieces of one that differs from the whole.
#[track_caller]
pub fn assert_any_cut<D: Decoder>(mut decoder: impl FnMut() -> D, bytes: &[u8]) -> DecodedInput<D>
where
    D::Message: Debug + PartialEq,
{
    let whole = decode(decoder(), [bytes]);
    let (first, second) = (0..=bytes.len(), 1..=bytes.len());
    let in_two = first.map(|at| vec![&bytes[..at], &bytes[at..]]);
    let even = second.map(|size| bytes.chunks(size).flat_map(|piece| [piece, &[]]).collect());
    for pieces in in_two.chain(even) {
        let cut = decode(decoder(), pieces.iter().copied());
        let same = cut.0 == whole.0 && format!("{:?}", cut.1) == format!("{:?}", whole.1);
        assert!(
            same,
            "the pieces {:?} give {cut:?}, and the whole {whole:?}",
            pieces.iter().map(|piece| piece.escape_ascii().to_string()).collect::<Vec<_>>()
        );
    }
    whole
}

/// The messages of an input, and its end.
pub type DecodedInput<D> = (Vec<<D as Decoder>::Message>, Result<(), MessageError<<D as Decoder>::Error>>);

fn decode<'a, D: Decoder>(decoder: D, pieces: impl IntoIterator<Item = &'a [u8]>) -> DecodedInput<D> {
    let mut buffer = MessageBuffer::new(decoder);
    let mut messages = Vec::new();
    for mut piece in pieces {
        loop {
            match buffer.next(&mut piece) {
                Ok(Some(message)) => messages.push(message),
                Ok(None) => break,
                Err(error) => return (messages, Err(error)),
            }
        }
    }
    loop {
        match buffer.finish() {
            Ok(Some(message)) => messages.push(message),
            Ok(None) => return (messages, Ok(())),
            Err(error) => return (messages, Err(error)),
        }
    }
}
