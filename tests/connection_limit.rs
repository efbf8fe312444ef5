//! No more connections are open than the limit says; those beyond it are closed at once, and counted.

mod world;

use std::io::Read;
use std::net::{SocketAddr, TcpStream};

use twistor::Settings;
use world::{Record, Recorder, on_each_back_end};

#[test]
fn one_connection_more_than_the_limit_is_closed_until_another_one_goes() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor_with(Settings { max_connections: 3, ..Settings::default() });
        let record = Record::new();
        let served = record.clone();
        let listener = reactor
            .listen_tcp(world.anywhere(), move || {
                Recorder::new(&served).acting(|what, transport, _| {
                    if what == "read lost" {
                        transport.lose_connection();
                    }
                })
            })
            .unwrap();
        let address: SocketAddr = listener.address().to_string().parse().unwrap();
        let mut open: Vec<TcpStream> = Vec::new();
        for count in 1..=3 {
            open.push(TcpStream::connect(address).unwrap());
            world.run_until(&mut reactor, "made", |_| record.count("made") == count);
        }
        assert_eq!(reactor.statistics().over_limit, 0);
        for over in 1..=2 {
            let mut refused = TcpStream::connect(address).unwrap();
            world.run_until(&mut reactor, "closed", |reactor| reactor.statistics().over_limit == over);
            assert_eq!(refused.read(&mut [0; 10]).unwrap(), 0, "a FIN, not a hang");
        }
        assert_eq!((record.count("made"), reactor.statistics().connections), (3, 3));
        open.pop();
        world.run_until(&mut reactor, "one gone", |_| record.has("lost Done"));
        open.push(TcpStream::connect(address).unwrap());
        world.run_until(&mut reactor, "made", |_| record.count("made") == 4);
        assert_eq!(reactor.statistics().accepts, 4);
        let logged = world.logged();
        assert!(logged.iter().all(|line| line.contains("3 connections are open")), "{logged:?}");
        drop(open);
        world.run_until(&mut reactor, "all lost", |_| record.count("lost Done") == 4);
        reactor.stop_listening(&listener).unwrap();
        world.run_until_idle(&mut reactor);
    });
}

#[test]
fn a_flood_beyond_the_limit_is_closed_and_logged_once_a_second() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor_with(Settings { max_connections: 1, ..Settings::default() });
        let began = std::time::Instant::now();
        let listener = reactor.listen_tcp(world.anywhere(), || Recorder::new(&Record::new())).unwrap();
        let address: SocketAddr = listener.address().to_string().parse().unwrap();
        let flood: Vec<TcpStream> = (0..100).map(|_| TcpStream::connect(address).unwrap()).collect();
        world.run_until(&mut reactor, "all answered", |reactor| reactor.statistics().over_limit == 99);
        let logged = world.logged().len() as u64;
        assert!((1..=1 + began.elapsed().as_secs()).contains(&logged), "{logged}");
        let mut open = 0;
        for mut stream in flood {
            stream.set_nonblocking(true).unwrap();
            open += usize::from(stream.read(&mut [0; 10]).is_err());
        }
        assert_eq!(open, 1, "all the others saw a FIN");
        reactor.stop_listening(&listener).unwrap();
        let left = reactor.connections()[0];
        reactor.transport(left).unwrap().abort_connection();
        world.run_until_idle(&mut reactor);
    });
}
