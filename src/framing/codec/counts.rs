//! A decoder of blocks of known size, the basis of all framings with lengths.

/// A decoder that takes a requested number of bytes from its input.
///
/// ```
/// use twistor::framing::CountDecoder;
///
/// let mut decoder = CountDecoder::default();
/// let mut input = &b"abcdef"[..];
/// assert_eq!(decoder.next(2, &mut input), Some(&b"ab"[..]));
/// assert_eq!(decoder.next(5, &mut input), None);
/// assert_eq!(decoder.unfinished(), b"cdef");
/// assert_eq!(decoder.next(5, &mut &b"gh"[..]), Some(&b"cdefg"[..]));
/// ```
///
/// It has no limit of its own: the caller must limit the requested number. Memory is allocated as
/// bytes arrive, not as they are requested.
#[derive(Clone, Debug, Default)]
pub struct CountDecoder {
    bytes: Vec<u8>,
    /// Number of leading `bytes` that were already returned.
    start: usize,
}

impl CountDecoder {
    /// Returns the next `count` bytes, or `None` until they have arrived. `input` is advanced past
    /// the consumed bytes, which are all of it if there are too few. Bytes that lie completely in
    /// the input are borrowed from it, others from the decoder.
    ///
    /// A call may request fewer bytes than the one before. It gets the first of the buffered bytes.
    #[inline]
    pub fn next<'a, 'i: 'a>(&'a mut self, count: usize, input: &mut &'i [u8]) -> Option<&'a [u8]> {
        if self.bytes.is_empty()
            && let Some((taken, rest)) = input.split_at_checked(count)
        {
            *input = rest;
            return Some(taken);
        }
        self.next_buffered(count, input)
    }

    fn next_buffered<'a, 'i: 'a>(&'a mut self, count: usize, input: &mut &'i [u8]) -> Option<&'a [u8]> {
        if self.start > 0 {
            if self.start == self.bytes.len() {
                self.start = 0;
                self.bytes.clear();
                if input.is_empty() {
                    // An idle decoder owns no buffer.
                    self.bytes = Vec::new();
                }
                return self.next(count, input);
            }
            if self.start > self.bytes.len() / 2 {
                // Amortized: at most as many bytes are moved as were returned.
                self.bytes.drain(..std::mem::take(&mut self.start));
            }
        }
        let missing = count.saturating_sub(self.bytes.len() - self.start);
        let (taken, rest) = input.split_at(missing.min(input.len()));
        self.bytes.extend_from_slice(taken);
        *input = rest;
        if taken.len() < missing {
            return None;
        }
        let from = self.start;
        self.start += count;
        self.bytes.get(from..self.start)
    }

    /// The buffered bytes: taken from the input, and not yet returned.
    pub fn unfinished(&self) -> &[u8] {
        self.bytes.get(self.start..).unwrap_or_default()
    }

    /// Takes the buffered bytes and resets the decoder.
    pub fn clear(&mut self) -> Vec<u8> {
        let start = std::mem::take(&mut self.start);
        let mut bytes = std::mem::take(&mut self.bytes);
        bytes.drain(..start);
        bytes
    }
}
