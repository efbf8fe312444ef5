//! The time limits of a connection, with one timer.
//!
//! Later deadlines are only stored. The timer looks at the deadline when it expires, and is set
//! again if there is time left. So a request that comes as a whole touches no timer.

use super::exchange::{Incoming, Outgoing};
use super::{Channel, Refusal, Stage, count};
use crate::{Instant, Transport};

/// Output that waits for the client.
pub(super) struct Stall {
    unsent: usize,
    /// The time of the last progress.
    since: Instant,
}

/// The number of looks at the output within its time limit.
const LOOKS: u32 = 6;

impl Channel {
    /// Sets the time limit of the current stage.
    pub(super) fn set_deadline(&mut self, transport: &mut Transport<'_>, at: Instant) {
        // Output that waits has its own limit. Then the stage's is set again.
        if self.stall.is_none() {
            self.arm(transport, at);
        }
    }

    fn arm(&mut self, transport: &mut Transport<'_>, at: Instant) {
        self.deadline = Some(at);
        match &mut self.timer {
            Some((_, due)) if *due <= at => {}
            Some((timer, due)) => {
                let delay = at - transport.now();
                if timer.reset(transport.reactor(), delay).is_ok() {
                    *due = at;
                }
            }
            None => {
                let id = transport.id();
                let delay = at - transport.now();
                let timer = transport.reactor().call_later(delay, move |reactor| {
                    reactor.with_protocol(id, Channel::timer_expired);
                });
                self.timer = Some((timer, at));
            }
        }
    }

    pub(super) fn clear_deadline(&mut self) {
        if self.stall.is_none() {
            self.deadline = None;
        }
    }

    fn timer_expired(&mut self, transport: &mut Transport<'_>) {
        self.timer = None;
        let Some(deadline) = self.deadline.filter(|_| !self.state.closing && self.upgraded.is_none()) else {
            return;
        };
        if transport.now() < deadline {
            return self.arm(transport, deadline);
        }
        self.deadline = None;
        if self.stall.is_some() {
            return self.look_at_output(transport);
        }
        let limits = &self.core.limits;
        match &self.current {
            None if self.state.head_begun => {
                let refusal = Refusal::HeadTimedOut(limits.head_timeout);
                self.time_out(transport, refusal);
            }
            None => {
                if self.exchange == 0 {
                    count(&self.core.counts.timeouts);
                }
                self.end(transport, false);
            }
            Some(exchange) => match (&exchange.incoming, &exchange.outgoing) {
                (Incoming::Done, Outgoing::Waiting) => {
                    let refusal = Refusal::ResponseTimedOut(limits.response_timeout);
                    self.time_out(transport, refusal);
                }
                (Incoming::Done, _) => {}
                _ => {
                    let refusal = Refusal::BodyTimedOut(limits.body_timeout);
                    self.time_out(transport, refusal);
                }
            },
        }
        self.settle(transport);
    }

    fn time_out(&mut self, transport: &mut Transport<'_>, refusal: Refusal) {
        count(&self.core.counts.timeouts);
        let meta = self.current.as_mut().filter(|current| matches!(current.outgoing, Outgoing::Waiting));
        let meta = meta.map(|current| current.meta.take());
        self.refuse(transport, refusal, meta);
    }

    /// Starts the time limit of a handler.
    pub(super) fn expect_answer(&mut self, transport: &mut Transport<'_>) {
        let now = transport.now();
        self.core.table.borrow_mut().touch(self.place, Stage::Response, now);
        self.set_deadline(transport, now + self.core.limits.response_timeout);
    }

    /// Watches output that has exceeded the high-water mark.
    pub(super) fn watch_output(&mut self, transport: &mut Transport<'_>) {
        let stall = Stall { unsent: transport.write_buffer_size(), since: transport.now() };
        self.stall = Some(Box::new(stall));
        self.look_later(transport);
    }

    fn look_later(&mut self, transport: &mut Transport<'_>) {
        let at = transport.now() + self.core.limits.send_timeout / LOOKS;
        self.arm(transport, at);
    }

    fn look_at_output(&mut self, transport: &mut Transport<'_>) {
        let now = transport.now();
        let unsent = transport.write_buffer_size();
        let Some(stall) = &mut self.stall else { return };
        if unsent < stall.unsent {
            (stall.unsent, stall.since) = (unsent, now);
            self.core.table.borrow_mut().touch(self.place, Stage::Response, now);
        } else if now - stall.since >= self.core.limits.send_timeout {
            count(&self.core.counts.timeouts);
            return self.end(transport, true);
        }
        self.look_later(transport);
    }

    /// Ends the watch of the output, and restores the time limit of the stage.
    pub(super) fn output_progressed(&mut self, transport: &mut Transport<'_>) {
        if self.stall.take().is_none() || self.state.closing {
            return;
        }
        let now = transport.now();
        match &self.current {
            None => self.set_deadline(transport, now + self.core.limits.keep_alive_timeout),
            Some(exchange) if exchange.reads_at_all() => self.expect_body(transport),
            Some(exchange) if matches!(exchange.outgoing, Outgoing::Waiting) => self.expect_answer(transport),
            Some(_) => {
                self.core.table.borrow_mut().touch(self.place, Stage::Response, now);
                self.deadline = None;
            }
        }
    }

    /// Closes a connection without a request in a graceful stop. A busy client gets a moment for a
    /// request that is on its way.
    pub(super) fn drain_idle(&mut self, transport: &mut Transport<'_>) {
        let now = transport.now();
        let limits = &self.core.limits;
        let (begin, limit) = match self.exchange {
            0 => (None, now - self.made),
            _ => (self.deadline, limits.keep_alive_timeout),
        };
        // The deadline of an idle connection says since when it is idle.
        let idle = begin.map_or(limit, |deadline| limit.saturating_sub(deadline - now));
        match idle < limits.drain_timeout {
            true => self.arm(transport, now + limits.drain_timeout),
            false => self.end(transport, false),
        }
    }
}
