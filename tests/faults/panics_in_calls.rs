//! A panic in a call ends what the call belongs to and nothing else, and is logged once.

use std::time::Duration;

use crate::world::witness::{beside_a_witness, panicked_once};
use crate::world::{Record, Recorder, idle_protocol, once, raise};
use twistor::{Reactor, Signal};

#[test]
fn a_panic_in_a_call_without_a_connection_stops_no_other_call() {
    beside_a_witness(|world, reactor, _| {
        let record = Record::new();
        let next = |name: &'static str| {
            let record = record.clone();
            move |_: &mut Reactor| record.add(name)
        };
        reactor.call_later(Duration::ZERO, |_| panic!("no"));
        reactor.call_later(Duration::ZERO, next("timed call"));
        reactor.call_when_running(|_| panic!("no"));
        reactor.call_when_running(next("when running"));
        let remote = reactor.remote();
        remote.call_from_thread(|_| panic!("no")).unwrap();
        remote.call_from_thread(|reactor| reactor.call_when_running(|_| {})).unwrap();
        let after = next("job");
        reactor.call_in_thread(|| (), |_, _| panic!("no")).unwrap();
        reactor.call_in_thread(|| (), move |reactor, _| after(reactor)).unwrap();
        world.run_until(reactor, "the others", |reactor| {
            record.has("timed call")
                && record.has("when running")
                && record.has("job")
                && reactor.statistics().panics == 4
        });
        let mut logged = world.logged();
        logged.sort();
        assert_eq!(
            logged,
            [
                "panic in a call from a thread: no",
                "panic in a job's result: no",
                "panic in a timed call: no",
                "panic in a timed call: no",
            ]
        );
    });
}

#[test]
fn a_panic_in_a_signal_handler_leaves_it_in_place() {
    beside_a_witness(|world, reactor, _| {
        let record = Record::new();
        let noted = record.clone();
        reactor
            .on_signal(Signal::WindowChange, move |_| {
                noted.add("came");
                if noted.count("came") == 1 {
                    panic!("no");
                }
            })
            .unwrap();
        for count in 1..=2 {
            raise(Signal::WindowChange);
            world.run_until(reactor, "the signal", |_| record.count("came") == count);
        }
        panicked_once(world, reactor, "a signal handler");
    });
}

#[test]
fn a_panic_in_a_connections_timer_ends_only_that_connection() {
    beside_a_witness(|world, reactor, _| {
        let record = Record::new();
        let listener = reactor.listen_tcp(world.anywhere(), idle_protocol).unwrap();
        let client = Recorder::new(&record).acting(|what, transport, _| {
            if what == "made" {
                transport.call_later(Duration::ZERO, |_: &mut Recorder, _| panic!("no"));
                transport.call_later(Duration::ZERO, |this: &mut Recorder, _| this.record.add("too late"));
            }
        });
        reactor.connect_tcp(listener.address(), once(client, &record)).unwrap();
        world.run_until(reactor, "the loss", |_| record.has("stopped"));
        assert_eq!(
            record.events(),
            ["started", "connecting", "made", "lost Panicked", "gone Panicked", "stopped"]
        );
        panicked_once(world, reactor, "a timed call");
        reactor.stop_listening(&listener).unwrap();
    });
}

#[test]
fn a_panic_in_a_call_to_another_connection_is_the_callers() {
    beside_a_witness(|world, reactor, witness| {
        let record = Record::new();
        let listener = reactor.listen_tcp(world.anywhere(), idle_protocol).unwrap();
        let other = witness.connection;
        let client = Recorder::new(&record).acting(move |what, transport, _| {
            if what == "made" {
                transport.reactor().with_protocol(other, |_: &mut Recorder, _| panic!("no"));
            }
        });
        world.ask(reactor, &listener, client);
        world.run_until(reactor, "the loss", |_| record.has("lost Panicked"));
        panicked_once(world, reactor, "connection_made");
        reactor.stop_listening(&listener).unwrap();
    });
}
