//! What carries bytes from one peer to another, when the test says so.

use super::peer::{Peer, PeerEnd};

/// Joins the other sides of two connections: what one protocol writes comes to the other, whenever
/// [`pump`](Wire::pump) is called. (Twisted: `iosim.IOPump`.) [`Pair`](super::Pair) has one; alone it joins whatever two
/// peers there are, as of a [`MemoryReactor`](super::MemoryReactor).
///
/// It pushes back: while one protocol leaves what comes unread, no more is taken from the other one.
#[derive(Default)]
pub struct Wire {
    cut: bool,
    /// From the first to the second, and from the second to the first.
    ways: [Way; 2],
}

/// One direction.
#[derive(Default)]
struct Way {
    /// The end of what is to be carried has been carried.
    ended: bool,
    /// No more is taken, because nobody takes it at the other end.
    stuck: bool,
}

impl Wire {
    /// A wire that joins nobody yet.
    pub fn new() -> Wire {
        Wire::default()
    }

    /// Carries what both have written to the other one, once: the second hears first. What they write when they hear it stays
    /// for the next time. FIN and resets are carried after the bytes. Returns how many bytes it was, or 0 while the wire
    /// is [cut](Wire::cut). No time passes. (Twisted: `pump`.)
    #[track_caller]
    pub fn pump(&mut self, one: &mut Peer, other: &mut Peer) -> usize {
        self.carry(one, other).0
    }

    /// Pumps until neither has anything left to say. Returns how many bytes it was. (Twisted: `flush`.)
    ///
    /// # Panics
    /// When the two would go on for ever.
    #[track_caller]
    pub fn flush(&mut self, one: &mut Peer, other: &mut Peer) -> usize {
        let mut carried = 0;
        for _ in 0..MOST_PUMPS {
            match self.carry(one, other) {
                (0, false) => return carried,
                (bytes, _) => carried += bytes,
            }
        }
        panic!("after {MOST_PUMPS} times and {carried} bytes the two still have something to say");
    }

    /// Carries nothing any more. What is written waits, and nobody hears of it.
    pub fn cut(&mut self) {
        self.cut = true;
    }

    /// Carries again.
    pub fn restore(&mut self) {
        self.cut = false;
    }

    /// Throws away what both have written and was not carried. Returns how many bytes it was.
    #[track_caller]
    pub fn drop_bytes(&mut self, one: &mut Peer, other: &mut Peer) -> usize {
        one.take().len() + other.take().len()
    }

    /// How many bytes were carried, and whether an end was.
    #[track_caller]
    fn carry(&mut self, one: &mut Peer, other: &mut Peer) -> (usize, bool) {
        if self.cut {
            return (0, false);
        }
        let [forth, back] = &mut self.ways;
        // Both are looked at before either hears anything.
        let (said, answered) = (forth.load(one, other), back.load(other, one));
        let bytes = said.bytes.len() + answered.bytes.len();
        let ended = said.end.is_some() || answered.end.is_some();
        said.unload(other);
        answered.unload(one);
        (bytes, ended)
    }
}

/// What is carried at once.
struct Load {
    bytes: Vec<u8>,
    end: Option<PeerEnd>,
}

impl Way {
    #[track_caller]
    fn load(&mut self, from: &mut Peer, to: &mut Peer) -> Load {
        to.sync();
        if to.is_stuck() != self.stuck {
            self.stuck = to.is_stuck();
            if self.stuck { from.stop_reading() } else { from.resume_reading() }
        }
        let bytes = from.take();
        let end = from.end().filter(|_| !self.ended);
        self.ended |= end.is_some();
        Load { bytes, end }
    }
}

impl Load {
    #[track_caller]
    fn unload(self, to: &mut Peer) {
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

/// No two protocols need so many answers to each other; those that never stop would fill the memory.
const MOST_PUMPS: usize = 100_000;
