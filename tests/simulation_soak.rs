//! Random topologies, protocols that do anything, and any fault: the promises of a connection hold for every seed.

mod soak {
    pub mod ledger;
    pub mod scenario;
    pub mod wanderer;
}

use std::cell::RefCell;
use std::collections::BTreeMap;

use twistor::sim::{Exploration, Simulation};

type Acts = BTreeMap<&'static str, u64>;

/// Runs seeds, and counts what protocols did.
fn explore(seeds: std::ops::Range<u64>) -> (Exploration, Acts) {
    let acts = RefCell::new(Acts::new());
    let seen = Simulation::explore(seeds, |simulation| {
        let ledger = soak::scenario::wander(simulation);
        for (name, count) in ledger.acted() {
            *acts.borrow_mut().entry(name).or_default() += count;
        }
    });
    (seen, acts.into_inner())
}

#[test]
fn every_promise_holds_under_chaos() {
    let (seen, acts) = explore(0..60);
    if seen.seeds == 1 {
        return;
    }
    println!("{} seeds, {} turns\n{}{acts:#?}", seen.seeds, seen.turns, seen.coverage);
}

#[test]
#[ignore = "takes minutes: 10,000 seeds, or as many as TWISTOR_SEEDS says, from TWISTOR_FIRST on"]
fn every_promise_holds_under_chaos_for_many_seeds() {
    let number = |name| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let (first, count) = (number("TWISTOR_FIRST").unwrap_or(0), number("TWISTOR_SEEDS").unwrap_or(10_000));
    let (seen, _) = explore(first..first + count);
    println!("{} seeds, {} turns\n{}", seen.seeds, seen.turns, seen.coverage);
}
