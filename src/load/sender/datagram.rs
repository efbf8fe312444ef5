//! A datagram socket of a load. Each message has a number; a message without an answer in time is
//! lost.

use super::schedule::Pace;
use super::{Pattern, Schedule};
use crate::load::error::{Corruption, Mismatch};
use crate::load::run::{Run, read_clock};
use crate::{Address, DatagramProtocol, DatagramTransport, Instant, SystemError};
use std::collections::VecDeque;
use std::rc::Rc;
use std::time::Duration;

/// The protocol of a datagram socket.
pub(in crate::load) struct DatagramClient {
    run: Rc<Run>,
    /// The socket's number, from 0.
    number: u64,
    /// Offset of the socket's first byte in the pattern.
    start: u64,
    /// Number of messages sent so far, which is the number of the next one.
    begun: u64,
    /// Datagrams in flight, sorted by number.
    in_flight: VecDeque<Datagram>,
    pace: Option<Pace>,
    stage: Stage,
    made: Instant,
    /// Whether anything was received.
    has_answer: bool,
    /// Whether a timer checks for buffer space.
    room_check_set: bool,
    /// Buffer for one datagram.
    message: Vec<u8>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    Idle,
    Busy,
    Draining,
    Over,
}

/// A datagram in flight.
struct Datagram {
    number: u64,
    due: Instant,
    sent: Instant,
}

impl DatagramClient {
    pub(in crate::load) fn new(run: Rc<Run>, number: u64, made: Instant) -> DatagramClient {
        DatagramClient {
            run,
            number,
            start: Pattern::start(number),
            begun: 0,
            in_flight: VecDeque::new(),
            pace: None,
            stage: Stage::Idle,
            made,
            has_answer: false,
            room_check_set: false,
            message: Vec::new(),
        }
    }

    /// Sends the configured number of messages in flight, and then one for each answer or loss.
    pub(in crate::load) fn begin(&mut self, transport: &mut DatagramTransport<'_>) {
        self.stage = Stage::Busy;
        self.refill(transport);
    }

    pub(in crate::load) fn start_paced(&mut self, schedule: Schedule, slot: u64, end: Instant) {
        self.stage = Stage::Busy;
        self.pace = Some(Pace { schedule, slot, next: 0, end });
    }

    /// Sends the due messages that fit into the buffer.
    ///
    /// `late` is set if there was room before, so that a delay is the generator's own.
    pub(in crate::load) fn follow_pace(
        &mut self,
        now: Instant,
        late: bool,
        transport: &mut DatagramTransport<'_>,
    ) {
        let late = late && !self.room_check_set;
        while self.in_flight.len() < self.run.config.depth {
            let Some(pace) = &self.pace else { return };
            let Some(due) = pace.due().filter(|due| *due <= now) else { return };
            if !self.has_room(transport) {
                return;
            }
            let Some(pace) = &mut self.pace else { return };
            pace.next += 1;
            self.run.note_started(now, due, late);
            self.send_message(due, now, transport);
        }
    }

    /// Stops sending new messages, except those due before `end`. Returns whether answers are still
    /// awaited.
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

    /// Counts datagrams in flight that are too old as lost.
    pub(in crate::load) fn sweep(&mut self, now: Instant, transport: &mut DatagramTransport<'_>) {
        let before = self.in_flight.len();
        while let Some(datagram) = self.in_flight.front()
            && datagram.sent + self.run.config.lost_after <= now
        {
            self.run.dropped(datagram.due, datagram.sent, now);
            self.in_flight.pop_front();
        }
        if self.in_flight.len() < before {
            self.advance(now, false, transport);
        }
    }

    /// Ends the client, and counts the datagrams in flight as lost.
    pub(in crate::load) fn end(&mut self, transport: &mut DatagramTransport<'_>, now: Instant) {
        self.stage = Stage::Over;
        for datagram in self.in_flight.drain(..) {
            self.run.dropped(datagram.due, datagram.sent, now);
        }
        self.leave_schedule();
        transport.stop_listening();
    }

    /// Leaves the schedule: its remaining messages count as unsent.
    fn leave_schedule(&mut self) {
        if let Some(pace) = self.pace.take() {
            self.run.state.borrow_mut().unfinished_slots.push((pace.slot, pace.next));
        }
    }

    fn has_work(&self) -> bool {
        !self.in_flight.is_empty() || self.pace.as_ref().is_some_and(|pace| pace.due().is_some())
    }

    /// Continues after datagrams have left the window or the send buffer.
    fn advance(&mut self, now: Instant, late: bool, transport: &mut DatagramTransport<'_>) {
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
        let now = read_clock(transport.reactor());
        while self.in_flight.len() < self.run.config.depth && self.has_room(transport) {
            self.send_message(now, now, transport);
        }
    }

    /// Whether the send buffer has room for another datagram. If not, a timer checks again, because
    /// no callback reports it.
    fn has_room(&mut self, transport: &mut DatagramTransport<'_>) -> bool {
        let has_room = transport.write_buffer_size() <= transport.reactor().settings().high_water;
        if !has_room && !std::mem::replace(&mut self.room_check_set, true) {
            transport.call_later(Duration::ZERO, DatagramClient::check_room);
        }
        has_room
    }

    fn check_room(&mut self, transport: &mut DatagramTransport<'_>) {
        if self.stage == Stage::Over {
            return;
        }
        if transport.write_buffer_size() > transport.reactor().settings().high_water {
            transport.call_later(ROOM_CHECK_DELAY, DatagramClient::check_room);
            return;
        }
        self.room_check_set = false;
        let now = read_clock(transport.reactor());
        self.advance(now, false, transport);
    }

    fn send_message(&mut self, due: Instant, sent: Instant, transport: &mut DatagramTransport<'_>) {
        let number = self.begun;
        self.begun += 1;
        self.write_message(number);
        self.in_flight.push_back(Datagram { number, due, sent });
        // The buffer has room. A refused datagram is lost like one in the network; `send_failed`
        // gets the reason.
        let _ = transport.write(&self.message);
    }

    /// Writes the message: its number, followed by its own part of the pattern.
    fn write_message(&mut self, number: u64) {
        let size = self.run.config.size;
        self.message.clear();
        self.message.extend_from_slice(&number.to_be_bytes());
        while self.message.len() < size {
            let position = self.start + number * size as u64 + self.message.len() as u64;
            self.message.extend_from_slice(self.run.pattern.at(position, (size - self.message.len()) as u64));
        }
    }

    /// Returns the number of a received message, and the index of its first wrong byte, if any.
    /// Returns `None` without a valid number.
    fn compare(&self, data: &[u8]) -> Option<(u64, Result<(), usize>)> {
        let (head, rest) = data.split_first_chunk()?;
        let number = u64::from_be_bytes(*head);
        if number >= self.begun {
            return None;
        }
        let size = self.run.config.size;
        let position = self.start + number * size as u64 + head.len() as u64;
        let compared = self.run.pattern.compare(position, rest).map_err(|wrong| wrong + head.len());
        Some((number, if data.len() == size { compared } else { compared.and(Err(data.len().min(size))) }))
    }

    fn wrong(&self, number: u64, place: usize, data: &[u8]) -> Mismatch {
        let size = self.run.config.size;
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

impl DatagramProtocol for DatagramClient {
    fn datagram_received(&mut self, transport: &mut DatagramTransport<'_>, data: &[u8], _: &Address) {
        let now = read_clock(transport.reactor());
        if self.stage == Stage::Over {
            return;
        }
        self.has_answer = true;
        let Some((number, compared)) = self.compare(data) else {
            // The message has no number, or one that was never sent. The original message will
            // count as lost.
            let mismatch = Mismatch { expected: None, what: Corruption::Elsewhere, ..self.wrong(0, 0, data) };
            return self.run.wrong_datagram(mismatch);
        };
        if let Err(place) = compared {
            self.run.wrong_datagram(self.wrong(number, place, data));
        }
        let Ok(index) = self.in_flight.binary_search_by_key(&number, |datagram| datagram.number) else {
            return self.run.repeated();
        };
        let had_room = self.in_flight.len() < self.run.config.depth;
        if let Some(datagram) = self.in_flight.remove(index) {
            let mut state = self.run.state.borrow_mut();
            match compared {
                Ok(()) => state.answered(datagram.due, datagram.sent, 1, now),
                Err(_) => state.record_wait(datagram.due, Some(datagram.sent), 1, now),
            }
        }
        self.advance(now, had_room, transport);
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
        let in_flight = self.in_flight.len() as u64;
        for datagram in self.in_flight.drain(..) {
            self.run.state.borrow_mut().record_wait(datagram.due, Some(datagram.sent), 1, now);
        }
        self.leave_schedule();
        self.run.refused(
            transport.reactor(),
            self.number,
            self.has_answer.then_some((after, in_flight)),
            busy,
        );
    }
}

/// Delay between two checks for room in the send buffer.
const ROOM_CHECK_DELAY: Duration = Duration::from_millis(1);
