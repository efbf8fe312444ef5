//! A reactor does not run inside itself, and runs only once.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::time::Duration;

use crate::world::{Record, Recorder, idle_protocol, on_each_back_end, on_the_real_network, once};
use twistor::{Address, DatagramProtocol, DatagramTransport, Error, ProcessProtocol, Reactor, SpawnProcess};

fn is_refused(reactor: &mut Reactor) -> bool {
    matches!(reactor.run(), Err(Error::AlreadyRunning))
        && matches!(reactor.iterate(Some(Duration::ZERO)), Err(Error::AlreadyRunning))
}

#[test]
fn run_and_turn_inside_a_callback_are_refused_without_effect() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let record = Record::new();
        let noted = record.clone();
        reactor.call_later(Duration::ZERO, move |reactor| {
            assert!(is_refused(reactor));
            noted.add("timed call");
        });
        let listener = reactor.listen_tcp(world.anywhere(), idle_protocol).unwrap();
        let client = Recorder::new(&record).acting(|what, transport, _| {
            assert!(is_refused(transport.reactor()));
            if what == "made" {
                transport.abort_connection();
            }
        });
        world.ask(&mut reactor, &listener, client);
        world.run_until(&mut reactor, "lost", |_| record.has("lost Aborted"));
        assert_eq!(record.events(), ["timed call", "made", "lost Aborted"]);
        world.close(&mut reactor, &listener);
    });
}

/// A datagram protocol that ignores all datagrams.
struct Deaf;

impl DatagramProtocol for Deaf {
    fn datagram_received(&mut self, _: &mut DatagramTransport<'_>, _: &[u8], _: &Address) {}
}

/// A child that runs until it is killed.
struct Child;

impl ProcessProtocol for Child {}

/// Checks that a turn inside `with` is refused, also if the call panics, and that turns work
/// afterwards.
fn reaches(reactor: &mut Reactor, reach: impl Fn(&mut Reactor, &mut dyn FnMut(&mut Reactor)) -> Option<()>) {
    let mut refused = false;
    reach(reactor, &mut |reactor| refused = is_refused(reactor)).unwrap();
    assert!(refused);
    assert!(reactor.iterate(Some(Duration::ZERO)).unwrap(), "after it");
    let panics =
        catch_unwind(AssertUnwindSafe(|| reach(reactor, &mut |_| resume_unwind(Box::new("on purpose")))));
    assert!(panics.is_err());
    assert!(reactor.iterate(Some(Duration::ZERO)).unwrap(), "after a panic");
}

#[test]
fn run_and_turn_are_refused_through_a_protocol_between_turns() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let record = Record::new();
        let listener = world.serve(&mut reactor, Recorder::new(&record).closing());
        let peer = world.connect(listener.address());
        world.run_until(&mut reactor, "made", |_| record.has("made"));
        let id = reactor.connections()[0];
        reaches(&mut reactor, |reactor, call| {
            reactor.with_protocol(id, |_: &mut Recorder, transport| call(transport.reactor()))
        });
        let socket = reactor.listen_udp(world.anywhere(), Deaf).unwrap();
        reaches(&mut reactor, |reactor, call| {
            reactor.with_datagram(socket, |_: &mut Deaf, transport| call(transport.reactor()))
        });
        reactor.datagram_transport(socket).unwrap().stop_listening();
        drop(peer);
        world.run_until(&mut reactor, "lost", |_| record.has("lost Done"));
        world.close(&mut reactor, &listener);
    });
}

#[test]
fn run_and_turn_are_refused_through_a_process_between_turns() {
    on_the_real_network("child processes are the system's", |world| {
        let mut reactor = world.reactor();
        let sleeper = SpawnProcess::new("sleep", ["60"]);
        let id = reactor.spawn_process(sleeper, Child).unwrap();
        reaches(&mut reactor, |reactor, call| {
            reactor.with_process(id, |_: &mut Child, process| call(process.reactor()))
        });
        reactor.process_transport(id).unwrap().kill();
        world.run_until_idle(&mut reactor);
    });
}

#[test]
fn a_reactor_that_has_run_does_not_run_again_and_a_new_one_does() {
    on_each_back_end(|world| {
        for _ in 0..3 {
            let mut reactor = world.reactor();
            reactor.call_when_running(|reactor| {
                reactor.stop();
            });
            world.run(&mut reactor);
            assert!(matches!(reactor.run(), Err(Error::ReactorFinished)));
            assert!(matches!(reactor.iterate(None), Err(Error::ReactorFinished)));
            let listening = reactor.listen_tcp(world.anywhere(), idle_protocol);
            assert!(matches!(listening, Err(Error::ReactorFinished)));
            let connecting = reactor.connect_tcp("127.0.0.1:9", once(idle_protocol(), &Record::new()));
            assert!(matches!(connecting, Err(Error::ReactorFinished)));
            assert!(!reactor.stop() && !reactor.stop_gracefully() && !reactor.running());
            assert_eq!(reactor.resource_count(), 0);
        }
    });
}
