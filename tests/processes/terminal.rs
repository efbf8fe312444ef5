//! A child can have a pseudo-terminal of its own.

use crate::process::{REAL, said, spawn, spawn_and};
use crate::world::on_the_real_network;
use twistor::{ProcessTransport, SpawnProcess, TerminalSize};

fn on_terminal(line: &str) -> SpawnProcess {
    let size = TerminalSize { rows: 33, columns: 77 };
    SpawnProcess { terminal: Some(size), ..SpawnProcess::shell(line) }
}

#[test]
fn the_streams_are_a_terminal_of_the_size_that_was_asked_for() {
    on_the_real_network(REAL, |world| {
        let reactor = &mut world.reactor();
        let line =
            "test -t 0 && test -t 1 && test -t 2 && stty size && echo to stderr >&2; exec sh -c 'exit 4'";
        let seen = spawn(reactor, on_terminal(line));
        world.run_until_idle(reactor);
        let seen = seen.all();
        assert_eq!(said(&seen), "33 77\\r\\nto stderr\\r\\n");
        for once in ["started", "lost in", "lost out"] {
            assert_eq!(seen.iter().filter(|seen| *seen == once).count(), 1, "{seen:?}");
        }
        assert_eq!(seen.last().unwrap(), "ended: exited with code 4");
    });
}

#[test]
fn what_is_written_is_typed_and_the_end_is_a_character() {
    on_the_real_network(REAL, |world| {
        let reactor = &mut world.reactor();
        let seen = spawn_and(reactor, on_terminal("stty -echo; cat; echo done"), |process| {
            process.write(b"hello\n");
            process.close_stdin();
        });
        world.run_until_idle(reactor);
        let said = said(&seen.all());
        assert!(said.ends_with("hello\\r\\ndone\\r\\n"), "{said}");
        assert_eq!(seen.all().last().unwrap(), "ended: exited");
    });
}

#[test]
fn a_new_size_is_told_and_to_close_it_is_to_hang_up() {
    on_the_real_network(REAL, |world| {
        let reactor = &mut world.reactor();
        let line = "trap 'stty size' WINCH; echo ready; while :; do sleep 0.01; done";
        let seen = spawn(reactor, on_terminal(line));
        let heard = seen.clone();
        world.run_until(reactor, "its word", |_| said(&heard.all()).contains("ready"));
        let id = reactor.processes()[0];
        reactor.process_transport(id).unwrap().resize_terminal(TerminalSize { rows: 9, columns: 8 }).unwrap();
        let heard = seen.clone();
        world.run_until(reactor, "the new size", |_| said(&heard.all()).contains("9 8\\r\\n"));
        let mut process: ProcessTransport<'_> = reactor.process_transport(id).unwrap();
        process.close_stdout();
        world.run_until_idle(reactor);
        assert_eq!(seen.all().last().unwrap(), "ended: killed by SIGHUP");
    });
}

#[test]
fn a_program_that_cannot_be_run_on_a_terminal_is_an_error_too() {
    on_the_real_network(REAL, |world| {
        let reactor = &mut world.reactor();
        let missing = SpawnProcess { program: "/no/such/program".into(), ..on_terminal("") };
        let protocol =
            crate::process::Watcher { seen: crate::process::Seen::default(), started: Box::new(|_| {}) };
        let error = reactor.spawn_process(missing, protocol).unwrap_err();
        assert!(error.to_string().starts_with("cannot run /no/such/program: No such file"), "{error}");
        assert_eq!((reactor.resource_count(), crate::process::zombies()), (0, 0));
    });
}
