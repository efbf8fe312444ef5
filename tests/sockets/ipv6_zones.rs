//! An IPv6 address keeps its zone: a listener's address can be connected to, printed and parsed.

use std::cell::RefCell;
use std::net::{Ipv6Addr, SocketAddr, SocketAddrV6};
use std::rc::Rc;
use std::time::Duration;

use crate::world::{Record, Recorder, World, idle_protocol, on_each_back_end, on_the_real_network, once};
use twistor::endpoint::{client_from_string, server_from_string};
use twistor::sim::Simulation;
use twistor::{ConnectTcp, ListenTcp, ListenUdp, Reason};

/// A client that closes its connection as soon as it is made.
fn closing(record: &Record) -> Recorder {
    Recorder::new(record).acting(|event, transport, _| {
        if event == "made" {
            transport.lose_connection();
        }
    })
}

/// Listens, connects, and waits for the close.
fn connects(world: &World, listen: &str, to: impl Fn(u16) -> ConnectTcp) {
    let mut reactor = world.reactor();
    let record = Record::new();
    let listener = reactor.listen_tcp(listen, || idle_protocol().closing()).unwrap();
    let port = listener.address().port().unwrap();
    reactor.connect_tcp(to(port), once(closing(&record), &record)).unwrap();
    world.run_until(&mut reactor, "lost", |_| record.has("lost Done"));
    world.close(&mut reactor, &listener);
}

#[test]
fn a_zone_is_a_name_or_a_number_and_may_be_given_anywhere() {
    on_each_back_end(|world| {
        for (listen, host) in [("[::1%lo]:0", "::1"), ("[::1]:0", "::1%lo"), ("[::1%1]:0", "::1%1")] {
            connects(world, listen, |port| ConnectTcp::new(host, port));
            connects(world, listen, |port| format!("[{host}]:{port}").parse().unwrap());
        }
        let mut reactor = world.reactor();
        let server = server_from_string("tcp:0:interface=[::1%lo]").unwrap();
        let listener = server.listen(&mut reactor, Box::new(|| idle_protocol().closing())).unwrap();
        let port = listener.address().port().unwrap();
        let record = Record::new();
        let client = client_from_string(&format!("tcp:[::1%lo]:{port}")).unwrap();
        client.connect(&mut reactor, Box::new(once(closing(&record), &record))).unwrap();
        world.run_until(&mut reactor, "lost", |_| record.has("lost Done"));
        world.close(&mut reactor, &listener);
    });
}

#[test]
fn an_interface_that_is_not_there_is_named() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let record = Record::new();
        let client = once(Recorder::new(&record), &record);
        reactor.connect_tcp("[fe80::1%no_such_if]:80", client).unwrap();
        let told = Rc::new(RefCell::new(None));
        let kept = Rc::clone(&told);
        reactor.resolve("fe80::1%no_such_if", 80, move |_, found| *kept.borrow_mut() = found.err()).unwrap();
        world.run_until_idle(&mut reactor);
        assert!(record.has("failed Unresolved"), "{:?}", record.events());
        let reason: Reason = told.take().unwrap();
        let text = "no address for fe80::1%no_such_if: this machine has no interface of that name";
        assert_eq!(reason.to_string(), text);
    });
}

#[test]
fn a_simulated_listeners_zoned_address_can_be_connected_to() {
    let mut simulation = Simulation::new(1);
    let (server, client) = (simulation.host("server"), simulation.host("client"));
    let address: Ipv6Addr = "fe80::7".parse().unwrap();
    simulation.add_address(server, address.into());
    let here = SocketAddr::from(SocketAddrV6::new(address, 80, 0, 2));
    let listener = simulation.reactor(server).listen_tcp(here, || idle_protocol().closing()).unwrap();
    assert_eq!(listener.address().to_string(), "[fe80::7%2]:80");
    for to in [ConnectTcp::try_from(listener.address()).unwrap(), ConnectTcp::new("fe80::7%eth0", 80)] {
        let record = Record::new();
        let factory = once(Recorder::new(&record), &record);
        simulation.reactor(client).connect_tcp(to, factory).unwrap();
        simulation.run_for(Duration::from_secs(1)).unwrap();
        assert!(record.has("made"), "{:?}", record.events());
    }
}

/// Returns a link-local address of this host and its interface index, from Linux's `/proc`.
fn link_local() -> Option<(Ipv6Addr, u32)> {
    let table = std::fs::read_to_string("/proc/net/if_inet6").ok()?;
    table.lines().find_map(|line| {
        let mut fields = line.split_whitespace();
        let address = Ipv6Addr::from_bits(u128::from_str_radix(fields.next()?, 16).ok()?);
        let index = u32::from_str_radix(fields.next()?, 16).ok()?;
        address.is_unicast_link_local().then_some((address, index))
    })
}

#[test]
fn a_link_local_listener_can_be_connected_to_by_its_address() {
    on_the_real_network("only a system has interfaces with addresses of their own", |world| {
        let Some((address, index)) = link_local() else {
            eprintln!("no interface has a link-local address: nothing is tested");
            return;
        };
        let mut reactor = world.reactor();
        let here = SocketAddr::from(SocketAddrV6::new(address, 0, 0, index));
        let listener = reactor.listen_tcp(here, || idle_protocol().closing()).unwrap();
        let record = Record::new();
        let client = once(closing(&record), &record);
        reactor.connect_tcp(listener.address(), client).unwrap();
        world.run_until(&mut reactor, "lost", |_| record.has("lost Done"));
        let printed = listener.address().to_string();
        assert_eq!(
            ListenTcp::new(crate::world::socket_address(listener.address())),
            printed.parse().unwrap()
        );
        assert!(printed.parse::<ListenUdp>().is_ok());
        world.close(&mut reactor, &listener);
    });
}
