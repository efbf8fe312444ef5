//! Timers: the pending timed calls of a reactor.
//!
//! The timers are a four-ary heap with an index from entries to positions. It is ordered by due
//! time and then by the order in which calls were set. Timers of equal time run first in, first
//! out, and a cancelled timer is removed at once.
//!
//! A later due time is only stored. The heap moves the entry when it reaches the top. So the usual
//! refresh of an idle timeout is a single store.

pub(in crate::reactor) mod delayed_call;
use slab::Slab;

use crate::net::Instant;

/// A handle to a timed call. See [`Reactor::call_later`](crate::Reactor::call_later).
///
/// It is an index and a generation. It never refers to a later call that reuses the index.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[doc(alias("IDelayedCall", "TimerHandle", "TimerToken"))]
pub struct DelayedCall {
    index: u32,
    generation: u32,
}

/// The pending calls of one reactor.
pub(crate) struct Timers<C> {
    heap: Vec<Due>,
    entries: Slab<Entry<C>>,
    /// The heap position of each entry. It is separate from the entries, because each heap step
    /// writes one position. A million positions stay in the cache.
    positions: Vec<u32>,
    /// The number of calls ever set or reset. It orders equal times.
    sequence: u64,
    generation: u32,
}

/// A heap element: an entry and its earliest possible due time.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Due {
    at: Instant,
    sequence: u64,
    entry: u32,
}

struct Entry<C> {
    /// The actual due time, never before that of the heap element.
    at: Instant,
    sequence: u64,
    generation: u32,
    call: C,
}

impl<C> Timers<C> {
    pub(in crate::reactor) fn new() -> Timers<C> {
        Timers { heap: Vec::new(), entries: Slab::new(), positions: Vec::new(), sequence: 0, generation: 0 }
    }

    pub(in crate::reactor) fn len(&self) -> usize {
        self.entries.len()
    }

    /// The sequence number of the next call.
    pub(in crate::reactor) fn sequence(&self) -> u64 {
        self.sequence
    }

    pub(in crate::reactor) fn set(&mut self, at: Instant, call: C) -> DelayedCall {
        let sequence = self.next_sequence();
        self.generation = self.generation.wrapping_add(1);
        let generation = self.generation;
        let position = self.heap.len();
        let index = self.entries.insert(Entry { at, sequence, generation, call }) as u32;
        if self.positions.len() <= index as usize {
            self.positions.push(0);
        }
        self.heap.push(Due { at, sequence, entry: index });
        self.rise(position);
        DelayedCall { index, generation }
    }

    /// Removes a call; `None` when it has run or was cancelled.
    pub(in crate::reactor) fn cancel(&mut self, name: DelayedCall) -> Option<C> {
        self.entry(name)?;
        self.take(self.position(name.index))
    }

    /// Changes the time of a call; `false` when it has run or was cancelled.
    pub(in crate::reactor) fn reset(&mut self, name: DelayedCall, at: Instant) -> bool {
        let sequence = self.sequence;
        let Some(entry) = self.entry_mut(name) else {
            return false;
        };
        entry.at = at;
        entry.sequence = sequence;
        self.sequence += 1;
        let position = self.position(name.index);
        if self.heap.get(position).is_some_and(|due| at < due.at) {
            self.heap[position] = Due { at, sequence, entry: name.index };
            self.rise(position);
        }
        true
    }

    /// The due time of a call; `None` when it has run or was cancelled.
    pub(in crate::reactor) fn due(&self, name: DelayedCall) -> Option<Instant> {
        self.entry(name).map(|entry| entry.at)
    }

    /// A lower bound of the first due time. A postponed call can make it too early, never too late.
    pub(in crate::reactor) fn next(&self) -> Option<Instant> {
        self.heap.first().map(|due| due.at)
    }

    /// The first call that is due at `now` and has a sequence number below `sequence`.
    pub(in crate::reactor) fn first_due(&mut self, now: Instant, sequence: u64) -> Option<(DelayedCall, &C)> {
        loop {
            let first = *self.heap.first()?;
            if first.at > now {
                return None;
            }
            let entry = self.entries.get(first.entry as usize)?;
            let name = DelayedCall { index: first.entry, generation: entry.generation };
            if entry.sequence != first.sequence {
                // The call was postponed: move it to its actual time.
                let due = Due { at: entry.at, sequence: entry.sequence, entry: first.entry };
                self.heap[0] = due;
                self.sink(0);
            } else if first.sequence >= sequence && first.at == now {
                return None;
            } else if first.sequence >= sequence {
                // The call was set in this turn for a time in the past. It must not overtake calls
                // that were set earlier.
                self.heap[0].at = now;
                if let Some(entry) = self.entries.get_mut(first.entry as usize) {
                    entry.at = now;
                }
                self.sink(0);
            } else {
                return self.entries.get(first.entry as usize).map(|entry| (name, &entry.call));
            }
        }
    }

    /// Removes the call that [`first_due`](Timers::first_due) returned.
    pub(in crate::reactor) fn take_first(&mut self) -> Option<C> {
        self.take(0)
    }

    /// All remaining calls.
    pub(in crate::reactor) fn into_calls(self) -> impl Iterator<Item = C> {
        self.entries.into_iter().map(|(_, entry)| entry.call)
    }

    fn next_sequence(&mut self) -> u64 {
        self.sequence += 1;
        self.sequence - 1
    }

    fn position(&self, entry: u32) -> usize {
        self.positions.get(entry as usize).map_or(usize::MAX, |position| *position as usize)
    }

    fn entry(&self, name: DelayedCall) -> Option<&Entry<C>> {
        self.entries.get(name.index as usize).filter(|entry| entry.generation == name.generation)
    }

    fn entry_mut(&mut self, name: DelayedCall) -> Option<&mut Entry<C>> {
        self.entries.get_mut(name.index as usize).filter(|entry| entry.generation == name.generation)
    }

    /// Removes the call at a heap position. The last element fills the gap.
    fn take(&mut self, position: usize) -> Option<C> {
        if position >= self.heap.len() {
            return None;
        }
        let due = self.heap.swap_remove(position);
        let entry = self.entries.try_remove(due.entry as usize)?;
        if position < self.heap.len() {
            // The element that moved here may have to move in either direction.
            self.sink(position);
            self.rise(position);
        }
        Some(entry.call)
    }

    fn rise(&mut self, mut position: usize) {
        let due = self.heap[position];
        while position > 0 {
            let parent = (position - 1) / FAN;
            if self.heap[parent] < due {
                break;
            }
            self.place(position, self.heap[parent]);
            position = parent;
        }
        self.place(position, due);
    }

    fn sink(&mut self, mut position: usize) {
        let due = self.heap[position];
        loop {
            let first = position * FAN + 1;
            let last = (first + FAN).min(self.heap.len());
            let Some(least) = (first..last).min_by_key(|&child| self.heap[child]) else {
                break;
            };
            if due < self.heap[least] {
                break;
            }
            self.place(position, self.heap[least]);
            position = least;
        }
        self.place(position, due);
    }

    fn place(&mut self, position: usize, due: Due) {
        self.heap[position] = due;
        // Each entry in the heap has had its place in `positions` since it was set.
        self.positions[due.entry as usize] = position as u32;
    }
}

/// Children per heap node. Four fit in two cache lines and halve the depth of a binary heap.
const FAN: usize = 4;

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn at(seconds: u64) -> Instant {
        Instant::from_origin(Duration::from_secs(seconds))
    }

    fn drain(timers: &mut Timers<u32>, now: Instant) -> Vec<u32> {
        let sequence = timers.sequence();
        std::iter::from_fn(|| {
            timers.first_due(now, sequence)?;
            timers.take_first()
        })
        .collect()
    }

    #[test]
    fn timers_fire_by_time_and_equal_times_first_in_first_out() {
        let mut timers = Timers::new();
        for call in 0..100 {
            timers.set(at(u64::from(call % 3)), call);
        }
        let came = drain(&mut timers, at(2));
        let mut expected: Vec<u32> = (0..100).collect();
        expected.sort_by_key(|call| call % 3);
        assert_eq!(came, expected);
        assert_eq!(timers.len(), 0);
    }

    #[test]
    fn a_postponed_timer_fires_behind_earlier_ones_of_its_new_time() {
        let mut timers = Timers::new();
        let first = timers.set(at(1), 1);
        timers.set(at(3), 2);
        assert!(timers.reset(first, at(3)));
        assert_eq!(timers.due(first), Some(at(3)));
        assert!(drain(&mut timers, at(2)).is_empty());
        assert_eq!(drain(&mut timers, at(3)), [2, 1]);
    }

    #[test]
    fn a_call_that_was_brought_forward_comes_earlier() {
        let mut timers = Timers::new();
        timers.set(at(5), 1);
        let second = timers.set(at(9), 2);
        assert!(timers.reset(second, at(4)));
        assert_eq!(drain(&mut timers, at(9)), [2, 1]);
    }

    #[test]
    fn an_old_name_does_not_reach_the_call_that_took_its_place() {
        let mut timers = Timers::new();
        let old = timers.set(at(1), 1);
        assert_eq!(timers.cancel(old), Some(1));
        let new = timers.set(at(1), 2);
        assert_eq!(old.index, new.index);
        assert_eq!(timers.cancel(old), None);
        assert!(!timers.reset(old, at(2)));
        assert_eq!(timers.due(old), None);
        assert_eq!(timers.due(new), Some(at(1)));
    }

    #[test]
    fn a_call_set_too_late_for_its_time_overtakes_no_other() {
        let mut timers = Timers::new();
        timers.set(at(5), 1);
        let before = timers.sequence();
        timers.set(at(1), 2);
        timers.set(at(2), 3);
        assert_eq!(timers.first_due(at(6), before).map(|(_, call)| *call), Some(1));
        timers.take_first();
        assert!(timers.first_due(at(6), before).is_none());
        assert_eq!(drain(&mut timers, at(6)), [2, 3]);
    }

    /// A thousand random operations against a plain list that is sorted at the end.
    #[test]
    fn any_mixture_of_operations_gives_the_order_of_a_sorted_list() {
        let mut state = 88172645463325252u64;
        let mut random = move |below: u64| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state % below
        };
        for _ in 0..50 {
            let mut timers = Timers::new();
            let mut model: Vec<(DelayedCall, Instant, u64, u32)> = Vec::new();
            for step in 0..1000 {
                let time = at(random(50));
                match random(4) {
                    0 if !model.is_empty() => {
                        let (name, ..) = model.swap_remove(random(model.len() as u64) as usize);
                        assert!(timers.cancel(name).is_some());
                    }
                    1 if !model.is_empty() => {
                        let index = random(model.len() as u64) as usize;
                        let sequence = timers.sequence();
                        assert!(timers.reset(model[index].0, time));
                        (model[index].1, model[index].2) = (time, sequence);
                    }
                    _ => {
                        let sequence = timers.sequence();
                        model.push((timers.set(time, step), time, sequence, step));
                    }
                }
            }
            model.sort_by_key(|&(_, time, sequence, _)| (time, sequence));
            let expected: Vec<u32> = model.iter().map(|&(.., call)| call).collect();
            assert_eq!(drain(&mut timers, at(50)), expected);
        }
    }
}
