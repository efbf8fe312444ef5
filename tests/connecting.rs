//! Connecting succeeds or fails by callback alone, says why, and can be given up and begun again at any time.

mod world;

use std::cell::{Cell, RefCell};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::rc::Rc;
use std::time::Duration;

use twistor::{
    Address, ClientFactory, ConnectTcp, Connector, ConnectorState, Error, Factory, Protocol, Reactor, Reason,
};
use world::{Record, Recorder, World, on_each_back_end, once};

fn nobody() -> Recorder {
    Recorder::new(&Record::new())
}

/// A server of the reactor's that closes when its peer does.
fn closing() -> Recorder {
    nobody().acting(|what, transport, _| {
        if what == "read lost" {
            transport.lose_connection();
        }
    })
}

/// A port that nobody listens on.
fn unused(world: &World) -> SocketAddr {
    TcpListener::bind(world.anywhere()).unwrap().local_addr().unwrap()
}

/// A port whose backlog is full: the system answers no further attempt, as for a host that is filtered.
struct Filtered {
    address: SocketAddr,
    _listener: socket2::Socket,
    _full: Vec<TcpStream>,
}

fn filtered(world: &World) -> Filtered {
    let listener = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    listener.bind(&world.anywhere().into()).unwrap();
    listener.listen(1).unwrap();
    let address = listener.local_addr().unwrap().as_socket().unwrap();
    let full = (0..2).map(|_| TcpStream::connect(address).unwrap()).collect();
    Filtered { address, _listener: listener, _full: full }
}

/// Keeps the reason of the failure.
struct Why {
    why: Rc<RefCell<Option<Reason>>>,
}

impl Factory for Why {
    fn build_protocol(&mut self, _: &mut Reactor, _: &Address) -> Option<Box<dyn Protocol>> {
        None
    }
}

impl ClientFactory for Why {
    fn client_connection_failed(&mut self, _: &mut Connector<'_>, reason: &Reason) {
        assert!(self.why.replace(Some(reason.clone())).is_none(), "it fails once");
    }
}

/// Connects, and returns why it failed.
fn failure(world: &World, reactor: &mut Reactor, options: ConnectTcp) -> Reason {
    let why = Rc::new(RefCell::new(None));
    reactor.connect_tcp(options, Why { why: Rc::clone(&why) }).unwrap();
    assert!(why.borrow().is_none(), "never inside the call");
    world.run_until_idle(reactor);
    why.take().unwrap()
}

#[test]
fn a_refusal_is_told_with_what_the_system_said() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let reason = failure(world, &mut reactor, unused(world).into());
        let Reason::Refused(error) = reason else { panic!("{reason:?}") };
        assert_eq!(error.kind, std::io::ErrorKind::ConnectionRefused);
        assert_eq!(error.code, Some(rustix::io::Errno::CONNREFUSED.raw_os_error()));
        assert_eq!(reactor.statistics().connect_failures, 1);
    });
}

#[test]
fn a_host_that_does_not_answer_is_given_up_after_the_timeout() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let port = filtered(world);
        let timeout = Duration::from_millis(10);
        let reason = failure(world, &mut reactor, ConnectTcp { timeout, ..port.address.into() });
        assert_eq!(reason, Reason::TimedOut(timeout));
    });
}

#[test]
fn a_name_without_an_address_is_told_with_the_name() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let reason = failure(world, &mut reactor, ConnectTcp::new("nothing.invalid", 80));
        let Reason::Unresolved { host, why } = reason else { panic!("{reason:?}") };
        assert_eq!(host, "nothing.invalid");
        assert!(!why.is_empty());
    });
}

#[test]
fn a_connection_of_a_port_with_itself_is_none() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let port = unused(world);
        let options = ConnectTcp { bind: Some(port), ..port.into() };
        assert_eq!(failure(world, &mut reactor, options), Reason::SelfConnected);
        assert_eq!(reactor.statistics().connects, 0);
    });
}

#[test]
fn a_local_address_that_cannot_be_had_fails_the_attempt_by_callback() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let taken = TcpListener::bind(world.anywhere()).unwrap();
        let bind = Some(taken.local_addr().unwrap());
        let options = ConnectTcp { bind, ..unused(world).into() };
        let reason = failure(world, &mut reactor, options);
        let Reason::Bind(error) = reason else { panic!("{reason:?}") };
        assert_eq!((error.call, error.kind), ("bind", std::io::ErrorKind::AddrInUse));
    });
}

#[test]
fn the_local_address_is_the_one_that_was_asked_for() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let record = Record::new();
        let listener = reactor.listen_tcp(world.anywhere(), closing).unwrap();
        let local = unused(world);
        let noted = record.clone();
        let client = Recorder::new(&record).acting(move |what, transport, _| {
            if what == "made" {
                noted.add(format!("from {} to {}", transport.host(), transport.peer()));
                transport.lose_connection();
            }
        });
        let options = ConnectTcp { bind: Some(local), ..listener.address().into() };
        reactor.connect_tcp(options, once(client, &Record::new())).unwrap();
        world.run_until(&mut reactor, "lost", |_| record.has("lost Done"));
        assert!(record.has(&format!("from {local} to {}", listener.address())), "{:?}", record.events());
        reactor.stop_listening(&listener).unwrap();
        world.run_until_idle(&mut reactor);
    });
}

#[test]
fn a_bad_address_is_an_error_at_once_and_starts_nothing() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let record = Record::new();
        for bad in ["", "host", "host:", "host:0", "host:65536", "::1:80", "ho st:80", "1.2.3.256:80"] {
            let failed = reactor.connect_tcp(bad, once(nobody(), &record));
            assert!(matches!(failed, Err(Error::BadAddress(_))), "{bad}");
        }
        // Options that were put together by hand are looked at as well.
        for (host, port) in [("", 80), ("host", 0), ("a..b", 80)] {
            let failed = reactor.connect_tcp((host, port), once(nobody(), &record));
            assert!(matches!(failed, Err(Error::BadAddress(_))), "{host}:{port}");
        }
        assert_eq!((reactor.in_use(), record.events()), (0, vec![]));
        world.run_until_idle(&mut reactor);
    });
}

#[test]
fn every_address_of_a_name_is_tried() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let record = Record::new();
        // `localhost` may be ::1 first, where nobody listens.
        let listener = reactor.listen_tcp(world.anywhere(), closing).unwrap();
        let client = Recorder::new(&record).acting(|what, transport, _| {
            if what == "made" {
                transport.lose_connection();
            }
        });
        let port = listener.address().port().unwrap();
        let id = reactor.connect_tcp(("localhost", port), once(client, &record)).unwrap();
        assert_eq!(reactor.connector(id).unwrap().destination(), format!("localhost:{port}"));
        world.run_until(&mut reactor, "stopped", |_| record.has("stopped"));
        assert_eq!(record.events(), ["started", "connecting", "made", "lost Done", "gone Done", "stopped"]);
        reactor.stop_listening(&listener).unwrap();
        world.run_until_idle(&mut reactor);
    });
}

#[test]
fn connecting_can_be_given_up_in_every_state_and_is_told_once() {
    on_each_back_end(|world| {
        let port = filtered(world);
        let gives_up = |how: &str| {
            let mut reactor = world.reactor();
            let record = Record::new();
            let at = how.to_owned();
            let client = once(nobody(), &record).acting(move |what, connector| {
                if (at.as_str(), what) == ("started", "connecting") {
                    assert_eq!(connector.state(), ConnectorState::Connecting);
                    connector.stop_connecting().unwrap();
                    assert!(
                        matches!(connector.stop_connecting(), Err(Error::NotConnecting)),
                        "a second time"
                    );
                    assert_eq!(connector.state(), ConnectorState::Disconnected);
                }
            });
            let destination = match how {
                "resolving" => ConnectTcp::new("nothing.invalid", 80),
                _ => port.address.into(),
            };
            let id = reactor.connect_tcp(destination, client).unwrap();
            let state = match how {
                "at once" | "started" => None,
                "resolving" => Some(ConnectorState::Resolving),
                _ => Some(ConnectorState::Connecting),
            };
            if let Some(state) = state {
                world.run_until(&mut reactor, "under way", |_| record.has("connecting"));
                assert_eq!(reactor.connector(id).unwrap().state(), state);
            }
            if how != "started" {
                let mut connector = reactor.connector(id).unwrap();
                match how {
                    "disconnect" => connector.disconnect(),
                    _ => connector.stop_connecting().unwrap(),
                }
                connector.disconnect();
                assert!(!record.has("failed Cancelled"), "never inside the call");
            }
            world.run_until_idle(&mut reactor);
            assert!(reactor.connector(id).is_none());
            record.events()
        };
        let told = ["started", "connecting", "failed Cancelled", "stopped"];
        for how in ["started", "connecting", "disconnect", "resolving"] {
            assert_eq!(gives_up(how), told, "{how}");
        }
        // Before it was begun there is nothing but the failure.
        assert!(!gives_up("at once").contains(&"connecting".to_owned()));
    });
}

#[test]
fn a_connector_that_only_waits_can_be_told_to_go() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let record = Record::new();
        let client = once(nobody(), &record).acting(|what, connector| {
            if what == "failed" {
                assert!(connector.connect_later(Duration::from_secs(60)));
                assert_eq!(connector.state(), ConnectorState::Waiting);
                assert!(!connector.connect() && !connector.connect_later(Duration::ZERO), "it waits already");
            }
        });
        let id = reactor.connect_tcp(unused(world), client).unwrap();
        world.run_until(&mut reactor, "failed", |_| record.has("failed Refused"));
        reactor.connector(id).unwrap().stop_connecting().unwrap();
        assert!(!record.has("stopped"), "never inside the call");
        world.run_until_idle(&mut reactor);
        assert!(reactor.connector(id).is_none());
        assert_eq!(record.events(), ["started", "connecting", "failed Refused", "stopped"]);
    });
}

#[test]
fn a_connector_that_is_connected_is_disconnected_and_not_told_to_give_up() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let record = Record::new();
        let listener = reactor.listen_tcp(world.anywhere(), closing).unwrap();
        let id = reactor.connect_tcp(listener.address(), once(Recorder::new(&record), &record)).unwrap();
        world.run_until(&mut reactor, "made", |_| record.has("made"));
        let mut connector = reactor.connector(id).unwrap();
        assert_eq!(connector.state(), ConnectorState::Connected);
        assert!(connector.connect_time().is_some());
        assert!(matches!(connector.stop_connecting(), Err(Error::NotConnecting)));
        assert!(!connector.connect(), "one connection at a time");
        let connection = connector.connection().unwrap();
        connector.disconnect();
        connector.disconnect();
        world.run_until(&mut reactor, "stopped", |_| record.has("stopped"));
        assert_eq!(record.events(), ["started", "connecting", "made", "lost Done", "gone Done", "stopped"]);
        assert!(reactor.connector(id).is_none() && reactor.transport(connection).is_none());
        reactor.stop_listening(&listener).unwrap();
        world.run_until_idle(&mut reactor);
    });
}

#[test]
fn a_connector_connects_again_from_inside_the_callbacks_that_tell_of_the_end() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let record = Record::new();
        // Twice nobody listens, then somebody does.
        let address = unused(world);
        let listening = Rc::new(RefCell::new(None));
        let (noted, place, ids) = (record.clone(), Rc::clone(&listening), Rc::new(Cell::new(None)));
        let same = Rc::clone(&ids);
        let factory = Every(
            record.clone(),
            Box::new(move |what, connector: &mut Connector<'_>| {
                assert_eq!(same.replace(Some(connector.id())).unwrap_or(connector.id()), connector.id());
                match (what, noted.count(what)) {
                    ("failed", 1) => assert!(connector.connect()),
                    ("failed", _) => {
                        let listener = connector.reactor().listen_tcp(address, closing).unwrap();
                        *place.borrow_mut() = Some(listener);
                        assert!(connector.connect_later(Duration::from_millis(1)));
                    }
                    ("gone", 1) => assert!(connector.connect_later(Duration::ZERO)),
                    ("gone", 2) => assert!(connector.connect()),
                    _ => {}
                }
            }),
        );
        let id = reactor.connect_tcp(address, factory).unwrap();
        world.run_until(&mut reactor, "the end", |reactor| reactor.connector(id).is_none());
        let (failed, made) = (["connecting", "failed"], ["connecting", "made", "lost Done", "gone"]);
        assert_eq!(
            record.events(),
            [&["started"][..], &failed, &failed, &made, &made, &made, &["stopped"]].concat()
        );
        assert_eq!(ids.get(), Some(id));
        let listener = listening.take().unwrap();
        reactor.stop_listening(&listener).unwrap();
        world.run_until_idle(&mut reactor);
    });
}

/// A factory of any number of protocols that close at once, recording and acting as `OneProtocol` does.
struct Every(Record, world::ClientAct);

impl Every {
    fn happened(&mut self, what: &str, connector: &mut Connector<'_>) {
        self.0.add(what);
        (self.1)(what, connector);
    }
}

impl Factory for Every {
    fn build_protocol(&mut self, _: &mut Reactor, _: &Address) -> Option<Box<dyn Protocol>> {
        Some(Box::new(Recorder::new(&self.0).acting(|what, transport, _| {
            if what == "made" {
                transport.lose_connection();
            }
        })))
    }

    fn start_factory(&mut self, _: &mut Reactor) {
        self.0.add("started");
    }

    fn stop_factory(&mut self, _: &mut Reactor) {
        self.0.add("stopped");
    }
}

impl ClientFactory for Every {
    fn started_connecting(&mut self, connector: &mut Connector<'_>) {
        self.happened("connecting", connector);
    }

    fn client_connection_failed(&mut self, connector: &mut Connector<'_>, _: &Reason) {
        self.happened("failed", connector);
    }

    fn client_connection_lost(&mut self, connector: &mut Connector<'_>, _: &Reason) {
        self.happened("gone", connector);
    }
}

#[test]
fn a_late_answer_to_a_look_up_that_was_given_up_changes_nothing() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let record = Record::new();
        let listener = reactor.listen_tcp(world.anywhere(), closing).unwrap();
        let client = once(Recorder::new(&record), &record);
        let port = listener.address().port().unwrap();
        let id = reactor.connect_tcp(("localhost", port), client).unwrap();
        world.run_until(&mut reactor, "resolving", |_| record.has("connecting"));
        reactor.connector(id).unwrap().stop_connecting().unwrap();
        // The answer itself is in use until it comes.
        reactor.stop_listening(&listener).unwrap();
        world.run_until_idle(&mut reactor);
        assert_eq!(record.events(), ["started", "connecting", "failed Cancelled", "stopped"]);
    });
}

#[test]
fn a_slow_connection_does_not_hold_up_others() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let port = filtered(world);
        let (slow, quick) = (Record::new(), Record::new());
        let listener = reactor.listen_tcp(world.anywhere(), closing).unwrap();
        let id = reactor.connect_tcp(port.address, once(nobody(), &slow)).unwrap();
        let client = Recorder::new(&quick).acting(|what, transport, _| {
            if what == "made" {
                transport.lose_connection();
            }
        });
        reactor.connect_tcp(listener.address(), once(client, &Record::new())).unwrap();
        world.run_until(&mut reactor, "the quick one", |_| quick.has("lost Done"));
        assert_eq!(slow.events(), ["started", "connecting"]);
        reactor.connector(id).unwrap().disconnect();
        reactor.stop_listening(&listener).unwrap();
        world.run_until_idle(&mut reactor);
    });
}
