//! `lose_connection` sends all output, reports the loss once and later, and waits for a stuck peer
//! within a limit.

use std::io::ErrorKind;
use std::time::Duration;

use crate::world::peer::{connection, narrow_connection, turns};
use crate::world::{Record, Recorder, on_each_back_end};
use twistor::{Producer, ProducerKind, Protocol, Reason, Settings, Transport};

#[test]
fn a_close_sends_written_data_and_delivers_no_more_input() {
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
        let settings = Settings { close_timeout: Duration::from_millis(20), ..Settings::default() };
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
        let settings = Settings { close_timeout: Duration::from_millis(150), ..Settings::default() };
        let mut reactor = world.reactor_with(settings);
        let record = Record::new();
        let (id, mut peer) = narrow_connection(world, &mut reactor, Recorder::new(&record));
        reactor.transport(id).unwrap().write(&[b'w'; 400_000]);
        reactor.transport(id).unwrap().lose_connection();
        let began = reactor.now();
        let mut read = 0;
        // Reads slowly until well past the limit, then everything.
        while read < 400_000 {
            let slowly = reactor.now() - began < Duration::from_millis(400);
            read += peer.read_some(if slowly { 2000 } else { 100_000 }).len();
            reactor.iterate(Some(Duration::from_millis(2))).unwrap();
            assert!(!record.has("lost CloseTimedOut"), "after {read} bytes");
        }
        drop(peer);
        world.run_until_idle(&mut reactor);
        assert_eq!(record.events().last().unwrap(), "lost Done");
    });
}

#[test]
fn a_close_waits_for_a_peer_that_reads_without_write_events() {
    on_each_back_end(|world| {
        let limit = Duration::from_millis(100);
        let mut reactor = world.reactor_with(Settings { close_timeout: limit, ..Settings::default() });
        let record = Record::new();
        let (id, mut peer) = connection(world, &mut reactor, Recorder::new(&record));
        reactor.transport(id).unwrap().write(&vec![b'w'; 40 << 20]);
        reactor.transport(id).unwrap().lose_connection();
        let began = reactor.now();
        while reactor.now() - began < limit * 4 {
            peer.read_some(30_000);
            reactor.iterate(Some(Duration::from_millis(10))).unwrap();
            assert!(!record.has("lost CloseTimedOut"));
        }
        reactor.transport(id).unwrap().abort_connection();
        world.run_until_idle(&mut reactor);
    });
}

#[test]
fn a_limit_of_its_own_counts_in_all() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let record = Record::new();
        let (id, peer) = narrow_connection(world, &mut reactor, Recorder::new(&record));
        reactor.transport(id).unwrap().write(&vec![b'w'; 100 << 20]);
        reactor.transport(id).unwrap().lose_connection_timeout(Duration::from_millis(30));
        let peer = std::cell::RefCell::new(peer);
        world.run_until(&mut reactor, "the limit", |_| {
            // Progress does not extend the total limit.
            peer.borrow_mut().read_some(1000);
            record.has("lost CloseTimedOut")
        });
        world.run_until_idle(&mut reactor);
    });
}

#[test]
fn a_close_waits_for_a_silent_producer_until_the_limit() {
    on_each_back_end(|world| {
        for kind in [ProducerKind::Push, ProducerKind::Pull] {
            for half in [false, true] {
                let settings = Settings { close_timeout: Duration::from_millis(20), ..Settings::default() };
                let mut reactor = world.reactor_with(settings);
                let record = Record::new();
                let (id, mut peer) = connection(world, &mut reactor, Recorder::new(&record));
                let mut transport = reactor.transport(id).unwrap();
                transport.register_producer(Silent, kind).unwrap();
                transport.write(b"head");
                match half {
                    true => transport.lose_write_connection(),
                    false => transport.lose_connection(),
                }
                // Output of the producer is missing, so the end is a reset.
                let (head, error) = peer.read_to_end(&mut reactor);
                assert_eq!((&head[..], error), (&b"head"[..], Some(ErrorKind::ConnectionReset)));
                world.run_until_idle(&mut reactor);
                assert_eq!(record.events().last().unwrap(), "lost CloseTimedOut");
                assert_eq!(reactor.statistics().close_timeouts, 1);
            }
        }
    });
}

struct Silent;

impl Producer for Silent {
    fn resume_producing(&mut self, _: &mut Transport<'_>) {}
}

#[test]
fn a_producer_that_writes_now_and_then_is_waited_for() {
    on_each_back_end(|world| {
        // Longer than any stall of a busy machine.
        let limit = Duration::from_secs(3);
        let mut reactor = world.reactor_with(Settings { close_timeout: limit, ..Settings::default() });
        let record = Record::new();
        let (id, mut peer) = connection(world, &mut reactor, Recorder::new(&record));
        let mut transport = reactor.transport(id).unwrap();
        transport.register_producer(Silent, ProducerKind::Push).unwrap();
        transport.lose_connection();
        let (began, mut written) = (reactor.now(), 0);
        while reactor.now() - began < limit + limit / 10 {
            reactor.transport(id).unwrap().write(b"x");
            written += 1;
            // The first turn sends the output and waits for nothing.
            turns(&mut reactor);
            reactor.iterate(Some(Duration::from_millis(2))).unwrap();
            assert!(!record.has("lost CloseTimedOut"), "after {written} bytes");
        }
        reactor.transport(id).unwrap().unregister_producer();
        assert_eq!(peer.read_to_end(&mut reactor), (vec![b'x'; written], None));
        drop(peer);
        world.run_until_idle(&mut reactor);
        assert_eq!(record.events().last().unwrap(), "lost Done");
    });
}

#[test]
fn a_half_close_to_a_stuck_peer_is_limited_until_it_is_done() {
    on_each_back_end(|world| {
        for takes in [false, true] {
            let limit = Duration::from_millis(20);
            let mut reactor = world.reactor_with(Settings { close_timeout: limit, ..Settings::default() });
            let record = Record::new();
            let (id, mut peer) = narrow_connection(world, &mut reactor, Recorder::new(&record));
            reactor.transport(id).unwrap().write(&[b'w'; 300_000]);
            reactor.transport(id).unwrap().lose_write_connection();
            if takes {
                let mut read = 0;
                while !record.has("write lost") {
                    read += peer.read_now().len();
                    reactor.iterate(Some(Duration::from_millis(1))).unwrap();
                }
                read += peer.read_to_end(&mut reactor).0.len();
                assert_eq!(read, 300_000);
                // No time limit is pending any more.
                assert_eq!(reactor.delayed_call_count(), 0);
                peer.send(b"thanks");
                world.run_until(&mut reactor, "the answer", |_| record.has("data thanks"));
                reactor.transport(id).unwrap().lose_connection();
                peer.finish();
            }
            world.run_until_idle(&mut reactor);
            let end = if takes { "lost Done" } else { "lost CloseTimedOut" };
            assert_eq!(record.events().last().unwrap(), end);
        }
    });
}

/// Records the reason of the loss.
struct Why(std::rc::Rc<std::cell::RefCell<Option<Reason>>>);

impl Protocol for Why {
    fn data_received(&mut self, _: &mut Transport<'_>, _: &[u8]) {}

    fn connection_lost(&mut self, _: &mut Transport<'_>, reason: &Reason) {
        *self.0.borrow_mut() = Some(reason.clone());
    }
}

#[test]
fn a_limit_may_be_given_to_a_close_that_has_begun() {
    on_each_back_end(|world| {
        let settings = Settings { close_timeout: Duration::from_millis(500), ..Settings::default() };
        let mut reactor = world.reactor_with(settings);
        let why = std::rc::Rc::default();
        let (id, _peer) = narrow_connection(world, &mut reactor, Why(std::rc::Rc::clone(&why)));
        reactor.transport(id).unwrap().write(&vec![b'w'; 100 << 20]);
        reactor.transport(id).unwrap().lose_connection();
        turns(&mut reactor);
        let limit = Duration::from_millis(20);
        reactor.transport(id).unwrap().lose_connection_timeout(limit);
        world.run_until_idle(&mut reactor);
        assert_eq!(why.take(), Some(Reason::CloseTimedOut(limit)));
    });
}
