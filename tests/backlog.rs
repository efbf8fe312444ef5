//! A listener whose loop is busy lets as many wait as its backlog says; others are not answered, and harm nobody.

mod world;

use std::io::ErrorKind;
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use twistor::ListenTcp;
use world::{Record, Recorder, on_each_back_end};

#[test]
fn those_beyond_the_backlog_get_no_answer_until_the_loop_goes_on() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let record = Record::new();
        let served = record.clone();
        let short = ListenTcp { backlog: 1, ..ListenTcp::new(world.anywhere()) };
        let listener = reactor
            .listen_tcp(short, move || {
                Recorder::new(&served).acting(|what, transport, _| {
                    if what == "read lost" {
                        transport.lose_connection();
                    }
                })
            })
            .unwrap();
        let address: SocketAddr = listener.address().to_string().parse().unwrap();
        // Linux lets one more wait than it was asked to.
        let mut peers: Vec<TcpStream> = (0..2).map(|_| TcpStream::connect(address).unwrap()).collect();
        let beyond = TcpStream::connect_timeout(&address, Duration::from_millis(20));
        assert_eq!(beyond.unwrap_err().kind(), ErrorKind::TimedOut);
        world.run_until(&mut reactor, "those who waited", |_| record.count("made") == 2);
        peers.push(TcpStream::connect(address).unwrap());
        world.run_until(&mut reactor, "one more", |_| record.count("made") == 3);
        assert_eq!(reactor.statistics().accept_errors, 0);
        drop(peers);
        world.run_until(&mut reactor, "all lost", |_| record.count("lost Done") == 3);
        reactor.stop_listening(&listener).unwrap();
        world.run_until_idle(&mut reactor);
    });
}
