//! One turn of the event loop.

pub(in crate::reactor) mod hook;
pub(in crate::reactor) mod lifecycle;
pub(in crate::reactor) mod queues;

use std::io;
use std::os::fd::BorrowedFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use crate::net::{Event, Instant, Readiness, Token};
use crate::reactor::handle::set_current;
use crate::reactor::registry::Source;
use crate::reactor::turn::lifecycle::RunState;
use crate::reactor::{CallbackKind, Error, Handle, Reactor, Result, TimedCall};

/// How far the polls so far have reported what has arrived.
#[derive(Default)]
pub(crate) struct PollProgress {
    /// Everything that arrived before this time was reported. Timers due later wait for the next
    /// poll.
    until: Instant,
    /// Consecutive polls that found more events than they can report: the start of the first, and
    /// their number.
    full: Option<(Instant, usize)>,
}

impl PollProgress {
    /// Records a poll that began at `began`. `silence` is how long the network was known to be
    /// silent after that. `more` is 0 unless the poll was full; then it is the number of further
    /// full polls after which each socket has been reported.
    fn note_poll(&mut self, began: Instant, silence: Option<Duration>, more: usize) {
        let (first, polls) = self.full.unwrap_or((began, 0));
        if more == 0 {
            *self = PollProgress { until: began + silence.unwrap_or_default(), full: None };
        } else if polls < more {
            self.full = Some((first, polls + 1));
        } else {
            *self = PollProgress { until: first, full: None };
        }
    }
}

/// When a reactor next has work of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NextTurn {
    Now,
    At(Instant),
    /// Not before a network event.
    Idle,
    Finished,
}

impl Reactor {
    /// Runs the loop until [`stop`](Reactor::stop), SIGINT or SIGTERM. A second SIGINT or SIGTERM
    /// has the system's default action. (Twisted: `run`.)
    ///
    /// # Errors
    /// - [`Error::AlreadyRunning`] inside a callback, or inside
    ///   [`with_protocol`](Reactor::with_protocol) and similar calls.
    /// - [`Error::ReactorFinished`] after the reactor has run.
    /// - [`Error::System`] when the system's poll fails.
    #[doc(alias = "run_forever")]
    pub fn run(&mut self) -> Result<()> {
        self.watch_default_signals()?;
        without_current(|| {
            while self.take_turn(None, &mut |_| {})? {}
            Ok(())
        })
    }

    /// Runs as `run` does, until `goes_on` returns `false`. It is called once a turn, before
    /// buffered writes are flushed.
    pub(crate) fn run_until(&mut self, mut goes_on: impl FnMut(&mut Reactor) -> bool) -> Result<()> {
        if self.lifecycle.in_turn {
            return Err(Error::AlreadyRunning);
        }
        self.watch_default_signals()?;
        let mut done = false;
        let ran = without_current(|| {
            while !done && self.take_turn(None, &mut |reactor| done |= !goes_on(reactor))? {}
            Ok(())
        });
        self.update_time();
        self.set_awake(false);
        if std::mem::take(&mut self.lifecycle.stop_on_signals) && self.lifecycle.state != RunState::Finished {
            self.watch_signals()?;
        }
        ran
    }

    /// Makes SIGINT and SIGTERM stop the reactor, if the settings say so.
    pub(crate) fn watch_default_signals(&mut self) -> Result<()> {
        let finished = self.lifecycle.state == RunState::Finished;
        if !self.lifecycle.in_turn && !finished && !self.lifecycle.signalled && self.settings.handle_signals {
            self.lifecycle.stop_on_signals = true;
            self.watch_signals()?;
        }
        Ok(())
    }

    /// Runs one turn, for embedding and tests. (Twisted: `iterate`.)
    ///
    /// The turn waits for work for at most `wait`; `None` waits without limit. The first turn
    /// starts the reactor. Only the signals of [`on_signal`](Reactor::on_signal) are handled.
    /// Returns `false` when the reactor has stopped.
    ///
    /// # Errors
    /// As [`run`](Reactor::run).
    #[doc(alias("doIteration", "turn", "run_once", "poll", "dispatch"))]
    pub fn iterate(&mut self, wait: Option<Duration>) -> Result<bool> {
        let goes_on = without_current(|| self.take_turn(wait, &mut |_| {}));
        if !self.lifecycle.in_turn {
            // The caller's own time until the next turn must not count for the last callback.
            self.stop_timing();
            self.update_time();
            self.set_awake(false);
        }
        goes_on
    }

    /// The descriptor of the reactor's poll, for an outer loop that waits for several sources. It
    /// is readable when a turn has events. (libuv: `uv_backend_fd`.)
    ///
    /// The outer loop waits until the descriptor is readable, at most for
    /// [`poll_timeout`](Reactor::poll_timeout), and then calls
    /// [`iterate`](Reactor::iterate) with a wait of zero. Level-triggered and edge-triggered
    /// waiting both work, since `poll_timeout` is zero while the reactor has work of its own. The
    /// guide's chapter on [embedding](crate::guide::embedding) has an example.
    ///
    /// Do not read, write or register other sources with the descriptor. A loop that needs to own
    /// it duplicates it
    /// ([`try_clone_to_owned`](std::os::fd::BorrowedFd::try_clone_to_owned)).
    ///
    /// # Errors
    /// [`Error::System`]: a simulated network has no descriptors.
    pub fn poll_fd(&self) -> Result<BorrowedFd<'_>> {
        self.net.poll_fd().map_err(|source| Error::System { call: "poll", source })
    }

    /// The time for which an outer loop may wait before it has to run a turn: until the next timed
    /// call, and zero if the reactor has work already. `None`: until [`poll_fd`](Reactor::poll_fd)
    /// is readable, for any time. The clock is read at each call. (libuv: `uv_backend_timeout`.)
    ///
    /// Any use of the reactor can change it, so it is asked last before each wait. Calls from other
    /// threads and wakers of tasks make `poll_fd` readable.
    pub fn poll_timeout(&self) -> Option<Duration> {
        match self.agenda() {
            NextTurn::Now => Some(Duration::ZERO),
            NextTurn::Finished => None,
            NextTurn::At(_) | NextTurn::Idle if self.net.has_events() => Some(Duration::ZERO),
            NextTurn::At(at) => Some(at - self.net.now()),
            NextTurn::Idle => None,
        }
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

    /// Runs a call that holds a protocol out of its slot. It cannot begin a turn, even if none is
    /// running. A panic is returned to the caller.
    pub(in crate::reactor) fn between_turns<R>(
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
            // No further poll will stop the timing of the last callback.
            self.stop_timing();
            return Ok(false);
        }
        // Connections queued below run in the next turn.
        let queued = self.queues.resume.len();
        let before = self.timers.sequence();
        self.poll(wait)?;
        self.dispatch();
        if queued > 0 {
            self.run_resumed(queued);
        }
        // Timers run last, so that data which arrived in time counts before a timeout.
        self.run_timers(before);
        if !self.queues.callbacks.is_empty() {
            self.run_callbacks();
        }
        self.run_handled();
        also(self);
        self.run_flushes();
        Ok(true)
    }

    /// Polls. Waits only if the loop has no work.
    fn poll(&mut self, wait: Option<Duration>) -> Result<()> {
        // Set before the loop looks for work: work queued from now on wakes the poll.
        self.set_awake(false);
        self.stop_timing();
        let next = self.timers.next();
        // Only timers need the clock.
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
            // EINTR: the next turn waits for the remaining time.
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(()),
            Err(source) => Err(Error::System { call: "poll", source }),
            Ok(silence) => {
                if let Some(began) = began {
                    let full = self.queues.events.len() >= self.net.max_events();
                    let polls = if full { self.registry.len() / self.net.max_events() } else { 0 };
                    self.queues.poll_progress.note_poll(began, silence, polls);
                }
                Ok(())
            }
        }
    }

    /// The time up to which everything that arrived was reported.
    pub(in crate::reactor) fn reported_until(&self) -> Instant {
        self.queues.poll_progress.until
    }

    /// Whether the next turn has work, regardless of the poll.
    fn is_busy(&self) -> bool {
        !self.queues.callbacks.is_empty()
            || !self.queues.resume.is_empty()
            || !self.queues.flush.is_empty()
            || self.threads.inbox.has_more()
            || self.handle.get().is_some_and(Handle::has_work)
            || self.has_next_phase()
    }

    /// When the next turn has work, for a caller that runs several reactors.
    pub(crate) fn agenda(&self) -> NextTurn {
        if self.lifecycle.state == RunState::Finished {
            NextTurn::Finished
        } else if self.is_busy() {
            NextTurn::Now
        } else {
            self.timers.next().map_or(NextTurn::Idle, NextTurn::At)
        }
    }

    /// Tells wakers whether the loop is awake. If it is, they need not wake it.
    fn set_awake(&self, attended: bool) {
        if let Some(handle) = self.handle.get() {
            handle.set_awake(attended);
        }
    }

    #[inline(never)] // inlined, it would take registers from the caller
    fn dispatch(&mut self) {
        self.statistics.events += self.queues.events.len() as u64;
        // Connections that one poll reported as established share one time, however long callbacks
        // take.
        let mut established_at = None;
        let mut buffer = std::mem::take(&mut self.receive.buffer);
        for index in 0..self.queues.events.len() {
            let Some(&event) = self.queues.events.get(index) else { break };
            match event {
                Event::Ready(token, ready) => {
                    if !self.connection_ready(token, ready, &mut buffer) {
                        self.other_ready(token, ready, &mut established_at);
                    }
                }
                Event::Signal(signal) => self.signal_came(signal),
            }
        }
        self.queues.events.clear();
        // The buffer in the slot is empty and needs no drop.
        std::mem::forget(std::mem::replace(&mut self.receive.buffer, buffer));
    }

    /// Handles an event of a token that is not a connection.
    #[inline(never)]
    fn other_ready(&mut self, token: Token, ready: Readiness, established_at: &mut Option<Instant>) {
        match self.registry.get(token) {
            Some(Source::Listener(_)) => self.accept_ready(token),
            Some(&Source::Attempt(connector)) => {
                let established_at = *established_at.get_or_insert_with(|| self.net.now());
                self.attempt_ready(token, connector, ready, established_at);
            }
            Some(Source::Datagram(_)) => self.datagram_ready(token, ready),
            Some(Source::Process(_)) => self.look_at_process(token),
            Some(Source::Descriptor(_)) => self.descriptor_ready(token, ready),
            // An event of an object that was closed earlier in this batch.
            _ => {}
        }
    }

    /// Runs the calls that are due and whose sequence number is below `before`. Calls set in this
    /// turn wait for the next, even with a delay of zero.
    #[inline]
    fn run_timers(&mut self, before: u64) {
        if let Some(next) = self.timers.next()
            && next <= self.queues.poll_progress.until
        {
            // The poll may have been silent for longer than the clock shows.
            self.run_timers_due(self.queues.poll_progress.until.min(self.now()), before);
        }
    }

    #[inline(never)] // keeps a turn without due timers short
    fn run_timers_due(&mut self, now: Instant, before: u64) {
        for _ in 0..self.settings.calls_per_turn {
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
                self.timers.reset(name, now + CLOCK_RESOLUTION);
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
                // The connection was lost in a call of the same instant.
                TimedCall::Protocol(_, call) => self.call(CallbackKind::Drop, |_| drop(call)),
                TimedCall::Datagram(token, call)
                    if self.registry.datagram(token).is_none_or(|slot| slot.has_stopped()) =>
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
                TimedCall::Reconnect(token) => self.start_connecting(token),
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

/// The clock's resolution: no timer is due between two times this far apart.
const CLOCK_RESOLUTION: Duration = Duration::from_nanos(1);

/// Runs turns without a current handle. The caller may be a task of another reactor, whose handle
/// is not that of these callbacks.
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
        let mut progress = PollProgress::default();
        progress.note_poll(at(1), None, 0);
        assert_eq!(progress.until, at(1));
        // Three polls report all sockets. Then everything before the first of them is known.
        for (began, until) in [(2, 1), (3, 1), (4, 2), (5, 2), (6, 2), (7, 5)] {
            progress.note_poll(at(began), None, 2);
            assert_eq!(progress.until, at(until), "{began}");
        }
        // A poll that is not full has reported the rest.
        progress.note_poll(at(8), None, 2);
        progress.note_poll(at(9), None, 0);
        assert_eq!(progress.until, at(9));
        progress.note_poll(at(10), Some(Duration::from_secs(5)), 0);
        assert_eq!(progress.until, at(15), "nothing came until then");
    }
}
