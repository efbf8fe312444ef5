//! Random topologies, protocols that do anything, and any fault: the promises of a connection hold
//! for every seed.

mod errand;
mod ledger;
mod names;
mod post;
mod postman;
mod public;
mod scenario;
mod scribe;
mod wanderer;
mod wayward;

use crate::world::child::test_path;
use std::cell::RefCell;
use std::collections::BTreeMap;

use twistor::sim::{Exploration, Simulation};

type Acts = BTreeMap<&'static str, u64>;

/// Runs seeds, and counts the protocols' calls.
fn explore(seeds: std::ops::Range<u64>) -> (Exploration, Acts) {
    let acts = RefCell::new(Acts::new());
    let seen = Simulation::explore(seeds, |simulation| {
        let ledger = scenario::wander(simulation);
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
    let summary = || format!("{} seeds, {} turns\n{}", seen.seeds, seen.turns, seen.coverage);
    assert_eq!(seen.coverage.missing_faults(), [], "no seed had these faults: {}", summary());
    assert_eq!(seen.coverage.missing_calls(), [], "no seed made these calls: {}", summary());
    let mut public = public::calls();
    public.retain(|call| !acts.contains_key(call.as_str()) && !APART.contains(&call.as_str()));
    assert!(public.is_empty(), "no seed made these calls of the public interface: {public:#?}");
    let gone: Vec<_> = acts.keys().filter(|call| !public::calls().contains(**call)).collect();
    assert!(gone.is_empty(), "the public interface has no such calls: {gone:#?}");
}

/// Calls that no protocol of a simulation makes, because the simulation creates and turns the
/// reactors.
const APART: &[&str] = &[
    // Reactors on the real network, and turns.
    "Reactor::new",
    "Reactor::with_settings",
    "Reactor::run",
    "Reactor::iterate",
    // Threads of the process, with a reactor each, or beside the reactor.
    "RemoteHandle::blocking_call_from_thread",
    "run_on_cores",
    "run_on_cores_with",
    // Real descriptors.
    "Reactor::adopt_connection",
    "Reactor::adopt_datagram",
    "Reactor::adopt_listener",
    "Reactor::duplicate_listener",
    "Reactor::watch_fd",
    "Reactor::fd_transport",
    "Reactor::poll_fd",
    "FdTransport::detach",
    "FdTransport::fd",
    "FdTransport::id",
    "FdTransport::interest",
    "FdTransport::reactor",
    "FdTransport::schedule",
    "FdTransport::stop_watching",
    "DatagramTransport::duplicate",
    "Transport::receive_descriptors",
    "Transport::detach",
    "Transport::write_descriptors",
    // Child processes: the hosts of the soak have none.
    "ProcessTransport::call_later",
    "ProcessTransport::close_pipes",
    "ProcessTransport::close_stderr",
    "ProcessTransport::close_stdin",
    "ProcessTransport::close_stdout",
    "ProcessTransport::exit_reason",
    "ProcessTransport::id",
    "ProcessTransport::kill",
    "ProcessTransport::now",
    "ProcessTransport::pause_stderr",
    "ProcessTransport::pause_stdout",
    "ProcessTransport::pid",
    "ProcessTransport::reactor",
    "ProcessTransport::resize_terminal",
    "ProcessTransport::resume_stderr",
    "ProcessTransport::resume_stdout",
    "ProcessTransport::set_water_marks",
    "ProcessTransport::signal",
    "ProcessTransport::write_buffer_size",
    "ProcessTransport::write",
    "ProcessTransport::write_sequence",
    "ProcessTransport::writing_paused",
    "Reactor::process_transport",
    "Reactor::process_output",
    "Reactor::processes",
    "Reactor::spawn_process",
    "Reactor::with_process",
    // Standard streams belong to the process, and a host has none.
    "Reactor::standard_streams",
];

#[test]
fn the_same_seed_gives_the_same_trace_across_processes() {
    let hash = |seed| {
        let mut simulation = Simulation::new(seed);
        scenario::wander(&mut simulation);
        (simulation.trace_hash(), simulation.trace_length())
    };
    let hashes: Vec<String> = (0..8).map(|seed| format!("{:?}", hash(seed))).collect();
    let again: Vec<String> = (0..8).map(|seed| format!("{:?}", hash(seed))).collect();
    assert_eq!(hashes, again);
    assert!((1..8).all(|seed| hashes[seed] != hashes[0]), "another seed, another trace");
    const ANOTHER: &str = "TWISTOR_ANOTHER_PROCESS";
    if std::env::var_os(ANOTHER).is_some() {
        return println!("{hashes:?}");
    }
    // Another process has other addresses in memory, another environment and another working
    // directory.
    let name = test_path(the_same_seed_gives_the_same_trace_across_processes);
    let other = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", name, "--nocapture"])
        .env(ANOTHER, "with a value of some length that moves the stack")
        .current_dir("/")
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&other.stdout);
    assert!(text.contains(&format!("{hashes:?}")), "{hashes:?} here, there: {text}");
}

#[test]
#[ignore = "takes minutes: 10,000 seeds, or as many as TWISTOR_SEEDS says, from TWISTOR_FIRST on"]
fn every_promise_holds_under_chaos_for_many_seeds() {
    let number = |name| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let (first, count) = (number("TWISTOR_FIRST").unwrap_or(0), number("TWISTOR_SEEDS").unwrap_or(10_000));
    let (seen, _) = explore(first..first + count);
    println!("{} seeds, {} turns\n{}", seen.seeds, seen.turns, seen.coverage);
}
