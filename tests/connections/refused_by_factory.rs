//! A factory that makes no protocol closes the connection, and nothing else is called.

use crate::world::{Record, Recorder, on_each_back_end, once};
use twistor::{Address, factory};

#[test]
fn a_connection_without_a_protocol_is_closed_at_once() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let record = Record::new();
        let noted = record.clone();
        let refusing = factory(move |peer: &Address| {
            noted.add(peer.to_string());
            None::<Recorder>
        });
        let listener = reactor.listen_tcp(world.anywhere(), refusing).unwrap();
        let mut peer = world.connect(listener.address());
        world.run_until(&mut reactor, "refused", |reactor| reactor.statistics().connections_refused == 1);
        assert!(peer.at_end(), "a FIN");
        assert_eq!(record.events(), [peer.local_address().to_string()]);
        let statistics = reactor.statistics();
        assert_eq!((statistics.accepts, statistics.connections, statistics.connections_lost), (1, 0, 0));
        world.close(&mut reactor, &listener);
    });
}

#[test]
fn a_factory_can_take_one_and_refuse_the_next() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let record = Record::new();
        let server = Recorder::new(&record).closing();
        let listener = world.serve(&mut reactor, server);
        let first = world.connect(listener.address());
        world.run_until(&mut reactor, "made", |_| record.has("made"));
        for count in 1..=3 {
            let mut refused = world.connect(listener.address());
            world.run_until(&mut reactor, "refused", |reactor| {
                reactor.statistics().connections_refused == count
            });
            assert!(refused.at_end(), "a FIN");
        }
        assert_eq!(record.events(), ["made"]);
        drop(first);
        world.run_until(&mut reactor, "lost", |_| record.has("lost Done"));
        world.close(&mut reactor, &listener);
    });
}

#[test]
fn a_client_without_a_protocol_sees_a_clean_close() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let (server, record) = (Record::new(), Record::new());
        let seen = Recorder::new(&server).closing();
        let listener = world.serve(&mut reactor, seen);
        let mut refusing = once(Recorder::new(&record), &record);
        refusing.protocol = None;
        reactor.connect_tcp(listener.address(), refusing).unwrap();
        world.run_until(&mut reactor, "both ends", |_| record.has("stopped") && server.has("lost Done"));
        assert_eq!(record.events(), ["started", "connecting", "gone Done", "stopped"]);
        assert_eq!(server.events(), ["made", "read lost", "lost Done"]);
        world.close(&mut reactor, &listener);
    });
}
