//! A peer that resets before it is accepted is a connection that is made and lost.

mod world;

use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use twistor::{Address, factory};
use world::{Record, Recorder, on_each_back_end};

#[test]
fn a_peer_that_resets_before_it_is_accepted_still_has_its_address() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let record = Record::new();
        let noted = record.clone();
        let listener = reactor
            .listen_tcp(
                world.anywhere(),
                factory(move |peer: &Address| {
                    noted.add(format!("build {peer}"));
                    let seen = noted.clone();
                    Some(Recorder::new(&noted).acting(move |what, transport, _| {
                        seen.add(format!("{what} by {}", transport.peer()));
                    }))
                }),
            )
            .unwrap();
        let address: SocketAddr = listener.address().to_string().parse().unwrap();
        let rude = TcpStream::connect(address).unwrap();
        let peer = rude.local_addr().unwrap();
        socket2::SockRef::from(&rude).set_linger(Some(Duration::ZERO)).unwrap();
        drop(rude);
        world.run_until(&mut reactor, "lost", |reactor| reactor.statistics().losses == 1);
        assert_eq!(
            record.events(),
            [
                format!("build {peer}"),
                "made".into(),
                format!("made by {peer}"),
                "lost Lost".into(),
                format!("lost by {peer}"),
            ]
        );
        reactor.stop_listening(&listener).unwrap();
        world.run_until_idle(&mut reactor);
    });
}
