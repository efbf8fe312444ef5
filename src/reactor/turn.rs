//! One turn of the loop.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use super::handle::set_current;
use super::{CallbackKind, Error, Handle, Reactor, Result, TimedCall};
use crate::net::{Event, Instant, Readiness, Token};
use crate::reactor::lifecycle::RunState;
use crate::reactor::registry::Source;

/// How far the polls up to now have told of what came.
#[derive(Default)]
pub(crate) struct Heard {
    /// All that came before this time was told of. Timers that are due later wait for the next poll.
    until: Instant,
    /// Polls in a row that found more than they can report: when the first of them began, and their number.
    full: Option<(Instant, usize)>,
}

impl Heard {
    /// A poll that began at this time was silent for so long, or has told of what came before. If it was full, this many
    /// more full ones may follow before each socket was reported.
    fn note_poll(&mut self, began: Instant, silent: Option<Duration>, more: usize) {
        let (first, polls) = self.full.unwrap_or((began, 0));
        if more == 0 {
            *self = Heard { until: began + silent.unwrap_or_default(), full: None };
        } else if polls < more {
            self.full = Some((first, polls + 1));
        } else {
            *self = Heard { until: first, full: None };
        }
    }
}

/// When a reactor has something to do by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NextTurn {
    Now,
    At(Instant),
    /// Not before the network has news.
    Idle,
    Finished,
}

impl Reactor {
    /// Runs until [`stop`](Reactor::stop), SIGINT or SIGTERM. A second SIGINT or SIGTERM does at once what the system
    /// does by default. (Twisted: `run`.)
    ///
    /// # Errors
    /// [`Error::AlreadyRunning`] inside a callback and inside [`with`](Reactor::with_protocol) and its like, [`Error::ReactorFinished`] after it has run, [`Error::System`]
    /// when the system's poll fails.
    pub fn run(&mut self) -> Result<()> {
        self.watch_default_signals()?;
        without_current(|| {
            while self.take_turn(None, &mut |_| {})? {}
            Ok(())
        })
    }

    /// As `run`, until `goes_on` says no, which is asked once in every turn, before what was written leaves.
    pub(crate) fn run_until(&mut self, mut goes_on: impl FnMut(&mut Reactor) -> bool) -> Result<()> {
        self.watch_default_signals()?;
        let mut enough = false;
        let ran = without_current(|| {
            while !enough && self.take_turn(None, &mut |reactor| enough |= !goes_on(reactor))? {}
            Ok(())
        });
        self.forget_time();
        self.set_awake(false);
        if std::mem::take(&mut self.lifecycle.stop_on_signals) && self.lifecycle.state != RunState::Finished {
            self.watch_signals()?;
        }
        ran
    }

    /// SIGINT and SIGTERM stop the reactor from now on, if its settings say so.
    pub(crate) fn watch_default_signals(&mut self) -> Result<()> {
        let finished = self.lifecycle.state == RunState::Finished;
        if !self.lifecycle.in_turn && !finished && !self.lifecycle.signalled && self.settings.handle_signals {
            self.lifecycle.stop_on_signals = true;
            self.watch_signals()?;
        }
        Ok(())
    }

    /// One turn, for embedding and tests: whatever can be done is done, after waiting for it for `wait`
    /// at the most (`None`: as long as it takes). The first turn starts the reactor. Signals are left
    /// alone, but for those of [`on_signal`](Reactor::on_signal). `false` when the reactor has stopped with it.
    /// (Twisted: `iterate`.)
    ///
    /// # Errors
    /// As [`run`](Reactor::run).
    pub fn iterate(&mut self, wait: Option<Duration>) -> Result<bool> {
        let goes_on = without_current(|| self.take_turn(wait, &mut |_| {}));
        if !self.lifecycle.in_turn {
            // What the caller does until the next one is not the last callback's time.
            self.stop_timing();
            self.forget_time();
            self.set_awake(false);
        }
        goes_on
    }

    fn take_turn(&mut self, wait: Option<Duration>, also: &mut dyn FnMut(&mut Reactor)) -> Result<bool> {
        if self.lifecycle.in_turn {
            return Err(Error::AlreadyRunning);
        }
        if self.lifecycle.state == RunState::Finished {
            return Err(Error::ReactorFinished);
        }
        self.lifecycle.in_turn = true;
        self.set_awake(true);
        let result = self.turn_once(wait, also);
        self.lifecycle.in_turn = false;
        result
    }

    /// Runs a call that has a protocol out of its slot: no turn begins in it, though none is under way. A panic is the
    /// caller's to see to.
    pub(super) fn between_turns<R>(
        &mut self,
        call: impl FnOnce(&mut Reactor) -> R,
    ) -> std::thread::Result<R> {
        let turning = std::mem::replace(&mut self.lifecycle.in_turn, true);
        let result = catch_unwind(AssertUnwindSafe(|| call(self)));
        self.lifecycle.in_turn = turning;
        result
    }

    fn turn_once(&mut self, wait: Option<Duration>, also: &mut dyn FnMut(&mut Reactor)) -> Result<bool> {
        self.statistics.turns += 1;
        self.clock.set(None);
        if matches!(self.lifecycle.state, RunState::New | RunState::Starting) {
            self.advance_life(also);
        }
        self.run_thread_calls();
        if self.lifecycle.state != RunState::Running && !self.advance_life(also) {
            // No poll comes any more to end the last callback's time.
            self.stop_timing();
            return Ok(false);
        }
        // Those that are queued by what follows have their share in the next turn.
        let queued = self.queues.resume.len();
        let before = self.timers.sequence();
        self.poll(wait)?;
        self.receive.bytes_since_tasks = 0;
        self.choose_read_limit(self.queues.events.len().max(queued));
        self.dispatch();
        if queued > 0 {
            self.run_resumed(queued);
        }
        // Last, so that what came in time counts before a timeout does.
        self.run_timers(before);
        if !self.queues.callbacks.is_empty() {
            self.run_tasks();
        }
        self.run_handled();
        also(self);
        self.run_flushes();
        Ok(true)
    }

    /// Waits for something to do, if there is nothing.
    fn poll(&mut self, wait: Option<Duration>) -> Result<()> {
        // Before the look at what there is to do: who brings more from now on wakes the poll.
        self.set_awake(false);
        self.stop_timing();
        let next = self.timers.next();
        // The clock is read for timers alone.
        let began = next.map(|_| self.now());
        let timeout = if self.is_busy() {
            Some(Duration::ZERO)
        } else {
            let next = next.zip(began).map(|(next, began)| next - began);
            [wait, next].into_iter().flatten().min()
        };
        let polled = self.net.poll(&mut self.queues.events, timeout);
        self.clock.set(None);
        self.set_awake(true);
        match polled {
            // The next turn waits again, for what is left of the time.
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(()),
            Err(source) => Err(Error::System { call: "poll", source }),
            Ok(silent) => {
                if let Some(began) = began {
                    let full = self.queues.events.len() >= self.net.max_events();
                    let polls = if full { self.registry.len() / self.net.max_events() } else { 0 };
                    self.queues.poll_progress.note_poll(began, silent, polls);
                }
                Ok(())
            }
        }
    }

    /// The time up to which all that came was told of.
    pub(super) fn heard_until(&self) -> Instant {
        self.queues.poll_progress.until
    }

    /// Whether the next turn has something to do, whatever the poll says.
    fn is_busy(&self) -> bool {
        !self.queues.callbacks.is_empty()
            || !self.queues.resume.is_empty()
            || !self.queues.flush.is_empty()
            || self.threads.inbox.has_more()
            || self.handle.get().is_some_and(Handle::has_work)
            || self.life_goes_on()
    }

    /// When the next turn has something to do, for somebody who gives turns to several reactors.
    pub(crate) fn agenda(&self) -> NextTurn {
        if self.lifecycle.state == RunState::Finished {
            NextTurn::Finished
        } else if self.is_busy() {
            NextTurn::Now
        } else {
            self.timers.next().map_or(NextTurn::Idle, NextTurn::At)
        }
    }

    /// Says to those who bring work from outside whether the loop looks for it by itself.
    fn set_awake(&self, attended: bool) {
        if let Some(handle) = self.handle.get() {
            handle.set_awake(attended);
        }
    }

    #[inline(never)] // what surrounds it would need its registers
    fn dispatch(&mut self) {
        self.statistics.events += self.queues.events.len() as u64;
        // Connections that the same poll found complete were so at the same time, however long the callbacks take.
        let mut seen = None;
        let mut buffer = std::mem::take(&mut self.receive.buffer);
        for index in 0..self.queues.events.len() {
            let Some(&event) = self.queues.events.get(index) else { break };
            match event {
                Event::Ready(token, ready) => {
                    if !self.connection_ready(token, ready, &mut buffer) {
                        self.other_ready(token, ready, &mut seen);
                    }
                }
                Event::Signal(signal) => self.signal_came(signal),
            }
        }
        self.queues.events.clear();
        // Its place is empty, so there is nothing to drop.
        std::mem::forget(std::mem::replace(&mut self.receive.buffer, buffer));
    }

    /// The kernel has news of what is no connection.
    #[inline(never)]
    fn other_ready(&mut self, token: Token, ready: Readiness, seen: &mut Option<Instant>) {
        match self.registry.get(token) {
            Some(Source::Listener(_)) => self.accept_ready(token),
            Some(&Source::Attempt(connector)) => {
                let seen = *seen.get_or_insert_with(|| self.net.now());
                self.attempt_ready(token, connector, ready, seen);
            }
            Some(Source::Datagram(_)) => self.datagram_ready(token, ready),
            Some(Source::Process(_)) => self.look_at_process(token),
            // An event of something that was closed earlier in this batch.
            _ => {}
        }
    }

    /// Runs the calls that are due and were set before this number came up. Those that this turn sets, however soon, wait
    /// for the next one.
    #[inline]
    fn run_timers(&mut self, before: u64) {
        if let Some(next) = self.timers.next()
            && next <= self.queues.poll_progress.until
        {
            // The network may have been silent for longer than the clock says.
            self.run_timers_due(self.queues.poll_progress.until.min(self.now()), before);
        }
    }

    #[inline(never)] // a turn without it is short
    fn run_timers_due(&mut self, now: Instant, before: u64) {
        for _ in 0..self.settings.timers_per_turn {
            let Some((name, call)) = self.timers.first_due(now, before) else {
                return;
            };
            let owner = match call {
                TimedCall::Protocol(token, _)
                | TimedCall::Datagram(token, _)
                | TimedCall::WakeLayer(token, _) => Some(*token),
                _ => None,
            };
            if owner.is_some_and(|token| self.reads_before_timers(token)) {
                self.timers.reset(name, now + A_MOMENT);
                continue;
            }
            let Some(call) = self.timers.take_first() else { return };
            match call {
                TimedCall::Reactor(call) => {
                    self.statistics.timed_calls += 1;
                    self.call(CallbackKind::TimedCall, call);
                }
                TimedCall::Protocol(token, call) if self.has_protocol(token) => {
                    self.statistics.timed_calls += 1;
                    self.call_protocol(token, CallbackKind::TimedCall, call);
                }
                // The connection was lost by a call of the same instant.
                TimedCall::Protocol(_, call) => self.call(CallbackKind::Drop, |_| drop(call)),
                TimedCall::Datagram(token, call)
                    if self.registry.datagram(token).is_none_or(|s| s.has_stopped()) =>
                {
                    self.call(CallbackKind::Drop, |_| drop(call));
                }
                TimedCall::Datagram(token, call) => {
                    self.statistics.timed_calls += 1;
                    self.call_datagram(token, CallbackKind::TimedCall, call);
                    self.flush_datagrams(token);
                }
                TimedCall::Process(token, call) => self.run_process_timer(token, call),
                TimedCall::Wake(waker) => self.call(CallbackKind::TimedCall, |_| waker.wake()),
                TimedCall::SendAgain(token) => self.send_datagrams_again(token),
                TimedCall::WriteAgain(token) => self.write_again(token),
                TimedCall::ReadAgain(token) => self.read_datagrams_again(token),
                TimedCall::ConnectTimeout(token) => self.connect_timed_out(token),
                TimedCall::HandshakeLimit(token) => {
                    self.handshake_timed_out(token, self.settings.handshake_timeout);
                }
                TimedCall::NextAttempt(token) => self.next_attempt_due(token),
                TimedCall::Reconnect(token) => self.begin_to_connect(token),
                TimedCall::CloseLimit(token) => self.close_limit_reached(token),
                TimedCall::AskProducer(token) => self.ask_producer(token),
                TimedCall::AcceptAgain(token) => self.accept_again(token),
                TimedCall::WakeLayer(token, index) => self.layer_woken(token, index),
                TimedCall::LookupTimeout(lookup) => self.lookup_timed_out(lookup),
                TimedCall::Look => {}
            }
        }
    }
}

/// Nothing is due between two instants this far apart.
const A_MOMENT: Duration = Duration::from_nanos(1);

/// Runs turns as no task's: one of another reactor may be what asks for them, and its reactor is not the callbacks'.
fn without_current<R>(run: impl FnOnce() -> R) -> R {
    let outer = set_current(None);
    let result = run();
    set_current(outer);
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn full_polls_are_repeated_until_each_socket_was_reported() {
        let at = |seconds| Instant::from_origin(Duration::from_secs(seconds));
        let mut heard = Heard::default();
        heard.note_poll(at(1), None, 0);
        assert_eq!(heard.until, at(1));
        // Three polls report all of them; what came before the first is known then.
        for (began, until) in [(2, 1), (3, 1), (4, 2), (5, 2), (6, 2), (7, 5)] {
            heard.note_poll(at(began), None, 2);
            assert_eq!(heard.until, at(until), "{began}");
        }
        // One that is not full has reported the rest.
        heard.note_poll(at(8), None, 2);
        heard.note_poll(at(9), None, 0);
        assert_eq!(heard.until, at(9));
        heard.note_poll(at(10), Some(Duration::from_secs(5)), 0);
        assert_eq!(heard.until, at(15), "nothing came until then");
    }
}
