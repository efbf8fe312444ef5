//! A monitor runs unchanged in a simulated network, and what it tells is the truth.

use crate::warnings;
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::ops::Range;
use std::rc::Rc;
use std::time::{Duration, SystemTime};

use twistor::monitor::{Change, DownCause, Event, Monitor, MonitorSettings, Target};
use twistor::report::JsonReporter;
use twistor::sim::{
    CallKind, Errno, Fault, FaultKind, Host, Latency, Link, Packet, PacketKind, Random, Rule, Simulation,
    Verdict,
};
use twistor::{Protocol, Reason, Transport};

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);

struct Silent;

impl Protocol for Silent {
    fn data_received(&mut self, _: &mut Transport<'_>, _: &[u8]) {}
}

/// What a monitor told about a target, in order.
#[derive(Clone, Debug)]
struct Told {
    wall: SystemTime,
    change: Change,
    reason: Option<Reason>,
}

impl Told {
    fn cause(&self) -> Option<DownCause> {
        match self.change {
            Change::Down { cause, .. } | Change::StillDown { cause, .. } => Some(cause),
            Change::Unknown { cause, .. } | Change::StillUnknown { cause, .. } => Some(cause),
            _ => None,
        }
    }
}

/// All that was told, by the target's name.
#[derive(Clone, Default)]
struct Book(Rc<RefCell<BTreeMap<String, Vec<Told>>>>);

impl Book {
    fn watch(
        &self,
        simulation: &mut Simulation,
        watcher: Host,
        targets: &[&str],
        settings: MonitorSettings,
    ) -> Monitor {
        let book = Rc::clone(&self.0);
        let targets: Vec<Target> = targets.iter().map(|target| target.parse().unwrap()).collect();
        Monitor::start(simulation.reactor(watcher), targets, settings, move |event: &Event<'_>| {
            let told = Told { wall: event.wall, change: event.change, reason: event.reason.cloned() };
            book.borrow_mut().entry(event.target.name().to_owned()).or_default().push(told);
            Ok(())
        })
    }

    fn of(&self, target: &str) -> Vec<Told> {
        self.0.borrow().get(target).cloned().unwrap_or_default()
    }

    fn causes(&self, target: &str) -> Vec<Option<DownCause>> {
        self.of(target).iter().map(Told::cause).collect()
    }
}

/// A host that takes connections on port 80 of both families, now and whenever it boots.
fn server(simulation: &mut Simulation, name: &str) -> Host {
    let host = simulation.host(name);
    simulation.boot(host, |reactor| reactor.listen_tcp("[::]:80", || Silent).map(drop)).unwrap();
    host
}

// -- a day of outages --

use FaultKind::{Crash, FullBacklog, Kill, OneWayPartition, Partition, Refusal, Reset, Silence};

const HELD: &[FaultKind] = &[Kill, Reset, Crash, Partition, OneWayPartition];
const PROBED: &[FaultKind] = &[Kill, Refusal, Crash, Partition, OneWayPartition, Silence, FullBacklog];

/// What the script knows: what was wrong with a target, and when.
struct Outage {
    target: String,
    kind: FaultKind,
    time: Range<SystemTime>,
}

/// Draws outages of two intervals to an hour for each of twelve hosts, and watches them for a day.
fn a_day(simulation: &mut Simulation, settings: &MonitorSettings) -> (Book, Vec<Outage>) {
    let mut random = simulation.random("outages");
    let [least, usual, worst] = [1, 10, 100].map(|most| Duration::from_millis(1 + random.below(most)));
    let latency = Latency::LongTail { least, usual: least + usual, worst: least + usual + worst };
    simulation.set_links(Link { latency, loss: 0.001, ..Link::default() });
    let watcher = simulation.host("watcher");
    let midnight = simulation.reactor(watcher).system_time();
    let (mut targets, mut outages) = (Vec::new(), Vec::new());
    for number in 0..12 {
        let name = format!("host{number}");
        let host = server(simulation, &name);
        let (scheme, kinds) = if number % 2 == 0 { ("hold", HELD) } else { ("tcp", PROBED) };
        let target = format!("{scheme}://{name}:80");
        let mut from = MINUTE + random.exponential(HOUR);
        while from < 23 * HOUR {
            let (kind, until) = (*random.pick(kinds), from + random.between(2 * settings.interval, HOUR));
            simulation.at(from, move |simulation| simulation.inject_fault(kind, host, watcher));
            simulation.at(until, move |simulation| simulation.clear_fault(kind, host, watcher));
            // A reset is over at once.
            let over = if kind == Reset { from } else { until };
            outages.push(Outage { target: target.clone(), kind, time: midnight + from..midnight + over });
            from = until + 4 * settings.interval + random.exponential(2 * HOUR);
        }
        targets.push(target);
    }
    let targets: Vec<&str> = targets.iter().map(String::as_str).collect();
    let book = Book::default();
    let monitor = book.watch(simulation, watcher, &targets, settings.clone());
    simulation.run_for(24 * HOUR).unwrap();
    assert!(monitor.all_up(), "all outages are over");
    (book, outages)
}

/// How late an outage may be told, and its end.
fn limits(outage: &Outage, settings: &MonitorSettings) -> (Duration, Duration) {
    let round = settings.interval + settings.timeout;
    // Links delay by less than a second, but a packet in a thousand is sent again.
    let travel = 2 * SECOND;
    match (outage.target.starts_with("hold"), outage.kind) {
        (false, _) => (round, round + travel),
        (true, Kill | Reset) => (travel, settings.backoff.max + settings.timeout),
        (true, _) => (settings.lost_after.unwrap(), settings.backoff.max + settings.timeout),
    }
}

fn causes(outage: &Outage) -> &'static [DownCause] {
    match (outage.target.starts_with("hold"), outage.kind) {
        (true, Kill) => &[DownCause::Closed],
        (true, Reset) => &[DownCause::Reset],
        (true, _) => &[DownCause::Broken, DownCause::TimedOut],
        (false, Kill | Refusal) => &[DownCause::Refused],
        (false, _) => &[DownCause::TimedOut],
    }
}

#[test]
fn every_outage_of_a_day_is_reported_once_without_false_alarms() {
    let settings = MonitorSettings { interval: MINUTE, ..MonitorSettings::default() };
    let seen = Simulation::explore(0..2, |simulation| {
        let (book, outages) = a_day(simulation, &settings);
        assert!(outages.len() > 50, "a day has {} outages", outages.len());
        let mut told: BTreeMap<String, Vec<Told>> = book.0.borrow().clone();
        for events in told.values_mut() {
            // Another cause of the same outage is no outage.
            events.retain(|told| !matches!(told.change, Change::StillDown { .. }));
            let first = events.remove(0);
            assert!(matches!(first.change, Change::Up { down_for: None, .. }), "{first:?}");
        }
        for outage in &outages {
            let (target, kind) = (&outage.target, outage.kind);
            let (late, late_end) = limits(outage, &settings);
            let events = told.get_mut(target).unwrap();
            assert!(events.len() >= 2, "{target}: {kind} at {:?} was missed", outage.time);
            let end = events.remove(1);
            let begin = events.remove(0);
            let since = |time: SystemTime, told: &Told| told.wall.duration_since(time);
            let lateness =
                since(outage.time.start, &begin).unwrap_or_else(|_| panic!("{begin:?} came early"));
            assert!(lateness <= late, "{target}: {kind} was told after {lateness:?}");
            assert!(matches!(begin.change, Change::Down { .. }), "{target}: {kind}: {begin:?}");
            assert!(causes(outage).contains(&begin.cause().unwrap()), "{target}: {kind}: {begin:?}");
            let lateness = since(outage.time.end, &end).unwrap_or_else(|_| panic!("{end:?} came early"));
            assert!(lateness <= late_end, "{target}: the end of {kind} was told after {lateness:?}");
            let Change::Up { down_for: Some(down_for), .. } = end.change else { panic!("{target}: {end:?}") };
            assert_eq!(down_for, end.wall.duration_since(begin.wall).unwrap(), "{target}");
        }
        for (target, left) in told {
            assert!(left.is_empty(), "false alarms of {target}: {left:?}");
        }
    });
    for kind in HELD.iter().chain(PROBED) {
        assert!(seen.coverage.fault(*kind) > 0, "{kind} was never tried");
    }
}

#[test]
fn the_same_seed_tells_the_same_story() {
    let settings = MonitorSettings { interval: 5 * MINUTE, ..MonitorSettings::default() };
    let story = |seed| {
        let mut simulation = Simulation::new(seed);
        let (book, _) = a_day(&mut simulation, &settings);
        (format!("{:?}", book.0.borrow()), simulation.trace_hash())
    };
    assert_eq!(story(3), story(3));
    assert_ne!(story(3).1, story(4).1);
}

// -- one thing at a time --

/// A watcher, a server, and what the monitor tells of `held` and `probed`, after they have been up for a minute.
fn one_server(seed: u64) -> (Simulation, Host, Host, Book) {
    let mut simulation = Simulation::new(seed);
    let (host, watcher) = (server(&mut simulation, "server"), simulation.host("watcher"));
    let (book, settings) =
        (Book::default(), MonitorSettings { every_result: false, ..MonitorSettings::default() });
    book.watch(&mut simulation, watcher, &["held=hold://server:80", "probed=tcp://server:80"], settings);
    simulation.run_for(MINUTE).unwrap();
    assert_eq!((book.causes("held"), book.causes("probed")), (vec![None], vec![None]));
    book.0.borrow_mut().clear();
    (simulation, watcher, host, book)
}

#[test]
fn the_loss_of_a_held_connection_is_told_when_its_packet_comes() {
    for (kind, cause) in [(Kill, DownCause::Closed), (Reset, DownCause::Reset)] {
        let (mut simulation, watcher, host, book) = one_server(1);
        let wall = simulation.reactor(watcher).system_time();
        simulation.inject_fault(kind, host, watcher);
        // An orderly close is an outage when no other connection can be made: a look-up and a round trip later.
        simulation.run_for(Duration::from_millis(10)).unwrap();
        let told = book.of("held");
        let refused = (kind == Kill).then_some(Some(DownCause::Refused));
        assert_eq!(book.causes("held"), [Some(cause)].into_iter().chain(refused).collect::<Vec<_>>());
        // What travels takes a millisecond.
        assert_eq!(told[0].wall.duration_since(wall).unwrap(), Duration::from_millis(1), "{kind}");
    }
}

#[test]
fn a_peer_that_is_gone_is_down_within_the_time_that_was_set() {
    for lost_after in [3, 10, 60].map(Duration::from_secs) {
        for (kind, back) in
            [(Crash, false), (Partition, false), (OneWayPartition, false), (OneWayPartition, true)]
        {
            let mut simulation = Simulation::new(14);
            let (host, watcher) = (server(&mut simulation, "server"), simulation.host("watcher"));
            let (book, settings) = (
                Book::default(),
                MonitorSettings { lost_after: Some(lost_after), ..MonitorSettings::default() },
            );
            book.watch(&mut simulation, watcher, &["held=hold://server:80"], settings);
            simulation.run_for(HOUR).unwrap();
            assert_eq!(book.causes("held"), [None], "a peer that answers is left alone");
            let (one, other) = if back { (watcher, host) } else { (host, watcher) };
            simulation.inject_fault(kind, one, other);
            simulation.run_for(lost_after).unwrap();
            let told = book.causes("held");
            assert_eq!(told.get(1), Some(&Some(DownCause::Broken)), "{kind} {back} {lost_after:?}: {told:?}");
        }
    }
}

#[test]
fn a_lookup_failure_is_reported_but_keeps_a_held_connection_up() {
    let (mut simulation, watcher, host, book) = one_server(2);
    simulation.inject_fault(FaultKind::NameFailure, watcher, host);
    simulation.run_for(MINUTE).unwrap();
    assert_eq!(book.causes("probed"), [Some(DownCause::Unresolved)]);
    simulation.clear_fault(FaultKind::NameFailure, watcher, host);
    simulation.run_for(MINUTE).unwrap();
    assert_eq!(book.causes("probed"), [Some(DownCause::Unresolved), None]);
    assert_eq!(book.causes("held"), []);
}

#[test]
fn a_watcher_without_descriptors_says_that_it_is_its_own_fault() {
    let (mut simulation, watcher, _, book) = one_server(3);
    simulation.set_descriptor_limit(watcher, 0);
    simulation.run_for(MINUTE).unwrap();
    assert_eq!(book.causes("probed"), [Some(DownCause::Local)]);
    simulation.set_descriptor_limit(watcher, 1024);
    simulation.run_for(MINUTE).unwrap();
    assert_eq!(book.causes("probed"), [Some(DownCause::Local), None]);
    assert_eq!(book.causes("held"), []);
}

#[test]
fn a_closed_port_is_never_up_even_if_a_probe_self_connects() {
    Simulation::explore(0..4, |simulation| {
        let watcher = simulation.host("watcher");
        // Ports are given out in order: one of the next is that of the target.
        let near = ([127, 0, 0, 1], 9).into();
        let given = simulation.connect(watcher, near, Default::default()).unwrap().local_address().unwrap();
        let port = 32_768 + (given.port() - 32_768 + 20) % (61_000 - 32_768);
        let (probed, held) =
            (format!("probed=tcp://127.0.0.1:{port}"), format!("held=hold://127.0.0.1:{port}"));
        let settings = MonitorSettings { interval: SECOND, every_result: true, ..MonitorSettings::default() };
        let book = Book::default();
        book.watch(simulation, watcher, &[&probed, &held], settings);
        simulation.run_for(MINUTE).unwrap();
        let told = [book.of("probed"), book.of("held")].concat();
        assert!(told.len() > 60);
        assert!(told.iter().all(|told| told.cause() == Some(DownCause::Refused)), "{told:?}");
        let met = told.iter().filter(|told| matches!(told.reason, Some(Reason::SelfConnected)));
        assert_eq!(met.count(), 1, "port {port} was connected to from itself once");
    });
}

#[test]
fn a_calendar_that_jumps_and_a_clock_that_drifts_are_no_outage() {
    Simulation::explore(0..4, |simulation| {
        let (host, watcher) = (server(simulation, "server"), simulation.host("watcher"));
        let book = Book::default();
        let targets = ["held=hold://server:80", "probed=tcp://server:80"];
        book.watch(simulation, watcher, &targets, MonitorSettings::default());
        let mut random = simulation.random("clocks");
        for minute in 1..60 {
            let kind = *random.pick(&[FaultKind::ClockStep, FaultKind::ClockDrift]);
            let (host, other) = if random.chance(0.5) { (host, watcher) } else { (watcher, host) };
            simulation.at(minute * MINUTE, move |simulation| simulation.inject_fault(kind, host, other));
        }
        simulation.run_for(HOUR).unwrap();
        assert_eq!((book.causes("held"), book.causes("probed")), (vec![None], vec![None]));
    });
}

#[test]
fn a_watcher_that_was_paused_does_not_blame_its_targets() {
    Simulation::explore(0..6, |simulation| {
        // So far away that most stops meet a probe under way.
        simulation.set_links(Link::fixed(Duration::from_millis(250)));
        server(simulation, "server");
        let watcher = simulation.host("watcher");
        let book = Book::default();
        let targets = ["held=hold://server:80", "probed=tcp://server:80"];
        book.watch(
            simulation,
            watcher,
            &targets,
            MonitorSettings { interval: SECOND, ..MonitorSettings::default() },
        );
        let mut random = simulation.random("pauses");
        let mut time = MINUTE;
        while time < HOUR {
            time += random.exponential(MINUTE);
            simulation.at(time, move |simulation| simulation.pause(watcher));
            time += random.exponential(20 * SECOND);
            simulation.at(time, move |simulation| simulation.resume(watcher));
        }
        simulation.run_for(HOUR + MINUTE).unwrap();
        assert_eq!((book.causes("held"), book.causes("probed")), (vec![None], vec![None]));
    });
}

#[test]
fn a_monitor_that_is_stopped_leaves_nothing_open() {
    let mut simulation = Simulation::new(5);
    server(&mut simulation, "server");
    let watcher = simulation.host("watcher");
    let book = Book::default();
    let targets = ["hold://server:80", "tcp://server:80", "hold://server:81", "hold://nowhere:80"];
    let monitor = book.watch(&mut simulation, watcher, &targets, MonitorSettings::default());
    simulation.run_for(HOUR).unwrap();
    monitor.stop(simulation.reactor(watcher));
    let told = book.0.borrow().values().map(Vec::len).sum::<usize>();
    simulation.run_for(HOUR).unwrap();
    assert_eq!(simulation.connections(), 0);
    assert_eq!(
        (simulation.reactor(watcher).resource_count(), simulation.reactor(watcher).delayed_call_count()),
        (0, 0)
    );
    assert_eq!(book.0.borrow().values().map(Vec::len).sum::<usize>(), told, "nothing is told after the end");
}

// -- peers that close, and trouble of one's own --

/// Says `greeting` first, and closes the connection after `lifetime`.
struct Closing {
    greeting: &'static [u8],
    lifetime: Duration,
}

impl Protocol for Closing {
    fn connection_made(&mut self, transport: &mut Transport<'_>) {
        transport.write(self.greeting);
        transport.call_later(self.lifetime, |_: &mut Closing, transport| transport.lose_connection());
    }

    fn data_received(&mut self, _: &mut Transport<'_>, _: &[u8]) {}
}

fn closing_server(simulation: &mut Simulation, greeting: &'static [u8], lifetime: Duration) -> Host {
    let host = simulation.host("server");
    let serve = move || Closing { greeting, lifetime };
    simulation.boot(host, move |reactor| reactor.listen_tcp("0.0.0.0:80", serve).map(drop)).unwrap();
    host
}

#[test]
fn a_server_that_closes_idle_connections_stays_up() {
    for (greeting, after) in [(&b""[..], MINUTE), (b"SSH-2.0-x\r\n", 2 * MINUTE), (b"", SECOND)] {
        for every_result in [false, true] {
            let mut simulation = Simulation::new(6);
            closing_server(&mut simulation, greeting, after);
            let watcher = simulation.host("watcher");
            let (book, settings) =
                (Book::default(), MonitorSettings { every_result, ..MonitorSettings::default() });
            let monitor = book.watch(&mut simulation, watcher, &["hold://10.0.0.1:80"], settings);
            simulation.run_for(HOUR).unwrap();
            assert!(monitor.all_up());
            let told = book.of("hold://10.0.0.1:80");
            let told: Vec<Change> = told
                .iter()
                .map(|told| told.change)
                .filter(|c| !matches!(c, Change::StillUp { .. }))
                .collect();
            assert!(matches!(told[0], Change::Up { .. }), "{told:?}");
            let count = u32::try_from(told.len() - 1).unwrap();
            let expected = u32::try_from(HOUR.as_millis() / (after.as_millis() + 5)).unwrap();
            match every_result {
                false => assert_eq!(count, 1, "told once: {told:?}"),
                true => assert!(expected <= count && count <= 3600, "{count} of {expected}"),
            }
            for (change, number) in told[1..].iter().zip(1..) {
                let Change::Reconnected { after: lasted, idle, gap, count, .. } = *change else {
                    panic!("{change:?}")
                };
                assert_eq!((lasted, idle, count), (after + WAYS, greeting.is_empty(), number));
                // A round trip, and nothing more.
                assert_eq!(gap, Duration::from_millis(2));
            }
        }
    }
}

/// The server counts from the third leg of the handshake, and its FIN has a way as well: a millisecond each.
const WAYS: Duration = Duration::from_millis(2);

#[test]
fn a_clean_close_without_a_reconnect_is_down_from_the_close() {
    let mut simulation = Simulation::new(8);
    let host = closing_server(&mut simulation, b"", MINUTE);
    let watcher = simulation.host("watcher");
    let book = Book::default();
    book.watch(&mut simulation, watcher, &["held=hold://server:80"], MonitorSettings::default());
    simulation.run_for(SECOND).unwrap();
    // From now on it answers no new connection.
    simulation.inject_fault(FaultKind::Silence, host, watcher);
    simulation.run_for(2 * MINUTE).unwrap();
    let told = book.of("held").split_off(1);
    assert_eq!(book.causes("held")[1..], [Some(DownCause::Closed), Some(DownCause::TimedOut)]);
    let Change::Down { up_for: Some(up_for), .. } = told[0].change else { panic!("{told:?}") };
    assert_eq!(up_for, MINUTE + WAYS);
    let Change::StillDown { down_for, .. } = told[1].change else { panic!("{told:?}") };
    assert_eq!(down_for, MonitorSettings::default().timeout);
    assert_eq!(told[1].wall.duration_since(told[0].wall).unwrap(), down_for);
}

/// Closes its first connection after a minute, and resets the others after `lifetime`.
struct Dying {
    first: bool,
    lifetime: Duration,
}

impl Protocol for Dying {
    fn connection_made(&mut self, transport: &mut Transport<'_>) {
        let lifetime = if self.first { MINUTE } else { self.lifetime };
        transport.call_later(lifetime, |this: &mut Dying, transport| match this.first {
            true => transport.lose_connection(),
            false => transport.abort_connection(),
        });
    }

    fn data_received(&mut self, _: &mut Transport<'_>, _: &[u8]) {}
}

#[test]
fn a_dying_servers_last_accept_is_no_reconnection() {
    for (millis, lasts) in [(0, false), (1, false), (990, false), (1_000, true), (1_500, true)] {
        for every_result in [false, true] {
            let mut simulation = Simulation::new(20);
            let (host, watcher) = (simulation.host("server"), simulation.host("watcher"));
            let (lifetime, mut count) = (Duration::from_millis(millis), 0);
            let serve = move || {
                count += 1;
                Dying { first: count == 1, lifetime }
            };
            simulation.reactor(host).listen_tcp("0.0.0.0:80", serve).unwrap();
            let (book, settings) =
                (Book::default(), MonitorSettings { every_result, ..MonitorSettings::default() });
            let midnight = simulation.reactor(watcher).system_time();
            book.watch(&mut simulation, watcher, &["held=hold://10.0.0.1:80"], settings);
            simulation.at(MINUTE + SECOND / 2, move |simulation| {
                simulation.inject_fault(FaultKind::Refusal, host, watcher);
            });
            simulation.run_for(2 * MINUTE).unwrap();
            let mut told = book.of("held");
            told.retain(|told| match told.change {
                Change::StillUp { .. } => false,
                Change::StillDown { new_cause, .. } => new_cause,
                _ => true,
            });
            let causes: Vec<_> = told.iter().map(Told::cause).collect();
            let (reset, closed, refused) = (DownCause::Reset, DownCause::Closed, DownCause::Refused);
            if lasts {
                assert_eq!(causes, [None, None, Some(reset), Some(refused)], "{millis}: {told:?}");
                let Change::Reconnected { gap, .. } = told[1].change else { panic!("{told:?}") };
                assert_eq!(gap, Duration::from_millis(2), "when it was made, not when it was told");
                continue;
            }
            assert_eq!(causes, [None, Some(closed), Some(refused)], "{millis}: {told:?}");
            let Change::Down { up_for: Some(up_for), .. } = told[1].change else { panic!("{told:?}") };
            assert_eq!(up_for, MINUTE + WAYS);
            let since = told[1].wall.duration_since(midnight).unwrap();
            assert!(since < MINUTE + SECOND / 100, "{since:?}");
        }
    }
}

#[test]
fn a_connection_is_idle_whatever_the_one_before_has_heard() {
    let mut simulation = Simulation::new(16);
    let host = simulation.host("server");
    let greeting = Rc::new(Cell::new(&b"hello"[..]));
    let shared = Rc::clone(&greeting);
    let serve = move || Closing { greeting: shared.get(), lifetime: MINUTE };
    simulation.reactor(host).listen_tcp("0.0.0.0:80", serve).unwrap();
    let watcher = simulation.host("watcher");
    let (book, settings) =
        (Book::default(), MonitorSettings { every_result: true, ..MonitorSettings::default() });
    book.watch(&mut simulation, watcher, &["held=hold://server:80"], settings);
    simulation.run_for(SECOND).unwrap();
    greeting.set(b"");
    simulation.run_for(2 * MINUTE + SECOND).unwrap();
    let idle = book.of("held").into_iter().filter_map(|told| match told.change {
        Change::Reconnected { idle, .. } => Some(idle),
        _ => None,
    });
    assert_eq!(idle.collect::<Vec<_>>(), [false, true]);
}

#[test]
fn a_connection_that_lasted_lets_the_waits_begin_anew() {
    let mut simulation = Simulation::new(17);
    let (host, watcher) = (simulation.host("server"), simulation.host("watcher"));
    let book = Book::default();
    book.watch(&mut simulation, watcher, &["held=hold://server:80"], MonitorSettings::default());
    // Nothing listens yet: the waits grow.
    simulation.run_for(2 * MINUTE).unwrap();
    simulation.reactor(host).listen_tcp("[::]:80", || Silent).unwrap();
    simulation.run_for(2 * MINUTE).unwrap();
    simulation.inject_fault(Reset, host, watcher);
    simulation.run_for(MINUTE).unwrap();
    let last = book.of("held").into_iter().rev().find(|told| matches!(told.change, Change::Up { .. }));
    let Some(Change::Up { down_for: Some(down_for), .. }) = last.map(|told| told.change) else { panic!() };
    assert!(down_for < 2 * SECOND, "{down_for:?}");
}

#[test]
fn a_server_that_closes_at_once_is_down_until_it_does_not() {
    let mut simulation = Simulation::new(9);
    let host = simulation.host("server");
    let lifetime = Rc::new(Cell::new(SECOND / 2));
    let shared = Rc::clone(&lifetime);
    let serve = move || Closing { greeting: b"", lifetime: shared.get() };
    simulation.reactor(host).listen_tcp("0.0.0.0:80", serve).unwrap();
    let watcher = simulation.host("watcher");
    let book = Book::default();
    let monitor =
        book.watch(&mut simulation, watcher, &["held=hold://server:80"], MonitorSettings::default());
    simulation.run_for(MINUTE).unwrap();
    let told: Vec<Change> = book.of("held").iter().map(|told| told.change).collect();
    assert!(matches!(told[0], Change::Up { .. }) && told.len() == 2, "{told:?}");
    let Change::Down { cause: DownCause::ClosesAtOnce, up_for: Some(up_for), .. } = told[1] else {
        panic!("{told:?}")
    };
    assert_eq!(up_for, SECOND / 2 + WAYS, "no connection has lasted since");
    let accepts = simulation.reactor(host).statistics().accepts;
    assert!((6..=12).contains(&accepts), "the waits grow: {accepts} connections in a minute");
    // It is well again when one of its connections lasts.
    lifetime.set(HOUR);
    simulation.run_for(10 * MINUTE).unwrap();
    let last = book.of("held").last().unwrap().change;
    assert!(matches!(last, Change::Up { down_for: Some(_), .. }), "{last:?}");
    assert!(monitor.all_up());
}

#[test]
fn a_call_that_fails_on_this_side_says_nothing_about_the_target() {
    let local: &[(CallKind, Errno)] = &[
        (CallKind::Socket, Errno::EMFILE),
        (CallKind::Socket, Errno::ENFILE),
        (CallKind::Socket, Errno::ENOBUFS),
        (CallKind::Socket, Errno::ENOMEM),
        (CallKind::Socket, Errno::EPERM),
        (CallKind::Socket, Errno::EACCES),
        (CallKind::Socket, Errno::EAFNOSUPPORT),
        (CallKind::Connect, Errno::EADDRNOTAVAIL),
        (CallKind::Connect, Errno::ENOBUFS),
        (CallKind::Connect, Errno::ENETUNREACH),
        (CallKind::Connect, Errno::ENETDOWN),
        (CallKind::Watch, Errno::ENOSPC),
        (CallKind::Watch, Errno::ENOMEM),
    ];
    let other = [(CallKind::Connect, Errno::EPERM)];
    for (call, errno) in local.iter().chain(&other).copied() {
        let (mut simulation, watcher, _, book) = one_server(10);
        let fault = Fault::fail(call, errno).on(watcher).between(MINUTE, 2 * MINUTE);
        simulation.add_rule(fault);
        simulation.run_for(2 * MINUTE).unwrap();
        let told = book.of("probed");
        let cause = told[0].cause().unwrap();
        assert_eq!(cause == DownCause::Local, local.contains(&(call, errno)), "{call} {errno}: {cause:?}");
        assert_eq!(told[0].change.is_unknown(), cause == DownCause::Local, "{call} {errno}: {told:?}");
        assert!(told.len() == 2 && told[1].change.is_up(), "{call} {errno}: {told:?}");
        assert_eq!(book.causes("held"), [], "{call} {errno}");
    }
}

/// Every handshake is answered with this error.
struct Answers(Errno);

impl Rule for Answers {
    fn packet(&mut self, packet: &Packet, _: &mut Random) -> Verdict {
        if packet.kind == PacketKind::Syn { Verdict::Fail(self.0) } else { Verdict::Pass }
    }
}

#[test]
fn a_route_missing_here_is_unknown_one_missing_there_is_down() {
    for errno in [Errno::ENETUNREACH, Errno::ENETDOWN, Errno::EHOSTUNREACH] {
        let (mut simulation, watcher, _, book) = one_server(21);
        let fault = Fault::fail(CallKind::Connect, errno).on(watcher).between(MINUTE, 2 * MINUTE);
        simulation.add_rule(fault);
        simulation.run_for(2 * MINUTE).unwrap();
        simulation.add_rule(Answers(errno));
        simulation.run_for(MINUTE).unwrap();
        let told = book.of("probed");
        let causes: Vec<_> = told.iter().map(Told::cause).collect();
        assert_eq!(causes, [Some(DownCause::Local), None, Some(DownCause::NoRoute)], "{errno}");
        let text = told[0].reason.as_ref().unwrap().to_string();
        assert!(text.starts_with("this machine has no route to it: "), "{text}");
        assert!(matches!(told[2].reason, Some(Reason::NoRoute(_))), "{errno}: {told:?}");
    }
}

#[test]
fn a_close_that_this_side_cannot_follow_is_unknown_since_then() {
    let mut simulation = Simulation::new(11);
    closing_server(&mut simulation, b"", MINUTE);
    let watcher = simulation.host("watcher");
    let book = Book::default();
    let monitor =
        book.watch(&mut simulation, watcher, &["held=hold://server:80"], MonitorSettings::default());
    let midnight = simulation.reactor(watcher).system_time();
    simulation.add_rule(Fault::fail(CallKind::Socket, Errno::EMFILE).on(watcher).between(SECOND, 2 * MINUTE));
    simulation.run_for(119 * SECOND).unwrap();
    let told = book.of("held");
    let Change::Unknown { cause: DownCause::Local, up_for: Some(up_for), .. } = told[1].change else {
        panic!("{told:?}")
    };
    assert_eq!((up_for, told.len()), (MINUTE + WAYS, 2));
    let since = told[1].wall.duration_since(midnight).unwrap();
    assert!(since >= MINUTE && since < MINUTE + SECOND / 10, "{since:?}");
    assert!(!monitor.all_up());
    simulation.run_for(MINUTE).unwrap();
    assert!(monitor.all_up());
}

#[test]
fn trouble_of_this_side_is_warned_of_once_a_second() {
    warnings::begin();
    let mut simulation = Simulation::new(15);
    server(&mut simulation, "server");
    let watcher = simulation.host("watcher");
    let targets: Vec<String> = (0..50).map(|number| format!("n{number}=tcp://10.0.0.1:80")).collect();
    let targets: Vec<&str> = targets.iter().map(String::as_str).collect();
    let settings = MonitorSettings { interval: SECOND / 10, ..MonitorSettings::default() };
    Book::default().watch(&mut simulation, watcher, &targets, settings);
    simulation.run_for(5 * SECOND).unwrap();
    assert_eq!(warnings::take(), [""; 0]);
    simulation.set_descriptor_limit(watcher, 0);
    simulation.run_for(10 * SECOND - SECOND / 100).unwrap();
    let logged = warnings::take();
    assert_eq!(logged.len(), 10, "{logged:?}");
    let words = "unknown targets: 50 of 50, for a reason of this machine: connection failed: socket: ";
    assert!(logged.iter().all(|line| line.starts_with(words)), "{logged:?}");
    simulation.set_descriptor_limit(watcher, 1024);
    simulation.run_for(5 * SECOND).unwrap();
    assert!(warnings::take().len() <= 1, "it is over");
    // Some of the targets are held, and stay up: the others are counted for a second.
    let targets: Vec<String> = (0..50)
        .map(|number| format!("n{number}={}://10.0.0.1:80", if number < 10 { "hold" } else { "tcp" }))
        .collect();
    let targets: Vec<&str> = targets.iter().map(String::as_str).collect();
    let watcher = simulation.host("another watcher");
    let settings = MonitorSettings { interval: SECOND, ..MonitorSettings::default() };
    let monitor = Book::default().watch(&mut simulation, watcher, &targets, settings);
    simulation.run_for(5 * SECOND).unwrap();
    simulation.set_descriptor_limit(watcher, 0);
    simulation.run_for(SECOND / 2).unwrap();
    assert_eq!(warnings::take(), [""; 0]);
    simulation.run_for(SECOND).unwrap();
    let logged = warnings::take();
    assert!(logged.len() == 1 && logged[0].starts_with("unknown targets: 40 of 50, "), "{logged:?}");
    // What waits is said at the end, and no call is left.
    simulation.run_for(SECOND / 10).unwrap();
    monitor.stop(simulation.reactor(watcher));
    assert_eq!(warnings::take().len(), 1);
    assert_eq!(simulation.reactor(watcher).delayed_call_count(), 0);
}

#[test]
fn the_summary_tells_what_is_unknown_and_what_was_closed() {
    let mut simulation = Simulation::new(12);
    closing_server(&mut simulation, b"", MINUTE);
    let watcher = simulation.host("watcher");
    let targets = ["hold://server:80", "tcp://server:80"].map(|target| target.parse().unwrap());
    let out = Shared::default();
    let json = JsonReporter::new(out.clone());
    let monitor =
        Monitor::start(simulation.reactor(watcher), targets.into(), MonitorSettings::default(), json);
    simulation.run_for(90 * SECOND).unwrap();
    simulation.set_descriptor_limit(watcher, 0);
    simulation.run_for(15 * SECOND).unwrap();
    monitor.summary(simulation.reactor(watcher));
    let text = String::from_utf8(out.0.borrow().clone()).unwrap();
    let [probed, held] = text.lines().rev().take(2).collect::<Vec<_>>()[..] else { panic!("{text}") };
    assert!(
        held.contains(r#""state":"up","reason":null,"#) && held.contains(r#""losses":0,"reconnects":1,"#),
        "{held}"
    );
    let unknown = r#""state":"unknown","reason":"local","#;
    assert!(probed.contains(unknown) && probed.contains(r#""uptime":1.0,"losses":0,"#), "{probed}");
    assert!(text.contains(r#""event":"unknown""#) && text.contains(r#""event":"reconnected""#), "{text}");
    assert!(!text.contains(r#""event":"down""#), "{text}");
}

/// What was written, for all who hold a clone.
#[derive(Clone, Default)]
struct Shared(Rc<RefCell<Vec<u8>>>);

impl std::io::Write for Shared {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.borrow_mut().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[test]
fn targets_that_are_looked_at_once_need_not_wait_for_each_other() {
    for latency in [Duration::ZERO, Duration::from_millis(15)] {
        let mut simulation = Simulation::new(13);
        simulation.set_links(Link::fixed(latency));
        server(&mut simulation, "server");
        let watcher = simulation.host("watcher");
        let targets: Vec<String> = (0..200).map(|number| format!("n{number}=tcp://server:80")).collect();
        let targets: Vec<&str> = targets.iter().map(String::as_str).collect();
        let book = Book::default();
        let settings = MonitorSettings { rounds: Some(1), ..MonitorSettings::default() };
        let monitor = book.watch(&mut simulation, watcher, &targets, settings);
        // Two seconds, if each waited for a hundredth of a second.
        simulation.run_for(SECOND / 2).unwrap();
        assert!(monitor.all_up(), "{latency:?}");
        let told = book.0.borrow();
        assert_eq!(told.len(), 200);
        for told in told.values() {
            let Change::Up { took, .. } = told[0].change else { panic!("{told:?}") };
            assert!(took <= 2 * latency + Duration::from_micros(100), "measured itself: {took:?}");
        }
    }
}

#[test]
fn no_more_than_32_targets_are_looked_at_in_a_row() {
    let mut simulation = Simulation::new(18);
    simulation.set_links(Link::fixed(SECOND / 10));
    let host = server(&mut simulation, "server");
    let watcher = simulation.host("watcher");
    let targets: Vec<String> = (0..200).map(|number| format!("n{number}=tcp://10.0.0.1:80")).collect();
    let targets: Vec<&str> = targets.iter().map(String::as_str).collect();
    let settings = MonitorSettings { rounds: Some(1), ..MonitorSettings::default() };
    let monitor = Book::default().watch(&mut simulation, watcher, &targets, settings);
    // The others begin one each hundredth of a second, until the first have ended.
    simulation.run_for(SECOND * 39 / 100).unwrap();
    let accepts = simulation.reactor(host).statistics().accepts;
    assert!((32..=60).contains(&accepts), "{accepts}");
    simulation.run_for(3 * SECOND).unwrap();
    assert!(monitor.all_up());
}

#[test]
fn a_time_out_of_the_targets_own_goes_before_the_settings() {
    let mut simulation = Simulation::new(19);
    let (host, watcher) = (server(&mut simulation, "server"), simulation.host("watcher"));
    simulation.inject_fault(FaultKind::Silence, host, watcher);
    let book = Book::default();
    let targets = ["own=tcp:server:80:timeout=2", "set=tcp:server:80"];
    book.watch(&mut simulation, watcher, &targets, MonitorSettings::default());
    simulation.run_for(6 * SECOND).unwrap();
    for (target, seconds) in [("own", 2), ("set", 5)] {
        let Change::Down { took: Some(took), .. } = book.of(target)[0].change else { panic!() };
        assert_eq!(took.as_secs(), seconds, "{target}");
    }
}
