//! A connection that sends one message and is closed after the answer.

use super::stream::Stream;
use crate::load::run::{Run, read_clock};
use crate::{Instant, Protocol, Reason, Transport};
use std::rc::Rc;
use std::time::Duration;

/// The protocol of a churned connection.
pub(in crate::load) struct Churning {
    run: Rc<Run>,
    stream: Stream,
    number: u64,
    due: Instant,
    stage: Stage,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    Waiting,
    /// The message was answered.
    Closing,
    /// Already counted; later events are ignored.
    Over,
}

impl Churning {
    pub(in crate::load) fn new(run: Rc<Run>, number: u64, due: Instant) -> Churning {
        Churning { run, stream: Stream::new(number), number, due, stage: Stage::Waiting }
    }

    /// Ends the connection. Returns the number of unanswered messages.
    pub(super) fn end(&mut self, transport: &mut Transport<'_>, now: Instant) -> u64 {
        let waited = self.stage == Stage::Waiting;
        if waited {
            self.record_unanswered(now);
        }
        self.stage = Stage::Over;
        transport.abort_connection();
        u64::from(waited)
    }

    /// Counts the exchange as unanswered, with its wait so far.
    fn record_unanswered(&self, now: Instant) {
        self.run.state.borrow_mut().record_wait(self.due, Some(self.stream.made), 1, now);
    }

    fn send_pending(&mut self, transport: &mut Transport<'_>) {
        if self.stream.send_up_to(self.run.config.size as u64, &self.run.pattern, transport) {
            transport.call_later(Duration::ZERO, Churning::check_room);
        }
    }

    fn check_room(&mut self, transport: &mut Transport<'_>) {
        let size = self.run.config.size as u64;
        if self.stage == Stage::Waiting && self.stream.resume_sending(size, &self.run.pattern, transport) {
            transport.call_later(Duration::ZERO, Churning::check_room);
        }
    }
}

impl Protocol for Churning {
    fn connection_made(&mut self, transport: &mut Transport<'_>) {
        self.stream.made = read_clock(transport.reactor());
        self.run.connected(self.number, transport);
        self.send_pending(transport);
    }

    fn data_received(&mut self, transport: &mut Transport<'_>, data: &[u8]) {
        if self.stage == Stage::Over {
            return;
        }
        let now = read_clock(transport.reactor());
        let size = self.run.config.size as u64;
        if let Err(mismatch) = self.stream.receive(data, size, &self.run.pattern) {
            let in_flight = u64::from(self.stage == Stage::Waiting);
            if in_flight > 0 {
                self.record_unanswered(now);
            }
            self.stage = Stage::Over;
            transport.abort_connection();
            self.run.wrong(transport.reactor(), mismatch, in_flight, false);
            self.run.churned(transport.reactor(), self.number);
            return;
        }
        if self.stream.received == size && self.stage == Stage::Waiting {
            self.stage = Stage::Closing;
            self.run.state.borrow_mut().answered(self.due, self.stream.made, 1, now);
            match self.run.config.reset {
                true => transport.abort_connection(),
                false => transport.lose_connection(),
            }
        }
    }

    fn pause_writing(&mut self, _: &mut Transport<'_>) {
        self.stream.pause();
    }

    fn resume_writing(&mut self, transport: &mut Transport<'_>) {
        self.stream.resume();
        self.send_pending(transport);
    }

    fn connection_lost(&mut self, transport: &mut Transport<'_>, reason: &Reason) {
        let now = transport.now();
        let after = now - self.stream.made;
        let reactor = transport.reactor();
        match std::mem::replace(&mut self.stage, Stage::Over) {
            Stage::Over => {}
            Stage::Closing => self.run.churned(reactor, self.number),
            Stage::Waiting => {
                self.record_unanswered(now);
                self.run.lost(reactor, self.number, after, 1, reason, false);
                self.run.churned(reactor, self.number);
            }
        }
    }
}
