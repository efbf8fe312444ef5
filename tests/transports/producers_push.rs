//! A push producer is paused and resumed as output is sent, and stopped when the connection is
//! lost.

use std::rc::Rc;

use crate::world::peer::{Peer, connection, narrow_connection, turns};
use crate::world::{Record, Recorder, World, idle_protocol, on_each_back_end};
use twistor::{ConnectionId, Error, Producer, ProducerKind, Reactor, Transport};

type Act = Box<dyn FnMut(&mut Transport<'_>)>;

/// Records its callbacks, and runs an action when it is resumed.
struct Push {
    record: Record,
    on_resume: Act,
}

impl Push {
    fn new(record: &Record) -> Push {
        Push { record: record.clone(), on_resume: Box::new(|_| {}) }
    }

    fn resuming(record: &Record, on_resume: impl FnMut(&mut Transport<'_>) + 'static) -> Push {
        Push { on_resume: Box::new(on_resume), ..Push::new(record) }
    }
}

impl Producer for Push {
    fn resume_producing(&mut self, transport: &mut Transport<'_>) {
        self.record.add("producer: resume");
        (self.on_resume)(transport);
    }

    fn pause_producing(&mut self, _: &mut Transport<'_>) {
        self.record.add("producer: pause");
    }

    fn stop_producing(&mut self, _: &mut Reactor) {
        self.record.add("producer: stop");
    }
}

/// The producer's events of a record.
fn told(record: &Record) -> Vec<String> {
    let events = record.events().into_iter();
    events.filter_map(|event| Some(event.strip_prefix("producer: ")?.to_owned())).collect()
}

fn register(reactor: &mut Reactor, id: ConnectionId, producer: Push) {
    reactor.transport(id).unwrap().register_producer(producer, ProducerKind::Push).unwrap();
}

/// Brings the connection above its high-water mark.
fn fill(reactor: &mut Reactor, id: ConnectionId) {
    let mut transport = reactor.transport(id).unwrap();
    transport.set_water_marks(1000, 100);
    transport.write(&[b'w'; 500_000]);
    turns(reactor);
}

/// Reads everything at the peer.
fn drain(reactor: &mut Reactor, id: ConnectionId, peer: &mut Peer) {
    while reactor.transport(id).is_some_and(|transport| transport.write_buffer_size() > 0) {
        peer.read_now();
        turns(reactor);
    }
}

fn end(world: &World, reactor: &mut Reactor, id: ConnectionId) {
    reactor.transport(id).unwrap().abort_connection();
    world.run_until_idle(reactor);
}

#[test]
fn a_producer_is_paused_and_resumed_before_its_protocol() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let record = Record::new();
        let (id, mut peer) = narrow_connection(world, &mut reactor, Recorder::new(&record));
        register(&mut reactor, id, Push::new(&record));
        turns(&mut reactor);
        assert_eq!(record.take(), ["made"]);
        fill(&mut reactor, id);
        assert_eq!(record.take(), ["producer: pause", "pause"]);
        drain(&mut reactor, id, &mut peer);
        assert_eq!(record.take(), ["producer: resume", "resume"]);
        end(world, &mut reactor, id);
        assert_eq!(record.take(), ["producer: stop", "lost Aborted"]);
    });
}

#[test]
fn a_producer_registered_on_a_full_buffer_is_paused_alone() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let record = Record::new();
        let (id, mut peer) = narrow_connection(world, &mut reactor, Recorder::new(&record));
        fill(&mut reactor, id);
        assert_eq!(record.take(), ["made", "pause"]);
        register(&mut reactor, id, Push::new(&record));
        turns(&mut reactor);
        assert_eq!(record.take(), ["producer: pause"]);
        drain(&mut reactor, id, &mut peer);
        assert_eq!(record.take(), ["producer: resume", "resume"]);
        end(world, &mut reactor, id);
    });
}

#[test]
fn a_producer_registered_after_the_crossing_is_paused_once() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let record = Record::new();
        let (id, _peer) = narrow_connection(world, &mut reactor, Recorder::new(&record));
        let mut transport = reactor.transport(id).unwrap();
        transport.set_water_marks(1000, 100);
        transport.write(&[b'w'; 500_000]);
        transport.register_producer(Push::new(&record), ProducerKind::Push).unwrap();
        turns(&mut reactor);
        assert_eq!(record.events(), ["made", "producer: pause", "pause"]);
        end(world, &mut reactor, id);
    });
}

#[test]
fn a_producer_after_a_paused_one_is_not_resumed_unless_paused() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let record = Record::new();
        let (id, mut peer) = narrow_connection(world, &mut reactor, Recorder::new(&record));
        register(&mut reactor, id, Push::new(&Record::new()));
        fill(&mut reactor, id);
        reactor.transport(id).unwrap().unregister_producer();
        drain(&mut reactor, id, &mut peer);
        register(&mut reactor, id, Push::new(&record));
        turns(&mut reactor);
        assert_eq!(record.events(), ["made", "pause", "resume"]);
        end(world, &mut reactor, id);
    });
}

#[test]
fn on_a_closing_or_lost_connection_a_producer_is_only_stopped() {
    on_each_back_end(|world| {
        for how in ["closing", "aborted", "in connection_lost"] {
            let mut reactor = world.reactor();
            let record = Record::new();
            let told_to = record.clone();
            let protocol = Recorder::new(&record).acting(move |what, transport, _| {
                if what == "lost" && how == "in connection_lost" {
                    let producer = Push::new(&told_to);
                    transport.register_producer(producer, ProducerKind::Push).unwrap();
                }
            });
            let (id, _peer) = narrow_connection(world, &mut reactor, protocol);
            let mut transport = reactor.transport(id).unwrap();
            match how {
                "closing" => transport.lose_connection(),
                _ => transport.abort_connection(),
            }
            if how != "in connection_lost" {
                transport.register_producer(Push::new(&record), ProducerKind::Push).unwrap();
            }
            // No callback runs inside a call.
            assert_eq!(record.events(), ["made"]);
            drop(_peer);
            world.run_until_idle(&mut reactor);
            assert_eq!(told(&record), ["stop"], "{how}");
        }
    });
}

#[test]
fn a_second_one_is_refused_and_the_first_one_stays() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let (first, second) = (Record::new(), Record::new());
        let (id, _peer) = narrow_connection(world, &mut reactor, idle_protocol());
        register(&mut reactor, id, Push::new(&first));
        for kind in [ProducerKind::Push, ProducerKind::Pull] {
            let refused = reactor.transport(id).unwrap().register_producer(Push::new(&second), kind);
            assert!(matches!(refused, Err(Error::ProducerRegistered)));
        }
        fill(&mut reactor, id);
        end(world, &mut reactor, id);
        assert_eq!(told(&first), ["pause", "stop"]);
        assert_eq!(told(&second), [] as [&str; 0]);
    });
}

#[test]
fn one_that_was_unregistered_hears_nothing_more() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let record = Record::new();
        let (id, _peer) = narrow_connection(world, &mut reactor, idle_protocol());
        let kept = Rc::new(());
        let held = Rc::clone(&kept);
        register(&mut reactor, id, Push::resuming(&record, move |_| drop(Rc::clone(&held))));
        reactor.transport(id).unwrap().unregister_producer();
        assert_eq!(Rc::strong_count(&kept), 1, "it is dropped");
        // Without a producer the calls have no effect.
        reactor.transport(id).unwrap().unregister_producer();
        fill(&mut reactor, id);
        end(world, &mut reactor, id);
        assert_eq!(told(&record), [] as [&str; 0]);
    });
}

#[test]
fn a_resumed_producer_may_write_unregister_and_be_replaced() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let (first, second) = (Record::new(), Record::new());
        let (id, mut peer) = narrow_connection(world, &mut reactor, idle_protocol());
        let next = second.clone();
        let producer = Push::resuming(&first, move |transport| {
            // Enough to be paused again immediately.
            transport.write(&[b'w'; 500_000]);
            transport.unregister_producer();
            transport.register_producer(Push::new(&next), ProducerKind::Push).unwrap();
        });
        register(&mut reactor, id, producer);
        fill(&mut reactor, id);
        while first.count("producer: resume") == 0 {
            peer.read_now();
            turns(&mut reactor);
        }
        assert_eq!(told(&first), ["pause", "resume"]);
        drain(&mut reactor, id, &mut peer);
        end(world, &mut reactor, id);
        assert_eq!(told(&first), ["pause", "resume"]);
        assert_eq!(told(&second), ["pause", "resume", "stop"]);
    });
}

#[test]
fn a_producer_that_refills_on_resume_is_paused_every_time() {
    on_each_back_end(|world| {
        const ROUNDS: usize = 5;
        let mut reactor = world.reactor();
        let record = Record::new();
        let (id, mut peer) = narrow_connection(world, &mut reactor, idle_protocol());
        let mut left = ROUNDS;
        let producer = Push::resuming(&record, move |transport| {
            transport.write(&[b'w'; 400_000]);
            left -= 1;
            if left == 0 {
                transport.unregister_producer();
                transport.lose_connection();
            }
        });
        register(&mut reactor, id, producer);
        fill(&mut reactor, id);
        let (all, error) = peer.read_to_end(&mut reactor);
        assert_eq!((all.len(), error), (500_000 + ROUNDS * 400_000, None));
        drop(peer);
        world.run_until_idle(&mut reactor);
        assert_eq!(told(&record), ["pause", "resume"].repeat(ROUNDS));
    });
}

#[test]
fn a_panic_in_a_producer_ends_its_connection_alone() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let record = Record::new();
        let (id, mut peer) = narrow_connection(world, &mut reactor, Recorder::new(&record));
        register(&mut reactor, id, Push::resuming(&record, |_| panic!("as planned")));
        fill(&mut reactor, id);
        drain(&mut reactor, id, &mut peer);
        world.run_until_idle(&mut reactor);
        assert_eq!(
            record.events(),
            ["made", "producer: pause", "pause", "producer: resume", "producer: stop", "lost Panicked"]
        );
        assert_eq!(world.logged().len(), 1);
    });
}

#[test]
fn a_close_accepts_writes_until_the_producer_unregisters() {
    on_each_back_end(|world| {
        for half in [false, true] {
            let mut reactor = world.reactor();
            let record = Record::new();
            let (id, mut peer) = connection(world, &mut reactor, Recorder::new(&record));
            register(&mut reactor, id, Push::new(&record));
            let mut transport = reactor.transport(id).unwrap();
            transport.write(b"first ");
            match half {
                true => transport.lose_write_connection(),
                false => transport.lose_connection(),
            }
            turns(&mut reactor);
            assert_eq!(peer.read_now(), b"first ");
            assert_eq!(record.events(), ["made"]);
            reactor.transport(id).unwrap().write(b"last");
            turns(&mut reactor);
            assert_eq!(peer.read_now(), b"last");
            let mut transport = reactor.transport(id).unwrap();
            transport.unregister_producer();
            transport.write(b"too late");
            assert_eq!(peer.read_to_end(&mut reactor), (Vec::new(), None));
            drop(peer);
            turns(&mut reactor);
            if let Some(mut transport) = reactor.transport(id) {
                transport.lose_connection();
            }
            world.run_until_idle(&mut reactor);
            assert_eq!(told(&record), [] as [&str; 0]);
            assert_eq!(record.count("lost Done"), 1);
        }
    });
}
