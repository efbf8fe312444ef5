//! The send queue of a datagram socket: one queue for all receivers, and one for each receiver that
//! was found full.
//!
//! The order per receiver is kept, and a full receiver does not block others. While no receiver is
//! full, as is usual, there is only the common queue. The caller determines which receivers are
//! full.

use std::collections::BTreeMap;
use std::ops::Bound;

use crate::net::{Address, Origin, Transmit};

/// The datagrams queued on one socket.
#[derive(Default)]
pub(in crate::reactor) struct SendQueue {
    /// The common queue, in the order of writing.
    fifo: Fifo,
    /// Queues of receivers that accepted nothing at the last attempt. None of them is empty.
    full: BTreeMap<Address, Fifo>,
    full_weight: usize,
    full_bytes: usize,
    /// The receiver of the last attempt.
    last_tried: Option<Address>,
    /// Number of full receivers left to try in this pass.
    to_try: usize,
    /// Number of failed attempts left in this pass.
    max_retries: usize,
}

/// The queue of the next datagrams to send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::reactor) enum Next {
    /// The common queue.
    Common,
    /// The queue of a receiver that was full.
    Full,
    /// Nothing to send now.
    None,
}

impl SendQueue {
    /// Queues a datagram. Returns `false` if more than `limit` bytes are already queued. Datagrams
    /// to a full receiver count twice for later ones to it, which leaves room for other receivers.
    pub(in crate::reactor) fn enqueue(
        &mut self,
        data: &[u8],
        to: Option<Address>,
        origin: Option<Origin>,
        limit: usize,
    ) -> bool {
        let mut weight = self.weight();
        if !self.full.is_empty() {
            weight += to.as_ref().and_then(|to| self.full.get(to)).map_or(0, Fifo::weight);
        }
        if weight > limit {
            return false;
        }
        self.fifo.push(data, to, origin);
        true
    }

    /// Returns the queue to send from next. Moves datagrams to full receivers out of the common
    /// queue on the way.
    pub(in crate::reactor) fn next(&mut self) -> Next {
        while !self.full.is_empty()
            && let Some(to) = self.fifo.first().and_then(|transmit| transmit.to.as_ref())
            && self.full.contains_key(to)
        {
            self.move_to_full();
        }
        if !self.fifo.is_empty() {
            return Next::Common;
        }
        if self.to_try == 0 || self.full.is_empty() {
            self.to_try = 0;
            return Next::None;
        }
        Next::Full
    }

    /// The next datagrams to send, and their bytes.
    pub(in crate::reactor) fn front(&self, next: Next) -> (&[u8], &[Transmit]) {
        match next {
            Next::Common if self.full.is_empty() => self.fifo.rest(),
            // The second datagram may be to a full receiver.
            Next::Common => self.fifo.first_entry(),
            Next::Full => self.next_full().map_or((&[], &[]), |(_, queue)| queue.rest()),
            Next::None => (&[], &[]),
        }
    }

    /// Removes the first `count` datagrams and returns the number of their bytes.
    pub(in crate::reactor) fn drop_first(&mut self, next: Next, count: usize) -> usize {
        if next != Next::Full {
            return self.fifo.drop_first(count);
        }
        let Some(to) = self.next_full().map(|(to, _)| to.clone()) else { return 0 };
        let Some(queue) = self.full.get_mut(&to) else { return 0 };
        let before = queue.weight();
        let bytes = queue.drop_first(count);
        self.full_weight -= before - queue.weight();
        self.full_bytes -= bytes;
        if queue.is_empty() {
            self.full.remove(&to);
            self.last_tried = Some(to);
            self.to_try = self.to_try.saturating_sub(1);
        }
        bytes
    }

    /// Records that the receiver of the first datagram is full.
    pub(in crate::reactor) fn mark_full(&mut self, next: Next) {
        match next {
            Next::Common => self.move_to_full(),
            Next::Full => {
                self.last_tried = self.next_full().map(|(to, _)| to.clone());
                self.max_retries = self.max_retries.saturating_sub(1);
                self.to_try = if self.max_retries == 0 { 0 } else { self.to_try - 1 };
            }
            Next::None => {}
        }
    }

    /// Starts a new pass: tries each full receiver once, until `max_retries` of them were still
    /// full.
    pub(in crate::reactor) fn try_again(&mut self, max_retries: usize) {
        (self.to_try, self.max_retries) = (self.full.len(), max_retries);
    }

    /// Whether a datagram can be sent now.
    pub(in crate::reactor) fn has_work(&self) -> bool {
        !self.fifo.is_empty() || self.to_try > 0
    }

    /// Whether datagrams wait for full receivers.
    pub(in crate::reactor) fn has_full_receivers(&self) -> bool {
        !self.full.is_empty()
    }

    /// Bytes queued.
    pub(in crate::reactor) fn bytes(&self) -> usize {
        self.fifo.rest().0.len() + self.full_bytes
    }

    /// Bytes queued, including the overhead of each datagram.
    fn weight(&self) -> usize {
        self.fifo.weight() + self.full_weight
    }

    fn move_to_full(&mut self) {
        let (bytes, first) = self.fifo.first_entry();
        let Some(Transmit { length, to: Some(to), origin }) = first.first().cloned() else { return };
        let queue = self.full.entry(to.clone()).or_default();
        let before = queue.weight();
        queue.push(bytes, Some(to), origin);
        self.full_weight += queue.weight() - before;
        self.full_bytes += length;
        self.fifo.drop_first(1);
    }

    /// The full receiver after the last one tried, in circular order.
    fn next_full(&self) -> Option<(&Address, &Fifo)> {
        let behind = self.last_tried.as_ref().and_then(|tried| {
            self.full.range::<Address, _>((Bound::Excluded(tried), Bound::Unbounded)).next()
        });
        behind.or_else(|| self.full.iter().next())
    }
}

/// A queue of datagrams in one buffer. Those before `first` were removed, and their bytes are
/// before `start`.
#[derive(Default)]
struct Fifo {
    bytes: Vec<u8>,
    start: usize,
    queue: Vec<Transmit>,
    first: usize,
}

impl Fifo {
    fn push(&mut self, data: &[u8], to: Option<Address>, origin: Option<Origin>) {
        self.bytes.extend_from_slice(data);
        self.queue.push(Transmit { length: data.len(), to, origin });
    }

    fn rest(&self) -> (&[u8], &[Transmit]) {
        let bytes = self.bytes.get(self.start..).unwrap_or_default();
        (bytes, self.queue.get(self.first..).unwrap_or_default())
    }

    fn first(&self) -> Option<&Transmit> {
        self.queue.get(self.first)
    }

    fn first_entry(&self) -> (&[u8], &[Transmit]) {
        let (bytes, queue) = self.rest();
        let length = queue.first().map_or(0, |transmit| transmit.length);
        (bytes.get(..length).unwrap_or(bytes), queue.get(..1).unwrap_or_default())
    }

    fn is_empty(&self) -> bool {
        self.first == self.queue.len()
    }

    /// Removes the first `count` datagrams and returns the number of their bytes.
    fn drop_first(&mut self, count: usize) -> usize {
        let gone = self.rest().1.iter().take(count);
        let (count, bytes) =
            gone.fold((0, 0), |(count, bytes), transmit| (count + 1, bytes + transmit.length));
        self.first += count;
        self.start += bytes;
        // Compacts the queue when more than half of it was removed. So a datagram is moved at most
        // as often as others are removed before it.
        if self.first > self.queue.len() / 2 {
            self.queue.drain(..self.first);
            self.bytes.drain(..self.start);
            (self.first, self.start) = (0, 0);
        }
        bytes
    }

    fn weight(&self) -> usize {
        let (bytes, queue) = self.rest();
        bytes.len() + queue.len() * DATAGRAM_OVERHEAD
    }
}

/// Overhead of a queued datagram, without the source address.
const DATAGRAM_OVERHEAD: usize = size_of::<Transmit>() - size_of::<Option<Origin>>();

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::UnixAddress;

    const LIMIT: usize = 1 << 20;

    fn to(name: &str) -> Option<Address> {
        Some(Address::Unix(UnixAddress::of_abstract(name).unwrap()))
    }

    /// Sends as long as possible while the receivers in `full` are full. Returns the datagrams sent
    /// and the number of refused attempts.
    fn send(outgoing: &mut SendQueue, full: &[&str]) -> (Vec<String>, usize) {
        let (mut went, mut refused) = (Vec::new(), 0);
        loop {
            let next = outgoing.next();
            let (bytes, transmit) = outgoing.front(next);
            let Some(first) = transmit.first() else { return (went, refused) };
            if full.iter().any(|name| to(name) == first.to) {
                refused += 1;
                outgoing.mark_full(next);
            } else {
                went.push(String::from_utf8(bytes[..first.length].to_vec()).unwrap());
                outgoing.drop_first(next, 1);
            }
        }
    }

    fn write(outgoing: &mut SendQueue, names: &[&str]) {
        for name in names {
            assert!(outgoing.enqueue(name.as_bytes(), to(&name[..1]), None, LIMIT), "{name}");
        }
    }

    #[test]
    fn a_full_receiver_blocks_no_other_and_is_tried_once() {
        let mut outgoing = SendQueue::default();
        write(&mut outgoing, &["a1", "b1", "a2", "c1", "a3", "b2"]);
        assert_eq!(send(&mut outgoing, &["a"]), (vec!["b1".into(), "c1".into(), "b2".into()], 1));
        write(&mut outgoing, &["a4", "c2"]);
        assert_eq!(send(&mut outgoing, &["a"]), (vec!["c2".into()], 0));
        assert_eq!(outgoing.bytes(), 8);
        outgoing.try_again(9);
        assert_eq!(send(&mut outgoing, &["a"]), (vec![], 1));
        outgoing.try_again(9);
        let all = ["a1", "a2", "a3", "a4"].map(str::to_owned).to_vec();
        assert_eq!(send(&mut outgoing, &[]), (all, 0));
        assert!(!outgoing.has_full_receivers() && outgoing.weight() == 0 && outgoing.bytes() == 0);
    }

    #[test]
    fn the_order_per_receiver_is_kept_after_an_error() {
        let mut outgoing = SendQueue::default();
        write(&mut outgoing, &["a1", "b1", "a2"]);
        let next = outgoing.next();
        outgoing.mark_full(next);
        // An error of the second datagram ends this pass. The third is still in the common queue.
        let next = outgoing.next();
        outgoing.drop_first(next, 1);
        write(&mut outgoing, &["a3"]);
        outgoing.try_again(9);
        assert_eq!(send(&mut outgoing, &[]).0, ["a1", "a2", "a3"]);
    }

    #[test]
    fn full_receivers_are_tried_in_turn_up_to_a_limit() {
        let names = ["a", "b", "c", "d", "e"];
        let mut outgoing = SendQueue::default();
        write(&mut outgoing, &names);
        assert_eq!(send(&mut outgoing, &names), (vec![], 5));
        outgoing.try_again(2);
        assert_eq!(send(&mut outgoing, &names), (vec![], 2));
        // The first two were tried in the last pass.
        outgoing.try_again(2);
        assert_eq!(send(&mut outgoing, &["c", "e"]), (vec!["d".into()], 2));
        outgoing.try_again(9);
        assert_eq!(send(&mut outgoing, &["c", "e"]), (vec!["a".into(), "b".into()], 2));
    }

    #[test]
    fn a_full_receiver_leaves_room_for_others() {
        let mut outgoing = SendQueue::default();
        write(&mut outgoing, &["a1"]);
        send(&mut outgoing, &["a"]);
        let limit = 100 * (4 + DATAGRAM_OVERHEAD);
        let mut taken = 0;
        while outgoing.enqueue(b"deaf", to("a"), None, limit) {
            send(&mut outgoing, &["a"]);
            taken += 1;
        }
        assert!((48..=52).contains(&taken), "{taken}");
        assert!(outgoing.enqueue(b"deaf", to("b"), None, limit));
        // The limit holds for all receivers together.
        let more = (0..1000).take_while(|_| outgoing.enqueue(b"some", to("b"), None, limit)).count();
        assert!((48..=52).contains(&more), "{more}");
    }

    #[test]
    fn a_long_queue_moves_a_datagram_at_most_once() {
        let mut queue = Fifo::default();
        for _ in 0..10_000 {
            queue.push(b"x", None, None);
        }
        let mut moved = 0;
        while !queue.is_empty() {
            queue.drop_first(1);
            moved += if queue.first == 0 { queue.queue.len() } else { 0 };
        }
        assert!((1..=10_000).contains(&moved), "{moved}");
    }
}
