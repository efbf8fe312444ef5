//! Connections count from accept, even while their protocols wait for layers, so peers that send no
//! header cannot exceed the limit.

use std::cell::RefCell;
use std::rc::Rc;

use crate::world::peer::{Peer, turns};
use crate::world::{Record, Recorder, World, idle_protocol, on_each_back_end};
use twistor::policy::{limit_per_peer, limit_total};
use twistor::proxy_protocol::{ProxyOptions, behind_proxy};
use twistor::{Factory, Layer, LayerContext, Reactor, Reason, layered, shared};

fn recorders(record: &Record) -> impl FnMut() -> Recorder + 'static {
    let record = record.clone();
    move || Recorder::new(&record).closing()
}

fn trusting() -> ProxyOptions {
    ProxyOptions::from("127.0.0.1".parse().unwrap())
}

/// Ready after one byte, as after a handshake.
struct Handshake;

impl Layer for Handshake {
    fn started(&mut self, _: &mut LayerContext<'_>) {}

    fn data_received(&mut self, below: &mut LayerContext<'_>, data: &[u8]) {
        if data == b"!" {
            return below.ready();
        }
        below.pass_up(data);
    }
}

/// Opens connections in sequence. Returns them, and the number that were closed at once.
fn flood(world: &World, reactor: &mut Reactor, to: &twistor::Listener, count: usize) -> (Vec<Peer>, usize) {
    let (before, refused) = (reactor.statistics().accepts, reactor.statistics().connections_refused);
    let peers: Vec<Peer> = (0..count).map(|_| world.connect(to.address())).collect();
    world.run_until(reactor, "accepted", |reactor| reactor.statistics().accepts - before == count as u64);
    turns(reactor);
    (peers, (reactor.statistics().connections_refused - refused) as usize)
}

#[test]
fn no_more_wait_for_a_header_than_there_may_be_in_all() {
    on_each_back_end(|world| {
        // In either order of wrapping.
        for outside in [false, true] {
            let mut reactor = world.reactor();
            let record = Record::new();
            let limited = shared(limit_total(recorders(&record), 3));
            let factory: Box<dyn Factory> = match outside {
                false => Box::new(behind_proxy(limited.clone(), trusting())),
                true => Box::new(limit_total(behind_proxy(recorders(&record), trusting()), 3)),
            };
            let listener = reactor.listen_tcp(world.anywhere(), factory).unwrap();
            let (mut peers, refused) = flood(world, &mut reactor, &listener, 10);
            assert_eq!((refused, reactor.connections().len()), (7, 3));
            assert!(peers[3..].iter_mut().all(|peer| peer.at_end()));
            if !outside {
                assert_eq!(limited.with_factory(|limit| limit.open()), Some(3));
            }
            // A waiting connection is served, and a closed one makes room.
            peers[0].send(b"PROXY UNKNOWN\r\n");
            world.run_until(&mut reactor, "made", |_| record.has("made"));
            peers.remove(1).reset();
            world.run_until(&mut reactor, "gone", |reactor| reactor.connections().len() == 2);
            let (more, refused) = flood(world, &mut reactor, &listener, 2);
            assert_eq!(refused, 1);
            crate::world::abort_all(&mut reactor);
            world.close(&mut reactor, &listener);
            if !outside {
                assert_eq!(limited.with_factory(|limit| limit.open()), Some(0));
            }
            drop((peers, more));
        }
    });
}

#[test]
fn pending_handshakes_count_towards_the_limit_per_peer() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let record = Record::new();
        let limited = shared(limit_per_peer(layered(recorders(&record), || Handshake), 2));
        let listener = reactor.listen_tcp(world.anywhere(), limited.clone()).unwrap();
        let (mut peers, refused) = flood(world, &mut reactor, &listener, 5);
        let here = world.anywhere().ip();
        assert_eq!((refused, limited.with_factory(|limit| limit.open(here))), (3, Some(2)));
        peers[0].send(b"!");
        world.run_until(&mut reactor, "made", |_| record.has("made"));
        assert_eq!(limited.with_factory(|limit| limit.open(here)), Some(2), "it has the place that it had");
        crate::world::abort_all(&mut reactor);
        world.close(&mut reactor, &listener);
        assert_eq!(limited.with_factory(|limit| limit.open(here)), Some(0));
    });
}

#[test]
fn behind_a_proxy_known_clients_count_and_the_proxy_does_not() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let record = Record::new();
        let reasons: Rc<RefCell<Vec<Reason>>> = Rc::default();
        let (limited, told) =
            (shared(limit_per_peer(layered(recorders(&record), || Handshake), 1)), Rc::clone(&reasons));
        let telling = layered(behind_proxy(limited.clone(), trusting()), move || Teller(Rc::clone(&told)));
        let listener = reactor.listen_tcp(world.anywhere(), telling).unwrap();
        let (mut peers, refused) = flood(world, &mut reactor, &listener, 4);
        assert_eq!(refused, 0, "the proxy may have as many as it likes");
        let open = |client: &str| limited.with_factory(|limit| limit.open(client.parse().unwrap())).unwrap();
        for (peer, client, left) in [(0, "192.0.2.1", 4), (1, "192.0.2.2", 4), (2, "192.0.2.1", 3)] {
            peers[peer].send(format!("PROXY TCP4 {client} 192.0.2.9 1 2\r\n").as_bytes());
            world.run_until(&mut reactor, "known", |reactor| {
                open(client) == 1 && reactor.connections().len() == left
            });
        }
        let [Reason::Layer(error)] = &reasons.borrow()[..] else { panic!("{reasons:?}") };
        assert_eq!(error.to_string(), "limit per peer: 1 connections are open with this peer");
        peers[0].send(b"!");
        world.run_until(&mut reactor, "made", |_| record.has("made"));
        assert_eq!((open("192.0.2.1"), open("192.0.2.2"), open("127.0.0.1")), (1, 1, 0));
        crate::world::abort_all(&mut reactor);
        world.close(&mut reactor, &listener);
        assert_eq!((open("192.0.2.1"), open("192.0.2.2")), (0, 0));
    });

    struct Teller(Rc<RefCell<Vec<Reason>>>);

    impl Layer for Teller {
        fn connection_lost(&mut self, _: &mut Reactor, reason: &Reason) {
            if !matches!(reason, Reason::Aborted) {
                self.0.borrow_mut().push(reason.clone());
            }
        }
    }
}

#[test]
fn connections_awaiting_the_overflow_protocol_are_limited_too() {
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
        let limited = shared(limit_total(layered(recorders(&record), || Handshake), 2).overflow(busy));
        let listener = reactor.listen_tcp(world.anywhere(), limited.clone()).unwrap();
        let (mut peers, refused) = flood(world, &mut reactor, &listener, 6);
        assert_eq!((refused, limited.with_factory(|limit| limit.open())), (2, Some(2)));
        let mut over = peers.remove(2);
        over.send(b"!");
        assert_eq!(over.read_to_end(&mut reactor), (b"busy".to_vec(), None));
        drop(over);
        // A connection that waited above the limit is served once there is room.
        peers.remove(0).reset();
        world.run_until(&mut reactor, "room", |_| limited.with_factory(|limit| limit.open()) == Some(1));
        peers[1].send(b"!");
        world.run_until(&mut reactor, "made", |_| record.has("made"));
        assert_eq!(limited.with_factory(|limit| limit.open()), Some(2));
        crate::world::abort_all(&mut reactor);
        world.close(&mut reactor, &listener);
    });
}

#[test]
fn an_overflow_protocol_that_stays_waits_no_more() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let (record, over) = (Record::new(), Record::new());
        let noted = over.clone();
        let limited = limit_total(layered(recorders(&record), || Handshake), 1);
        let limited = limited.overflow(move || Recorder::new(&noted));
        let listener = reactor.listen_tcp(world.anywhere(), limited).unwrap();
        let (first, _) = flood(world, &mut reactor, &listener, 1);
        let mut others = Vec::new();
        for count in 1..=3 {
            let (mut peers, refused) = flood(world, &mut reactor, &listener, 1);
            assert_eq!(refused, 0, "{count}");
            peers[0].send(b"!");
            world.run_until(&mut reactor, "made", |_| over.count("made") == count);
            others.push(peers);
        }
        assert!(!record.has("made"));
        crate::world::abort_all(&mut reactor);
        world.close(&mut reactor, &listener);
        drop((first, others));
    });
}

#[test]
fn a_peer_that_a_layer_tells_later_counts_instead_of_the_first() {
    /// Sets another peer address without announcing it.
    struct Renames;

    impl Layer for Renames {
        fn started(&mut self, below: &mut LayerContext<'_>) {
            let server = below.host();
            below.set_addresses("192.0.2.1:1".parse::<std::net::SocketAddr>().unwrap().into(), server);
            below.ready();
        }
    }

    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let record = Record::new();
        let limited = shared(limit_per_peer(layered(recorders(&record), || Renames), 1));
        let listener = reactor.listen_tcp(world.anywhere(), limited.clone()).unwrap();
        let open = |peer: &str| limited.with_factory(|limit| limit.open(peer.parse().unwrap())).unwrap();
        let peers = [world.connect(listener.address()), world.connect(listener.address())];
        world.run_until(&mut reactor, "decided", |reactor| {
            record.count("made") as u64 + reactor.statistics().connections_refused == 2
        });
        assert_eq!((record.count("made"), open("192.0.2.1"), open("127.0.0.1")), (1, 1, 0));
        crate::world::abort_all(&mut reactor);
        world.close(&mut reactor, &listener);
        drop(peers);
    });
}

#[test]
fn the_place_is_free_when_the_loss_is_told() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let record = Record::new();
        let noted = record.clone();
        let places = Rc::new(RefCell::new(None));
        let seen = Rc::clone(&places);
        let limited = shared(limit_total(
            move || {
                let (noted, seen) = (noted.clone(), Rc::clone(&seen));
                idle_protocol().acting(move |what, transport, _| match what {
                    "read lost" => transport.lose_connection(),
                    "lost" => {
                        let limited: std::cell::Ref<'_, Option<Box<dyn Fn() -> usize>>> = seen.borrow();
                        noted.add(format!("{} open", limited.as_ref().unwrap()()));
                    }
                    _ => {}
                })
            },
            1,
        ));
        let counted = limited.clone();
        let count: Box<dyn Fn() -> usize> =
            Box::new(move || counted.with_factory(|limit| limit.open()).unwrap());
        places.replace(Some(count));
        let listener = reactor.listen_tcp(world.anywhere(), limited).unwrap();
        drop(world.connect(listener.address()));
        world.run_until(&mut reactor, "lost", |_| record.has("0 open"));
        places.take();
        world.close(&mut reactor, &listener);
    });
}
