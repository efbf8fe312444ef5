//! A factory is started before its first use and stopped after its last.

use std::time::Duration;

use crate::world::{Record, idle_protocol, on_each_back_end, once};
use twistor::shared;

#[test]
fn a_listeners_factory_starts_and_stops_once_outside_the_call() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let record = Record::new();
        let listener = reactor.listen_tcp(world.anywhere(), once(idle_protocol(), &record)).unwrap();
        assert_eq!(record.events(), [] as [String; 0]);
        world.run_until(&mut reactor, "started", |_| record.has("started"));
        reactor.stop_listening(&listener).unwrap();
        assert_eq!(record.events(), ["started"]);
        world.run_until_idle(&mut reactor);
        assert_eq!(record.events(), ["started", "stopped"]);
    });
}

#[test]
fn a_factory_that_was_never_used_is_neither_started_nor_stopped() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let record = Record::new();
        let listener = reactor.listen_tcp(world.anywhere(), once(idle_protocol(), &record)).unwrap();
        world.close(&mut reactor, &listener);
        assert_eq!(record.events(), [] as [String; 0]);
    });
}

#[test]
fn a_shared_factory_starts_at_first_and_stops_after_last_use() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let record = Record::new();
        let factory = shared(once(idle_protocol(), &record));
        let first = reactor.listen_tcp(world.anywhere(), factory.clone()).unwrap();
        let second = reactor.listen_tcp(world.anywhere(), factory.clone()).unwrap();
        reactor.iterate(Some(Duration::ZERO)).unwrap();
        reactor.iterate(Some(Duration::ZERO)).unwrap();
        assert_eq!(record.events(), ["started"]);
        reactor.stop_listening(&first).unwrap();
        reactor.iterate(Some(Duration::ZERO)).unwrap();
        // A client with the same factory, which fails.
        reactor.connect_tcp(first.address(), factory.clone()).unwrap();
        world.run_until(&mut reactor, "failed", |_| record.has("failed Refused"));
        world.close(&mut reactor, &second);
        assert_eq!(record.events(), ["started", "connecting", "failed Refused", "stopped"]);
        assert_eq!(factory.with_factory(|once| once.record.count("started")), Some(1));
        // The factory can be used again.
        let third = reactor.listen_tcp(world.anywhere(), factory).unwrap();
        reactor.iterate(Some(Duration::ZERO)).unwrap();
        world.close(&mut reactor, &third);
        assert_eq!((record.count("started"), record.count("stopped")), (2, 2));
    });
}

#[test]
fn a_client_factory_stays_in_use_while_it_connects_again() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let record = Record::new();
        let listener = reactor.listen_tcp(world.anywhere(), idle_protocol).unwrap();
        reactor.stop_listening(&listener).unwrap();
        let noted = record.clone();
        let client = once(idle_protocol(), &record).acting(move |what, connector| {
            if what == "failed" {
                match noted.count("failed Refused") {
                    1 => assert!(connector.connect()),
                    2 => assert!(connector.connect_later(Duration::from_millis(1))),
                    _ => {}
                }
            }
        });
        reactor.connect_tcp(listener.address(), client).unwrap();
        world.run_until_idle(&mut reactor);
        let attempt = ["connecting", "failed Refused"];
        assert_eq!(record.events(), [&["started"][..], &attempt, &attempt, &attempt, &["stopped"]].concat());
    });
}
