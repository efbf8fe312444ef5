//! Bytes that came and were not read yet. A connection that is idle owns no memory for them.

use std::cell::RefCell;

/// What the reader has with it.
#[derive(Default)]
pub(super) struct Buffer {
    bytes: Vec<u8>,
    /// What was read lies before it.
    start: usize,
}

impl Buffer {
    #[inline]
    pub(super) fn unread(&self) -> &[u8] {
        self.bytes.get(self.start..).unwrap_or_default()
    }

    /// The bytes from `start` on, of those which were read last.
    #[inline]
    pub(super) fn last(&self, count: usize) -> &[u8] {
        self.bytes.get(self.start - count.min(self.start)..self.start).unwrap_or_default()
    }

    #[inline]
    pub(super) fn len(&self) -> usize {
        self.bytes.len() - self.start
    }

    #[inline]
    pub(super) fn consume(&mut self, count: usize) {
        self.start += count.min(self.len());
    }

    /// Takes all that came. Without a copy, if everything before was read.
    #[inline]
    pub(super) fn take(&mut self, input: &mut Vec<u8>) {
        if self.len() == 0 {
            self.bytes.clear();
            self.start = 0;
            std::mem::swap(&mut self.bytes, input);
        } else {
            // What was read makes room when it is the larger part.
            if self.start > self.bytes.len() / 2 {
                self.bytes.drain(..self.start);
                self.start = 0;
            }
            self.bytes.extend_from_slice(input);
            input.clear();
        }
        if input.capacity() > 0 {
            give_back(std::mem::take(input));
        }
    }

    /// All that was not read, as it is.
    pub(super) fn take_unread(&mut self) -> Vec<u8> {
        let mut bytes = std::mem::take(&mut self.bytes);
        bytes.drain(..self.start);
        self.start = 0;
        bytes
    }

    /// Gives the memory back, if it holds nothing.
    #[inline]
    pub(super) fn give_back(&mut self) {
        if self.len() == 0 && self.bytes.capacity() > 0 {
            self.start = 0;
            give_back(std::mem::take(&mut self.bytes));
        }
    }
}

thread_local! {
    /// Empty buffers of this thread's streams: memory, and nothing else.
    static SPARE: RefCell<Spare> = const { RefCell::new(Spare { buffers: Vec::new(), bytes: 0 }) };
}

struct Spare {
    buffers: Vec<Vec<u8>>,
    bytes: usize,
}

#[inline]
pub(super) fn append(input: &mut Vec<u8>, data: &[u8]) {
    if input.capacity() == 0 {
        *input = spare();
    }
    input.extend_from_slice(data);
}

/// One that was given back, or a new one.
#[inline]
fn spare() -> Vec<u8> {
    let found = SPARE.try_with(|spare| {
        let mut spare = spare.try_borrow_mut().ok()?;
        let found = spare.buffers.pop()?;
        spare.bytes -= found.capacity();
        Some(found)
    });
    // At the end of the thread there are none.
    found.ok().flatten().unwrap_or_default()
}

#[inline]
pub(super) fn give_back(mut empty: Vec<u8>) {
    if empty.capacity() == 0 {
        return;
    }
    empty.clear();
    let _ = SPARE.try_with(|spare| {
        if let Ok(mut spare) = spare.try_borrow_mut()
            && spare.bytes + empty.capacity() <= KEPT
        {
            spare.bytes += empty.capacity();
            spare.buffers.push(empty);
        }
    });
}

/// Bytes of empty buffers that are kept for those who will need one: those of a turn in which many have something to read.
const KEPT: usize = 1024 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_not_read_stays_in_order() {
        let mut buffer = Buffer::default();
        let mut input = b"abcdef".to_vec();
        buffer.take(&mut input);
        buffer.consume(4);
        assert_eq!((buffer.last(2), buffer.unread()), (&b"cd"[..], &b"ef"[..]));
        append(&mut input, b"gh");
        buffer.take(&mut input);
        assert_eq!((buffer.unread(), buffer.len()), (&b"efgh"[..], 4));
        assert_eq!(buffer.take_unread(), b"efgh");
        buffer.consume(9);
        assert_eq!((buffer.unread(), buffer.len()), (&b""[..], 0));
    }

    #[test]
    fn an_empty_one_owns_nothing() {
        let mut buffer = Buffer::default();
        buffer.take(&mut b"ab".to_vec());
        buffer.give_back();
        assert_eq!(buffer.unread(), b"ab");
        buffer.consume(2);
        buffer.give_back();
        assert_eq!(buffer.bytes.capacity(), 0);
    }
}
