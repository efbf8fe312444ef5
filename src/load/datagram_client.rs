//! A socket of datagrams: each message has its number, and one that does not come back in time is lost.

use crate::load::echoing::Pace;
use crate::load::error::{Corruption, Mismatch};
use crate::load::pattern::Pattern;
use crate::load::run::Run;
use crate::load::schedule::Schedule;
use crate::{Address, DatagramProtocol, DatagramTransport, Instant, SystemError};
use std::collections::VecDeque;
use std::rc::Rc;
use std::time::Duration;

/// The protocol of a socket.
pub(in crate::load) struct Volley {
    run: Rc<Run>,
    /// The socket's number, from 0.
    number: u64,
    /// Where in the pattern it begins.
    start: u64,
    /// Messages begun; their numbers are below.
    begun: u64,
    /// Those that may still come, by number.
    under_way: VecDeque<Shot>,
    pace: Option<Pace>,
    stage: Stage,
    made: Instant,
    /// Something came back.
    heard: bool,
    /// A timer looks for room to send.
    looking: bool,
    /// Room for one datagram.
    message: Vec<u8>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    Idle,
    Busy,
    Draining,
    Over,
}

/// A datagram under way.
struct Shot {
    number: u64,
    due: Instant,
    sent: Instant,
}

impl Volley {
    pub(in crate::load) fn new(run: Rc<Run>, number: u64, made: Instant) -> Volley {
        Volley {
            run,
            number,
            start: Pattern::start(number),
            begun: 0,
            under_way: VecDeque::new(),
            pace: None,
            stage: Stage::Idle,
            made,
            heard: false,
            looking: false,
            message: Vec::new(),
        }
    }

    /// As many messages as may be under way, and then one for each that came back or is lost.
    pub(in crate::load) fn begin(&mut self, transport: &mut DatagramTransport<'_>) {
        self.stage = Stage::Busy;
        self.refill(transport);
    }

    pub(in crate::load) fn begin_pace(&mut self, schedule: Schedule, lane: u64, end: Instant) {
        self.stage = Stage::Busy;
        self.pace = Some(Pace { schedule, lane, next: 0, end });
    }

    /// Sends what is due and has room. `late`: there was room before, so it is the generator that is late.
    pub(in crate::load) fn follow_pace(
        &mut self,
        now: Instant,
        late: bool,
        transport: &mut DatagramTransport<'_>,
    ) {
        let late = late && !self.looking;
        while self.under_way.len() < self.run.plan.depth {
            let Some(pace) = &self.pace else { return };
            let Some(due) = pace.due().filter(|due| *due <= now) else { return };
            if !self.has_room(transport) {
                return;
            }
            let Some(pace) = &mut self.pace else { return };
            pace.next += 1;
            self.run.taken(now, due, late);
            self.shoot(due, now, transport);
        }
    }

    /// No new messages, but for those that are due before `end`. Whether there still is something to wait for.
    pub(in crate::load) fn drain(&mut self, end: Instant) -> bool {
        self.stage = Stage::Draining;
        if let Some(pace) = &mut self.pace {
            pace.end = pace.end.min(end);
        }
        if !self.has_work() {
            self.stage = Stage::Idle;
        }
        self.stage == Stage::Draining
    }

    /// Gives up what is too late.
    pub(in crate::load) fn sweep(&mut self, now: Instant, transport: &mut DatagramTransport<'_>) {
        let before = self.under_way.len();
        while let Some(shot) = self.under_way.front()
            && shot.sent + self.run.plan.lost_after <= now
        {
            self.run.dropped(shot.due, shot.sent, now);
            self.under_way.pop_front();
        }
        if self.under_way.len() < before {
            self.go_on(now, false, transport);
        }
    }

    /// It is over: what did not come back is lost.
    pub(in crate::load) fn end(&mut self, transport: &mut DatagramTransport<'_>, now: Instant) {
        self.stage = Stage::Over;
        for shot in self.under_way.drain(..) {
            self.run.dropped(shot.due, shot.sent, now);
        }
        self.leave_lane();
        transport.stop_listening();
    }

    /// What its part of the schedule still has is not sent.
    fn leave_lane(&mut self) {
        if let Some(pace) = self.pace.take() {
            self.run.state.borrow_mut().unfinished_lanes.push((pace.lane, pace.next));
        }
    }

    fn has_work(&self) -> bool {
        !self.under_way.is_empty() || self.pace.as_ref().is_some_and(|pace| pace.due().is_some())
    }

    /// There is room again.
    fn go_on(&mut self, now: Instant, late: bool, transport: &mut DatagramTransport<'_>) {
        match (&self.pace, self.stage) {
            (Some(_), _) => self.follow_pace(now, late, transport),
            (None, Stage::Busy) => self.refill(transport),
            (None, Stage::Idle | Stage::Draining | Stage::Over) => {}
        }
        if self.stage == Stage::Draining && !self.has_work() {
            self.stage = Stage::Idle;
            self.run.drained(transport.reactor());
        }
    }

    fn refill(&mut self, transport: &mut DatagramTransport<'_>) {
        let now = crate::load::run::fresh(transport.reactor());
        while self.under_way.len() < self.run.plan.depth && self.has_room(transport) {
            self.shoot(now, now, transport);
        }
    }

    /// Whether the socket takes another datagram. If not, a timer looks again: no callback tells when it does.
    fn has_room(&mut self, transport: &mut DatagramTransport<'_>) -> bool {
        let has_room = transport.write_buffer_size() <= transport.reactor().settings().high_water;
        if !has_room && !std::mem::replace(&mut self.looking, true) {
            transport.call_later(Duration::ZERO, Volley::look_for_room);
        }
        has_room
    }

    fn look_for_room(&mut self, transport: &mut DatagramTransport<'_>) {
        if self.stage == Stage::Over {
            return;
        }
        if transport.write_buffer_size() > transport.reactor().settings().high_water {
            transport.call_later(NEXT_LOOK, Volley::look_for_room);
            return;
        }
        self.looking = false;
        let now = crate::load::run::fresh(transport.reactor());
        self.go_on(now, false, transport);
    }

    fn shoot(&mut self, due: Instant, sent: Instant, transport: &mut DatagramTransport<'_>) {
        let number = self.begun;
        self.begun += 1;
        self.write_message(number);
        self.under_way.push_back(Shot { number, due, sent });
        // There is room. What the system refuses is lost, as it would be on its way; `send_failed` has the reason.
        let _ = transport.write(&self.message);
    }

    /// The number, and bytes of the pattern that are nobody else's.
    fn write_message(&mut self, number: u64) {
        let size = self.run.plan.size;
        self.message.clear();
        self.message.extend_from_slice(&number.to_be_bytes());
        while self.message.len() < size {
            let position = self.start + number * size as u64 + self.message.len() as u64;
            self.message.extend_from_slice(self.run.pattern.at(position, (size - self.message.len()) as u64));
        }
    }

    /// The number of the message that this is, and its first wrong byte, if it has one.
    fn compare(&self, data: &[u8]) -> Option<(u64, Result<(), usize>)> {
        let (head, rest) = data.split_first_chunk()?;
        let number = u64::from_be_bytes(*head);
        if number >= self.begun {
            return None;
        }
        let size = self.run.plan.size;
        let position = self.start + number * size as u64 + head.len() as u64;
        let compared = self.run.pattern.compare(position, rest).map_err(|wrong| wrong + head.len());
        Some((number, if data.len() == size { compared } else { compared.and(Err(data.len().min(size))) }))
    }

    fn wrong(&self, number: u64, place: usize, data: &[u8]) -> Mismatch {
        let size = self.run.plan.size;
        let position = self.start + number * size as u64 + place as u64;
        Mismatch {
            connection: self.number + 1,
            offset: number * size as u64 + place as u64,
            message: number + 1,
            expected: self.run.pattern.at(position, 1).first().copied().filter(|_| place < size),
            found: data.get(place).copied().unwrap_or_default(),
            what: match data.len() > size {
                true => Corruption::TooMany,
                false if data.len() < size => Corruption::LeftOut((size - data.len()) as u64),
                false => Corruption::Changed,
            },
        }
    }
}

impl DatagramProtocol for Volley {
    fn datagram_received(&mut self, transport: &mut DatagramTransport<'_>, data: &[u8], _: &Address) {
        let now = crate::load::run::fresh(transport.reactor());
        if self.stage == Stage::Over {
            return;
        }
        self.heard = true;
        let Some((number, compared)) = self.compare(data) else {
            // It has no number, or one that was never sent: the message that it was will be missed.
            let mismatch = Mismatch { expected: None, what: Corruption::Elsewhere, ..self.wrong(0, 0, data) };
            return self.run.wrong_datagram(mismatch);
        };
        if let Err(place) = compared {
            self.run.wrong_datagram(self.wrong(number, place, data));
        }
        let Ok(index) = self.under_way.binary_search_by_key(&number, |shot| shot.number) else {
            return self.run.repeated();
        };
        let had_room = self.under_way.len() < self.run.plan.depth;
        if let Some(shot) = self.under_way.remove(index) {
            let mut state = self.run.state.borrow_mut();
            match compared {
                Ok(()) => state.answered(shot.due, shot.sent, 1, now),
                Err(_) => state.waited(shot.due, Some(shot.sent), 1, now),
            }
        }
        self.go_on(now, had_room, transport);
    }

    fn send_failed(
        &mut self,
        transport: &mut DatagramTransport<'_>,
        _: Option<&Address>,
        error: &SystemError,
    ) {
        if self.stage != Stage::Over {
            self.run.not_sent(transport.now(), error);
        }
    }

    fn connection_refused(&mut self, transport: &mut DatagramTransport<'_>) {
        if self.stage == Stage::Over {
            return;
        }
        let busy = self.stage == Stage::Draining;
        self.stage = Stage::Over;
        transport.stop_listening();
        let now = transport.now();
        let after = now - self.made;
        let under_way = self.under_way.len() as u64;
        for shot in self.under_way.drain(..) {
            self.run.state.borrow_mut().waited(shot.due, Some(shot.sent), 1, now);
        }
        self.leave_lane();
        self.run.refused(transport.reactor(), self.number, self.heard.then_some((after, under_way)), busy);
    }
}

/// How long a socket that takes nothing is left alone before the next look.
const NEXT_LOOK: Duration = Duration::from_millis(1);
