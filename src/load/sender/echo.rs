//! A connection that keeps messages in flight and compares the answers.

use super::Schedule;
use super::schedule::Pace;
use super::stream::{Stream, is_full};
use crate::load::run::{Run, read_clock};
use crate::load::totals::Limit;
use crate::{Instant, Protocol, Reason, Transport};
use std::collections::VecDeque;
use std::rc::Rc;
use std::time::Duration;

/// The protocol of a connection that stays open.
pub(in crate::load) struct Echoing {
    run: Rc<Run>,
    stream: Stream,
    /// Messages started, and messages answered.
    begun: u64,
    answered: u64,
    /// Messages in flight, in order. The first batch, usually the only one, needs no allocation.
    first: Batch,
    others: VecDeque<Batch>,
    /// Boxed, because it is only used with a rate: the state that each message touches stays small.
    pace: Option<Box<Pace>>,
    stage: Stage,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// Sends nothing.
    Idle,
    /// Sends a message after each answer or, with a schedule, when one is due.
    Busy,
    /// Waits for the final check message to be sent.
    Expecting,
    /// Waits for the last answers.
    Draining,
    /// Ended; later events are ignored.
    Over,
}

/// Messages started at the same time. A batch without messages is empty.
#[derive(Default)]
struct Batch {
    due: Instant,
    sent: Instant,
    messages: u64,
}

impl Echoing {
    pub(in crate::load) fn new(run: Rc<Run>, number: u64) -> Echoing {
        Echoing {
            run,
            stream: Stream::new(number),
            begun: 0,
            answered: 0,
            first: Batch::default(),
            others: VecDeque::new(),
            pace: None,
            stage: Stage::Idle,
        }
    }

    /// Sends the configured number of messages in flight, and then one for each answer.
    pub(super) fn begin(&mut self, transport: &mut Transport<'_>) {
        self.stage = Stage::Busy;
        let now = read_clock(transport.reactor());
        self.push(now, now, self.run.config.depth as u64);
        self.send_pending(transport);
    }

    /// Starts sending by a schedule, which calls [`send_due`](Echoing::send_due) when a message is
    /// due.
    pub(super) fn start_paced(&mut self, schedule: Schedule, slot: u64, end: Instant) {
        self.stage = Stage::Busy;
        self.pace = Some(Box::new(Pace { schedule, slot, next: 0, end }));
    }

    /// Sends the due messages.
    pub(super) fn send_due(&mut self, now: Instant, transport: &mut Transport<'_>) {
        self.follow_pace(now, true, transport);
    }

    /// Sends a single final message, to check that an idle connection is alive.
    pub(super) fn send_check(&mut self, transport: &mut Transport<'_>) {
        self.stage = Stage::Draining;
        let now = read_clock(transport.reactor());
        self.push(now, now, 1);
        self.send_pending(transport);
    }

    /// Stops sending new messages until the final check.
    pub(super) fn await_check(&mut self, end: Instant) {
        self.drain(end);
        self.stage = Stage::Expecting;
    }

    /// Stops sending new messages, except those due before `end`. Returns whether answers are still
    /// awaited.
    pub(super) fn drain(&mut self, end: Instant) -> bool {
        self.stage = Stage::Draining;
        if let Some(pace) = &mut self.pace {
            pace.end = pace.end.min(end);
        }
        self.has_work()
    }

    /// Ends the connection. Returns the number of unanswered messages.
    pub(super) fn end(&mut self, transport: &mut Transport<'_>, now: Instant) -> u64 {
        self.stage = Stage::Over;
        self.record_unanswered(now);
        if self.answered == 0 && self.begun > 0 && self.run.holds() {
            self.run.count_limit(Some(Limit::Silent));
        }
        match self.begun - self.answered {
            0 => transport.lose_connection(),
            // A close would wait until the peer reads the rest.
            _ => transport.abort_connection(),
        }
        self.begun - self.answered
    }

    /// Counts the messages in flight as unanswered, with their wait so far.
    fn record_unanswered(&mut self, now: Instant) {
        let mut state = self.run.state.borrow_mut();
        for batch in std::iter::once(std::mem::take(&mut self.first)).chain(self.others.drain(..)) {
            state.record_wait(batch.due, Some(batch.sent), batch.messages, now);
        }
        if let Some(pace) = self.pace.take() {
            state.unfinished_slots.push((pace.slot, pace.next));
        }
    }

    fn has_work(&self) -> bool {
        let due = |pace: &Pace| pace.due().is_some();
        self.stage == Stage::Expecting || self.begun > self.answered || self.pace.as_deref().is_some_and(due)
    }

    /// Whether the end of the load waits for this connection.
    fn is_awaited(&self) -> bool {
        matches!(self.stage, Stage::Expecting | Stage::Draining) && self.has_work()
    }

    fn push(&mut self, due: Instant, sent: Instant, messages: u64) {
        self.begun += messages;
        let batch = Batch { due, sent, messages };
        match self.first.messages {
            0 => self.first = batch,
            _ => self.others.push_back(batch),
        }
    }

    /// Starts the due messages for which there is room.
    ///
    /// `late` is set if there was room before, so that a delay is the generator's own. Without room
    /// in the transport a message is not started, and its latency still counts from when it was
    /// due.
    fn follow_pace(&mut self, now: Instant, late: bool, transport: &mut Transport<'_>) {
        let room = (self.run.config.depth as u64).saturating_sub(self.begun - self.answered);
        for message in 0..room {
            // A pause is reported only after the callback, so check the buffer from the second
            // message on.
            if !self.stream.has_room(self.end_of_begun()) || message > 0 && is_full(transport) {
                self.schedule_room_check(transport);
                return;
            }
            let Some(pace) = &mut self.pace else { return };
            let Some(due) = pace.due().filter(|due| *due <= now) else { return };
            pace.next += 1;
            self.push(due, now, 1);
            self.run.note_started(now, due, late);
            self.send_pending(transport);
        }
    }

    /// Returns the offset at which the last started message ends.
    fn end_of_begun(&self) -> u64 {
        self.begun.saturating_mul(self.run.config.size as u64)
    }

    fn send_pending(&mut self, transport: &mut Transport<'_>) {
        if self.stream.send_up_to(self.end_of_begun(), &self.run.pattern, transport) {
            transport.call_later(Duration::ZERO, Echoing::check_room);
        }
    }

    /// Schedules a check for room, because no `resume_writing` will follow.
    fn schedule_room_check(&mut self, transport: &mut Transport<'_>) {
        if self.stream.schedules_room_check() {
            transport.call_later(Duration::ZERO, Echoing::check_room);
        }
    }

    fn check_room(&mut self, transport: &mut Transport<'_>) {
        if self.stage == Stage::Over {
            return;
        }
        let end = self.end_of_begun();
        match self.stream.resume_sending(end, &self.run.pattern, transport) {
            true => {
                transport.call_later(Duration::ZERO, Echoing::check_room);
            }
            false => self.follow_pace_with_room(transport),
        }
    }

    /// Sends the messages that became due while there was no room.
    fn follow_pace_with_room(&mut self, transport: &mut Transport<'_>) {
        if self.pace.is_some() && self.stage != Stage::Over {
            let now = read_clock(transport.reactor());
            self.follow_pace(now, false, transport);
        }
    }

    /// Records `done` answered messages. Returns whether new messages may follow: the last answer
    /// can arrive before the timer that ends the load.
    fn record_answers(&mut self, mut done: u64, now: Instant) -> bool {
        let mut state = self.run.state.borrow_mut();
        while done > 0 && self.first.messages > 0 {
            let first = &mut self.first;
            let messages = done.min(first.messages);
            state.answered(first.due, first.sent, messages, now);
            first.messages -= messages;
            done -= messages;
            if first.messages == 0 && !self.others.is_empty() {
                self.first = self.others.pop_front().unwrap_or_default();
            }
        }
        now < state.until
    }
}

impl Protocol for Echoing {
    fn connection_made(&mut self, transport: &mut Transport<'_>) {
        self.stream.made = transport.now();
        self.run.connected(self.stream.number, transport);
    }

    fn data_received(&mut self, transport: &mut Transport<'_>, data: &[u8]) {
        let now = read_clock(transport.reactor());
        let size = self.run.config.size as u64;
        if self.stage == Stage::Over {
            return;
        }
        if let Err(mismatch) = self.stream.receive(data, size, &self.run.pattern) {
            let busy = self.is_awaited();
            self.stage = Stage::Over;
            self.record_unanswered(now);
            transport.abort_connection();
            self.run.wrong(transport.reactor(), mismatch, self.begun - self.answered, busy);
            return;
        }
        let back = self.stream.received / size;
        let done = back - self.answered;
        if done > 0 {
            let had_room = self.begun - self.answered < self.run.config.depth as u64
                && self.stream.has_room(self.end_of_begun());
            self.answered = back;
            let may_continue = self.record_answers(done, now);
            match (&self.pace, self.stage) {
                (Some(_), _) => self.follow_pace(now, had_room, transport),
                (None, Stage::Busy) if may_continue => self.push(now, now, done),
                (None, Stage::Busy | Stage::Idle | Stage::Expecting | Stage::Draining | Stage::Over) => {}
            }
            if self.stage == Stage::Draining && !self.has_work() {
                self.run.drained(transport.reactor());
            }
        }
        self.send_pending(transport);
    }

    fn pause_writing(&mut self, _: &mut Transport<'_>) {
        self.stream.pause();
    }

    fn resume_writing(&mut self, transport: &mut Transport<'_>) {
        self.stream.resume();
        if self.stage != Stage::Over {
            self.send_pending(transport);
            self.follow_pace_with_room(transport);
        }
    }

    fn connection_lost(&mut self, transport: &mut Transport<'_>, reason: &Reason) {
        if self.stage == Stage::Over {
            return;
        }
        let busy = self.is_awaited();
        let (now, number) = (transport.now(), self.stream.number);
        let after = now - self.stream.made;
        self.record_unanswered(now);
        if self.answered == 0 && self.run.holds() && self.run.is_early(after) {
            self.run.count_limit(Some(Limit::Closed));
        }
        self.run.lost(transport.reactor(), number, after, self.begun - self.answered, reason, busy);
    }
}
