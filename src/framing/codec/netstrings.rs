//! Netstrings: the length in decimal digits, a colon, as many bytes, a comma. (D. J. Bernstein, "Netstrings", 1997.)

use super::counts::CountDecoder;
use super::string_error::{StringError, StringTooLong};

/// Takes strings from netstrings: `b"3:abc,"` is `abc`. The one implementation beneath
/// [`Strings`](crate::framing::Strings).
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
    /// A netstring begins.
    Length,
    /// Its first digits make this number.
    Digits(usize),
    /// So many bytes and a comma.
    String(usize),
    Broken(StringError),
}

impl NetstringDecoder {
    /// Strings of at most `max_length` bytes. The default is 99,999. (Twisted: `MAX_LENGTH`.)
    pub fn new(max_length: usize) -> NetstringDecoder {
        NetstringDecoder { max_length, state: State::Length, string: CountDecoder::default() }
    }

    /// The next string. `input` is moved behind what was taken, which is all of it when there is no further one. A string
    /// that lies whole in the input is borrowed from it, another one from the decoder.
    ///
    /// # Errors
    /// [`StringError`] at the first byte that cannot be one of a netstring; one that is too long is known by its digits. There is no
    /// way to go on: every further call says the same, and takes nothing. (Twisted: `brokenPeer`.)
    #[inline]
    pub fn next<'a, 'i: 'a>(&'a mut self, input: &mut &'i [u8]) -> Result<Option<&'a [u8]>, StringError> {
        if let State::String(_) | State::Broken(_) = self.state {
        } else if !self.take_length(input)? {
            return Ok(None);
        }
        self.take_string(input)
    }

    /// How many bytes a string may have.
    pub fn max_length(&self) -> usize {
        self.max_length
    }

    /// Sets how many bytes a string may have whose length has not come.
    pub fn set_max_length(&mut self, max_length: usize) {
        self.max_length = max_length;
    }

    /// Forgets the netstring that is not complete and returns what came of it, its length included. After an error there is nothing
    /// to return, and the next netstring begins where the input stands.
    pub fn clear(&mut self) -> Vec<u8> {
        let string = self.string.clear();
        match std::mem::replace(&mut self.state, State::Length) {
            State::Digits(number) => number.to_string().into_bytes(),
            State::String(length) => [format!("{length}:").as_bytes(), &string].concat(),
            State::Length | State::Broken(_) => Vec::new(),
        }
    }

    /// The error that ended it.
    pub fn error(&self) -> Option<&StringError> {
        match &self.state {
            State::Broken(error) => Some(error),
            _ => None,
        }
    }

    /// Digits, up to the colon; `false` when more of them may come.
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

/// Appends a string as a netstring to what goes out. Any string can be one.
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
