//! A child does not outlive its reactor unless it should. A panic ends only one child.

use std::time::Duration;

use crate::process::{REAL, Seen, Watcher, said, spawn, spawn_and, zombies};
use crate::world::on_the_real_network;
use twistor::{ProcessProtocol, ProcessTransport, Settings, SpawnProcess};

#[test]
fn a_stop_kills_children_and_they_are_told_so() {
    on_the_real_network(REAL, |world| {
        let reactor = &mut world.reactor();
        let deaf = spawn(reactor, SpawnProcess::shell("trap '' TERM; echo ready; sleep 30 & wait; wait"));
        let late = Seen::default();
        let (place, heard) = (late.clone(), deaf.clone());
        world.run_until(reactor, "the child's word", |_| said(&heard.all()) == "ready\\n");
        reactor.call_later(Duration::ZERO, move |reactor| {
            // Started in the last turn: it still receives its first and last call.
            let protocol = Watcher { seen: place, started: Box::new(|_| {}) };
            reactor.spawn_process(SpawnProcess::new("sleep", ["1000"]), protocol).unwrap();
            reactor.stop();
        });
        world.run(reactor);
        for seen in [deaf.all(), late.all()] {
            assert_eq!(seen.first().unwrap(), "started");
            assert_eq!(seen.last().unwrap(), "ended: killed by SIGKILL", "{seen:?}");
        }
        assert_eq!(zombies(), 0);
    });
}

#[test]
fn a_graceful_stop_asks_first_and_hears_the_last_words() {
    on_the_real_network(REAL, |world| {
        let reactor = &mut world.reactor();
        let line = "trap 'echo last words; exit 5' TERM; echo ready; while read line; do :; done; wait";
        let seen = spawn(reactor, SpawnProcess::shell(line));
        let heard = seen.clone();
        world.run_until(reactor, "the child's word", |_| said(&heard.all()) == "ready\\n");
        reactor.call_later(Duration::ZERO, |reactor| assert!(reactor.stop_gracefully()));
        world.run(reactor);
        assert_eq!(said(&seen.all()), "ready\\nlast words\\n");
        assert_eq!(seen.all().last().unwrap(), "ended: exited with code 5");
    });
}

#[test]
fn a_graceful_stop_kills_those_that_do_not_listen() {
    on_the_real_network(REAL, |world| {
        let settings = Settings { graceful_stop_timeout: Duration::from_millis(20), ..Settings::default() };
        let reactor = &mut world.reactor_with(settings);
        let seen =
            spawn(reactor, SpawnProcess::shell("trap '' TERM; echo ready; while :; do sleep 0.01; done"));
        let heard = seen.clone();
        world.run_until(reactor, "the child's word", |_| said(&heard.all()) == "ready\\n");
        reactor.call_later(Duration::ZERO, |reactor| assert!(reactor.stop_gracefully()));
        world.run(reactor);
        assert_eq!(seen.all().last().unwrap(), "ended: killed by SIGKILL");
    });
}

#[test]
fn a_child_that_outlives_the_reactor_sees_its_input_end() {
    on_the_real_network(REAL, |world| {
        let (read, write) = std::io::pipe().unwrap();
        let what = SpawnProcess {
            kill_on_stop: false,
            stdout: std::os::fd::OwnedFd::from(write).into(),
            ..SpawnProcess::shell("read line; echo it goes on")
        };
        let reactor = &mut world.reactor();
        let seen = spawn_and(reactor, what, |process| {
            process.reactor().stop();
        });
        let late = Seen::default();
        let place = late.clone();
        reactor.call_later(Duration::ZERO, move |reactor| {
            let what = SpawnProcess { kill_on_stop: false, ..SpawnProcess::new("true", [""; 0]) };
            let protocol = Watcher { seen: place, started: Box::new(|_| {}) };
            reactor.spawn_process(what, protocol).unwrap();
            reactor.stop();
        });
        world.run(reactor);
        assert_eq!(seen.all().last().unwrap(), "ended: left running: the reactor stopped");
        assert_eq!(late.all().first().unwrap(), "started", "begun in the last turn");
        assert!(late.ended(), "{:?}", late.all());
        assert!(!seen.all().iter().any(|seen| seen.starts_with("exited")));
        assert_eq!(std::io::read_to_string(read).unwrap(), "it goes on\n");
    });
}

#[test]
fn a_reactor_that_is_dropped_takes_its_children_with_it() {
    on_the_real_network(REAL, |world| {
        let mut reactor = world.reactor();
        let (read, write) = std::io::pipe().unwrap();
        let what = SpawnProcess {
            stdout: std::os::fd::OwnedFd::from(write).into(),
            ..SpawnProcess::new("sleep", ["1000"])
        };
        spawn(&mut reactor, what);
        drop(reactor);
        assert_eq!(std::io::read_to_string(read).unwrap(), "", "no process holds it open any more");
        assert_eq!(zombies(), 0);
    });
}

#[test]
fn a_panic_kills_its_process_and_no_other() {
    on_the_real_network(REAL, |world| {
        struct Panics(Seen);
        impl ProcessProtocol for Panics {
            fn out_received(&mut self, _: &mut ProcessTransport<'_>, _: &[u8]) {
                panic!("out of order");
            }
            fn out_connection_lost(&mut self, _: &mut ProcessTransport<'_>, _: &twistor::Reason) {
                self.0.note("lost after the panic");
            }
            fn process_exited(&mut self, _: &mut ProcessTransport<'_>, reason: &twistor::ExitReason) {
                self.0.note(format!("exited: {reason}"));
            }
            fn process_ended(&mut self, _: &mut ProcessTransport<'_>, reason: &twistor::ExitReason) {
                self.0.note(format!("ended: {reason}"));
            }
        }
        let reactor = &mut world.reactor();
        let other = spawn(reactor, SpawnProcess::new("cat", [""; 0]));
        let seen = Seen::default();
        reactor
            .spawn_process(SpawnProcess::shell("echo hello; exec sleep 1000"), Panics(seen.clone()))
            .unwrap();
        world.run_until(reactor, "the end of the first", |_| seen.ended());
        let why = "killed: its protocol panicked: out of order";
        assert_eq!(seen.all(), [format!("exited: {why}"), format!("ended: {why}")]);
        assert_eq!(other.all(), ["started"], "the other lives on");
        let logged = world.logged();
        assert_eq!(logged.len(), 2, "{logged:?}");
        assert!(logged[0].contains("panic in out_received: out of order"), "{logged:?}");
        let other_id = reactor.processes()[0];
        reactor.process_transport(other_id).unwrap().close_stdin();
        world.run_until_idle(reactor);
        assert_eq!(other.all().last().unwrap(), "ended: exited");
    });
}

#[test]
fn a_signal_to_a_group_reaches_what_the_child_has_started() {
    on_the_real_network(REAL, |world| {
        let reactor = &mut world.reactor();
        let what = SpawnProcess { own_group: true, ..SpawnProcess::shell("sleep 1000 & echo $!; wait") };
        let seen = spawn(reactor, what);
        let heard = seen.clone();
        world.run_until(reactor, "the number", |_| !said(&heard.all()).is_empty());
        let id = reactor.processes()[0];
        assert!(reactor.process_transport(id).unwrap().kill());
        // The grandchild has the output open. It ends with the group, or this test hangs.
        world.run_until(reactor, "the end of all", |_| seen.ended());
        world.run_until_idle(reactor);
    });
}
