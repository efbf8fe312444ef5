//! Reactors on a simulated network, and the scheduler of their turns.

mod run;
mod standstill;

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::ops::Deref;
use std::time::Duration;

use self::standstill::Standstill;
use super::chaos::ActiveChaos;
use crate::sim::errors::SimulationError;
use crate::sim::{FaultKind, Host, Network, Random, SimNet};
use crate::{Instant, Reactor, Settings, Signal, unlogged};

/// A simulated network with a reactor on each host, whose turns it schedules. (See the
/// [module](crate::sim) for an overview.)
///
/// It dereferences to its [`Network`].
pub struct Simulation {
    network: Network,
    /// Indexed by the host's number.
    machines: Vec<Machine>,
    /// The host of each running process, indexed by process number.
    owners: Vec<Option<Host>>,
    /// Hosts whose reactor has work now.
    runnable: Vec<Host>,
    /// Scripted actions as (time, number).
    script: BinaryHeap<Reverse<(u64, u64)>>,
    actions: BTreeMap<u64, Action>,
    scripted: u64,
    order: Random,
    awake: Vec<u32>,
    /// Hosts whose reactor the caller has borrowed since the last step.
    touched: Vec<Host>,
    turns: u64,
    /// Turns since virtual time last advanced.
    standstill: Standstill,
    panics: u64,
    pub(super) panics_allowed: bool,
    pub(super) active_chaos: Option<ActiveChaos>,
    pub(super) chaos_count: u64,
    /// The random stream of scripted faults.
    pub(super) fault_random: Option<Random>,
    /// The error of a scripted action; it ends the run.
    failed: Option<SimulationError>,
}

type Action = Box<dyn FnOnce(&mut Simulation)>;
type Boot = Box<dyn FnMut(&mut Reactor) -> crate::Result<()>>;

#[derive(Default)]
struct Machine {
    reactor: Option<Reactor>,
    process: u32,
    settings: Option<Settings>,
    boot: Option<Boot>,
    /// Called when a process of the host has ended.
    on_end: Option<Box<dyn FnMut(Host)>>,
    runnable: bool,
    touched: bool,
    paused: bool,
    /// The process has ended, and no other one was started.
    ended: bool,
    /// Signals that arrived while the process was paused.
    pending: Vec<Signal>,
    /// The time of the pending timer event.
    timer: Option<u64>,
    /// The end of the work of its last turn, in nanoseconds.
    busy_until: u64,
}

impl Deref for Simulation {
    type Target = Network;

    fn deref(&self) -> &Network {
        &self.network
    }
}

impl Simulation {
    /// Creates a simulation without hosts. The seed determines all randomness.
    pub fn new(seed: u64) -> Simulation {
        let network = Network::new(seed);
        let mut order = network.random("turns");
        // Half of the seeds report as little readiness as the contract allows, the others as much
        // as Linux.
        network.set_minimal_readiness(order.chance(0.5));
        // A separate stream, so that the other draws stay the same.
        network.shuffle_tasks(network.random("tasks or not").chance(0.5));
        Simulation {
            network,
            machines: Vec::new(),
            owners: Vec::new(),
            runnable: Vec::new(),
            script: BinaryHeap::new(),
            actions: BTreeMap::new(),
            scripted: 0,
            order,
            awake: Vec::new(),
            touched: Vec::new(),
            turns: 0,
            standstill: Standstill::default(),
            panics: 0,
            panics_allowed: false,
            active_chaos: None,
            chaos_count: 0,
            fault_random: None,
            failed: None,
        }
    }

    /// Returns a handle to the network, for callbacks and conditions.
    pub fn network(&self) -> Network {
        self.network.clone()
    }

    // -- hosts and their reactors --

    /// Returns the host's reactor. The first call creates it with the settings of
    /// [`set_settings`](Simulation::set_settings). It runs like the reactor of a program: with
    /// [`Settings::handle_signals`], the default, SIGINT and SIGTERM stop it gracefully.
    ///
    /// This call alone causes no turn of the reactor; work that the caller leaves does. A condition
    /// of [`run_until`](Simulation::run_until) can therefore inspect it without stopping virtual
    /// time.
    ///
    /// # Panics
    /// When the host has no reactor, because its process was killed, crashed or stopped by itself.
    /// [`restart`](Simulation::restart) or [`boot`](Simulation::boot) starts a new one. Until then
    /// [`reactor_ref`](Simulation::reactor_ref) returns `None`.
    #[track_caller]
    pub fn reactor(&mut self, host: Host) -> &mut Reactor {
        let is_up = self.network.is_up(host);
        assert!(is_up, "host {} has crashed: call `restart` first", self.network.name(host));
        let ended = self.machine(host).ended;
        assert!(
            !ended,
            "the process of {} has ended: call `restart` or `boot` first",
            self.network.name(host)
        );
        self.make_reactor(host);
        self.touch(host);
        let machine = self.machine(host);
        // Created above.
        let reactor = machine.reactor.as_mut().unwrap_or_else(|| unreachable!());
        reactor.update_time();
        reactor
    }

    /// Returns the host's reactor for inspection. `None` before it is created, and after it was
    /// killed, crashed or stopped by itself, until the host is [restarted](Simulation::restart).
    pub fn reactor_ref(&self, host: Host) -> Option<&Reactor> {
        let reactor = self.machines.get(host.index())?.reactor.as_ref()?;
        reactor.update_time();
        Some(reactor)
    }

    /// Sets the settings of the host's next reactor.
    pub fn set_settings(&mut self, host: Host, settings: Settings) {
        self.machine(host).settings = Some(settings);
    }

    /// Runs `boot` now, and again each time the host restarts. If the host's process has ended, a
    /// new one starts.
    ///
    /// # Panics
    /// When the host has crashed.
    ///
    /// # Errors
    /// The error that `boot` returns now. A later error ends the run with
    /// [`SimulationError::Failed`].
    pub fn boot(
        &mut self,
        host: Host,
        mut boot: impl FnMut(&mut Reactor) -> crate::Result<()> + 'static,
    ) -> crate::Result<()> {
        self.machine(host).ended = false;
        self.with_log(host, |simulation| boot(simulation.reactor(host)))?;
        self.machine(host).boot = Some(Box::new(boot));
        Ok(())
    }

    /// Calls `callback` each time a process of the host has ended: killed, crashed, or stopped by
    /// itself.
    pub fn on_end(&mut self, host: Host, callback: impl FnMut(Host) + 'static) {
        self.machine(host).on_end = Some(Box::new(callback));
    }

    /// Kills the host's process without warning (SIGKILL). No further callback of it runs. The
    /// kernel closes its sockets: peers see the end of the stream, or a reset where data was
    /// unread.
    pub fn kill(&mut self, host: Host) {
        let process = self.machine(host).process;
        if let Some(reactor) = self.take_reactor(host) {
            self.network.kill_process(process);
            self.network.note_fault(FaultKind::Kill, host);
            self.with_log(host, |_| reactor.kill());
        }
    }

    /// Cuts the host's power. No further callback of it runs, and no packet reports the loss to its
    /// peers. Their connections are half open until they send data or keep-alive probes.
    pub fn crash(&mut self, host: Host) {
        self.network.power_off(host);
        if let Some(reactor) = self.take_reactor(host) {
            self.with_log(host, |_| reactor.kill());
        }
    }

    /// Restarts and boots a host whose process was killed, crashed or stopped. A running process is
    /// killed first. Without a [`boot`](Simulation::boot), the next call of
    /// [`reactor`](Simulation::reactor) creates a new reactor.
    ///
    /// # Errors
    /// The error that its [`boot`](Simulation::boot) returns.
    pub fn restart(&mut self, host: Host) -> crate::Result<()> {
        self.kill(host);
        self.network.power_on(host);
        self.machine(host).ended = false;
        self.network.note_fault(FaultKind::Restart, host);
        let Some(mut boot) = self.machine(host).boot.take() else { return Ok(()) };
        let booted = self.with_log(host, |simulation| boot(simulation.reactor(host)));
        self.machine(host).boot = Some(boot);
        booted
    }

    /// Like [`restart`](Simulation::restart), but an error ends the run.
    pub(super) fn restart_or_fail(&mut self, host: Host) {
        if let Err(error) = self.restart(host) {
            self.failed = Some(SimulationError::Failed { host: self.network.name(host), error });
        }
    }

    /// Pauses the host's process (SIGSTOP). Its kernel continues to receive.
    pub fn pause(&mut self, host: Host) {
        self.network.note_fault(FaultKind::Pause, host);
        self.machine(host).paused = true;
    }

    /// Resumes the host's process (SIGCONT). Signals that were sent meanwhile are delivered.
    pub fn resume(&mut self, host: Host) {
        self.machine(host).paused = false;
        for signal in std::mem::take(&mut self.machine(host).pending) {
            self.signal(host, signal);
        }
        self.make_runnable(host);
    }

    /// Sends a signal to the host's process, as `kill` does. Handlers of [`Reactor::on_signal`]
    /// run. Signals without a handler have these effects:
    ///
    /// - SIGINT, SIGTERM: the first one stops the reactor [gracefully](Reactor::stop_gracefully),
    ///   if [`Settings::handle_signals`] is on (the default). The second one kills the process at
    ///   once.
    /// - SIGTSTP [pauses](Simulation::pause) the process.
    /// - SIGWINCH and SIGCHLD are ignored.
    /// - The others kill the process.
    ///
    /// SIGCONT [resumes](Simulation::resume) a paused process, with or without a handler. The
    /// process then receives its pending signals, each of them once.
    ///
    /// ```
    /// use std::time::Duration;
    /// use twistor::sim::Simulation;
    /// use twistor::{Phase, Signal, SystemEvent};
    ///
    /// let mut simulation = Simulation::new(1);
    /// let host = simulation.host("server");
    /// let reactor = simulation.reactor(host);
    /// reactor.add_system_event_trigger(Phase::Before, SystemEvent::Shutdown, |reactor, hold| {
    ///     reactor.call_later(Duration::from_secs(1), move |_| drop(hold));
    /// });
    /// simulation.run_for(Duration::from_secs(1))?;
    /// simulation.signal(host, Signal::Terminate);
    /// simulation.run_until(|simulation| simulation.reactor_ref(host).is_none())?;
    /// assert_eq!(simulation.now().since_origin(), Duration::from_secs(2));
    /// # Ok::<(), twistor::sim::SimulationError>(())
    /// ```
    pub fn signal(&mut self, host: Host, signal: Signal) {
        let machine = self.machine(host);
        if signal == Signal::Continue && machine.paused {
            machine.pending.retain(|signal| *signal != Signal::Suspend);
            self.resume(host);
        } else if machine.paused {
            if !machine.pending.contains(&signal) {
                machine.pending.push(signal);
            }
            return;
        }
        if self.network.signal(host, signal) {
            return;
        }
        match signal {
            Signal::WindowChange | Signal::Child | Signal::Continue => {}
            Signal::Suspend if self.reactor_ref(host).is_none() => {}
            Signal::Suspend => self.pause(host),
            _ => self.kill(host),
        }
    }

    // -- scripts --

    /// Schedules an action at a virtual time; at once, if that time has passed. Actions of the same
    /// time run in the order in which they were scheduled, before all other events.
    pub fn at(&mut self, time: Duration, action: impl FnOnce(&mut Simulation) + 'static) {
        self.scripted += 1;
        let at = Instant::from_origin(time).nanoseconds();
        self.script.push(Reverse((at, self.scripted)));
        self.actions.insert(self.scripted, Box::new(action));
    }

    /// Schedules an action after a delay in virtual time.
    pub fn after(&mut self, delay: Duration, action: impl FnOnce(&mut Simulation) + 'static) {
        let at = self.network.now() + delay;
        self.at(at.since_origin(), action);
    }

    /// Runs code of the host. Lines that it logs without a logger go into the trace.
    fn with_log<R>(&mut self, host: Host, call: impl FnOnce(&mut Simulation) -> R) -> R {
        let (result, log_lines) = unlogged::collect(|| call(self));
        for line in log_lines {
            self.network.note_log_line(host, line);
        }
        result
    }

    /// The caller has borrowed the host's reactor. The next step plans the work left there.
    fn touch(&mut self, host: Host) {
        let machine = self.machine(host);
        if !machine.touched {
            machine.touched = true;
            self.touched.push(host);
        }
    }

    fn machine(&mut self, host: Host) -> &mut Machine {
        let index = host.index();
        if index >= self.machines.len() {
            self.machines.resize_with(index + 1, Machine::default);
        }
        &mut self.machines[index]
    }

    fn make_reactor(&mut self, host: Host) {
        if self.machine(host).reactor.is_some() {
            return;
        }
        let settings = self.machine(host).settings.clone().unwrap_or_default();
        let net = SimNet::scheduled(&self.network, host, settings.thread_limits());
        let process = net.process();
        let place = process as usize;
        self.owners.resize(self.owners.len().max(place + 1), None);
        self.owners[place] = Some(host);
        let machine = self.machine(host);
        machine.process = process;
        machine.timer = None;
        machine.busy_until = 0;
        let mut reactor = Reactor::on(Box::new(net), settings);
        // As `run` does at its start. A simulated kernel lets every signal be watched.
        let _ = reactor.watch_default_signals();
        machine.reactor = Some(reactor);
        self.make_runnable(host);
    }

    fn take_reactor(&mut self, host: Host) -> Option<Reactor> {
        let machine = self.machine(host);
        machine.paused = false;
        machine.pending.clear();
        let reactor = machine.reactor.take()?;
        machine.ended = true;
        let process = machine.process;
        self.panics += reactor.statistics().panics;
        if let Some(owner) = self.owners.get_mut(process as usize) {
            *owner = None;
        }
        if let Some(mut on_end) = self.machine(host).on_end.take() {
            on_end(host);
            self.machine(host).on_end = Some(on_end);
        }
        Some(reactor)
    }
}
