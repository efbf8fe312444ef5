//! A connection that fails during a write is lost once, and earlier input is delivered.

use crate::world::peer::{connection, narrow_connection, turns};
use crate::world::{Record, Recorder, on_each_back_end};
use twistor::Settings;

#[test]
fn a_reset_found_by_a_write_still_delivers_earlier_data() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let record = Record::new();
        let (id, mut peer) = connection(world, &mut reactor, Recorder::new(&record));
        peer.send(b"last words");
        peer.reset();
        // No turn has run, so the write sees the reset before any read does.
        reactor.transport(id).unwrap().write(&[b'w'; 20_000]);
        reactor.transport(id).unwrap().write(&[b'w'; 20_000]);
        world.run_until_idle(&mut reactor);
        assert_eq!(record.events(), ["made", "data last words", "lost Lost"]);
    });
}

#[test]
fn one_that_does_not_read_hears_of_the_loss_at_once() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let record = Record::new();
        let (id, peer) = connection(world, &mut reactor, Recorder::new(&record));
        reactor.transport(id).unwrap().pause_reading();
        peer.reset();
        for _ in 0..2 {
            if let Some(mut transport) = reactor.transport(id) {
                transport.write(&[b'w'; 20_000]);
            }
            turns(&mut reactor);
        }
        world.run_until_idle(&mut reactor);
        assert_eq!(record.events(), ["made", "lost Lost"]);
    });
}

#[test]
fn a_full_buffer_goes_with_its_connection() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let record = Record::new();
        let (id, peer) = narrow_connection(world, &mut reactor, Recorder::new(&record));
        reactor.transport(id).unwrap().write(&[b'w'; 900_000]);
        turns(&mut reactor);
        peer.reset();
        world.run_until_idle(&mut reactor);
        assert_eq!(record.events(), ["made", "pause", "lost Lost"]);
    });
}

#[test]
fn a_close_during_the_last_data_stops_its_delivery() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor_with(Settings { read_buffer: 4, ..Settings::default() });
        let record = Record::new();
        let protocol = Recorder::new(&record).acting(|what, transport, _| {
            if what == "data" {
                transport.lose_connection();
                transport.resume_reading();
            }
        });
        let (id, mut peer) = connection(world, &mut reactor, protocol);
        peer.send(b"last words");
        peer.reset();
        reactor.transport(id).unwrap().write(&[b'w'; 20_000]);
        reactor.transport(id).unwrap().write(&[b'w'; 20_000]);
        world.run_until_idle(&mut reactor);
        assert_eq!(record.events(), ["made", "data last", "lost Lost"]);
    });
}
