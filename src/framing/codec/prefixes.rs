//! Strings prefixed by their length, a big-endian number of 8, 16 or 32 bits.

use super::counts::CountDecoder;
use super::string_error::StringTooLong;
use crate::framing::Decoder;

/// The size of a length prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LengthPrefix {
    /// One byte. (Twisted: `Int8StringReceiver`.)
    Int8,
    /// Two bytes, big-endian. (Twisted: `Int16StringReceiver`.)
    Int16,
    /// Four bytes, big-endian. (Twisted: `Int32StringReceiver`.)
    Int32,
}

impl LengthPrefix {
    /// The size of the prefix, in bytes.
    pub fn size(self) -> usize {
        match self {
            LengthPrefix::Int8 => 1,
            LengthPrefix::Int16 => 2,
            LengthPrefix::Int32 => 4,
        }
    }

    /// The maximum length of a string with this prefix, in bytes.
    pub fn max_length(self) -> usize {
        match self {
            LengthPrefix::Int8 => u8::MAX.into(),
            LengthPrefix::Int16 => u16::MAX.into(),
            LengthPrefix::Int32 => usize::try_from(u32::MAX).unwrap_or(usize::MAX),
        }
    }

    /// Encodes a length. The prefix is the last [`size`](LengthPrefix::size) bytes of the returned
    /// array.
    pub(in crate::framing) fn encode(self, length: usize) -> Result<[u8; 4], StringTooLong> {
        match u32::try_from(length) {
            Ok(number) if length <= self.max_length() => Ok(number.to_be_bytes()),
            _ => Err(StringTooLong { length, limit: self.max_length() }),
        }
    }
}

/// A decoder of length-prefixed strings. [`Strings`](crate::framing::Strings) is built on it.
///
/// ```
/// use twistor::framing::{LengthPrefix, PrefixDecoder, StringTooLong};
///
/// let mut decoder = PrefixDecoder::new(LengthPrefix::Int16, 1000);
/// let mut input = &b"\0\x03abc\xff\xff"[..];
/// assert_eq!(decoder.next(&mut input), Ok(Some(&b"abc"[..])));
/// assert_eq!(decoder.next(&mut input), Err(StringTooLong { length: 65_535, limit: 1000 }));
/// ```
#[derive(Clone, Debug)]
pub struct PrefixDecoder {
    prefix: LengthPrefix,
    max_length: usize,
    /// The length of the current string, once its prefix was decoded.
    length: Option<usize>,
    bytes: CountDecoder,
}

impl PrefixDecoder {
    /// Creates a decoder of strings of at most `max_length` bytes. Twisted's limit is 99,999
    /// (`MAX_LENGTH`).
    pub fn new(prefix: LengthPrefix, max_length: usize) -> PrefixDecoder {
        PrefixDecoder { prefix, max_length, length: None, bytes: CountDecoder::default() }
    }

    /// Returns the next string, or `None` if there is no further complete one. `input` is advanced
    /// past the consumed bytes, which are all of it in the latter case. A string that lies
    /// completely in the input is borrowed from it, others from the decoder.
    ///
    /// # Errors
    /// [`StringTooLong`] as soon as the prefix was decoded. Further calls return the same error and
    /// consume nothing, unless [`set_max_length`](PrefixDecoder::set_max_length) raises the limit.
    #[inline]
    pub fn next<'a, 'i: 'a>(&'a mut self, input: &mut &'i [u8]) -> Result<Option<&'a [u8]>, StringTooLong> {
        let length = match self.length {
            Some(length) => length,
            None => {
                let Some(prefix) = self.bytes.next(self.prefix.size(), input) else { return Ok(None) };
                // A prefix has at most four bytes.
                let number = prefix.iter().fold(0_u32, |number, byte| number << 8 | u32::from(*byte));
                *self.length.insert(usize::try_from(number).unwrap_or(usize::MAX))
            }
        };
        if length > self.max_length {
            return Err(StringTooLong { length, limit: self.max_length });
        }
        let string = self.bytes.next(length, input);
        if string.is_some() {
            self.length = None;
        }
        Ok(string)
    }

    /// Takes the received part of an incomplete string, including its prefix, and resets the
    /// decoder.
    pub fn clear(&mut self) -> Vec<u8> {
        let mut all = Vec::new();
        if let Some(Ok(number)) = self.length.take().map(|length| self.prefix.encode(length)) {
            // A prefix has at most four bytes.
            all.extend_from_slice(&number[4 - self.prefix.size()..]);
        }
        all.append(&mut self.bytes.clear());
        all
    }

    /// The size of the length prefix.
    pub fn prefix(&self) -> LengthPrefix {
        self.prefix
    }

    /// The maximum length of a string, in bytes.
    pub fn max_length(&self) -> usize {
        self.max_length
    }

    /// Sets the maximum length, in bytes. It also applies to the current string.
    pub fn set_max_length(&mut self, max_length: usize) {
        self.max_length = max_length;
    }
}

impl Decoder for PrefixDecoder {
    type Message = Vec<u8>;
    type Error = StringTooLong;

    fn decode(&mut self, input: &mut &[u8]) -> Result<Option<Vec<u8>>, StringTooLong> {
        Ok(self.next(input)?.map(<[u8]>::to_vec))
    }

    fn buffered(&self) -> usize {
        let prefix = if self.length.is_some() { self.prefix.size() } else { 0 };
        prefix + self.bytes.unfinished().len()
    }
}

/// Appends a string to `out`, prefixed by its length.
///
/// # Errors
/// [`StringTooLong`] if the length does not fit the prefix. Nothing is appended then. (Twisted:
/// `StringTooLongError`.)
///
/// ```
/// use twistor::framing::{LengthPrefix, encode_string};
///
/// let mut out = Vec::new();
/// encode_string(&mut out, LengthPrefix::Int16, b"abc")?;
/// assert_eq!(out, b"\0\x03abc");
/// assert!(encode_string(&mut out, LengthPrefix::Int8, &[0; 256]).is_err());
/// # Ok::<(), twistor::framing::StringTooLong>(())
/// ```
pub fn encode_string(out: &mut Vec<u8>, prefix: LengthPrefix, string: &[u8]) -> Result<(), StringTooLong> {
    let number = prefix.encode(string.len())?;
    // A prefix has at most four bytes.
    out.extend_from_slice(&number[4 - prefix.size()..]);
    out.extend_from_slice(string);
    Ok(())
}
