//! Child processes of simulated hosts do what a script says, in virtual time.

mod process;
mod world;

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use process::{Seen, Watcher, said};
use twistor::sim::{Script, Simulation};
use twistor::{ExitReason, ProcessProtocol, ProcessSignal, ProcessTransport, Reactor, Signal, SpawnProcess};

/// A host that has one program, and begins it.
fn run(
    write: impl FnMut(&mut Script, &SpawnProcess) + 'static,
    started: impl FnMut(&mut ProcessTransport<'_>) + 'static,
) -> (Simulation, Seen) {
    let mut simulation = Simulation::new(7);
    let host = simulation.host("host");
    simulation.program(host, "worker", write);
    let seen = Seen::default();
    let protocol = Watcher { seen: seen.clone(), started: Box::new(started) };
    simulation.reactor(host).spawn_process(SpawnProcess::new("worker", ["now"]), protocol).unwrap();
    (simulation, seen)
}

#[test]
fn it_speaks_waits_and_exits_in_virtual_time() {
    let script = |script: &mut Script, what: &SpawnProcess| {
        assert_eq!(what.arguments, ["now"]);
        script.say("out").wait(Duration::from_secs(60)).complain("err").exit(3);
    };
    let (mut simulation, seen) = run(script, |_| {});
    simulation.run_for(Duration::from_secs(59)).unwrap();
    assert_eq!(seen.all(), ["started", "out out"]);
    simulation.run_for(Duration::from_secs(2)).unwrap();
    assert!(seen.place("err err") < seen.place("lost err"));
    assert_eq!(seen.all().last().unwrap(), "ended: exited with code 3");
    let host = simulation.host("host");
    assert_eq!(simulation.reactor(host).in_use(), 0);
}

#[test]
fn it_reads_what_is_written_however_much_it_is() {
    const SIZE: usize = 900_000;
    let script = |script: &mut Script, _: &SpawnProcess| {
        script.read_line().wait(Duration::from_secs(1)).echo().say("!");
    };
    let (mut simulation, seen) = run(script, |process| {
        process.write(b"a line\n");
        process.write(&vec![b'x'; SIZE]);
        process.close_stdin();
    });
    simulation.run_for(Duration::from_secs(10)).unwrap();
    let said = said(&seen.all());
    assert_eq!((said.len(), said.ends_with("x!")), (SIZE + 1, true));
    assert_eq!(seen.all().last().unwrap(), "ended: exited");
}

#[test]
fn signals_end_it_unless_it_catches_or_ignores_them() {
    let script = |script: &mut Script, _: &SpawnProcess| {
        script.ignore_signal(Signal::Hangup);
        script.at_signal(Signal::Terminate, |then| {
            then.say("bye").exit(9);
        });
        script.wait(Duration::from_secs(1000));
    };
    let (mut simulation, seen) = run(script, |process| {
        process.signal(ProcessSignal::HANGUP).unwrap();
        process.signal(ProcessSignal::TERMINATE).unwrap();
    });
    simulation.run_for(Duration::from_secs(1)).unwrap();
    assert_eq!(said(&seen.all()), "bye");
    assert_eq!(seen.all().last().unwrap(), "ended: exited with code 9");
    let (mut simulation, seen) = run(script, |process| assert!(process.kill()));
    simulation.run_for(Duration::from_secs(1)).unwrap();
    assert_eq!(seen.all().last().unwrap(), "ended: killed by SIGKILL");
}

#[test]
fn a_supervisor_can_be_tested_for_a_day_in_a_moment() {
    /// Begins its child again a minute after each end.
    struct Kept(Rc<RefCell<usize>>);
    impl Kept {
        fn begin(reactor: &mut Reactor, count: Rc<RefCell<usize>>) {
            reactor.spawn_process(SpawnProcess::new("worker", [""; 0]), Kept(count)).unwrap();
        }
    }
    impl ProcessProtocol for Kept {
        fn process_ended(&mut self, process: &mut ProcessTransport<'_>, reason: &ExitReason) {
            assert_eq!(reason.code(), Some(1));
            *self.0.borrow_mut() += 1;
            let count = Rc::clone(&self.0);
            let again = move |reactor: &mut Reactor| Kept::begin(reactor, count);
            process.reactor().call_later(Duration::from_secs(60), again);
        }
    }
    let mut simulation = Simulation::new(1);
    let host = simulation.host("host");
    simulation.program(host, "worker", |script, _| {
        script.wait(Duration::from_secs(3600)).exit(1);
    });
    let count = Rc::default();
    Kept::begin(simulation.reactor(host), Rc::clone(&count));
    simulation.run_for(Duration::from_secs(24 * 3600)).unwrap();
    assert_eq!(*count.borrow(), 23);
}

#[test]
fn a_program_that_the_host_does_not_have_is_an_error() {
    let mut simulation = Simulation::new(1);
    let host = simulation.host("host");
    let protocol = Watcher { seen: Seen::default(), started: Box::new(|_| {}) };
    let reactor = simulation.reactor(host);
    let error = reactor.spawn_process(SpawnProcess::new("missing", [""; 0]), protocol).unwrap_err();
    assert!(error.to_string().starts_with("cannot run missing: "), "{error}");
    assert_eq!(reactor.in_use(), 0);
}
