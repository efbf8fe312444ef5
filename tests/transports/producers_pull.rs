//! A pull producer is called at once, and again when all its output is sent.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use crate::world::peer::{connection, narrow_connection, turns};
use crate::world::{Record, Recorder, idle_protocol, on_each_back_end, once};
use twistor::sim::{Simulation, SocketOptions};
use twistor::{ConnectionId, Layer, Producer, ProducerKind, Reactor, Transport};

type Produce = Box<dyn FnMut(&mut Transport<'_>)>;

/// Records each call and then runs an action.
struct Pull {
    record: Record,
    produce: Produce,
}

impl Pull {
    fn new(record: &Record, produce: impl FnMut(&mut Transport<'_>) + 'static) -> Pull {
        Pull { record: record.clone(), produce: Box::new(produce) }
    }
}

impl Producer for Pull {
    fn resume_producing(&mut self, transport: &mut Transport<'_>) {
        self.record.add("asked");
        (self.produce)(transport);
    }

    fn pause_producing(&mut self, _: &mut Transport<'_>) {
        self.record.add("paused");
    }

    fn stop_producing(&mut self, _: &mut Reactor) {
        self.record.add("stopped");
    }
}

fn register(reactor: &mut Reactor, id: ConnectionId, producer: Pull) {
    reactor.transport(id).unwrap().register_producer(producer, ProducerKind::Pull).unwrap();
}

#[test]
fn a_pull_producer_delivers_in_order_until_it_unregisters() {
    on_each_back_end(|world| {
        // Some output is sent at once and some is queued. `pause_producing` is never called.
        for length in [100, 300_000] {
            let mut reactor = world.reactor();
            let record = Record::new();
            let (id, mut peer) = narrow_connection(world, &mut reactor, idle_protocol());
            let mut piece = 0;
            let producer = Pull::new(&record, move |transport| {
                assert_eq!(transport.write_buffer_size(), 0);
                transport.write(&vec![piece; length]);
                piece += 1;
                if piece == 5 {
                    transport.unregister_producer();
                    transport.lose_connection();
                }
            });
            register(&mut reactor, id, producer);
            assert_eq!(record.events(), [] as [&str; 0], "nothing is called from inside a call");
            let (all, error) = peer.read_to_end(&mut reactor);
            assert_eq!(error, None);
            assert!(all == [0, 1, 2, 3, 4].map(|piece| vec![piece; length]).concat());
            drop(peer);
            world.run_until_idle(&mut reactor);
            assert_eq!(reactor.statistics().panics, 0);
            assert_eq!(record.events(), ["asked"; 5]);
        }
    });
}

#[test]
fn on_a_full_buffer_it_is_asked_when_that_is_sent() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let record = Record::new();
        let (id, mut peer) = narrow_connection(world, &mut reactor, idle_protocol());
        reactor.transport(id).unwrap().write(&[b'w'; 300_000]);
        turns(&mut reactor);
        register(&mut reactor, id, Pull::new(&record, |transport| transport.unregister_producer()));
        turns(&mut reactor);
        assert_eq!(record.events(), [] as [&str; 0]);
        while reactor.transport(id).unwrap().write_buffer_size() > 0 {
            assert_eq!(record.events(), [] as [&str; 0]);
            peer.read_now();
            reactor.iterate(Some(Duration::from_millis(1))).unwrap();
        }
        turns(&mut reactor);
        assert_eq!(record.events(), ["asked"]);
        reactor.transport(id).unwrap().abort_connection();
        world.run_until_idle(&mut reactor);
    });
}

#[test]
fn it_is_asked_once_a_turn_whatever_else_is_written() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let record = Record::new();
        let (id, mut peer) = connection(world, &mut reactor, idle_protocol());
        register(&mut reactor, id, Pull::new(&record, |transport| transport.write(b"piece")));
        for _ in 0..100 {
            // Another callback writes, and an event for the connection is reported in the same
            // turn.
            reactor.call_later(Duration::ZERO, move |reactor| reactor.transport(id).unwrap().write(b"!"));
            peer.send(b"?");
            record.take();
            reactor.iterate(Some(Duration::ZERO)).unwrap();
            assert!(record.events().len() <= 1, "{:?}", record.events());
            peer.read_now();
        }
        reactor.transport(id).unwrap().abort_connection();
        world.run_until_idle(&mut reactor);
    });
}

#[test]
fn on_a_lost_connection_a_producer_is_stopped_and_never_asked() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let record = Record::new();
        let (id, _peer) = connection(world, &mut reactor, idle_protocol());
        let mut transport = reactor.transport(id).unwrap();
        transport.abort_connection();
        let producer = Pull::new(&record, |_| {});
        transport.register_producer(producer, ProducerKind::Pull).unwrap();
        world.run_until_idle(&mut reactor);
        assert_eq!(record.events(), ["stopped"]);
    });
}

#[test]
fn a_loss_stops_it_before_the_protocol_is_told() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let record = Record::new();
        let (id, peer) = connection(world, &mut reactor, Recorder::new(&record));
        register(&mut reactor, id, Pull::new(&record, |transport| transport.write(&[b'w'; 100_000])));
        while reactor.transport(id).unwrap().write_buffer_size() == 0 {
            turns(&mut reactor);
        }
        peer.reset();
        world.run_until_idle(&mut reactor);
        let events = record.events();
        assert_eq!(events[events.len() - 2..], ["stopped", "lost Lost"]);
        assert_eq!(record.count("stopped"), 1);
        assert_eq!(record.count("paused"), 0);
    });
}

#[test]
fn an_abort_inside_it_ends_the_asking() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let record = Record::new();
        let (id, _peer) = connection(world, &mut reactor, Recorder::new(&record));
        let producer = Pull::new(&record, |transport| {
            transport.write(b"discarded");
            transport.abort_connection();
        });
        register(&mut reactor, id, producer);
        world.run_until_idle(&mut reactor);
        assert_eq!(record.events(), ["made", "asked", "stopped", "lost Aborted"]);
    });
}

#[test]
fn a_panic_inside_it_ends_its_connection() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let record = Record::new();
        let (id, _peer) = connection(world, &mut reactor, Recorder::new(&record));
        register(&mut reactor, id, Pull::new(&record, |_| panic!("as planned")));
        world.run_until_idle(&mut reactor);
        assert_eq!(record.events(), ["made", "asked", "stopped", "lost Panicked"]);
        assert_eq!(world.logged().len(), 1);
    });
}

#[test]
fn a_close_lets_it_write_to_its_end() {
    on_each_back_end(|world| {
        for half in [false, true] {
            let mut reactor = world.reactor();
            let record = Record::new();
            let (id, mut peer) = narrow_connection(world, &mut reactor, Recorder::new(&record));
            let mut left = 10;
            let producer = Pull::new(&Record::new(), move |transport| {
                transport.write(&[b'p'; 50_000]);
                left -= 1;
                if left == 0 {
                    transport.unregister_producer();
                }
            });
            register(&mut reactor, id, producer);
            let mut transport = reactor.transport(id).unwrap();
            match half {
                true => transport.lose_write_connection(),
                false => transport.lose_connection(),
            }
            let (all, error) = peer.read_to_end(&mut reactor);
            assert_eq!((all.len(), error), (500_000, None));
            assert_eq!(record.count("write lost"), usize::from(half));
            drop(peer);
            world.run_until(&mut reactor, "lost or half closed", |_| {
                record.has("lost Done") || record.has("write lost")
            });
            if let Some(mut transport) = reactor.transport(id) {
                transport.lose_connection();
            }
            world.run_until_idle(&mut reactor);
            assert_eq!(record.count("lost Done"), 1);
        }
    });
}

#[test]
fn its_protocol_hears_of_the_water_marks_all_the_same() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let record = Record::new();
        let (id, mut peer) = narrow_connection(world, &mut reactor, Recorder::new(&record));
        let asked = Rc::new(Cell::new(0));
        let count = Rc::clone(&asked);
        let producer = Pull::new(&Record::new(), move |transport| {
            count.set(count.get() + 1);
            transport.write(&[b'p'; 200_000]);
        });
        register(&mut reactor, id, producer);
        while asked.get() < 3 {
            peer.read_now();
            turns(&mut reactor);
        }
        assert!(record.count("pause") >= 2);
        assert!(record.count("resume") >= 1);
        reactor.transport(id).unwrap().abort_connection();
        world.run_until_idle(&mut reactor);
    });
}

#[test]
fn one_that_has_nothing_is_asked_after_growing_pauses() {
    on_each_back_end(|world| {
        for layered in [false, true] {
            let mut reactor = world.reactor();
            let (id, _peer) = connection(world, &mut reactor, idle_protocol());
            if layered {
                reactor.transport(id).unwrap().add_layer(Through);
            }
            let times = Rc::new(RefCell::new(Vec::new()));
            let (asked, end) = (Rc::clone(&times), reactor.now() + Duration::from_millis(400));
            let producer = Pull::new(&Record::new(), move |transport| {
                // An empty write counts as no output.
                transport.write(b"");
                asked.borrow_mut().push(transport.now());
            });
            register(&mut reactor, id, producer);
            world.run_until(&mut reactor, "some time", |reactor| reactor.now() >= end);
            // Calls after 0, 1, 3, 7, 15, 31, 63, 127, 227 and 327 ms, or later.
            let times = times.borrow();
            assert!((3..=10).contains(&times.len()), "asked {} times", times.len());
            for (number, pair) in times.windows(2).enumerate() {
                let pause = Duration::from_millis(1 << number).min(Duration::from_millis(100));
                assert!(pair[1] - pair[0] >= pause, "{number}: {:?}", pair[1] - pair[0]);
            }
            reactor.transport(id).unwrap().abort_connection();
            world.run_until_idle(&mut reactor);
        }
    });
}

/// A layer that passes everything on.
struct Through;

impl Layer for Through {}

#[test]
fn an_idle_producer_is_asked_again_on_request_or_after_a_send() {
    on_each_back_end(|world| {
        for layered in [false, true] {
            let mut reactor = world.reactor();
            let record = Record::new();
            let (id, mut peer) = narrow_connection(world, &mut reactor, idle_protocol());
            if layered {
                reactor.transport(id).unwrap().add_layer(Through);
            }
            register(&mut reactor, id, Pull::new(&record, |_| {}));
            // Until the delay between calls is long.
            world.run_until(&mut reactor, "pauses", |_| record.events().len() >= 6);
            record.take();
            reactor.transport(id).unwrap().resume_producer();
            reactor.transport(id).unwrap().resume_producer();
            reactor.iterate(Some(Duration::ZERO)).unwrap();
            assert_eq!(record.take(), ["asked"], "once");
            reactor.transport(id).unwrap().write(&[b'w'; 300_000]);
            while reactor.transport(id).unwrap().write_buffer_size() > 0 {
                assert!(record.events().is_empty(), "it waits for what is to be sent");
                peer.read_now();
                reactor.iterate(Some(Duration::from_millis(1))).unwrap();
            }
            reactor.iterate(Some(Duration::ZERO)).unwrap();
            assert_eq!(record.take(), ["asked"]);
            // Without a producer the call has no effect.
            reactor.transport(id).unwrap().unregister_producer();
            reactor.transport(id).unwrap().resume_producer();
            turns(&mut reactor);
            assert_eq!(record.events(), [] as [&str; 0]);
            assert_eq!(reactor.delayed_call_count(), 0);
            reactor.transport(id).unwrap().abort_connection();
            world.run_until_idle(&mut reactor);
        }
    });
}

#[test]
fn one_that_has_nothing_does_not_stop_a_simulations_time() {
    let mut simulation = Simulation::new(1);
    let (server, client) = (simulation.host("server"), simulation.host("client"));
    let asked = Rc::new(Cell::new(0));
    let count = Rc::clone(&asked);
    let serves = idle_protocol().acting(move |what, transport, _| {
        if what == "made" {
            let count = Rc::clone(&count);
            let producer = Pull::new(&Record::new(), move |_| count.set(count.get() + 1));
            transport.register_producer(producer, ProducerKind::Pull).unwrap();
        }
    });
    simulation.reactor(server).listen_tcp("0.0.0.0:7", once(serves, &Record::new())).unwrap();
    let address = std::net::SocketAddr::new(simulation.address(server), 7);
    let _socket = simulation.connect(client, address, SocketOptions::default()).unwrap();
    simulation.run_for(Duration::from_secs(10)).unwrap();
    assert!((100..=120).contains(&asked.get()), "{}", asked.get());
}

#[test]
fn one_that_has_written_again_is_asked_after_the_shortest_pause() {
    on_each_back_end(|world| {
        // The delays are exact only in virtual time.
        if world.simulated().is_none() {
            return;
        }
        let mut reactor = world.reactor();
        let (id, _peer) = connection(world, &mut reactor, idle_protocol());
        let times = Rc::new(RefCell::new(Vec::new()));
        let asked = Rc::clone(&times);
        let producer = Pull::new(&Record::new(), move |transport| {
            asked.borrow_mut().push(transport.now());
            if asked.borrow().len() == 6 {
                transport.write(b"a piece");
            }
        });
        register(&mut reactor, id, producer);
        world.run_until(&mut reactor, "asked", |_| times.borrow().len() == 9);
        let times = times.borrow();
        let pauses: Vec<_> = times.windows(2).map(|pair| (pair[1] - pair[0]).as_millis()).collect();
        assert_eq!(pauses, [1, 2, 4, 8, 16, 0, 1, 2]);
        reactor.transport(id).unwrap().abort_connection();
        world.run_until_idle(&mut reactor);
    });
}
