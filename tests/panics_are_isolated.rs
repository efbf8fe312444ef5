//! A panic in any callback ends what it belongs to and nothing else, and is logged once.

mod world;

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use twistor::{
    Address, ClientFactory, ConnectionId, Connector, Factory, Phase, Producer, ProducerKind, Protocol,
    Reactor, Reason, Signal, SystemEvent, Transport,
};
use world::{OneProtocol, Record, Recorder, World, nobody, on_each_back_end, once, raise};

/// A connection beside the one that panics: it echoes before and after.
struct Witness {
    record: Record,
    connection: ConnectionId,
    listener: twistor::Listener,
}

impl Witness {
    fn new(world: &World, reactor: &mut Reactor) -> Witness {
        let record = Record::new();
        let names: Rc<RefCell<Option<ConnectionId>>> = Rc::default();
        let server = nobody().echoing();
        let listener = world.serve(reactor, server);
        let name = Rc::clone(&names);
        let client = Recorder::new(&record).acting(move |what, transport, _| {
            if what == "made" {
                *name.borrow_mut() = Some(transport.id());
            }
        });
        world.ask(reactor, &listener, client);
        world.run_until(reactor, "the witness", |_| record.has("made"));
        let connection = names.borrow().unwrap();
        Witness { record, connection, listener }
    }

    /// The witness has noticed nothing.
    fn testify(self, world: &World, reactor: &mut Reactor) {
        reactor.transport(self.connection).unwrap().write(b"alive");
        world.run_until(reactor, "the echo", |_| self.record.has("data alive"));
        assert_eq!(self.record.events(), ["made", "data alive"]);
        reactor.transport(self.connection).unwrap().lose_connection();
        reactor.stop_listening(&self.listener).unwrap();
        world.run_until_idle(reactor);
    }
}

/// The log has this one panic, and the statistics count it.
fn panicked_once(world: &World, reactor: &Reactor, place: &str) {
    let logged = world.logged();
    assert_eq!(logged.len(), 1, "{logged:?}");
    assert!(logged[0].starts_with(&format!("panic in {place}")), "{logged:?}");
    assert!(logged[0].ends_with(": no"), "{logged:?}");
    assert_eq!(reactor.statistics().panics, 1);
}

/// A server whose client's protocol panics at `what`, and what its `connection_lost` was told.
fn panic_at(what: &'static str, place: &str) {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let witness = Witness::new(world, &mut reactor);
        let (record, gone) = (Record::new(), Record::new());
        let server = Recorder::named("server", &record).acting(|what, transport, data| match what {
            // Whatever it takes that the client is called.
            "made" => transport.write(b"hello"),
            "data" if data == b"bye" => transport.lose_connection(),
            _ => {}
        });
        let listener = world.serve(&mut reactor, server);
        let client = Recorder::new(&record).acting(move |at, transport, _| {
            if at == what {
                panic!("no");
            }
            match (what, at) {
                ("read lost", "made") => transport.write(b"bye"),
                ("write lost", "made") => transport.lose_write_connection(),
                ("pause" | "resume", "made") => {
                    transport.set_water_marks(1, 0);
                    transport.write(b"more than one");
                    // Not sent before the turn's end.
                    let id = transport.id();
                    transport.reactor().call_later(Duration::ZERO, move |reactor| {
                        if let Some(mut transport) = reactor.transport(id) {
                            transport.write(b"more than one");
                        }
                    });
                }
                ("lost", "made") => transport.lose_connection(),
                _ => {}
            }
        });
        reactor.connect_tcp(listener.address(), once(client, &gone)).unwrap();
        world.run_until(&mut reactor, "the loss", |_| gone.has("stopped"));
        let expected = if what == "lost" { "Done" } else { "Panicked" };
        let lost = format!("lost {expected}");
        assert_eq!(record.events().iter().filter(|event| event.starts_with("lost")).count(), 1);
        assert!(record.has(&lost), "{:?}", record.events());
        assert_eq!(record.count(what).max(record.count("data hello")).max(1), 1, "{:?}", record.events());
        assert_eq!(gone.events(), ["started", "connecting", &format!("gone {expected}"), "stopped"]);
        panicked_once(world, &reactor, place);
        reactor.stop_listening(&listener).unwrap();
        let ids = reactor.connections();
        for id in ids.into_iter().filter(|id| *id != witness.connection) {
            // The server of the one that panicked, if it has not noticed; the witness's own is left.
            let mine = reactor.with(id, |recorder: &mut Recorder, _| recorder.name == "server");
            if mine == Some(true) {
                reactor.transport(id).unwrap().abort_connection();
            }
        }
        witness.testify(world, &mut reactor);
    });
}

#[test]
fn a_panic_in_connection_made_ends_that_connection_alone() {
    panic_at("made", "connection_made of connection");
}

#[test]
fn a_panic_in_data_received_ends_that_connection_alone() {
    panic_at("data", "data_received of connection");
}

#[test]
fn a_panic_in_read_connection_lost_ends_that_connection_alone() {
    panic_at("read lost", "read_connection_lost of connection");
}

#[test]
fn a_panic_in_write_connection_lost_ends_that_connection_alone() {
    panic_at("write lost", "write_connection_lost of connection");
}

#[test]
fn a_panic_in_pause_writing_ends_that_connection_alone() {
    panic_at("pause", "pause_writing of connection");
}

#[test]
fn a_panic_in_resume_writing_ends_that_connection_alone() {
    panic_at("resume", "resume_writing of connection");
}

#[test]
fn a_panic_in_connection_lost_keeps_nobody_from_hearing_of_the_loss() {
    panic_at("lost", "connection_lost of connection");
}

#[test]
fn what_a_callback_wrote_before_it_panicked_is_not_sent() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let record = Record::new();
        let listener = world.serve(&mut reactor, Recorder::new(&record));
        let client = nobody().acting(|what, transport, _| {
            if what == "made" {
                transport.write(b"half of an answer");
                panic!("no");
            }
        });
        world.ask(&mut reactor, &listener, client);
        world.run_until(&mut reactor, "lost", |_| record.has("lost Lost"));
        assert_eq!(record.events(), ["made", "lost Lost"], "a reset, and no bytes");
        panicked_once(world, &reactor, "connection_made");
        world.close(&mut reactor, &listener);
    });
}

/// A producer that panics where it is told to.
struct Rude {
    at: &'static str,
    record: Record,
}

impl Rude {
    fn called(&mut self, what: &'static str) {
        self.record.add(what);
        if self.at == what {
            panic!("no");
        }
    }
}

impl Producer for Rude {
    fn resume_producing(&mut self, _: &mut Transport<'_>) {
        self.called("resume producing");
    }

    fn pause_producing(&mut self, _: &mut Transport<'_>) {
        self.called("pause producing");
    }

    fn stop_producing(&mut self, _: &mut Reactor) {
        self.called("stop producing");
    }
}

#[test]
fn a_panic_in_a_producer_ends_its_connection_alone() {
    for at in ["resume producing", "pause producing", "stop producing"] {
        on_each_back_end(|world| {
            let mut reactor = world.reactor();
            let witness = Witness::new(world, &mut reactor);
            let (record, gone) = (Record::new(), Record::new());
            let listener = world.serve(&mut reactor, nobody());
            let producing = record.clone();
            let client = Recorder::new(&record).acting(move |what, transport, _| {
                if what == "made" {
                    let producer = Rude { at, record: producing.clone() };
                    transport.register_producer(producer, ProducerKind::Push).unwrap();
                    transport.set_water_marks(1, 0);
                    let id = transport.id();
                    transport.reactor().call_later(Duration::ZERO, move |reactor| {
                        reactor.transport(id).unwrap().write(b"more than one");
                    });
                } else if what == "resume" {
                    transport.abort_connection();
                }
            });
            reactor.connect_tcp(listener.address(), once(client, &gone)).unwrap();
            world.run_until(&mut reactor, "the loss", |_| gone.has("stopped"));
            let expected = if at == "stop producing" { "Aborted" } else { "Panicked" };
            assert!(record.has(&format!("lost {expected}")), "{:?}", record.events());
            assert!(gone.has(&format!("gone {expected}")));
            assert_eq!(record.count("stop producing"), 1, "it is told, whatever it did");
            panicked_once(world, &reactor, "a producer");
            reactor.stop_listening(&listener).unwrap();
            witness.testify(world, &mut reactor);
        });
    }
}

/// A factory that panics where it is told to.
struct RudeFactory {
    at: &'static str,
    inner: OneProtocol,
}

impl RudeFactory {
    fn called(&mut self, what: &str) {
        if self.at == what {
            self.inner.record.add(format!("panics at {what}"));
            panic!("no");
        }
    }
}

impl Factory for RudeFactory {
    fn build_protocol(&mut self, reactor: &mut Reactor, peer: &Address) -> Option<Box<dyn Protocol>> {
        self.called("build");
        self.inner.build_protocol(reactor, peer)
    }

    fn start_factory(&mut self, reactor: &mut Reactor) {
        self.called("start");
        self.inner.start_factory(reactor);
    }

    fn stop_factory(&mut self, reactor: &mut Reactor) {
        self.called("stop");
        self.inner.stop_factory(reactor);
    }
}

impl ClientFactory for RudeFactory {
    fn started_connecting(&mut self, connector: &mut Connector<'_>) {
        self.called("connecting");
        self.inner.started_connecting(connector);
    }

    fn client_connection_failed(&mut self, connector: &mut Connector<'_>, reason: &Reason) {
        self.called("failed");
        self.inner.client_connection_failed(connector, reason);
    }

    fn client_connection_lost(&mut self, connector: &mut Connector<'_>, reason: &Reason) {
        self.called("gone");
        self.inner.client_connection_lost(connector, reason);
    }
}

#[test]
fn a_panic_in_a_listeners_factory_concerns_one_connection_at_the_most() {
    for (at, place) in [("build", "build_protocol"), ("start", "start_factory"), ("stop", "stop_factory")] {
        on_each_back_end(|world| {
            let mut reactor = world.reactor();
            let witness = Witness::new(world, &mut reactor);
            let (record, client) = (Record::new(), Record::new());
            let closing = nobody().acting(|what, transport, _| {
                if what == "made" {
                    transport.lose_connection();
                }
            });
            let factory = RudeFactory { at, inner: once(closing, &record) };
            let listener = reactor.listen_tcp(world.anywhere(), factory).unwrap();
            let asking = Recorder::new(&client).closing();
            reactor.connect_tcp(listener.address(), once(asking, &client)).unwrap();
            // It is closed in any case, and does not hang.
            world.run_until(&mut reactor, "the end", |_| client.has("stopped"));
            assert!(client.has("lost Done"));
            reactor.stop_listening(&listener).unwrap();
            witness.testify(world, &mut reactor);
            panicked_once(world, &reactor, place);
            assert_eq!(reactor.statistics().refusals, u64::from(at == "build"));
        });
    }
}

/// Connects to a port that listens, or to one that does not, with a factory that panics at `at`.
fn client_panics_at(at: &'static str, place: &str, listens: bool, expected: &[&str]) {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let witness = Witness::new(world, &mut reactor);
        let record = Record::new();
        let closing = || {
            nobody().acting(|what, transport, _| {
                if what == "made" || what == "read lost" {
                    transport.lose_connection();
                }
            })
        };
        let listener = reactor.listen_tcp(world.anywhere(), closing).unwrap();
        if !listens {
            reactor.stop_listening(&listener).unwrap();
        }
        let factory = RudeFactory { at, inner: once(Recorder::new(&record), &record) };
        // It does close: the peer's FIN is not all.
        let inner = factory.inner.acting(|_, _| {});
        let protocol = Recorder::new(&record).closing();
        let inner = OneProtocol { protocol: Some(Box::new(protocol)), ..inner };
        let id = reactor.connect_tcp(listener.address(), RudeFactory { at, inner }).unwrap();
        world.run_until(&mut reactor, "the connector's end", |reactor| reactor.connector(id).is_none());
        assert_eq!(record.events(), expected);
        panicked_once(world, &reactor, place);
        if listens {
            reactor.stop_listening(&listener).unwrap();
        }
        witness.testify(world, &mut reactor);
    });
}

#[test]
fn a_panic_in_a_client_factory_leaves_the_other_callbacks_as_they_would_be() {
    let made = ["made", "read lost", "lost Done"];
    let with = |before: &[&'static str], after: &[&'static str]| [before, &made, after].concat();
    client_panics_at(
        "start",
        "start_factory",
        true,
        &with(&["panics at start", "connecting"], &["gone Done", "stopped"]),
    );
    client_panics_at(
        "connecting",
        "started_connecting",
        true,
        &with(&["started", "panics at connecting"], &["gone Done", "stopped"]),
    );
    client_panics_at(
        "build",
        "build_protocol",
        true,
        &["started", "connecting", "panics at build", "failed Panicked", "stopped"],
    );
    client_panics_at(
        "gone",
        "client_connection_lost",
        true,
        &with(&["started", "connecting"], &["panics at gone", "stopped"]),
    );
    client_panics_at(
        "failed",
        "client_connection_failed",
        false,
        &["started", "connecting", "panics at failed", "stopped"],
    );
    client_panics_at(
        "stop",
        "stop_factory",
        true,
        &with(&["started", "connecting"], &["gone Done", "panics at stop"]),
    );
}

#[test]
fn a_panic_in_a_call_that_is_nobodys_connections_stops_no_other_call() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let witness = Witness::new(world, &mut reactor);
        let record = Record::new();
        let next = |name: &'static str| {
            let record = record.clone();
            move |_: &mut Reactor| record.add(name)
        };
        reactor.call_later(Duration::ZERO, |_| panic!("no"));
        reactor.call_later(Duration::ZERO, next("timed call"));
        reactor.call_when_running(|_| panic!("no"));
        reactor.call_when_running(next("when running"));
        let remote = reactor.remote();
        remote.call_from_thread(|_| panic!("no")).unwrap();
        remote.call_from_thread(|reactor| reactor.call_when_running(|_| {})).unwrap();
        let after = next("job");
        reactor.call_in_thread(|| (), |_, _| panic!("no")).unwrap();
        reactor.call_in_thread(|| (), move |reactor, _| after(reactor)).unwrap();
        world.run_until(&mut reactor, "the others", |reactor| {
            record.has("timed call")
                && record.has("when running")
                && record.has("job")
                && reactor.statistics().panics == 4
        });
        let mut logged = world.logged();
        logged.sort();
        assert_eq!(
            logged,
            [
                "panic in a call from a thread: no",
                "panic in a job's result: no",
                "panic in a timed call: no",
                "panic in a timed call: no",
            ]
        );
        witness.testify(world, &mut reactor);
    });
}

#[test]
fn a_panic_in_a_signal_handler_leaves_it_in_place() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let witness = Witness::new(world, &mut reactor);
        let record = Record::new();
        let noted = record.clone();
        reactor
            .on_signal(Signal::WindowChange, move |_| {
                noted.add("came");
                if noted.count("came") == 1 {
                    panic!("no");
                }
            })
            .unwrap();
        for count in 1..=2 {
            raise(Signal::WindowChange);
            world.run_until(&mut reactor, "the signal", |_| record.count("came") == count);
        }
        panicked_once(world, &reactor, "a signal handler");
        witness.testify(world, &mut reactor);
    });
}

#[test]
fn a_panic_in_a_connections_timed_call_ends_that_connection_alone() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let witness = Witness::new(world, &mut reactor);
        let record = Record::new();
        let listener = reactor.listen_tcp(world.anywhere(), nobody).unwrap();
        let client = Recorder::new(&record).acting(|what, transport, _| {
            if what == "made" {
                transport.call_later(Duration::ZERO, |_: &mut Recorder, _| panic!("no"));
                transport.call_later(Duration::ZERO, |this: &mut Recorder, _| this.record.add("too late"));
            }
        });
        reactor.connect_tcp(listener.address(), once(client, &record)).unwrap();
        world.run_until(&mut reactor, "the loss", |_| record.has("stopped"));
        assert_eq!(
            record.events(),
            ["started", "connecting", "made", "lost Panicked", "gone Panicked", "stopped"]
        );
        panicked_once(world, &reactor, "a timed call");
        reactor.stop_listening(&listener).unwrap();
        witness.testify(world, &mut reactor);
    });
}

#[test]
fn a_panic_in_a_call_to_another_connection_is_the_callers() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let witness = Witness::new(world, &mut reactor);
        let record = Record::new();
        let listener = reactor.listen_tcp(world.anywhere(), nobody).unwrap();
        let other = witness.connection;
        let client = Recorder::new(&record).acting(move |what, transport, _| {
            if what == "made" {
                transport.reactor().with(other, |_: &mut Recorder, _| panic!("no"));
            }
        });
        world.ask(&mut reactor, &listener, client);
        world.run_until(&mut reactor, "the loss", |_| record.has("lost Panicked"));
        panicked_once(world, &reactor, "connection_made");
        reactor.stop_listening(&listener).unwrap();
        witness.testify(world, &mut reactor);
    });
}

/// User code that panics when it is dropped.
struct RudeToDrop;

impl Drop for RudeToDrop {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            panic!("no");
        }
    }
}

impl Protocol for RudeToDrop {
    fn connection_made(&mut self, transport: &mut Transport<'_>) {
        transport.abort_connection();
    }

    fn data_received(&mut self, _: &mut Transport<'_>, _: &[u8]) {}
}

impl Factory for RudeToDrop {
    fn build_protocol(&mut self, reactor: &mut Reactor, _: &Address) -> Option<Box<dyn Protocol>> {
        reactor.call_later(Duration::ZERO, |_| {});
        None
    }
}

#[test]
fn a_panic_in_the_drop_of_a_protocol_concerns_nobody() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let witness = Witness::new(world, &mut reactor);
        let gone = Record::new();
        let listener = reactor.listen_tcp(world.anywhere(), nobody).unwrap();
        reactor.connect_tcp(listener.address(), once(RudeToDrop, &gone)).unwrap();
        world.run_until(&mut reactor, "the loss", |_| gone.has("stopped"));
        assert_eq!(gone.events(), ["started", "connecting", "gone Aborted", "stopped"]);
        panicked_once(world, &reactor, "the drop of user code");
        reactor.stop_listening(&listener).unwrap();
        witness.testify(world, &mut reactor);
    });
}

/// Stops its own listener, and then cannot even be dropped.
struct StopsItself {
    listener: Rc<RefCell<Option<twistor::Listener>>>,
    _rude: RudeToDrop,
}

impl Factory for StopsItself {
    fn build_protocol(&mut self, reactor: &mut Reactor, _: &Address) -> Option<Box<dyn Protocol>> {
        let listener = self.listener.borrow_mut().take()?;
        reactor.stop_listening(&listener).unwrap();
        None
    }
}

#[test]
fn a_panic_in_the_drop_of_a_factory_concerns_nobody() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let witness = Witness::new(world, &mut reactor);
        let listener = reactor.listen_tcp(world.anywhere(), RudeToDrop).unwrap();
        reactor.stop_listening(&listener).unwrap();
        world.run_until(&mut reactor, "the drop", |reactor| reactor.statistics().panics == 1);
        let place: Rc<RefCell<Option<twistor::Listener>>> = Rc::default();
        let factory = StopsItself { listener: Rc::clone(&place), _rude: RudeToDrop };
        let listener = reactor.listen_tcp(world.anywhere(), factory).unwrap();
        let _client = world.connect(listener.address());
        *place.borrow_mut() = Some(listener);
        world.run_until(&mut reactor, "the drop", |reactor| reactor.statistics().panics == 2);
        assert_eq!(world.logged().len(), 2);
        witness.testify(world, &mut reactor);
    });
}

#[test]
fn a_panic_in_the_drop_of_a_call_concerns_nobody() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let witness = Witness::new(world, &mut reactor);
        let record = Record::new();
        let listener = reactor.listen_tcp(world.anywhere(), nobody).unwrap();
        let client = Recorder::new(&record).acting(|what, transport, _| {
            if what == "made" {
                transport
                    .call_later(Duration::ZERO, |_: &mut Recorder, transport| transport.abort_connection());
                // Due at the same instant, when there is nobody to call any more; and one that is far away.
                for delay in [Duration::ZERO, Duration::from_secs(60)] {
                    let rude = RudeToDrop;
                    transport.call_later(delay, move |_: &mut Recorder, _| drop(rude));
                }
            }
        });
        reactor.connect_tcp(listener.address(), once(client, &record)).unwrap();
        world.run_until(&mut reactor, "the loss", |_| record.has("stopped"));
        assert_eq!(reactor.statistics().panics, 2);
        assert_eq!(world.logged(), ["panic in the drop of user code: no"; 2]);
        reactor.stop_listening(&listener).unwrap();
        witness.testify(world, &mut reactor);
    });
}

#[test]
fn a_panic_in_the_drop_of_what_is_left_over_does_not_leave_run() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let rude = RudeToDrop;
        reactor.call_later(Duration::from_secs(60), move |_| drop(rude));
        let rude = RudeToDrop;
        reactor
            .on_signal(Signal::WindowChange, move |_| {
                let _ = &rude;
            })
            .unwrap();
        let rude = RudeToDrop;
        reactor.add_system_event_trigger(Phase::Before, SystemEvent::Startup, move |reactor, _| {
            reactor.call_later(Duration::ZERO, |reactor| {
                reactor.stop();
            });
            drop(rude);
        });
        world.run(&mut reactor);
        let logged = world.logged();
        assert_eq!(logged.len(), 3, "{logged:?}");
    });
}
