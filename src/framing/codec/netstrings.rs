//! Netstrings: the length in decimal digits, a colon, that number of bytes, a comma. (D. J.
//! Bernstein, "Netstrings", 1997.)

use super::counts::CountDecoder;
use super::string_error::{StringError, StringTooLong};
use crate::framing::Decoder;

/// A decoder of netstrings: `b"3:abc,"` is `abc`. [`Strings`](crate::framing::Strings) is built on
/// it.
///
/// ```
/// use twistor::framing::{NetstringDecoder, StringError};
///
/// let mut decoder = NetstringDecoder::new(1000);
/// let mut input = &b"3:abc,0:,01:"[..];
/// assert_eq!(decoder.next(&mut input), Ok(Some(&b"abc"[..])));
/// assert_eq!(decoder.next(&mut input), Ok(Some(&b""[..])));
/// assert_eq!(decoder.next(&mut input), Err(StringError::LeadingZero));
/// ```
#[derive(Clone, Debug)]
pub struct NetstringDecoder {
    max_length: usize,
    state: State,
    string: CountDecoder,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum State {
    /// At the start of a netstring.
    Length,
    /// In the length. The digits so far have this value.
    Digits(usize),
    /// In a string of this length, which is followed by a comma.
    String(usize),
    Broken(StringError),
}

impl NetstringDecoder {
    /// Creates a decoder of strings of at most `max_length` bytes. (Twisted: `MAX_LENGTH`.)
    /// Default: 99,999.
    pub fn new(max_length: usize) -> NetstringDecoder {
        NetstringDecoder { max_length, state: State::Length, string: CountDecoder::default() }
    }

    /// Returns the next string, or `None` if there is no further complete one. `input` is advanced
    /// past the consumed bytes, which are all of it in the latter case. A string that lies
    /// completely in the input is borrowed from it, others from the decoder.
    ///
    /// # Errors
    /// [`StringError`] at the first byte that is invalid in a netstring. A string that is too long
    /// is detected by its length digits. The error is permanent: further calls return it again and
    /// consume nothing. (Twisted: `brokenPeer`.)
    #[inline]
    pub fn next<'a, 'i: 'a>(&'a mut self, input: &mut &'i [u8]) -> Result<Option<&'a [u8]>, StringError> {
        if let State::String(_) | State::Broken(_) = self.state {
        } else if !self.take_length(input)? {
            return Ok(None);
        }
        self.take_string(input)
    }

    /// The maximum length of a string, in bytes.
    pub fn max_length(&self) -> usize {
        self.max_length
    }

    /// Sets the maximum length, in bytes, for strings whose length has not been decoded yet.
    pub fn set_max_length(&mut self, max_length: usize) {
        self.max_length = max_length;
    }

    /// Takes the received part of an incomplete netstring, including its length, and resets the
    /// decoder. After an error it returns nothing, and the next netstring starts at the current
    /// input.
    pub fn clear(&mut self) -> Vec<u8> {
        let string = self.string.clear();
        match std::mem::replace(&mut self.state, State::Length) {
            State::Digits(number) => number.to_string().into_bytes(),
            State::String(length) => [format!("{length}:").as_bytes(), &string].concat(),
            State::Length | State::Broken(_) => Vec::new(),
        }
    }

    /// The permanent error, if there was one.
    pub fn error(&self) -> Option<&StringError> {
        match &self.state {
            State::Broken(error) => Some(error),
            _ => None,
        }
    }

    /// Decodes the length up to the colon. Returns `false` if more input is needed.
    fn take_length(&mut self, input: &mut &[u8]) -> Result<bool, StringError> {
        while let Some((&byte, rest)) = input.split_first() {
            self.state = match (&self.state, byte) {
                (State::Length, b'0'..=b'9') => self.digits(0, byte),
                (State::Length, found) => State::Broken(StringError::NoLength { found }),
                (State::Digits(0), b'0'..=b'9') => State::Broken(StringError::LeadingZero),
                (&State::Digits(number), b'0'..=b'9') => self.digits(number, byte),
                (&State::Digits(length), b':') => State::String(length),
                (State::Digits(_), found) => State::Broken(StringError::NoColon { found }),
                (State::String(_) | State::Broken(_), _) => break,
            };
            if let State::Broken(error) = &self.state {
                return Err(error.clone());
            }
            *input = rest;
        }
        Ok(matches!(self.state, State::String(_)))
    }

    fn digits(&self, number: usize, digit: u8) -> State {
        let length = number.saturating_mul(10).saturating_add(usize::from(digit - b'0'));
        match length > self.max_length {
            true => State::Broken(StringTooLong { length, limit: self.max_length }.into()),
            false => State::Digits(length),
        }
    }

    #[inline]
    fn take_string<'a, 'i: 'a>(&'a mut self, input: &mut &'i [u8]) -> Result<Option<&'a [u8]>, StringError> {
        let length = match &self.state {
            State::String(length) => *length,
            State::Broken(error) => return Err(error.clone()),
            State::Length | State::Digits(_) => return Ok(None),
        };
        let Some(string) = self.string.next(length.saturating_add(1), input) else { return Ok(None) };
        match string.split_last() {
            Some((b',', string)) => {
                self.state = State::Length;
                Ok(Some(string))
            }
            last => {
                let found = last.map_or(0, |(byte, _)| *byte);
                self.state = State::Broken(StringError::NoComma { found });
                Err(StringError::NoComma { found })
            }
        }
    }
}

impl Default for NetstringDecoder {
    fn default() -> NetstringDecoder {
        NetstringDecoder::new(super::MAX_STRING)
    }
}

impl Decoder for NetstringDecoder {
    type Message = Vec<u8>;
    type Error = StringError;

    fn decode(&mut self, input: &mut &[u8]) -> Result<Option<Vec<u8>>, StringError> {
        Ok(self.next(input)?.map(<[u8]>::to_vec))
    }

    fn buffered(&self) -> usize {
        let digits = |number: usize| number.checked_ilog10().unwrap_or(0) as usize + 1;
        match self.state {
            State::Length | State::Broken(_) => 0,
            State::Digits(number) => digits(number),
            State::String(length) => digits(length) + 1 + self.string.unfinished().len(),
        }
    }
}

/// Appends a string to `out` as a netstring.
///
/// ```
/// let mut out = Vec::new();
/// twistor::framing::encode_netstring(&mut out, b"abc");
/// assert_eq!(out, b"3:abc,");
/// ```
pub fn encode_netstring(out: &mut Vec<u8>, string: &[u8]) {
    out.extend_from_slice(format!("{}:", string.len()).as_bytes());
    out.extend_from_slice(string);
    out.push(b',');
}
