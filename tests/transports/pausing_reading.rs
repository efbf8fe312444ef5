//! Between `pause_reading` and `resume_reading` nothing is received, and no data is lost.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use crate::world::peer::{connection, narrow_connection, turns};
use crate::world::{Record, Recorder, on_each_back_end};
use twistor::{ConnectionId, Layer, LayerContext, Settings};

#[test]
fn a_pause_in_data_received_is_immediate_and_loses_no_data() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor_with(Settings { read_buffer: 4, ..Settings::default() });
        let record = Record::new();
        let protocol = Recorder::new(&record).acting(|what, transport, _| {
            if what == "data" {
                transport.pause_reading();
            }
        });
        let (id, mut peer) = connection(world, &mut reactor, protocol);
        peer.send(b"onlyfourbyte");
        turns(&mut reactor);
        assert_eq!(record.take(), ["made", "data only"]);
        // No edge is reported for any of these.
        for expected in ["data four", "data byte"] {
            reactor.transport(id).unwrap().resume_reading();
            turns(&mut reactor);
            assert_eq!(record.take(), [expected]);
        }
        reactor.transport(id).unwrap().abort_connection();
        world.run_until_idle(&mut reactor);
    });
}

#[test]
fn a_pause_in_connection_made_holds_from_the_first_byte_on() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let record = Record::new();
        let protocol = Recorder::new(&record).acting(|what, transport, _| {
            if what == "made" {
                transport.pause_reading();
            }
        });
        let (id, mut peer) = connection(world, &mut reactor, protocol);
        peer.send(b"hello");
        turns(&mut reactor);
        assert_eq!(record.events(), ["made"]);
        reactor.transport(id).unwrap().resume_reading();
        turns(&mut reactor);
        assert_eq!(record.events(), ["made", "data hello"]);
        reactor.transport(id).unwrap().abort_connection();
        world.run_until_idle(&mut reactor);
    });
}

#[test]
fn a_pause_by_another_connection_applies_in_the_same_batch() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let record = Record::new();
        let others: Rc<RefCell<Vec<ConnectionId>>> = Rc::default();
        let mut connections = Vec::new();
        for name in ["a", "b", "c"] {
            let all = Rc::clone(&others);
            let protocol = Recorder::named(name, &record).acting(move |what, transport, _| {
                if what == "data" {
                    let me = transport.id();
                    for other in all.borrow().iter().filter(|other| **other != me) {
                        transport.reactor().transport(*other).unwrap().pause_reading();
                    }
                }
            });
            // With small buffers and unsent output, WRITABLE is reported in the same event.
            let (id, peer) = narrow_connection(world, &mut reactor, protocol);
            reactor.transport(id).unwrap().write(&[b'w'; 100_000]);
            others.borrow_mut().push(id);
            connections.push(peer);
        }
        turns(&mut reactor);
        record.take();
        for peer in &mut connections {
            assert!(!peer.read_now().is_empty());
            peer.send(b"!");
        }
        turns(&mut reactor);
        assert_eq!(record.events().iter().filter(|event| event.ends_with("data !")).count(), 1);
        let ids = others.borrow().clone();
        for id in &ids {
            // The first connection to receive data pauses the others, so only one receives at a
            // time.
            reactor.transport(*id).unwrap().resume_reading();
            turns(&mut reactor);
        }
        for name in ["a", "b", "c"] {
            assert_eq!(record.count(&format!("{name}: data !")), 1);
        }
        for id in ids {
            reactor.transport(id).unwrap().abort_connection();
        }
        world.run_until_idle(&mut reactor);
    });
}

#[test]
fn a_fin_during_a_pause_is_reported_after_its_data() {
    on_each_back_end(|world| {
        for data in ["", "bye"] {
            let mut reactor = world.reactor();
            let record = Record::new();
            let (id, mut peer) = connection(world, &mut reactor, Recorder::new(&record));
            reactor.transport(id).unwrap().pause_reading();
            peer.send(data.as_bytes());
            peer.finish();
            turns(&mut reactor);
            assert_eq!(record.events(), ["made"]);
            reactor.transport(id).unwrap().resume_reading();
            turns(&mut reactor);
            let mut expected = vec!["made".to_owned(), format!("data {data}"), "read lost".to_owned()];
            expected.retain(|event| event != "data ");
            assert_eq!(record.events(), expected);
            reactor.transport(id).unwrap().lose_connection();
            world.run_until_idle(&mut reactor);
            assert_eq!(record.events().last().unwrap(), "lost Done");
        }
    });
}

#[test]
fn a_reset_that_came_during_the_pause_is_told_at_once() {
    on_each_back_end(|world| {
        for half_closed in [false, true] {
            let mut reactor = world.reactor();
            let record = Record::new();
            let (id, peer) = connection(world, &mut reactor, Recorder::new(&record));
            let mut transport = reactor.transport(id).unwrap();
            transport.pause_reading();
            if half_closed {
                transport.lose_write_connection();
                turns(&mut reactor);
            }
            peer.reset();
            world.run_until_idle(&mut reactor);
            assert_eq!(record.events().last().unwrap(), "lost Lost");
            assert!(!record.has("read lost"), "it is no end of what came");
        }
    });
}

#[test]
fn data_before_a_reset_is_delivered_first_when_reading_resumes() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor_with(Settings { read_buffer: 4, ..Settings::default() });
        let record = Record::new();
        let protocol = Recorder::new(&record).acting(|what, transport, _| {
            if what == "data" {
                transport.pause_reading();
            }
        });
        let (id, mut peer) = connection(world, &mut reactor, protocol);
        reactor.transport(id).unwrap().pause_reading();
        peer.send(b"onlyfour");
        turns(&mut reactor);
        peer.reset();
        turns(&mut reactor);
        assert_eq!(record.events(), ["made"]);
        reactor.transport(id).unwrap().resume_reading();
        turns(&mut reactor);
        assert_eq!(record.events(), ["made", "data only"]);
        // The last call pauses again. No input is left to be delivered before the loss.
        reactor.transport(id).unwrap().resume_reading();
        world.run_until_idle(&mut reactor);
        assert_eq!(record.events(), ["made", "data only", "data four", "lost Lost"]);
    });
}

#[test]
fn what_a_protocol_or_a_layer_keeps_is_told_before_a_reset() {
    on_each_back_end(|world| {
        for layered in [false, true] {
            let mut reactor = world.reactor();
            let record = Record::new();
            let protocol = Recorder::new(&record).acting(move |what, transport, data| {
                if what == "data" && !data.is_empty() && !layered {
                    transport.pause_reading();
                    transport.schedule_data_received();
                }
            });
            let (id, mut peer) = connection(world, &mut reactor, protocol);
            if layered {
                let mut transport = reactor.transport(id).unwrap();
                transport.add_layer(Late::default());
                transport.pause_reading();
                // A layer is added before the data arrives, because it receives only later input.
                transport.resume_reading();
            }
            peer.send(b"x");
            turns(&mut reactor);
            if layered {
                // The layer holds the data and passes it up while reading is paused.
                reactor.transport(id).unwrap().pause_reading();
                world
                    .run_until(&mut reactor, "the layer's time", |reactor| reactor.delayed_call_count() == 1);
            }
            record.take();
            peer.reset();
            turns(&mut reactor);
            assert_eq!(record.events(), [] as [&str; 0]);
            reactor.transport(id).unwrap().resume_reading();
            world.run_until_idle(&mut reactor);
            let data = if layered { "data x" } else { "data" };
            assert_eq!(record.events(), [data, "lost Lost"]);
        }
    });
}

/// Passes all data up after a delay.
#[derive(Default)]
struct Late(Vec<u8>);

impl Layer for Late {
    fn data_received(&mut self, below: &mut LayerContext<'_>, data: &[u8]) {
        self.0.extend_from_slice(data);
        below.set_timer(Duration::from_millis(20));
    }

    fn timer_expired(&mut self, below: &mut LayerContext<'_>) {
        below.pass_up(&std::mem::take(&mut self.0));
    }
}

#[test]
fn a_paused_connection_hears_of_its_loss_when_a_write_fails() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let record = Record::new();
        let (id, peer) = connection(world, &mut reactor, Recorder::new(&record));
        reactor.transport(id).unwrap().pause_reading();
        peer.reset();
        turns(&mut reactor);
        if let Some(mut transport) = reactor.transport(id) {
            transport.write(b"is anybody there?");
        }
        world.run_until_idle(&mut reactor);
        assert_eq!(record.events(), ["made", "lost Lost"]);
    });
}

#[test]
fn resuming_a_connection_that_closes_or_is_gone_does_nothing() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let record = Record::new();
        let protocol = Recorder::new(&record).acting(|what, transport, _| {
            if what == "lost" {
                transport.resume_reading();
                transport.pause_reading();
                transport.resume_reading();
            }
        });
        let (id, mut peer) = narrow_connection(world, &mut reactor, protocol);
        let mut transport = reactor.transport(id).unwrap();
        transport.pause_reading();
        transport.write(&[b'w'; 500_000]);
        transport.lose_connection();
        peer.send(b"late");
        turns(&mut reactor);
        reactor.transport(id).unwrap().resume_reading();
        turns(&mut reactor);
        // The close is still pending, because the peer does not read.
        assert_eq!(record.events().iter().filter(|event| *event != "pause").collect::<Vec<_>>(), ["made"]);
        let (written, error) = peer.read_to_end(&mut reactor);
        assert_eq!((written.len(), error), (500_000, None));
        drop(peer);
        world.run_until_idle(&mut reactor);
        assert_eq!(record.count("data late"), 0);
        assert_eq!(record.count("lost Done"), 1);
    });
}

#[test]
fn pausing_and_resuming_twice_is_the_same_as_once() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let record = Record::new();
        let (id, mut peer) = connection(world, &mut reactor, Recorder::new(&record));
        let mut transport = reactor.transport(id).unwrap();
        transport.pause_reading();
        transport.pause_reading();
        transport.resume_reading();
        transport.resume_reading();
        peer.send(b"hello");
        turns(&mut reactor);
        assert_eq!(record.events(), ["made", "data hello"]);
        reactor.transport(id).unwrap().abort_connection();
        world.run_until_idle(&mut reactor);
    });
}
