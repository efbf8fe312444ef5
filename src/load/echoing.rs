//! A connection that sends messages ahead, and compares what comes back.

use super::limit::Limit;
use super::pattern::Pattern;
use super::run::Run;
use super::schedule::Schedule;
use crate::load::error::{Corruption, Mismatch};
use crate::{Instant, Protocol, Reason, Transport};
use std::collections::VecDeque;
use std::rc::Rc;
use std::time::Duration;

/// The bytes of one connection: what was sent of the pattern, and what came back.
pub(super) struct Stream {
    number: u64,
    /// Where in the pattern it begins.
    start: u64,
    /// Bytes handed to the transport.
    sent: u64,
    /// Bytes that came back, and were the right ones.
    pub(super) received: u64,
    /// When it was made.
    pub(super) made: Instant,
    /// The transport has asked to pause: `resume_writing` follows.
    paused: bool,
    /// A timer looks for room in the next turn.
    looking: bool,
}

impl Stream {
    pub(super) fn new(number: u64) -> Stream {
        Stream {
            number,
            start: Pattern::start(number),
            sent: 0,
            received: 0,
            made: Instant::default(),
            paused: false,
            looking: false,
        }
    }

    /// Sends the bytes up to `end` while the transport has room. Returns whether the caller has to call
    /// [`looks`](Stream::looks) in the next turn; otherwise all is sent, or `resume_writing` follows.
    #[inline]
    pub(super) fn send_up_to(&mut self, end: u64, pattern: &Pattern, transport: &mut Transport<'_>) -> bool {
        // The transport tells of a pause after the callback, so one piece has room.
        let mut has_room = !(self.paused || self.looking && is_full(transport));
        while self.sent < end && has_room {
            let piece = pattern.at(self.start + self.sent, end - self.sent);
            self.sent += piece.len() as u64;
            transport.write(piece);
            has_room = self.sent == end || !is_full(transport);
        }
        // Bytes that a layer or the scratch buffer holds can leave without a pause ever being told.
        self.sent < end && self.begins_to_look()
    }

    /// Whether there is room for a message that begins now: `end` is that of the messages before.
    #[inline]
    pub(super) fn has_room(&self, end: u64) -> bool {
        !self.paused && self.sent == end
    }

    /// Whether the caller has to call [`looks`](Stream::looks) in the next turn.
    fn begins_to_look(&mut self) -> bool {
        !self.paused && !std::mem::replace(&mut self.looking, true)
    }

    /// As `pause_writing`.
    pub(super) fn pause(&mut self) {
        self.paused = true;
    }

    /// As `resume_writing`.
    pub(super) fn resume(&mut self) {
        self.paused = false;
    }

    /// Sends on in the turn after one that ended without room.
    pub(super) fn looks(&mut self, end: u64, pattern: &Pattern, transport: &mut Transport<'_>) -> bool {
        // It is reset afterwards, so that not even one piece is written where there is no room.
        self.send_up_to(end, pattern, transport);
        self.looking = self.sent < end && !self.paused;
        self.looking
    }

    /// Compares what came back with what was sent. `size` is that of a message.
    #[inline]
    pub(super) fn receive(&mut self, data: &[u8], size: u64, pattern: &Pattern) -> Result<(), Mismatch> {
        let position = self.start + self.received;
        let right = data.len() as u64 <= self.sent - self.received && pattern.compare(position, data).is_ok();
        if !right {
            return Err(self.mismatch(data, size, pattern));
        }
        self.received += data.len() as u64;
        Ok(())
    }

    #[cold]
    fn mismatch(&self, data: &[u8], size: u64, pattern: &Pattern) -> Mismatch {
        let position = self.start + self.received;
        let awaited = usize::try_from(self.sent - self.received).unwrap_or(usize::MAX).min(data.len());
        let wrong = pattern.compare(position, &data[..awaited]).err().unwrap_or(awaited);
        let offset = self.received + wrong as u64;
        let (expected, what) = match wrong < awaited {
            true => {
                let expected = pattern.at(position + wrong as u64, 1).first().copied();
                let ahead = self.sent - offset;
                (expected, pattern.explain(position + wrong as u64, &data[wrong..], offset, ahead))
            }
            false => (None, Corruption::TooMany),
        };
        let found = data.get(wrong).copied().unwrap_or_default();
        Mismatch { connection: self.number + 1, offset, message: offset / size + 1, expected, found, what }
    }
}

/// Whether as many bytes wait as may: the water marks, without waiting for the transport to tell.
fn is_full(transport: &mut Transport<'_>) -> bool {
    transport.writing_paused() || transport.write_buffer_size() > transport.reactor().settings().high_water
}

/// The protocol of a connection that stays.
pub(super) struct Echoing {
    run: Rc<Run>,
    stream: Stream,
    /// Messages begun, and messages that are back.
    begun: u64,
    answered: u64,
    /// Those in between, in order: the first of them, as a rule the only one, without an allocation of its own.
    first: Batch,
    others: VecDeque<Batch>,
    /// Elsewhere, because without a rate there is none: what every message touches stays small.
    pace: Option<Box<Pace>>,
    stage: Stage,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// Nothing is sent by itself.
    Idle,
    /// An answer is followed by a message; with a pace, a message is sent when it is due.
    Busy,
    /// It is to be asked at the end, and was not yet.
    Expecting,
    /// The last answers are awaited.
    Draining,
    /// It is over: what happens now is nobody's loss.
    Over,
}

/// Messages begun at the same time; none are no batch.
#[derive(Default)]
struct Batch {
    due: Instant,
    sent: Instant,
    messages: u64,
}

/// A connection's part of the schedule.
pub(super) struct Pace {
    pub(super) schedule: Schedule,
    pub(super) lane: u64,
    /// How many of its messages it has begun.
    pub(super) next: u64,
    /// What is due then or later is not sent.
    pub(super) end: Instant,
}

impl Pace {
    /// When the next message is due; `None` when there are none any more.
    pub(super) fn due(&self) -> Option<Instant> {
        Some(self.schedule.due_in_lane(self.lane, self.next)).filter(|due| *due < self.end)
    }
}

impl Echoing {
    pub(super) fn new(run: Rc<Run>, number: u64) -> Echoing {
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

    /// As many messages as may be under way, and then one for each answer.
    pub(super) fn begin(&mut self, transport: &mut Transport<'_>) {
        self.stage = Stage::Busy;
        let now = super::run::fresh(transport.reactor());
        self.push(now, now, self.run.plan.depth as u64);
        self.speak(transport);
    }

    /// From now on, messages by a schedule, which has to call [`look`](Echoing::look) when one of them is due.
    pub(super) fn begin_pace(&mut self, schedule: Schedule, lane: u64, end: Instant) {
        self.stage = Stage::Busy;
        self.pace = Some(Box::new(Pace { schedule, lane, next: 0, end }));
    }

    /// Sends what is due.
    pub(super) fn look(&mut self, now: Instant, transport: &mut Transport<'_>) {
        self.follow_pace(now, true, transport);
    }

    /// One message, and then nothing more: whoever is idle shows that he is there.
    pub(super) fn ask(&mut self, transport: &mut Transport<'_>) {
        self.stage = Stage::Draining;
        let now = super::run::fresh(transport.reactor());
        self.push(now, now, 1);
        self.speak(transport);
    }

    /// It will be asked; no new messages before.
    pub(super) fn expect(&mut self, end: Instant) {
        self.drain(end);
        self.stage = Stage::Expecting;
    }

    /// No new messages, but for those that are due before `end`. Whether there still is something to wait for.
    pub(super) fn drain(&mut self, end: Instant) -> bool {
        self.stage = Stage::Draining;
        if let Some(pace) = &mut self.pace {
            pace.end = pace.end.min(end);
        }
        self.has_work()
    }

    /// It is over. Returns the messages that were not answered.
    pub(super) fn end(&mut self, transport: &mut Transport<'_>, now: Instant) -> u64 {
        self.stage = Stage::Over;
        self.forsake(now);
        if self.answered == 0 && self.begun > 0 && self.run.holds() {
            self.run.limited(Some(Limit::Silent));
        }
        match self.begun - self.answered {
            0 => transport.lose_connection(),
            // Nobody waits for what nobody reads.
            _ => transport.abort_connection(),
        }
        self.begun - self.answered
    }

    /// Counts what was due and is not answered: it waits no longer.
    fn forsake(&mut self, now: Instant) {
        let mut state = self.run.state.borrow_mut();
        for batch in std::iter::once(std::mem::take(&mut self.first)).chain(self.others.drain(..)) {
            state.waited(batch.due, Some(batch.sent), batch.messages, now);
        }
        if let Some(pace) = self.pace.take() {
            state.unfinished_lanes.push((pace.lane, pace.next));
        }
    }

    fn has_work(&self) -> bool {
        let due = |pace: &Pace| pace.due().is_some();
        self.stage == Stage::Expecting || self.begun > self.answered || self.pace.as_deref().is_some_and(due)
    }

    /// Whether the end of the load waits for it.
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

    /// Begins what is due and has room. `late`: there was room before, so it is the generator that is late.
    ///
    /// A message that the transport has no room for is not begun: it waits, and its latency counts from when it was due.
    fn follow_pace(&mut self, now: Instant, late: bool, transport: &mut Transport<'_>) {
        let room = (self.run.plan.depth as u64).saturating_sub(self.begun - self.answered);
        for message in 0..room {
            // A pause is told after the callback, and no earlier message asks for it.
            if !self.stream.has_room(self.end_of_begun()) || message > 0 && is_full(transport) {
                self.look_later(transport);
                return;
            }
            let Some(pace) = &mut self.pace else { return };
            let Some(due) = pace.due().filter(|due| *due <= now) else { return };
            pace.next += 1;
            self.push(due, now, 1);
            self.run.taken(now, due, late);
            self.speak(transport);
        }
    }

    /// Where the last message that was begun ends.
    fn end_of_begun(&self) -> u64 {
        self.begun.saturating_mul(self.run.plan.size as u64)
    }

    fn speak(&mut self, transport: &mut Transport<'_>) {
        if self.stream.send_up_to(self.end_of_begun(), &self.run.pattern, transport) {
            transport.call_later(Duration::ZERO, Echoing::look_for_room);
        }
    }

    /// Messages wait for room, and no pause was told that ends with a call.
    fn look_later(&mut self, transport: &mut Transport<'_>) {
        if self.stream.begins_to_look() {
            transport.call_later(Duration::ZERO, Echoing::look_for_room);
        }
    }

    fn look_for_room(&mut self, transport: &mut Transport<'_>) {
        if self.stage == Stage::Over {
            return;
        }
        let end = self.end_of_begun();
        match self.stream.looks(end, &self.run.pattern, transport) {
            true => {
                transport.call_later(Duration::ZERO, Echoing::look_for_room);
            }
            false => self.follow_pace_with_room(transport),
        }
    }

    /// There is room again: messages that were due meanwhile go out.
    fn follow_pace_with_room(&mut self, transport: &mut Transport<'_>) {
        if self.pace.is_some() && self.stage != Stage::Over {
            let now = super::run::fresh(transport.reactor());
            self.follow_pace(now, false, transport);
        }
    }

    /// `done` messages are back. Returns whether others may follow: an answer at the very end of the load may come before the
    /// timer that ends it.
    fn settle(&mut self, mut done: u64, now: Instant) -> bool {
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
        let now = super::run::fresh(transport.reactor());
        let size = self.run.plan.size as u64;
        if self.stage == Stage::Over {
            return;
        }
        if let Err(mismatch) = self.stream.receive(data, size, &self.run.pattern) {
            let busy = self.is_awaited();
            self.stage = Stage::Over;
            self.forsake(now);
            transport.abort_connection();
            self.run.wrong(transport.reactor(), mismatch, self.begun - self.answered, busy);
            return;
        }
        let back = self.stream.received / size;
        let done = back - self.answered;
        if done > 0 {
            let had_room = self.begun - self.answered < self.run.plan.depth as u64
                && self.stream.has_room(self.end_of_begun());
            self.answered = back;
            let goes_on = self.settle(done, now);
            match (&self.pace, self.stage) {
                (Some(_), _) => self.follow_pace(now, had_room, transport),
                (None, Stage::Busy) if goes_on => self.push(now, now, done),
                (None, Stage::Busy | Stage::Idle | Stage::Expecting | Stage::Draining | Stage::Over) => {}
            }
            if self.stage == Stage::Draining && !self.has_work() {
                self.run.drained(transport.reactor());
            }
        }
        self.speak(transport);
    }

    fn pause_writing(&mut self, _: &mut Transport<'_>) {
        self.stream.pause();
    }

    fn resume_writing(&mut self, transport: &mut Transport<'_>) {
        self.stream.resume();
        if self.stage != Stage::Over {
            self.speak(transport);
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
        self.forsake(now);
        if self.answered == 0 && self.run.holds() && self.run.is_early(after) {
            self.run.limited(Some(Limit::Closed));
        }
        self.run.lost(transport.reactor(), number, after, self.begun - self.answered, reason, busy);
    }
}
