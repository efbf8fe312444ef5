//! A factory that makes no protocol closes the connection, and nothing else is called.

mod world;

use std::io::Read;
use std::net::{SocketAddr, TcpStream};

use twistor::{Address, factory};
use world::{Record, Recorder, on_each_back_end, once};

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
        let address: SocketAddr = listener.address().to_string().parse().unwrap();
        let mut peer = TcpStream::connect(address).unwrap();
        world.run_until(&mut reactor, "refused", |reactor| reactor.statistics().refusals == 1);
        assert_eq!(peer.read(&mut [0; 10]).unwrap(), 0, "a FIN");
        assert_eq!(record.events(), [peer.local_addr().unwrap().to_string()]);
        let statistics = reactor.statistics();
        assert_eq!((statistics.accepts, statistics.connections, statistics.losses), (1, 0, 0));
        reactor.stop_listening(&listener).unwrap();
        world.run_until_idle(&mut reactor);
    });
}

#[test]
fn a_factory_can_take_one_and_refuse_the_next() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let record = Record::new();
        let server = Recorder::new(&record).acting(|what, transport, _| {
            if what == "read lost" {
                transport.lose_connection();
            }
        });
        let listener = reactor.listen_tcp(world.anywhere(), once(server, &Record::new())).unwrap();
        let address: SocketAddr = listener.address().to_string().parse().unwrap();
        let first = TcpStream::connect(address).unwrap();
        world.run_until(&mut reactor, "made", |_| record.has("made"));
        for count in 1..=3 {
            let mut refused = TcpStream::connect(address).unwrap();
            world.run_until(&mut reactor, "refused", |reactor| reactor.statistics().refusals == count);
            assert_eq!(refused.read(&mut [0; 10]).unwrap(), 0);
        }
        assert_eq!(record.events(), ["made"]);
        drop(first);
        world.run_until(&mut reactor, "lost", |_| record.has("lost Done"));
        reactor.stop_listening(&listener).unwrap();
        world.run_until_idle(&mut reactor);
    });
}

#[test]
fn a_client_without_a_protocol_is_told_that_its_connection_is_done() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let (server, record) = (Record::new(), Record::new());
        let seen = Recorder::new(&server).acting(|what, transport, _| {
            if what == "read lost" {
                transport.lose_connection();
            }
        });
        let listener = reactor.listen_tcp(world.anywhere(), once(seen, &Record::new())).unwrap();
        let mut refusing = once(Recorder::new(&record), &record);
        refusing.protocol = None;
        reactor.connect_tcp(listener.address(), refusing).unwrap();
        world.run_until(&mut reactor, "both ends", |_| record.has("stopped") && server.has("lost Done"));
        assert_eq!(record.events(), ["started", "connecting", "gone Done", "stopped"]);
        assert_eq!(server.events(), ["made", "read lost", "lost Done"]);
        reactor.stop_listening(&listener).unwrap();
        world.run_until_idle(&mut reactor);
    });
}
