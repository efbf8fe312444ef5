//! Datagrams that wait to be sent: in one line, but those to receivers that were found full in lines of their own.
//!
//! The order towards each receiver is kept, and whoever is full holds up nobody else. While no receiver is full, which is
//! the usual case, there is the one line alone. Who is full is the caller's to say.

use std::collections::BTreeMap;
use std::ops::Bound;

use crate::net::{Address, Origin, Transmit};

/// What waits on one socket.
#[derive(Default)]
pub(in crate::reactor) struct SendQueue {
    /// In the order in which they were written.
    fifo: Fifo,
    /// Receivers that took nothing when they were tried last, and what waits for each. No line is empty.
    full: BTreeMap<Address, Fifo>,
    full_weight: usize,
    full_bytes: usize,
    /// The receiver that was tried last.
    last_tried: Option<Address>,
    /// How many of the full ones are to be tried before they rest.
    to_try: usize,
    /// How many of them may still be found full.
    max_retries: usize,
}

/// Where the datagrams to be sent next stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::reactor) enum Next {
    /// In the line of all.
    Line,
    /// In the line of a receiver that was full.
    Full,
    /// Nothing is to be sent now.
    Nothing,
}

impl SendQueue {
    /// Takes a datagram, unless more than so many bytes wait. What waits for a receiver that is full counts for it once more:
    /// so it leaves room for others, however much is written to it.
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

    /// What to send next; those to receivers that are full are taken out of the line of all on the way.
    pub(in crate::reactor) fn next(&mut self) -> Next {
        while !self.full.is_empty()
            && let Some(to) = self.fifo.first().and_then(|going| going.to.as_ref())
            && self.full.contains_key(to)
        {
            self.set_aside();
        }
        if !self.fifo.is_empty() {
            return Next::Line;
        }
        if self.to_try == 0 || self.full.is_empty() {
            self.to_try = 0;
            return Next::Nothing;
        }
        Next::Full
    }

    /// Those to send next, and their bytes.
    pub(in crate::reactor) fn front(&self, next: Next) -> (&[u8], &[Transmit]) {
        match next {
            Next::Line if self.full.is_empty() => self.fifo.rest(),
            // The second may be to one that is full.
            Next::Line => self.fifo.only_first(),
            Next::Full => self.next_full().map_or((&[], &[]), |(_, line)| line.rest()),
            Next::Nothing => (&[], &[]),
        }
    }

    /// The first of them are gone; says how many bytes they had.
    pub(in crate::reactor) fn drop_first(&mut self, next: Next, count: usize) -> usize {
        if next != Next::Full {
            return self.fifo.drop_first(count);
        }
        let Some(to) = self.next_full().map(|(to, _)| to.clone()) else { return 0 };
        let Some(line) = self.full.get_mut(&to) else { return 0 };
        let before = line.weight();
        let bytes = line.drop_first(count);
        self.full_weight -= before - line.weight();
        self.full_bytes -= bytes;
        if line.is_empty() {
            self.full.remove(&to);
            self.last_tried = Some(to);
            self.to_try = self.to_try.saturating_sub(1);
        }
        bytes
    }

    /// The receiver of the first of them is full.
    pub(in crate::reactor) fn mark_full(&mut self, next: Next) {
        match next {
            Next::Line => self.set_aside(),
            Next::Full => {
                self.last_tried = self.next_full().map(|(to, _)| to.clone());
                self.max_retries = self.max_retries.saturating_sub(1);
                self.to_try = if self.max_retries == 0 { 0 } else { self.to_try - 1 };
            }
            Next::Nothing => {}
        }
    }

    /// From now on those are tried that were full, each once, until so many of them still are.
    pub(in crate::reactor) fn try_again(&mut self, patience: usize) {
        (self.to_try, self.max_retries) = (self.full.len(), patience);
    }

    /// Whether some wait for receivers that are full.
    pub(in crate::reactor) fn some_are_full(&self) -> bool {
        !self.full.is_empty()
    }

    /// Bytes that wait.
    pub(in crate::reactor) fn bytes(&self) -> usize {
        self.fifo.rest().0.len() + self.full_bytes
    }

    /// Bytes that wait, each datagram with what keeping it takes.
    fn weight(&self) -> usize {
        self.fifo.weight() + self.full_weight
    }

    fn set_aside(&mut self) {
        let (bytes, first) = self.fifo.only_first();
        let Some(Transmit { length, to: Some(to), origin }) = first.first().cloned() else { return };
        let line = self.full.entry(to.clone()).or_default();
        let before = line.weight();
        line.push(bytes, Some(to), origin);
        self.full_weight += line.weight() - before;
        self.full_bytes += length;
        self.fifo.drop_first(1);
    }

    /// The one behind the one that was tried last, in a ring.
    fn next_full(&self) -> Option<(&Address, &Fifo)> {
        let behind = self.last_tried.as_ref().and_then(|tried| {
            self.full.range::<Address, _>((Bound::Excluded(tried), Bound::Unbounded)).next()
        });
        behind.or_else(|| self.full.iter().next())
    }
}

/// Datagrams in a row: those before `first` are gone, and their bytes lie before `start`.
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

    fn only_first(&self) -> (&[u8], &[Transmit]) {
        let (bytes, queue) = self.rest();
        let length = queue.first().map_or(0, |going| going.length);
        (bytes.get(..length).unwrap_or(bytes), queue.get(..1).unwrap_or_default())
    }

    fn is_empty(&self) -> bool {
        self.first == self.queue.len()
    }

    /// Says how many bytes they had.
    fn drop_first(&mut self, count: usize) -> usize {
        let gone = self.rest().1.iter().take(count);
        let (count, bytes) = gone.fold((0, 0), |(count, bytes), going| (count + 1, bytes + going.length));
        self.first += count;
        self.start += bytes;
        // What is gone makes room when it is the larger part: so none is moved more often than others go before it.
        if self.first > self.queue.len() / 2 {
            self.queue.drain(..self.first);
            self.bytes.drain(..self.start);
            (self.first, self.start) = (0, 0);
        }
        bytes
    }

    fn weight(&self) -> usize {
        let (bytes, queue) = self.rest();
        bytes.len() + queue.len() * KEPT
    }
}

/// What a datagram counts beside its bytes: what keeping it takes, but for the address that an answer leaves from.
const KEPT: usize = size_of::<Transmit>() - size_of::<Option<Origin>>();

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::UnixAddress;

    const LIMIT: usize = 1 << 20;

    fn to(name: &str) -> Option<Address> {
        Some(Address::Unix(UnixAddress::of_abstract(name).unwrap()))
    }

    /// Sends what can be sent, with these receivers being full; says what went, and how often it was tried in vain.
    fn send(outgoing: &mut SendQueue, full: &[&str]) -> (Vec<String>, usize) {
        let (mut went, mut refused) = (Vec::new(), 0);
        loop {
            let next = outgoing.next();
            let (bytes, going) = outgoing.front(next);
            let Some(first) = going.first() else { return (went, refused) };
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
    fn who_is_full_holds_up_nobody_else_and_is_tried_once() {
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
        assert!(!outgoing.some_are_full() && outgoing.weight() == 0 && outgoing.bytes() == 0);
    }

    #[test]
    fn what_was_written_before_goes_before_whatever_comes_between() {
        let mut outgoing = SendQueue::default();
        write(&mut outgoing, &["a1", "b1", "a2"]);
        let next = outgoing.next();
        outgoing.mark_full(next);
        // An error of the second ends this pass; the third stands in the line of all still.
        let next = outgoing.next();
        outgoing.drop_first(next, 1);
        write(&mut outgoing, &["a3"]);
        outgoing.try_again(9);
        assert_eq!(send(&mut outgoing, &[]).0, ["a1", "a2", "a3"]);
    }

    #[test]
    fn full_ones_are_tried_in_turn_and_so_many_at_a_time() {
        let names = ["a", "b", "c", "d", "e"];
        let mut outgoing = SendQueue::default();
        write(&mut outgoing, &names);
        assert_eq!(send(&mut outgoing, &names), (vec![], 5));
        outgoing.try_again(2);
        assert_eq!(send(&mut outgoing, &names), (vec![], 2));
        // The first two have had their turn.
        outgoing.try_again(2);
        assert_eq!(send(&mut outgoing, &["c", "e"]), (vec!["d".into()], 2));
        outgoing.try_again(9);
        assert_eq!(send(&mut outgoing, &["c", "e"]), (vec!["a".into(), "b".into()], 2));
    }

    #[test]
    fn a_full_one_leaves_room_for_others() {
        let mut outgoing = SendQueue::default();
        write(&mut outgoing, &["a1"]);
        send(&mut outgoing, &["a"]);
        let limit = 100 * (4 + KEPT);
        let mut taken = 0;
        while outgoing.enqueue(b"deaf", to("a"), None, limit) {
            send(&mut outgoing, &["a"]);
            taken += 1;
        }
        assert!((48..=52).contains(&taken), "{taken}");
        assert!(outgoing.enqueue(b"deaf", to("b"), None, limit));
        // Among all there is no more than the limit.
        let more = (0..1000).take_while(|_| outgoing.enqueue(b"some", to("b"), None, limit)).count();
        assert!((48..=52).contains(&more), "{more}");
    }

    #[test]
    fn a_long_line_moves_no_datagram_more_often_than_one_goes() {
        let mut line = Fifo::default();
        for _ in 0..10_000 {
            line.push(b"x", None, None);
        }
        let mut moved = 0;
        while !line.is_empty() {
            line.drop_first(1);
            moved += if line.first == 0 { line.queue.len() } else { 0 };
        }
        assert!((1..=10_000).contains(&moved), "{moved}");
    }
}
