//! The cache of answers, of negative answers and of failures.
//!
//! An entry has a name and a type as its key. That a name does not exist applies to all types, and
//! has type 0 as its key (RFC 2308 section 5). Failures are kept for 1 s, and twice as long after
//! each further one, up to 30 s (RFC 9520 section 3.2).

use std::collections::HashMap;
use std::rc::Rc;
use std::time::Duration;

use slab::Slab;

use crate::Instant;
use crate::dns::key_hash::KeyHash;
use crate::dns::message::answer::AnswerKind;
use crate::dns::message::question::Question;
use crate::dns::{DnsError, Response};

/// The outcome of a query.
pub(in crate::dns) type Outcome = Result<Response, DnsError>;

/// Outcomes by name and type, within limits on their number and size. The least recently used one
/// is dropped first.
pub(in crate::dns) struct Cache {
    max_entries: usize,
    max_bytes: usize,
    bytes: usize,
    places: HashMap<Rc<[u8]>, usize, KeyHash>,
    entries: Slab<Entry>,
    newest: usize,
    oldest: usize,
}

struct Entry {
    key: Rc<[u8]>,
    outcome: Outcome,
    stored: Instant,
    expires: Instant,
    /// Failures in a row.
    failures: u8,
    newer: usize,
    older: usize,
}

impl Cache {
    pub(in crate::dns) fn new(max_entries: usize, max_bytes: usize) -> Cache {
        Cache {
            max_entries,
            max_bytes,
            bytes: 0,
            places: HashMap::default(),
            entries: Slab::new(),
            newest: NONE,
            oldest: NONE,
        }
    }

    pub(in crate::dns) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(in crate::dns) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(in crate::dns) fn clear(&mut self) {
        *self = Cache::new(self.max_entries, self.max_bytes);
    }

    /// The valid outcome for a question. `question` has its type again afterwards.
    pub(in crate::dns) fn get(&mut self, question: &mut Question, now: Instant) -> Option<Outcome> {
        if self.places.is_empty() {
            return None;
        }
        if let Some(outcome) = self.look(question.key(), now) {
            return Some(outcome);
        }
        let record_type = question.record_type();
        question.set_type(NONEXISTENT);
        let outcome = self.look(question.key(), now);
        question.set_type(record_type);
        outcome
    }

    fn look(&mut self, key: &[u8], now: Instant) -> Option<Outcome> {
        let place = *self.places.get(key)?;
        let entry = self.entries.get(place)?;
        if entry.expires <= now {
            // A failure is kept for its count.
            if entry.failures == 0 {
                self.remove(place);
            }
            return None;
        }
        let outcome = match &entry.outcome {
            Ok(response) => {
                Ok(Response { shared: Rc::clone(&response.shared), age: now - entry.stored, cached: true })
            }
            Err(error) => Err(error.clone()),
        };
        if place != self.newest {
            self.unlink(place);
            self.link(place);
        }
        Some(outcome)
    }

    /// Keeps an outcome for its time.
    pub(in crate::dns) fn insert(&mut self, question: &mut Question, outcome: &Outcome, now: Instant) {
        if self.max_entries == 0 {
            return;
        }
        let (ttl, kind) = match outcome {
            Ok(response) => (response.shared.ttl, response.kind()),
            Err(_) => (Duration::ZERO, None),
        };
        let record_type = question.record_type();
        // Behind an alias, another name does not exist.
        let nonexistent = kind == Some(AnswerKind::NxDomain)
            && outcome.as_ref().is_ok_and(|response| response.shared.aliases == 0);
        if nonexistent {
            question.set_type(NONEXISTENT);
        }
        let earlier = self.places.get(question.key()).copied();
        let failures_before =
            earlier.and_then(|place| self.entries.get(place)).map_or(0, |entry| entry.failures);
        let (ttl, failures) = match kind {
            Some(_) => (ttl, 0),
            None => {
                let failures = failures_before.saturating_add(1);
                let ttl = MIN_FAILURE_TTL * 2_u32.saturating_pow(u32::from(failures) - 1);
                (ttl.min(MAX_FAILURE_TTL), failures)
            }
        };
        if let Some(place) = earlier {
            self.remove(place);
        }
        if !ttl.is_zero() {
            let key: Rc<[u8]> = question.key().into();
            let entry = Entry {
                key: Rc::clone(&key),
                outcome: outcome.clone(),
                stored: now,
                expires: now + ttl,
                failures,
                newer: NONE,
                older: NONE,
            };
            self.bytes += entry.size();
            let place = self.entries.insert(entry);
            self.places.insert(key, place);
            self.link(place);
            while self.entries.len() > self.max_entries || self.bytes > self.max_bytes {
                self.remove(self.oldest);
            }
        }
        question.set_type(record_type);
    }

    fn remove(&mut self, place: usize) {
        self.unlink(place);
        if let Some(entry) = self.entries.try_remove(place) {
            self.bytes -= entry.size();
            self.places.remove(&entry.key);
        }
    }

    fn link(&mut self, place: usize) {
        let older = std::mem::replace(&mut self.newest, place);
        match self.entries.get_mut(older) {
            Some(entry) => entry.newer = place,
            None => self.oldest = place,
        }
        if let Some(entry) = self.entries.get_mut(place) {
            (entry.newer, entry.older) = (NONE, older);
        }
    }

    fn unlink(&mut self, place: usize) {
        let Some(entry) = self.entries.get(place) else { return };
        let (newer, older) = (entry.newer, entry.older);
        match self.entries.get_mut(newer) {
            Some(entry) => entry.older = older,
            None => self.newest = older,
        }
        match self.entries.get_mut(older) {
            Some(entry) => entry.newer = newer,
            None => self.oldest = newer,
        }
    }
}

impl Entry {
    fn size(&self) -> usize {
        let messages = match &self.outcome {
            Ok(response) => {
                let earlier: usize = response.shared.earlier.iter().map(|message| message.len()).sum();
                response.shared.message.len() + earlier + 17 * response.shared.addresses.len()
            }
            Err(_) => 0,
        };
        ENTRY_SIZE + self.key.len() + messages
    }
}

/// The index of no entry.
const NONE: usize = usize::MAX;

/// The type under which it is cached that a name does not exist. No record has it.
const NONEXISTENT: u16 = 0;

/// Size of an entry and its places in the tables, without key and messages.
const ENTRY_SIZE: usize = 320;

const MIN_FAILURE_TTL: Duration = Duration::from_secs(1);
const MAX_FAILURE_TTL: Duration = Duration::from_secs(30);
