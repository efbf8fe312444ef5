//! The state of a run: its stage, its connections and its totals.

use super::{Candidates, Finished};
use crate::load::config::{LoadConfig, Workload};
use crate::load::sender::{Schedule, Sender};
use crate::load::totals::{Distribution, Totals};
use crate::{ConnectorId, DelayedCall, Instant};
use std::collections::BTreeMap;
use std::ops::Range;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::load) enum Stage {
    /// Connections are opened.
    Opening,
    /// Messages are sent, or connections are held.
    Running,
    /// The last answers are awaited.
    Draining,
    Finished,
}

pub(in crate::load) struct State {
    pub(in crate::load) stage: Stage,
    pub(in crate::load) began: Instant,
    /// Messages due or sent from here until `until` count.
    pub(in crate::load) since: Instant,
    pub(in crate::load) until: Instant,
    /// Time of the last answer to a counted message.
    pub(in crate::load) last: Instant,
    /// Connection attempts in flight by connection number, with the time each was due.
    pub(in crate::load) connecting: BTreeMap<u64, (ConnectorId, Instant)>,
    /// Open connections by number.
    pub(in crate::load) open: BTreeMap<u64, Sender>,
    /// Senders that take turns in the schedule.
    pub(in crate::load) slots: Vec<Sender>,
    pub(in crate::load) schedule: Option<Schedule>,
    /// First message of the schedule that was not passed to a sender.
    pub(in crate::load) cursor: u64,
    /// Number of started messages of the schedule.
    pub(in crate::load) note_started: u64,
    /// Slots of lost connections, each with its first message that was not started.
    pub(in crate::load) unfinished_slots: Vec<(u64, u64)>,
    /// Number of connections with answers awaited at the end.
    pub(in crate::load) busy: usize,
    /// Timer for the next connection attempt or the next due message.
    pub(in crate::load) next: Option<DelayedCall>,
    /// Timer for the end of sending, or for the drain timeout.
    pub(in crate::load) end: Option<DelayedCall>,
    /// Timer for the next search for lost datagrams.
    pub(in crate::load) sweep: Option<DelayedCall>,
    /// Number of answers, including those that do not count.
    pub(in crate::load) answers: u64,
    pub(in crate::load) paced: bool,
    pub(in crate::load) totals: Totals,
    pub(in crate::load) finished: Option<Finished>,
    pub(in crate::load) start_gate: StartGate,
    /// For datagrams: the candidate addresses.
    pub(in crate::load) candidates: Candidates,
}

/// The gate between opening and running.
pub(in crate::load) enum StartGate {
    Open,
    /// Calls this callback when the load reaches the gate.
    Closed(Finished),
    /// The load waits at the gate.
    Reached,
}

impl State {
    /// Records answers to messages that were started together.
    #[inline]
    pub(in crate::load) fn answered(&mut self, due: Instant, sent: Instant, messages: u64, now: Instant) {
        self.answers += messages;
        if due >= self.since {
            self.last = now;
            self.totals.messages += messages;
            self.totals.latencies.record(now - due, messages);
            if self.paced {
                self.totals.since_sent.record(now - sent, messages);
            }
        }
    }

    /// Records messages without an answer that are no longer awaited, with their wait so far.
    /// Omitting them would make a server look fast that answers only some messages.
    pub(in crate::load) fn record_wait(
        &mut self,
        due: Instant,
        sent: Option<Instant>,
        messages: u64,
        now: Instant,
    ) {
        if due >= self.since && messages > 0 {
            self.totals.latencies.record(now - due, messages);
            if let Some(sent) = sent.filter(|_| self.paced) {
                self.totals.since_sent.record(now - sent, messages);
            }
        }
    }

    /// Records the due messages of the schedule that were never sent, with their wait so far.
    pub(in crate::load) fn count_unsent(&mut self, schedule: Schedule, work: Workload, now: Instant) {
        let (since, until) = (schedule.before(self.since), schedule.before(self.until));
        let waits = &mut self.totals.latencies;
        if work == Workload::Churn {
            // The cursor counts all started exchanges.
            let rest = self.cursor.max(since)..until;
            return record_waits(waits, rest, now, |number| schedule.due(number));
        }
        for (slot, next) in std::mem::take(&mut self.unfinished_slots) {
            let of_slot = |all: u64| all.saturating_sub(slot).div_ceil(schedule.slots());
            let rest = next.max(of_slot(since))..of_slot(until);
            record_waits(waits, rest, now, |number| schedule.due_in_slot(slot, number));
        }
    }

    pub(in crate::load) fn begun_to_run(&self, config: &LoadConfig) -> Instant {
        Instant::from_origin(self.since.since_origin().saturating_sub(config.warm_up))
    }
}

/// Records the waits of messages with these numbers. For large ranges, each group is recorded with
/// its shortest wait.
fn record_waits(waits: &mut Distribution, numbers: Range<u64>, now: Instant, due: impl Fn(u64) -> Instant) {
    let count = numbers.end.saturating_sub(numbers.start);
    let groups = count.min(GROUPS);
    let start =
        |group: u64| numbers.start + (u128::from(count) * u128::from(group) / u128::from(groups)) as u64;
    for group in 0..groups {
        let (from, to) = (start(group), start(group + 1));
        waits.record(now - due(to - 1), to - from);
    }
}

/// Maximum number of waits that are recorded one by one, for each sender.
const GROUPS: u64 = 1_000;
