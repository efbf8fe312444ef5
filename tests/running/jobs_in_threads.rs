//! Jobs run on a bounded pool of threads, and their results come back to the loop.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use crate::world::gate::Gate;
use crate::world::{Record, World, on_each_back_end, on_the_real_network};
use twistor::{Error, JobPanicked, Reactor, Settings};

const HELD_UP: &str = "a job is held up in a thread while the loop goes on";

/// Starts jobs that block until the returned gate is dropped.
fn occupy(world: &World, reactor: &mut Reactor, jobs: usize, record: &Record) -> Gate {
    let gate = Gate::new(world);
    for _ in 0..jobs {
        let (passage, record) = (gate.passage(), record.clone());
        let released = move |_: &mut Reactor, result| record.add(format!("released {result:?}"));
        reactor.call_in_thread(move || passage.pass(), released).unwrap();
    }
    gate.holds_up(jobs);
    gate
}

#[test]
fn a_job_runs_on_a_pool_thread_and_its_result_on_the_loop() {
    on_the_real_network("it is about threads of the process", |world| {
        let mut reactor = world.reactor();
        let record = Record::new();
        let (done, own) = (record.clone(), thread::current().id());
        let job = move || {
            assert_ne!(thread::current().id(), own);
            thread::current().name().unwrap().to_owned()
        };
        let result = move |_: &mut Reactor, result: Result<String, JobPanicked>| {
            assert_eq!(thread::current().id(), own);
            done.add(result.unwrap());
        };
        reactor.call_in_thread(job, result).unwrap();
        assert_eq!(record.events(), [] as [String; 0], "nothing is called inside the call");
        assert_eq!(reactor.resource_count(), 1, "a result is awaited");
        world.run_until_idle(&mut reactor);
        assert_eq!(record.events(), ["twistor-job"]);
    });
}

#[test]
fn a_job_that_panics_says_so_to_whoever_waits_for_it() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let record = Record::new();
        for text in ["first", "second"] {
            let record = record.clone();
            let job = move || if text == "first" { panic!("no {text}") } else { text };
            let done = move |_: &mut Reactor, result: Result<&str, JobPanicked>| match result {
                Ok(text) => record.add(text),
                Err(panicked) => record.add(panicked.to_string()),
            };
            reactor.call_in_thread(job, done).unwrap();
            world.run_until_idle(&mut reactor);
        }
        assert_eq!(record.events(), ["panicked: no first", "second"]);
        assert_eq!(reactor.statistics().panics, 0, "it is a result, not an accident of the loop");
    });
}

#[test]
fn more_jobs_than_threads_all_have_their_turn() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor_with(Settings { threads: 2, ..Settings::default() });
        let sum = Rc::new(Cell::new(0));
        for number in 1..=100 {
            let sum = Rc::clone(&sum);
            reactor
                .call_in_thread(move || number, move |_, result| sum.set(sum.get() + result.unwrap()))
                .unwrap();
        }
        world.run_until_idle(&mut reactor);
        assert_eq!(sum.get(), 5050);
        assert!(world.threads() <= 2, "{}", world.threads());
    });
}

#[test]
fn a_full_queue_is_an_error_that_drops_the_job_unrun() {
    on_each_back_end(|world| {
        let settings = Settings { threads: 2, job_queue: 2, ..Settings::default() };
        let mut reactor = world.reactor_with(settings);
        let record = Record::new();
        let gate = occupy(world, &mut reactor, 2, &record);
        for number in 1..=2 {
            let record = record.clone();
            reactor.call_in_thread(|| (), move |_, _| record.add(format!("queued {number}"))).unwrap();
        }
        let held = Arc::new(());
        let inside = Arc::clone(&held);
        let job = move || {
            let _inside = inside;
            panic!("it ran");
        };
        let refused = reactor.call_in_thread(job, |_, _: Result<(), _>| panic!("it came"));
        assert!(matches!(refused, Err(Error::QueueFull(2))), "{refused:?}");
        assert_eq!(Arc::strong_count(&held), 1);
        assert_eq!(reactor.resource_count(), 4);
        drop(gate);
        world.run_until_idle(&mut reactor);
        let mut events = record.events();
        events.sort();
        assert_eq!(events, ["queued 1", "queued 2", "released Ok(())", "released Ok(())"]);
        // The queue has room again.
        reactor.call_in_thread(|| (), |_, _| {}).unwrap();
        world.run_until_idle(&mut reactor);
    });
}

#[test]
fn jobs_that_never_end_hold_up_no_look_up() {
    on_the_real_network(HELD_UP, |world| {
        let mut reactor = world.reactor_with(Settings { threads: 1, ..Settings::default() });
        let record = Record::new();
        let gate = occupy(world, &mut reactor, 1, &record);
        let found = record.clone();
        reactor
            .resolve("localhost", 80, move |_, addresses| {
                assert!(addresses.unwrap().iter().all(|address| address.ip().is_loopback()));
                found.add("found");
            })
            .unwrap();
        world.run_until(&mut reactor, "the address", |_| record.has("found"));
        drop(gate);
        world.run_until_idle(&mut reactor);
        assert_eq!(record.events(), ["found", "released Ok(())"]);
    });
}

#[test]
fn reactor_drop_waits_for_a_running_job_and_drops_its_result() {
    on_the_real_network(HELD_UP, |world| {
        let mut reactor = world.reactor();
        let gate = Gate::new(world);
        let passage = gate.passage();
        let ended = Arc::new(AtomicBool::new(false));
        let ending = Arc::clone(&ended);
        let job = move || {
            passage.pass();
            ending.store(true, Ordering::SeqCst);
        };
        let held = Rc::new(());
        let inside = Rc::clone(&held);
        let result = move |_: &mut Reactor, _: Result<(), JobPanicked>| {
            let _inside = inside;
            panic!("it came");
        };
        reactor.call_in_thread(job, result).unwrap();
        gate.holds_up(1);
        reactor.call_when_running(|reactor| {
            reactor.stop();
        });
        world.run(&mut reactor);
        assert_eq!(Rc::strong_count(&held), 1, "what waited for the result is dropped");
        let opener = thread::spawn(move || drop(gate));
        drop(reactor);
        assert!(ended.load(Ordering::SeqCst), "the end of the reactor waits for the job");
        opener.join().unwrap();
    });
}

#[test]
fn a_job_that_does_not_end_holds_up_the_end_within_a_limit() {
    on_the_real_network(HELD_UP, |world| {
        let settings = Settings { graceful_stop_timeout: Duration::ZERO, ..Settings::default() };
        let mut reactor = world.reactor_with(settings);
        let gate = occupy(world, &mut reactor, 1, &Record::new());
        drop(reactor);
        assert_eq!(world.threads(), 1, "it runs on, unattended");
        drop(gate);
    });
}
