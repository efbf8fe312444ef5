//! Stopping is asked for, not done: the shutdown comes with the next turn, and everything open hears of it.

mod world;

use std::time::Duration;

use twistor::{Phase, Reactor, Settings, SystemEvent};
use world::{Record, Recorder, World, nobody, on_each_back_end, once};

fn later(reactor: &mut Reactor, call: impl FnOnce(&mut Reactor) + 'static) {
    reactor.call_later(Duration::ZERO, call);
}

#[test]
fn stop_returns_before_the_shutdown_begins() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let record = Record::new();
        let (stopping, triggered) = (record.clone(), record.clone());
        reactor.add_system_event_trigger(Phase::Before, SystemEvent::Shutdown, move |_, _| {
            triggered.add("shutdown")
        });
        later(&mut reactor, move |reactor| {
            assert!(reactor.stop());
            stopping.add("asked");
            assert!(reactor.running());
            assert!(!reactor.stop(), "a second time");
            assert!(!reactor.stop_gracefully());
            assert_eq!(reactor.statistics().turns, 1);
        });
        world.run(&mut reactor);
        assert_eq!(record.events(), ["asked", "shutdown"]);
        assert!(!reactor.running());
    });
}

#[test]
fn a_reactor_that_does_not_run_cannot_be_stopped() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        assert!(!reactor.stop() && !reactor.stop_gracefully());
        reactor.add_system_event_trigger(Phase::Before, SystemEvent::Startup, |reactor, _| {
            assert!(!reactor.stop());
        });
        reactor.add_system_event_trigger(Phase::During, SystemEvent::Startup, |reactor, _| {
            assert!(reactor.stop(), "it runs now");
        });
        world.run(&mut reactor);
    });
}

#[test]
fn everything_that_is_open_or_under_way_is_lost_and_hears_so() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let record = Record::new();
        let server = once(Recorder::named("server", &record), &Record::new());
        let listener = reactor.listen_tcp(world.anywhere(), server).unwrap();
        let (connecting, waiting) = (Record::new(), Record::new());
        let address = listener.address().clone();
        let (attempt, waits) = (connecting.clone(), waiting.clone());
        let client = Recorder::named("client", &record).acting(move |what, transport, _| match what {
            "made" => {
                let reactor = transport.reactor();
                // Under way when the reactor stops: it is asked to connect in the next turn at the earliest.
                let factory = once(nobody(), &attempt);
                reactor.connect_tcp(&address, factory).unwrap();
                let id = reactor.connect_tcp(
                    &address,
                    once(nobody(), &waits).acting(|what, connector| {
                        if what == "gone" {
                            assert!(!connector.connect(), "nothing new can begin");
                        }
                    }),
                );
                let _ = id.unwrap();
                reactor.stop();
            }
            // A panic here concerns nobody else.
            "lost" => panic!("no"),
            _ => {}
        });
        let gone = Record::new();
        reactor.connect_tcp(listener.address(), once(client, &gone)).unwrap();
        world.run(&mut reactor);
        assert_eq!(record.count("server: lost Stopped"), record.count("server: made"));
        assert!(record.has("client: lost Stopped"));
        assert_eq!(gone.events(), ["started", "connecting", "gone Stopped", "stopped"]);
        for record in [connecting, waiting] {
            let last = record.events();
            let last = last.last().unwrap();
            assert!(["stopped", "failed Stopped"].contains(&last.as_str()), "{last}");
        }
        assert_eq!(world.logged().len(), 1, "the panic");
    });
}

#[test]
fn a_connector_that_only_waits_ends_with_the_reactor_and_its_factory_is_stopped() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let record = Record::new();
        let client = once(nobody(), &record).acting(|what, connector| {
            if what == "failed" {
                assert!(connector.connect_later(Duration::from_secs(60)));
                later(connector.reactor(), |reactor| {
                    reactor.stop();
                });
            }
        });
        reactor.connect_tcp(world.unused(), client).unwrap();
        world.run(&mut reactor);
        assert_eq!(record.events(), ["started", "connecting", "failed Refused", "stopped"]);
    });
}

/// A server that writes much and then has its reactor stopped, and how much of it a client that
/// reads sees: all of it if `graceful`.
fn stop_with_bytes_waiting(world: &World, graceful: bool) -> usize {
    const MUCH: usize = 8 << 20;
    let settings = Settings { buffer_limit: 2 * MUCH, ..Settings::default() };
    let mut reactor = world.reactor_with(settings);
    let server = nobody().acting(move |what, transport, _| {
        if what == "made" {
            transport.write(&vec![b'x'; MUCH]);
            assert!(transport.unsent() > 0, "more than the system takes");
            match graceful {
                true => transport.reactor().stop_gracefully(),
                false => transport.reactor().stop(),
            };
        }
    });
    let listener = world.serve(&mut reactor, server);
    let read = world.run_read_by(&mut reactor, world.connect(listener.address()));
    match graceful {
        true => assert_eq!(read, MUCH),
        false => assert!(read < MUCH),
    }
    read
}

#[test]
fn a_graceful_stop_sends_what_waits_and_a_plain_one_does_not() {
    on_each_back_end(|world| {
        assert!(stop_with_bytes_waiting(world, false) < stop_with_bytes_waiting(world, true));
    });
}

#[test]
fn a_graceful_stop_waits_for_a_peer_that_takes_nothing_no_longer_than_its_limit() {
    on_each_back_end(|world| {
        let settings = Settings {
            drain_limit: Duration::from_millis(20),
            buffer_limit: 32 << 20,
            ..Settings::default()
        };
        let mut reactor = world.reactor_with(settings);
        let record = Record::new();
        let server = Recorder::new(&record).acting(|what, transport, _| {
            if what == "made" {
                transport.write(&vec![b'x'; 16 << 20]);
                transport.reactor().stop_gracefully();
            }
        });
        let listener = reactor.listen_tcp(world.anywhere(), once(server, &record)).unwrap();
        let silent = world.connect(listener.address());
        world.run(&mut reactor);
        assert!(record.has("lost Stopped"), "{:?}", record.events());
        drop(silent);
    });
}

#[test]
fn a_graceful_stop_begins_nothing_new() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let record = Record::new();
        let listener = reactor.listen_tcp(world.anywhere(), once(nobody(), &record)).unwrap();
        let address = listener.address().clone();
        let lost = record.clone();
        let client = Recorder::new(&record).acting(move |what, transport, _| match what {
            "made" => {
                transport.reactor().stop_gracefully();
            }
            "lost" => {
                let again = once(nobody(), &Record::new());
                let reactor = transport.reactor();
                assert!(matches!(reactor.connect_tcp(&address, again), Err(twistor::Error::Finished)));
                let port = reactor.listen_tcp(&address, nobody);
                assert!(matches!(port, Err(twistor::Error::Finished)));
                lost.add("refused");
            }
            _ => {}
        });
        world.ask(&mut reactor, &listener, client);
        world.run(&mut reactor);
        assert!(record.has("lost Done") && record.has("refused"), "{:?}", record.events());
    });
}
