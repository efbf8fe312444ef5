//! Child processes of simulated hosts follow their scripts, in virtual time.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use crate::process::{Seen, Watcher, said};
use twistor::sim::{SimProgram, Simulation};
use twistor::{
    ChildStream, ExitReason, ProcessProtocol, ProcessSignal, ProcessTransport, Reactor, Signal, SpawnProcess,
    TerminalSize,
};

/// Runs a host with one program, and starts it.
fn run(
    write: impl FnMut(&mut SimProgram, &SpawnProcess) + 'static,
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
    let script = |script: &mut SimProgram, what: &SpawnProcess| {
        assert_eq!(what.arguments, ["now"]);
        script.stdout("out").sleep(Duration::from_secs(60)).stderr("err").exit(3);
    };
    let (mut simulation, seen) = run(script, |_| {});
    simulation.run_for(Duration::from_secs(59)).unwrap();
    assert_eq!(seen.all(), ["started", "out out"]);
    simulation.run_for(Duration::from_secs(2)).unwrap();
    assert!(seen.place("err err") < seen.place("lost err"));
    assert_eq!(seen.all().last().unwrap(), "ended: exited with code 3");
    let host = simulation.host("host");
    assert_eq!(simulation.reactor(host).resource_count(), 0);
}

#[test]
fn it_reads_what_is_written_however_much_it_is() {
    const SIZE: usize = 900_000;
    let script = |script: &mut SimProgram, _: &SpawnProcess| {
        script.read_line().sleep(Duration::from_secs(1)).cat().stdout("!");
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
fn it_waits_for_input_that_does_not_come() {
    type Write = fn(&mut SimProgram);
    // Each of these waits for a parent that neither writes nor reads.
    let scripts: [Write; 4] = [
        |script| {
            script.cat();
        },
        |script| {
            script.read_line();
        },
        |script| {
            script.stdout("x".repeat(1 << 20)).cat();
        },
        |script| {
            script.sleep(Duration::MAX);
        },
    ];
    for (number, write) in scripts.into_iter().enumerate() {
        for silent in [false, true] {
            let (mut simulation, seen) = run(
                move |script, _| write(script),
                move |process| {
                    process.pause_stdout();
                    if !silent {
                        process.write(b"no line");
                    }
                },
            );
            simulation.run_for(Duration::from_secs(3600)).unwrap();
            assert!(!seen.ended(), "{number}");
            assert!(simulation.turns() < 50, "{number}: {} turns", simulation.turns());
        }
    }
}

#[test]
fn it_echoes_now_and_later_until_its_input_ends() {
    let (mut simulation, seen) = run(
        |script, _| {
            script.cat().stdout("!");
        },
        |process| {
            for number in 1..=3 {
                process.call_later(
                    Duration::from_secs(number),
                    move |_: &mut Watcher, process| match number {
                        3 => process.close_stdin(),
                        _ => process.write(number.to_string().as_bytes()),
                    },
                );
            }
        },
    );
    simulation.run_for(Duration::from_secs(10)).unwrap();
    assert_eq!(said(&seen.all()), "12!");
    assert_eq!(seen.all().last().unwrap(), "ended: exited");
}

#[test]
fn input_that_is_closed_or_was_never_open_ends_at_once() {
    for stdin in [ChildStream::Null, ChildStream::Pipe] {
        let mut simulation = Simulation::new(7);
        let host = simulation.host("host");
        simulation.program(host, "worker", |script, _| {
            script.read_line().stdout("one ").cat().stdout("two");
        });
        let seen = Seen::default();
        let started = Box::new(|process: &mut ProcessTransport<'_>| process.close_stdin());
        let protocol = Watcher { seen: seen.clone(), started };
        let what = SpawnProcess { stdin, ..SpawnProcess::new("worker", [""; 0]) };
        simulation.reactor(host).spawn_process(what, protocol).unwrap();
        simulation.run_for(Duration::from_secs(1)).unwrap();
        assert_eq!(said(&seen.all()), "one two");
    }
}

#[test]
fn a_line_that_is_longer_than_the_pipe_is_read() {
    let (mut simulation, seen) = run(
        |script, _| {
            script.read_line().cat();
        },
        |process| {
            process.write(&vec![b'x'; 200_000]);
            process.write(b"\nthe rest");
            process.close_stdin();
        },
    );
    simulation.run_for(Duration::from_secs(1)).unwrap();
    assert_eq!(said(&seen.all()), "the rest");
}

#[test]
fn a_terminal_is_read_and_written() {
    let mut simulation = Simulation::new(7);
    let host = simulation.host("host");
    simulation.program(host, "worker", |script, _| {
        script.stdout("name? ").read_line().stdout("thanks");
    });
    let seen = Seen::default();
    let started = Box::new(|process: &mut ProcessTransport<'_>| process.write(b"me\n"));
    let protocol = Watcher { seen: seen.clone(), started };
    let terminal = Some(TerminalSize { rows: 24, columns: 80 });
    let what = SpawnProcess { terminal, ..SpawnProcess::new("worker", [""; 0]) };
    simulation.reactor(host).spawn_process(what, protocol).unwrap();
    simulation.run_for(Duration::from_secs(1)).unwrap();
    assert_eq!(said(&seen.all()), "name? thanks");
    assert_eq!(seen.all().last().unwrap(), "ended: exited");
}

#[test]
fn signals_end_it_unless_it_catches_or_ignores_them() {
    let script = |script: &mut SimProgram, _: &SpawnProcess| {
        script.ignore_signal(Signal::Hangup);
        script.at_signal(Signal::Terminate, |then| {
            then.stdout("bye").exit(9);
        });
        script.sleep(Duration::from_secs(1000));
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
    /// Restarts its child a minute after each end.
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
        script.sleep(Duration::from_secs(3600)).exit(1);
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
    assert_eq!(reactor.resource_count(), 0);
}
