//! An idle connection ends after the timeout. A byte in either direction restarts it.

use std::cell::Cell;
use std::io::ErrorKind;
use std::rc::Rc;
use std::time::Duration;

use crate::world::peer::{connection, narrow_connection, turns};
use crate::world::{Record, Recorder, idle_protocol, on_each_back_end, once};
use twistor::policy::{IdleTimedOut, IdleTimeout, ProtocolTimeout, idle_timeout};
use twistor::testing::StringTransport;
use twistor::{Layer, LayerContext, Producer, ProducerKind, Protocol, Reason, Transport};

const LIMIT: Duration = Duration::from_millis(30);

#[test]
fn an_idle_connection_is_closed_and_told_why() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let record = Record::new();
        let protocol = Recorder::new(&record);
        let listener = reactor
            .listen_tcp(world.anywhere(), idle_timeout(once(protocol, &Record::new()), LIMIT))
            .unwrap();
        let mut peer = world.connect(listener.address());
        world.run_until(&mut reactor, "made", |_| record.has("made"));
        let begin = reactor.now();
        assert_eq!(peer.read_to_end(&mut reactor), (Vec::new(), None));
        assert!(reactor.now() - begin >= LIMIT / 2);
        drop(peer);
        world.close(&mut reactor, &listener);
        assert_eq!(record.events(), ["made", "lost Layer"]);
    });
}

#[test]
fn bytes_either_way_put_it_off() {
    on_each_back_end(|world| {
        for incoming in [true, false] {
            let mut reactor = world.reactor();
            let record = Record::new();
            let protocol = Recorder::new(&record);
            let factory = idle_timeout(once(protocol, &Record::new()), LIMIT);
            let listener = reactor.listen_tcp(world.anywhere(), factory).unwrap();
            let mut peer = world.connect(listener.address());
            world.run_until(&mut reactor, "made", |_| record.has("made"));
            let id = reactor.connections()[0];
            let begin = reactor.now();
            while reactor.now() - begin < LIMIT * 3 {
                match incoming {
                    true => peer.send(b"x"),
                    false => reactor.transport(id).unwrap().write(b"x"),
                }
                reactor.iterate(Some(LIMIT / 10)).unwrap();
            }
            assert!(!record.has("lost Layer"), "it was not idle");
            peer.read_to_end(&mut reactor);
            drop(peer);
            world.close(&mut reactor, &listener);
            assert!(record.has("lost Layer"));
        }
    });
}

#[test]
fn a_slow_peer_that_goes_on_reading_is_not_idle() {
    on_each_back_end(|world| {
        let limit = Duration::from_millis(150);
        let mut reactor = world.reactor();
        let record = Record::new();
        let (id, mut peer) = narrow_connection(world, &mut reactor, Recorder::new(&record));
        let mut transport = reactor.transport(id).unwrap();
        transport.add_layer(IdleTimeout::new(limit));
        // All output in one callback. Nothing is written after that.
        transport.write(&[b'w'; 400_000]);
        let began = reactor.now();
        let mut read = 0;
        // Reads slowly until well past the limit, then everything.
        while read < 400_000 {
            let slowly = reactor.now() - began < limit * 3;
            read += peer.read_some(if slowly { 2000 } else { 100_000 }).len();
            reactor.iterate(Some(Duration::from_millis(2))).unwrap();
            assert!(!record.has("lost Layer"), "after {read} bytes");
        }
        // The peer has everything, and the connection is idle.
        assert_eq!(peer.read_to_end(&mut reactor), (Vec::new(), None));
        drop(peer);
        world.run_until_idle(&mut reactor);
        assert_eq!(record.events().last().unwrap(), "lost Layer");
    });
}

#[test]
fn a_peer_that_reads_without_causing_write_events_is_not_idle() {
    on_each_back_end(|world| {
        let limit = Duration::from_millis(100);
        let mut reactor = world.reactor();
        let record = Record::new();
        let (id, mut peer) = connection(world, &mut reactor, Recorder::new(&record));
        let mut transport = reactor.transport(id).unwrap();
        transport.add_layer(IdleTimeout::new(limit));
        transport.write(&vec![b'w'; 40 << 20]);
        let began = reactor.now();
        while reactor.now() - began < limit * 4 {
            // WRITABLE is reported only once a third of the kernel's send buffer of several
            // megabytes is free.
            peer.read_some(30_000);
            reactor.iterate(Some(Duration::from_millis(10))).unwrap();
            assert!(!record.has("lost Layer"));
        }
        reactor.transport(id).unwrap().abort_connection();
        world.run_until_idle(&mut reactor);
    });
}

#[test]
fn a_peer_that_takes_nothing_is_cut_off_with_a_reset() {
    on_each_back_end(|world| {
        for writes_on in [false, true] {
            let mut reactor = world.reactor();
            let record = Record::new();
            let (id, mut peer) = narrow_connection(world, &mut reactor, Recorder::new(&record));
            let mut transport = reactor.transport(id).unwrap();
            transport.add_layer(IdleTimeout::new(LIMIT));
            transport.write(&[b'w'; 400_000]);
            world.run_until(&mut reactor, "the limit", |reactor| {
                // Queued output alone does not count as activity.
                if let Some(mut transport) = reactor.transport(id).filter(|_| writes_on) {
                    transport.write(b"more");
                }
                record.has("lost Layer")
            });
            assert_eq!(peer.read_to_end(&mut reactor).1, Some(ErrorKind::ConnectionReset));
            world.run_until_idle(&mut reactor);
        }
    });
}

#[test]
fn what_a_producer_has_not_finished_is_cut_off_with_a_reset() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let record = Record::new();
        let (id, mut peer) = connection(world, &mut reactor, Recorder::new(&record));
        let mut transport = reactor.transport(id).unwrap();
        transport.add_layer(IdleTimeout::new(LIMIT));
        transport.register_producer(Silent, ProducerKind::Push).unwrap();
        transport.write(b"a part");
        let (part, error) = peer.read_to_end(&mut reactor);
        assert_eq!((&part[..], error), (&b"a part"[..], Some(ErrorKind::ConnectionReset)));
        world.run_until_idle(&mut reactor);
        assert_eq!(record.events().last().unwrap(), "lost Layer");
    });
}

struct Silent;

impl Producer for Silent {
    fn resume_producing(&mut self, _: &mut Transport<'_>) {}
}

/// Adds up the bytes of `sent`.
struct Meter {
    sent: Rc<Cell<usize>>,
    watches: bool,
}

impl Layer for Meter {
    fn started(&mut self, below: &mut LayerContext<'_>) {
        if self.watches {
            below.watch_sent();
        }
        below.ready();
    }

    fn sent(&mut self, _: &mut LayerContext<'_>, bytes: usize) {
        assert!(bytes > 0);
        self.sent.set(self.sent.get() + bytes);
    }
}

#[test]
fn a_layer_that_asks_for_it_is_told_of_each_byte_that_leaves() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let (id, mut peer) = narrow_connection(world, &mut reactor, idle_protocol());
        let (told, untold) = (Rc::new(Cell::new(0)), Rc::new(Cell::new(0)));
        let mut transport = reactor.transport(id).unwrap();
        transport.add_layer(Meter { sent: Rc::clone(&told), watches: true });
        transport.add_layer(Meter { sent: Rc::clone(&untold), watches: false });
        transport.write(b"first");
        turns(&mut reactor);
        assert_eq!(told.get(), 5);
        reactor.transport(id).unwrap().write(&[b'w'; 300_000]);
        turns(&mut reactor);
        while told.get() < 300_005 {
            let unsent = reactor.transport(id).unwrap().write_buffer_size();
            assert_eq!(told.get() + unsent, 300_005, "neither early nor late");
            peer.read_now();
            reactor.iterate(Some(Duration::from_millis(1))).unwrap();
        }
        assert_eq!(untold.get(), 0);
        reactor.transport(id).unwrap().abort_connection();
        world.run_until_idle(&mut reactor);
    });
}

#[test]
fn a_close_of_the_protocols_own_keeps_its_reason() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let record = Record::new();
        let protocol = Recorder::new(&record).closing();
        let factory = idle_timeout(once(protocol, &Record::new()), Duration::from_secs(1800));
        let listener = reactor.listen_tcp(world.anywhere(), factory).unwrap();
        let mut peer = world.connect(listener.address());
        peer.finish();
        peer.read_to_end(&mut reactor);
        drop(peer);
        world.close(&mut reactor, &listener);
        assert_eq!(record.events(), ["made", "read lost", "lost Done"]);
        assert_eq!(reactor.delayed_call_count(), 0);
    });
}

#[test]
fn a_slow_peer_of_a_close_under_way_gets_everything() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let record = Record::new();
        let (id, mut peer) = narrow_connection(world, &mut reactor, Recorder::new(&record));
        let mut transport = reactor.transport(id).unwrap();
        transport.add_layer(IdleTimeout::new(LIMIT));
        transport.write(&[b'w'; 400_000]);
        transport.lose_connection();
        let begin = reactor.now();
        while reactor.now() - begin < LIMIT * 3 {
            reactor.iterate(Some(LIMIT / 10)).unwrap();
        }
        // The close has a time limit of its own.
        let (all, error) = peer.read_to_end(&mut reactor);
        assert_eq!((all.len(), error), (400_000, None));
        drop(peer);
        world.run_until_idle(&mut reactor);
        assert_eq!(record.events().last().unwrap(), "lost Done");
    });
}

#[test]
fn the_error_says_how_long_nothing_happened() {
    let error = twistor::LayerError::new("idle timeout", IdleTimedOut(Duration::from_secs(30)));
    assert_eq!(error.error(), Some(&IdleTimedOut(Duration::from_secs(30))));
    let text = Reason::Layer(error).to_string();
    assert_eq!(text, "connection ended by a layer: idle timeout: no traffic for 30s");
}

/// A protocol with an idle timeout of its own.
#[derive(Default)]
struct Patient {
    timeout: ProtocolTimeout,
    expired: usize,
}

impl Protocol for Patient {
    fn data_received(&mut self, transport: &mut Transport<'_>, _: &[u8]) {
        self.timeout.reset(transport);
    }
}

fn set(transport: &mut StringTransport<Patient>, seconds: u64) -> Option<Duration> {
    transport.with(|patient, transport| {
        patient.timeout.set(transport, Duration::from_secs(seconds), |patient: &mut Patient, transport| {
            patient.expired += 1;
            transport.lose_connection();
        })
    })
}

#[test]
fn a_timeout_of_a_protocols_own_is_set_put_off_and_cancelled() {
    let second = Duration::from_secs(1);
    let mut transport = StringTransport::new(Patient::default());
    // Without a pending timeout, there is nothing to restart.
    transport.feed(b"x");
    assert_eq!(transport.with(|patient, transport| patient.timeout.limit(transport)), None);
    // `set` returns the previous limit.
    assert_eq!(set(&mut transport, 10), None);
    assert_eq!(set(&mut transport, 5), Some(10 * second));
    transport.advance(4 * second);
    transport.feed(b"x");
    transport.advance(4 * second);
    assert_eq!(transport.with(|patient, _| patient.expired), 0);
    // So does `cancel`.
    let cancelled = transport.with(|patient, transport| patient.timeout.cancel(transport));
    assert_eq!(cancelled, Some(5 * second));
    assert_eq!(transport.with(|patient, transport| patient.timeout.cancel(transport)), None);
    transport.advance(100 * second);
    assert_eq!(transport.with(|patient, _| patient.expired), 0);
    // The timeout fires once and cannot be restarted afterwards.
    set(&mut transport, 5);
    transport.advance(5 * second);
    assert_eq!(transport.with(|patient, _| patient.expired), 1);
    assert_eq!(transport.lost(), Some(Reason::Done));
}

#[test]
fn a_timeout_that_has_expired_is_neither_pending_nor_cancelled() {
    let second = Duration::from_secs(1);
    let mut transport = StringTransport::new(Patient::default());
    let set = |transport: &mut StringTransport<Patient>| {
        transport.with(|patient, transport| {
            patient.timeout.set(transport, second, |patient: &mut Patient, _| patient.expired += 1)
        })
    };
    set(&mut transport);
    assert_eq!(transport.with(|patient, transport| patient.timeout.limit(transport)), Some(second));
    transport.advance(second);
    assert_eq!(transport.with(|patient, _| patient.expired), 1);
    assert_eq!(transport.with(|patient, transport| patient.timeout.limit(transport)), None);
    assert_eq!(transport.with(|patient, transport| patient.timeout.cancel(transport)), None);
    set(&mut transport);
    transport.advance(second);
    assert_eq!((set(&mut transport), transport.with(|patient, _| patient.expired)), (None, 2));
}
