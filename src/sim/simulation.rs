//! Reactors on a simulated network, and who has the next turn.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};
use std::ops::Deref;
use std::time::Duration;

use super::chaos::ActiveChaos;
use crate::reactor::NextTurn;
use crate::sim::errors::{RunError, Step};
use crate::sim::{FaultKind, Host, Network, Random, SimNet};
use crate::{Instant, Reactor, Settings, Signal, unlogged};

/// A simulated network whose hosts have reactors that get their turns. (See the [module](crate::sim) for what it is about.)
///
/// It is a [`Network`] as well: everything that can be done to one can be done to it.
pub struct Simulation {
    network: Network,
    /// By the host's number.
    machines: Vec<Machine>,
    /// The host of each process that runs.
    owners: Vec<Option<Host>>,
    /// Hosts that have something to do now.
    runnable: Vec<Host>,
    /// What was scripted, by time and number.
    script: BinaryHeap<Reverse<(u64, u64)>>,
    actions: BTreeMap<u64, Action>,
    scripted: u64,
    order: Random,
    awake: Vec<u32>,
    /// Hosts whose reactor the caller has reached since the last step.
    touched: Vec<Host>,
    turns: u64,
    /// What happened since the time last moved.
    standstill: Standstill,
    panics: u64,
    pub(super) panics_allowed: bool,
    pub(super) reign: Option<ActiveChaos>,
    pub(super) reigns: u64,
    /// What scripted strikes draw from.
    pub(super) strikes: Option<Random>,
    /// What an action of the script could not do.
    failed: Option<RunError>,
}

type Action = Box<dyn FnOnce(&mut Simulation)>;
type Boot = Box<dyn FnMut(&mut Reactor) -> crate::Result<()>>;

#[derive(Default)]
struct Machine {
    reactor: Option<Reactor>,
    process: u32,
    settings: Option<Settings>,
    boot: Option<Boot>,
    /// Who hears that a process has ended.
    told: Option<Box<dyn FnMut(Host)>>,
    runnable: bool,
    touched: bool,
    paused: bool,
    /// Its process has ended, and no other one was begun.
    ended: bool,
    /// Signals that arrived while it was paused.
    pending: Vec<Signal>,
    /// The time of the event that will wake it for a timer.
    timer: Option<u64>,
    /// What it does takes until then.
    busy_until: u64,
}

impl Deref for Simulation {
    type Target = Network;

    fn deref(&self) -> &Network {
        &self.network
    }
}

impl Simulation {
    /// A simulation without hosts. The seed decides everything that chance would.
    pub fn new(seed: u64) -> Simulation {
        let network = Network::new(seed);
        let mut order = network.random("turns");
        // Half of the seeds tell as little as the contract allows, half as much as Linux does.
        network.set_minimal_readiness(order.chance(0.5));
        // A stream of its own.
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
            reign: None,
            reigns: 0,
            strikes: None,
            failed: None,
        }
    }

    /// A handle on the network, for callbacks and conditions.
    pub fn network(&self) -> Network {
        self.network.clone()
    }

    // -- hosts and their reactors --

    /// The host's reactor. The first call makes it, with the settings of [`set_settings`](Simulation::set_settings). It
    /// runs as a program's does: with [`Settings::handle_signals`], the default, SIGINT and SIGTERM stop it gracefully.
    ///
    /// The reactor has a turn if the caller leaves it something to do: a condition of
    /// [`run_until`](Simulation::run_until) can look at it, and time goes on.
    ///
    /// # Panics
    /// When there is no reactor: the host's process was killed, has crashed or has stopped by itself. A new one begins with
    /// [`restart`](Simulation::restart) or [`boot`](Simulation::boot); [`look`](Simulation::reactor_ref) returns `None` meanwhile.
    #[track_caller]
    pub fn reactor(&mut self, host: Host) -> &mut Reactor {
        let is_up = self.network.is_up(host);
        assert!(is_up, "{} has crashed: `restart` brings it back", self.network.name(host));
        let ended = self.machine(host).ended;
        assert!(
            !ended,
            "the process of {} has ended: `restart` or `boot` begins one",
            self.network.name(host)
        );
        self.make_reactor(host);
        self.touch(host);
        let machine = self.machine(host);
        // It was made above.
        let reactor = machine.reactor.as_mut().unwrap_or_else(|| unreachable!());
        reactor.forget_time();
        reactor
    }

    /// The host's reactor, to look at. `None` before it is made, and from its end (killed, crashed or stopped by itself) until
    /// the host is [restarted](Simulation::restart).
    pub fn reactor_ref(&self, host: Host) -> Option<&Reactor> {
        let reactor = self.machines.get(host.index())?.reactor.as_ref()?;
        reactor.forget_time();
        Some(reactor)
    }

    /// The settings of the host's next reactor.
    pub fn set_settings(&mut self, host: Host, settings: Settings) {
        self.machine(host).settings = Some(settings);
    }

    /// What runs on a host: at once, and again whenever the host comes back. If the host's process has ended, a new one begins.
    ///
    /// # Panics
    /// When the host has crashed.
    ///
    /// # Errors
    /// What `boot` returns now; later it ends the run with [`RunError::Failed`].
    pub fn boot(
        &mut self,
        host: Host,
        mut boot: impl FnMut(&mut Reactor) -> crate::Result<()> + 'static,
    ) -> crate::Result<()> {
        self.machine(host).ended = false;
        self.hearing(host, |simulation| boot(simulation.reactor(host)))?;
        self.machine(host).boot = Some(Box::new(boot));
        Ok(())
    }

    /// Calls `told` whenever a process of the host has ended: killed, crashed, or stopped by itself.
    pub fn on_end(&mut self, host: Host, told: impl FnMut(Host) + 'static) {
        self.machine(host).told = Some(Box::new(told));
    }

    /// The host's process ends without warning (SIGKILL): nothing of it is called any more. Its system closes what it
    /// had open: peers see the end, or a reset where something was unread.
    pub fn kill(&mut self, host: Host) {
        let process = self.machine(host).process;
        if let Some(reactor) = self.take_reactor(host) {
            self.network.kill_process(process);
            self.network.note_fault(FaultKind::Kill, host);
            self.hearing(host, |_| reactor.kill());
        }
    }

    /// The host loses its power: nothing of it is called any more, and its peers hear nothing. Their
    /// connections are half open until they send something, or ask.
    pub fn crash(&mut self, host: Host) {
        self.network.power_off(host);
        if let Some(reactor) = self.take_reactor(host) {
            self.hearing(host, |_| reactor.kill());
        }
    }

    /// A host whose process was killed, has crashed or has stopped comes back, and boots. (One that runs is killed first.)
    /// Without a [`boot`](Simulation::boot) the next [`reactor`](Simulation::reactor) is a new one.
    ///
    /// # Errors
    /// What its [`boot`](Simulation::boot) returns.
    pub fn restart(&mut self, host: Host) -> crate::Result<()> {
        self.kill(host);
        self.network.power_on(host);
        self.machine(host).ended = false;
        self.network.note_fault(FaultKind::Restart, host);
        let Some(mut boot) = self.machine(host).boot.take() else { return Ok(()) };
        let booted = self.hearing(host, |simulation| boot(simulation.reactor(host)));
        self.machine(host).boot = Some(boot);
        booted
    }

    /// As [`restart`](Simulation::restart); an error ends the run.
    pub(super) fn restart_or_fail(&mut self, host: Host) {
        if let Err(error) = self.restart(host) {
            self.failed = Some(RunError::Failed { host: self.network.name(host), error });
        }
    }

    /// The host's process stands still (SIGSTOP); its system goes on to take what comes.
    pub fn pause(&mut self, host: Host) {
        self.network.note_fault(FaultKind::Pause, host);
        self.machine(host).paused = true;
    }

    /// It goes on (SIGCONT). Signals that were sent meanwhile are delivered.
    pub fn resume(&mut self, host: Host) {
        self.machine(host).paused = false;
        for signal in std::mem::take(&mut self.machine(host).pending) {
            self.signal(host, signal);
        }
        self.make_runnable(host);
    }

    /// Sends the host's process a signal, as `kill` does. Handlers of [`Reactor::on_signal`] run. The first SIGINT or SIGTERM
    /// that has no handler stops the reactor [gracefully](Reactor::stop_gracefully), if its
    /// [`Settings::handle_signals`] is on, as by default; the second one kills the process at once. Other signals
    /// without a handler do what the system does by default: SIGTSTP [pauses](Simulation::pause) the process, SIGWINCH and
    /// SIGCHLD do nothing, the rest kill it. SIGCONT [resumes](Simulation::resume) a paused process, handler or not; it has its
    /// other signals then, each of them once.
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
    /// # Ok::<(), twistor::sim::RunError>(())
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

    /// Does something at a time of the world; at once, if it is over. Actions of the same time come in the order in which
    /// they were scripted, before anything else.
    pub fn at(&mut self, time: Duration, action: impl FnOnce(&mut Simulation) + 'static) {
        self.scripted += 1;
        let at = Instant::from_origin(time).nanoseconds();
        self.script.push(Reverse((at, self.scripted)));
        self.actions.insert(self.scripted, Box::new(action));
    }

    /// Does something after this much of the world's time.
    pub fn after(&mut self, delay: Duration, action: impl FnOnce(&mut Simulation) + 'static) {
        let at = self.network.now() + delay;
        self.at(at.since_origin(), action);
    }

    // -- the run --

    /// Gives one reactor a turn, or lets the time go on to the next thing that happens.
    ///
    /// # Errors
    /// [`RunError::Failed`], [`RunError::Livelock`].
    pub fn step(&mut self) -> Result<Step, RunError> {
        self.step_until(None)
    }

    /// Runs for so long in virtual time. When nothing is left to do the time passes all the same.
    ///
    /// # Errors
    /// [`RunError::Failed`], [`RunError::Livelock`].
    pub fn run_for(&mut self, time: Duration) -> Result<(), RunError> {
        // What the caller did in between is a new beginning.
        self.standstill = Standstill::default();
        let end = self.network.now() + time;
        while self.step_until(Some(end))? != Step::Nothing {}
        self.network.advance_to(end.nanoseconds());
        Ok(())
    }

    /// Runs until `done`, which is asked before each step.
    ///
    /// # Errors
    /// [`RunError::Deadlock`] when nothing can ever happen again; [`RunError::TimedOut`] after a year; those of
    /// [`step`](Simulation::step).
    pub fn run_until(&mut self, mut done: impl FnMut(&mut Simulation) -> bool) -> Result<(), RunError> {
        let end = self.network.now() + A_YEAR;
        while !done(self) {
            match self.step_until(Some(end))? {
                Step::Nothing if self.next().is_none() => {
                    return Err(RunError::Deadlock {
                        at: self.network.now(),
                        waiting: self.network.who_waits(),
                    });
                }
                Step::Nothing => return Err(RunError::TimedOut { at: end }),
                Step::Turn(_) | Step::Time(_) => {}
            }
        }
        Ok(())
    }

    /// Runs until nothing is left to do: no packet travels, no timer is set, nothing is scripted.
    ///
    /// # Errors
    /// [`RunError::TimedOut`] when after this much virtual time there still is something; those of [`step`](Simulation::step).
    pub fn run_until_idle(&mut self, limit: Duration) -> Result<(), RunError> {
        let end = self.network.now() + limit;
        while self.step_until(Some(end))? != Step::Nothing {}
        match self.next() {
            None => Ok(()),
            Some(_) => Err(RunError::TimedOut { at: end }),
        }
    }

    /// Turns that reactors have had.
    pub fn turns(&self) -> u64 {
        self.turns
    }

    /// Callbacks that panicked, of all reactors that there were.
    pub fn panics(&self) -> u64 {
        let running = self.machines.iter().filter_map(|machine| machine.reactor.as_ref());
        self.panics + running.map(|reactor| reactor.statistics().panics).sum::<u64>()
    }

    fn step_until(&mut self, end: Option<Instant>) -> Result<Step, RunError> {
        loop {
            self.act();
            if let Some(failed) = self.failed.take() {
                return Err(failed);
            }
            self.plan_touched();
            self.collect();
            if let Some(host) = self.next_host() {
                self.standstill.note_turn(host);
                if self.standstill.turns > MOST_TURNS_AT_ONCE {
                    let (at, turns) = (self.network.now(), self.standstill.turns);
                    let cause = self.standstill.cause(&self.network);
                    return Err(RunError::Livelock { at, turns, cause });
                }
                self.turn(host)?;
                return Ok(Step::Turn(host));
            }
            let Some(next) = self.next() else { return Ok(Step::Nothing) };
            if end.is_some_and(|end| next > end.nanoseconds()) {
                return Ok(Step::Nothing);
            }
            if next > self.network.now().nanoseconds() {
                self.standstill = Standstill::default();
                self.network.advance_to(next);
                self.collect();
                if self.runnable.is_empty() {
                    return Ok(Step::Time(Instant::from_nanoseconds(next)));
                }
            }
        }
    }

    /// When the next thing happens, in nanoseconds: in the network, or by the script.
    fn next(&self) -> Option<u64> {
        let scripted = self.script.peek().map(|Reverse((at, _))| *at);
        [self.network.next(), scripted].into_iter().flatten().min()
    }

    /// Does what was scripted for now.
    fn act(&mut self) {
        let now = self.network.now().nanoseconds();
        while let Some(Reverse((at, number))) = self.script.peek().copied() {
            if at > now {
                break;
            }
            self.script.pop();
            if let Some(action) = self.actions.remove(&number) {
                action(self);
            }
        }
    }

    /// Finds out who has something to do.
    fn collect(&mut self) {
        let mut awake = std::mem::take(&mut self.awake);
        self.network.catch_up(&mut awake);
        for process in awake.drain(..) {
            if let Some(host) = self.owners.get(process as usize).copied().flatten()
                && self.make_runnable(host)
            {
                self.standstill.by_network += 1;
            }
        }
        self.awake = awake;
    }

    /// One of those that have something to do, which the seed chooses.
    fn next_host(&mut self) -> Option<Host> {
        while !self.runnable.is_empty() {
            let chosen = self.order.index(self.runnable.len());
            let host = self.runnable.swap_remove(chosen);
            let now = self.network.now().nanoseconds();
            let machine = self.machine(host);
            machine.runnable = false;
            if machine.reactor.is_none() || machine.paused {
                continue;
            }
            let (process, busy_until) = (machine.process, machine.busy_until);
            if busy_until > now {
                machine.timer = Some(busy_until);
                self.network.set_timer(process, busy_until);
                continue;
            }
            return Some(host);
        }
        None
    }

    fn turn(&mut self, host: Host) -> Result<(), RunError> {
        self.turns += 1;
        let now = self.network.now().nanoseconds();
        let machine = &mut self.machines[host.index()];
        let process = machine.process;
        // `next_host` chooses only those that have one.
        let Some(reactor) = machine.reactor.as_mut() else { return Ok(()) };
        if machine.timer.is_some_and(|timer| timer <= now) {
            machine.timer = None;
        }
        let (goes_on, said) = unlogged::kept(|| reactor.iterate(Some(Duration::ZERO)));
        for line in said {
            self.network.note_said(host, line);
        }
        let goes_on = match goes_on {
            Ok(goes_on) => goes_on,
            Err(error) => return Err(RunError::Failed { host: self.network.name(host), error }),
        };
        if let Some(text) = reactor.take_panic().filter(|_| !self.panics_allowed) {
            let at = self.network.now();
            return Err(RunError::Panicked { host: self.network.name(host), at, text });
        }
        let agenda = reactor.agenda();
        if !goes_on || agenda == NextTurn::Finished {
            let ended = self.take_reactor(host);
            self.hearing(host, |_| drop(ended));
            return Ok(());
        }
        let busy_until = now.saturating_add(self.network.take_spent(process));
        let has_news = self.network.has_news(process);
        let next = match agenda {
            NextTurn::At(at) if !has_news => Some(self.network.world_time(process, at).max(busy_until)),
            NextTurn::Idle if !has_news => None,
            _ => Some(busy_until),
        };
        machine.busy_until = busy_until;
        if next.is_some_and(|next| next <= now) {
            match has_news {
                true => self.standstill.by_network += 1,
                false => self.standstill.by_itself += 1,
            }
        }
        self.plan(host, next);
        Ok(())
    }

    /// Does something that runs code of the host. What that says without a logger goes into the trace.
    fn hearing<R>(&mut self, host: Host, call: impl FnOnce(&mut Simulation) -> R) -> R {
        let (result, said) = unlogged::kept(|| call(self));
        for line in said {
            self.network.note_said(host, line);
        }
        result
    }

    /// The caller has the host's reactor: what it leaves to do is planned with the next step.
    fn touch(&mut self, host: Host) {
        let machine = self.machine(host);
        if !machine.touched {
            machine.touched = true;
            self.touched.push(host);
        }
    }

    /// Plans turns for reactors that the caller has left something to do. One that was only looked at has none, so that a
    /// condition which looks at it in each step does not stop the time.
    fn plan_touched(&mut self) {
        let mut touched = std::mem::take(&mut self.touched);
        for host in touched.drain(..) {
            let machine = &mut self.machines[host.index()];
            machine.touched = false;
            let Some(reactor) = &machine.reactor else { continue };
            let (agenda, process, busy_until) = (reactor.agenda(), machine.process, machine.busy_until);
            let now = self.network.now().nanoseconds();
            let next = match agenda {
                NextTurn::At(at) => Some(self.network.world_time(process, at).max(busy_until)),
                // Calls that take time have their cost in a turn.
                NextTurn::Idle if !self.network.has_spent(process) => None,
                _ => Some(now),
            };
            if next.is_some_and(|next| next <= now) {
                self.standstill.by_caller += 1;
            }
            self.plan(host, next);
        }
        self.touched = touched;
    }

    /// The host's reactor has something to do then.
    fn plan(&mut self, host: Host, next: Option<u64>) {
        let now = self.network.now().nanoseconds();
        let machine = self.machine(host);
        match next {
            Some(next) if next <= now => {
                self.make_runnable(host);
            }
            Some(next) if machine.timer.is_none_or(|timer| timer > next) => {
                machine.timer = Some(next);
                let process = machine.process;
                self.network.set_timer(process, next);
            }
            _ => {}
        }
    }

    /// Whether it was not already.
    fn make_runnable(&mut self, host: Host) -> bool {
        let machine = self.machine(host);
        let first = !machine.runnable;
        if first {
            machine.runnable = true;
            self.runnable.push(host);
        }
        first
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
        // As `run` begins. A simulated system lets every signal be watched.
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
        if let Some(mut told) = self.machine(host).told.take() {
            told(host);
            self.machine(host).told = Some(told);
        }
        Some(reactor)
    }
}

/// The network goes on: a reactor alone, which its owner turns, on a simulated network.
impl Network {
    /// A reactor on a host that the caller turns himself, or lets run: a poll that waits lets the world's time
    /// pass. With several of them, give turns to each. One that waits for something that can never happen fails with
    /// [`Error::System`](crate::Error::System), whose source says who waits for what.
    pub fn reactor(&self, host: Host, settings: Settings) -> Reactor {
        let net = SimNet::alone(self, host, settings.thread_limits());
        Reactor::on(Box::new(net), settings)
    }
}

/// What has happened since the time last moved: for the error of a run in which it does not.
#[derive(Default)]
struct Standstill {
    turns: u64,
    /// Turns that packets, threads or child processes led to.
    by_network: u64,
    /// Turns that the reactor's turn before led to.
    by_itself: u64,
    /// Turns that the caller led to, by what it did with a reactor.
    by_caller: u64,
    /// Hosts that have had the last turns.
    hosts: BTreeSet<Host>,
}

impl Standstill {
    fn note_turn(&mut self, host: Host) {
        self.turns += 1;
        if self.turns + LAST_TURNS > MOST_TURNS_AT_ONCE {
            self.hosts.insert(host);
        }
    }

    fn cause(&self, network: &Network) -> String {
        let names: Vec<String> = self.hosts.iter().map(|host| network.name(*host)).collect();
        let names = names.join(" and ");
        if self.by_caller >= self.by_network.max(self.by_itself) {
            format!(
                "each step finds new work for {names}, which the condition of the run or the caller begins"
            )
        } else if self.by_itself >= self.by_network {
            format!(
                "{names} always has something to do: a timed call without delay or a task that never waits"
            )
        } else {
            format!("what is sent to {names} takes no time: give the links a latency")
        }
    }
}

/// Turns whose hosts the error names.
const LAST_TURNS: u64 = 100;

/// So many turns without any time between them are a circle.
const MOST_TURNS_AT_ONCE: u64 = 1_000_000;

/// Nobody waits longer.
const A_YEAR: Duration = Duration::from_secs(365 * 24 * 3600);
