//! The run of a simulation: the scheduler of turns, and of virtual time.

use std::cmp::Reverse;
use std::time::Duration;

use super::Simulation;
use super::standstill::{MAX_TURNS_AT_ONCE, Standstill};
use crate::reactor::NextTurn;
use crate::sim::Host;
use crate::sim::errors::{SimulationError, SimulationStep};
use crate::{Instant, unlogged};

impl Simulation {
    /// Gives one reactor a turn, or advances virtual time to the next event.
    ///
    /// # Errors
    /// [`SimulationError::Failed`], [`SimulationError::Panicked`], [`SimulationError::Livelock`].
    pub fn step(&mut self) -> Result<SimulationStep, SimulationError> {
        self.step_until(None)
    }

    /// Runs for a duration of virtual time. Time passes even when no work is left.
    ///
    /// # Errors
    /// Those of [`step`](Simulation::step).
    pub fn run_for(&mut self, time: Duration) -> Result<(), SimulationError> {
        // The caller's own calls in between do not count as a livelock.
        self.standstill = Standstill::default();
        let end = self.network.now() + time;
        while self.step_until(Some(end))? != SimulationStep::Nothing {}
        self.network.advance_to(end.nanoseconds());
        Ok(())
    }

    /// Runs until `done` returns true. It is called before each step.
    ///
    /// # Errors
    /// - [`SimulationError::Deadlock`] when no event is left.
    /// - [`SimulationError::TimedOut`] after a year.
    /// - Those of [`step`](Simulation::step).
    pub fn run_until(
        &mut self,
        mut done: impl FnMut(&mut Simulation) -> bool,
    ) -> Result<(), SimulationError> {
        let end = self.network.now() + MAX_RUN;
        while !done(self) {
            match self.step_until(Some(end))? {
                SimulationStep::Nothing if self.next().is_none() => {
                    return Err(SimulationError::Deadlock {
                        at: self.network.now(),
                        waiting: self.network.describe_waiting(),
                    });
                }
                SimulationStep::Nothing => return Err(SimulationError::TimedOut { at: end }),
                SimulationStep::Turn(_) | SimulationStep::Time(_) => {}
            }
        }
        Ok(())
    }

    /// Runs until no work is left: no packet in flight, no timer, no scripted action.
    ///
    /// # Errors
    /// - [`SimulationError::TimedOut`] when work is left after `limit` of virtual time.
    /// - Those of [`step`](Simulation::step).
    pub fn run_until_idle(&mut self, limit: Duration) -> Result<(), SimulationError> {
        let end = self.network.now() + limit;
        while self.step_until(Some(end))? != SimulationStep::Nothing {}
        match self.next() {
            None => Ok(()),
            Some(_) => Err(SimulationError::TimedOut { at: end }),
        }
    }

    /// The number of turns of all reactors.
    pub fn turns(&self) -> u64 {
        self.turns
    }

    /// The number of callbacks that panicked, on all reactors up to now.
    pub fn panics(&self) -> u64 {
        let running = self.machines.iter().filter_map(|machine| machine.reactor.as_ref());
        self.panics + running.map(|reactor| reactor.statistics().panics).sum::<u64>()
    }

    fn step_until(&mut self, end: Option<Instant>) -> Result<SimulationStep, SimulationError> {
        loop {
            self.run_script();
            if let Some(failed) = self.failed.take() {
                return Err(failed);
            }
            self.plan_touched();
            self.collect();
            if let Some(host) = self.next_host() {
                self.standstill.note_turn(host);
                if self.standstill.turns > MAX_TURNS_AT_ONCE {
                    let (at, turns) = (self.network.now(), self.standstill.turns);
                    let cause = self.standstill.cause(&self.network);
                    return Err(SimulationError::Livelock { at, turns, cause });
                }
                self.turn(host)?;
                return Ok(SimulationStep::Turn(host));
            }
            let Some(next) = self.next() else { return Ok(SimulationStep::Nothing) };
            if end.is_some_and(|end| next > end.nanoseconds()) {
                return Ok(SimulationStep::Nothing);
            }
            if next > self.network.now().nanoseconds() {
                self.standstill = Standstill::default();
                self.network.advance_to(next);
                self.collect();
                if self.runnable.is_empty() {
                    return Ok(SimulationStep::Time(Instant::from_nanoseconds(next)));
                }
            }
        }
    }

    /// The time of the next event in nanoseconds, of the network or of the script.
    fn next(&self) -> Option<u64> {
        let scripted = self.script.peek().map(|Reverse((at, _))| *at);
        [self.network.next(), scripted].into_iter().flatten().min()
    }

    /// Runs the scripted actions that are due.
    fn run_script(&mut self) {
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

    /// Marks the hosts of woken processes as runnable.
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

    /// Takes a runnable host, chosen by the seed.
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

    fn turn(&mut self, host: Host) -> Result<(), SimulationError> {
        self.turns += 1;
        let now = self.network.now().nanoseconds();
        let machine = &mut self.machines[host.index()];
        let process = machine.process;
        // `next_host` chooses only hosts with a reactor.
        let Some(reactor) = machine.reactor.as_mut() else { return Ok(()) };
        if machine.timer.is_some_and(|timer| timer <= now) {
            machine.timer = None;
        }
        let (running, log_lines) = unlogged::collect(|| reactor.iterate(Some(Duration::ZERO)));
        for line in log_lines {
            self.network.note_log_line(host, line);
        }
        let running = match running {
            Ok(running) => running,
            Err(error) => return Err(SimulationError::Failed { host: self.network.name(host), error }),
        };
        if let Some(text) = reactor.take_panic().filter(|_| !self.panics_allowed) {
            let at = self.network.now();
            return Err(SimulationError::Panicked { host: self.network.name(host), at, text });
        }
        let agenda = reactor.agenda();
        if !running || agenda == NextTurn::Finished {
            let ended = self.take_reactor(host);
            self.with_log(host, |_| drop(ended));
            return Ok(());
        }
        let busy_until = now.saturating_add(self.network.take_spent(process));
        let has_pending = self.network.has_pending(process);
        let next = match agenda {
            NextTurn::At(at) if !has_pending => Some(self.network.world_time(process, at).max(busy_until)),
            NextTurn::Idle if !has_pending => None,
            _ => Some(busy_until),
        };
        machine.busy_until = busy_until;
        if next.is_some_and(|next| next <= now) {
            match has_pending {
                true => self.standstill.by_network += 1,
                false => self.standstill.by_itself += 1,
            }
        }
        self.plan(host, next);
        Ok(())
    }

    /// Plans turns for the reactors that the caller has left work for. A reactor that was only
    /// inspected gets none: a condition that inspects it in each step would stop virtual time.
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
                // The cost of system calls is charged to a turn.
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

    /// Schedules the next turn of the host's reactor.
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

    /// Returns whether the host was not runnable before.
    pub(super) fn make_runnable(&mut self, host: Host) -> bool {
        let machine = self.machine(host);
        let first = !machine.runnable;
        if first {
            machine.runnable = true;
            self.runnable.push(host);
        }
        first
    }
}

/// Limit of [`run_until`](Simulation::run_until).
const MAX_RUN: Duration = Duration::from_secs(365 * 24 * 3600);
