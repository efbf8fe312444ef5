//! So many bytes, and then so many: what all framings with lengths are made of.

/// Takes as many bytes as it is told from what comes.
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
/// It has no limit of its own: whoever says how many sees to it that they are not too many. Memory is taken as bytes
/// come, not as they are announced.
#[derive(Clone, Debug, Default)]
pub struct CountDecoder {
    bytes: Vec<u8>,
    /// So many of them were handed out.
    start: usize,
}

impl CountDecoder {
    /// The next `count` bytes, when they have come. `input` is moved behind what was taken, which is all of it when they
    /// have not. Bytes that lie whole in the input are borrowed from it, others from the decoder.
    ///
    /// Fewer can be asked for than before: these are the first of those that came.
    #[inline]
    pub fn next<'a, 'i: 'a>(&'a mut self, count: usize, input: &mut &'i [u8]) -> Option<&'a [u8]> {
        if self.bytes.is_empty()
            && let Some((taken, rest)) = input.split_at_checked(count)
        {
            *input = rest;
            return Some(taken);
        }
        self.next_in_pieces(count, input)
    }

    fn next_in_pieces<'a, 'i: 'a>(&'a mut self, count: usize, input: &mut &'i [u8]) -> Option<&'a [u8]> {
        if self.start > 0 {
            if self.start == self.bytes.len() {
                self.start = 0;
                self.bytes.clear();
                if input.is_empty() {
                    // A decoder that rests owns no buffer.
                    self.bytes = Vec::new();
                }
                return self.next(count, input);
            }
            if self.start > self.bytes.len() / 2 {
                // No more is moved than was handed out.
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

    /// The bytes that were taken from the input, and not handed out.
    pub fn unfinished(&self) -> &[u8] {
        self.bytes.get(self.start..).unwrap_or_default()
    }

    /// Forgets the bytes that were taken and not handed out, and returns them.
    pub fn clear(&mut self) -> Vec<u8> {
        let start = std::mem::take(&mut self.start);
        let mut bytes = std::mem::take(&mut self.bytes);
        bytes.drain(..start);
        bytes
    }
}
