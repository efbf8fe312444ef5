//! The end of a run: waits for the last answers, then closes and counts everything.

use super::{Run, Stage, cancel, read_clock};
use crate::Reactor;
use crate::load::config::Workload;
use crate::load::error::LoadError;
use crate::load::sender::Sender;
use std::rc::Rc;
use std::time::Duration;

impl Run {
    /// Stops sending new messages, and waits for those in flight.
    pub(in crate::load) fn drain(self: &Rc<Run>, reactor: &mut Reactor) {
        let now = read_clock(reactor);
        let mut state = self.state.borrow_mut();
        if state.stage != Stage::Running {
            return;
        }
        state.stage = Stage::Draining;
        state.until = state.until.min(now);
        let (until, open) = (state.until, state.open.values().copied().collect::<Vec<_>>());
        let idle = state.connecting.is_empty() && open.is_empty();
        state.busy = match self.config.work {
            Workload::Hold { .. } => open.len(),
            Workload::Echo | Workload::Churn => 0,
        };
        let timers = [state.next.take(), state.end.take()];
        drop(state);
        cancel(reactor, timers);
        match self.config.work {
            Workload::Echo => {
                let busy = open.into_iter().filter(|sender| sender.drain(reactor, until)).count();
                self.state.borrow_mut().busy = busy;
                if busy == 0 {
                    return self.finish(reactor);
                }
            }
            _ if idle => return self.finish(reactor),
            Workload::Churn => {}
            Workload::Hold { .. } => {
                for sender in &open {
                    sender.await_check(reactor, until);
                }
                // The timeout starts after the last check message was sent.
                return self.send_checks(reactor, open, 0);
            }
        }
        self.start_drain_timer(reactor);
    }

    fn start_drain_timer(self: &Rc<Run>, reactor: &mut Reactor) {
        let run = Rc::clone(self);
        let end = reactor.call_later(self.config.drain_timeout, move |reactor| run.finish(reactor));
        self.state.borrow_mut().end = Some(end);
    }

    /// Sends a check message on each held connection, a limited number in each turn.
    pub(in crate::load) fn send_checks(
        self: &Rc<Run>,
        reactor: &mut Reactor,
        open: Vec<Sender>,
        from: usize,
    ) {
        for sender in open.iter().skip(from).take(CHECKS_PER_TURN) {
            sender.send_check(reactor);
        }
        if from + CHECKS_PER_TURN < open.len() {
            self.later(reactor, Duration::ZERO, move |run, reactor| {
                run.send_checks(reactor, open, from + CHECKS_PER_TURN);
            });
        } else {
            self.start_drain_timer(reactor);
        }
    }

    /// Notes that a connection has no more answers to wait for.
    pub(in crate::load) fn drained(self: &Rc<Run>, reactor: &mut Reactor) {
        let mut state = self.state.borrow_mut();
        state.busy = state.busy.saturating_sub(1);
        let done = state.busy == 0;
        drop(state);
        if done {
            self.later(reactor, Duration::ZERO, Run::finish);
        }
    }

    /// Ends the run, also with messages in flight.
    pub(in crate::load) fn finish(self: &Rc<Run>, reactor: &mut Reactor) {
        let now = read_clock(reactor);
        let mut state = self.state.borrow_mut();
        if state.stage == Stage::Finished {
            return;
        }
        state.until = state.until.min(now);
        state.stage = Stage::Finished;
        state.totals.open = state.open.len() as u64;
        let connecting = std::mem::take(&mut state.connecting);
        let open = std::mem::take(&mut state.open);
        let timers = [state.next.take(), state.end.take(), state.sweep.take()];
        drop(state);
        cancel(reactor, timers);
        self.end_probe(reactor);
        for (connector, due) in connecting.into_values() {
            if self.config.work == Workload::Churn {
                self.state.borrow_mut().record_wait(due, None, 1, now);
            }
            if let Some(mut connector) = reactor.connector(connector) {
                connector.disconnect();
            }
        }
        for (number, sender) in open {
            let messages = sender.end(reactor, self.config.work, now);
            if messages > 0 {
                self.state.borrow_mut().totals.unanswered += messages;
                self.note(&LoadError::Unanswered { connection: number + 1, messages });
            }
        }
        let mut state = self.state.borrow_mut();
        state.totals.elapsed = state.last.max(state.until) - state.since;
        state.totals.bytes = state.totals.messages * self.config.size as u64;
        if let Some(schedule) = state.schedule {
            state.totals.unsent = schedule.before(state.until).saturating_sub(state.note_started);
            state.count_unsent(schedule, self.config.work, now);
        }
        let finished = state.finished.take();
        drop(state);
        // Without a callback, an empty one lets a caller of `iterate` return from its poll.
        reactor.call_later(Duration::ZERO, finished.unwrap_or_else(|| Box::new(|_| {})));
    }
}

/// Maximum number of check messages in a turn.
const CHECKS_PER_TURN: usize = 64;
