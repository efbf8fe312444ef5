//! `lose_connection` sends what was written, tells once and later, and waits for a stuck peer within a limit.

mod world;

use std::time::Duration;

use twistor::Settings;
use world::peer::{connection, narrow_connection, turns};
use world::{Record, Recorder, on_each_back_end};

#[test]
fn what_was_written_arrives_and_what_comes_is_not_delivered_any_more() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let record = Record::new();
        let (id, mut peer) = narrow_connection(world, &mut reactor, Recorder::new(&record));
        let mut transport = reactor.transport(id).unwrap();
        transport.write(&[b'w'; 300_000]);
        transport.lose_connection();
        transport.lose_connection();
        assert!(transport.is_closing());
        assert_eq!(record.events(), ["made"], "nothing is told inside the call");
        peer.send(b"not heard");
        turns(&mut reactor);
        assert_eq!(peer.read_to_end(&mut reactor), (vec![b'w'; 300_000], None));
        drop(peer);
        world.run_until_idle(&mut reactor);
        let events = record.take();
        assert!(!events.iter().any(|event| event.starts_with("data")), "{events:?}");
        assert_eq!(events.last().unwrap(), "lost Done");
        assert_eq!(events.iter().filter(|event| event.starts_with("lost")).count(), 1);
    });
}

#[test]
fn a_close_inside_a_callback_is_told_after_it() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let record = Record::new();
        let inside = record.clone();
        let protocol = Recorder::new(&record).acting(move |what, transport, _| {
            if what == "data" {
                transport.write(b"bye");
                transport.lose_connection();
                inside.add("callback ends");
            }
        });
        let (_, mut peer) = connection(world, &mut reactor, protocol);
        peer.send(b"hello");
        assert_eq!(peer.read_to_end(&mut reactor), (b"bye".to_vec(), None));
        drop(peer);
        world.run_until_idle(&mut reactor);
        assert_eq!(record.events(), ["made", "data hello", "callback ends", "lost Done"]);
    });
}

#[test]
fn a_peer_that_takes_nothing_is_aborted_at_the_closing_limit() {
    on_each_back_end(|world| {
        let settings = Settings { closing_limit: Duration::from_millis(20), ..Settings::default() };
        let mut reactor = world.reactor_with(settings);
        let record = Record::new();
        let (id, _peer) = narrow_connection(world, &mut reactor, Recorder::new(&record));
        reactor.transport(id).unwrap().write(&[b'w'; 500_000]);
        reactor.transport(id).unwrap().lose_connection();
        world.run_until_idle(&mut reactor);
        assert_eq!(record.events().last().unwrap(), "lost CloseTimedOut");
        assert_eq!(reactor.statistics().close_timeouts, 1);
    });
}

#[test]
fn a_peer_that_takes_a_little_now_and_then_is_waited_for() {
    on_each_back_end(|world| {
        let settings = Settings { closing_limit: Duration::from_millis(150), ..Settings::default() };
        let mut reactor = world.reactor_with(settings);
        let record = Record::new();
        let (id, mut peer) = narrow_connection(world, &mut reactor, Recorder::new(&record));
        reactor.transport(id).unwrap().write(&[b'w'; 400_000]);
        reactor.transport(id).unwrap().lose_connection();
        let began = reactor.now();
        let mut read = 0;
        // Slowly, until well past the limit; then all the rest.
        while read < 400_000 {
            let slowly = reactor.now() - began < Duration::from_millis(400);
            read += peer.read_some(if slowly { 2000 } else { 100_000 }).len();
            reactor.turn(Some(Duration::from_millis(2))).unwrap();
            assert!(!record.has("lost CloseTimedOut"), "after {read} bytes");
        }
        drop(peer);
        world.run_until_idle(&mut reactor);
        assert_eq!(record.events().last().unwrap(), "lost Done");
    });
}

#[test]
fn a_limit_of_its_own_counts_in_all() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let record = Record::new();
        let (id, peer) = narrow_connection(world, &mut reactor, Recorder::new(&record));
        reactor.transport(id).unwrap().write(&vec![b'w'; 100 << 20]);
        reactor.transport(id).unwrap().lose_connection_within(Duration::from_millis(30));
        let peer = std::cell::RefCell::new(peer);
        world.run_until(&mut reactor, "the limit", |_| {
            // Progress does not help.
            peer.borrow_mut().read_some(1000);
            record.has("lost CloseTimedOut")
        });
        world.run_until_idle(&mut reactor);
    });
}
