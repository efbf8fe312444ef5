//! A wire between two peers, which the test pumps.

use super::peer::{Peer, PeerEnd};

/// A wire that joins the peers of two connections. [`pump`](Wire::pump) carries the bytes that each
/// protocol has written to the other one. (Twisted: `iosim.IOPump`.) A [`Pair`](super::Pair) has
/// one. A wire alone joins any two peers, such as those of a
/// [`MemoryReactor`](super::MemoryReactor).
///
/// It applies backpressure: while one protocol does not read, the wire stops reading from the other
/// one.
#[derive(Default)]
pub struct Wire {
    cut: bool,
    /// First peer to second, and second to first.
    directions: [Direction; 2],
}

/// One direction.
#[derive(Default)]
struct Direction {
    /// The end of the stream was carried.
    ended: bool,
    /// Reading has stopped, because the receiver does not read.
    blocked: bool,
}

impl Wire {
    /// Creates a wire.
    pub fn new() -> Wire {
        Wire::default()
    }

    /// Carries the written bytes of both sides to the other side, once; the second receives first.
    /// Bytes that they write in response wait for the next pump. FIN and resets are carried after
    /// the bytes. Returns the number of bytes, or 0 while the wire is [cut](Wire::cut). No virtual
    /// time passes. (Twisted: `pump`.)
    #[track_caller]
    pub fn pump(&mut self, one: &mut Peer, other: &mut Peer) -> usize {
        self.carry(one, other).0
    }

    /// Pumps until both sides are idle. Returns the number of bytes. (Twisted: `flush`.)
    ///
    /// # Panics
    /// If the two do not become idle within 100,000 rounds.
    #[track_caller]
    pub fn flush(&mut self, one: &mut Peer, other: &mut Peer) -> usize {
        let mut carried = 0;
        for _ in 0..MAX_PUMPS {
            match self.carry(one, other) {
                (0, false) => return carried,
                (bytes, _) => carried += bytes,
            }
        }
        panic!("the two are not idle after {MAX_PUMPS} rounds and {carried} bytes");
    }

    /// Cuts the wire: written bytes wait, and neither side is notified.
    pub fn cut(&mut self) {
        self.cut = true;
    }

    /// Restores the wire.
    pub fn restore(&mut self) {
        self.cut = false;
    }

    /// Drops the written bytes of both sides that were not carried yet. Returns their number.
    #[track_caller]
    pub fn drop_bytes(&mut self, one: &mut Peer, other: &mut Peer) -> usize {
        one.take().len() + other.take().len()
    }

    /// Returns the number of carried bytes, and whether an end of stream was carried.
    #[track_caller]
    fn carry(&mut self, one: &mut Peer, other: &mut Peer) -> (usize, bool) {
        if self.cut {
            return (0, false);
        }
        let [forth, back] = &mut self.directions;
        // Both are collected before either is delivered.
        let (forward, backward) = (forth.collect(one, other), back.collect(other, one));
        let bytes = forward.bytes.len() + backward.bytes.len();
        let ended = forward.end.is_some() || backward.end.is_some();
        forward.deliver(other);
        backward.deliver(one);
        (bytes, ended)
    }
}

/// The bytes and the end of one pump in one direction.
struct Batch {
    bytes: Vec<u8>,
    end: Option<PeerEnd>,
}

impl Direction {
    #[track_caller]
    fn collect(&mut self, from: &mut Peer, to: &mut Peer) -> Batch {
        to.sync();
        if to.is_blocked() != self.blocked {
            self.blocked = to.is_blocked();
            if self.blocked { from.stop_reading() } else { from.resume_reading() }
        }
        let bytes = from.take();
        let end = from.end().filter(|_| !self.ended);
        self.ended |= end.is_some();
        Batch { bytes, end }
    }
}

impl Batch {
    #[track_caller]
    fn deliver(self, to: &mut Peer) {
        if !self.bytes.is_empty() {
            to.feed(&self.bytes);
        }
        match self.end {
            Some(PeerEnd::Finished) => to.finish(),
            Some(PeerEnd::Reset) => to.reset(),
            None => {}
        }
    }
}

/// The limit of rounds in a flush. Protocols that never stop would fill the memory.
const MAX_PUMPS: usize = 100_000;
