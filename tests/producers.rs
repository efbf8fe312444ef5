//! Producers are paused, resumed and asked as the bytes go, and a close waits for them.

mod world;

use std::cell::Cell;
use std::rc::Rc;

use twistor::{ConnectionId, Error, Producer, ProducerKind, Reactor, Transport};
use world::peer::{connection, narrow_connection, turns};
use world::{Record, Recorder, on_each_back_end};

/// Records what it is told, and may do something at it.
struct Noted {
    record: Record,
    act: Act,
}

type Act = Box<dyn FnMut(&str, &mut Transport<'_>)>;

impl Noted {
    fn new(record: &Record) -> Noted {
        Noted { record: record.clone(), act: Box::new(|_, _| {}) }
    }

    fn acting(record: &Record, act: impl FnMut(&str, &mut Transport<'_>) + 'static) -> Noted {
        Noted { record: record.clone(), act: Box::new(act) }
    }
}

impl Producer for Noted {
    fn resume_producing(&mut self, transport: &mut Transport<'_>) {
        self.record.add("produce");
        (self.act)("produce", transport);
    }

    fn pause_producing(&mut self, transport: &mut Transport<'_>) {
        self.record.add("stop for now");
        (self.act)("stop for now", transport);
    }

    fn stop_producing(&mut self, _: &mut Reactor) {
        self.record.add("stop for good");
    }
}

fn register(reactor: &mut Reactor, id: ConnectionId, producer: Noted, kind: ProducerKind) {
    reactor.transport(id).unwrap().register_producer(producer, kind).unwrap();
}

#[test]
fn a_push_producer_is_paused_above_the_high_mark_and_resumed_at_the_low_one() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let record = Record::new();
        let (id, mut peer) = narrow_connection(world, &mut reactor, Recorder::new(&Record::new()));
        register(&mut reactor, id, Noted::new(&record), ProducerKind::Push);
        turns(&mut reactor);
        assert!(record.events().is_empty(), "it produces by itself");
        reactor.transport(id).unwrap().write(&[b'w'; 500_000]);
        reactor.transport(id).unwrap().write(b"and more");
        turns(&mut reactor);
        assert_eq!(record.events(), ["stop for now"]);
        let read = std::cell::RefCell::new(&mut peer);
        world.run_until(&mut reactor, "resumed", |_| {
            read.borrow_mut().read_now();
            record.has("produce")
        });
        reactor.transport(id).unwrap().abort_connection();
        world.run_until_idle(&mut reactor);
        assert_eq!(record.events(), ["stop for now", "produce", "stop for good"]);
    });
}

#[test]
fn one_that_comes_to_a_full_buffer_is_paused_at_once() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let record = Record::new();
        let (id, _peer) = narrow_connection(world, &mut reactor, Recorder::new(&Record::new()));
        reactor.transport(id).unwrap().write(&[b'w'; 500_000]);
        turns(&mut reactor);
        register(&mut reactor, id, Noted::new(&record), ProducerKind::Push);
        turns(&mut reactor);
        assert_eq!(record.events(), ["stop for now"]);
        reactor.transport(id).unwrap().abort_connection();
        world.run_until_idle(&mut reactor);
    });
}

#[test]
fn there_is_one_at_a_time_and_on_a_lost_connection_it_is_told_to_stop() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let record = Record::new();
        let (id, _peer) = connection(world, &mut reactor, Recorder::new(&Record::new()));
        register(&mut reactor, id, Noted::new(&Record::new()), ProducerKind::Push);
        let mut transport = reactor.transport(id).unwrap();
        let second = transport.register_producer(Noted::new(&record), ProducerKind::Push);
        assert!(matches!(second, Err(Error::ProducerRegistered)));
        transport.unregister_producer();
        transport.unregister_producer();
        transport.abort_connection();
        transport.register_producer(Noted::new(&record), ProducerKind::Pull).unwrap();
        world.run_until_idle(&mut reactor);
        assert_eq!(record.events(), ["stop for good"]);
    });
}

#[test]
fn the_loss_is_told_to_the_producer_before_the_protocol() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let record = Record::new();
        let (id, peer) = connection(world, &mut reactor, Recorder::new(&record));
        register(&mut reactor, id, Noted::new(&record), ProducerKind::Push);
        peer.reset();
        world.run_until_idle(&mut reactor);
        assert_eq!(record.events(), ["made", "stop for good", "lost Lost"]);
    });
}

#[test]
fn a_pull_producer_is_asked_at_once_and_whenever_everything_was_sent() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let record = Record::new();
        let (id, mut peer) = narrow_connection(world, &mut reactor, Recorder::new(&Record::new()));
        let mut piece = 0u8;
        let producer = Noted::acting(&record, move |_, transport| {
            assert_eq!(transport.unsent(), 0, "asked too early");
            transport.write(&[piece; 30_000]);
            piece += 1;
            if piece == 20 {
                transport.unregister_producer();
                transport.lose_connection();
            }
        });
        register(&mut reactor, id, producer, ProducerKind::Pull);
        let (all, error) = peer.read_to_end(&mut reactor);
        assert_eq!(error, None);
        let expected: Vec<u8> = (0..20).flat_map(|piece| [piece; 30_000]).collect();
        assert!(all == expected, "{} bytes", all.len());
        drop(peer);
        world.run_until_idle(&mut reactor);
        assert_eq!(record.events(), vec!["produce"; 20], "never paused, never told to stop");
    });
}

#[test]
fn a_close_of_either_kind_waits_until_the_producer_is_unregistered() {
    on_each_back_end(|world| {
        for whole in [true, false] {
            for kind in [ProducerKind::Push, ProducerKind::Pull] {
                let mut reactor = world.reactor();
                let record = Record::new();
                let (id, mut peer) = connection(world, &mut reactor, Recorder::new(&record));
                register(&mut reactor, id, Noted::new(&Record::new()), kind);
                let mut transport = reactor.transport(id).unwrap();
                transport.write(b"all");
                match whole {
                    true => transport.lose_connection(),
                    false => transport.lose_write_connection(),
                }
                turns(&mut reactor);
                assert_eq!(record.events(), ["made"]);
                reactor.transport(id).unwrap().unregister_producer();
                assert_eq!(peer.read_to_end(&mut reactor), (b"all".to_vec(), None));
                drop(peer);
                world.run_until(&mut reactor, "the end", |_| record.events().len() > 1);
                if !whole {
                    world.run_until(&mut reactor, "the peer's end", |_| record.has("lost Done"));
                }
                world.run_until_idle(&mut reactor);
            }
        }
    });
}

#[test]
fn a_producer_can_unregister_replace_or_abort_inside_its_own_call() {
    on_each_back_end(|world| {
        for what in ["unregister", "replace", "abort"] {
            let mut reactor = world.reactor();
            let (record, second) = (Record::new(), Record::new());
            let (id, _peer) = connection(world, &mut reactor, Recorder::new(&Record::new()));
            let dropped = Rc::new(Cell::new(false));
            let guard = OnDrop(Rc::clone(&dropped));
            let other = second.clone();
            let producer = Noted::acting(&record, move |_, transport| {
                let _ = &guard;
                match what {
                    "abort" => transport.abort_connection(),
                    _ => transport.unregister_producer(),
                }
                if what == "replace" {
                    transport.register_producer(Noted::new(&other), ProducerKind::Push).unwrap();
                }
            });
            register(&mut reactor, id, producer, ProducerKind::Pull);
            turns(&mut reactor);
            assert!(dropped.get(), "{what}");
            if what != "abort" {
                reactor.transport(id).unwrap().abort_connection();
            }
            world.run_until_idle(&mut reactor);
            let stops = |record: &Record| record.count("stop for good");
            assert_eq!(
                (stops(&record), stops(&second)),
                match what {
                    "abort" => (1, 0),
                    "replace" => (0, 1),
                    _ => (0, 0),
                }
            );
        }
    });
}

struct OnDrop(Rc<Cell<bool>>);

impl Drop for OnDrop {
    fn drop(&mut self) {
        self.0.set(true);
    }
}
