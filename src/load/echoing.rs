//! A connection that sends messages ahead, and compares what comes back.

use super::pattern::Pattern;
use super::run::Run;
use super::schedule::Schedule;
use super::trouble::{Mismatch, Wrong};
use crate::{Instant, Protocol, Reason, Transport};
use std::collections::VecDeque;
use std::rc::Rc;

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
}

impl Stream {
    pub(super) fn new(number: u64) -> Stream {
        Stream { number, start: Pattern::start(number), sent: 0, received: 0, made: Instant::default() }
    }

    /// Sends what is there up to `end`, as far as the transport takes it; it goes on when the transport resumes.
    #[inline]
    pub(super) fn send_up_to(&mut self, end: u64, pattern: &Pattern, transport: &mut Transport<'_>) {
        let mut pieces = 0;
        while self.sent < end {
            // One piece always has room.
            if pieces > 0 && transport.writing_paused() {
                break;
            }
            let piece = pattern.at(self.start + self.sent, end - self.sent);
            self.sent += piece.len() as u64;
            pieces += 1;
            transport.write(piece);
        }
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
            false => (None, Wrong::TooMany),
        };
        let found = data.get(wrong).copied().unwrap_or_default();
        Mismatch { connection: self.number + 1, offset, message: offset / size + 1, expected, found, what }
    }
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
        self.follow_pace(now, true);
        self.speak(transport);
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
    pub(super) fn end(&mut self, transport: &mut Transport<'_>) -> u64 {
        self.stage = Stage::Over;
        match self.begun - self.answered {
            0 => transport.lose_connection(),
            // Nobody waits for what nobody reads.
            _ => transport.abort_connection(),
        }
        self.begun - self.answered
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
    fn follow_pace(&mut self, now: Instant, late: bool) {
        let room = (self.run.plan.depth as u64).saturating_sub(self.begun - self.answered);
        for _ in 0..room {
            let Some(pace) = &mut self.pace else { return };
            let Some(due) = pace.due().filter(|due| *due <= now) else { return };
            pace.next += 1;
            self.push(due, now, 1);
            self.run.taken(now, due, late);
        }
    }

    fn speak(&mut self, transport: &mut Transport<'_>) {
        let end = self.begun.saturating_mul(self.run.plan.size as u64);
        self.stream.send_up_to(end, &self.run.pattern, transport);
    }

    /// `done` messages are back.
    fn settle(&mut self, mut done: u64, now: Instant) {
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
            transport.abort_connection();
            self.run.wrong(transport.reactor(), mismatch, self.begun - self.answered, busy);
            return;
        }
        let back = self.stream.received / size;
        let done = back - self.answered;
        if done > 0 {
            let had_room = self.begun - self.answered < self.run.plan.depth as u64;
            self.answered = back;
            self.settle(done, now);
            match (&self.pace, self.stage) {
                (Some(_), _) => self.follow_pace(now, had_room),
                (None, Stage::Busy) => self.push(now, now, done),
                (None, Stage::Idle | Stage::Expecting | Stage::Draining | Stage::Over) => {}
            }
            if self.stage == Stage::Draining && !self.has_work() {
                self.run.drained(transport.reactor());
            }
        }
        self.speak(transport);
    }

    fn resume_writing(&mut self, transport: &mut Transport<'_>) {
        self.speak(transport);
    }

    fn connection_lost(&mut self, transport: &mut Transport<'_>, reason: &Reason) {
        if self.stage == Stage::Over {
            return;
        }
        let busy = self.is_awaited();
        let after = transport.now() - self.stream.made;
        let number = self.stream.number;
        self.run.lost(transport.reactor(), number, after, self.begun - self.answered, reason, busy);
    }
}
