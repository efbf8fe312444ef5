//! A half-open peer is detected by the kernel's keepalive, or when its connection is destroyed from
//! outside.

use std::fs;
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::world::peer::{Peer, connection, turns};
use crate::world::{Record, Recorder, abort_all, on_each_back_end, on_the_real_network, once};
use twistor::sim::{CallKind, Errno, Fault};
use twistor::{ConnectTcp, Error, ListenTcp, Reactor, Transport};

/// Whether the kernel's keepalive timer runs for this connection.
fn kept_alive(transport: &mut Transport<'_>) -> bool {
    let (here, there) = (transport.host().port().unwrap(), transport.peer().port().unwrap());
    let table = fs::read_to_string("/proc/net/tcp").unwrap();
    let port = |field: &str| u16::from_str_radix(field.rsplit(':').next().unwrap(), 16).unwrap();
    let line = table.lines().skip(1).map(|line| line.split_whitespace().collect::<Vec<_>>());
    let line = line.into_iter().find(|fields| port(fields[1]) == here && port(fields[2]) == there);
    // Timer 2 is the keepalive timer. On an established connection it has no other use.
    line.expect("the system knows the connection")[5].starts_with("02:")
}

#[test]
fn keepalive_is_enabled_only_where_it_is_requested() {
    on_the_real_network("the system's table of connections tells of its timers", |world| {
        let mut reactor = world.reactor();
        for (asked, switched) in [
            (None, None),
            (Some(60_000), None),
            // Times below one second are rounded up to one.
            (Some(1), None),
            (None, Some(true)),
            (Some(60_000), Some(false)),
        ] {
            let expected = switched.unwrap_or(asked.is_some());
            let record = Record::new();
            let protocol = |name| {
                let record = record.clone();
                Recorder::named(name, &Record::new()).acting(move |what, transport: &mut Transport<'_>, _| {
                    if what == "made" {
                        if let Some(on) = switched {
                            let idle = on.then_some(Duration::from_millis(500));
                            transport.set_tcp_keepalive(idle).unwrap();
                        }
                        record.add(format!("{name} {}", kept_alive(transport)));
                    }
                })
            };
            let keepalive = asked.map(Duration::from_millis);
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

/// Makes the kernel destroy the socket with this local port. Returns `false` where it cannot.
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
        // The peer's socket is destroyed, and this side sees a reset.
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

#[test]
fn times_that_the_kernel_does_not_take_are_refused() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let none = || Recorder::named("unused", &Record::new());
        for (keepalive, user_timeout, named) in [
            (Some(Duration::ZERO), None, "keepalive"),
            (Some(Duration::from_secs(36_000)), None, "keepalive"),
            (Some(Duration::MAX), None, "keepalive"),
            (None, Some(Duration::ZERO), "user_timeout"),
            (None, Some(Duration::MAX), "user_timeout"),
        ] {
            let listen = ListenTcp { keepalive, user_timeout, ..ListenTcp::new(world.anywhere()) };
            let refused = reactor.listen_tcp(listen, once(none(), &Record::new())).map(drop);
            assert!(
                matches!(refused, Err(Error::BadOption { option, .. }) if option == named),
                "{refused:?}"
            );
            let connect = ConnectTcp { keepalive, user_timeout, ..ConnectTcp::new("127.0.0.1", 9) };
            let refused = reactor.connect_tcp(connect, once(none(), &Record::new())).map(drop);
            assert!(
                matches!(refused, Err(Error::BadOption { option, .. }) if option == named),
                "{refused:?}"
            );
        }
        let record = Record::new();
        let protocol = Recorder::named("a", &record).acting(|what, transport: &mut Transport<'_>, _| {
            if what == "made" {
                let ten_hours = Some(Duration::from_secs(36_000));
                let refused = transport.set_tcp_keepalive(ten_hours);
                assert!(matches!(refused, Err(Error::BadOption { .. })), "{refused:?}");
                assert!(transport.set_tcp_keepalive(Some(Duration::from_nanos(1))).is_ok());
                let refused = transport.set_tcp_user_timeout(Some(Duration::MAX));
                assert!(matches!(refused, Err(Error::BadOption { .. })), "{refused:?}");
                assert!(transport.set_tcp_user_timeout(Some(Duration::from_millis(8500))).is_ok());
                assert!(transport.set_tcp_user_timeout(None).is_ok());
            }
        });
        let _peer = connection(world, &mut reactor, protocol);
        assert_eq!(record.events(), ["a: made"]);
        abort_all(&mut reactor);
        world.run_until_idle(&mut reactor);
    });
}

#[test]
fn an_option_that_cannot_be_set_is_logged() {
    on_each_back_end(|world| {
        // The real kernel refuses none of these.
        let Some((network, _)) = world.simulated() else { return };
        let mut reactor = world.reactor();
        network.add_rule(Fault::fail(CallKind::SetOption, Errno::ENOPROTOOPT));
        let record = Record::new();
        let options = (Some(Duration::from_secs(60)), Some(Duration::from_secs(90)));
        let listen = ListenTcp { keepalive: options.0, ..ListenTcp::new(world.anywhere()) };
        let listener =
            reactor.listen_tcp(listen, once(Recorder::named("server", &record), &Record::new())).unwrap();
        let connect = ConnectTcp {
            user_timeout: options.1,
            nodelay: false,
            ..ConnectTcp::try_from(listener.address()).unwrap()
        };
        reactor.connect_tcp(connect, once(Recorder::named("client", &record), &Record::new())).unwrap();
        world.run_until(&mut reactor, "both made", |_| record.events().len() == 2);
        let logged = world.logged();
        let said = |line: &String| line.contains("option of") && line.contains("could not be set");
        assert!(logged.len() == 2 && logged.iter().all(said), "{logged:?}");
        reactor.stop_listening(&listener).unwrap();
        abort_all(&mut reactor);
        world.run_until_idle(&mut reactor);
    });
}
