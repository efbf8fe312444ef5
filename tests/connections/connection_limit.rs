//! Open connections never exceed the limit. Further ones are closed at once and counted.

use crate::world::peer::Peer;
use crate::world::{Record, Recorder, idle_protocol, on_each_back_end};
use twistor::Settings;

#[test]
fn a_connection_over_the_limit_is_closed_until_another_ends() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor_with(Settings { max_connections: 3, ..Settings::default() });
        let record = Record::new();
        let served = record.clone();
        let listener =
            reactor.listen_tcp(world.anywhere(), move || Recorder::new(&served).closing()).unwrap();
        let mut open: Vec<Peer> = Vec::new();
        for count in 1..=3 {
            open.push(world.connect(listener.address()));
            world.run_until(&mut reactor, "made", |_| record.count("made") == count);
        }
        assert_eq!(reactor.statistics().accepts_over_limit, 0);
        for over in 1..=2 {
            let mut refused = world.connect(listener.address());
            world
                .run_until(&mut reactor, "closed", |reactor| reactor.statistics().accepts_over_limit == over);
            assert!(refused.at_end(), "a FIN, not a hang");
        }
        assert_eq!((record.count("made"), reactor.statistics().connections), (3, 3));
        open.pop();
        world.run_until(&mut reactor, "one gone", |_| record.has("lost Done"));
        open.push(world.connect(listener.address()));
        world.run_until(&mut reactor, "made", |_| record.count("made") == 4);
        assert_eq!(reactor.statistics().accepts, 4);
        let logged = world.logged();
        assert!(logged.iter().all(|line| line.contains("3 connections are open")), "{logged:?}");
        drop(open);
        world.run_until(&mut reactor, "all lost", |_| record.count("lost Done") == 4);
        world.close(&mut reactor, &listener);
    });
}

#[test]
fn a_flood_beyond_the_limit_is_closed_and_logged_once_a_second() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor_with(Settings { max_connections: 1, ..Settings::default() });
        let began = reactor.now();
        let listener = reactor.listen_tcp(world.anywhere(), idle_protocol).unwrap();
        let mut flood: Vec<Peer> = (0..100).map(|_| world.connect(listener.address())).collect();
        world
            .run_until(&mut reactor, "all answered", |reactor| reactor.statistics().accepts_over_limit == 99);
        let logged = world.logged().len() as u64;
        assert!((1..=1 + (reactor.now() - began).as_secs()).contains(&logged), "{logged}");
        let closed = flood.iter_mut().map(Peer::at_end).filter(|ended| *ended).count();
        assert_eq!(closed, 99, "all but one saw a FIN");
        reactor.stop_listening(&listener).unwrap();
        let left = reactor.connections()[0];
        reactor.transport(left).unwrap().abort_connection();
        world.run_until_idle(&mut reactor);
    });
}
