//! A close never destroys output sent before it, even if the peer's data was not read.

use std::cell::{Cell, RefCell};
use std::time::Duration;

use crate::world::peer::{connection, turns};
use crate::world::{Record, Recorder, World, on_each_back_end};
use twistor::{Producer, ProducerKind, Reactor, Settings, Transport};

/// Answers the first byte and closes without reading the rest.
fn hasty(record: &Record) -> Recorder {
    Recorder::new(record).acting(|what, transport, _| {
        if what == "data" {
            transport.write(&[b'n'; 200_000]);
            transport.lose_connection();
        }
    })
}

#[test]
fn an_early_answer_arrives_whole_despite_an_unread_upload() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let record = Record::new();
        let (_, mut peer) = connection(world, &mut reactor, hasty(&record));
        peer.fill();
        turns(&mut reactor);
        // More data arrives after the close. A reset in answer would destroy the tail of the
        // output.
        peer.fill();
        assert_eq!(peer.read_to_end(&mut reactor), (vec![b'n'; 200_000], None));
        assert!(record.has("lost Done"), "the protocol does not wait for it");
        assert!(reactor.connections().is_empty());
        drop(peer);
        world.run_until_idle(&mut reactor);
    });
}

#[test]
fn a_peer_that_does_not_close_is_lingered_for_within_the_limit() {
    on_each_back_end(|world| {
        let settings = Settings { linger: Duration::from_millis(20), ..Settings::default() };
        let mut reactor = world.reactor_with(settings);
        let record = Record::new();
        let (_, mut peer) = connection(world, &mut reactor, hasty(&record));
        peer.send(b"x");
        world.run_until(&mut reactor, "the loss", |_| record.has("lost Done"));
        assert_eq!(reactor.resource_count(), 1, "it lingers");
        world.run_until_idle(&mut reactor);
    });
}

#[test]
fn lingering_ends_after_at_most_five_times_its_limit() {
    on_each_back_end(|world| {
        let settings = Settings { linger: Duration::from_millis(10), ..Settings::default() };
        let mut reactor = world.reactor_with(settings);
        let record = Record::new();
        let (_, mut peer) = connection(world, &mut reactor, hasty(&record));
        peer.send(b"x");
        world.run_until(&mut reactor, "the loss", |_| record.has("lost Done"));
        let peer = RefCell::new(peer);
        world.run_until(&mut reactor, "the end of the lingering", |reactor| {
            peer.borrow_mut().fill();
            reactor.resource_count() == 0
        });
        world.run_until_idle(&mut reactor);
    });
}

/// Lets a closed connection linger until `done`. The peer sends before each turn.
fn lingers_until(
    world: &World,
    linger: Duration,
    begin: impl FnOnce(&mut Reactor),
    done: impl Fn(&mut Reactor) -> bool,
) -> Reactor {
    let mut reactor = world.reactor_with(Settings { linger, ..Settings::default() });
    let record = Record::new();
    let (_, mut peer) = connection(world, &mut reactor, hasty(&record));
    peer.send(b"x");
    world.run_until(&mut reactor, "the loss", |_| record.has("lost Done"));
    begin(&mut reactor);
    let peer = RefCell::new(peer);
    world.run_until(&mut reactor, "the end of the lingering", |reactor| {
        peer.borrow_mut().fill();
        done(reactor)
    });
    reactor
}

#[test]
fn lingering_is_over_after_ten_times_its_idle_limit() {
    on_each_back_end(|world| {
        let linger = Duration::from_millis(20);
        let record = Record::new();
        let late = record.clone();
        let at_ten_times = move |reactor: &mut Reactor| {
            reactor.call_later(10 * linger, move |reactor| {
                // Timers due at the same time run first, however late this one runs.
                reactor.call_later(Duration::ZERO, |reactor| {
                    reactor.call_later(Duration::ZERO, move |reactor| {
                        late.add(format!("{} in use", reactor.resource_count()));
                    });
                });
            });
        };
        let came = record.clone();
        let mut reactor = lingers_until(world, linger, at_ten_times, move |_| !came.events().is_empty());
        assert_eq!(record.events(), ["0 in use"]);
        world.run_until_idle(&mut reactor);
    });
}

#[test]
fn a_loop_held_up_past_the_end_of_the_lingering_ends_it_next() {
    on_each_back_end(|world| {
        let linger = Duration::from_millis(10);
        let hold_up = |reactor: &mut Reactor| {
            reactor.call_later(Duration::ZERO, move |_| crate::world::spend(10 * linger));
        };
        let turns = Cell::new(0);
        let done = |reactor: &mut Reactor| {
            turns.set(turns.get() + 1);
            reactor.resource_count() == 0 || turns.get() == 100
        };
        let mut reactor = lingers_until(world, linger, hold_up, done);
        assert_eq!(reactor.resource_count(), 0, "it lingers on after {} turns", turns.get());
        world.run_until_idle(&mut reactor);
    });
}

#[test]
fn a_close_does_not_linger_without_output_or_if_disabled() {
    on_each_back_end(|world| {
        for (answer, linger) in [(false, Duration::from_secs(2)), (true, Duration::ZERO)] {
            let mut reactor = world.reactor_with(Settings { linger, ..Settings::default() });
            let record = Record::new();
            let protocol = Recorder::new(&record).acting(move |what, transport, _| {
                if what == "data" {
                    if answer {
                        transport.write(b"bye");
                    }
                    transport.lose_connection();
                }
            });
            let (_, mut peer) = connection(world, &mut reactor, protocol);
            peer.send(b"x");
            world.run_until(&mut reactor, "the loss", |_| record.has("lost Done"));
            assert_eq!(reactor.resource_count(), 0);
            world.run_until_idle(&mut reactor);
        }
    });
}

#[test]
fn a_reactor_that_stops_lingers_for_nobody() {
    on_each_back_end(|world| {
        for early in [false, true] {
            let mut reactor = world.reactor();
            let record = Record::new();
            let (id, mut peer) = connection(world, &mut reactor, Recorder::new(&record));
            reactor.transport(id).unwrap().write(b"bye");
            turns(&mut reactor);
            assert_eq!(peer.read_now(), b"bye");
            if early {
                reactor.transport(id).unwrap().lose_connection();
                turns(&mut reactor);
            }
            // In the second case the loss is still queued when the stop begins.
            reactor.call_later(Duration::ZERO, move |reactor| {
                if let Some(mut transport) = reactor.transport(id) {
                    transport.lose_connection();
                }
                reactor.call_later(Duration::ZERO, |reactor| {
                    reactor.stop();
                });
            });
            // `run` checks that no resource is left.
            world.run(&mut reactor);
            assert_eq!(record.events().last().unwrap(), "lost Done");
        }
    });
}

#[test]
fn a_peer_that_has_finished_is_not_lingered_for() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let record = Record::new();
        let protocol = Recorder::new(&record).acting(|what, transport, _| {
            if what == "read lost" {
                transport.write(b"bye");
                transport.lose_connection();
            }
        });
        let (_, mut peer) = connection(world, &mut reactor, protocol);
        peer.finish();
        world.run_until(&mut reactor, "the loss", |_| record.has("lost Done"));
        assert_eq!(reactor.resource_count(), 0);
        assert_eq!(peer.read_to_end(&mut reactor), (b"bye".to_vec(), None));
        world.run_until_idle(&mut reactor);
    });
}

/// A producer that writes nothing and closes.
struct Nothing;

impl Producer for Nothing {
    fn resume_producing(&mut self, transport: &mut Transport<'_>) {
        transport.unregister_producer();
        transport.lose_connection();
    }
}

#[test]
fn a_close_by_a_producer_without_more_lingers_for_what_was_sent() {
    on_each_back_end(|world| {
        let settings = Settings { linger: Duration::from_millis(20), ..Settings::default() };
        let mut reactor = world.reactor_with(settings);
        let record = Record::new();
        let protocol = Recorder::new(&record).acting(|what, transport, _| {
            if what == "data" {
                transport.write(b"bye");
                transport.register_producer(Nothing, ProducerKind::Pull).unwrap();
            }
        });
        let (_, mut peer) = connection(world, &mut reactor, protocol);
        peer.send(b"x");
        world.run_until(&mut reactor, "the loss", |_| record.has("lost Done"));
        assert_eq!(reactor.resource_count(), 1, "it lingers");
        world.run_until_idle(&mut reactor);
    });
}
