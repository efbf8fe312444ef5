//! The outcome of a connect comes by callback alone, with the reason, and blocks no other work.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use crate::world::peer::turns;
use crate::world::{Record, Recorder, World, abort_all, idle_protocol, on_each_back_end, once};
use twistor::{
    BuildContext, ClientFactory, ConnectTcp, Connector, Error, Factory, Protocol, Reactor, Reason,
};

/// A factory that keeps the reason of the failure.
struct Why {
    why: Rc<RefCell<Option<Reason>>>,
}

impl Factory for Why {
    fn build_protocol(&mut self, _: &mut BuildContext<'_>) -> Option<Box<dyn Protocol>> {
        None
    }
}

impl ClientFactory for Why {
    fn client_connection_failed(&mut self, _: &mut Connector<'_>, reason: &Reason) {
        assert!(self.why.replace(Some(reason.clone())).is_none(), "it fails once");
    }
}

/// Connects and returns the reason of the failure.
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
        let reason = failure(world, &mut reactor, world.unused().into());
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
        let port = world.filtered();
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
        let port = world.unused();
        let options = ConnectTcp { bind: Some(port), ..port.into() };
        assert_eq!(failure(world, &mut reactor, options), Reason::SelfConnected);
        assert_eq!(reactor.statistics().connects, 0);
    });
}

#[test]
fn an_unavailable_local_address_fails_the_attempt_by_callback() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let taken = world.listen();
        let bind = Some(taken.address());
        let options = ConnectTcp { bind, ..world.unused().into() };
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
        let listener = reactor.listen_tcp(world.anywhere(), || idle_protocol().closing()).unwrap();
        let local = world.unused();
        let noted = record.clone();
        let client = Recorder::new(&record).acting(move |what, transport, _| {
            if what == "made" {
                noted.add(format!("from {} to {}", transport.host(), transport.peer()));
                transport.lose_connection();
            }
        });
        let options = ConnectTcp { bind: Some(local), ..ConnectTcp::try_from(listener.address()).unwrap() };
        reactor.connect_tcp(options, once(client, &Record::new())).unwrap();
        world.run_until(&mut reactor, "lost", |_| record.has("lost Done"));
        assert!(record.has(&format!("from {local} to {}", listener.address())), "{:?}", record.events());
        world.close(&mut reactor, &listener);
    });
}

#[test]
fn a_bad_address_is_an_error_at_once_and_starts_nothing() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let record = Record::new();
        for bad in ["", "host", "host:", "host:0", "host:65536", "::1:80", "ho st:80", "1.2.3.256:80"] {
            let failed = reactor.connect_tcp(bad, once(idle_protocol(), &record));
            assert!(matches!(failed, Err(Error::BadAddress(_))), "{bad}");
        }
        // Options that were built by hand are checked as well.
        for (host, port) in [("", 80), ("host", 0), ("a..b", 80)] {
            let failed = reactor.connect_tcp((host, port), once(idle_protocol(), &record));
            assert!(matches!(failed, Err(Error::BadAddress(_))), "{host}:{port}");
        }
        assert_eq!((reactor.resource_count(), record.events()), (0, vec![]));
        world.run_until_idle(&mut reactor);
    });
}

#[test]
fn every_address_of_a_name_is_tried() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let record = Record::new();
        // `localhost` may be ::1 first, where no socket listens.
        let listener = reactor.listen_tcp(world.anywhere(), || idle_protocol().closing()).unwrap();
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
        world.close(&mut reactor, &listener);
    });
}

#[test]
fn a_slow_connection_does_not_hold_up_others() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let port = world.filtered();
        let (slow, quick) = (Record::new(), Record::new());
        let listener = reactor.listen_tcp(world.anywhere(), || idle_protocol().closing()).unwrap();
        let id = reactor.connect_tcp(port.address, once(idle_protocol(), &slow)).unwrap();
        let client = Recorder::new(&quick).acting(|what, transport, _| {
            if what == "made" {
                transport.lose_connection();
            }
        });
        world.ask(&mut reactor, &listener, client);
        world.run_until(&mut reactor, "the quick one", |_| quick.has("lost Done"));
        assert_eq!(slow.events(), ["started", "connecting"]);
        reactor.connector(id).unwrap().disconnect();
        world.close(&mut reactor, &listener);
    });
}

#[test]
fn what_is_there_when_the_connection_is_made_is_read() {
    on_each_back_end(|world| {
        let (mut server, mut client) = (world.reactor(), world.reactor());
        let greeting = idle_protocol().acting(|what, transport, _| {
            if what == "made" {
                transport.write(b"welcome");
            }
        });
        let listener = world.serve(&mut server, greeting);
        let record = Record::new();
        world.ask(&mut client, &listener, Recorder::new(&record));
        // The kernel completes the connection and receives data before the reactor polls.
        while client.statistics().turns < 2 {
            client.iterate(Some(Duration::ZERO)).unwrap();
            if record.events().is_empty() {
                world.run_until(&mut server, "greeted", |server| server.statistics().bytes_sent > 0);
            }
        }
        turns(&mut client);
        turns(&mut client);
        assert_eq!(record.events(), ["made", "data welcome"]);
        abort_all(&mut client);
        abort_all(&mut server);
        world.run_until_idle(&mut client);
        world.close(&mut server, &listener);
    });
}
