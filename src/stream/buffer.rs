//! Receive buffers of streams. An idle connection owns none.

use std::cell::RefCell;
use std::mem;

/// Bytes received since the reader last took them.
#[derive(Default)]
pub(super) struct Input {
    bytes: Vec<u8>,
}

impl Input {
    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.bytes.len()
    }

    #[inline]
    pub(super) fn append(&mut self, data: &[u8]) {
        if self.bytes.capacity() == 0 {
            self.bytes = empty_buffer();
        }
        self.bytes.extend_from_slice(data);
    }

    pub(super) fn give_back(&mut self) {
        give_back(mem::take(&mut self.bytes));
    }

    pub(super) fn take_all(&mut self) -> Vec<u8> {
        mem::take(&mut self.bytes)
    }
}

/// Bytes that the reader has taken and its user has not yet read.
#[derive(Default)]
pub(super) struct Buffer {
    bytes: Vec<u8>,
    /// Start of the unread data.
    start: usize,
}

impl Buffer {
    #[inline]
    pub(super) fn unread(&self) -> &[u8] {
        self.bytes.get(self.start..).unwrap_or_default()
    }

    /// The last `count` bytes that were read.
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

    /// Takes all bytes of `input`, without a copy if the buffer is empty.
    #[inline]
    pub(super) fn take(&mut self, input: &mut Input) {
        let bytes = mem::take(&mut input.bytes);
        if self.len() == 0 {
            self.start = 0;
            give_back(mem::replace(&mut self.bytes, bytes));
        } else {
            self.add(&bytes);
            give_back(bytes);
        }
    }

    fn add(&mut self, more: &[u8]) {
        // Remove the bytes already read when they are the larger part.
        if self.start > self.bytes.len() / 2 {
            self.bytes.drain(..self.start);
            self.start = 0;
        }
        self.bytes.extend_from_slice(more);
    }

    /// Takes the unread bytes.
    pub(super) fn take_unread(&mut self) -> Vec<u8> {
        let mut bytes = mem::take(&mut self.bytes);
        bytes.drain(..self.start);
        self.start = 0;
        bytes
    }

    /// Returns the memory to the pool if the buffer is empty.
    #[inline]
    pub(super) fn give_back(&mut self) {
        if self.len() == 0 && self.bytes.capacity() > 0 {
            self.start = 0;
            give_back(mem::take(&mut self.bytes));
        }
    }
}

thread_local! {
    /// Pool of empty buffers of this thread's streams.
    static POOL: RefCell<BufferPool> = const { RefCell::new(BufferPool { buffers: Vec::new(), bytes: 0 }) };
}

struct BufferPool {
    buffers: Vec<Vec<u8>>,
    /// Total capacity of all pooled buffers.
    bytes: usize,
}

/// An empty buffer from the pool, or a new one.
#[inline]
fn empty_buffer() -> Vec<u8> {
    let found = POOL.try_with(|pool| {
        let mut pool = pool.try_borrow_mut().ok()?;
        let found = pool.buffers.pop()?;
        pool.bytes -= found.capacity();
        Some(found)
    });
    // The pool is gone while the thread ends.
    found.ok().flatten().unwrap_or_default()
}

#[inline]
fn give_back(mut unused: Vec<u8>) {
    if unused.capacity() == 0 {
        return;
    }
    unused.clear();
    let _ = POOL.try_with(|pool| {
        if let Ok(mut pool) = pool.try_borrow_mut()
            && pool.bytes + unused.capacity() <= MAX_POOLED
        {
            pool.bytes += unused.capacity();
            pool.buffers.push(unused);
        }
    });
}

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
    fn an_emptied_buffer_is_replaced_a_filled_one_appended_to() {
        let (mut buffer, mut input) = (Buffer::default(), Input::default());
        input.append(b"one");
        let place = input.bytes.as_ptr();
        buffer.take(&mut input);
        assert_eq!((buffer.unread(), buffer.unread().as_ptr()), (&b"one"[..], place));
        buffer.consume(1);
        input.append(b", two");
        buffer.take(&mut input);
        input.append(b", three");
        buffer.take(&mut input);
        assert_eq!(buffer.unread(), b"ne, two, three");
        assert_eq!(buffer.take_unread(), b"ne, two, three");
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
