//! Connecting can be cancelled and restarted in every state, from a callback or from outside.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use crate::world::{Record, Recorder, idle_protocol, on_each_back_end, once};
use twistor::{
    BuildContext, ClientFactory, ConnectTcp, Connector, ConnectorState, Error, Factory, Protocol, Reactor,
    Reason,
};

#[test]
fn connecting_can_be_given_up_in_every_state_and_is_told_once() {
    on_each_back_end(|world| {
        let port = world.filtered();
        let gives_up = |how: &str| {
            let mut reactor = world.reactor();
            let record = Record::new();
            let at = how.to_owned();
            let client = once(idle_protocol(), &record).acting(move |what, connector| {
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
        // Before the start, only the failure is reported.
        assert!(!gives_up("at once").contains(&"connecting".to_owned()));
    });
}

#[test]
fn a_connector_that_only_waits_can_be_told_to_go() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let record = Record::new();
        let client = once(idle_protocol(), &record).acting(|what, connector| {
            if what == "failed" {
                assert!(connector.connect_later(Duration::from_secs(60)));
                assert_eq!(connector.state(), ConnectorState::Waiting);
                assert!(!connector.connect() && !connector.connect_later(Duration::ZERO), "it waits already");
            }
        });
        let id = reactor.connect_tcp(world.unused(), client).unwrap();
        world.run_until(&mut reactor, "failed", |_| record.has("failed Refused"));
        reactor.connector(id).unwrap().stop_connecting().unwrap();
        assert!(!record.has("stopped"), "never inside the call");
        world.run_until_idle(&mut reactor);
        assert!(reactor.connector(id).is_none());
        assert_eq!(record.events(), ["started", "connecting", "failed Refused", "stopped"]);
    });
}

#[test]
fn a_connected_connector_can_disconnect_but_not_stop_connecting() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let record = Record::new();
        let listener = reactor.listen_tcp(world.anywhere(), || idle_protocol().closing()).unwrap();
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
        world.close(&mut reactor, &listener);
    });
}

#[test]
fn a_connector_can_reconnect_inside_failed_and_lost_callbacks() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let record = Record::new();
        // The first two attempts find no listener, the third does.
        let address = world.unused();
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
                        let listener =
                            connector.reactor().listen_tcp(address, || idle_protocol().closing()).unwrap();
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
        world.close(&mut reactor, &listener);
    });
}

/// A factory of protocols that close at once. It records and acts as `OneProtocol` does.
struct Every(Record, crate::world::ClientAct);

impl Every {
    fn happened(&mut self, what: &str, connector: &mut Connector<'_>) {
        self.0.add(what);
        (self.1)(what, connector);
    }
}

impl Factory for Every {
    fn build_protocol(&mut self, _: &mut BuildContext<'_>) -> Option<Box<dyn Protocol>> {
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
        let listener = reactor.listen_tcp(world.anywhere(), || idle_protocol().closing()).unwrap();
        let client = once(Recorder::new(&record), &record);
        let port = listener.address().port().unwrap();
        let id = reactor.connect_tcp(("localhost", port), client).unwrap();
        world.run_until(&mut reactor, "resolving", |_| record.has("connecting"));
        reactor.connector(id).unwrap().stop_connecting().unwrap();
        // The look-up itself stays in use until its answer arrives.
        world.close(&mut reactor, &listener);
        assert_eq!(record.events(), ["started", "connecting", "failed Cancelled", "stopped"]);
    });
}
