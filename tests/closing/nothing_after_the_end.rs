//! Whatever callbacks do, nothing is received after a close, only the loss is delivered after an
//! abort, and nothing after the loss. Pauses and resumes alternate.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use crate::world::random::Random;
use crate::world::{World, on_each_back_end};
use twistor::{
    ConnectionId, DelayedCall, Listener, Producer, ProducerKind, Protocol, Reactor, Reason, Settings,
    Transport,
};

/// State shared by all protocols of a run.
struct Storm {
    random: Random,
    /// IDs of connections, including closed ones.
    names: Vec<ConnectionId>,
    timers: Vec<DelayedCall>,
    lives: BTreeMap<ConnectionId, Life>,
    callbacks: usize,
    /// A callback of a connection is running.
    inside: bool,
    faults: Vec<String>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Life {
    /// Closed: no more data may be received.
    closed: bool,
    /// Aborted: only the loss may follow.
    aborted: bool,
    /// Asked to finish by a graceful stop.
    drained: bool,
    lost: bool,
    read_lost: usize,
    write_lost: usize,
    writing_paused: bool,
}

type Shared = Rc<RefCell<Storm>>;

struct Wild {
    storm: Shared,
    made: bool,
}

impl Wild {
    fn happened(&mut self, what: &str, transport: &mut Transport<'_>) {
        let id = transport.id();
        {
            let mut storm = self.storm.borrow_mut();
            let storm = &mut *storm;
            storm.callbacks += 1;
            let first = !std::mem::replace(&mut self.made, true);
            let mut fault = |condition: bool, what: &str| {
                if condition {
                    storm.faults.push(format!("{id}: {what}"));
                }
            };
            fault(storm.inside, "a callback inside another");
            fault((what == "made") != first, "made first, and once");
            let life = storm.lives.entry(id).or_default();
            fault(life.lost, "called after its loss");
            fault(life.aborted && what != "lost", "called after it was aborted");
            fault(life.closed && what == "data", "data after it was closed");
            match what {
                "data" => fault(life.read_lost > 0, "data after the end of the input"),
                "read lost" => life.read_lost += 1,
                "write lost" => life.write_lost += 1,
                "pause" | "resume" => {
                    fault(life.writing_paused == (what == "pause"), "told twice to pause or to resume");
                    life.writing_paused = what == "pause";
                }
                "drain" => {
                    fault(life.drained || life.closed, "asked twice to finish, or after its close");
                    life.drained = true;
                }
                "lost" => life.lost = true,
                _ => {}
            }
            fault(life.read_lost > 1 || life.write_lost > 1, "an end told twice");
            if first {
                storm.names.push(id);
            }
        }
        let _inside = Inside::of(&self.storm);
        rampage(&self.storm, transport.reactor(), Some(id));
    }
}

/// Marks a callback as running. Dropped at its end, also by a panic.
struct Inside(Shared);

impl Inside {
    fn of(storm: &Shared) -> Inside {
        storm.borrow_mut().inside = true;
        Inside(Rc::clone(storm))
    }
}

impl Drop for Inside {
    fn drop(&mut self) {
        self.0.borrow_mut().inside = false;
    }
}

impl Protocol for Wild {
    fn connection_made(&mut self, transport: &mut Transport<'_>) {
        self.happened("made", transport);
    }

    fn data_received(&mut self, transport: &mut Transport<'_>, _: &[u8]) {
        self.happened("data", transport);
    }

    fn read_connection_lost(&mut self, transport: &mut Transport<'_>) {
        self.happened("read lost", transport);
    }

    fn write_connection_lost(&mut self, transport: &mut Transport<'_>) {
        self.happened("write lost", transport);
    }

    fn pause_writing(&mut self, transport: &mut Transport<'_>) {
        self.happened("pause", transport);
    }

    fn resume_writing(&mut self, transport: &mut Transport<'_>) {
        self.happened("resume", transport);
    }

    fn drain(&mut self, transport: &mut Transport<'_>) {
        self.happened("drain", transport);
        if !transport.is_closing() {
            self.storm.borrow_mut().lives.entry(transport.id()).or_default().closed = true;
            transport.lose_connection();
        }
    }

    fn connection_lost(&mut self, transport: &mut Transport<'_>, _: &Reason) {
        self.happened("lost", transport);
    }
}

/// A producer that unregisters at random, because a close waits for it.
struct WildProducer {
    storm: Shared,
    stopped: bool,
}

impl Producer for WildProducer {
    fn resume_producing(&mut self, transport: &mut Transport<'_>) {
        let id = transport.id();
        if self.storm.borrow_mut().random.below(3) == 0 {
            transport.unregister_producer();
        }
        let mut storm = self.storm.borrow_mut();
        let bad = storm.inside || self.stopped || storm.lives.get(&id).is_some_and(|life| life.lost);
        if bad {
            storm.faults.push(format!("{id}: a producer resumed in the wrong place"));
        }
        drop(storm);
        let _inside = Inside::of(&self.storm);
        rampage(&self.storm, transport.reactor(), Some(id));
    }

    fn stop_producing(&mut self, reactor: &mut Reactor) {
        if std::mem::replace(&mut self.stopped, true) {
            self.storm.borrow_mut().faults.push("a producer stopped twice".to_owned());
        }
        rampage(&self.storm, reactor, None);
    }
}

/// Makes random calls, mostly on `me`, otherwise on any connection, open or not.
fn rampage(storm: &Shared, reactor: &mut Reactor, me: Option<ConnectionId>) {
    let calls = storm.borrow_mut().random.below(4);
    for _ in 0..calls {
        let (what, id, size) = {
            let mut storm = storm.borrow_mut();
            let storm = &mut *storm;
            let any = storm.random.below(storm.names.len().max(1));
            let other = storm.names.get(any).copied();
            let id = if storm.random.below(3) > 0 { me.or(other) } else { other };
            (storm.random.below(40), id, [1, 100, 20_000, 200_000][storm.random.below(4)])
        };
        let Some(id) = id else { continue };
        if what == 0 {
            // A timer that any other callback may cancel or postpone.
            let later = Rc::clone(storm);
            let delay = Duration::from_micros(storm.borrow_mut().random.below(500) as u64);
            let call = reactor.call_later(delay, move |reactor| rampage(&later, reactor, None));
            storm.borrow_mut().timers.push(call);
            continue;
        }
        if what == 1 {
            let mut storm = storm.borrow_mut();
            if let Some(timer) = storm.timers.pop() {
                let _ = match storm.random.below(2) {
                    0 => timer.cancel(reactor),
                    _ => timer.reset(reactor, Duration::ZERO),
                };
            }
            continue;
        }
        if what == 2 {
            // Inside the protocol of another connection. Does nothing if that protocol's callback
            // is running.
            let within = Rc::clone(storm);
            reactor.with_protocol(id, |_: &mut Wild, transport| {
                if within.borrow_mut().random.below(2) == 0 {
                    transport.write(b"from within");
                } else {
                    transport.lose_connection();
                }
            });
            continue;
        }
        let Some(mut transport) = reactor.transport(id) else { continue };
        if !transport.is_closing() && (3..=5).contains(&what) {
            let mut storm = storm.borrow_mut();
            let life = storm.lives.entry(id).or_default();
            life.closed = true;
            life.aborted = what == 5;
        }
        match what {
            3 => transport.lose_connection(),
            4 => transport.lose_connection_timeout(Duration::from_millis(2)),
            5 => transport.abort_connection(),
            6 => transport.lose_write_connection(),
            7..=9 => transport.pause_reading(),
            10..=15 => transport.resume_reading(),
            16 => transport.set_water_marks(size, size / 3),
            17 => {
                let within = Rc::clone(storm);
                let delay = Duration::from_micros(storm.borrow_mut().random.below(500) as u64);
                let call = transport.call_later(delay, move |wild: &mut Wild, transport| {
                    let id = transport.id();
                    if within.borrow().lives.get(&id).is_some_and(|life| life.lost) || !wild.made {
                        within.borrow_mut().faults.push(format!("{id}: a timer after the loss"));
                    }
                    rampage(&within, transport.reactor(), Some(id));
                });
                storm.borrow_mut().timers.push(call);
            }
            18 | 19 => {
                let kind = [ProducerKind::Push, ProducerKind::Pull][what - 18];
                let producer = WildProducer { storm: Rc::clone(storm), stopped: false };
                let _ = transport.register_producer(producer, kind);
            }
            20 => transport.unregister_producer(),
            21 if size == 1 => panic!("as planned"),
            _ => transport.write(&vec![b'x'; size]),
        }
    }
}

fn storm(world: &World, seed: u64) -> usize {
    let settings = Settings {
        close_timeout: Duration::from_millis(5),
        linger: Duration::from_millis(5),
        read_buffer: 5000,
        bytes_per_turn: 8000,
        ..Settings::default()
    };
    let mut reactor = world.reactor_with(settings);
    let storm = Rc::new(RefCell::new(Storm {
        random: Random::new(seed),
        names: Vec::new(),
        timers: Vec::new(),
        lives: BTreeMap::new(),
        callbacks: 0,
        inside: false,
        faults: Vec::new(),
    }));
    let wild = {
        let storm = Rc::clone(&storm);
        move || Wild { storm: Rc::clone(&storm), made: false }
    };
    let listener: Listener = reactor.listen_tcp(world.anywhere(), wild.clone()).unwrap();
    for round in 0..20 {
        reactor.connect_tcp(listener.address(), wild.clone()).unwrap();
        for _ in 0..10 {
            reactor.iterate(Some(Duration::from_micros(100))).unwrap();
        }
        // Keeps the connections busy.
        for id in reactor.connections() {
            if storm.borrow_mut().random.below(3) == 0 {
                let storm = Rc::clone(&storm);
                reactor.call_later(Duration::ZERO, move |reactor| rampage(&storm, reactor, Some(id)));
            }
        }
        if round % 5 == 4 {
            for id in reactor.connections() {
                reactor.transport(id).unwrap().resume_reading();
            }
        }
    }
    reactor.stop_listening(&listener).unwrap();
    // Half of the runs end by closing the connections, the others by stopping the reactor.
    if seed.is_multiple_of(2) {
        world.run_until(&mut reactor, "the end of the storm", |reactor| {
            for id in reactor.connections() {
                let mut transport = reactor.transport(id).unwrap();
                transport.unregister_producer();
                transport.lose_connection();
            }
            reactor.resource_count() == 0
        });
    } else {
        reactor.call_later(Duration::ZERO, move |reactor| {
            assert!(if seed % 4 == 1 { reactor.stop_gracefully() } else { reactor.stop() });
        });
        while reactor.iterate(None).unwrap() {}
        assert_eq!(reactor.resource_count(), 0, "seed {seed}");
    }
    let losses = reactor.statistics().connections_lost;
    drop(reactor);
    let storm = storm.borrow();
    assert_eq!(storm.faults, [] as [String; 0], "seed {seed}");
    for (id, life) in &storm.lives {
        assert!(life.lost, "{id} was never lost, seed {seed}: {life:?}");
    }
    assert_eq!(losses, storm.lives.len() as u64);
    assert!(storm.lives.len() > 20, "seed {seed}: {} lives", storm.lives.len());
    storm.callbacks
}

#[test]
fn however_wildly_callbacks_call_back() {
    on_each_back_end(|world| {
        let callbacks: usize = (0..25).map(|seed| storm(world, seed)).sum();
        assert!(callbacks > 2000, "{callbacks} callbacks are no storm");
        // All logged panics were intended.
        assert!(world.logged().iter().all(|line| line.ends_with("as planned")));
    });
}
