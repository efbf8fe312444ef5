//! A panic in a factory concerns one connection at the most, and is logged once.

use crate::world::witness::{Witness, beside_a_witness, panicked_once};
use crate::world::{OneProtocol, Record, Recorder, idle_protocol, on_each_back_end, once};
use twistor::{BuildContext, ClientFactory, Connector, Factory, Protocol, Reactor, Reason};

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
    fn build_protocol(&mut self, context: &mut BuildContext<'_>) -> Option<Box<dyn Protocol>> {
        self.called("build");
        self.inner.build_protocol(context)
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
fn a_listener_factory_panic_affects_at_most_one_connection() {
    for (at, place) in [("build", "build_protocol"), ("start", "start_factory"), ("stop", "stop_factory")] {
        on_each_back_end(|world| {
            let mut reactor = world.reactor();
            let witness = Witness::new(world, &mut reactor);
            let (record, client) = (Record::new(), Record::new());
            let closing = idle_protocol().acting(|what, transport, _| {
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
            assert_eq!(reactor.statistics().connections_refused, u64::from(at == "build"));
        });
    }
}

/// Connects to a port that listens, or to one that does not, with a factory that panics at `at`.
fn client_panics_at(at: &'static str, place: &str, listens: bool, expected: &[&str]) {
    beside_a_witness(|world, reactor, _| {
        let record = Record::new();
        let closing = || {
            idle_protocol().acting(|what, transport, _| {
                if what == "made" || what == "read lost" {
                    transport.lose_connection();
                }
            })
        };
        let listener = reactor.listen_tcp(world.anywhere(), closing).unwrap();
        if !listens {
            reactor.stop_listening(&listener).unwrap();
        }
        let inner = once(Recorder::new(&record).closing(), &record);
        let id = reactor.connect_tcp(listener.address(), RudeFactory { at, inner }).unwrap();
        world.run_until(reactor, "the connector's end", |reactor| reactor.connector(id).is_none());
        assert_eq!(record.events(), expected);
        panicked_once(world, reactor, place);
        if listens {
            reactor.stop_listening(&listener).unwrap();
        }
    });
}

#[test]
fn a_client_factory_panic_leaves_the_other_callbacks_unchanged() {
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
