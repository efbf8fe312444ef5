//! A protocol is told to pause above the high-water mark and to resume at the low one, once a crossing.

mod world;

use twistor::{ConnectionId, Reactor, Settings};
use world::peer::{Peer, narrow_connection, turns};
use world::{Record, Recorder, World, nobody, on_each_back_end};

/// A connection on which 100 bytes and more wait, above its mark or not.
fn stuck(world: &World, reactor: &mut Reactor, record: &Record) -> (ConnectionId, Peer) {
    let (id, peer) = narrow_connection(world, reactor, Recorder::new(record));
    while reactor.transport(id).unwrap().unsent() < 100 {
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
fn exactly_at_the_high_mark_nothing_is_said_and_one_byte_above_it_pause() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let record = Record::new();
        let (id, _peer) = stuck(world, &mut reactor, &record);
        for (extra, expected) in [(0, 0), (1, 1)] {
            // What waits changes only when the loop turns.
            let mut transport = reactor.transport(id).unwrap();
            let unsent = transport.unsent();
            transport.set_water_marks(unsent + 500, 0);
            transport.write(&vec![b'w'; 500 + extra]);
            assert_eq!(transport.unsent(), unsent + 500 + extra);
            turns(&mut reactor);
            assert_eq!(record.count("pause"), expected);
        }
        end(world, &mut reactor, id);
    });
}

#[test]
fn the_default_marks_are_those_of_the_settings() {
    on_each_back_end(|world| {
        let settings = Settings { high_water: 40_000, low_water: 10_000, ..Settings::default() };
        let mut reactor = world.reactor_with(settings);
        let record = Record::new();
        let (id, mut peer) = stuck(world, &mut reactor, &record);
        let mut transport = reactor.transport(id).unwrap();
        let room = 40_000 - transport.unsent();
        transport.write(&vec![b'w'; room]);
        turns(&mut reactor);
        assert_eq!(record.count("pause"), 0);
        let mut transport = reactor.transport(id).unwrap();
        let room = 40_001 - transport.unsent();
        transport.write(&vec![b'w'; room]);
        turns(&mut reactor);
        assert_eq!(record.count("pause"), 1);
        // Never above the low mark.
        while !record.has("resume") {
            let unsent = reactor.transport(id).unwrap().unsent();
            assert!(unsent > 10_000, "{unsent} bytes wait");
            peer.read_some(500);
            turns(&mut reactor);
        }
        assert!(reactor.transport(id).unwrap().unsent() <= 10_000);
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
            transport.set_water_marks(transport.unsent() + 1000, 50);
            for _ in 0..10 {
                reactor.transport(id).unwrap().write(&[b'w'; 5000]);
                turns(&mut reactor);
            }
            assert_eq!(record.take(), ["pause"]);
            assert_eq!(reactor.statistics().pauses, crossing);
            while reactor.transport(id).unwrap().unsent() > 0 {
                peer.read_now();
                turns(&mut reactor);
            }
            assert_eq!(record.take(), ["resume"]);
            while reactor.transport(id).unwrap().unsent() < 100 {
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
        let unsent = transport.unsent();
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
        // It is not told to resume while it is above the high one.
        assert_eq!(record.take(), ["made", "pause"]);
        while reactor.transport(id).unwrap().unsent() > 0 {
            peer.read_now();
            turns(&mut reactor);
        }
        assert_eq!(record.take(), ["resume"]);
        end(world, &mut reactor, id);
    });
}

#[test]
fn a_writer_that_minds_the_marks_never_has_more_waiting_than_the_mark_and_one_write() {
    on_each_back_end(|world| {
        const PIECE: usize = 5000;
        const PIECES: usize = 400;
        let mut reactor = world.reactor();
        let mut left = PIECES;
        let mut paused = false;
        let protocol = nobody().acting(move |what, transport, _| {
            match what {
                "pause" => paused = true,
                "resume" => paused = false,
                _ => {}
            }
            let high = transport.reactor().settings().high_water;
            // It looks for itself as well: the word comes after the callback.
            while !paused && left > 0 && transport.unsent() <= high {
                transport.write(&[b'w'; PIECE]);
                assert!(transport.unsent() <= high + PIECE);
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
