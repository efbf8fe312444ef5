//! The monitor itself: all targets on one reactor, and what their results lead to.

use super::cause::DownCause;
use super::probe::Watch;
use super::reporter::{Event, Reporter, Row, Summary};
use super::settings::{Settings, liveness};
use super::target::{Kind, Options, Target};
use super::track::{Change, Retry, State, TargetTracker};
use crate::escape::Escaped;
use crate::report::schedule::{FIRST_LOOK, Schedule};
use crate::report::warning::{Due, Warned, Warning};
use crate::{ConnectTcp, ConnectUnix, ConnectorId, DelayedCall, Instant, Reactor, Reason};
use std::cell::{RefCell, RefMut};
use std::io;
use std::rc::Rc;
use std::time::Duration;

/// Watches targets from a reactor, and tells a [`Reporter`].
///
/// A clone is another handle to the same monitor.
#[derive(Clone)]
pub struct Monitor {
    shared: Rc<RefCell<Shared>>,
}

struct Shared {
    settings: Settings,
    schedule: Schedule,
    started: Instant,
    watched: Vec<Watched>,
    reporter: Box<dyn Reporter>,
    /// Targets that have rounds to go.
    unfinished: usize,
    /// Called once, when nothing is left to do.
    finished: Option<Finished>,
    stopped: bool,
    error: Option<io::Error>,
    /// The next round of the held targets.
    round: Option<DelayedCall>,
    /// Of trouble on this side.
    warning: Warning,
    /// Logs the warning that waits.
    warning_call: Option<DelayedCall>,
}

type Finished = Box<dyn FnOnce(&mut Reactor)>;

/// A target, its state, and how far its connector is. There may be ten thousand.
struct Watched {
    target: Target,
    track: TargetTracker,
    connector: Option<ConnectorId>,
    /// When the last attempt began.
    attempt: Instant,
    /// When the last connection was made.
    connected: Instant,
    /// Something has come on it.
    heard: bool,
    /// Failures since the last connection that lasted.
    failures: u32,
    rounds: u32,
}

/// Whether a connection that was made is held.
pub(super) enum Holds {
    No,
    Yes,
    /// The target closed the one before, or several at once: it counts when it has lasted.
    IfItLasts,
}

impl Monitor {
    /// Begins to watch. Nothing happens before the reactor runs.
    pub fn start(
        reactor: &mut Reactor,
        targets: Vec<Target>,
        settings: Settings,
        reporter: impl Reporter,
    ) -> Monitor {
        let now = reactor.now();
        let schedule = Schedule::new(settings.interval, targets.len());
        let new = |target| Watched {
            target,
            track: TargetTracker::new(),
            connector: None,
            attempt: now,
            connected: now,
            heard: false,
            failures: 0,
            rounds: 0,
        };
        let shared = Shared {
            schedule,
            started: now,
            warning: Warning::new(targets.len()),
            warning_call: None,
            unfinished: targets.len(),
            watched: targets.into_iter().map(new).collect(),
            reporter: Box::new(reporter),
            settings,
            finished: None,
            stopped: false,
            error: None,
            round: None,
        };
        let monitor = Monitor { shared: Rc::new(RefCell::new(shared)) };
        let first = monitor.clone();
        reactor.call_later(Duration::ZERO, move |reactor| first.begin(reactor, 0));
        monitor.set_round(reactor);
        monitor
    }

    /// Calls `call` once when every target has had its rounds, or when the reporter failed.
    pub fn on_finished(&self, call: impl FnOnce(&mut Reactor) + 'static) {
        self.borrow().finished = Some(Box::new(call));
    }

    /// Reports how all targets stand.
    pub fn summary(&self, reactor: &mut Reactor) {
        self.report(reactor, false);
    }

    /// Reports how all targets stand for the last time, and stops.
    pub fn finish(&self, reactor: &mut Reactor) {
        if !self.borrow().stopped {
            self.report(reactor, true);
            self.stop(reactor);
        }
    }

    /// Stops watching: connections are closed, and nothing more is reported.
    pub fn stop(&self, reactor: &mut Reactor) {
        let mut shared = self.borrow();
        shared.stopped = true;
        let calls = [shared.round.take(), shared.warning_call.take()];
        let connectors: Vec<_> =
            shared.watched.iter_mut().filter_map(|watched| watched.connector.take()).collect();
        drop(shared);
        for call in calls.into_iter().flatten() {
            // One that has just been called cannot be cancelled, and does nothing any more.
            let _ = call.cancel(reactor);
        }
        self.log_warning(reactor);
        for id in connectors {
            if let Some(mut connector) = reactor.connector(id) {
                connector.disconnect();
            }
        }
    }

    /// Whether every target was up at its last result.
    pub fn all_up(&self) -> bool {
        self.borrow().watched.iter().all(|watched| watched.track.state() == State::Up)
    }

    /// What the reporter failed with, if it did; once.
    pub fn error(&self) -> Option<io::Error> {
        self.borrow().error.take()
    }

    // -- what probes tell --

    pub(super) fn attempt_started(&self, index: u32, now: Instant) {
        if let Some(watched) = self.borrow().watched.get_mut(index as usize) {
            watched.attempt = now;
        }
    }

    /// A connection was made. Whether it is held.
    ///
    /// `took` is what was measured next to the system calls, without the look-up of the name.
    pub(super) fn connected(&self, reactor: &mut Reactor, index: u32, took: Option<Duration>) -> Holds {
        let now = reactor.now();
        let (mut held, mut lasts) = (false, true);
        self.result(reactor, index, None, |watched| {
            watched.connected = now;
            watched.heard = false;
            held = watched.target.kind() == Kind::Hold;
            let change = watched.track.connected(now, took.unwrap_or(now - watched.attempt));
            lasts = change.is_some();
            change
        });
        match held && !self.is_done(index) {
            false => Holds::No,
            true if lasts => Holds::Yes,
            true => Holds::IfItLasts,
        }
    }

    /// A connection that had to last before it counts has lasted.
    pub(super) fn settled(&self, reactor: &mut Reactor, index: u32) {
        let now = reactor.now();
        self.event(reactor, index, None, |watched| watched.track.settled(now));
    }

    /// Something has come on a connection.
    pub(super) fn heard(&self, index: u32) {
        if let Some(watched) = self.borrow().watched.get_mut(index as usize) {
            watched.heard = true;
        }
    }

    /// An attempt failed. When to try again, if at all.
    pub(super) fn failed(&self, reactor: &mut Reactor, index: u32, reason: &Reason) -> Option<Duration> {
        let now = reactor.now();
        let cause = DownCause::of(reason)?;
        if cause == DownCause::Local {
            self.result(reactor, index, Some(reason), |watched| {
                Some(watched.track.failed(now, cause, now - watched.attempt))
            });
            self.warn(reactor, reason);
        } else {
            self.event(reactor, index, Some(&Reason::Done), |watched| watched.track.close_stands(now));
            self.result(reactor, index, Some(reason), |watched| {
                Some(watched.track.failed(now, cause, now - watched.attempt))
            });
        }
        self.next(reactor, index)
    }

    /// A connection ended. When to connect again, if at all.
    pub(super) fn lost(&self, reactor: &mut Reactor, index: u32, reason: &Reason) -> Option<Duration> {
        let now = reactor.now();
        let kind = self.borrow().watched.get(index as usize)?.target.kind();
        if kind == Kind::Probe {
            return self.next(reactor, index);
        }
        let cause = DownCause::of(reason)?;
        let mut retry = None;
        // Its timer may be due in this turn, too, and timers run after what the poll brought.
        self.event(reactor, index, None, |watched| match now - watched.connected >= TargetTracker::SHORT {
            true => watched.track.settled(now),
            false => None,
        });
        self.event(reactor, index, Some(reason), |watched| {
            let lasted = now - watched.connected;
            if lasted >= SETTLED {
                watched.failures = 0;
            }
            if *reason != Reason::Done {
                return Some(watched.track.lost(now, cause));
            }
            let (when, change) = watched.track.closed(now, lasted, !watched.heard);
            retry = Some(when);
            change
        });
        match retry {
            _ if self.is_done(index) => None,
            None => self.next(reactor, index),
            Some(Retry::AtOnce) => Some(Duration::ZERO),
            Some(Retry::After(failures)) => {
                let random = reactor.random();
                Some(self.borrow().settings.backoff.delay(failures, random))
            }
        }
    }

    /// Logs that this side has trouble, and how many targets are unknown for it, now or when they are counted.
    fn warn(&self, reactor: &mut Reactor, reason: &Reason) {
        let due = self.borrow().warning.trouble(reactor.now(), reason);
        match due {
            Due::Now => self.log_warning(reactor),
            Due::After(wait) => {
                let this = self.clone();
                let call = reactor.call_later(wait, move |reactor| this.log_warning(reactor));
                self.borrow().warning_call = Some(call);
            }
            Due::Set => {}
        }
    }

    fn log_warning(&self, reactor: &mut Reactor) {
        let mut shared = self.borrow();
        let warned = shared.warning.take(reactor.now());
        let call = shared.warning_call.take();
        drop(shared);
        if let Some(call) = call {
            // The one that runs now cannot be cancelled.
            let _ = call.cancel(reactor);
        }
        if let Some(Warned { affected, watched, reason }) = warned {
            let reason = Escaped(reason).to_string();
            log_warn!("unknown targets: {affected} of {watched}, for a reason of this machine: {reason}");
        }
    }

    // -- what follows --

    /// Connects to the targets from `index` on whose time has come, and comes back for the others. One timer
    /// for all of them: a connector needs none of its own before it has something to wait for.
    fn begin(&self, reactor: &mut Reactor, index: u32) {
        if self.borrow().settings.rounds == Some(1) {
            return self.begin_densely(reactor, index);
        }
        let (schedule, elapsed, stopped) = {
            let shared = self.borrow();
            (shared.schedule, reactor.now() - shared.started, shared.stopped)
        };
        let due = (index..self.targets()).take_while(|index| schedule.first(*index) <= elapsed);
        let next = due.fold(index, |_, index| {
            self.connect(reactor, index);
            index + 1
        });
        if next < self.targets() && !stopped {
            let this = self.clone();
            let delay = schedule.first(next).saturating_sub(elapsed);
            reactor.call_later(delay, move |reactor| this.begin(reactor, next));
        }
    }

    /// Connects to the target `index`, and comes back for the next: in the next turn while few are under way,
    /// so that the answer to each is looked for before the next is asked; else a little later.
    fn begin_densely(&self, reactor: &mut Reactor, index: u32) {
        if index >= self.targets() || self.borrow().stopped {
            return;
        }
        self.connect(reactor, index);
        let (next, under_way) = {
            let shared = self.borrow();
            let finished = shared.watched.len() - shared.unfinished;
            (index + 1, (index as usize + 1).saturating_sub(finished))
        };
        let delay = if under_way < UNDER_WAY { Duration::ZERO } else { FIRST_LOOK };
        let this = self.clone();
        reactor.call_later(delay, move |reactor| this.begin_densely(reactor, next));
    }

    fn connect(&self, reactor: &mut Reactor, index: u32) {
        let shared = self.borrow();
        let Some(watched) = shared.watched.get(index as usize).filter(|_| !shared.stopped) else {
            return;
        };
        let Ok(way) = watched.target.way() else {
            return;
        };
        let held = watched.target.kind() == Kind::Hold;
        let timeout = shared.settings.timeout;
        let liveness = shared.settings.lost_after.filter(|_| held).map(liveness);
        drop(shared);
        let watch = Watch { monitor: self.clone(), index };
        let connector = match way.options {
            Options::Tcp(options) => {
                let options = ConnectTcp {
                    timeout: if way.has_timeout { options.timeout } else { timeout },
                    // Nothing is ever written.
                    nodelay: false,
                    keepalive: match way.has_keepalive {
                        true => options.keepalive,
                        false => liveness.map(|(idle, _)| idle),
                    },
                    // Beside a keepalive of the endpoint's own a shorter limit would end it after one question.
                    user_timeout: match way.has_user_timeout || way.has_keepalive {
                        true => options.user_timeout,
                        false => liveness.and_then(|(_, limit)| limit),
                    },
                    ..options
                };
                reactor.connect_tcp(options, watch)
            }
            Options::Unix(options) => {
                let timeout = if way.has_timeout { options.timeout } else { timeout };
                reactor.connect_unix(ConnectUnix { timeout, ..options }, watch)
            }
        };
        if let Some(watched) = self.borrow().watched.get_mut(index as usize) {
            // The address was checked when it was parsed; what is left is a reactor that stops.
            watched.connector = connector.ok();
        }
    }

    /// When to connect again: a probe in its next slot, a held connection after its backoff.
    fn next(&self, reactor: &mut Reactor, index: u32) -> Option<Duration> {
        if self.is_done(index) {
            return None;
        }
        let (now, random) = (reactor.now(), reactor.random());
        let mut shared = self.borrow();
        let (started, schedule) = (shared.started, shared.schedule);
        let backoff = shared.settings.backoff.clone();
        let watched = shared.watched.get_mut(index as usize)?;
        match watched.target.kind() {
            Kind::Probe => {
                let now = now - started;
                Some(schedule.next(index, watched.attempt - started, now).saturating_sub(now))
            }
            Kind::Hold => {
                let failures = watched.failures;
                watched.failures = failures.saturating_add(1);
                Some(backoff.delay(failures, random))
            }
        }
    }

    /// Sets the next round of the held targets, if there are any: at a multiple of the interval from
    /// the start, so that rounds do not drift.
    fn set_round(&self, reactor: &mut Reactor) {
        let mut shared = self.borrow();
        if shared.watched.iter().all(|watched| watched.target.kind() == Kind::Probe) {
            return;
        }
        let (interval, elapsed) = (shared.schedule.interval(), reactor.now() - shared.started);
        let passed = elapsed.as_nanos() / interval.as_nanos().max(1);
        let next = interval.saturating_mul(u32::try_from(passed + 1).unwrap_or(u32::MAX));
        let this = self.clone();
        let call = move |reactor: &mut Reactor| this.round(reactor);
        shared.round = Some(reactor.call_later(next.saturating_sub(elapsed), call));
    }

    /// An interval has passed for the held targets.
    fn round(&self, reactor: &mut Reactor) {
        let now = reactor.now();
        for index in 0..self.targets() {
            let held = self.event(reactor, index, None, |watched| match watched.target.kind() {
                Kind::Hold => watched.track.round(now),
                Kind::Probe => None,
            });
            if held {
                self.end_round(reactor, index);
            }
            let connector = match self.is_done(index) {
                true => self.borrow().watched.get_mut(index as usize).and_then(|watched| watched.connector),
                false => None,
            };
            if let Some(mut connector) = connector.and_then(|id| reactor.connector(id)) {
                connector.disconnect();
            }
        }
        if !self.borrow().stopped {
            self.set_round(reactor);
        }
    }

    /// An event that also ends a round of its target, unless it is held: a held target's rounds are its
    /// first result, and intervals after it.
    fn result(
        &self,
        reactor: &mut Reactor,
        index: u32,
        reason: Option<&Reason>,
        change: impl FnOnce(&mut Watched) -> Option<Change>,
    ) {
        let counts = |watched: &Watched| watched.target.kind() == Kind::Probe || watched.rounds == 0;
        let counts = self.borrow().watched.get(index as usize).is_some_and(counts);
        if self.event(reactor, index, reason, change) && counts {
            self.end_round(reactor, index);
        }
    }

    /// Counts a round of this target.
    fn end_round(&self, reactor: &mut Reactor, index: u32) {
        let mut shared = self.borrow();
        let rounds = shared.settings.rounds;
        let Some(watched) = shared.watched.get_mut(index as usize) else {
            return;
        };
        watched.rounds = watched.rounds.saturating_add(1);
        if Some(watched.rounds) == rounds {
            shared.unfinished = shared.unfinished.saturating_sub(1);
        }
        if shared.unfinished == 0 {
            self.call_finished(reactor, shared);
        }
    }

    /// Changes a target's state and reports that. Whether there was anything to change.
    fn event(
        &self,
        reactor: &mut Reactor,
        index: u32,
        reason: Option<&Reason>,
        change: impl FnOnce(&mut Watched) -> Option<Change>,
    ) -> bool {
        if self.is_done(index) {
            return false;
        }
        let mut guard = self.borrow();
        let shared = &mut *guard;
        let Some(watched) = shared.watched.get_mut(index as usize) else {
            return false;
        };
        let closed = watched.track.closed_at();
        let is_unknown = |track: &TargetTracker| matches!(track.state(), State::Unknown(Some(_)));
        let before = is_unknown(&watched.track);
        let Some(change) = change(watched) else {
            return false;
        };
        shared.warning.count(before, is_unknown(&watched.track));
        if shared.settings.every_result || change.is_news() {
            let mut wall = reactor.system_time();
            if let Some(closed) = closed
                && !change.is_up()
            {
                // It began when the connection was closed, and not when no other could be made.
                wall = wall.checked_sub(reactor.now() - closed).unwrap_or(wall);
            }
            let event = Event { wall, target: &watched.target, change, reason };
            if let Err(error) = shared.reporter.event(&event) {
                shared.error.get_or_insert(error);
                self.call_finished(reactor, guard);
            }
        }
        true
    }

    fn report(&self, reactor: &mut Reactor, last: bool) {
        let (now, wall) = (reactor.now(), reactor.system_time());
        let mut guard = self.borrow();
        let shared = &mut *guard;
        let rows = shared.watched.iter();
        let rows = rows.map(|watched| Row { target: &watched.target, track: &watched.track, now }).collect();
        if let Err(error) = shared.reporter.summary(&Summary { wall, rows, last }) {
            shared.error.get_or_insert(error);
            self.call_finished(reactor, guard);
        }
    }

    /// On a fresh stack, as every callback.
    fn call_finished(&self, reactor: &mut Reactor, mut shared: RefMut<'_, Shared>) {
        if let Some(finished) = shared.finished.take() {
            drop(shared);
            reactor.call_later(Duration::ZERO, finished);
        }
    }

    /// Whether nothing about this target matters any more.
    fn is_done(&self, index: u32) -> bool {
        let shared = self.borrow();
        let rounds = shared.watched.get(index as usize).map(|watched| watched.rounds);
        shared.stopped || rounds >= shared.settings.rounds.or(Some(u32::MAX))
    }

    fn targets(&self) -> u32 {
        u32::try_from(self.borrow().watched.len()).unwrap_or(u32::MAX)
    }

    /// Never borrowed twice: a reporter has no way back to its monitor, and callbacks do not nest.
    fn borrow(&self) -> RefMut<'_, Shared> {
        self.shared.borrow_mut()
    }
}

/// A held connection that lasted so long was a real one: the backoff starts anew after it. A server that
/// takes connections only to drop them is not hammered.
const SETTLED: Duration = Duration::from_secs(10);

/// When each target is looked at once, up to so many attempts are under way before the next waits. Of those that
/// answer fast, few are at any time.
const UNDER_WAY: usize = 32;
