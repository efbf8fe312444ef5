//! Each direction of a connection can end separately.

use std::io::ErrorKind;
use std::time::Duration;

use crate::world::peer::{connection, narrow_connection, turns};
use crate::world::{Record, Recorder, kind, on_each_back_end};
use twistor::{Protocol, Reason, Transport};

#[test]
fn after_the_peers_fin_writing_goes_on() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let record = Record::new();
        let (id, mut peer) = connection(world, &mut reactor, Recorder::new(&record));
        peer.send(b"question");
        peer.finish();
        world.run_until(&mut reactor, "the end of the input", |_| record.has("read lost"));
        let mut transport = reactor.transport(id).unwrap();
        assert!(!transport.is_closing());
        transport.write(b"answer");
        transport.lose_connection();
        assert_eq!(peer.read_to_end(&mut reactor), (b"answer".to_vec(), None));
        world.run_until_idle(&mut reactor);
        assert_eq!(record.events(), ["made", "data question", "read lost", "lost Done"]);
    });
}

#[test]
fn after_our_fin_reading_goes_on_and_the_fin_is_reported() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let record = Record::new();
        let (id, mut peer) = narrow_connection(world, &mut reactor, Recorder::new(&record));
        let mut transport = reactor.transport(id).unwrap();
        transport.write(&[b'w'; 500_000]);
        transport.lose_write_connection();
        transport.write(b"too late");
        turns(&mut reactor);
        assert!(!record.has("write lost"), "what waits is sent first");
        assert_eq!(peer.read_to_end(&mut reactor), (vec![b'w'; 500_000], None));
        world.run_until(&mut reactor, "our FIN", |_| record.has("write lost"));
        peer.send(b"still here");
        world.run_until(&mut reactor, "the peer's bytes", |_| record.has("data still here"));
        peer.finish();
        world.run_until_idle(&mut reactor);
        let events: Vec<String> =
            record.events().into_iter().filter(|event| event != "pause" && event != "resume").collect();
        assert_eq!(events, ["made", "write lost", "data still here", "read lost", "lost Done"]);
    });
}

#[test]
fn our_fin_is_told_before_the_peers_that_answers_it_at_once() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let record = Record::new();
        let (id, mut peer) = connection(world, &mut reactor, Recorder::new(&record));
        reactor.transport(id).unwrap().lose_write_connection();
        // The callback comes in the next turn, which also reads the peer's FIN.
        reactor.iterate(Some(Duration::ZERO)).unwrap();
        assert!(peer.at_end());
        drop(peer);
        world.run_until_idle(&mut reactor);
        assert_eq!(record.events(), ["made", "write lost", "read lost", "lost Done"]);
    });
}

#[test]
fn a_reset_after_the_peers_fin_is_told_to_who_goes_on() {
    on_each_back_end(|world| {
        for together in [false, true] {
            let mut reactor = world.reactor();
            let record = Record::new();
            let (_, mut peer) = connection(world, &mut reactor, Recorder::new(&record));
            peer.finish();
            if !together {
                world.run_until(&mut reactor, "the end of the input", |_| record.has("read lost"));
            }
            peer.reset();
            world.run_until_idle(&mut reactor);
            assert_eq!(record.events(), ["made", "read lost", "lost Lost"]);
        }
    });
}

#[test]
fn a_connection_that_is_shut_both_ways_is_lost_by_itself() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let record = Record::new();
        let (id, mut peer) = connection(world, &mut reactor, Recorder::new(&record));
        peer.finish();
        world.run_until(&mut reactor, "the end of the input", |_| record.has("read lost"));
        reactor.transport(id).unwrap().write(b"bye");
        reactor.transport(id).unwrap().lose_write_connection();
        world.run_until_idle(&mut reactor);
        assert_eq!(record.events(), ["made", "read lost", "write lost", "lost Done"]);
        assert_eq!(peer.read_now(), b"bye");
    });
}

/// A protocol without overridden end-of-input callbacks.
struct Plain {
    record: Record,
}

impl Protocol for Plain {
    fn data_received(&mut self, transport: &mut Transport<'_>, _: &[u8]) {
        transport.write(&[b'a'; 500_000]);
    }

    fn connection_lost(&mut self, _: &mut Transport<'_>, reason: &Reason) {
        self.record.add(format!("lost {}", kind(reason)));
    }
}

#[test]
fn by_default_a_peers_fin_flushes_the_output_and_then_closes() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let record = Record::new();
        let (_, mut peer) = narrow_connection(world, &mut reactor, Plain { record: record.clone() });
        peer.send(b"all of it, please");
        peer.finish();
        assert_eq!(peer.read_to_end(&mut reactor), (vec![b'a'; 500_000], None));
        world.run_until_idle(&mut reactor);
        assert_eq!(record.events(), ["lost Done"]);
    });
}

#[test]
fn a_panic_at_the_end_of_a_direction_ends_the_connection() {
    on_each_back_end(|world| {
        for at in ["read lost", "write lost"] {
            let mut reactor = world.reactor();
            let record = Record::new();
            let protocol =
                Recorder::new(&record).acting(move |what, _, _| assert_ne!(what, at, "on purpose"));
            let (id, mut peer) = connection(world, &mut reactor, protocol);
            match at {
                "read lost" => peer.finish(),
                _ => reactor.transport(id).unwrap().lose_write_connection(),
            }
            world.run_until_idle(&mut reactor);
            assert_eq!(record.events(), ["made", at, "lost Panicked"]);
            assert_eq!(world.logged().len(), 1, "the panic is logged once");
            // The abort resets the connection, unless our FIN was sent before.
            let (_, error) = peer.read_to_end(&mut reactor);
            assert!(error.is_none_or(|error| error == ErrorKind::ConnectionReset), "{error:?}");
        }
    });
}
