//! The detection of a livelock.

use std::collections::BTreeSet;

use crate::sim::{Host, Network};

/// Counts turns since virtual time last advanced, for
/// [`SimulationError::Livelock`](crate::sim::SimulationError::Livelock).
#[derive(Default)]
pub(super) struct Standstill {
    pub(super) turns: u64,
    /// Turns caused by packets, threads or child processes.
    pub(super) by_network: u64,
    /// Turns caused by the reactor's preceding turn.
    pub(super) by_itself: u64,
    /// Turns caused by the caller's use of a reactor.
    pub(super) by_caller: u64,
    /// Hosts of the last turns.
    hosts: BTreeSet<Host>,
}

impl Standstill {
    pub(super) fn note_turn(&mut self, host: Host) {
        self.turns += 1;
        if self.turns + LAST_TURNS > MAX_TURNS_AT_ONCE {
            self.hosts.insert(host);
        }
    }

    pub(super) fn cause(&self, network: &Network) -> String {
        let names: Vec<String> = self.hosts.iter().map(|host| network.name(*host)).collect();
        let names = names.join(" and ");
        if self.by_caller >= self.by_network.max(self.by_itself) {
            format!("each step finds new work for {names}, started by the condition or the caller")
        } else if self.by_itself >= self.by_network {
            format!("{names} is always busy: a timed call without delay, or a task that never waits")
        } else {
            format!("packets to {names} have no latency: set one on the links")
        }
    }
}

/// The number of last turns whose hosts the error names.
const LAST_TURNS: u64 = 100;

/// Limit of turns without an advance of virtual time; more are a livelock.
pub(super) const MAX_TURNS_AT_ONCE: u64 = 250_000;
