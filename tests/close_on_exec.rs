//! Nothing that a reactor opens is inherited by the programs that its process starts.

mod world;

use std::process::{Command, Stdio};

use twistor::Signal;
use world::{Record, Recorder, abort_all, nobody, on_the_real_network};

/// The descriptors that a program finds open when it starts.
fn inherited() -> Vec<String> {
    let list = Command::new("ls").arg("/proc/self/fd").stdin(Stdio::null()).output().unwrap();
    assert!(list.status.success());
    String::from_utf8(list.stdout).unwrap().lines().map(str::to_owned).collect()
}

#[test]
fn a_program_started_by_a_callback_inherits_no_socket() {
    on_the_real_network("a child inherits the descriptors of a process", |world| {
        let before = inherited();
        let mut reactor = world.reactor();
        let record = Record::new();
        let listener = reactor.listen_tcp(world.anywhere(), nobody).unwrap();
        reactor.on_signal(Signal::WindowChange, |_| {}).unwrap();
        let seen = record.clone();
        let client = Recorder::new(&record).acting(move |what, _, _| {
            if what == "made" {
                seen.add(format!("{:?}", inherited()));
            }
        });
        let accepted = world.connect(listener.address());
        world.run_until(&mut reactor, "accepted", |reactor| reactor.statistics().accepts == 1);
        world.ask(&mut reactor, &listener, client);
        world.run_until(&mut reactor, "made", |_| record.has("made"));
        assert_eq!(record.events(), ["made".to_owned(), format!("{before:?}")]);
        drop(accepted);
        abort_all(&mut reactor);
        reactor.stop_listening(&listener).unwrap();
        world.run_until(&mut reactor, "all lost", |reactor| reactor.statistics().connections == 0);
    });
}
