//! A process service keeps its process running by its rules, and stops it, by force after a while.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use crate::world::{Record, on_the_real_network};
use twistor::service::{Backoff, MultiService, ProcessService, Restart, Service, StopToken};
use twistor::sim::{Host, SimProgram, Simulation};
use twistor::{ExitReason, ProcessProtocol, ProcessTransport, Signal, SpawnProcess};

struct Noting(Record);

impl ProcessProtocol for Noting {
    fn process_started(&mut self, _: &mut ProcessTransport<'_>) {
        self.0.add("started");
    }

    fn out_received(&mut self, _: &mut ProcessTransport<'_>, data: &[u8]) {
        self.0.add(format!("out {}", data.escape_ascii()));
    }

    fn process_ended(&mut self, _: &mut ProcessTransport<'_>, reason: &ExitReason) {
        self.0.add(reason.to_string());
    }
}

/// One second after no failure, then 2, 4, 8 and so on.
fn doubling() -> Backoff {
    Backoff { factor: 2.0, jitter: 0.0, ..Backoff::default() }
}

/// A host with a program `worker`, and a service for it.
fn worker(write: impl FnMut(&mut SimProgram) + 'static) -> (Simulation, Host, ProcessService, Record) {
    let simulation = Simulation::new(7);
    let host = simulation.host("host");
    let mut write = write;
    simulation.program(host, "worker", move |script, _| write(script));
    let record = Record::new();
    let notes = record.clone();
    let command = SpawnProcess::new("worker", [""; 0]);
    let service = ProcessService::new(command, move || Noting(notes.clone())).retry(doubling());
    (simulation, host, service, record)
}

fn start(simulation: &mut Simulation, host: Host, service: &ProcessService) {
    service.clone().start(simulation.reactor(host)).unwrap();
}

fn stop(simulation: &mut Simulation, host: Host, service: &ProcessService) -> Rc<Cell<bool>> {
    let told = Rc::new(Cell::new(false));
    let tells = Rc::clone(&told);
    let reactor = simulation.reactor(host);
    let stopped = StopToken::new(reactor, move |_| tells.set(true));
    service.clone().stop(reactor, stopped);
    told
}

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

#[test]
fn short_runs_are_started_again_with_growing_delays() {
    let (mut simulation, host, service, _) = worker(|script| {
        script.exit(1);
    });
    start(&mut simulation, host, &service);
    // Starts after 0, 2, 6 and 14 s.
    for (after, runs) in [(1, 1), (2, 2), (2, 2), (2, 3), (6, 3), (2, 4)] {
        simulation.run_for(seconds(after)).unwrap();
        assert_eq!(service.runs(), runs);
    }
    assert!(service.process().is_none());
    let told = stop(&mut simulation, host, &service);
    simulation.run_for(seconds(100)).unwrap();
    assert!(told.get());
    assert_eq!((service.runs(), simulation.reactor(host).resource_count()), (4, 0));
}

#[test]
fn a_long_run_resets_the_delay() {
    let lengths = Rc::new(RefCell::new(vec![0, 0, 0, 10, 1000]));
    let (mut simulation, host, service, record) = worker(move |script| {
        script.sleep(seconds(lengths.borrow_mut().remove(0))).exit(0);
    });
    start(&mut simulation, host, &service);
    simulation.run_for(seconds(25) - Duration::from_millis(100)).unwrap();
    // After three failures at 14 s, a run of 10 s.
    assert_eq!((service.runs(), record.count("exited")), (4, 4));
    simulation.run_for(seconds(1)).unwrap();
    assert_eq!(service.runs(), 5, "one second later, not sixteen");
    let told = stop(&mut simulation, host, &service);
    simulation.run_for(seconds(1)).unwrap();
    assert!(told.get());
    assert_eq!(record.events().last().unwrap(), "killed by SIGTERM");
}

#[test]
fn the_rule_decides_which_ends_are_followed_by_a_start() {
    for (rule, code, again) in [
        (Restart::Always, 0, true),
        (Restart::Always, 1, true),
        (Restart::OnFailure, 0, false),
        (Restart::OnFailure, 1, true),
        (Restart::Never, 0, false),
        (Restart::Never, 1, false),
    ] {
        let (mut simulation, host, service, _) = worker(move |script| {
            script.exit(code);
        });
        let service = service.restart(rule);
        start(&mut simulation, host, &service);
        simulation.run_for(seconds(3)).unwrap();
        assert_eq!(service.runs(), if again { 2 } else { 1 }, "{rule:?} {code}");
        if !again {
            start(&mut simulation, host, &service);
            simulation.run_for(seconds(3)).unwrap();
            assert_eq!(service.runs(), 2, "a start begins anew");
        }
        let told = stop(&mut simulation, host, &service);
        simulation.run_for(seconds(1)).unwrap();
        assert!(told.get());
    }
}

#[test]
fn a_process_that_does_not_end_is_killed_after_the_limit() {
    let (mut simulation, host, service, record) = worker(|script| {
        script.ignore_signal(Signal::Terminate).sleep(Duration::MAX);
    });
    let service = service.kill_timeout(seconds(3));
    start(&mut simulation, host, &service);
    simulation.run_for(seconds(1)).unwrap();
    let told = stop(&mut simulation, host, &service);
    simulation.run_for(Duration::from_millis(2900)).unwrap();
    assert!(!told.get() && service.process().is_some());
    simulation.run_for(seconds(1)).unwrap();
    assert!(told.get() && service.process().is_none());
    assert_eq!(record.events(), ["started", "killed by SIGKILL"]);
    assert_eq!(simulation.reactor(host).resource_count(), 0);
}

#[test]
fn a_start_while_stopping_follows_the_end() {
    let (mut simulation, host, service, record) = worker(|script| {
        script.at_signal(Signal::Terminate, |script| {
            script.sleep(seconds(2)).stdout("bye").exit(0);
        });
        script.sleep(Duration::MAX);
    });
    start(&mut simulation, host, &service);
    simulation.run_for(seconds(1)).unwrap();
    let told = stop(&mut simulation, host, &service);
    start(&mut simulation, host, &service);
    simulation.run_for(seconds(3)).unwrap();
    assert!(told.get());
    assert_eq!(record.take(), ["started", "out bye", "exited", "started"]);
    // Twice asked, once stopped, and both are told.
    let told = [stop(&mut simulation, host, &service), stop(&mut simulation, host, &service)];
    start(&mut simulation, host, &service);
    let last = stop(&mut simulation, host, &service);
    simulation.run_for(seconds(3)).unwrap();
    assert!(told.iter().all(|told| told.get()) && last.get());
    assert_eq!((record.take().last().unwrap().as_str(), service.runs()), ("exited", 2));
}

#[test]
fn a_policy_that_gives_up_ends_the_service() {
    let (mut simulation, host, service, _) = worker(|script| {
        script.exit(1);
    });
    let service = service.retry(doubling().give_up_after(3));
    start(&mut simulation, host, &service);
    simulation.run_for(seconds(1000)).unwrap();
    assert_eq!(service.runs(), 3);
    let told = stop(&mut simulation, host, &service);
    simulation.run_for(seconds(1)).unwrap();
    assert!(told.get());
}

#[test]
fn the_protocol_is_found_by_its_type() {
    let (mut simulation, host, service, record) = worker(|script| {
        script.sleep(Duration::MAX);
    });
    start(&mut simulation, host, &service);
    simulation.run_for(seconds(1)).unwrap();
    let process = service.process().unwrap();
    let found = simulation.reactor(host).with_process(process, |noting: &mut Noting, process| {
        noting.0.add("found");
        process.call_later(seconds(1), |noting: &mut Noting, _| noting.0.add("later"));
    });
    assert!(found.is_some());
    simulation.run_for(seconds(2)).unwrap();
    assert_eq!(record.events(), ["started", "found", "later"]);
    stop(&mut simulation, host, &service);
    simulation.run_for(seconds(1)).unwrap();
}

#[test]
fn a_program_that_cannot_be_run_is_the_error_of_the_start() {
    on_the_real_network("programs are the system's", |world| {
        let mut reactor = world.reactor();
        let services = MultiService::new();
        let missing = SpawnProcess::new("/no/such/program", [""; 0]);
        services.add(ProcessService::new(missing, || Noting(Record::new()))).unwrap();
        let error = services.clone().start(&mut reactor).unwrap_err();
        let error = twistor::error_chain(error.as_error()).to_string();
        assert!(error.contains("cannot run /no/such/program"), "{error}");
        world.run_until_idle(&mut reactor);
    });
}

#[test]
fn a_real_process_is_started_again_and_stopped() {
    on_the_real_network("children are the system's", |world| {
        let mut reactor = world.reactor();
        let record = Record::new();
        let notes = record.clone();
        let command = SpawnProcess::shell("echo up; kill -KILL $$");
        let policy = |_: u32, _: u64| Some(Duration::from_millis(1));
        let mut service = ProcessService::new(command, move || Noting(notes.clone())).retry(policy);
        service.start(&mut reactor).unwrap();
        world.run_until(&mut reactor, "three runs", |_| record.count("killed by SIGKILL") >= 3);
        let told = Rc::new(Cell::new(false));
        let tells = Rc::clone(&told);
        let stopped = StopToken::new(&mut reactor, move |_| tells.set(true));
        service.stop(&mut reactor, stopped);
        world.run_until(&mut reactor, "stopped", |_| told.get());
        world.run_until_idle(&mut reactor);
        assert!(record.count("out up\\n") >= 3);
    });
}
