//! A connection that sends one message, and is closed when it is back.

use super::echoing::Stream;
use super::run::Run;
use crate::{Instant, Protocol, Reason, Transport};
use std::rc::Rc;
use std::time::Duration;

/// The protocol of a connection that comes and goes.
pub(super) struct Churning {
    run: Rc<Run>,
    stream: Stream,
    number: u64,
    due: Instant,
    stage: Stage,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    Waiting,
    /// The message is back.
    Closing,
    /// What happens now has been told, or is nobody's loss.
    Over,
}

impl Churning {
    pub(super) fn new(run: Rc<Run>, number: u64, due: Instant) -> Churning {
        Churning { run, stream: Stream::new(number), number, due, stage: Stage::Waiting }
    }

    /// It is over. Returns the messages that were not answered.
    pub(super) fn end(&mut self, transport: &mut Transport<'_>, now: Instant) -> u64 {
        let waited = self.stage == Stage::Waiting;
        if waited {
            self.forsake(now);
        }
        self.stage = Stage::Over;
        transport.abort_connection();
        u64::from(waited)
    }

    /// Counts the exchange that was due and is not complete.
    fn forsake(&self, now: Instant) {
        self.run.state.borrow_mut().waited(self.due, Some(self.stream.made), 1, now);
    }

    fn speak(&mut self, transport: &mut Transport<'_>) {
        if self.stream.send_up_to(self.run.plan.size as u64, &self.run.pattern, transport) {
            transport.call_later(Duration::ZERO, Churning::look_for_room);
        }
    }

    fn look_for_room(&mut self, transport: &mut Transport<'_>) {
        let size = self.run.plan.size as u64;
        if self.stage == Stage::Waiting && self.stream.looks(size, &self.run.pattern, transport) {
            transport.call_later(Duration::ZERO, Churning::look_for_room);
        }
    }
}

impl Protocol for Churning {
    fn connection_made(&mut self, transport: &mut Transport<'_>) {
        self.stream.made = super::run::fresh(transport.reactor());
        self.run.connected(self.number, transport);
        self.speak(transport);
    }

    fn data_received(&mut self, transport: &mut Transport<'_>, data: &[u8]) {
        if self.stage == Stage::Over {
            return;
        }
        let now = super::run::fresh(transport.reactor());
        let size = self.run.plan.size as u64;
        if let Err(mismatch) = self.stream.receive(data, size, &self.run.pattern) {
            let under_way = u64::from(self.stage == Stage::Waiting);
            if under_way > 0 {
                self.forsake(now);
            }
            self.stage = Stage::Over;
            transport.abort_connection();
            self.run.wrong(transport.reactor(), mismatch, under_way, false);
            self.run.churned(transport.reactor(), self.number);
            return;
        }
        if self.stream.received == size && self.stage == Stage::Waiting {
            self.stage = Stage::Closing;
            self.run.state.borrow_mut().answered(self.due, self.stream.made, 1, now);
            match self.run.plan.reset {
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
        self.speak(transport);
    }

    fn connection_lost(&mut self, transport: &mut Transport<'_>, reason: &Reason) {
        let now = transport.now();
        let after = now - self.stream.made;
        let reactor = transport.reactor();
        match std::mem::replace(&mut self.stage, Stage::Over) {
            Stage::Over => {}
            Stage::Closing => self.run.churned(reactor, self.number),
            Stage::Waiting => {
                self.forsake(now);
                self.run.lost(reactor, self.number, after, 1, reason, false);
                self.run.churned(reactor, self.number);
            }
        }
    }
}
