//! The peer's FIN is reported once, after all earlier input, and does not end our own output.

use crate::world::peer::{connection, narrow_connection, turns};
use crate::world::{Record, Recorder, on_each_back_end};
use twistor::{Protocol, Settings, Transport};

#[test]
fn a_fin_alone_is_told_once_and_writing_goes_on() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let record = Record::new();
        let (id, mut peer) = connection(world, &mut reactor, Recorder::new(&record));
        peer.finish();
        turns(&mut reactor);
        assert_eq!(record.events(), ["made", "read lost"]);
        reactor.transport(id).unwrap().write(b"still here");
        turns(&mut reactor);
        assert_eq!(peer.read_now(), b"still here");
        reactor.transport(id).unwrap().lose_connection();
        world.run_until_idle(&mut reactor);
        assert_eq!(record.events(), ["made", "read lost", "lost Done"]);
    });
}

#[test]
fn data_and_fin_in_one_event_are_both_delivered_for_any_buffer() {
    on_each_back_end(|world| {
        // Smaller than the data, of equal size, and larger.
        for read_buffer in [4, 8, 100] {
            let mut reactor = world.reactor_with(Settings { read_buffer, ..Settings::default() });
            let record = Record::new();
            let protocol = Recorder::new(&record);
            let received = std::rc::Rc::clone(&protocol.received);
            let (id, mut peer) = connection(world, &mut reactor, protocol);
            peer.send(b"farewell");
            peer.finish();
            turns(&mut reactor);
            assert_eq!(*received.borrow(), b"farewell");
            assert_eq!(record.count("read lost"), 1);
            assert_eq!(record.events().last().unwrap(), "read lost");
            reactor.transport(id).unwrap().lose_connection();
            world.run_until_idle(&mut reactor);
        }
    });
}

#[test]
fn a_request_that_ends_with_fin_has_its_answer() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let record = Record::new();
        let protocol = Recorder::new(&record).acting(|what, transport, _| {
            if what == "read lost" {
                transport.write(b"answer");
                transport.lose_connection();
            }
        });
        let (_, mut peer) = connection(world, &mut reactor, protocol);
        peer.send(b"question");
        peer.finish();
        assert_eq!(peer.read_to_end(&mut reactor), (b"answer".to_vec(), None));
        world.run_until_idle(&mut reactor);
        assert_eq!(record.events(), ["made", "data question", "read lost", "lost Done"]);
    });
}

/// A protocol that does not override `read_connection_lost`.
struct Plain;

impl Protocol for Plain {
    fn connection_made(&mut self, transport: &mut Transport<'_>) {
        transport.write(&[b'p'; 500_000]);
    }

    fn data_received(&mut self, _: &mut Transport<'_>, _: &[u8]) {}
}

#[test]
fn by_default_a_fin_flushes_pending_output_and_then_closes() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let (id, mut peer) = narrow_connection(world, &mut reactor, Plain);
        peer.finish();
        turns(&mut reactor);
        let transport = reactor.transport(id).unwrap();
        assert!(transport.is_closing());
        assert!(transport.write_buffer_size() > 0);
        let (written, error) = peer.read_to_end(&mut reactor);
        assert_eq!((written.len(), error), (500_000, None));
        world.run_until_idle(&mut reactor);
    });
}
