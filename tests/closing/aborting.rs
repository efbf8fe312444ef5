//! `abort_connection` discards unsent output and resets the connection.

use std::io::ErrorKind;

use crate::world::peer::{connection, narrow_connection, turns};
use crate::world::{Record, Recorder, on_each_back_end};

#[test]
fn the_peer_sees_a_reset_and_the_loss_is_told_later_and_once() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let record = Record::new();
        let (id, mut peer) = connection(world, &mut reactor, Recorder::new(&record));
        let mut transport = reactor.transport(id).unwrap();
        transport.abort_connection();
        transport.abort_connection();
        transport.lose_connection();
        assert!(transport.is_closing());
        assert_eq!(record.events(), ["made"], "nothing is told inside the call");
        world.run_until_idle(&mut reactor);
        assert_eq!(record.events(), ["made", "lost Aborted"]);
        assert_eq!(peer.read_to_end(&mut reactor), (Vec::new(), Some(ErrorKind::ConnectionReset)));
    });
}

#[test]
fn a_full_buffer_does_not_keep_it() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let record = Record::new();
        let (id, _peer) = narrow_connection(world, &mut reactor, Recorder::new(&record));
        reactor.transport(id).unwrap().write(&[b'w'; 500_000]);
        turns(&mut reactor);
        assert!(reactor.transport(id).unwrap().write_buffer_size() > 0);
        reactor.transport(id).unwrap().abort_connection();
        world.run_until_idle(&mut reactor);
        assert_eq!(record.events().last().unwrap(), "lost Aborted");
    });
}

#[test]
fn an_abort_inside_a_callback_ends_it_even_while_it_closes() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let record = Record::new();
        let protocol = Recorder::new(&record).acting(|what, transport, _| {
            if what == "data" {
                transport.write(b"never sent");
                transport.lose_connection();
                transport.abort_connection();
            }
        });
        let (_, mut peer) = connection(world, &mut reactor, protocol);
        peer.send(&[b'd'; 64]);
        world.run_until_idle(&mut reactor);
        assert_eq!(record.count("lost Aborted"), 1);
        assert_eq!(record.events().len(), 3, "{:?}", record.events());
        assert_eq!(peer.read_to_end(&mut reactor), (Vec::new(), Some(ErrorKind::ConnectionReset)));
    });
}

#[test]
fn a_panic_after_an_abort_in_the_same_callback_is_the_reason() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let record = Record::new();
        let protocol = Recorder::new(&record).acting(|what, transport, _| {
            if what == "data" {
                transport.abort_connection();
                panic!("on purpose");
            }
        });
        let (_, mut peer) = connection(world, &mut reactor, protocol);
        peer.send(b"go");
        world.run_until_idle(&mut reactor);
        assert_eq!(record.events(), ["made", "data go", "lost Panicked"]);
        assert_eq!(world.logged().len(), 1);
    });
}
