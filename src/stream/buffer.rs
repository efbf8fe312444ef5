//! Bytes that came and were not read yet. A connection that is idle owns no memory for them.

use std::cell::RefCell;
use std::mem;

/// What came since the reader last looked.
#[derive(Default)]
pub(super) struct Input {
    bytes: Vec<u8>,
    /// What lies behind so many has no meaning.
    filled: usize,
}

impl Input {
    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.filled == 0
    }

    #[inline]
    pub(super) fn append(&mut self, data: &[u8]) {
        if self.bytes.capacity() == 0 {
            self.bytes = spare();
        }
        self.bytes.truncate(self.filled);
        self.bytes.extend_from_slice(data);
        self.filled = self.bytes.len();
    }

    /// Takes the buffer with its first `count` bytes, and leaves another one for it. Nothing must have come before.
    pub(super) fn keep(&mut self, buffer: &mut Vec<u8>, count: usize) {
        let other = spare_of(buffer.len());
        give_back(mem::replace(&mut self.bytes, mem::replace(buffer, other)));
        self.filled = count;
    }

    pub(super) fn give_back(&mut self) {
        self.filled = 0;
        give_back(mem::take(&mut self.bytes));
    }
}

/// What the reader has with it.
#[derive(Default)]
pub(super) struct Buffer {
    bytes: Vec<u8>,
    /// What was read lies before it.
    start: usize,
    /// What lies behind so many has no meaning.
    filled: usize,
}

impl Buffer {
    #[inline]
    pub(super) fn unread(&self) -> &[u8] {
        self.bytes.get(self.start..self.filled).unwrap_or_default()
    }

    /// The bytes from `start` on, of those which were read last.
    #[inline]
    pub(super) fn last(&self, count: usize) -> &[u8] {
        self.bytes.get(self.start - count.min(self.start)..self.start).unwrap_or_default()
    }

    #[inline]
    pub(super) fn len(&self) -> usize {
        self.filled - self.start
    }

    #[inline]
    pub(super) fn consume(&mut self, count: usize) {
        self.start += count.min(self.len());
    }

    /// Takes all that came. Without a copy, if everything before was read.
    #[inline]
    pub(super) fn take(&mut self, input: &mut Input) {
        let bytes = mem::take(&mut input.bytes);
        let filled = mem::take(&mut input.filled);
        if self.len() == 0 {
            self.start = 0;
            self.filled = filled;
            give_back(mem::replace(&mut self.bytes, bytes));
        } else {
            self.add(&bytes[..filled]); // never more than there are
            give_back(bytes);
        }
    }

    fn add(&mut self, more: &[u8]) {
        self.bytes.truncate(self.filled);
        // What was read makes room when it is the larger part.
        if self.start > self.bytes.len() / 2 {
            self.bytes.drain(..self.start);
            self.start = 0;
        }
        self.bytes.extend_from_slice(more);
        self.filled = self.bytes.len();
    }

    /// All that was not read, as it is.
    pub(super) fn take_unread(&mut self) -> Vec<u8> {
        let mut bytes = mem::take(&mut self.bytes);
        bytes.truncate(self.filled);
        bytes.drain(..self.start);
        (self.start, self.filled) = (0, 0);
        bytes
    }

    /// Gives the memory back, if it holds nothing.
    #[inline]
    pub(super) fn give_back(&mut self) {
        if self.len() == 0 && self.bytes.capacity() > 0 {
            (self.start, self.filled) = (0, 0);
            give_back(mem::take(&mut self.bytes));
        }
    }
}

thread_local! {
    /// Buffers of this thread's streams that hold nothing: memory, and nothing else.
    static SPARE: RefCell<Spare> = const { RefCell::new(Spare { large: Vec::new(), small: Vec::new(), bytes: 0 }) };
}

struct Spare {
    /// They keep their length, so that a whole buffer is not filled with zeros again.
    large: Vec<Vec<u8>>,
    small: Vec<Vec<u8>>,
    /// The capacity of all of them.
    bytes: usize,
}

/// An empty one.
#[inline]
fn spare() -> Vec<u8> {
    let mut found = take_spare(|spare| spare.small.pop().or_else(|| spare.large.pop()));
    found.clear();
    found
}

/// One of this length; what is in it has no meaning.
fn spare_of(length: usize) -> Vec<u8> {
    let mut found = take_spare(|spare| spare.large.pop());
    found.resize(length, 0);
    found
}

/// One that was given back, or a new one.
#[inline]
fn take_spare(choose: impl FnOnce(&mut Spare) -> Option<Vec<u8>>) -> Vec<u8> {
    let found = SPARE.try_with(|spare| {
        let mut spare = spare.try_borrow_mut().ok()?;
        let found = choose(&mut spare)?;
        spare.bytes -= found.capacity();
        Some(found)
    });
    // At the end of the thread there are none.
    found.ok().flatten().unwrap_or_default()
}

#[inline]
fn give_back(unused: Vec<u8>) {
    if unused.capacity() == 0 {
        return;
    }
    let _ = SPARE.try_with(|spare| {
        if let Ok(mut spare) = spare.try_borrow_mut()
            && spare.bytes + unused.capacity() <= KEPT
        {
            spare.bytes += unused.capacity();
            let pile = if unused.len() < LARGE { &mut spare.small } else { &mut spare.large };
            pile.push(unused);
        }
    });
}

/// From so many bytes on a buffer keeps its length.
const LARGE: usize = 4 * 1024;

/// Bytes of empty buffers that are kept for those who will need one: those of a turn in which many have something to read.
const KEPT: usize = 1024 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_not_read_stays_in_order() {
        let mut buffer = Buffer::default();
        let mut input = Input::default();
        input.append(b"abc");
        input.append(b"def");
        buffer.take(&mut input);
        buffer.consume(4);
        assert_eq!((buffer.last(2), buffer.unread()), (&b"cd"[..], &b"ef"[..]));
        assert!(input.is_empty());
        input.append(b"gh");
        buffer.take(&mut input);
        assert_eq!((buffer.unread(), buffer.len()), (&b"efgh"[..], 4));
        assert_eq!(buffer.take_unread(), b"efgh");
        buffer.consume(9);
        assert_eq!((buffer.unread(), buffer.len()), (&b""[..], 0));
    }

    #[test]
    fn a_whole_buffer_is_kept_without_what_lies_behind() {
        let mut shared = vec![0; 2 * LARGE];
        let (mut buffer, mut input) = (Buffer::default(), Input::default());
        for text in [&b"first"[..], b"one"] {
            shared[..text.len()].copy_from_slice(text);
            let place = shared.as_ptr();
            input.keep(&mut shared, text.len());
            assert_eq!((shared.len(), shared.as_ptr() == place), (2 * LARGE, false));
            buffer.take(&mut input);
            assert_eq!((buffer.unread(), buffer.unread().as_ptr() == place), (text, true));
            buffer.consume(text.len());
            assert_eq!(buffer.unread(), b"");
        }
        shared[..3].copy_from_slice(b"two");
        input.keep(&mut shared, 3);
        input.append(b", three");
        buffer.take(&mut input);
        buffer.consume(1);
        input.append(b", four");
        buffer.take(&mut input);
        assert_eq!(buffer.unread(), b"wo, three, four");
        assert_eq!(buffer.take_unread(), b"wo, three, four");
    }

    #[test]
    fn an_empty_one_owns_nothing() {
        let mut buffer = Buffer::default();
        let mut input = Input::default();
        input.append(b"ab");
        buffer.take(&mut input);
        buffer.give_back();
        assert_eq!(buffer.unread(), b"ab");
        buffer.consume(2);
        buffer.give_back();
        assert_eq!(buffer.bytes.capacity(), 0);
    }
}
