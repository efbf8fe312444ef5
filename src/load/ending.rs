//! The end of a run: the last answers are awaited, then everything is closed and counted.

use super::member::Member;
use super::run::{Run, Stage, cancel, fresh};
use crate::Reactor;
use crate::load::config::Workload;
use crate::load::error::LoadError;
use std::rc::Rc;
use std::time::Duration;

impl Run {
    /// No new messages; those under way are awaited.
    pub(super) fn drain(self: &Rc<Run>, reactor: &mut Reactor) {
        let now = fresh(reactor);
        let mut state = self.state.borrow_mut();
        if state.stage != Stage::Running {
            return;
        }
        state.stage = Stage::Draining;
        state.until = state.until.min(now);
        let (until, standing) = (state.until, state.standing.values().copied().collect::<Vec<_>>());
        let idle = state.connecting.is_empty() && standing.is_empty();
        state.busy = match self.plan.work {
            Workload::Hold { .. } => standing.len(),
            Workload::Echo | Workload::Churn => 0,
        };
        let timers = [state.next.take(), state.end.take()];
        drop(state);
        cancel(reactor, timers);
        match self.plan.work {
            Workload::Echo => {
                let busy = standing.into_iter().filter(|member| member.drain(reactor, until)).count();
                self.state.borrow_mut().busy = busy;
                if busy == 0 {
                    return self.finish(reactor);
                }
            }
            _ if idle => return self.finish(reactor),
            Workload::Churn => {}
            Workload::Hold { .. } => {
                for member in &standing {
                    member.expect(reactor, until);
                }
                // It begins to wait when it has asked the last.
                return self.ask(reactor, standing, 0);
            }
        }
        self.wait(reactor);
    }

    fn wait(self: &Rc<Run>, reactor: &mut Reactor) {
        let run = Rc::clone(self);
        let end = reactor.call_later(self.plan.drain_timeout, move |reactor| run.finish(reactor));
        self.state.borrow_mut().end = Some(end);
    }

    /// Lets held connections send a message, some in each turn.
    pub(super) fn ask(self: &Rc<Run>, reactor: &mut Reactor, standing: Vec<Member>, from: usize) {
        for member in standing.iter().skip(from).take(ASKED_AT_ONCE) {
            member.ask(reactor);
        }
        if from + ASKED_AT_ONCE < standing.len() {
            self.later(reactor, Duration::ZERO, move |run, reactor| {
                run.ask(reactor, standing, from + ASKED_AT_ONCE);
            });
        } else {
            self.wait(reactor);
        }
    }

    /// A connection has all that was awaited of it at the end.
    pub(super) fn drained(self: &Rc<Run>, reactor: &mut Reactor) {
        let mut state = self.state.borrow_mut();
        state.busy = state.busy.saturating_sub(1);
        let done = state.busy == 0;
        drop(state);
        if done {
            self.later(reactor, Duration::ZERO, Run::finish);
        }
    }

    /// It is over, whatever is under way.
    pub(super) fn finish(self: &Rc<Run>, reactor: &mut Reactor) {
        let now = fresh(reactor);
        let mut state = self.state.borrow_mut();
        if state.stage == Stage::Finished {
            return;
        }
        state.until = state.until.min(now);
        state.stage = Stage::Finished;
        state.tally.standing = state.standing.len() as u64;
        let connecting = std::mem::take(&mut state.connecting);
        let standing = std::mem::take(&mut state.standing);
        let timers = [state.next.take(), state.end.take(), state.sweep.take()];
        drop(state);
        cancel(reactor, timers);
        self.end_probe(reactor);
        for (connector, due) in connecting.into_values() {
            if self.plan.work == Workload::Churn {
                self.state.borrow_mut().waited(due, None, 1, now);
            }
            if let Some(mut connector) = reactor.connector(connector) {
                connector.disconnect();
            }
        }
        for (number, member) in standing {
            let messages = member.end(reactor, self.plan.work, now);
            if messages > 0 {
                self.state.borrow_mut().tally.unanswered += messages;
                self.note(&LoadError::Unanswered { connection: number + 1, messages });
            }
        }
        let mut state = self.state.borrow_mut();
        state.tally.elapsed = state.last.max(state.until) - state.since;
        state.tally.bytes = state.tally.messages * self.plan.size as u64;
        if let Some(schedule) = state.schedule {
            state.tally.unsent = schedule.before(state.until).saturating_sub(state.taken);
            state.count_unsent(schedule, self.plan.work, now);
        }
        let finished = state.finished.take();
        drop(state);
        // If nobody waits for it, whoever turns the reactor himself does: a turn comes to its end.
        reactor.call_later(Duration::ZERO, finished.unwrap_or_else(|| Box::new(|_| {})));
    }
}

/// Held connections that are asked in one turn.
const ASKED_AT_ONCE: usize = 64;
