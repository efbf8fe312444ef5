//! Strings with their length in front, as a big-endian number of 8, 16 or 32 bits.

use super::counts::CountDecoder;
use super::string_error::StringTooLong;

/// How the length stands in front of a string.
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
    /// How many bytes it takes.
    pub fn size(self) -> usize {
        match self {
            LengthPrefix::Int8 => 1,
            LengthPrefix::Int16 => 2,
            LengthPrefix::Int32 => 4,
        }
    }

    /// The longest string that can stand behind it.
    pub fn longest(self) -> usize {
        match self {
            LengthPrefix::Int8 => u8::MAX.into(),
            LengthPrefix::Int16 => u16::MAX.into(),
            LengthPrefix::Int32 => usize::try_from(u32::MAX).unwrap_or(usize::MAX),
        }
    }

    /// The bytes for a string of this length: the last [`size`](LengthPrefix::size) of these four.
    pub(in crate::framing) fn encode(self, length: usize) -> Result<[u8; 4], StringTooLong> {
        match u32::try_from(length) {
            Ok(number) if length <= self.longest() => Ok(number.to_be_bytes()),
            _ => Err(StringTooLong { length, limit: self.longest() }),
        }
    }
}

/// Takes strings from bytes in which each has its length in front. The one implementation beneath
/// [`Strings`](crate::framing::Strings).
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
    /// Of the string whose prefix has come.
    length: Option<usize>,
    bytes: CountDecoder,
}

impl PrefixDecoder {
    /// Strings of at most `max_length` bytes. Twisted's limit is 99,999 (`MAX_LENGTH`).
    pub fn new(prefix: LengthPrefix, max_length: usize) -> PrefixDecoder {
        PrefixDecoder { prefix, max_length, length: None, bytes: CountDecoder::default() }
    }

    /// The next string. `input` is moved behind what was taken, which is all of it when there is no further one. A string
    /// that lies whole in the input is borrowed from it, another one from the decoder.
    ///
    /// # Errors
    /// [`StringTooLong`] on the prefix alone, before the string. The next call says the same, and nothing more is taken, unless
    /// [`set_max_length`](PrefixDecoder::set_max_length) has let it pass.
    #[inline]
    pub fn next<'a, 'i: 'a>(&'a mut self, input: &mut &'i [u8]) -> Result<Option<&'a [u8]>, StringTooLong> {
        let length = match self.length {
            Some(length) => length,
            None => {
                let Some(prefix) = self.bytes.next(self.prefix.size(), input) else { return Ok(None) };
                // At most four bytes.
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

    /// Forgets the string that is not complete, and returns what came of it, its prefix included.
    pub fn clear(&mut self) -> Vec<u8> {
        let mut all = Vec::new();
        if let Some(Ok(number)) = self.length.take().map(|length| self.prefix.encode(length)) {
            // No prefix is longer than four bytes.
            all.extend_from_slice(&number[4 - self.prefix.size()..]);
        }
        all.append(&mut self.bytes.clear());
        all
    }

    /// How the length stands in front.
    pub fn prefix(&self) -> LengthPrefix {
        self.prefix
    }

    /// How many bytes a string may have.
    pub fn max_length(&self) -> usize {
        self.max_length
    }

    /// Sets how many bytes a string may have that is not complete.
    pub fn set_max_length(&mut self, max_length: usize) {
        self.max_length = max_length;
    }
}

/// Appends a string with its length in front to what goes out.
///
/// # Errors
/// [`StringTooLong`] when the prefix has no room for its length. Nothing is appended then. (Twisted: `StringTooLongError`.)
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
    // No prefix is longer than four bytes.
    out.extend_from_slice(&number[4 - prefix.size()..]);
    out.extend_from_slice(string);
    Ok(())
}
