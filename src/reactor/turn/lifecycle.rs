//! Starting and stopping: the phases of a reactor's life, triggers and signals.
//!
//! Startup and shutdown have three phases each. The triggers of a phase are called in the order in
//! which they were added. Triggers before the event can delay it, and the loop runs normally
//! meanwhile.

use crate::escape::Escaped;
use crate::reactor::connection::Pauses;
use std::cell::Cell;
use std::rc::Rc;

use crate::net::{Instant, Token, Watch};
use crate::reactor::registry::Source;
use crate::reactor::threads::Jobs;
use crate::reactor::timers::Timers;
use crate::reactor::turn::queues::Callback;
use crate::reactor::{CallbackKind, Error, Handle, Reactor, Reason, Result, Signal, TimedCall};

/// The phase of an event in which a trigger runs. (Twisted: `'before'`, `'during'`, `'after'`.)
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Before the event, which a trigger can delay. At shutdown connections are still open, so this
    /// is the phase for a graceful end.
    Before,
    /// During the event. At shutdown all connections are already lost.
    During,
    /// After everything else.
    After,
}

/// The event of a trigger.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SystemEvent {
    /// The reactor begins to run.
    Startup,
    /// The reactor was told to stop.
    Shutdown,
}

/// A guard that delays the event of a [`Phase::Before`] trigger until it is dropped. In other
/// phases it has no effect. (Twisted: the Deferred that a trigger returns.)
///
/// ```
/// use std::time::Duration;
/// use twistor::{Phase, Reactor, SystemEvent};
///
/// let mut reactor = Reactor::new()?;
/// reactor.add_system_event_trigger(Phase::Before, SystemEvent::Shutdown, |reactor, hold| {
///     reactor.call_later(Duration::from_millis(1), move |_| drop(hold));
/// });
/// reactor.call_when_running(|reactor| {
///     reactor.stop();
/// });
/// reactor.run()?;
/// # Ok::<(), twistor::Error>(())
/// ```
#[must_use = "dropping it lets the event go on"]
pub struct PhaseGuard {
    holds: Rc<Cell<usize>>,
}

impl PhaseGuard {
    fn of(holds: Rc<Cell<usize>>) -> PhaseGuard {
        holds.set(holds.get() + 1);
        PhaseGuard { holds }
    }
}

impl Drop for PhaseGuard {
    fn drop(&mut self) {
        self.holds.set(self.holds.get().saturating_sub(1));
    }
}

/// An identifier of a trigger.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TriggerId(u64);

type TriggerCall = Box<dyn FnOnce(&mut Reactor, PhaseGuard)>;

/// Triggers that have not run.
#[derive(Default)]
pub(crate) struct Triggers {
    waiting: Vec<(TriggerId, Phase, SystemEvent, TriggerCall)>,
    count: u64,
}

/// The life of a reactor: its state, triggers, guards and signals.
pub(in crate::reactor) struct Lifecycle {
    pub(in crate::reactor) state: RunState,
    /// A turn is running.
    pub(in crate::reactor) in_turn: bool,
    pub(in crate::reactor) triggers: Triggers,
    /// The number of [`PhaseGuard`]s alive.
    pub(in crate::reactor) guards: Rc<Cell<usize>>,
    pub(in crate::reactor) signal_handlers: Vec<(Signal, Option<SignalHandler>)>,
    /// SIGINT and SIGTERM stop the reactor.
    pub(in crate::reactor) stop_on_signals: bool,
    /// SIGINT or SIGTERM has arrived. The next one has its default action.
    pub(in crate::reactor) signalled: bool,
    /// The reactor ends without any callback.
    pub(in crate::reactor) killed: bool,
}

impl Default for Lifecycle {
    fn default() -> Lifecycle {
        Lifecycle {
            state: RunState::New,
            in_turn: false,
            triggers: Triggers::default(),
            guards: Rc::default(),
            signal_handlers: Vec::new(),
            stop_on_signals: false,
            signalled: false,
            killed: false,
        }
    }
}

pub(in crate::reactor) type SignalHandler = Box<dyn FnMut(&mut Reactor)>;

/// The state of a reactor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RunState {
    New,
    /// Triggers before the startup may delay it.
    Starting,
    Running,
    /// Told to stop. The shutdown begins with the next turn.
    StopAsked {
        graceful: bool,
    },
    /// Triggers before the shutdown may delay it.
    Stopping {
        graceful: bool,
    },
    /// Connections finish their work and close, at the latest until this time.
    Draining {
        until: Instant,
    },
    /// Connections are being lost. Nothing new can begin.
    Ending,
    Finished,
}

/// Limit on rounds of tasks and calls at the end. A clean-up can take this many consecutive steps.
const MAX_FINAL_ROUNDS: usize = 100;

impl Reactor {
    /// Calls `trigger` once, in the given phase of the event. (Twisted: `addSystemEventTrigger`.)
    #[doc(alias = "addSystemEventTrigger")]
    pub fn add_system_event_trigger(
        &mut self,
        phase: Phase,
        event: SystemEvent,
        trigger: impl FnOnce(&mut Reactor, PhaseGuard) + 'static,
    ) -> TriggerId {
        self.lifecycle.triggers.count += 1;
        let id = TriggerId(self.lifecycle.triggers.count);
        self.lifecycle.triggers.waiting.push((id, phase, event, Box::new(trigger)));
        id
    }

    /// Removes a trigger that has not run.
    ///
    /// # Errors
    /// [`Error::NoSuchTrigger`] when it has run or was removed.
    #[doc(alias = "removeSystemEventTrigger")]
    pub fn remove_system_event_trigger(&mut self, id: TriggerId) -> Result<()> {
        let waiting = &mut self.lifecycle.triggers.waiting;
        let found = waiting.iter().position(|(other, ..)| *other == id);
        found.map(|index| drop(waiting.remove(index))).ok_or(Error::NoSuchTrigger)
    }

    /// Calls `call` once the reactor runs. If it already runs, the call comes in one of its next
    /// turns. (Twisted: `callWhenRunning`, which then calls at once.)
    #[doc(alias = "callWhenRunning")]
    pub fn call_when_running(&mut self, call: impl FnOnce(&mut Reactor) + 'static) {
        if self.running() {
            self.queues.callbacks.push(Callback::Call(Box::new(call)));
        } else {
            self.add_system_event_trigger(Phase::After, SystemEvent::Startup, |reactor, _| call(reactor));
        }
    }

    /// Calls `handler` at each delivery of a signal. A handler for [`Signal::Interrupt`] or
    /// [`Signal::Terminate`] replaces the graceful stop.
    ///
    /// # Errors
    /// [`Error::System`] when the system does not allow the signal to be handled.
    #[doc(alias("add_signal_handler", "ctrl_c"))]
    pub fn on_signal(&mut self, signal: Signal, handler: impl FnMut(&mut Reactor) + 'static) -> Result<()> {
        self.lifecycle.signal_handlers.push((signal, Some(Box::new(handler))));
        self.watch_signals().inspect_err(|_| {
            // A later call for the signal must not bring this handler to life.
            self.lifecycle.signal_handlers.pop();
        })
    }

    /// Whether the reactor runs. True from the end of the triggers before the startup until
    /// connections are lost at the shutdown.
    #[doc(alias = "is_running")]
    pub fn running(&self) -> bool {
        match self.lifecycle.state {
            RunState::Running
            | RunState::StopAsked { .. }
            | RunState::Stopping { .. }
            | RunState::Draining { .. } => true,
            RunState::New | RunState::Starting | RunState::Ending | RunState::Finished => false,
        }
    }

    /// Asks the reactor to stop and returns at once.
    ///
    /// The shutdown begins with the next turn. Unsent data is lost; see
    /// [`stop_gracefully`](Reactor::stop_gracefully). Every connection receives `connection_lost`.
    /// Deferreds and tasks that this completes still run, then waiting tasks are dropped. Returns
    /// `false` when the reactor is not running or is already stopping. (Twisted raises
    /// `ReactorNotRunning` then.)
    #[doc(alias = "shutdown")]
    pub fn stop(&mut self) -> bool {
        self.ask_to_stop(false)
    }

    /// Asks the reactor to stop gracefully, as SIGINT and SIGTERM do.
    ///
    /// 1. The triggers before the shutdown run.
    /// 2. Listeners and datagram sockets are closed, connection attempts end, and child processes
    ///    are asked to end.
    /// 3. Each protocol's [`drain`](crate::Protocol::drain) is called once. By default it closes
    ///    the connection as `lose_connection` does.
    /// 4. The loop runs until all connections and processes have ended, and all operations on
    ///    [files](crate::files) are done, at most for
    ///    [`Settings::graceful_stop_timeout`](crate::reactor::Settings::graceful_stop_timeout).
    /// 5. The shutdown continues as that of [`stop`](Reactor::stop), which also explains the return
    ///    value. Connections that are still open are lost with [`Reason::Stopped`].
    #[doc(alias = "graceful_shutdown")]
    pub fn stop_gracefully(&mut self) -> bool {
        self.ask_to_stop(true)
    }

    fn ask_to_stop(&mut self, graceful: bool) -> bool {
        if self.lifecycle.state != RunState::Running {
            return false;
        }
        self.lifecycle.state = RunState::StopAsked { graceful };
        if let Some(handle) = self.handle.get() {
            handle.note_stop();
        }
        true
    }

    /// Wakes the tasks that await the stop. Connections stay open until these were polled.
    fn notify_stop(&mut self) {
        let Some(handle) = self.handle.get().cloned() else { return };
        handle.note_stop();
        let wakers = handle.take_stop_wakers();
        if !wakers.is_empty() && matches!(self.lifecycle.state, RunState::Stopping { .. }) {
            let hold = PhaseGuard::of(Rc::clone(&self.lifecycle.guards));
            // Tasks are polled just after this call.
            handle.call(move |_| drop(hold));
        }
        for (_, waker) in wakers {
            self.call(CallbackKind::Trigger, |_| waker.wake());
        }
    }

    /// Enters the next phase if possible. Returns `false` at the end. `also` polls work that runs
    /// along with tasks, such as the future of `block_on`, during the last phase.
    pub(in crate::reactor) fn advance_life(&mut self, also: &mut dyn FnMut(&mut Reactor)) -> bool {
        loop {
            match self.lifecycle.state {
                RunState::Running => return true,
                RunState::New => {
                    self.lifecycle.state = RunState::Starting;
                    self.fire(Phase::Before, SystemEvent::Startup);
                }
                RunState::Starting if self.lifecycle.guards.get() > 0 => return true,
                RunState::Starting => {
                    self.lifecycle.state = RunState::Running;
                    self.fire(Phase::During, SystemEvent::Startup);
                    self.fire(Phase::After, SystemEvent::Startup);
                    return true;
                }
                RunState::StopAsked { graceful } => {
                    self.lifecycle.state = RunState::Stopping { graceful };
                    self.fire(Phase::Before, SystemEvent::Shutdown);
                    self.notify_stop();
                }
                RunState::Stopping { .. } if self.lifecycle.guards.get() > 0 => return true,
                RunState::Stopping { graceful: true } => {
                    let until = self.now() + self.settings.graceful_stop_timeout;
                    self.lifecycle.state = RunState::Draining { until };
                    self.start_draining(until);
                }
                RunState::Draining { until } => {
                    // The deadline counts only after the poll has reported what arrived in time.
                    if self.drains() && self.reported_until() < until {
                        return true;
                    }
                    self.lifecycle.state = RunState::Ending;
                }
                RunState::Stopping { graceful: false } => self.lifecycle.state = RunState::Ending,
                RunState::Ending => {
                    // Tasks of a reactor that is dropped while it runs have not been notified yet.
                    self.notify_stop();
                    self.disconnect_all();
                    self.stop_files();
                    self.run_follow_ups(also);
                    self.fire(Phase::During, SystemEvent::Shutdown);
                    self.fire(Phase::After, SystemEvent::Shutdown);
                    self.run_follow_ups(also);
                    self.finish();
                }
                RunState::Finished => return false,
            }
        }
    }

    /// Whether the next turn can enter the next phase at once.
    pub(in crate::reactor) fn has_next_phase(&self) -> bool {
        match self.lifecycle.state {
            RunState::New | RunState::StopAsked { .. } | RunState::Ending => true,
            RunState::Starting | RunState::Stopping { .. } => self.lifecycle.guards.get() == 0,
            RunState::Draining { until } => !self.drains() || self.reported_until() >= until,
            RunState::Running | RunState::Finished => false,
        }
    }

    fn fire(&mut self, phase: Phase, event: SystemEvent) {
        // Searched anew each time: a trigger may add and remove others.
        while let Some(index) =
            self.lifecycle.triggers.waiting.iter().position(|(_, p, e, _)| (*p, *e) == (phase, event))
        {
            let (.., trigger) = self.lifecycle.triggers.waiting.remove(index);
            let holds = match phase {
                Phase::Before => Rc::clone(&self.lifecycle.guards),
                Phase::During | Phase::After => Rc::default(),
            };
            let hold = PhaseGuard::of(holds);
            self.call(CallbackKind::Trigger, |reactor| trigger(reactor, hold));
        }
    }

    fn start_draining(&mut self, until: Instant) {
        self.stop_listeners_and_connectors();
        for token in self.registry.tokens(|source| matches!(source, Source::Process(_))) {
            self.ask_process_to_end(token);
        }
        let is_own = |source: &Source| match source {
            Source::Connection(connection) => !connection.is_child_pipe(),
            _ => false,
        };
        for token in self.registry.tokens(is_own) {
            self.drain_connection(token);
        }
        self.timers.set(until, TimedCall::Look);
    }

    /// Asks the protocol of a connection to finish. A connection without one is closed.
    pub(in crate::reactor) fn drain_connection(&mut self, token: Token) {
        let connection = self.registry.connection(token);
        // `connection_made` of an adopted one may still be queued.
        let asked = connection.is_some_and(|connection| {
            let started = connection.is_made() && !connection.pauses.has(Pauses::NOT_STARTED);
            started && !connection.state.is_closing()
        });
        match asked {
            true => self.call_protocol(token, CallbackKind::Drain, |protocol, transport| {
                protocol.drain(transport);
            }),
            false => self.lose_connection(token, None),
        }
    }

    /// Stops what makes connections, and datagram sockets.
    fn stop_listeners_and_connectors(&mut self) {
        for token in self.registry.tokens(|source| matches!(source, Source::Listener(_))) {
            self.stop_listener(token);
        }
        for token in self.registry.tokens(|source| matches!(source, Source::Connector(_))) {
            self.disconnect_connector(token, &Reason::Stopped);
        }
        for token in self.registry.tokens(|source| matches!(source, Source::Datagram(_))) {
            self.stop_datagram(token, Reason::Stopped);
        }
    }

    /// Closes everything that is open or in progress, and delivers the losses.
    fn disconnect_all(&mut self) {
        self.stop_listeners_and_connectors();
        for token in self.registry.tokens(|source| matches!(source, Source::Process(_))) {
            self.stop_process(token);
        }
        for token in self.registry.tokens(|source| matches!(source, Source::Descriptor(_))) {
            self.stop_descriptor(token, Reason::Stopped);
        }
        for token in self.registry.tokens(|source| matches!(source, Source::Connection(_))) {
            self.end_lingering(token);
            self.queue_loss(token, Reason::Stopped);
        }
        // Nothing new can begin in `RunState::Ending`, so the queue becomes empty.
        while !self.queues.callbacks.is_empty() {
            self.run_callbacks();
        }
        // Connections whose loss was delivered just now.
        for token in self.registry.tokens(|source| matches!(source, Source::Connection(_))) {
            self.end_lingering(token);
        }
    }

    /// Runs the work that losses and triggers have caused: Deferreds, tasks, queued calls. The
    /// rounds are limited, because a task may queue work forever.
    fn run_follow_ups(&mut self, also: &mut dyn FnMut(&mut Reactor)) {
        for _ in 0..MAX_FINAL_ROUNDS {
            if !self.handle.get().is_some_and(Handle::has_work) && self.queues.callbacks.is_empty() {
                break;
            }
            self.run_handled();
            also(self);
            self.run_callbacks();
        }
    }

    fn finish(&mut self) {
        self.lifecycle.state = RunState::Finished;
        self.finish_handled();
        let calls = self.threads.inbox.close();
        self.drop_each(calls);
        let timers = std::mem::replace(&mut self.timers, Timers::new());
        self.drop_each(timers.into_calls());
        let jobs = std::mem::replace(&mut self.threads.jobs, Jobs::new());
        self.drop_each(jobs.into_results());
        let lookups = std::mem::take(&mut self.threads.lookups);
        self.drop_each(lookups.into_calls());
        let handlers = std::mem::take(&mut self.lifecycle.signal_handlers);
        self.drop_each(handlers);
        self.lifecycle.stop_on_signals = false;
        if let Err(error) = self.watch_signals() {
            log_warn!("cannot restore signal handling: {}", Escaped(error));
        }
    }

    /// Drops user values one by one. Each drop may panic, and two panics at once would abort the
    /// process.
    fn drop_each<T>(&mut self, leftovers: impl IntoIterator<Item = T>) {
        for leftover in leftovers {
            self.call(CallbackKind::Drop, |_| drop(leftover));
        }
    }

    pub(in crate::reactor) fn watch_signals(&mut self) -> Result<()> {
        let mut watched: Vec<Watch> = Vec::new();
        for (signal, _) in &self.lifecycle.signal_handlers {
            watched.push(Watch { signal: *signal, once: false });
        }
        if self.lifecycle.stop_on_signals {
            for signal in [Signal::Interrupt, Signal::Terminate] {
                watched.push(Watch { signal, once: true });
            }
        }
        // Sorts the user's handler first. It decides about a second delivery.
        watched.sort_by_key(|watch| (watch.signal, watch.once));
        watched.dedup_by_key(|watch| watch.signal);
        self.net.set_signals(&watched).map_err(|source| Error::System { call: "sigaction", source })
    }

    #[cold]
    pub(in crate::reactor) fn signal_came(&mut self, signal: Signal) {
        let mut handled = false;
        for index in 0..self.lifecycle.signal_handlers.len() {
            let Some((wanted, handler)) = self.lifecycle.signal_handlers.get_mut(index) else {
                break;
            };
            if *wanted != signal {
                continue;
            }
            handled = true;
            if let Some(mut handler) = handler.take() {
                self.call(CallbackKind::Signal, |reactor| handler(reactor));
                if let Some((_, slot)) = self.lifecycle.signal_handlers.get_mut(index) {
                    *slot = Some(handler);
                }
            }
        }
        if !handled && matches!(signal, Signal::Interrupt | Signal::Terminate) {
            log::info!("{signal}: stopping");
            self.lifecycle.signalled = true;
            if self.lifecycle.state == RunState::Starting {
                // A delayed startup must not delay the stop.
                self.lifecycle.guards = Rc::default();
                self.lifecycle.state = RunState::Running;
            }
            self.stop_gracefully();
        }
    }
}
