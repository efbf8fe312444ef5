//! There are never more connections than the limit, in total and per peer, and the count is right
//! however they end.

use std::cell::Cell;
use std::rc::Rc;

use crate::world::peer::turns;
use crate::world::{Record, Recorder, World, idle_protocol, on_each_back_end, once, socket_address};
use twistor::policy::{limit_per_peer, limit_total};
use twistor::{BuildContext, Factory, Protocol, factory, layered, shared};

fn recorders(record: &Record) -> impl FnMut() -> Recorder + 'static {
    let record = record.clone();
    move || Recorder::new(&record).closing()
}

#[test]
fn one_below_the_limit_at_it_and_one_above() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let record = Record::new();
        let limited = shared(limit_total(recorders(&record), 3));
        let listener = reactor.listen_tcp(world.anywhere(), limited.clone()).unwrap();
        let mut peers = Vec::new();
        for (open, made, refused) in [(1, 1, 0), (2, 2, 0), (3, 3, 0), (3, 3, 1), (3, 3, 2)] {
            peers.push(world.connect(listener.address()));
            world.run_until(&mut reactor, "accepted", |reactor| {
                reactor.statistics().accepts == peers.len() as u64
            });
            turns(&mut reactor);
            assert_eq!(limited.with_factory(|limit| limit.open()), Some(open));
            assert_eq!((record.count("made"), reactor.statistics().connections_refused), (made, refused));
        }
        assert!(peers[3].at_end() && peers[4].at_end());
        // When one ends, another one is accepted.
        peers.remove(0).finish();
        world.run_until(&mut reactor, "lost", |_| record.has("lost Done"));
        assert_eq!(limited.with_factory(|limit| limit.open()), Some(2));
        peers.push(world.connect(listener.address()));
        world.run_until(&mut reactor, "made", |_| record.count("made") == 4);
        crate::world::abort_all(&mut reactor);
        world.close(&mut reactor, &listener);
        assert_eq!(limited.with_factory(|limit| limit.open()), Some(0));
    });
}

#[test]
fn overflow_connections_get_their_protocol_and_do_not_count() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let record = Record::new();
        let busy = || {
            idle_protocol().acting(|what, transport, _| {
                if what == "made" {
                    transport.write(b"busy");
                    transport.lose_connection();
                }
            })
        };
        let limited = shared(limit_total(recorders(&record), 1).overflow(busy));
        let listener = reactor.listen_tcp(world.anywhere(), limited.clone()).unwrap();
        let _first = world.connect(listener.address());
        world.run_until(&mut reactor, "made", |_| record.has("made"));
        for _ in 0..3 {
            let mut over = world.connect(listener.address());
            assert_eq!(over.read_to_end(&mut reactor), (b"busy".to_vec(), None));
            assert_eq!(limited.with_factory(|limit| limit.open()), Some(1));
        }
        assert_eq!((record.count("made"), reactor.statistics().connections_refused), (1, 0));
        limited.with_factory(|limit| limit.set_limit(2));
        let _second = world.connect(listener.address());
        world.run_until(&mut reactor, "made", |_| record.count("made") == 2);
        crate::world::abort_all(&mut reactor);
        world.close(&mut reactor, &listener);
    });
}

#[test]
fn each_peer_has_its_own_limit() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let record = Record::new();
        let limited = shared(limit_per_peer(recorders(&record), 2));
        let listener = reactor.listen_tcp(world.anywhere(), limited.clone()).unwrap();
        let here = world.anywhere().ip();
        let mut peers = Vec::new();
        for (open, refused) in [(1, 0), (2, 0), (2, 1)] {
            peers.push(world.connect(listener.address()));
            world.run_until(&mut reactor, "accepted", |reactor| {
                reactor.statistics().accepts == peers.len() as u64
            });
            turns(&mut reactor);
            assert_eq!(limited.with_factory(|limit| limit.open(here)), Some(open));
            assert_eq!(reactor.statistics().connections_refused, refused);
        }
        // Another address has a limit of its own.
        let other = world.second_address();
        let to = twistor::ConnectTcp {
            bind: Some((other, 0).into()),
            ..twistor::ConnectTcp::from(socket_address(listener.address()))
        };
        reactor.connect_tcp(to, once(idle_protocol(), &Record::new())).unwrap();
        world.run_until(&mut reactor, "made", |_| record.count("made") == 3);
        assert_eq!(limited.with_factory(|limit| (limit.open(here), limit.open(other))), Some((2, 1)));
        crate::world::abort_all(&mut reactor);
        world.close(&mut reactor, &listener);
        assert_eq!(limited.with_factory(|limit| (limit.open(here), limit.open(other))), Some((0, 0)));
    });
}

/// The slot is free again after each way a connection can end.
#[test]
fn the_count_is_right_in_every_path() {
    /// Refuses, panics, or acts normally.
    struct Moody {
        mood: Rc<Cell<&'static str>>,
    }

    impl Factory for Moody {
        fn build_protocol(&mut self, _: &mut BuildContext<'_>) -> Option<Box<dyn Protocol>> {
            let mood = self.mood.get();
            match mood {
                "refuses" => None,
                "panics while it is built" => panic!("a bug"),
                _ => Some(Box::new(idle_protocol().acting(move |what, transport, _| match (mood, what) {
                    ("aborts at once", "made") => transport.abort_connection(),
                    ("closes at once", "made") => transport.lose_connection(),
                    ("panics when it is made", "made") => panic!("a bug"),
                    ("panics when it is lost", "lost") => panic!("a bug"),
                    (_, "read lost") => transport.lose_connection(),
                    _ => {}
                }))),
            }
        }
    }

    on_each_back_end(|world| {
        for beneath_a_layer in [false, true] {
            let mut reactor = world.reactor();
            let mood = Rc::new(Cell::new(""));
            let limited = shared(limit_per_peer(limit_total(Moody { mood: Rc::clone(&mood) }, 1), 1));
            let listener = match beneath_a_layer {
                false => reactor.listen_tcp(world.anywhere(), limited.clone()),
                true => reactor.listen_tcp(world.anywhere(), layered(limited.clone(), || Plain)),
            };
            let listener = listener.unwrap();
            let paths = [
                "refuses",
                "panics while it is built",
                "aborts at once",
                "closes at once",
                "panics when it is made",
                "panics when it is lost",
                "ends with the peer",
                "is reset",
            ];
            for path in paths {
                mood.set(path);
                let mut peer = world.connect(listener.address());
                turns(&mut reactor);
                match path {
                    "is reset" => peer.reset(),
                    "ends with the peer" | "panics when it is lost" => {
                        peer.finish();
                        peer.read_to_end(&mut reactor);
                    }
                    _ => {
                        peer.read_to_end(&mut reactor);
                    }
                }
                world.run_until(&mut reactor, "gone", |reactor| reactor.statistics().connections == 0);
                let open = limited.with_factory(|limit| limit.open(world.anywhere().ip()));
                assert_eq!(open, Some(0), "{path}");
            }
            // Exactly one slot is free.
            mood.set("stays");
            let _one = world.connect(listener.address());
            let mut two = world.connect(listener.address());
            assert_eq!(two.read_to_end(&mut reactor), (Vec::new(), None));
            crate::world::abort_all(&mut reactor);
            world.close(&mut reactor, &listener);
            world.logged();
        }
    });

    struct Plain;
    impl twistor::Layer for Plain {}
}

#[test]
fn the_protocol_beneath_is_found_by_its_type() {
    on_each_back_end(|world: &World| {
        let mut reactor = world.reactor();
        let record = Record::new();
        let noted = record.clone();
        let limited = limit_per_peer(limit_total(factory(move |_| Some(Recorder::new(&noted))), 1), 1);
        let listener = reactor.listen_tcp(world.anywhere(), limited).unwrap();
        let _peer = world.connect(listener.address());
        world.run_until(&mut reactor, "made", |_| record.has("made"));
        let id = reactor.connections()[0];
        assert_eq!(
            reactor.with_protocol(id, |recorder: &mut Recorder, _| recorder.record.events()),
            Some(vec!["made".into()])
        );
        crate::world::abort_all(&mut reactor);
        world.close(&mut reactor, &listener);
    });
}
