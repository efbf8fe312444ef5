//! A forwarded connection behaves like a direct one: bytes, backpressure, ends and resets pass in
//! both directions.

use crate::world::peer::{Peer, turns};
use crate::world::{Record, Recorder, World, on_each_back_end};
use twistor::endpoint::{ClientEndpoint, client_from_string};
use twistor::policy::PortForward;
use twistor::proxy_protocol::{ProxyOptions, Version, behind_proxy};
use twistor::{Listener, Protocol, Reactor, factory};

fn leading_to(address: &twistor::Address) -> Box<dyn ClientEndpoint> {
    let port = address.port().unwrap();
    client_from_string(&format!("tcp:{}:{port}", address.ip().unwrap())).unwrap()
}

/// A target with this protocol, a forwarder to it, and a client.
fn forwarded(world: &World, reactor: &mut Reactor, target: impl Protocol) -> ([Listener; 2], Peer) {
    let target = world.serve(reactor, target);
    let forward = PortForward::new(leading_to(target.address()));
    let listener = reactor.listen_tcp(world.anywhere(), forward).unwrap();
    let peer = world.connect(listener.address());
    ([target, listener], peer)
}

fn close(world: &World, reactor: &mut Reactor, listeners: &[Listener]) {
    for listener in listeners {
        reactor.stop_listening(listener).unwrap();
    }
    world.run_until_idle(reactor);
}

#[test]
fn bytes_and_ends_go_through_both_ways() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let record = Record::new();
        // Answers at the end of the input.
        let target = Recorder::new(&record).acting(|what, transport, _| {
            if what == "read lost" {
                transport.write(b"answer");
                transport.lose_connection();
            }
        });
        let (listeners, mut peer) = forwarded(world, &mut reactor, target);
        peer.send(b"question");
        peer.finish();
        assert_eq!(peer.read_to_end(&mut reactor), (b"answer".to_vec(), None));
        drop(peer);
        close(world, &mut reactor, &listeners);
        assert_eq!(record.events(), ["made", "data question", "read lost", "lost Done"]);
    });
}

#[test]
fn the_targets_end_leaves_the_other_direction_open() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let record = Record::new();
        let target = Recorder::new(&record).acting(|what, transport, _| match what {
            "made" => {
                transport.write(b"greeting");
                transport.lose_write_connection();
            }
            "read lost" => transport.lose_connection(),
            _ => {}
        });
        let (listeners, mut peer) = forwarded(world, &mut reactor, target);
        assert_eq!(peer.read_to_end(&mut reactor), (b"greeting".to_vec(), None));
        peer.send(b"late");
        world.run_until(&mut reactor, "heard", |_| record.has("data late"));
        peer.finish();
        world.run_until(&mut reactor, "lost", |_| record.has("lost Done"));
        drop(peer);
        close(world, &mut reactor, &listeners);
    });
}

#[test]
fn a_reset_goes_through_both_ways() {
    on_each_back_end(|world| {
        for by_client in [true, false] {
            let mut reactor = world.reactor();
            let record = Record::new();
            let target = Recorder::new(&record).acting(move |what, transport, _| {
                if what == "data" && !by_client {
                    transport.abort_connection();
                }
            });
            let (listeners, mut peer) = forwarded(world, &mut reactor, target);
            peer.send(b"hello");
            world.run_until(&mut reactor, "heard", |_| record.has("data hello"));
            match by_client {
                true => {
                    peer.reset();
                    world.run_until(&mut reactor, "lost", |_| record.has("lost Lost"));
                }
                false => assert!(peer.read_to_end(&mut reactor).1.is_some()),
            }
            close(world, &mut reactor, &listeners);
        }
    });
}

#[test]
fn neither_side_runs_ahead_of_the_other() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let record = Record::new();
        // The target does not read, so the client's data stays in its buffers.
        let target = Recorder::new(&record).acting(|what, transport, _| {
            if what == "made" {
                transport.pause_reading();
            }
        });
        let (listeners, mut peer) = forwarded(world, &mut reactor, target);
        world.run_until(&mut reactor, "made", |_| record.has("made"));
        let (mut sent, mut still) = (0, 0);
        while still < 20 {
            let more = peer.fill();
            sent += more;
            still = if more == 0 { still + 1 } else { 0 };
            turns(&mut reactor);
        }
        let waiting: usize =
            reactor.connections().iter().map(|id| reactor.transport(*id).unwrap().write_buffer_size()).sum();
        let most = reactor.settings().high_water + reactor.settings().bytes_per_turn;
        assert!(waiting <= most, "{waiting} bytes wait of {sent}");
        // All data arrives once the target reads.
        for id in reactor.connections() {
            reactor.with_protocol(id, |_: &mut Recorder, transport| transport.resume_reading());
        }
        peer.finish();
        world.run_until(&mut reactor, "ended", |_| record.has("read lost"));
        crate::world::abort_all(&mut reactor);
        close(world, &mut reactor, &listeners);
    });
}

#[test]
fn who_cannot_be_forwarded_is_reset() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let forward = PortForward::new(leading_to(&world.unused().into()));
        let listener = reactor.listen_tcp(world.anywhere(), forward).unwrap();
        let mut peer = world.connect(listener.address());
        assert!(peer.read_to_end(&mut reactor).1.is_some());
        close(world, &mut reactor, &[listener]);
        let logged = world.logged();
        assert!(logged.len() == 1 && logged[0].starts_with("cannot forward to tcp:127.0.0.1:"), "{logged:?}");
    });
}

#[test]
fn a_client_lost_during_a_slow_connect_leaves_nothing_behind() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let filtered = world.filtered();
        let forward = PortForward::new(leading_to(&filtered.address.into()));
        let listener = reactor.listen_tcp(world.anywhere(), forward).unwrap();
        let _peer = world.connect(listener.address());
        world.run_until(&mut reactor, "accepted", |reactor| reactor.connections().len() == 1);
        turns(&mut reactor);
        let client = reactor.connections()[0];
        reactor.transport(client).unwrap().abort_connection();
        close(world, &mut reactor, &[listener]);
    });
}

#[test]
fn the_target_can_be_told_who_the_client_is() {
    on_each_back_end(|world| {
        for version in [Version::One, Version::Two] {
            let mut reactor = world.reactor();
            let record = Record::new();
            let noted = record.clone();
            let known = factory(move |peer| {
                noted.add(peer.to_string());
                Some(Recorder::new(&noted).echoing())
            });
            let receiving = ProxyOptions::from("127.0.0.1".parse().unwrap());
            let target = reactor.listen_tcp(world.anywhere(), behind_proxy(known, receiving)).unwrap();
            let forward = PortForward::new(leading_to(target.address())).announcing(version);
            let listener = reactor.listen_tcp(world.anywhere(), forward).unwrap();
            let mut peer = world.connect(listener.address());
            let client = peer.local_address().to_string();
            peer.send(b"hello");
            peer.finish();
            assert_eq!(peer.read_to_end(&mut reactor), (b"hello".to_vec(), None));
            drop(peer);
            close(world, &mut reactor, &[target, listener]);
            assert_eq!(record.events()[0], client);
        }
    });
}

/// The target refuses before its protocol is built: its factory returns none.
#[test]
fn a_target_that_closes_at_once_closes_the_client() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let record = Record::new();
        let target = Recorder::new(&record).acting(|what, transport, _| {
            if what == "made" {
                transport.lose_connection();
            }
        });
        let (listeners, mut peer) = forwarded(world, &mut reactor, target);
        assert_eq!(peer.read_to_end(&mut reactor), (Vec::new(), None));
        drop(peer);
        close(world, &mut reactor, &listeners);
        assert_eq!(record.events(), ["made", "lost Done"]);
    });
}
