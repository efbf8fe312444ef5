//! A peer that is gone without a word can be found: by the system's keepalive, or by whoever destroys its connection.

mod world;

use std::fs;
use std::process::{Command, Stdio};
use std::time::Duration;

use twistor::{ConnectTcp, ListenTcp, Reactor, Transport};
use world::peer::{Peer, connection, turns};
use world::{Record, Recorder, abort_all, on_the_real_network, once};

/// Whether the system's keepalive timer runs for the connection between these two, seen from the first.
fn kept_alive(transport: &mut Transport<'_>) -> bool {
    let (here, there) = (transport.host().port().unwrap(), transport.peer().port().unwrap());
    let table = fs::read_to_string("/proc/net/tcp").unwrap();
    let port = |field: &str| u16::from_str_radix(field.rsplit(':').next().unwrap(), 16).unwrap();
    let line = table.lines().skip(1).map(|line| line.split_whitespace().collect::<Vec<_>>());
    let line = line.into_iter().find(|fields| port(fields[1]) == here && port(fields[2]) == there);
    // 2 is the keepalive timer, of which nothing else makes use once a connection is made.
    line.expect("the system knows the connection")[5].starts_with("02:")
}

#[test]
fn keepalive_is_switched_on_where_it_is_asked_for_and_nowhere_else() {
    on_the_real_network("the system's table of connections tells of its timers", |world| {
        let mut reactor = world.reactor();
        for (asked, switched) in [(None, None), (Some(60), None), (None, Some(true)), (Some(60), Some(false))]
        {
            let expected = switched.unwrap_or(asked.is_some());
            let record = Record::new();
            let protocol = |name| {
                let record = record.clone();
                Recorder::named(name, &Record::new()).acting(move |what, transport: &mut Transport<'_>, _| {
                    if what == "made" {
                        if let Some(on) = switched {
                            let idle = on.then_some(Duration::from_secs(60));
                            transport.set_tcp_keepalive(idle).unwrap();
                        }
                        record.add(format!("{name} {}", kept_alive(transport)));
                    }
                })
            };
            let keepalive = asked.map(Duration::from_secs);
            let listen = ListenTcp { keepalive, ..ListenTcp::new(world.anywhere()) };
            let listener = reactor.listen_tcp(listen, once(protocol("server"), &Record::new())).unwrap();
            let address = listener.address();
            let connect = ConnectTcp {
                keepalive,
                ..ConnectTcp::new(address.ip().unwrap().to_string(), address.port().unwrap())
            };
            reactor.connect_tcp(connect, once(protocol("client"), &Record::new())).unwrap();
            world.run_until(&mut reactor, "both made", |_| record.events().len() == 2);
            let mut events = record.events();
            events.sort();
            assert_eq!(events, [format!("client {expected}"), format!("server {expected}")]);
            reactor.stop_listening(&listener).unwrap();
            abort_all(&mut reactor);
            world.run_until_idle(&mut reactor);
        }
    });
}

/// Lets the system destroy the socket with this local port; `false` where it cannot.
fn destroy(port: u16) -> bool {
    let filter = format!("sport = :{port}");
    let command = Command::new("ss").args(["-HKnt", &filter]).stderr(Stdio::null()).output();
    command.is_ok_and(|output| output.status.success() && !output.stdout.is_empty())
}

#[test]
fn a_connection_that_the_system_destroys_is_lost_and_no_other() {
    on_the_real_network("the system destroys a socket when it is asked to", |world| {
        let mut reactor: Reactor = world.reactor();
        let record = Record::new();
        let mut peers: Vec<Peer> = Vec::new();
        for name in ["a", "b", "c", "d"] {
            peers.push(connection(world, &mut reactor, Recorder::named(name, &record)).1);
        }
        record.take();
        // The peer's end: what this one sees is a reset.
        let port = peers[2].local_address().port().unwrap();
        if destroy(port) {
            world.run_until(&mut reactor, "the loss", |_| !record.events().is_empty());
            turns(&mut reactor);
            assert_eq!(record.events(), ["c: lost Lost"]);
        } else {
            eprintln!("SKIPPED: no ss on this machine, or it may not destroy sockets");
        }
        abort_all(&mut reactor);
        world.run_until_idle(&mut reactor);
    });
}
