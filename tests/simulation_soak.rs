//! Random topologies, protocols that do anything, and any fault: the promises of a connection hold for every seed.

mod soak {
    pub mod ledger;
    pub mod scenario;
    pub mod wanderer;
}

use std::cell::RefCell;
use std::collections::BTreeMap;

use twistor::sim::{Chaos, Exploration, FaultKind, Simulation};

type Acts = BTreeMap<&'static str, u64>;

/// Runs seeds, and counts what protocols did.
fn explore(seeds: std::ops::Range<u64>) -> (Exploration, Acts, usize) {
    let acts = RefCell::new(Acts::new());
    let lines = RefCell::new(0);
    let seen = Simulation::explore(seeds, |simulation| {
        let ledger = soak::scenario::wander(simulation);
        *lines.borrow_mut() += ledger.lines();
        for (name, count) in ledger.acted() {
            *acts.borrow_mut().entry(name).or_default() += count;
        }
    });
    (seen, acts.into_inner(), lines.into_inner())
}

#[test]
fn every_promise_holds_under_chaos() {
    let (seen, acts, lines) = explore(0..60);
    if seen.seeds == 1 {
        return;
    }
    println!("{} seeds, {lines} connections, {} turns\n{}{acts:#?}", seen.seeds, seen.turns, seen.coverage);
}
