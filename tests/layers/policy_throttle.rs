//! A throttled transfer takes the time given by its rate, within 3 %, in either direction, alone
//! and with others.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use crate::world::peer::{connection, turns};
use crate::world::{Record, Recorder, idle_protocol, on_each_back_end, once};
use twistor::policy::{RateLimits, Throttle, TokenBucket, throttled};
use twistor::sim::{Host, Link, Simulation};
use twistor::{ConnectTcp, Factory, Instant, Protocol, Reactor, Settings, Transport, factory, layered};

/// Number of bytes received, and the time of the last one.
#[derive(Clone, Default)]
struct Came(Rc<RefCell<(usize, Option<Instant>)>>);

impl Came {
    fn bytes(&self) -> usize {
        self.0.borrow().0
    }

    fn last(&self) -> Instant {
        self.0.borrow().1.unwrap()
    }
}

/// Sends `left` bytes within the water marks, and then closes.
struct Sends {
    left: usize,
}

impl Sends {
    fn more(&mut self, transport: &mut Transport<'_>) {
        while self.left > 0 && transport.write_buffer_size() <= 64 * 1024 {
            let piece = self.left.min(10_000);
            transport.write(&vec![b'x'; piece]);
            self.left -= piece;
        }
        if self.left == 0 {
            transport.lose_connection();
        }
    }
}

impl Protocol for Sends {
    fn connection_made(&mut self, transport: &mut Transport<'_>) {
        self.more(transport);
    }
    fn resume_writing(&mut self, transport: &mut Transport<'_>) {
        self.more(transport);
    }
    fn data_received(&mut self, _: &mut Transport<'_>, _: &[u8]) {}
}

struct Counts(Came);

impl Protocol for Counts {
    fn data_received(&mut self, transport: &mut Transport<'_>, data: &[u8]) {
        *self.0.0.borrow_mut() = (self.0.bytes() + data.len(), Some(transport.now()));
    }
}

struct Transfer {
    simulation: Simulation,
    server: Host,
    client: Host,
}

impl Transfer {
    /// A server and a client, on a link without latency or bandwidth limit.
    fn new() -> Transfer {
        let simulation = Simulation::new(1);
        simulation.set_links(Link::instant());
        let (server, client) = (simulation.host("server"), simulation.host("client"));
        Transfer { simulation, server, client }
    }

    fn listen(&mut self, factory: impl Factory) {
        self.simulation.reactor(self.server).listen_tcp("0.0.0.0:80", factory).unwrap();
    }

    /// Opens connections that send `bytes` each.
    fn send(&mut self, bytes: usize, connections: usize) {
        for _ in 0..connections {
            let to = ConnectTcp::new("server", 80);
            self.simulation.reactor(self.client).connect_tcp(to, move || Sends { left: bytes }).unwrap();
        }
    }

    fn now(&mut self) -> Instant {
        self.simulation.reactor(self.client).now()
    }

    fn run(&mut self, limit: Duration) {
        self.simulation.run_for(limit).unwrap();
    }
}

#[track_caller]
fn close_to(seen: Duration, expected: f64, what: &str) {
    let ratio = seen.as_secs_f64() / expected;
    assert!((0.97..=1.03).contains(&ratio), "{what}: {seen:?} instead of {expected} s");
}

/// Bytes and rate, from a slow modem to rates limited by the timer resolution.
const CASES: [(usize, u64); 6] = [
    (5_000, 1_000),
    (100_000, 33_333),
    (1_000_000, 250_000),
    (10_000_000, 2_000_000),
    (60_000_000, 30_000_000),
    (7, 1),
];

#[test]
fn what_is_read_comes_at_the_rate() {
    for (bytes, rate) in CASES {
        let mut transfer = Transfer::new();
        let came = Came::default();
        let counts = came.clone();
        let rates = RateLimits { read: Some(rate), ..RateLimits::default() };
        transfer.listen(throttled(move || Counts(counts.clone()), rates));
        transfer.send(bytes, 1);
        let begin = transfer.now();
        transfer.run(Duration::from_secs(1000));
        assert_eq!(came.bytes(), bytes);
        close_to(came.last() - begin, bytes as f64 / rate as f64, &format!("{bytes} at {rate}"));
    }
}

#[test]
fn what_is_written_goes_at_the_rate_and_the_close_waits_for_it() {
    for (bytes, rate) in CASES {
        let mut transfer = Transfer::new();
        let came = Came::default();
        let counts = came.clone();
        transfer.listen(move || Counts(counts.clone()));
        let rates = RateLimits { write: Some(rate), ..RateLimits::default() };
        let to = ConnectTcp::new("server", 80);
        let factory = throttled(move || Sends { left: bytes }, rates);
        transfer.simulation.reactor(transfer.client).connect_tcp(to, factory).unwrap();
        let begin = transfer.now();
        transfer.run(Duration::from_secs(1000));
        assert_eq!(came.bytes(), bytes);
        close_to(came.last() - begin, bytes as f64 / rate as f64, &format!("{bytes} at {rate}"));
    }
}

#[test]
fn all_together_have_their_rate_and_each_an_equal_part_of_it() {
    let mut transfer = Transfer::new();
    let all: Rc<RefCell<Vec<Came>>> = Rc::default();
    let begun = Rc::clone(&all);
    let rates = RateLimits { read_together: Some(500_000), ..RateLimits::default() };
    let factory = factory(move |_| {
        let came = Came::default();
        begun.borrow_mut().push(came.clone());
        Some(Counts(came))
    });
    transfer.listen(throttled(factory, rates));
    transfer.send(1_000_000, 5);
    let begin = transfer.now();
    // Halfway, each connection has received about half.
    transfer.run(Duration::from_secs(5));
    for came in all.borrow().iter() {
        assert!((450_000..=550_000).contains(&came.bytes()), "{} of 500,000", came.bytes());
    }
    transfer.run(Duration::from_secs(100));
    let (bytes, last) = {
        let all = all.borrow();
        (all.iter().map(Came::bytes).sum::<usize>(), all.iter().map(Came::last).max().unwrap())
    };
    assert_eq!(bytes, 5_000_000);
    close_to(last - begin, 10.0, "all together");
}

#[test]
fn the_tighter_of_two_rates_holds() {
    for (own, together) in [(100_000, 1_000_000), (1_000_000, 100_000)] {
        let mut transfer = Transfer::new();
        let came = Came::default();
        let counts = came.clone();
        let rates = RateLimits { read: Some(own), read_together: Some(together), ..RateLimits::default() };
        transfer.listen(throttled(move || Counts(counts.clone()), rates));
        transfer.send(500_000, 1);
        let begin = transfer.now();
        transfer.run(Duration::from_secs(100));
        close_to(came.last() - begin, 5.0, "the tighter one");
    }
}

#[test]
fn a_late_loop_catches_up_and_an_idle_one_saves_at_most_50_ms() {
    let mut transfer = Transfer::new();
    let came = Came::default();
    let counts = came.clone();
    let rates = RateLimits { read: Some(100_000), ..RateLimits::default() };
    transfer.listen(throttled(move || Counts(counts.clone()), rates));
    let server = transfer.server;
    transfer.simulation.run_for(Duration::from_secs(60)).unwrap();
    transfer.send(300_000, 1);
    let begin = transfer.now();
    // The server's loop is blocked for 40 ms from time to time.
    for turn in 0..20 {
        transfer.simulation.at(Duration::from_millis(60_000 + 100 * turn), move |simulation| {
            simulation.pause(server);
            simulation.after(Duration::from_millis(40), move |simulation| simulation.resume(server));
        });
    }
    transfer.run(Duration::from_secs(100));
    close_to(came.last() - begin, 3.0, "with a loop that is held up");
}

#[test]
fn a_rate_can_be_changed_while_bytes_go() {
    let mut transfer = Transfer::new();
    let came = Came::default();
    let counts = came.clone();
    let bucket = TokenBucket::new(100_000);
    let shared = bucket.clone();
    transfer.listen(layered(
        move || Counts(counts.clone()),
        move || Throttle::new(vec![shared.clone()], Vec::new()),
    ));
    transfer.send(1_000_000, 1);
    let begin = transfer.now();
    transfer.run(Duration::from_secs(5));
    bucket.set_rate(500_000);
    assert_eq!(bucket.rate(), 500_000);
    transfer.run(Duration::from_secs(100));
    close_to(came.last() - begin, 6.0, "five seconds slow, one second fast");
}

#[test]
fn a_throttled_writer_is_told_to_pause_and_to_resume() {
    on_each_back_end(|world| {
        let settings = Settings { high_water: 1000, ..Settings::default() };
        let mut reactor: Reactor = world.reactor_with(settings);
        let record = Record::new();
        let protocol = Recorder::new(&record).acting(|what, transport, _| match what {
            "made" => transport.write(&[b'x'; 1001]),
            "resume" => transport.lose_connection(),
            _ => {}
        });
        let rates = RateLimits { write: Some(20_000), ..RateLimits::default() };
        let listener =
            reactor.listen_tcp(world.anywhere(), throttled(once(protocol, &Record::new()), rates)).unwrap();
        let mut peer = world.connect(listener.address());
        let (all, error) = peer.read_to_end(&mut reactor);
        assert_eq!((all.len(), error), (1001, None));
        drop(peer);
        world.close(&mut reactor, &listener);
        assert_eq!(record.events(), ["made", "pause", "resume", "lost Done"]);
    });
}

#[test]
fn a_pause_between_two_transfers_saves_no_time() {
    let mut transfer = Transfer::new();
    let came = Came::default();
    let counts = came.clone();
    let rates = RateLimits { read_together: Some(100_000), ..RateLimits::default() };
    transfer.listen(throttled(move || Counts(counts.clone()), rates));
    // An idle bucket holds the tokens of 50 ms.
    for (what, expected) in [("the first", 1.0), ("the second", 0.95)] {
        transfer.send(100_000, 1);
        let begin = transfer.now();
        transfer.run(Duration::from_secs(60));
        close_to(came.last() - begin, expected, what);
    }
    assert_eq!(came.bytes(), 200_000);
}

#[test]
fn bytes_that_left_a_throttled_connection_are_not_unsent() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let (id, mut peer) = connection(world, &mut reactor, idle_protocol());
        let mut transport = reactor.transport(id).unwrap();
        // 20 ms at this rate is 400 bytes.
        transport.add_layer(Throttle::new(Vec::new(), vec![TokenBucket::new(20_000)]));
        transport.write(&[b'x'; 1000]);
        assert_eq!(transport.write_buffer_size(), 1000);
        let mut read = 0;
        while read < 1000 {
            read += peer.read_now().len();
            let unsent = reactor.transport(id).unwrap().write_buffer_size();
            assert!(unsent <= 1000 - read, "{unsent} unsent, {read} read");
            reactor.iterate(Some(Duration::from_millis(1))).unwrap();
        }
        reactor.transport(id).unwrap().abort_connection();
        world.run_until_idle(&mut reactor);
    });
}

#[test]
fn what_is_not_limited_goes_at_once() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let record = Record::new();
        let protocol = Recorder::new(&record).echoing();
        // Only the write direction is limited, to the minimum rate.
        let rates = RateLimits { write: Some(1), ..RateLimits::default() };
        let listener =
            reactor.listen_tcp(world.anywhere(), throttled(once(protocol, &Record::new()), rates)).unwrap();
        let mut peer = world.connect(listener.address());
        peer.send(&[b'x'; 5000]);
        world.run_until(&mut reactor, "read", |_| record.has("data (5000 bytes)"));
        turns(&mut reactor);
        crate::world::abort_all(&mut reactor);
        world.close(&mut reactor, &listener);
    });
}
