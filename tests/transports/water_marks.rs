//! A protocol is paused above the high-water mark and resumed at the low one, once per crossing.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use crate::layers::{Noted, Then};
use crate::world::peer::{Peer, narrow_connection, turns};
use crate::world::{Record, Recorder, World, idle_protocol, on_each_back_end};
use twistor::policy::{Throttle, TokenBucket};
use twistor::{ConnectionId, Layer, Reactor, Settings, Transport};

/// A connection with at least 100 unsent bytes, above its mark or not.
fn stuck(world: &World, reactor: &mut Reactor, record: &Record) -> (ConnectionId, Peer) {
    let (id, peer) = narrow_connection(world, reactor, Recorder::new(record));
    while reactor.transport(id).unwrap().write_buffer_size() < 100 {
        reactor.transport(id).unwrap().write(&[b'w'; 1000]);
        turns(reactor);
    }
    (id, peer)
}

fn end(world: &World, reactor: &mut Reactor, id: ConnectionId) {
    reactor.transport(id).unwrap().abort_connection();
    world.run_until_idle(reactor);
}

#[test]
fn a_pause_comes_one_byte_above_the_high_mark_and_not_at_it() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let record = Record::new();
        let (id, _peer) = stuck(world, &mut reactor, &record);
        for (extra, expected) in [(0, 0), (1, 1)] {
            // The number of unsent bytes only changes when the loop runs.
            let mut transport = reactor.transport(id).unwrap();
            let unsent = transport.write_buffer_size();
            transport.set_water_marks(unsent + 500, 0);
            transport.write(&vec![b'w'; 500 + extra]);
            assert_eq!(transport.write_buffer_size(), unsent + 500 + extra);
            turns(&mut reactor);
            assert_eq!(record.count("pause"), expected);
        }
        end(world, &mut reactor, id);
    });
}

#[test]
fn the_default_marks_are_those_of_the_settings() {
    on_each_back_end(|world| {
        let settings = Settings { high_water: 40_000, ..Settings::default() };
        let mut reactor = world.reactor_with(settings);
        let record = Record::new();
        let (id, mut peer) = stuck(world, &mut reactor, &record);
        let mut transport = reactor.transport(id).unwrap();
        let room = 40_000 - transport.write_buffer_size();
        transport.write(&vec![b'w'; room]);
        turns(&mut reactor);
        assert_eq!(record.count("pause"), 0);
        let mut transport = reactor.transport(id).unwrap();
        let room = 40_001 - transport.write_buffer_size();
        transport.write(&vec![b'w'; room]);
        turns(&mut reactor);
        assert_eq!(record.count("pause"), 1);
        // `resume_writing` never comes above the low mark.
        while !record.has("resume") {
            let unsent = reactor.transport(id).unwrap().write_buffer_size();
            assert!(unsent > 10_000, "{unsent} bytes wait");
            peer.read_some(500);
            turns(&mut reactor);
        }
        assert!(reactor.transport(id).unwrap().write_buffer_size() <= 10_000);
        end(world, &mut reactor, id);
    });
}

#[test]
fn each_crossing_is_told_once_however_often_is_written() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let record = Record::new();
        let (id, mut peer) = stuck(world, &mut reactor, &record);
        record.take();
        for crossing in 1..=3 {
            let mut transport = reactor.transport(id).unwrap();
            transport.set_water_marks(transport.write_buffer_size() + 1000, 50);
            for _ in 0..10 {
                reactor.transport(id).unwrap().write(&[b'w'; 5000]);
                turns(&mut reactor);
            }
            assert_eq!(record.take(), ["pause"]);
            assert_eq!(reactor.statistics().pauses, crossing);
            while reactor.transport(id).unwrap().write_buffer_size() > 0 {
                peer.read_now();
                turns(&mut reactor);
            }
            assert_eq!(record.take(), ["resume"]);
            while reactor.transport(id).unwrap().write_buffer_size() < 100 {
                reactor.transport(id).unwrap().write(&[b'w'; 1000]);
                turns(&mut reactor);
            }
        }
        end(world, &mut reactor, id);
    });
}

#[test]
fn new_marks_count_at_once_and_for_one_connection_alone() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let (record, other) = (Record::new(), Record::new());
        let (id, _peer) = stuck(world, &mut reactor, &record);
        let (neighbour, _neighbours_peer) = stuck(world, &mut reactor, &other);
        reactor.transport(id).unwrap().set_water_marks(10, 5);
        turns(&mut reactor);
        assert_eq!(record.take(), ["made", "pause"]);
        let mut transport = reactor.transport(id).unwrap();
        let unsent = transport.write_buffer_size();
        transport.set_water_marks(2 * unsent, unsent);
        turns(&mut reactor);
        assert_eq!(record.take(), ["resume"]);
        assert_eq!(other.events(), ["made"]);
        reactor.transport(neighbour).unwrap().abort_connection();
        end(world, &mut reactor, id);
    });
}

#[test]
fn a_low_mark_above_the_high_one_counts_as_the_high_one() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let record = Record::new();
        let (id, mut peer) = stuck(world, &mut reactor, &record);
        let mut transport = reactor.transport(id).unwrap();
        transport.set_water_marks(50, 1_000_000);
        turns(&mut reactor);
        // `resume_writing` does not come while output is above the high mark.
        assert_eq!(record.take(), ["made", "pause"]);
        while reactor.transport(id).unwrap().write_buffer_size() > 0 {
            peer.read_now();
            turns(&mut reactor);
        }
        assert_eq!(record.take(), ["resume"]);
        end(world, &mut reactor, id);
    });
}

#[test]
fn a_pausing_writer_exceeds_the_mark_by_at_most_one_write() {
    on_each_back_end(|world| {
        const PIECE: usize = 5000;
        const PIECES: usize = 400;
        let mut reactor = world.reactor();
        let mut left = PIECES;
        let mut paused = false;
        let protocol = idle_protocol().acting(move |what, transport, _| {
            match what {
                "pause" => paused = true,
                "resume" => paused = false,
                _ => {}
            }
            let high = transport.reactor().settings().high_water;
            // Also checks the size itself, because `pause_writing` comes after the callback.
            while !paused && left > 0 && transport.write_buffer_size() <= high {
                transport.write(&[b'w'; PIECE]);
                assert!(transport.write_buffer_size() <= high + PIECE);
                left -= 1;
                if left == 0 {
                    transport.lose_connection();
                }
            }
        });
        let (_, mut peer) = narrow_connection(world, &mut reactor, protocol);
        let (all, error) = peer.read_to_end(&mut reactor);
        assert_eq!((all.len(), error), (PIECE * PIECES, None));
        assert_eq!(reactor.statistics().panics, 0);
        drop(peer);
        world.run_until_idle(&mut reactor);
    });
}

/// Returns layers of several kinds: holding data back, adding data, and stacks of both.
fn layers_of(sort: usize) -> Vec<Box<dyn Layer>> {
    let throttle = || Throttle::new(vec![], vec![TokenBucket::new(20_000_000)]);
    let through = || Noted::new("", &Record::new());
    let expanding = || {
        Noted::new("", &Record::new()).acting(|what, _, below, data| {
            if what == "written" {
                below.pass_down(data);
                below.pass_down(data);
            }
            if what == "written" { Then::Nothing } else { Then::Through }
        })
    };
    match sort {
        0 => vec![],
        1 => vec![Box::new(through())],
        2 => vec![Box::new(throttle())],
        3 => vec![Box::new(expanding())],
        4 => vec![Box::new(throttle()), Box::new(expanding())],
        _ => vec![Box::new(expanding()), Box::new(through()), Box::new(throttle()), Box::new(through())],
    }
}

/// Writes pieces while writing is not paused, and closes after the last one.
fn write_on(transport: &mut Transport<'_>, left: &Cell<usize>, piece: usize) {
    while !transport.writing_paused() {
        if left.get() == 0 {
            return transport.lose_connection();
        }
        left.set(left.get() - 1);
        let before = transport.write_buffer_size();
        transport.write(&vec![b'w'; piece]);
        assert!(transport.write_buffer_size() <= before + piece);
    }
}

#[test]
fn a_writer_that_asks_whether_it_is_paused_sends_everything() {
    for (high, piece, pieces) in
        [(64 * 1024, 5000, 400), (64 * 1024, 100_000, 20), (1000, 300, 200), (0, 3, 30)]
    {
        for sort in 0..6 {
            on_each_back_end(|world| {
                // The limit and the marks of the settings do not help.
                let settings = Settings { write_buffer_limit: 2 * piece + high, ..Settings::default() };
                let mut reactor = world.reactor_with(settings);
                let left = Rc::new(Cell::new(pieces));
                let written = Rc::clone(&left);
                let protocol = idle_protocol().acting(move |what, transport, _| match what {
                    "made" => {
                        transport.set_water_marks(high, high / 4);
                        // The layers are added to a connection that is open, and may have output.
                        transport.write(b"first");
                        for layer in layers_of(sort) {
                            transport.add_layer(layer);
                        }
                        write_on(transport, &written, piece);
                    }
                    "resume" => write_on(transport, &written, piece),
                    _ => {}
                });
                let (_, mut peer) = narrow_connection(world, &mut reactor, protocol);
                let (all, error) = peer.read_to_end(&mut reactor);
                let expected = 5 + piece * pieces * if matches!(sort, 3..) { 2 } else { 1 };
                assert_eq!((all.len(), error, left.get()), (expected, None, 0), "layers {sort}");
                drop(peer);
                world.run_until_idle(&mut reactor);
                assert_eq!(reactor.statistics().panics, 0);
            });
        }
    }
}

#[test]
fn whoever_writes_sees_at_once_that_the_mark_is_passed() {
    for sort in 0..6 {
        on_each_back_end(|world| {
            let mut reactor = world.reactor();
            let protocol = idle_protocol().acting(move |what, transport, _| {
                if what == "made" {
                    layers_of(sort).into_iter().for_each(|layer| transport.add_layer(layer));
                }
            });
            let (id, peer) = narrow_connection(world, &mut reactor, protocol);
            // Writes from outside of the connection's callbacks.
            let mut written = 0;
            while !reactor.transport(id).unwrap().writing_paused() {
                reactor.transport(id).unwrap().write(&[b'w'; 1000]);
                written += 1000;
            }
            let unsent = reactor.transport(id).unwrap().write_buffer_size();
            let high = reactor.settings().high_water;
            assert!((high + 1..=high + 1000).contains(&unsent), "layers {sort}: {unsent} of {written}");
            reactor.transport(id).unwrap().abort_connection();
            drop(peer);
            world.run_until_idle(&mut reactor);
        });
    }
}

#[test]
fn a_pause_before_the_protocol_is_made_is_told_after_it() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let record = Record::new();
        let waits = || {
            Noted::new("", &Record::new()).acting(|what, _, below, _| {
                match what {
                    "started" => below.set_timer(Duration::from_millis(5)),
                    "woken" => below.ready(),
                    _ => return Then::Through,
                }
                Then::Nothing
            })
        };
        let factory = twistor::layered(crate::world::once(Recorder::new(&record), &Record::new()), waits);
        let listener = reactor.listen_tcp(world.anywhere(), factory).unwrap();
        let peer = world.connect(listener.address());
        world.run_until(&mut reactor, "accepted", |reactor| !reactor.connections().is_empty());
        let id = reactor.connections()[0];
        reactor.transport(id).unwrap().write(&[b'w'; 8_000_000]);
        assert!(reactor.transport(id).unwrap().writing_paused());
        world.run_until(&mut reactor, "told", |_| record.has("pause"));
        assert_eq!(record.events()[..2], ["made", "pause"]);
        reactor.transport(id).unwrap().abort_connection();
        drop(peer);
        world.close(&mut reactor, &listener);
    });
}
