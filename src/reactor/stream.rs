//! The bytes of connections: reading, writing, closing.

use std::io;
use std::time::Duration;

use super::connection::{Closing, Connection, Registered, State};
use super::sources::Source;
use super::tasks::{Farewell, Task};
use super::{Place, ProducerKind, Protocol, Reactor, Reason, SystemError, TimedCall, Transport};
use crate::net::{Close, Instant, Ready, Token};

// -- reading --

impl Reactor {
    /// The kernel has news of a connection.
    #[inline]
    pub(crate) fn connection_ready(&mut self, token: Token, ready: Ready) {
        let Some(connection) = self.sources.connection_mut(token) else {
            return;
        };
        connection.readable |= ready.has(Ready::READABLE);
        connection.read_closed |= ready.has(Ready::READ_CLOSED);
        // First, because it frees memory and lets a close come to its end.
        if ready.has(Ready::WRITABLE) {
            connection.writable = true;
            if !connection.outgoing.is_empty() {
                self.flush(token);
            }
        }
        self.read(token);
    }

    /// Reads what there is, up to the connection's share of the turn.
    #[inline]
    fn read(&mut self, token: Token) {
        let mut buffer = std::mem::take(&mut self.read_buffer);
        let mut share = self.settings.read_per_turn;
        while let Some(connection) = self.sources.connection_mut(token) {
            if !connection.wants_read() {
                break;
            }
            if share == 0 {
                self.queue(token);
                break;
            }
            match self.net.recv(token, &mut buffer) {
                Ok(0) => {
                    connection.readable = false;
                    self.input_ended(token);
                    break;
                }
                Ok(count) => {
                    // Less than there was room for: the kernel has no more, and will tell when it has;
                    // unless the end has come already.
                    if count < buffer.len() && !connection.read_closed {
                        connection.readable = false;
                    }
                    share = share.saturating_sub(count);
                    self.statistics.bytes_received += count as u64;
                    if connection.state == State::Lingering {
                        self.note_progress(token);
                        continue;
                    }
                    let data = buffer.get(..count).unwrap_or_default();
                    self.call_protocol(token, Place::DataReceived, |protocol, transport| {
                        protocol.data_received(transport, data);
                    });
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    connection.readable = false;
                    break;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    connection.readable = false;
                    self.input_failed(token, &error);
                    break;
                }
            }
        }
        self.read_buffer = buffer;
    }

    fn input_ended(&mut self, token: Token) {
        let Some(connection) = self.sources.connection_mut(token) else {
            return;
        };
        let next = match connection.state {
            State::Open => State::InputClosed,
            State::OutputClosing => State::InputClosedOutputClosing,
            // Both ways are shut: that is the end, whatever the protocol says to it.
            State::OutputClosed => State::Closing { eof: true },
            State::Broken => {
                let reason = connection.rare().broken.take();
                return self.lose(token, reason.unwrap_or(Reason::Done));
            }
            State::Lingering => return self.end_lingering(token),
            State::InputClosed | State::InputClosedOutputClosing | State::Closing { .. } | State::Lost => {
                return;
            }
        };
        connection.state = next;
        self.call_protocol(token, Place::ReadConnectionLost, |protocol, transport| {
            protocol.read_connection_lost(transport);
        });
    }

    fn input_failed(&mut self, token: Token, error: &io::Error) {
        let Some(connection) = self.sources.connection_mut(token) else {
            return;
        };
        match connection.state {
            State::Lingering => self.end_lingering(token),
            State::Broken => self.input_ended(token),
            _ => self.lose(token, Reason::Lost(SystemError::new("recv", error))),
        }
    }

    /// Gives a connection another share of the loop, in the next turn.
    pub(crate) fn queue(&mut self, token: Token) {
        if let Some(connection) = self.sources.connection_mut(token)
            && !connection.queued
        {
            connection.queued = true;
            self.ready.push_back(token);
        }
    }

    /// The turn of those that were queued.
    pub(crate) fn run_ready(&mut self, count: usize) {
        for _ in 0..count {
            let Some(token) = self.ready.pop_front() else {
                break;
            };
            match self.sources.get_mut(token) {
                Some(Source::Connection(connection)) => {
                    connection.queued = false;
                    if connection.writable && !connection.outgoing.is_empty() {
                        self.flush(token);
                    }
                    self.read(token);
                }
                Some(Source::Listener(_)) => self.accept_queued(token),
                _ => {}
            }
        }
    }
}

// -- writing --

impl Reactor {
    #[inline]
    pub(crate) fn write(&mut self, token: Token, data: &[u8]) {
        let Some(connection) = self.sources.connection_mut(token) else {
            return;
        };
        if !connection.state.takes_writes() || data.is_empty() {
            return;
        }
        connection.wrote = true;
        if !connection.outgoing.is_empty() {
            self.keep(token, data);
        } else if self.current == token {
            // What one callback writes leaves together, when it returns.
            let large = self.scratch.len() + data.len() >= WRITE_THROUGH;
            if large && self.scratch.is_empty() {
                self.send_or_keep(token, data);
            } else {
                self.scratch.extend_from_slice(data);
                if large {
                    self.send_scratch(token);
                }
            }
        } else if data.len() >= WRITE_THROUGH {
            self.send_or_keep(token, data);
        } else {
            self.keep(token, data);
        }
    }

    fn send_or_keep(&mut self, token: Token, data: &[u8]) {
        let sent = self.send(token, data);
        if let Some(rest) = data.get(sent..)
            && !rest.is_empty()
        {
            self.keep(token, rest);
        }
    }

    /// Hands bytes to the system, as many as it takes. All of them count as sent when the connection is
    /// broken: they have no future.
    #[inline]
    fn send(&mut self, token: Token, data: &[u8]) -> usize {
        let Some(connection) = self.sources.connection_mut(token) else {
            return data.len();
        };
        if !connection.state.sends() {
            return data.len();
        }
        while connection.writable {
            match self.net.send(token, data) {
                Ok(count) => {
                    connection.writable = count == data.len();
                    self.statistics.bytes_sent += count as u64;
                    return count;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    connection.writable = false;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    self.output_failed(token, &error);
                    return data.len();
                }
            }
        }
        0
    }

    /// Sends what the callback that just returned has written.
    #[inline]
    fn send_scratch(&mut self, token: Token) {
        let mut scratch = std::mem::take(&mut self.scratch);
        self.send_or_keep(token, &scratch);
        scratch.clear();
        if scratch.capacity() > SCRATCH_KEPT {
            scratch.shrink_to(SCRATCH_KEPT);
        }
        self.scratch = scratch;
    }

    /// Keeps bytes until the system takes them.
    fn keep(&mut self, token: Token, data: &[u8]) {
        let limit = self.settings.buffer_limit;
        let Some(connection) = self.sources.connection_mut(token) else {
            return;
        };
        if connection.unsent() > limit {
            self.statistics.buffer_limits += 1;
            self.lose(token, Reason::BufferLimit(limit));
            return;
        }
        if connection.outgoing.capacity() == 0 {
            connection.outgoing = self.spare_buffers.pop().unwrap_or_default();
        }
        // Bytes sent already make room when they are the larger part.
        if connection.sent > connection.outgoing.len() / 2 {
            connection.outgoing.drain(..connection.sent);
            connection.sent = 0;
        }
        connection.outgoing.extend_from_slice(data);
        self.mark_dirty(token);
        self.weigh(token);
    }

    /// Looks after a connection at the end of the turn.
    pub(crate) fn mark_dirty(&mut self, token: Token) {
        if let Some(connection) = self.sources.connection_mut(token)
            && !connection.dirty
        {
            connection.dirty = true;
            self.dirty.push(token);
        }
    }

    pub(crate) fn flush_dirty(&mut self) {
        if self.dirty.is_empty() {
            return;
        }
        let mut dirty = std::mem::take(&mut self.dirty);
        for token in dirty.drain(..) {
            if let Some(connection) = self.sources.connection_mut(token) {
                connection.dirty = false;
                self.flush(token);
            }
        }
        self.dirty = dirty;
    }

    /// Sends what waits, up to the connection's share of the turn, and sees what follows from it.
    fn flush(&mut self, token: Token) {
        let mut share = self.settings.write_per_turn;
        while let Some(connection) = self.sources.connection_mut(token) {
            let waiting = connection.unsent();
            if waiting == 0 || !connection.writable || !connection.state.sends() {
                break;
            }
            if share == 0 {
                self.queue(token);
                break;
            }
            // Taken out, so that the buffer and the table are not borrowed together.
            let outgoing = std::mem::take(&mut connection.outgoing);
            let start = connection.sent;
            let end = outgoing.len().min(start.saturating_add(share));
            let piece = outgoing.get(start..end).unwrap_or_default();
            let count = self.send(token, piece);
            share = share.saturating_sub(count.max(1));
            if let Some(connection) = self.sources.connection_mut(token)
                && connection.state.sends()
            {
                connection.outgoing = outgoing;
                connection.sent = start + count;
            }
            if count > 0 {
                self.note_progress(token);
            }
        }
        if let Some(connection) = self.sources.connection_mut(token)
            && connection.unsent() == 0
            && connection.outgoing.capacity() > 0
        {
            let mut empty = std::mem::take(&mut connection.outgoing);
            connection.sent = 0;
            let pulls = connection.rare.as_ref().and_then(|rare| rare.producer.as_ref());
            if pulls.is_some_and(|registered| registered.kind == ProducerKind::Pull) {
                self.tasks.push(Task::Pull(token));
            }
            if empty.capacity() <= SCRATCH_KEPT && self.spare_buffers.len() < SPARE_BUFFERS {
                empty.clear();
                self.spare_buffers.push(empty);
            }
        }
        self.weigh(token);
        self.advance(token);
    }

    /// Whether a water mark was crossed.
    pub(crate) fn weigh(&mut self, token: Token) {
        let defaults = (self.settings.high_water, self.settings.low_water);
        let Some(connection) = self.sources.connection_mut(token) else {
            return;
        };
        let (high, low) = connection.water_marks().unwrap_or(defaults);
        let unsent = connection.unsent();
        if !connection.writing_paused && unsent > high {
            connection.writing_paused = true;
            self.statistics.pauses += 1;
            self.tasks.push(Task::PauseWriting(token));
        } else if connection.writing_paused && unsent <= low.min(high) {
            connection.writing_paused = false;
            self.tasks.push(Task::ResumeWriting(token));
        }
    }

    fn output_failed(&mut self, token: Token, error: &io::Error) {
        let reason = Reason::Lost(SystemError::new("send", error));
        let Some(connection) = self.sources.connection_mut(token) else {
            return;
        };
        connection.outgoing = Vec::new();
        connection.sent = 0;
        if connection.state.reads() && !connection.reading_paused {
            // What came before the failure is delivered first; the end of the input brings the loss.
            connection.state = State::Broken;
            connection.rare().broken = Some(reason);
            connection.readable = true;
            connection.read_closed = true;
            self.queue(token);
        } else {
            self.lose(token, reason);
        }
    }

    pub(crate) fn tell_to_pause(&mut self, token: Token) {
        self.call_producer(token, ProducerKind::Push, |producer, transport| {
            producer.pause_producing(transport);
        });
        self.call_protocol(token, Place::PauseWriting, |protocol, transport| {
            protocol.pause_writing(transport);
        });
    }

    pub(crate) fn tell_to_resume(&mut self, token: Token) {
        self.call_producer(token, ProducerKind::Push, |producer, transport| {
            producer.resume_producing(transport);
        });
        self.call_protocol(token, Place::ResumeWriting, |protocol, transport| {
            protocol.resume_writing(transport);
        });
    }

    /// Asks a pull producer for its next piece.
    pub(crate) fn pull(&mut self, token: Token) {
        let Some(connection) = self.sources.connection(token) else {
            return;
        };
        if connection.unsent() > 0 {
            // It is asked when that is sent.
            return;
        }
        let called = self.call_producer(token, ProducerKind::Pull, |producer, transport| {
            producer.resume_producing(transport);
        });
        // All of it went at once: the next piece has its turn.
        if called
            && let Some(connection) = self.sources.connection(token)
            && connection.unsent() == 0
            && connection.has_producer()
        {
            self.tasks.push(Task::Pull(token));
        }
    }

    /// Calls a connection's producer, if there is one of that kind; it is out of its place meanwhile.
    fn call_producer(
        &mut self,
        token: Token,
        kind: ProducerKind,
        call: impl FnOnce(&mut dyn super::Producer, &mut Transport<'_>),
    ) -> bool {
        let Some(connection) = self.sources.connection_mut(token) else {
            return false;
        };
        let lost = connection.state == State::Lost;
        let registered = connection.rare.as_mut().and_then(|rare| rare.producer.as_mut());
        let Some(registered) = registered.filter(|registered| registered.kind == kind && !lost) else {
            return false;
        };
        let Some(mut producer) = registered.producer.take() else {
            return false;
        };
        self.enter(token, Place::Producer, |transport| call(&mut *producer, transport));
        let place = self.sources.connection_mut(token).and_then(|connection| {
            let registered = connection.rare.as_mut()?.producer.as_mut()?;
            registered.producer.is_none().then_some(&mut registered.producer)
        });
        match place {
            Some(place) => *place = Some(producer),
            // It was unregistered, and perhaps replaced, inside the call.
            None => self.call(Place::Drop, |_| drop(producer)),
        }
        self.settle(token);
        true
    }
}

// -- callbacks --

impl Reactor {
    pub(crate) fn begin_connection(&mut self, token: Token, protocol: Box<dyn Protocol>) {
        let Some(connection) = self.sources.connection_mut(token) else {
            return;
        };
        connection.protocol = Some(protocol);
        self.call_protocol(token, Place::ConnectionMade, |protocol, transport| {
            protocol.connection_made(transport);
        });
    }

    /// Calls a connection's protocol, which is out of its slot meanwhile, and sees what follows from it.
    #[inline]
    pub(crate) fn call_protocol(
        &mut self,
        token: Token,
        place: Place,
        call: impl FnOnce(&mut dyn Protocol, &mut Transport<'_>),
    ) {
        let Some(connection) = self.sources.connection_mut(token) else {
            return;
        };
        if connection.state == State::Lost {
            return;
        }
        let Some(mut protocol) = connection.protocol.take() else {
            return;
        };
        self.enter(token, place, |transport| call(&mut *protocol, transport));
        if let Some(connection) = self.sources.connection_mut(token) {
            connection.protocol = Some(protocol);
        }
        self.settle(token);
    }

    /// Runs user code as this connection's.
    #[inline]
    fn enter(&mut self, token: Token, place: Place, call: impl FnOnce(&mut Transport<'_>)) {
        self.current = token;
        let result = self.guarded(place, Some(token), |reactor| call(&mut Transport { reactor, token }));
        self.current = Token::NONE;
        if let Err(panic) = result {
            self.scratch.clear();
            let reason = Reason::Panicked(panic);
            match self.sources.connection(token).map(|connection| connection.state) {
                // It had been aborted in the same callback.
                Some(State::Lost) => self.tasks.correct_loss(token, reason),
                _ => self.lose(token, reason),
            }
        }
    }

    /// After a callback: what it wrote is sent, what it asked for begins.
    #[inline]
    fn settle(&mut self, token: Token) {
        if !self.scratch.is_empty() {
            self.send_scratch(token);
        }
        if let Some(connection) = self.sources.connection(token)
            && connection.state != State::Open
        {
            self.advance(token);
        }
    }
}

// -- closing --

impl Reactor {
    pub(crate) fn lose_connection(&mut self, token: Token, within: Option<Duration>) {
        let Some(connection) = self.sources.connection_mut(token) else {
            return;
        };
        let eof = match connection.state {
            State::Open | State::OutputClosing | State::OutputClosed => false,
            State::InputClosed | State::InputClosedOutputClosing => true,
            State::Closing { .. } => {
                if let Some(limit) = within {
                    self.limit_closing_in_all(token, limit);
                }
                return;
            }
            State::Broken | State::Lost | State::Lingering => return,
        };
        connection.state = State::Closing { eof };
        if let Some(limit) = within {
            self.limit_closing_in_all(token, limit);
        }
        if self.current != token {
            self.mark_dirty(token);
        }
    }

    pub(crate) fn lose_write_connection(&mut self, token: Token) {
        let Some(connection) = self.sources.connection_mut(token) else {
            return;
        };
        connection.state = match connection.state {
            State::Open => State::OutputClosing,
            State::InputClosed => State::InputClosedOutputClosing,
            _ => return,
        };
        if self.current != token {
            self.mark_dirty(token);
        }
    }

    pub(crate) fn abort_connection(&mut self, token: Token) {
        match self.sources.connection(token).map(|connection| connection.state) {
            Some(State::Lingering) => self.end_lingering(token),
            Some(_) => {
                if self.current == token {
                    self.scratch.clear();
                }
                self.lose(token, Reason::Aborted);
            }
            None => {}
        }
    }

    /// Takes the next step of a connection that closes, if it can be taken.
    fn advance(&mut self, token: Token) {
        let Some(connection) = self.sources.connection_mut(token) else {
            return;
        };
        let waits = connection.unsent() > 0 || connection.has_producer();
        match connection.state {
            State::OutputClosing | State::InputClosedOutputClosing if !waits => {
                // A peer that is gone has no use for it; the read side will tell.
                let _ = self.net.shutdown_write(token);
                let both = connection.state == State::InputClosedOutputClosing;
                connection.state = match both {
                    true => State::Closing { eof: true },
                    false => State::OutputClosed,
                };
                self.tasks.push(Task::WriteConnectionLost(token));
                if both {
                    self.mark_dirty(token);
                }
            }
            State::Closing { eof } if !waits => {
                let at_risk = connection.wrote && !eof && !self.settings.linger.is_zero();
                let farewell = match at_risk && self.net.shutdown_write(token).is_ok() {
                    true => Farewell::Linger,
                    false => Farewell::Close(Close::Graceful),
                };
                self.end(token, Reason::Done, farewell);
            }
            State::Closing { .. } => {
                if connection.rare().closing.is_none() {
                    let limit = self.settings.closing_limit;
                    self.limit_closing(token, limit, None);
                }
            }
            _ => {}
        }
    }

    fn limit_closing_in_all(&mut self, token: Token, limit: Duration) {
        let last = self.now() + limit;
        self.limit_closing(token, limit, Some(last));
    }

    /// Grants a connection `limit` without progress, and no more than until `last`.
    fn limit_closing(&mut self, token: Token, limit: Duration, last: Option<Instant>) {
        let timer = self.timers.set(self.now() + limit, TimedCall::CloseLimit(token));
        let closing = Closing { timer, limit, last };
        let earlier = self
            .sources
            .connection_mut(token)
            .and_then(|connection| connection.rare().closing.replace(closing));
        if let Some(earlier) = earlier {
            self.timers.cancel(earlier.timer);
        }
    }

    /// Bytes went: the limit of a connection on its way out begins anew.
    fn note_progress(&mut self, token: Token) {
        let Some(connection) = self.sources.connection(token) else {
            return;
        };
        if let Some(closing) = connection.rare.as_ref().and_then(|rare| rare.closing) {
            let at = self.now() + closing.limit;
            self.timers.reset(closing.timer, closing.last.map_or(at, |last| at.min(last)));
        }
    }

    pub(crate) fn close_limit_reached(&mut self, token: Token) {
        let now = self.now();
        let Some(connection) = self.sources.connection_mut(token) else {
            return;
        };
        let unsent = connection.unsent();
        let Some(closing) = connection.rare().closing.take() else {
            return;
        };
        let over = closing.last.is_some_and(|last| last <= now);
        match connection.state {
            State::Lingering => self.end_lingering(token),
            // It is the producer that has nothing, not the peer that takes nothing.
            State::Closing { .. } if unsent == 0 && !over => {
                self.limit_closing(token, closing.limit, closing.last);
            }
            _ => {
                self.statistics.close_timeouts += 1;
                self.lose(token, Reason::CloseTimedOut(closing.limit));
            }
        }
    }

    /// The connection is lost: `connection_lost` is queued, and nothing else will come.
    pub(crate) fn lose(&mut self, token: Token, reason: Reason) {
        let how = match reason {
            Reason::Done | Reason::Lost(_) | Reason::Stopped => Close::Graceful,
            _ => Close::Reset,
        };
        self.end(token, reason, Farewell::Close(how));
    }

    fn end(&mut self, token: Token, reason: Reason, farewell: Farewell) {
        let Some(connection) = self.sources.connection_mut(token) else {
            return;
        };
        if matches!(connection.state, State::Lost | State::Lingering) {
            return;
        }
        connection.state = State::Lost;
        connection.outgoing = Vec::new();
        connection.sent = 0;
        self.tasks.push(Task::Lost(token, reason, farewell));
    }

    /// Tells everyone whom it concerns that a connection is lost, and frees its slot.
    pub(crate) fn deliver_loss(&mut self, token: Token, reason: &Reason, farewell: Farewell) {
        self.statistics.losses += 1;
        let Some(connection) = self.sources.connection_mut(token) else {
            return;
        };
        let origin = connection.origin;
        let protocol = connection.protocol.take();
        let (mut timers, mut closing, mut producer) = (Vec::new(), None, None);
        if let Some(rare) = connection.rare.as_mut() {
            timers = std::mem::take(&mut rare.timers);
            closing = rare.closing.take();
            producer = rare.producer.take();
        }
        for timer in timers.into_iter().chain(closing.map(|closing| closing.timer)) {
            self.drop_timer(timer);
        }
        if let Some(Registered { producer: Some(mut producer), .. }) = producer {
            self.call(Place::Producer, |reactor| {
                producer.stop_producing(reactor);
                drop(producer);
            });
        }
        let mut protocol = protocol;
        if let Some(protocol) = protocol.as_mut() {
            // A panic in here changes nothing any more: it is logged, and everyone else is told all the same.
            let _ = self.guarded(Place::ConnectionLost, Some(token), |reactor| {
                protocol.connection_lost(&mut Transport { reactor, token }, reason);
            });
        }
        match farewell {
            Farewell::Close(how) => self.net.close(token, how),
            Farewell::Linger => self.begin_lingering(token),
        }
        self.connector_lost(origin, token, reason);
        if let Farewell::Close(_) = farewell {
            self.forget(token);
        }
        self.call(Place::Drop, |_| drop(protocol));
    }

    /// Frees a slot, and drops what was registered too late.
    fn forget(&mut self, token: Token) {
        if let Some(Source::Connection(Connection { rare: Some(rare), .. })) = self.sources.remove(token) {
            for timer in rare.timers {
                self.drop_timer(timer);
            }
        }
    }

    /// Our FIN is out. Closing now would answer what still comes with a reset, which could destroy what
    /// the peer has not read yet.
    fn begin_lingering(&mut self, token: Token) {
        let Some(connection) = self.sources.connection_mut(token) else {
            return;
        };
        connection.state = State::Lingering;
        connection.readable = true;
        let linger = self.settings.linger;
        let last = self.now() + linger * LINGERS;
        self.limit_closing(token, linger, Some(last));
        self.queue(token);
    }

    pub(crate) fn end_lingering(&mut self, token: Token) {
        let Some(connection) = self.sources.connection_mut(token) else {
            return;
        };
        if connection.state != State::Lingering {
            return;
        }
        if let Some(closing) = connection.rare().closing.take() {
            self.timers.cancel(closing.timer);
        }
        self.net.close(token, Close::Graceful);
        self.forget(token);
    }
}

/// A write of this many bytes to an empty buffer goes straight to the system, uncopied.
const WRITE_THROUGH: usize = 16 * 1024;

/// What the buffers that connections share may keep.
const SCRATCH_KEPT: usize = 64 * 1024;

/// Empty buffers kept for those that will need one.
const SPARE_BUFFERS: usize = 16;

/// How many times the idle limit a lingering may last in all.
const LINGERS: u32 = 5;
