//! The write batch of the running callback, and spare buffers.

use crate::net::Token;
use crate::reactor::datagram::CurrentDatagram;
use crate::reactor::layer::relay::Relay;

/// Output of the running callback: its socket, its write batch, and spare buffers.
pub(in crate::reactor) struct Send {
    /// The connection whose callback runs.
    pub(in crate::reactor) connection: Token,
    /// The datagram socket whose callback runs.
    pub(in crate::reactor) datagram_socket: Token,
    /// The datagram whose callback runs, if its destination address is known.
    pub(in crate::reactor) datagram: Option<CurrentDatagram>,
    /// Small writes of the callback go to `batch`. Requires an open connection without queued
    /// output.
    pub(in crate::reactor) batching: bool,
    pub(in crate::reactor) batch: WriteBatch,
    /// The batch was written above the layers of its connection, and passes through them.
    pub(in crate::reactor) above_layers: bool,
    pub(in crate::reactor) spare_buffers: Vec<Vec<u8>>,
    /// Buffers of a message that passes through layers without a stop.
    pub(in crate::reactor) relay: Relay,
}

impl Send {
    pub(in crate::reactor) fn new() -> Send {
        Send {
            connection: Token::NONE,
            datagram_socket: Token::NONE,
            datagram: None,
            batching: false,
            batch: WriteBatch::new(),
            above_layers: false,
            spare_buffers: Vec::new(),
            relay: Relay::new(),
        }
    }
}

/// Bytes written by the running callback. One buffer serves all connections.
#[derive(Default)]
pub(in crate::reactor) struct WriteBatch {
    bytes: Box<[u8]>,
    used: usize,
}

impl WriteBatch {
    pub(in crate::reactor) fn new() -> WriteBatch {
        WriteBatch { bytes: vec![0; WRITE_BATCH_SIZE].into(), used: 0 }
    }

    /// Appends `data`. Returns `false` if it does not fit.
    #[inline]
    pub(in crate::reactor) fn push(&mut self, data: &[u8]) -> bool {
        let end = self.used + data.len();
        match self.bytes.get_mut(self.used..end) {
            Some(room) => {
                room.copy_from_slice(data);
                self.used = end;
                true
            }
            None => false,
        }
    }

    #[inline]
    pub(in crate::reactor) fn bytes(&self) -> &[u8] {
        // `used` is at most the length.
        &self.bytes[..self.used]
    }

    pub(in crate::reactor) fn len(&self) -> usize {
        self.used
    }

    pub(in crate::reactor) fn is_empty(&self) -> bool {
        self.used == 0
    }

    pub(in crate::reactor) fn clear(&mut self) {
        self.used = 0;
    }

    /// Removes the first `count` bytes.
    pub(in crate::reactor) fn consume(&mut self, count: usize) {
        let count = count.min(self.used);
        self.bytes.copy_within(count..self.used, 0);
        self.used -= count;
    }
}

/// Keeps an empty buffer for reuse.
pub(in crate::reactor) fn recycle_buffer(mut empty: Vec<u8>, spare: &mut Vec<Vec<u8>>) {
    if (1..=MAX_RECYCLED_CAPACITY).contains(&empty.capacity()) && spare.len() < MAX_SPARE_BUFFERS {
        empty.clear();
        spare.push(empty);
    }
}

/// Capacity of the write batch, in bytes. Smaller writes of one callback are sent with one system
/// call.
pub(in crate::reactor) const WRITE_BATCH_SIZE: usize = 16 * 1024;

/// Max capacity of a buffer that is kept for reuse, in bytes.
const MAX_RECYCLED_CAPACITY: usize = 64 * 1024;

/// Max number of buffers kept for reuse.
const MAX_SPARE_BUFFERS: usize = 16;
