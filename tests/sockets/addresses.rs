//! Both addresses of a connection are known in each of its callbacks, including the last.

use std::net::SocketAddr;

use crate::world::peer::{connection, turns};
use crate::world::{Record, Recorder, World, idle_protocol, on_each_back_end, once};
use twistor::{Address, ConnectTcp, Reactor, Transport};

/// Records both addresses at each callback.
fn noting(name: &'static str, record: &Record, addresses: &Record) -> Recorder {
    let addresses = addresses.clone();
    Recorder::named(name, record).acting(move |what, transport, _| {
        let host = transport.host();
        addresses.add(format!("{what} {} {host}", transport.peer()));
        match (name, what) {
            ("client", "made") => transport.write(b"hello"),
            ("client", "data") => transport.lose_write_connection(),
            ("server", "data") => transport.write(b"welcome"),
            ("server", "read lost") => transport.lose_connection(),
            _ => {}
        }
    })
}

fn both_sides_agree(world: &World, reactor: &mut Reactor, listen: SocketAddr) {
    let record = Record::new();
    let (server, client) = (Record::new(), Record::new());
    let listener = reactor.listen_tcp(listen, once(noting("server", &record, &server), &Record::new()));
    let listener = listener.unwrap();
    world.ask(reactor, &listener, noting("client", &record, &client));
    world.run_until(reactor, "both lost", |_| {
        record.has("server: lost Done") && record.has("client: lost Done")
    });
    reactor.stop_listening(&listener).unwrap();
    world.run_until_idle(reactor);
    let there = listener.address().to_string();
    let first = client.events()[0].clone();
    let here = first.strip_prefix(&format!("made {there} ")).expect("the listener is the peer").to_owned();
    assert_ne!(here, there);
    for (event, (peer, host)) in server.events().iter().map(|event| (event, (&here, &there))) {
        assert!(event.ends_with(&format!(" {peer} {host}")), "{event}");
    }
    for event in client.events() {
        assert!(event.ends_with(&format!(" {there} {here}")), "{event}");
    }
    let callbacks = |record: &Record| -> Vec<String> {
        record.events().iter().map(|event| event.rsplitn(3, ' ').last().unwrap().to_owned()).collect()
    };
    assert_eq!(callbacks(&server), ["made", "data", "read lost", "lost"]);
    assert_eq!(callbacks(&client), ["made", "data", "write lost", "read lost", "lost"]);
}

#[test]
fn each_side_knows_both_addresses_in_every_callback() {
    on_each_back_end(|world| both_sides_agree(world, &mut world.reactor(), world.anywhere()));
}

#[test]
fn so_it_is_with_ipv6() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let here: SocketAddr = "[::1]:0".parse().unwrap();
        if let Ok(listener) = reactor.listen_tcp(here, idle_protocol) {
            reactor.stop_listening(&listener).unwrap();
            both_sides_agree(world, &mut reactor, here);
        } else {
            eprintln!("SKIPPED: this machine has no IPv6");
        }
    });
}

#[test]
fn both_addresses_are_still_known_after_a_reset() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let addresses = Record::new();
        let note = addresses.clone();
        // The first request for the address.
        let protocol = idle_protocol().acting(move |what, transport, _| {
            if what == "lost" {
                let host = transport.host();
                note.add(format!("{} {host}", transport.peer()));
            }
        });
        let (_, peer) = connection(world, &mut reactor, protocol);
        let (there, here) = (peer.local_address(), peer.peer_address());
        peer.reset();
        world.run_until_idle(&mut reactor);
        assert_eq!(addresses.events(), [format!("{there} {here}")]);
    });
}

#[test]
fn the_peer_address_is_known_after_a_reset_before_accept() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let addresses = Record::new();
        let note = addresses.clone();
        let protocol = idle_protocol().acting(move |what, transport, _| {
            note.add(format!("{what} {}", transport.peer()));
        });
        let listener = world.serve(&mut reactor, protocol);
        let peer = world.connect(listener.address());
        let there = peer.local_address();
        peer.reset();
        turns(&mut reactor);
        assert_eq!(addresses.events(), [format!("made {there}"), format!("lost {there}")]);
        world.close(&mut reactor, &listener);
    });
}

#[test]
fn a_connection_comes_from_the_address_that_it_was_bound_to() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let hosts = Record::new();
        let note = hosts.clone();
        let listener = world.serve(&mut reactor, idle_protocol());
        let Address::Tcp(address) = listener.address() else { panic!("it is TCP") };
        let bound = ConnectTcp {
            bind: Some(SocketAddr::new(world.second_address(), 0)),
            ..ConnectTcp::new(address.ip().to_string(), address.port())
        };
        let protocol = idle_protocol().acting(move |what, transport: &mut Transport<'_>, _| {
            if what == "made" {
                note.add(transport.host().ip().unwrap().to_string());
                transport.abort_connection();
            }
        });
        reactor.connect_tcp(bound, once(protocol, &Record::new())).unwrap();
        world.run_until(&mut reactor, "made", |_| !hosts.events().is_empty());
        assert_eq!(hosts.events(), [world.second_address().to_string()]);
        world.close(&mut reactor, &listener);
    });
}
