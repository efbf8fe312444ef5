//! Receive buffers of streams. An idle connection owns none.

use std::cell::RefCell;
use std::mem;

/// Bytes received since the reader last took them.
#[derive(Default)]
pub(super) struct Input {
    bytes: Vec<u8>,
    /// Length of the valid data. The bytes behind it are undefined.
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
            self.bytes = empty_buffer();
        }
        self.bytes.truncate(self.filled);
        self.bytes.extend_from_slice(data);
        self.filled = self.bytes.len();
    }

    /// Takes `buffer`, with `count` valid bytes, and replaces it by another one of the same length.
    /// The input must be empty.
    pub(super) fn keep(&mut self, buffer: &mut Vec<u8>, count: usize) {
        let other = buffer_of(buffer.len());
        give_back(mem::replace(&mut self.bytes, mem::replace(buffer, other)));
        self.filled = count;
    }

    pub(super) fn give_back(&mut self) {
        self.filled = 0;
        give_back(mem::take(&mut self.bytes));
    }
}

/// Bytes that the reader has taken and its user has not yet read.
#[derive(Default)]
pub(super) struct Buffer {
    bytes: Vec<u8>,
    /// Start of the unread data.
    start: usize,
    /// End of the unread data. The bytes behind it are undefined.
    filled: usize,
}

impl Buffer {
    #[inline]
    pub(super) fn unread(&self) -> &[u8] {
        self.bytes.get(self.start..self.filled).unwrap_or_default()
    }

    /// The last `count` bytes that were read.
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

    /// Takes all bytes of `input`, without a copy if the buffer is empty.
    #[inline]
    pub(super) fn take(&mut self, input: &mut Input) {
        let bytes = mem::take(&mut input.bytes);
        let filled = mem::take(&mut input.filled);
        if self.len() == 0 {
            self.start = 0;
            self.filled = filled;
            give_back(mem::replace(&mut self.bytes, bytes));
        } else {
            self.add(&bytes[..filled]); // `filled` is at most the length
            give_back(bytes);
        }
    }

    fn add(&mut self, more: &[u8]) {
        self.bytes.truncate(self.filled);
        // Remove the bytes already read when they are the larger part.
        if self.start > self.bytes.len() / 2 {
            self.bytes.drain(..self.start);
            self.start = 0;
        }
        self.bytes.extend_from_slice(more);
        self.filled = self.bytes.len();
    }

    /// Takes the unread bytes.
    pub(super) fn take_unread(&mut self) -> Vec<u8> {
        let mut bytes = mem::take(&mut self.bytes);
        bytes.truncate(self.filled);
        bytes.drain(..self.start);
        (self.start, self.filled) = (0, 0);
        bytes
    }

    /// Returns the memory to the pool if the buffer is empty.
    #[inline]
    pub(super) fn give_back(&mut self) {
        if self.len() == 0 && self.bytes.capacity() > 0 {
            (self.start, self.filled) = (0, 0);
            give_back(mem::take(&mut self.bytes));
        }
    }
}

thread_local! {
    /// Pool of empty buffers of this thread's streams.
    static POOL: RefCell<BufferPool> = const { RefCell::new(BufferPool { large: Vec::new(), small: Vec::new(), bytes: 0 }) };
}

struct BufferPool {
    /// Buffers that keep their length, so that they need not be zeroed again.
    large: Vec<Vec<u8>>,
    small: Vec<Vec<u8>>,
    /// Total capacity of all pooled buffers.
    bytes: usize,
}

/// An empty buffer from the pool, or a new one.
#[inline]
fn empty_buffer() -> Vec<u8> {
    let mut found = take_pooled(|pool| pool.small.pop().or_else(|| pool.large.pop()));
    found.clear();
    found
}

/// A buffer of this length with undefined contents.
fn buffer_of(length: usize) -> Vec<u8> {
    let mut found = take_pooled(|pool| pool.large.pop());
    found.resize(length, 0);
    found
}

/// A buffer from the pool, or a new one.
#[inline]
fn take_pooled(choose: impl FnOnce(&mut BufferPool) -> Option<Vec<u8>>) -> Vec<u8> {
    let found = POOL.try_with(|pool| {
        let mut pool = pool.try_borrow_mut().ok()?;
        let found = choose(&mut pool)?;
        pool.bytes -= found.capacity();
        Some(found)
    });
    // The pool is gone while the thread ends.
    found.ok().flatten().unwrap_or_default()
}

#[inline]
fn give_back(unused: Vec<u8>) {
    if unused.capacity() == 0 {
        return;
    }
    let _ = POOL.try_with(|pool| {
        if let Ok(mut pool) = pool.try_borrow_mut()
            && pool.bytes + unused.capacity() <= MAX_POOLED
        {
            pool.bytes += unused.capacity();
            let list = if unused.len() < MIN_LARGE { &mut pool.small } else { &mut pool.large };
            list.push(unused);
        }
    });
}

/// Minimum length of a buffer that keeps its length in the pool.
const MIN_LARGE: usize = 4 * 1024;

/// Limit of the pool, in bytes. It serves a turn in which many connections receive at once.
const MAX_POOLED: usize = 1024 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unread_bytes_stay_in_order() {
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
    fn a_handed_over_buffer_keeps_only_its_valid_bytes() {
        let mut shared = vec![0; 2 * MIN_LARGE];
        let (mut buffer, mut input) = (Buffer::default(), Input::default());
        for text in [&b"first"[..], b"one"] {
            shared[..text.len()].copy_from_slice(text);
            let place = shared.as_ptr();
            input.keep(&mut shared, text.len());
            assert_eq!((shared.len(), shared.as_ptr() == place), (2 * MIN_LARGE, false));
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
    fn an_empty_buffer_owns_no_memory() {
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
