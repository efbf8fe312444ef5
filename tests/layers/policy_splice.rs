//! Two connections that are spliced behave like one: bytes, backpressure, half-closes and ends pass
//! in both directions.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use crate::world::peer::{Peer, connection, narrow_connection, turns};
use crate::world::{Record, Recorder, World, abort_all, idle_protocol, kind, on_each_back_end, once};
use twistor::policy::{PortForward, RateLimits, splice, throttled};
use twistor::sim::{Chaos, FaultKind, Host, Random, Simulation};
use twistor::{
    ConnectUnix, ConnectionId, Error, ListenUnix, Protocol, Reactor, Settings, Transport, UnixAddress,
};

struct Joined {
    reactor: Reactor,
    record: Record,
    ids: [ConnectionId; 2],
    a: Peer,
    b: Peer,
}

/// Two connections of a reactor to plain sockets. Both are narrow towards the peer.
fn joined(world: &World, settings: Settings) -> Joined {
    let mut reactor = world.reactor_with(settings);
    let record = Record::new();
    let (first, a) = narrow_connection(world, &mut reactor, Recorder::named("a", &record));
    let (second, b) = narrow_connection(world, &mut reactor, Recorder::named("b", &record));
    let done = record.clone();
    splice(&mut reactor, first, second, move |_, ended| {
        done.add(format!("done {} {} {}", ended.a_to_b, ended.b_to_a, kind(&ended.reason)));
    })
    .unwrap();
    turns(&mut reactor);
    record.take();
    Joined { reactor, record, ids: [first, second], a, b }
}

fn end(world: &World, mut joined: Joined) -> Vec<String> {
    drop((joined.a, joined.b));
    world.run_until_idle(&mut joined.reactor);
    joined.record.take()
}

#[test]
fn bytes_and_half_closes_pass_in_each_order() {
    on_each_back_end(|world| {
        for a_first in [true, false] {
            let mut joined = joined(world, Settings::default());
            joined.a.send(b"question");
            let mut heard = Vec::new();
            while heard != b"question" {
                turns(&mut joined.reactor);
                heard.extend(joined.b.read_now());
            }
            let (first, second) = match a_first {
                true => (&mut joined.a, &mut joined.b),
                false => (&mut joined.b, &mut joined.a),
            };
            first.send(b"last");
            first.finish();
            let mut last = Vec::new();
            while last != b"last" {
                turns(&mut joined.reactor);
                last.extend(second.read_some(100));
            }
            turns(&mut joined.reactor);
            assert!(second.at_end());
            second.send(b"answer");
            second.finish();
            assert_eq!(first.read_to_end(&mut joined.reactor), (b"answer".to_vec(), None));
            let done = if a_first { "done 12 6 Done" } else { "done 14 4 Done" };
            let mut events = end(world, joined);
            events.sort();
            // The protocols keep the callbacks of their own half-closes and ends.
            events.retain(|event| !event.ends_with("write lost"));
            assert_eq!(events, ["a: lost Done", "b: lost Done", done]);
        }
    });
}

#[test]
fn neither_side_holds_more_than_its_marks() {
    on_each_back_end(|world| {
        let settings = Settings { high_water: 20_000, read_buffer: 8192, ..Settings::default() };
        for from_a in [true, false] {
            let mut joined = joined(world, settings.clone());
            let Joined { reactor, ids, a, b, .. } = &mut joined;
            let (from, to) = if from_a { (a, b) } else { (b, a) };
            let (mut sent, mut still) = (0, 0);
            while still < 20 {
                let more = from.fill();
                sent += more;
                still = if more == 0 { still + 1 } else { 0 };
                turns(reactor);
                for id in &*ids {
                    let unsent = reactor.transport(*id).unwrap().write_buffer_size();
                    assert!(unsent <= 20_000 + 8192, "{unsent} bytes wait of {sent}");
                }
            }
            assert!(sent > 28_000, "{sent} bytes filled more than the buffers of the kernel");
            // All of it comes once the peer reads.
            from.finish();
            assert_eq!(to.read_to_end(reactor).0.len(), sent);
            let events = end(world, joined);
            let done = if from_a { format!("done {sent} 0 Done") } else { format!("done 0 {sent} Done") };
            assert!(events.contains(&done), "{events:?}");
        }
    });
}

#[test]
fn a_reset_aborts_the_other_side_after_its_bytes() {
    on_each_back_end(|world| {
        for by_a in [true, false] {
            let Joined { mut reactor, record, a, b, .. } = joined(world, Settings::default());
            let (mut by, mut to) = if by_a { (a, b) } else { (b, a) };
            // More than the kernel takes at once, and less than the high-water mark.
            let sent = vec![b'x'; 30_000];
            by.send(&sent);
            while reactor.statistics().bytes_received < 30_000 {
                turns(&mut reactor);
            }
            let mut got = to.read_some(1000);
            by.reset();
            let (rest, error) = to.read_to_end(&mut reactor);
            got.extend(rest);
            assert!(error.is_some(), "a reset, not an end");
            assert!(sent.starts_with(&got), "{} bytes", got.len());
            world.run_until_idle(&mut reactor);
            let (lost, aborted) = if by_a { ("a", "b") } else { ("b", "a") };
            let done = if by_a { "done 30000 0 Lost" } else { "done 0 30000 Lost" };
            let expected =
                [format!("{lost}: lost Lost"), format!("{aborted}: lost Aborted"), done.to_owned()];
            assert_eq!(record.take(), expected);
        }
    });
}

#[test]
fn a_side_that_takes_nothing_is_aborted_in_time() {
    on_each_back_end(|world| {
        let settings = Settings { close_timeout: Duration::from_millis(50), ..Settings::default() };
        let mut joined = joined(world, settings);
        while joined.reactor.transport(joined.ids[1]).unwrap().write_buffer_size() == 0 {
            joined.a.fill();
            turns(&mut joined.reactor);
        }
        joined.reactor.transport(joined.ids[0]).unwrap().abort_connection();
        let record = joined.record.clone();
        world.run_until(&mut joined.reactor, "aborted", |_| record.has("b: lost Aborted"));
        let events = end(world, joined);
        assert!(events.last().unwrap().ends_with(" 0 Aborted"), "{events:?}");
    });
}

#[test]
fn a_close_by_the_owner_closes_the_other_side_after_its_bytes() {
    on_each_back_end(|world| {
        for by_a in [true, false] {
            let mut joined = joined(world, Settings::default());
            joined.a.send(&[b'x'; 30_000]);
            while joined.reactor.statistics().bytes_received < 30_000 {
                turns(&mut joined.reactor);
            }
            let closes = joined.ids[usize::from(!by_a)];
            // The owner's last words.
            joined.reactor.with_protocol(closes, |_: &mut Recorder, transport| {
                transport.write(b"bye");
                transport.lose_connection();
            });
            let (first, second) = (&mut joined.a, &mut joined.b);
            let got = second.read_to_end(&mut joined.reactor);
            assert_eq!((got.0.len(), got.1), (if by_a { 30_000 } else { 30_003 }, None));
            let expected = if by_a { b"bye".to_vec() } else { vec![] };
            assert_eq!(first.read_to_end(&mut joined.reactor), (expected, None));
            let events = end(world, joined);
            assert!(events.contains(&"done 30000 0 Done".to_owned()), "{events:?}");
        }
    });
}

/// Its input from the other side has no receiver then, and must not wait for one.
#[test]
fn a_half_close_by_the_owner_does_not_stop_the_other_side() {
    on_each_back_end(|world| {
        let Joined { mut reactor, record, ids, mut a, mut b } = joined(world, Settings::default());
        while reactor.transport(ids[1]).unwrap().write_buffer_size() == 0 {
            a.fill();
            turns(&mut reactor);
        }
        reactor.transport(ids[1]).unwrap().lose_write_connection();
        let (mut sent, mut rounds, mut got) = (0, 0, 0);
        while sent < 5_000_000 {
            sent += a.fill();
            got += b.read_now().len();
            turns(&mut reactor);
            rounds += 1;
            assert!(rounds < 100_000, "it stopped after {sent} bytes");
        }
        assert!(0 < got && got < sent);
        b.send(b"answer");
        b.finish();
        a.finish();
        assert_eq!(b.read_to_end(&mut reactor).1, None);
        assert_eq!(a.read_to_end(&mut reactor), (b"answer".to_vec(), None));
        drop((a, b));
        world.run_until_idle(&mut reactor);
        assert!(record.events().last().unwrap().ends_with(" 6 Done"), "{:?}", record.events());
    });
}

#[test]
fn a_graceful_stop_sends_what_was_received() {
    on_each_back_end(|world| {
        let mut joined = joined(world, Settings::default());
        joined.a.send(&[b'x'; 30_000]);
        while joined.reactor.statistics().bytes_received < 30_000 {
            turns(&mut joined.reactor);
        }
        joined.reactor.stop_gracefully();
        let (got, error) = joined.b.read_to_end(&mut joined.reactor);
        assert_eq!((got.len(), error), (30_000, None));
        drop((joined.a, joined.b));
        while joined.reactor.iterate(None).unwrap() {}
        assert!(joined.record.events().iter().any(|event| event.starts_with("done 30000 0 ")));
    });
}

#[test]
fn connections_that_are_gone_or_the_same_are_refused() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let (a, _first) = connection(world, &mut reactor, idle_protocol());
        let (b, _second) = connection(world, &mut reactor, idle_protocol());
        let refused = |reactor: &mut Reactor, a, b| {
            let result = splice(reactor, a, b, |_, _| panic!("it was not spliced"));
            assert!(matches!(result, Err(Error::NotConnected)));
        };
        refused(&mut reactor, a, a);
        reactor.transport(b).unwrap().lose_connection();
        refused(&mut reactor, a, b);
        refused(&mut reactor, b, a);
        world.run_until(&mut reactor, "closed", |reactor| reactor.transport(b).is_none());
        refused(&mut reactor, a, b);
        assert!(!reactor.transport(a).unwrap().is_closing());
        abort_all(&mut reactor);
        world.run_until_idle(&mut reactor);
    });
}

/// Joins its connection with another one in its own callback, and passes on what came before.
struct Joins {
    other: ConnectionId,
    record: Record,
}

impl Protocol for Joins {
    fn data_received(&mut self, transport: &mut Transport<'_>, data: &[u8]) {
        let (own, record) = (transport.id(), self.record.clone());
        transport.write(b"joined ");
        let reactor = transport.reactor();
        reactor.transport(self.other).unwrap().write(data);
        splice(reactor, self.other, own, move |_, ended| {
            record.add(format!("done {} {}", ended.a_to_b, ended.b_to_a));
        })
        .unwrap();
    }
}

#[test]
fn a_callback_can_splice_its_own_connection() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let record = Record::new();
        let (other, mut a) = connection(world, &mut reactor, idle_protocol());
        let joins = Joins { other, record: record.clone() };
        let (_, mut b) = connection(world, &mut reactor, joins);
        reactor.transport(other).unwrap().pause_reading();
        a.send(b"early");
        b.send(b"first ");
        turns(&mut reactor);
        b.send(b"second");
        b.finish();
        assert_eq!(a.read_to_end(&mut reactor), (b"first second".to_vec(), None));
        a.finish();
        assert_eq!(b.read_to_end(&mut reactor), (b"joined early".to_vec(), None));
        drop((a, b));
        world.run_until_idle(&mut reactor);
        assert_eq!(record.take(), ["done 5 6"]);
    });
}

#[test]
fn layers_below_do_their_work() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let (record, limits) = (Record::new(), RateLimits::default());
        let limits = RateLimits { read: Some(400_000), write: Some(400_000), ..limits };
        let target = world.serve(&mut reactor, Recorder::new(&record).echoing());
        let to = format!("tcp:127.0.0.1:{}", target.address().port().unwrap());
        let to = twistor::endpoint::client_from_string(&to);
        let forward = throttled(PortForward::new(to.unwrap()), limits);
        let listener = reactor.listen_tcp(world.anywhere(), forward).unwrap();
        let mut peer = world.connect(listener.address());
        let sent: Vec<u8> = (0..60_000_u32).map(|number| number as u8).collect();
        peer.send(&sent);
        peer.finish();
        assert_eq!(peer.read_to_end(&mut reactor), (sent, None));
        drop(peer);
        for listener in [&target, &listener] {
            reactor.stop_listening(listener).unwrap();
        }
        world.run_until_idle(&mut reactor);
    });
}

#[test]
fn unix_sockets_are_spliced_too() {
    let mut simulation = Simulation::new(1);
    let host = simulation.host("here");
    let name = |path: &str| path.parse::<UnixAddress>().unwrap();
    let record = Record::new();
    let echo = record.clone();
    let reactor = simulation.reactor(host);
    reactor.listen_unix(ListenUnix::new(name("/run/echo")), move || Recorder::new(&echo).echoing()).unwrap();
    let target = twistor::endpoint::client_from_string("unix:/run/echo").unwrap();
    reactor.listen_unix(ListenUnix::new(name("/run/proxy")), PortForward::new(target)).unwrap();
    let asking = Recorder::named("client", &record).acting(|what, transport, _| match what {
        "made" => {
            transport.write(b"hello");
            transport.lose_write_connection();
        }
        "read lost" => transport.lose_connection(),
        _ => {}
    });
    reactor.connect_unix(ConnectUnix::new(name("/run/proxy")), once(asking, &Record::new())).unwrap();
    simulation.run_for(Duration::from_secs(1)).unwrap();
    assert!(record.has("client: data hello") && record.has("client: lost Done"), "{:?}", record.events());
}

/// Sends a known sequence of bytes of this length within the water marks, ends its output, and
/// compares what comes back.
struct Checks {
    total: usize,
    sent: usize,
    seen: usize,
    whole: Rc<Cell<usize>>,
}

fn byte(place: usize) -> u8 {
    (place * 31 + place / 251) as u8
}

impl Protocol for Checks {
    fn connection_made(&mut self, transport: &mut Transport<'_>) {
        self.resume_writing(transport);
    }

    fn resume_writing(&mut self, transport: &mut Transport<'_>) {
        while !transport.writing_paused() && self.sent < self.total {
            let end = self.total.min(self.sent + 5000);
            let piece: Vec<u8> = (self.sent..end).map(byte).collect();
            transport.write(&piece);
            self.sent = end;
        }
        if self.sent == self.total {
            transport.lose_write_connection();
        }
    }

    fn data_received(&mut self, _: &mut Transport<'_>, data: &[u8]) {
        for other in data {
            assert_eq!(*other, byte(self.seen), "byte {}", self.seen);
            self.seen += 1;
        }
    }

    fn read_connection_lost(&mut self, transport: &mut Transport<'_>) {
        assert_eq!(self.seen, self.total, "an end in good order is the end of all bytes");
        self.whole.set(self.whole.get() + 1);
        transport.lose_connection();
    }
}

/// Sends back within the water marks, and ends after its peer.
struct Echo;

impl Protocol for Echo {
    fn data_received(&mut self, transport: &mut Transport<'_>, data: &[u8]) {
        transport.write(data);
    }
    fn pause_writing(&mut self, transport: &mut Transport<'_>) {
        transport.pause_reading();
    }
    fn resume_writing(&mut self, transport: &mut Transport<'_>) {
        transport.resume_reading();
    }
}

/// Returns how many of 20 clients had all their bytes come back through the proxy.
fn run(seed: u64, chaos: impl FnOnce(&mut Random, &[Host]) -> Chaos) -> usize {
    let mut simulation = Simulation::new(seed);
    let hosts = ["server", "proxy", "client"].map(|name| simulation.host(name));
    let settings = Settings { high_water: 30_000, read_buffer: 10_000, ..Settings::default() };
    simulation.set_settings(hosts[1], settings);
    simulation.boot(hosts[0], |reactor| reactor.listen_tcp("0.0.0.0:7", || Echo).map(drop)).unwrap();
    let forward = |reactor: &mut Reactor| {
        let target = twistor::endpoint::client_from_string("tcp:server:7").unwrap();
        reactor.listen_tcp("0.0.0.0:8", PortForward::new(target)).map(drop)
    };
    simulation.boot(hosts[1], forward).unwrap();
    let mut random = simulation.random("splice");
    simulation.start_chaos(chaos(&mut random, &hosts));
    let whole = Rc::<Cell<usize>>::default();
    for _ in 0..20 {
        let (total, count) = (1 + random.index(200_000), Rc::clone(&whole));
        let checks = Checks { total, sent: 0, seen: 0, whole: count };
        simulation.reactor(hosts[2]).connect_tcp("proxy:8", once(checks, &Record::new())).unwrap();
        for _ in 0..50 {
            simulation.run_for(Duration::from_millis(10)).unwrap();
            let reactor = simulation.reactor(hosts[1]);
            for id in reactor.connections() {
                let unsent = reactor.transport(id).unwrap().write_buffer_size();
                assert!(unsent <= 40_000, "seed {seed}: {unsent} bytes");
            }
        }
    }
    simulation.stop_chaos();
    simulation.run_for(Duration::from_secs(300)).unwrap();
    assert_eq!(simulation.panics(), 0, "seed {seed}");
    whole.get()
}

fn seeds() -> u64 {
    std::env::var("TWISTOR_SEEDS").ok().and_then(|seeds| seeds.parse().ok()).unwrap_or(10)
}

#[test]
fn short_reads_and_writes_change_no_byte() {
    for seed in 0..seeds() {
        let whole = run(seed, |random, _| Chaos {
            strikes: Vec::new(),
            failures: 0.0,
            loss: 0.02,
            ..Chaos::draw(random)
        });
        assert_eq!(whole, 20, "seed {seed}");
    }
}

#[test]
fn no_part_is_taken_for_the_whole_under_resets_and_partitions() {
    let mut whole = 0;
    for seed in 0..seeds() {
        whole += run(seed, |random, _| Chaos {
            strikes: vec![FaultKind::Reset, FaultKind::Partition, FaultKind::SlowReader],
            mean_interval: Duration::from_millis(700),
            failures: 0.0,
            ..Chaos::draw(random)
        });
    }
    assert!(whole > 0);
}
