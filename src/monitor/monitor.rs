//! The monitor: all targets on one reactor, and the handling of their results.

use super::cause::DownCause;
use super::probe::Watch;
use super::reporter::{Event, Reporter, Row, Summary};
use super::settings::{MonitorSettings, liveness};
use super::target::{Options, PlannedTls, Target, TargetKind};
use super::tls_facts::TlsFacts;
use super::track::{Change, Retry, TargetState, TargetTracker};
use crate::report::rounds::Rounds;
use crate::report::schedule::FIRST_LOOK;
use crate::report::warning::WarningLog;
use crate::tls::{ClientOptions, TlsConfigError, TlsConnector, TlsError, TlsFactory};
use crate::{
    ClientFactory, ConnectTcp, ConnectUnix, ConnectorId, DelayedCall, Instant, LayerError, Reactor, Reason,
};
use std::cell::{RefCell, RefMut};
use std::collections::BTreeMap;
use std::io;
use std::rc::Rc;
use std::time::Duration;

/// A monitor that watches targets from a reactor and reports to a [`Reporter`].
///
/// A clone is another handle to the same monitor.
#[derive(Clone)]
pub struct Monitor {
    shared: Rc<RefCell<Shared>>,
}

struct Shared {
    settings: MonitorSettings,
    rounds: Rounds,
    watched: Vec<Watched>,
    reporter: Box<dyn Reporter>,
    /// Timer of the next round of the held targets.
    round: Option<DelayedCall>,
    /// Warnings about local trouble.
    warnings: WarningLog,
    /// Targets with equal options share a configuration of TLS.
    connectors: BTreeMap<ClientOptions, TlsConnector>,
}

/// A target with its state and connector. There may be ten thousand.
struct Watched {
    target: Target,
    track: TargetTracker,
    connector: Option<ConnectorId>,
    /// When the last attempt started.
    attempt: Instant,
    /// When the last connection was made.
    connected: Instant,
    /// Whether data was received on the last connection.
    has_data: bool,
    /// Failures since the last connection that lasted for [`SETTLED`].
    failures: u32,
    /// The TLS of the last connection.
    tls: Option<Box<WatchedTls>>,
}

/// The TLS of a target's last connection.
struct WatchedTls {
    facts: TlsFacts,
    /// Days left at the last warning about the certificate.
    warned: Option<i64>,
}

/// Whether a new connection stays open.
pub(super) enum Holds {
    No,
    Yes,
    /// It counts only when it has lasted, because the target closed the previous one, or several at
    /// once.
    IfItLasts,
}

impl Monitor {
    /// Starts a monitor. Nothing is connected before the reactor runs.
    pub fn start(
        reactor: &mut Reactor,
        targets: Vec<Target>,
        settings: MonitorSettings,
        reporter: impl Reporter,
    ) -> Monitor {
        let now = reactor.now();
        let new = |target| Watched {
            target,
            track: TargetTracker::new(),
            connector: None,
            attempt: now,
            connected: now,
            has_data: false,
            failures: 0,
            tls: None,
        };
        let shared = Shared {
            rounds: Rounds::new(now, settings.interval, targets.len(), settings.rounds),
            warnings: WarningLog::new(targets.len(), |warned| log_warn!("unknown targets: {warned}")),
            watched: targets.into_iter().map(new).collect(),
            reporter: Box::new(reporter),
            settings,
            round: None,
            connectors: BTreeMap::new(),
        };
        let monitor = Monitor { shared: Rc::new(RefCell::new(shared)) };
        let first = monitor.clone();
        reactor.call_later(Duration::ZERO, move |reactor| first.start_due(reactor, 0));
        monitor.set_round(reactor);
        monitor
    }

    /// Sets a callback for when every target has had its rounds, or when the reporter failed. It is
    /// called once.
    pub fn on_finished(&self, call: impl FnOnce(&mut Reactor) + 'static) {
        self.borrow().rounds.on_finished(call);
    }

    /// Reports a summary of all targets.
    pub fn summary(&self, reactor: &mut Reactor) {
        self.report(reactor, false);
    }

    /// Reports a last summary of all targets, and stops.
    pub fn finish(&self, reactor: &mut Reactor) {
        if !self.borrow().rounds.is_stopped() {
            self.report(reactor, true);
            self.stop(reactor);
        }
    }

    /// Stops watching: closes the connections and reports nothing more.
    pub fn stop(&self, reactor: &mut Reactor) {
        let mut shared = self.borrow();
        shared.rounds.stop();
        let (round, warnings) = (shared.round.take(), shared.warnings.clone());
        let connectors: Vec<_> =
            shared.watched.iter_mut().filter_map(|watched| watched.connector.take()).collect();
        drop(shared);
        if let Some(round) = round {
            // A timer that is just running cannot be cancelled; it does nothing after the stop.
            let _ = round.cancel(reactor);
        }
        warnings.flush(reactor);
        for id in connectors {
            if let Some(mut connector) = reactor.connector(id) {
                connector.disconnect();
            }
        }
    }

    /// Whether the last result of every target was a success.
    pub fn all_up(&self) -> bool {
        self.borrow().watched.iter().all(|watched| watched.track.state() == TargetState::Up)
    }

    /// Takes the error of the reporter, if it failed.
    pub fn take_error(&self) -> Option<io::Error> {
        self.borrow().rounds.take_error()
    }

    // -- called by probes --

    pub(super) fn attempt_started(&self, index: u32, now: Instant) {
        if let Some(watched) = self.borrow().watched.get_mut(index as usize) {
            watched.attempt = now;
        }
    }

    /// Notes that a connection was made. Returns whether it stays open.
    ///
    /// `took` is measured next to the system calls, without the name lookup, and with the TLS
    /// handshake.
    pub(super) fn connected(
        &self,
        reactor: &mut Reactor,
        index: u32,
        took: Option<Duration>,
        facts: Option<TlsFacts>,
    ) -> Holds {
        let now = reactor.now();
        let (mut held, mut lasts) = (false, true);
        self.result(reactor, index, None, |watched| {
            watched.connected = now;
            watched.has_data = false;
            if let Some(facts) = facts {
                let known = watched.tls.take().filter(|known| known.facts.not_after == facts.not_after);
                let warned = known.and_then(|known| known.warned);
                watched.tls = Some(Box::new(WatchedTls { facts, warned }));
            }
            held = watched.target.kind() == TargetKind::Hold;
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

    /// Notes that a connection has lasted long enough to count.
    pub(super) fn settled(&self, reactor: &mut Reactor, index: u32) {
        let now = reactor.now();
        self.event(reactor, index, None, |watched| watched.track.settled(now));
    }

    /// Notes that data was received on a connection.
    pub(super) fn data_received(&self, index: u32) {
        if let Some(watched) = self.borrow().watched.get_mut(index as usize) {
            watched.has_data = true;
        }
    }

    /// Notes that an attempt failed. Returns the delay before the next attempt, or `None` for no
    /// attempt.
    pub(super) fn failed(&self, reactor: &mut Reactor, index: u32, reason: &Reason) -> Option<Duration> {
        let now = reactor.now();
        let cause = DownCause::of(reason)?;
        if cause == DownCause::Local {
            self.result(reactor, index, Some(reason), |watched| {
                Some(watched.track.failed(now, cause, now - watched.attempt))
            });
            let warnings = self.borrow().warnings.clone();
            warnings.warn(reactor, reason);
        } else {
            self.event(reactor, index, Some(&Reason::Done), |watched| watched.track.close_stands(now));
            self.result(reactor, index, Some(reason), |watched| {
                Some(watched.track.failed(now, cause, now - watched.attempt))
            });
        }
        self.next(reactor, index)
    }

    /// Notes that a connection ended. Returns the delay before the next attempt, or `None` for no
    /// attempt.
    pub(super) fn lost(&self, reactor: &mut Reactor, index: u32, reason: &Reason) -> Option<Duration> {
        let now = reactor.now();
        let kind = self.borrow().watched.get(index as usize)?.target.kind();
        if kind == TargetKind::Probe {
            return self.next(reactor, index);
        }
        let cause = DownCause::of(reason)?;
        let mut retry = None;
        // The settle timer may be due in this turn, too, but timers run after the events of the
        // poll.
        self.event(reactor, index, None, |watched| match now - watched.connected >= TargetTracker::SHORT {
            true => watched.track.settled(now),
            false => None,
        });
        self.event(reactor, index, Some(reason), |watched| {
            let lasted = now - watched.connected;
            if lasted >= SETTLED {
                watched.failures = 0;
            }
            if !is_orderly(reason) {
                return Some(watched.track.lost(now, cause));
            }
            let (when, change) = watched.track.closed(now, lasted, !watched.has_data);
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

    // -- attempts and rounds --

    /// Connects to the due targets from `index` on, and sets a timer for the rest. A single timer
    /// serves all targets, so that a connector needs none before its first attempt.
    fn start_due(&self, reactor: &mut Reactor, index: u32) {
        if self.borrow().settings.rounds == Some(1) {
            return self.start_in_sequence(reactor, index);
        }
        let now = reactor.now();
        for next in index..self.targets() {
            let (delay, stopped) = {
                let rounds = &self.borrow().rounds;
                (rounds.until_first(next, now), rounds.is_stopped())
            };
            if stopped {
                return;
            }
            if !delay.is_zero() {
                let this = self.clone();
                reactor.call_later(delay, move |reactor| this.start_due(reactor, next));
                return;
            }
            self.connect(reactor, next);
        }
    }

    /// Connects to target `index` and schedules the next one. With few attempts in flight, the next
    /// attempt follows in the next turn, which lets a fast answer arrive before it. Otherwise it
    /// follows after a delay.
    fn start_in_sequence(&self, reactor: &mut Reactor, index: u32) {
        if index >= self.targets() || self.borrow().rounds.is_stopped() {
            return;
        }
        self.connect(reactor, index);
        let next = index + 1;
        let in_flight = (next as usize).saturating_sub(self.borrow().rounds.finished());
        let delay = if in_flight < MAX_IN_FLIGHT { Duration::ZERO } else { FIRST_LOOK };
        let this = self.clone();
        reactor.call_later(delay, move |reactor| this.start_in_sequence(reactor, next));
    }

    fn connect(&self, reactor: &mut Reactor, index: u32) {
        let shared = self.borrow();
        let Some(watched) = shared.watched.get(index as usize).filter(|_| !shared.rounds.is_stopped()) else {
            return;
        };
        let Ok(plan) = watched.target.connect_plan() else {
            return;
        };
        let held = watched.target.kind() == TargetKind::Hold;
        let timeout = shared.settings.timeout;
        let liveness = shared.settings.lost_after.filter(|_| held).map(liveness);
        drop(shared);
        let options = match plan.options {
            Options::Tcp(options) => {
                let options = ConnectTcp {
                    timeout: if plan.has_timeout { options.timeout } else { timeout },
                    // The monitor never writes.
                    nodelay: false,
                    keepalive: match plan.has_keepalive {
                        true => options.keepalive,
                        false => liveness.map(|(idle, _)| idle),
                    },
                    // With a keepalive of the endpoint's own, a shorter limit would end the
                    // connection after one probe.
                    user_timeout: match plan.has_user_timeout || plan.has_keepalive {
                        true => options.user_timeout,
                        false => liveness.and_then(|(_, limit)| limit),
                    },
                    ..options
                };
                Options::Tcp(options)
            }
            Options::Unix(options) => {
                let timeout = if plan.has_timeout { options.timeout } else { timeout };
                Options::Unix(ConnectUnix { timeout, ..options })
            }
        };
        let watch = Watch { monitor: self.clone(), index };
        let connector = match plan.tls {
            None => connect_with(reactor, options, watch),
            Some(tls) => match self.secured(reactor, watch, &tls) {
                Ok(factory) => connect_with(reactor, options, factory),
                Err(error) => return self.cannot_start(reactor, index, error),
            },
        };
        if let Some(watched) = self.borrow().watched.get_mut(index as usize) {
            // The address was checked when it was parsed, so the only error left is a reactor that
            // stops.
            watched.connector = connector.ok();
        }
    }

    /// Adds TLS to the connections of a target.
    fn secured(
        &self,
        reactor: &mut Reactor,
        watch: Watch,
        tls: &PlannedTls,
    ) -> Result<TlsFactory<Watch>, TlsConfigError> {
        let known = self.borrow().connectors.get(&tls.options).cloned();
        let connector = match known {
            Some(connector) => connector,
            None => {
                // A resumed session would show an old certificate.
                let connector = tls.options.connector_of(reactor, |options| options.max_sessions = 0)?;
                self.borrow().connectors.insert(tls.options.clone(), connector.clone());
                connector
            }
        };
        connector.factory(watch, &tls.server_name)
    }

    /// Notes that TLS cannot be set up here, and tries again later: a file may come back.
    fn cannot_start(&self, reactor: &mut Reactor, index: u32, error: TlsConfigError) {
        let now = reactor.now();
        self.attempt_started(index, now);
        let reason = Reason::Layer(LayerError::new("TLS", error));
        if let Some(delay) = self.failed(reactor, index, &reason) {
            let this = self.clone();
            reactor.call_later(delay, move |reactor| this.connect(reactor, index));
        }
    }

    /// Returns the delay before the next attempt: a probe waits for its next slot, a held
    /// connection for its backoff.
    fn next(&self, reactor: &mut Reactor, index: u32) -> Option<Duration> {
        if self.is_done(index) {
            return None;
        }
        let (now, random) = (reactor.now(), reactor.random());
        let mut shared = self.borrow();
        let shared = &mut *shared;
        let watched = shared.watched.get_mut(index as usize)?;
        Some(match watched.target.kind() {
            TargetKind::Probe => shared.rounds.until_next(index, watched.attempt, now),
            TargetKind::Hold => {
                let failures = watched.failures;
                watched.failures = failures.saturating_add(1);
                shared.settings.backoff.delay(failures, random)
            }
        })
    }

    /// Sets a timer for the next round of the held targets, if there are any. It is due at a
    /// multiple of the interval from the start, so that rounds do not drift.
    fn set_round(&self, reactor: &mut Reactor) {
        let mut shared = self.borrow();
        if shared.watched.iter().all(|watched| watched.target.kind() == TargetKind::Probe) {
            return;
        }
        let delay = shared.rounds.until_interval_end(reactor.now());
        let this = self.clone();
        shared.round = Some(reactor.call_later(delay, move |reactor| this.round(reactor)));
    }

    /// Ends a round of the held targets.
    fn round(&self, reactor: &mut Reactor) {
        let now = reactor.now();
        for index in 0..self.targets() {
            let held = self.event(reactor, index, None, |watched| match watched.target.kind() {
                TargetKind::Hold => watched.track.round(now),
                TargetKind::Probe => None,
            });
            if held {
                self.warn_of_expiry(reactor, index);
                self.borrow().rounds.end_round(reactor, index);
            }
            let connector = match self.is_done(index) {
                true => self.borrow().watched.get_mut(index as usize).and_then(|watched| watched.connector),
                false => None,
            };
            if let Some(mut connector) = connector.and_then(|id| reactor.connector(id)) {
                connector.disconnect();
            }
        }
        if !self.borrow().rounds.is_stopped() {
            self.set_round(reactor);
        }
    }

    /// Reports an event that also ends a round of its target. For a held target only its first
    /// result does; later rounds are intervals.
    fn result(
        &self,
        reactor: &mut Reactor,
        index: u32,
        reason: Option<&Reason>,
        change: impl FnOnce(&mut Watched) -> Option<Change>,
    ) {
        let counts = {
            let shared = self.borrow();
            let watched = shared.watched.get(index as usize);
            watched.is_some_and(|watched| {
                watched.target.kind() == TargetKind::Probe || shared.rounds.count(index) == 0
            })
        };
        let is_changed = self.event(reactor, index, reason, change);
        if is_changed {
            self.warn_of_expiry(reactor, index);
        }
        if is_changed && counts {
            self.borrow().rounds.end_round(reactor, index);
        }
    }

    /// Reports that the certificate of a target that is up expires soon, at most once a day.
    fn warn_of_expiry(&self, reactor: &mut Reactor, index: u32) {
        let Some(limit) = self.borrow().settings.certificate_warning else { return };
        let wall = reactor.system_time();
        self.event(reactor, index, None, |watched| {
            let is_up = watched.track.state() == TargetState::Up;
            let tls = watched.tls.as_mut().filter(|_| is_up)?;
            let (not_after, days) = (tls.facts.not_after?, tls.facts.days_left(wall)?);
            let is_soon = not_after.duration_since(wall).unwrap_or_default() < limit;
            if !is_soon || tls.warned.is_some_and(|warned| warned <= days) {
                return None;
            }
            tls.warned = Some(days);
            Some(Change::CertificateExpires { days, not_after })
        });
    }

    /// Changes a target's state and reports the change. Returns whether there was one.
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
        let is_unknown = |track: &TargetTracker| matches!(track.state(), TargetState::Unknown(Some(_)));
        let before = is_unknown(&watched.track);
        let Some(change) = change(watched) else {
            return false;
        };
        shared.warnings.count(before, is_unknown(&watched.track));
        if shared.settings.every_result || change.is_news() {
            let mut wall = reactor.system_time();
            if let Some(closed) = closed
                && !change.is_up()
            {
                // The outage began with the close, not with the failed attempt.
                wall = wall.checked_sub(reactor.now() - closed).unwrap_or(wall);
            }
            let tls = watched.tls.as_ref().map(|tls| tls.facts);
            let event = Event { wall, target: &watched.target, change, reason, tls };
            shared.rounds.reported(reactor, shared.reporter.event(&event));
        }
        true
    }

    fn report(&self, reactor: &mut Reactor, last: bool) {
        let (now, wall) = (reactor.now(), reactor.system_time());
        let mut guard = self.borrow();
        let shared = &mut *guard;
        let rows = shared.watched.iter();
        let rows = rows.map(|watched| Row {
            target: &watched.target,
            track: &watched.track,
            tls: watched.tls.as_ref().map(|tls| tls.facts),
            now,
        });
        let rows = rows.collect();
        shared.rounds.reported(reactor, shared.reporter.summary(&Summary { wall, rows, last }));
    }

    /// Whether no more results of this target are needed.
    fn is_done(&self, index: u32) -> bool {
        self.borrow().rounds.is_done(index)
    }

    fn targets(&self) -> u32 {
        self.borrow().rounds.targets()
    }

    /// Never borrowed twice: a reporter cannot reach its monitor, and callbacks do not nest.
    fn borrow(&self) -> RefMut<'_, Shared> {
        self.shared.borrow_mut()
    }
}

fn connect_with(
    reactor: &mut Reactor,
    options: Options,
    factory: impl ClientFactory,
) -> crate::Result<ConnectorId> {
    match options {
        Options::Tcp(options) => reactor.connect_tcp(options, factory),
        Options::Unix(options) => reactor.connect_unix(options, factory),
    }
}

/// Whether the peer has closed the connection without an error. Many TLS servers end idle
/// connections without a `close_notify`; no data was expected that could be cut off.
fn is_orderly(reason: &Reason) -> bool {
    *reason == Reason::Done || matches!(TlsError::of(reason), Some(TlsError::Truncated))
}

/// Minimum life of a held connection after which the backoff restarts. A server that accepts
/// connections only to drop them is not hammered.
const SETTLED: Duration = Duration::from_secs(10);

/// Maximum number of attempts in flight before the next one is delayed, when each target is checked
/// once. Fast answers keep the number low.
const MAX_IN_FLIGHT: usize = 32;
