//! A process without descriptors keeps what it has, closes whom it cannot serve, and recovers by itself.

use std::fs::File;
use std::time::{Duration, Instant};

use crate::world::child;
use crate::world::child::test_path;
use crate::world::peer::Peer;
use crate::world::{Record, Recorder, idle_protocol, on_each_back_end, on_the_real_network, once};
use twistor::sim::{CallKind, Errno, Fault};
use twistor::{Error, Reactor, Settings};

const LIMITED: &str = "the process has few descriptors";

/// The delay after an accept that failed.
const RETRY_DELAY: Duration = Duration::from_millis(100);

/// Takes all descriptors that are left.
fn exhaust() -> Vec<File> {
    std::iter::from_fn(|| File::open("/dev/null").ok()).collect()
}

#[test]
fn peers_are_closed_others_go_on_and_the_port_serves_again() {
    child::alone(test_path(peers_are_closed_others_go_on_and_the_port_serves_again), "ulimit -n 64;", || {
        on_the_real_network(LIMITED, |world| {
            let mut reactor = world.reactor_with(Settings { max_connections: 1000, ..Settings::default() });
            let served = Record::new();
            let record = served.clone();
            let listener =
                reactor.listen_tcp(world.anywhere(), move || Recorder::new(&served).echoing()).unwrap();
            let mut held = world.connect(listener.address());
            world.run_until(&mut reactor, "made", |_| record.has("made"));

            let mut waiting: Vec<Peer> = (0..10).map(|_| world.connect(listener.address())).collect();
            let (began, before) = (Instant::now(), reactor.statistics());
            let mut all = exhaust();
            assert!(all.len() > 10 && world.try_connect(listener.address()).is_err(), "there are none left");
            world
                .run_until(&mut reactor, "all are closed", |reactor| reactor.statistics().accepts_shed == 10);
            assert!(waiting.iter_mut().all(Peer::at_end), "a FIN, not a hang");

            // A connection that is open does not notice,
            held.send(b"still there?");
            world.run_until(&mut reactor, "the echo", |_| record.has("data still there?"));
            assert_eq!(held.read_now(), b"still there?");
            // and what needs one fails alone.
            let failed = Record::new();
            let id = reactor.connect_tcp(listener.address(), once(Recorder::new(&failed), &failed)).unwrap();
            world.run_until(&mut reactor, "the failure", |reactor| reactor.connector(id).is_none());
            assert_eq!(failed.events(), ["started", "connecting", "failed ConnectFailed", "stopped"]);
            let listening = reactor.listen_tcp(world.anywhere(), idle_protocol);
            assert!(matches!(listening, Err(Error::CannotListen { call: "socket", .. })), "{listening:?}");
            assert!(matches!(Reactor::new(), Err(Error::System { .. })));

            // The loop sleeps between its attempts,
            let never = reactor.call_later(Duration::from_secs(20), |_| {});
            let (errors, turns) = (reactor.statistics().accept_errors, reactor.statistics().turns);
            for attempt in 1..=10 {
                drop(all.pop()); // for the descriptor of the peer
                waiting.push(world.connect(listener.address()));
                while reactor.statistics().accept_errors < errors + attempt {
                    reactor.iterate(None).unwrap();
                }
            }
            never.cancel(&mut reactor).unwrap();
            let turns = reactor.statistics().turns - turns;
            assert!(turns <= 3 * 10, "{turns} turns");
            assert_eq!(reactor.statistics().accepts_shed, 10 + 10);
            // and makes none while the backlog is empty.
            let slept = Record::new();
            let note = slept.clone();
            reactor.call_later(2 * RETRY_DELAY, move |_| note.add("slept"));
            world.run_until(&mut reactor, "the time", |_| slept.has("slept"));
            assert_eq!(reactor.statistics().accept_errors, errors + 10);
            let logged = world.logged();
            assert!((1..=1 + began.elapsed().as_secs()).contains(&(logged.len() as u64)), "{logged:?}");
            assert!(logged.iter().all(|line| line.contains("out of descriptors")), "{logged:?}");
            assert_eq!(reactor.statistics().accepts, before.accepts, "no connection was served meanwhile");

            drop((all, waiting));
            let again = world.connect(listener.address());
            world.run_until(&mut reactor, "served again", |_| record.count("made") == 2);
            drop((again, held));
            world.run_until(&mut reactor, "lost", |_| record.count("lost Done") == 2);
            world.close(&mut reactor, &listener);
            world.logged();
        });
    });
}

#[test]
fn a_port_without_descriptors_accepts_nothing_during_its_pause() {
    let test = test_path(a_port_without_descriptors_accepts_nothing_during_its_pause);
    child::alone(test, "ulimit -n 64;", || {
        on_each_back_end(|world| {
            let mut reactor = world.reactor();
            let listener = reactor.listen_tcp(world.anywhere(), idle_protocol).unwrap();
            let limit = |descriptors| {
                if let Some((network, host)) = world.simulated() {
                    network.set_descriptor_limit(host, descriptors);
                }
            };
            let mut first = world.connect(listener.address());
            limit(0);
            let mut all = if world.simulated().is_none() { exhaust() } else { Vec::new() };
            let begun = reactor.now();
            world.run_until(&mut reactor, "it is closed", |reactor| reactor.statistics().accepts_shed == 1);
            assert!(first.at_end());
            // For the descriptor of the peer.
            drop(all.pop());
            limit(1000);
            let mut second = world.connect(listener.address());
            limit(0);
            let counts = |reactor: &Reactor| {
                let counted = reactor.statistics();
                (counted.accept_errors, counted.accepts_shed, counted.accepts)
            };
            // The pause began after `begun`. A turn that was over before its end accepted nothing.
            loop {
                let (waits, counted) = (!second.at_end(), counts(&reactor));
                if reactor.now() >= begun + RETRY_DELAY {
                    break;
                }
                assert_eq!((waits, counted), (true, (1, 1, 0)));
                reactor.iterate(Some(RETRY_DELAY / 10)).unwrap();
            }
            assert_eq!(world.logged().len(), 1);
            world.run_until(&mut reactor, "the next try", |reactor| counts(reactor) == (2, 2, 0));
            assert!(second.at_end());
            drop(all);
            world.logged();
        });
    });
}

#[test]
fn a_lookup_without_free_descriptors_fails_alone() {
    let test = test_path(a_lookup_without_free_descriptors_fails_alone);
    child::alone(test, "ulimit -n 64;", || {
        on_the_real_network(LIMITED, |world| {
            let mut reactor = world.reactor();
            let record = Record::new();
            let all = exhaust();
            let client = once(Recorder::new(&record), &record);
            let id = reactor.connect_tcp("twistor.test:80", client).unwrap();
            world.run_until(&mut reactor, "the failure", |reactor| reactor.connector(id).is_none());
            assert_eq!(record.events(), ["started", "connecting", "failed LookupFailed", "stopped"]);
            drop(all);
            world.run_until_idle(&mut reactor);
        });
    });
}

#[test]
fn the_default_connection_limit_leaves_descriptors_free() {
    on_the_real_network(LIMITED, |world| {
        for (descriptors, connections) in [(64, 1), (300, 22), (1024, 384)] {
            let test = test_path(the_default_connection_limit_leaves_descriptors_free);
            let first = format!("EXPECT={connections}; export EXPECT; ulimit -n {descriptors};");
            match child::begin(test, &first) {
                Some(child) => child.succeeds(),
                None => {
                    let expected: usize = std::env::var("EXPECT").unwrap().parse().unwrap();
                    assert_eq!(world.reactor().settings().max_connections, expected);
                    return;
                }
            }
        }
    });
}

#[test]
fn a_port_whose_accepts_fail_tries_again_after_each_pause() {
    on_each_back_end(|world| {
        // No system runs out of memory when a test wants it to.
        let Some((network, _)) = world.simulated() else { return };
        network.add_rule(Fault::fail(CallKind::Accept, Errno::ENOMEM).at_most(3));
        let mut reactor = world.reactor();
        let record = Record::new();
        let served = record.clone();
        let listener =
            reactor.listen_tcp(world.anywhere(), move || Recorder::new(&served).closing()).unwrap();
        let begun = reactor.now();
        let peer = world.connect(listener.address());
        world.run_until(&mut reactor, "made", |_| record.has("made"));
        assert!(reactor.now() - begun >= 3 * RETRY_DELAY, "after {:?}", reactor.now() - begun);
        assert_eq!(reactor.statistics().accept_errors, 3);
        assert_eq!(world.logged().len(), 1, "once a second");
        drop(peer);
        world.close(&mut reactor, &listener);
    });
}
