//! At a stop, accepted operations are finished within a limit, or reported.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use crate::place::Place;
use crate::world::{Record, on_each_back_end};
use twistor::files::{self, AppendFile, FileError, FileFault};
use twistor::sim::Simulation;
use twistor::{Reactor, Settings};

fn outcome<T>(result: &Result<T, FileError>) -> &'static str {
    match result {
        Ok(_) => "done",
        Err(FileError { fault: FileFault::Stopped, .. }) => "stopped",
        Err(_) => "failed",
    }
}

#[test]
fn a_graceful_stop_waits_for_accepted_operations() {
    on_each_back_end(|world| {
        let place = Place::new(world);
        let mut reactor = world.reactor();
        let record = Record::new();
        let (path, log, done) = (place.path("file"), place.path("log"), record.clone());
        reactor.call_when_running(move |reactor| {
            let written = done.clone();
            files::write(path, "data")
                .start(reactor, move |_, result| written.add(outcome(&result)))
                .unwrap();
            // One callback starts the next operation, also while the reactor stops.
            let opened = move |reactor: &mut Reactor, file: Result<AppendFile, FileError>| {
                let appended = done.clone();
                let append = file.unwrap().append("last words");
                append.start(reactor, move |_, result| appended.add(outcome(&result))).unwrap();
            };
            files::append_to(log).start(reactor, opened).unwrap();
            reactor.stop_gracefully();
        });
        world.run(&mut reactor);
        assert_eq!(record.events(), ["done", "done"]);
        assert_eq!(
            [place.get("file"), place.get("log")],
            [Some(b"data".to_vec()), Some(b"last words".to_vec())]
        );
    });
}

#[test]
fn a_stop_reports_operations_and_their_work_is_done() {
    on_each_back_end(|world| {
        let place = Place::new(world);
        let mut reactor = world.reactor();
        let record = Record::new();
        let (paths, done): (Vec<_>, _) =
            ((0..50).map(|number| place.path(&format!("file{number:02}"))).collect(), record.clone());
        reactor.call_when_running(move |reactor| {
            for path in paths {
                let done = done.clone();
                files::write(path, "data")
                    .start(reactor, move |_, result| done.add(outcome(&result)))
                    .unwrap();
            }
            reactor.stop();
        });
        reactor.run().unwrap();
        let events = record.events();
        assert_eq!(events.len(), 50);
        assert!(events.iter().all(|event| ["done", "stopped"].contains(&event.as_str())));
        let late = files::read(place.path("file00")).start(&mut reactor, |_, _| {}).unwrap_err();
        assert!(matches!(late.fault, FileFault::Stopped), "{late}");
        drop(reactor);
        assert_eq!(place.names().len(), 50);
        assert!(place.names().iter().all(|name| place.get(name).as_deref() == Some(b"data")));
    });
}

#[test]
fn appends_that_wait_are_written_at_a_stop() {
    on_each_back_end(|world| {
        let place = Place::new(world);
        let mut reactor = world.reactor();
        let record = Record::new();
        let (path, done) = (place.path("log"), record.clone());
        let opened = move |reactor: &mut Reactor, file: Result<AppendFile, FileError>| {
            let file = file.unwrap();
            for number in 0..100 {
                let done = done.clone();
                let append = file.append(format!("{number} "));
                append.start(reactor, move |_, result| done.add(outcome(&result))).unwrap();
            }
            reactor.stop();
        };
        files::append_to(path).start(&mut reactor, opened).unwrap();
        reactor.run().unwrap();
        assert_eq!(record.events().len(), 100);
        drop(reactor);
        let expected: String = (0..100).map(|number| format!("{number} ")).collect();
        assert_eq!(place.get("log").unwrap(), expected.as_bytes());
    });
}

#[test]
fn a_file_is_closed_after_the_appends_that_a_stop_has_left() {
    for seed in 0..50 {
        let mut simulation = Simulation::new(seed);
        let host = simulation.host("host");
        let opened = |reactor: &mut Reactor, file: Result<AppendFile, FileError>| {
            let file = file.unwrap();
            for number in 0..20 {
                // A sync between two appends may end a batch.
                file.append(format!("{number} ")).start(reactor, |_, _| {}).unwrap();
                file.sync().start(reactor, |_, _| {}).unwrap();
            }
            let late = file.clone();
            reactor.call_later(Duration::from_micros(200), move |reactor| {
                late.append("late").start(reactor, |_, _| {}).unwrap();
                reactor.stop();
            });
        };
        files::append_to("/log").start(simulation.reactor(host), opened).unwrap();
        simulation.run_until(|simulation| simulation.reactor_ref(host).is_none()).unwrap();
        let expected: String =
            (0..20).map(|number| format!("{number} ")).chain(["late".to_owned()]).collect();
        assert_eq!(simulation.disk(host).read("/log").unwrap(), expected.as_bytes(), "seed {seed}");
    }
}

#[test]
fn deferreds_and_futures_are_told_of_the_stop() {
    let mut simulation = Simulation::new(1);
    let host = simulation.host("host");
    simulation.disk(host).write("/file", "data");
    simulation.disk(host).set_latency(Duration::from_secs(3600));
    let record = Rc::new(RefCell::new(Vec::new()));
    let reactor = simulation.reactor(host);
    let (deferred, future) = (Rc::clone(&record), Rc::clone(&record));
    files::read("/file").defer(reactor).done(move |_, read| {
        let failure = read.unwrap_err();
        let error: &FileError = failure.downcast_ref().unwrap();
        deferred.borrow_mut().push(error.to_string());
    });
    reactor
        .spawn(async move {
            let error = files::read("/file").await.unwrap_err();
            future.borrow_mut().push(error.to_string());
        })
        .detach();
    simulation.run_for(Duration::from_secs(1)).unwrap();
    assert_eq!(*record.borrow(), [] as [&str; 0]);
    simulation.reactor(host).stop();
    simulation.run_for(Duration::from_secs(1)).unwrap();
    assert_eq!(*record.borrow(), ["cannot read /file: the reactor has stopped"; 2]);
}

#[test]
fn a_graceful_stop_waits_for_a_slow_disk_up_to_its_limit() {
    let mut simulation = Simulation::new(1);
    let host = simulation.host("host");
    let limit = Duration::from_secs(3);
    simulation.set_settings(host, Settings { graceful_stop_timeout: limit, ..Settings::default() });
    simulation.disk(host).set_latency(Duration::from_secs(3600));
    let record = Record::new();
    let reactor = simulation.reactor(host);
    let done = record.clone();
    files::write("/file", "data").start(reactor, move |_, result| done.add(outcome(&result))).unwrap();
    simulation.run_for(Duration::from_secs(1)).unwrap();
    simulation.reactor(host).stop_gracefully();
    simulation.run_until(|simulation| simulation.reactor_ref(host).is_none()).unwrap();
    assert_eq!(simulation.now().since_origin(), Duration::from_secs(4));
    assert_eq!(record.events(), ["stopped"]);
    assert_eq!(simulation.disk(host).read("/file"), None, "the limit of the process is over too");
}

#[test]
fn watches_and_waiting_for_locks_delay_no_stop() {
    on_each_back_end(|world| {
        let place = Place::new(world);
        let hour = Duration::from_secs(3600);
        let mut reactor = world.reactor_with(Settings { graceful_stop_timeout: hour, ..Settings::default() });
        let record = Record::new();
        let (path, done) = (place.path("file"), record.clone());
        let locked = move |reactor: &mut Reactor, lock: Result<files::FileLock, FileError>| {
            std::mem::forget(lock.unwrap());
            let again = files::lock(&path).timeout(hour);
            again.start(reactor, move |_, result| done.add(outcome(&result))).unwrap();
            files::watch(path).interval(Duration::from_millis(1)).start(reactor, |reactor, _| {
                reactor.stop_gracefully();
            });
        };
        files::lock(place.path("file")).start(&mut reactor, locked).unwrap();
        reactor.run().unwrap();
        assert_eq!(record.events(), ["stopped"]);
    });
}
