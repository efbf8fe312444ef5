//! The open connections of a site, in the order of their last progress.

use std::collections::HashMap;

use crate::{ConnectionId, Instant};

/// The connections of a site. Each is in the list of its [`Stage`], the one without progress for
/// the longest time first. All operations take constant time.
#[derive(Default)]
pub(super) struct Table {
    entries: Vec<Entry>,
    /// The first free entry, linked by `next`.
    free: Option<u32>,
    lists: [List; STAGES],
    open: usize,
    /// Connections that were admitted and have no protocol yet, because their layers are not ready.
    admitted: HashMap<ConnectionId, Place>,
    /// The last one of these, which a connection without layers finds here.
    last_admitted: Option<(ConnectionId, Place)>,
}

/// What a connection is waiting for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// Its first request, or the rest of a head.
    Head,
    /// Another request.
    Idle,
    /// A body.
    Body,
    /// Its handler, or room for the response.
    Response,
}

const STAGES: usize = 4;

/// The place of a connection. It names nothing once that was removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    at: u32,
    generation: u32,
}

struct Entry {
    id: ConnectionId,
    generation: u32,
    stage: Stage,
    /// When the stage began, or its last progress.
    since: Instant,
    previous: Option<u32>,
    next: Option<u32>,
}

#[derive(Clone, Copy, Default)]
struct List {
    first: Option<u32>,
    last: Option<u32>,
}

impl Table {
    pub(super) fn open(&self) -> usize {
        self.open
    }

    /// Adds a connection whose protocol is not built yet.
    pub(super) fn admit(&mut self, id: ConnectionId, now: Instant) {
        if let Some((earlier, place)) = self.last_admitted.take() {
            self.admitted.insert(earlier, place);
        }
        let place = self.insert(id, now);
        self.last_admitted = Some((id, place));
    }

    /// Returns the place of a connection whose protocol is built now.
    pub(super) fn place(&mut self, id: ConnectionId) -> Option<Place> {
        match self.last_admitted {
            Some((last, place)) if last == id => {
                self.last_admitted = None;
                Some(place)
            }
            _ => self.admitted.remove(&id),
        }
    }

    fn insert(&mut self, id: ConnectionId, since: Instant) -> Place {
        let mut entry = Entry { id, generation: 0, stage: Stage::Head, since, previous: None, next: None };
        let free = self.free.and_then(|at| Some((at, self.entries.get_mut(at as usize)?)));
        let (at, generation) = match free {
            Some((at, slot)) => {
                self.free = slot.next;
                entry.generation = slot.generation;
                *slot = entry;
                (at, slot.generation)
            }
            None => {
                self.entries.push(entry);
                ((self.entries.len() - 1) as u32, 0)
            }
        };
        self.open += 1;
        self.append(at, Stage::Head);
        Place { at, generation }
    }

    /// Notes that a connection has made progress, and is in this stage now.
    pub(super) fn touch(&mut self, place: Place, stage: Stage, now: Instant) {
        if !self.holds(place) {
            return;
        }
        self.unlink(place.at);
        if let Some(entry) = self.entries.get_mut(place.at as usize) {
            (entry.stage, entry.since) = (stage, now);
        }
        self.append(place.at, stage);
    }

    pub(super) fn remove(&mut self, place: Place) {
        if !self.holds(place) {
            return;
        }
        self.unlink(place.at);
        if let Some(entry) = self.entries.get_mut(place.at as usize) {
            entry.generation = entry.generation.wrapping_add(1);
            (entry.previous, entry.next) = (None, self.free);
            self.free = Some(place.at);
            self.open -= 1;
        }
    }

    fn holds(&self, place: Place) -> bool {
        self.entries.get(place.at as usize).is_some_and(|entry| entry.generation == place.generation)
    }

    /// The connection that gives way: of those that wait for a request, the one without progress
    /// for the longest time, else such a one with a body, else one with a response.
    pub(super) fn least_progress(&self) -> Option<(ConnectionId, Place)> {
        let first = |stage: Stage| {
            let at = self.lists.get(stage as usize)?.first?;
            let entry = self.entries.get(at as usize)?;
            Some((entry, Place { at, generation: entry.generation }))
        };
        let waiting = match (first(Stage::Head), first(Stage::Idle)) {
            (Some(head), Some(idle)) if idle.0.since < head.0.since => Some(idle),
            (head, idle) => head.or(idle),
        };
        let found = waiting.or_else(|| first(Stage::Body)).or_else(|| first(Stage::Response));
        found.map(|(entry, place)| (entry.id, place))
    }

    /// Forgets a connection, also one without a protocol.
    pub(super) fn forget(&mut self, id: ConnectionId, place: Place) {
        self.admitted.remove(&id);
        if self.last_admitted.is_some_and(|(last, _)| last == id) {
            self.last_admitted = None;
        }
        self.remove(place);
    }

    fn unlink(&mut self, at: u32) {
        let Some(entry) = self.entries.get_mut(at as usize) else { return };
        let (previous, next, stage) = (entry.previous.take(), entry.next.take(), entry.stage);
        let Some(list) = self.lists.get_mut(stage as usize) else { return };
        match previous {
            Some(previous) => {
                if let Some(entry) = self.entries.get_mut(previous as usize) {
                    entry.next = next;
                }
            }
            None => list.first = next,
        }
        match next {
            Some(next) => {
                if let Some(entry) = self.entries.get_mut(next as usize) {
                    entry.previous = previous;
                }
            }
            None => list.last = previous,
        }
    }

    fn append(&mut self, at: u32, stage: Stage) {
        let Some(list) = self.lists.get_mut(stage as usize) else { return };
        let last = list.last.replace(at);
        match last {
            Some(last) => {
                if let Some(entry) = self.entries.get_mut(last as usize) {
                    entry.next = Some(at);
                }
                if let Some(entry) = self.entries.get_mut(at as usize) {
                    entry.previous = Some(last);
                }
            }
            None => list.first = Some(at),
        }
    }
}
