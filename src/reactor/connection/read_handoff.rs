//! Hand-off of the read buffer to a protocol, which avoids a copy of large reads.
//!
//! All connections are read into one buffer. A protocol of this crate that would copy most of it
//! can take the buffer itself during `data_received`, and leaves an empty one in its place.

use std::mem;
use std::rc::Rc;

use crate::reactor::{Reactor, Transport};

/// A receiver of the read buffer.
pub(crate) trait BufferSink {
    /// Takes `buffer`, whose first `count` bytes were received, and leaves another one in its
    /// place.
    fn take_buffer(&self, buffer: &mut Vec<u8>, count: usize);
}

/// The state of a hand-off during `data_received`.
#[derive(Default)]
pub(in crate::reactor) enum Handoff {
    /// The bytes are gone after the call.
    #[default]
    No,
    /// The bytes may be taken: their address and count.
    Open(usize, usize),
    /// The bytes were taken by this receiver.
    By(Rc<dyn BufferSink>),
}

impl Transport<'_> {
    /// Keeps the bytes of `data_received` beyond the call, by taking the buffer. Returns `false` if
    /// they are too few, or lie outside of the read buffer.
    #[inline]
    pub(crate) fn take_handoff(&mut self, data: &[u8], sink: impl FnOnce() -> Rc<dyn BufferSink>) -> bool {
        let open = matches!(self.reactor.receive.handoff, Handoff::Open(place, count)
            if place == data.as_ptr().addr() && count == data.len());
        if open {
            self.reactor.receive.handoff = Handoff::By(sink());
        }
        open
    }
}

impl Reactor {
    /// Offers the buffer to the protocol that is about to be called with its first `count` bytes.
    #[inline]
    pub(in crate::reactor) fn offer_buffer(&mut self, buffer: &[u8], count: usize) {
        self.receive.handoff = Handoff::Open(buffer.as_ptr().addr(), count);
    }

    /// Completes a hand-off after the call. Returns whether the bytes were taken.
    #[inline]
    pub(in crate::reactor) fn complete_handoff(&mut self, buffer: &mut Vec<u8>, count: usize) -> bool {
        let Handoff::By(sink) = mem::take(&mut self.receive.handoff) else { return false };
        let length = buffer.len();
        sink.take_buffer(buffer, count);
        buffer.resize(length, 0);
        true
    }
}

/// Whether a hand-off is worthwhile: `count` is at least an eighth of the buffer's length. A
/// smaller copy uses less memory and takes hardly more time.
#[inline]
pub(in crate::reactor) fn worth_handing_off(count: usize, length: usize) -> bool {
    count >= length / 8
}
