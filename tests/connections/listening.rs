//! Listening begins and ends at once, reports errors, and can be repeated.

use std::cell::RefCell;
use std::rc::Rc;

use crate::world::peer::Peer;
use crate::world::{Record, Recorder, abort_all, idle_protocol, on_each_back_end, once, socket_address};
use twistor::{BuildContext, Error, Factory, ListenTcp, Listener, Protocol, Reactor};

#[test]
fn port_zero_becomes_a_real_port_that_accepts_at_once() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let first = reactor.listen_tcp(world.anywhere(), idle_protocol).unwrap();
        let second = reactor.listen_tcp("localhost:0", idle_protocol).unwrap();
        assert!(first.address().port().unwrap() != 0 && first.address() != second.address());
        // The reactor has not had a turn yet.
        world.connect(first.address());
        for listener in [first, second] {
            reactor.stop_listening(&listener).unwrap();
        }
        world.run_until_idle(&mut reactor);
    });
}

#[test]
fn an_unavailable_port_is_an_immediate_error_without_leaks() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let taken = world.listen();
        let address = taken.address();
        let record = Record::new();
        let descriptors = world.descriptors();
        let failed = reactor.listen_tcp(address, once(idle_protocol(), &record));
        let Err(Error::CannotListen { address: asked, call, source }) = failed else { panic!("{failed:?}") };
        assert_eq!((asked, source.kind()), (address.to_string(), std::io::ErrorKind::AddrInUse));
        assert!(["bind", "listen"].contains(&call));
        // An address that this machine does not have (RFC 5737).
        let failed = reactor.listen_tcp("192.0.2.1:0", once(idle_protocol(), &record));
        let Err(Error::CannotListen { call: "bind", source, .. }) = failed else { panic!("{failed:?}") };
        assert_eq!(source.kind(), std::io::ErrorKind::AddrNotAvailable);
        for bad in ["", "127.0.0.1", "127.0.0.1:x", "127.0.0.1:65536", "example.org:80", "::1:80"] {
            assert!(matches!(reactor.listen_tcp(bad, idle_protocol), Err(Error::BadAddress(_))), "{bad}");
        }
        assert_eq!((reactor.resource_count(), world.descriptors()), (0, descriptors));
        world.run_until_idle(&mut reactor);
        assert_eq!(record.events(), [] as [String; 0], "the factory was never used");
    });
}

#[test]
fn ports_are_shared_only_by_those_who_all_ask_for_it() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let sharing = |address| ListenTcp { reuse_port: true, ..ListenTcp::new(address) };
        let first = reactor.listen_tcp(sharing(world.anywhere()), idle_protocol).unwrap();
        let address = socket_address(first.address());
        let second = reactor.listen_tcp(sharing(address), idle_protocol).unwrap();
        assert!(matches!(reactor.listen_tcp(address, idle_protocol), Err(Error::CannotListen { .. })));
        for listener in [first, second] {
            reactor.stop_listening(&listener).unwrap();
        }
        world.run_until_idle(&mut reactor);
    });
}

#[test]
fn a_stopped_port_is_free_at_once_and_its_connections_go_on() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let record = Record::new();
        let echo = Recorder::named("server", &record).echoing();
        let listener = reactor.listen_tcp(world.anywhere(), once(echo, &record)).unwrap();
        let name = Rc::new(RefCell::new(None));
        let own = Rc::clone(&name);
        let client = Recorder::named("client", &record).acting(move |what, transport, _| match what {
            "made" => *own.borrow_mut() = Some(transport.id()),
            "data" => transport.lose_connection(),
            _ => {}
        });
        world.ask(&mut reactor, &listener, client);
        world.run_until(&mut reactor, "both made", |_| {
            record.has("client: made") && record.has("server: made")
        });
        reactor.stop_listening(&listener).unwrap();
        assert!(matches!(reactor.stop_listening(&listener), Err(Error::NotListening)), "a second time");
        assert!(world.try_connect(listener.address()).is_err());
        assert!(!record.has("stopped"), "its factory is told later");
        // Listens again while a connection of the port is open.
        let again = reactor.listen_tcp(listener.address(), idle_protocol).unwrap();
        assert_eq!(again.address(), listener.address());
        assert!(matches!(reactor.stop_listening(&listener), Err(Error::NotListening)), "the old name");
        world.run_until(&mut reactor, "told", |_| record.has("stopped"));
        let connection = name.borrow().unwrap();
        reactor.transport(connection).unwrap().write(b"still there?");
        world.run_until(&mut reactor, "the echo", |_| record.has("client: data still there?"));
        world.close(&mut reactor, &again);
    });
}

/// A factory that stops its own listener while it builds a protocol.
struct Last {
    listener: Rc<RefCell<Option<Listener>>>,
    record: Record,
}

impl Factory for Last {
    fn build_protocol(&mut self, context: &mut BuildContext<'_>) -> Option<Box<dyn Protocol>> {
        self.record.add("build");
        let reactor = context.reactor();
        let listener = self.listener.borrow_mut().take().unwrap();
        reactor.stop_listening(&listener).unwrap();
        assert!(matches!(reactor.stop_listening(&listener), Err(Error::NotListening)));
        let again = reactor.listen_tcp(listener.address(), idle_protocol).unwrap();
        reactor.stop_listening(&again).unwrap();
        Some(Box::new(Recorder::new(&self.record)))
    }

    fn start_factory(&mut self, _: &mut Reactor) {
        self.record.add("started");
    }

    fn stop_factory(&mut self, _: &mut Reactor) {
        self.record.add("stopped");
    }
}

#[test]
fn a_listener_can_be_stopped_inside_build_protocol() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let (record, place) = (Record::new(), Rc::new(RefCell::new(None)));
        let factory = Last { listener: Rc::clone(&place), record: record.clone() };
        let listener = reactor.listen_tcp(world.anywhere(), factory).unwrap();
        *place.borrow_mut() = Some(listener.clone());
        // Two connections wait. The one being accepted is served, the other is not.
        let (first, second) = (world.connect(listener.address()), world.connect(listener.address()));
        world.run_until(&mut reactor, "made", |_| record.has("made"));
        drop((first, second));
        world.run_until(&mut reactor, "the FIN", |_| record.has("read lost"));
        let mut events = record.events();
        assert_eq!(events.remove(0), "started");
        assert_eq!(events.iter().filter(|event| *event == "stopped").count(), 1);
        events.retain(|event| event != "stopped");
        assert_eq!(events, ["build", "made", "read lost"]);
        abort_all(&mut reactor);
        world.run_until_idle(&mut reactor);
    });
}

#[test]
fn a_listener_can_stop_in_connection_made_while_others_wait() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let (record, place) = (Record::new(), Rc::new(RefCell::new(None::<Listener>)));
        let listener = Rc::clone(&place);
        let stopping = Recorder::new(&record).acting(move |what, transport, _| {
            if what == "made" {
                let listener = listener.borrow_mut().take().unwrap();
                transport.reactor().stop_listening(&listener).unwrap();
                transport.abort_connection();
            }
        });
        let made = reactor.listen_tcp(world.anywhere(), once(stopping, &record)).unwrap();
        let waiting: Vec<Peer> = (0..5).map(|_| world.connect(made.address())).collect();
        *place.borrow_mut() = Some(made);
        world.run_until_idle(&mut reactor);
        assert_eq!(record.count("stopped"), 1);
        assert_eq!(record.count("lost Aborted"), 1);
        for mut peer in waiting {
            // The connection is closed or reset, not left open.
            let (rest, _) = peer.read_to_end(&mut reactor);
            assert!(rest.is_empty(), "{rest:?}");
        }
    });
}

#[test]
fn listening_again_after_many_rounds_leaks_nothing() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let record = Record::new();
        let mut address = world.anywhere();
        for _ in 0..100 {
            let closing = idle_protocol().acting(|what, transport, _| {
                if what == "made" {
                    transport.abort_connection();
                }
            });
            let listener = reactor.listen_tcp(address, once(closing, &record)).unwrap();
            address = socket_address(listener.address());
            let stream = world.connect(listener.address());
            let losses = reactor.statistics().connections_lost;
            world.run_until(&mut reactor, "served", |reactor| reactor.statistics().connections_lost > losses);
            reactor.stop_listening(&listener).unwrap();
            drop(stream);
        }
        world.run_until_idle(&mut reactor);
        assert_eq!((record.count("started"), record.count("stopped")), (100, 100));
    });
}
