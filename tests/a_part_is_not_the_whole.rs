//! A connection that ends with bytes unsent is reset: its peer does not take a part for the whole.

mod world;

use std::io::ErrorKind;

use world::peer::narrow_connection;
use world::{Record, Recorder, on_each_back_end};

#[test]
fn a_reactor_that_stops_with_bytes_unsent_resets_their_connection() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let record = Record::new();
        let (id, mut peer) = narrow_connection(world, &mut reactor, Recorder::new(&record));
        reactor.transport(id).unwrap().write(&[b'x'; 500_000]);
        assert!(reactor.transport(id).unwrap().unsent() > 0);
        reactor.call_later(std::time::Duration::ZERO, |reactor| {
            reactor.stop();
        });
        world.run(&mut reactor);
        assert!(record.has("lost Stopped"));
        let mut another = world.reactor();
        let (got, error) = peer.read_to_end(&mut another);
        assert!(got.len() < 500_000);
        assert_eq!(error, Some(ErrorKind::ConnectionReset));
    });
}

#[test]
fn a_reactor_that_stops_with_everything_sent_ends_its_connections() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let record = Record::new();
        let (id, mut peer) = narrow_connection(world, &mut reactor, Recorder::new(&record));
        reactor.transport(id).unwrap().write(b"all of it");
        reactor.call_later(std::time::Duration::from_millis(1), |reactor| {
            reactor.stop();
        });
        world.run(&mut reactor);
        let mut another = world.reactor();
        assert_eq!(peer.read_to_end(&mut another), (b"all of it".to_vec(), None));
    });
}
