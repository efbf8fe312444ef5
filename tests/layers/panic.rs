//! A panic in a layer ends only its own connection, in any callback.

use std::time::Duration;

use crate::layers::{Noted, Then};
use crate::world::peer::turns;
use crate::world::{Record, Recorder, on_each_back_end, once};
use twistor::{Layer, LayerContext, Reactor, Reason, layered};

#[test]
fn a_panic_in_any_call_of_a_layer_ends_its_connection_alone() {
    for place in ["started", "received", "written", "read ended", "write ending", "woken"] {
        on_each_back_end(|world| {
            let mut reactor = world.reactor();
            let (record, bystander) = (Record::new(), Record::new());
            let (other, _other_peer) =
                crate::world::peer::connection(world, &mut reactor, Recorder::new(&bystander));
            let noted = record.clone();
            let bad = move || {
                Noted::new("layer", &noted).acting(move |what, _, below, _| {
                    assert!(what != place, "a bug in {what}");
                    if what == "started" && place == "woken" {
                        below.set_timer(Duration::ZERO);
                    }
                    Then::Through
                })
            };
            let protocol = Recorder::new(&record).echoing();
            let listener =
                reactor.listen_tcp(world.anywhere(), layered(once(protocol, &Record::new()), bad)).unwrap();
            let mut peer = world.connect(listener.address());
            if place != "started" && place != "woken" {
                peer.send(b"hello");
                peer.finish();
            }
            peer.read_to_end(&mut reactor);
            drop(peer);
            world.run_until(&mut reactor, "lost", |reactor| reactor.connections() == [other]);
            assert_eq!(record.events().last().unwrap(), "layer: lost Panicked");
            assert_eq!(record.has("made"), place != "started");
            assert_eq!(record.has("lost Panicked"), place != "started");
            assert_eq!(reactor.statistics().panics, 1);
            let logged = world.logged();
            assert_eq!(logged.len(), 1);
            assert!(logged[0].starts_with("panic in a layer of connection"), "{logged:?}");
            // The other connection continues.
            assert_eq!(bystander.events(), ["made"]);
            reactor.transport(other).unwrap().abort_connection();
            world.close(&mut reactor, &listener);
        });
    }
}

#[test]
fn a_layers_panic_in_lost_or_drop_is_only_logged() {
    struct Bad;

    impl Layer for Bad {
        fn connection_lost(&mut self, _: &mut Reactor, _: &Reason) {
            panic!("in lost");
        }
    }

    impl Drop for Bad {
        fn drop(&mut self) {
            panic!("in drop");
        }
    }

    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let record = Record::new();
        let noted = record.clone();
        let factory =
            layered(once(Recorder::new(&record).closing(), &record), move || Noted::new("beneath", &noted));
        let listener = reactor.listen_tcp(world.anywhere(), layered(factory, || Bad)).unwrap();
        let mut peer = world.connect(listener.address());
        peer.finish();
        peer.read_to_end(&mut reactor);
        world.close(&mut reactor, &listener);
        assert!(record.has("lost Done") && record.has("beneath: lost Done"));
        assert_eq!(world.logged().len(), 2);
    });
}

#[test]
fn a_panic_of_the_protocol_above_layers_is_as_without_them() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let record = Record::new();
        let noted = record.clone();
        let protocol = Recorder::new(&record).acting(|what, transport, _| {
            transport.write(b"not sent");
            assert!(what != "data", "a bug");
        });
        let factory = layered(once(protocol, &Record::new()), move || Noted::new("layer", &noted));
        let listener = reactor.listen_tcp(world.anywhere(), factory).unwrap();
        let mut peer = world.connect(listener.address());
        peer.send(b"hello");
        peer.read_to_end(&mut reactor);
        world.close(&mut reactor, &listener);
        assert!(record.has("lost Panicked") && record.has("layer: lost Panicked"));
        assert_eq!(world.logged().len(), 1);
    });
}

/// Calls of a layer after it ended the connection have no effect.
#[test]
fn a_layer_that_goes_on_after_the_end_breaks_nothing() {
    struct Stubborn;

    impl Layer for Stubborn {
        fn data_received(&mut self, below: &mut LayerContext<'_>, data: &[u8]) {
            below.abort();
            below.pass_up(data);
            below.pass_eof_up();
            below.pass_down(data);
            below.pass_eof_down();
            below.pause_reading();
            below.resume_reading();
            below.set_timer(Duration::ZERO);
            below.ready();
            below.close(None);
        }
    }

    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let record = Record::new();
        let factory = layered(once(Recorder::new(&record), &Record::new()), || Stubborn);
        let listener = reactor.listen_tcp(world.anywhere(), factory).unwrap();
        let mut peer = world.connect(listener.address());
        peer.send(b"hello");
        let (read, error) = peer.read_to_end(&mut reactor);
        assert_eq!((read, error.is_some()), (Vec::new(), true));
        turns(&mut reactor);
        assert_eq!(record.events(), ["made", "lost Aborted"]);
        world.close(&mut reactor, &listener);
    });
}
