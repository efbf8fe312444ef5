//! Received bytes that a protocol keeps, together with the buffer they lie in: much at once is not copied then.
//!
//! All connections are read into one buffer. A protocol of ours that would copy most of it into memory of its own says so
//! instead, while it is called, and is given the buffer itself for an empty one.

use std::mem;
use std::rc::Rc;

use crate::reactor::{Reactor, Transport};

/// Keeps what was received.
pub(crate) trait BufferSink {
    /// The first `count` bytes of `buffer` are what was received; another one of the same length has to be left for it.
    fn take_buffer(&self, buffer: &mut Vec<u8>, count: usize);
}

/// What becomes of the bytes that a protocol is called with.
#[derive(Default)]
pub(in crate::reactor) enum Handoff {
    /// They are gone after the call.
    #[default]
    No,
    /// They may be kept: those at this place, so many.
    Open(usize, usize),
    By(Rc<dyn BufferSink>),
}

impl Transport<'_> {
    /// Has the bytes that `data_received` is called with kept when it has returned. `false` when that cannot be: they are too
    /// few, or lie elsewhere than in the buffer that they were read into.
    #[inline]
    pub(crate) fn take_handoff(&mut self, data: &[u8], keeper: impl FnOnce() -> Rc<dyn BufferSink>) -> bool {
        let open = matches!(self.reactor.receive.handoff, Handoff::Open(place, count)
            if place == data.as_ptr().addr() && count == data.len());
        if open {
            self.reactor.receive.handoff = Handoff::By(keeper());
        }
        open
    }
}

impl Reactor {
    /// A protocol is about to be called with the first bytes of a buffer.
    #[inline]
    pub(in crate::reactor) fn offer_buffer(&mut self, buffer: &[u8], count: usize) {
        self.receive.handoff = Handoff::Open(buffer.as_ptr().addr(), count);
    }

    /// It was called. Whether it keeps the bytes.
    #[inline]
    pub(in crate::reactor) fn complete_handoff(&mut self, buffer: &mut Vec<u8>, count: usize) -> bool {
        let Handoff::By(keeper) = mem::take(&mut self.receive.handoff) else { return false };
        let length = buffer.len();
        keeper.take_buffer(buffer, count);
        buffer.resize(length, 0);
        true
    }
}

/// Whether so much in a buffer of this length is worth to give the buffer away for: from an eighth of it on. A copy of less takes
/// less memory, and hardly more time.
#[inline]
pub(in crate::reactor) fn worth_handing_off(count: usize, length: usize) -> bool {
    count >= length / 8
}
