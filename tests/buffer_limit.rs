//! A protocol that writes on although nobody takes it loses its connection, and no memory without end.

mod world;

use std::io::ErrorKind;

use twistor::Settings;
use world::peer::{narrow_connection, turns};
use world::{Record, Recorder, on_each_back_end};

#[test]
fn a_write_that_finds_the_limit_waiting_is_kept_and_one_that_finds_a_byte_more_ends_the_connection() {
    on_each_back_end(|world| {
        const LIMIT: usize = 200_000;
        let mut reactor = world.reactor_with(Settings { buffer_limit: LIMIT, ..Settings::default() });
        let record = Record::new();
        let (id, mut peer) = narrow_connection(world, &mut reactor, Recorder::new(&record));
        while reactor.transport(id).unwrap().unsent() == 0 {
            reactor.transport(id).unwrap().write(&[b'w'; 10_000]);
            turns(&mut reactor);
        }
        let mut transport = reactor.transport(id).unwrap();
        let room = LIMIT - transport.unsent();
        transport.write(&vec![b'w'; room]);
        assert_eq!(transport.unsent(), LIMIT);
        transport.write(b"w");
        assert!(!transport.is_closing());
        assert_eq!(transport.unsent(), LIMIT + 1);
        transport.write(b"w");
        assert!(transport.is_closing());
        turns(&mut reactor);
        assert_eq!(record.events(), ["made", "lost BufferLimit"]);
        assert_eq!(reactor.statistics().buffer_limits, 1);
        assert_eq!(peer.read_to_end(&mut reactor).1, Some(ErrorKind::ConnectionReset));
        world.run_until_idle(&mut reactor);
    });
}

#[test]
fn one_write_larger_than_the_limit_is_taken() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor_with(Settings { buffer_limit: 1000, ..Settings::default() });
        let record = Record::new();
        let (id, mut peer) = narrow_connection(world, &mut reactor, Recorder::new(&record));
        reactor.transport(id).unwrap().write(&[b'w'; 300_000]);
        reactor.transport(id).unwrap().lose_connection();
        let (all, error) = peer.read_to_end(&mut reactor);
        assert_eq!((all.len(), error), (300_000, None));
        drop(peer);
        world.run_until_idle(&mut reactor);
        assert_eq!(record.events().last().unwrap(), "lost Done");
    });
}
