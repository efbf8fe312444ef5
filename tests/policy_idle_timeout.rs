//! A connection on which nothing happens for so long ends; a byte either way puts that off.

mod world;

use std::time::Duration;

use twistor::policy::{Idle, Timeout, idle_timeout};
use twistor::testing::StringTransport;
use twistor::{Protocol, Reason, Transport};
use world::{Record, Recorder, on_each_back_end, once};

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
                reactor.turn(Some(LIMIT / 10)).unwrap();
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
        assert_eq!(reactor.delayed_calls(), 0);
    });
}

#[test]
fn the_error_says_how_long_nothing_happened() {
    let error = twistor::LayerError::new("idle timeout", Idle(Duration::from_secs(30)));
    assert_eq!(error.error(), Some(&Idle(Duration::from_secs(30))));
    let text = Reason::Layer(error).to_string();
    assert_eq!(text, "connection ended by a layer: idle timeout: nothing happened for 30s");
}

/// A protocol with a limit of its own.
#[derive(Default)]
struct Patient {
    timeout: Timeout,
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
    // Nothing is pending: nothing is put off.
    transport.feed(b"x");
    assert_eq!(transport.with(|patient, transport| patient.timeout.limit(transport)), None);
    // Setting returns what was set before.
    assert_eq!(set(&mut transport, 10), None);
    assert_eq!(set(&mut transport, 5), Some(10 * second));
    transport.advance(4 * second);
    transport.feed(b"x");
    transport.advance(4 * second);
    assert_eq!(transport.with(|patient, _| patient.expired), 0);
    // Cancelling as well.
    let cancelled = transport.with(|patient, transport| patient.timeout.cancel(transport));
    assert_eq!(cancelled, Some(5 * second));
    assert_eq!(transport.with(|patient, transport| patient.timeout.cancel(transport)), None);
    transport.advance(100 * second);
    assert_eq!(transport.with(|patient, _| patient.expired), 0);
    // It comes once, and cannot be put off afterwards.
    set(&mut transport, 5);
    transport.advance(5 * second);
    assert_eq!(transport.with(|patient, _| patient.expired), 1);
    assert_eq!(transport.lost(), Some(Reason::Done));
}
