//! A load finds what a server does wrong, and measures what it does slowly; in a simulated network, where the truth is known.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use twistor::endpoint::{ClientEndpoint, client_from_string};
use twistor::load::{Corruption, Limit, LoadConfig, LoadError, LoadTest, Mismatch, Report, Workload};
use twistor::policy::{RateLimits, throttled};
use twistor::sim::{
    CallKind, Chaos, Errno, Fault, FaultKind, Host, Latency, Link, PacketKind, Simulation, Verdict,
};
use twistor::{
    Address, ClientFactory, ConnectorId, DatagramProtocol, DatagramTransport, Protocol, Reactor, Transport,
};

/// An echo server with a fault: what it does with the bytes that come, given how many came on this connection before.
struct Server<F> {
    seen: usize,
    fault: F,
}

impl<F: FnMut(usize, &mut Vec<u8>, &mut Transport<'_>) + 'static> Protocol for Server<F> {
    fn data_received(&mut self, transport: &mut Transport<'_>, data: &[u8]) {
        let mut data = data.to_vec();
        let before = self.seen;
        self.seen += data.len();
        (self.fault)(before, &mut data, transport);
        transport.write(&data);
    }
}

struct World {
    simulation: Simulation,
    server: Host,
    client: Host,
}

/// A server with this fault on its first connection, a millisecond away; the others are right.
fn world(seed: u64, fault: impl FnMut(usize, &mut Vec<u8>, &mut Transport<'_>) + Clone + 'static) -> World {
    let mut simulation = Simulation::new(seed);
    let (server, client) = (simulation.host("server"), simulation.host("client"));
    simulation.set_links(Link::fixed(Duration::from_millis(1)));
    let mut connections = 0;
    let new = move || {
        connections += 1;
        let (wrong, mut fault) = (connections == 1, fault.clone());
        let fault = move |seen: usize, data: &mut Vec<u8>, transport: &mut Transport<'_>| {
            if wrong {
                fault(seen, data, transport);
            }
        };
        Server { seen: 0, fault }
    };
    simulation.reactor(server).listen_tcp("0.0.0.0:7", new).unwrap();
    World { simulation, server, client }
}

fn right(_: usize, _: &mut Vec<u8>, _: &mut Transport<'_>) {}

impl World {
    fn begin(&mut self, config: LoadConfig) -> LoadTest {
        // By number: looking names up takes its time, and changes the order.
        let server = format!("tcp:{}:7", self.simulation.address(self.server));
        LoadTest::start(self.simulation.reactor(self.client), client_from_string(&server).unwrap(), config)
            .unwrap()
    }

    /// Runs a load to its end; nothing of it is left then.
    fn run(&mut self, config: LoadConfig) -> Report {
        let load = self.begin(config);
        self.end(&load)
    }

    fn end(&mut self, load: &LoadTest) -> Report {
        self.simulation.run_until(|_| load.is_finished()).unwrap();
        let report = load.report();
        self.simulation.run_until_idle(Duration::from_secs(3600)).unwrap();
        assert_eq!(self.simulation.reactor(self.client).resource_count(), 0, "{report}");
        assert_eq!(self.simulation.panics(), 0);
        report
    }
}

/// One connection after the other: the server's first is the client's first.
fn config() -> LoadConfig {
    LoadConfig {
        connections: 3,
        max_connecting: 1,
        duration: Duration::from_secs(1),
        ..LoadConfig::default()
    }
}

fn mismatch(report: &Report) -> &Mismatch {
    match &report.totals.first_errors[..] {
        [LoadError::Wrong(mismatch)] => mismatch,
        first_errors => panic!("not one mismatch: {first_errors:?}"),
    }
}

fn millis(time: Option<Duration>) -> f64 {
    time.unwrap().as_secs_f64() * 1e3
}

#[test]
fn without_a_rate_a_message_follows_each_answer() {
    for depth in [1, 4] {
        let report = world(1, right).run(LoadConfig { depth, ..config() });
        assert!(report.is_success(), "{report}");
        // There and back takes two milliseconds.
        assert_eq!(report.totals.messages, 3 * 500 * depth as u64);
        assert_eq!(report.totals.bytes, report.totals.messages * 64);
        assert_eq!(millis(report.totals.latencies.min()).round(), 2.0);
        assert_eq!(report.totals.latencies.max(), Some(Duration::from_millis(2)));
        assert_eq!(report.totals.connects.max(), Some(Duration::from_millis(2)));
        assert_eq!((report.totals.connected, report.totals.open, report.totals.lost), (3, 3, 0));
        assert!(report.totals.since_sent.is_empty() && report.totals.lateness.is_empty());
    }
}

#[test]
fn with_a_rate_exactly_what_was_due_is_sent() {
    for work in [Workload::Echo, Workload::Churn] {
        let config = LoadConfig { work, rate: Some(1000.0), connections: 10, ..config() };
        let report = world(1, right).run(config);
        assert!(report.is_success(), "{report}");
        assert_eq!((report.totals.messages, report.totals.unsent), (1000, 0));
        assert_eq!(report.totals.lateness.max(), Some(Duration::ZERO), "in virtual time no message is late");
    }
}

#[test]
fn one_corrupted_byte_is_found_with_its_connection_and_place() {
    let fault = |seen: usize, data: &mut Vec<u8>, _: &mut Transport<'_>| {
        if let Some(byte) = 1_000_usize.checked_sub(seen).and_then(|place| data.get_mut(place)) {
            *byte ^= 0x20;
        }
    };
    for size in [1, 64, 1000, 100_000] {
        // A few round trips of long messages are hundreds of megabytes.
        let duration = Duration::from_millis(if size > 1000 { 50 } else { 1000 });
        let report = world(2, fault).run(LoadConfig { size, depth: 8, duration, ..config() });
        let found = mismatch(&report);
        assert_eq!((found.connection, found.offset, found.what), (1, 1_000, Corruption::Changed), "{size}");
        assert_eq!(found.message, 1_000 / size as u64 + 1);
        assert_eq!(found.expected.map(|byte| byte ^ 0x20), Some(found.found));
        assert!(!report.is_success() && report.totals.lost == 1 && report.totals.open == 2);
        assert!(report.totals.messages > 0, "the others went on");
    }
}

#[test]
fn swapped_lost_and_doubled_messages_are_all_detected() {
    let swapped = |seen: usize, data: &mut Vec<u8>, _: &mut Transport<'_>| {
        if (seen, data.len()) == (6400, 640) {
            data[..128].rotate_left(64);
        }
    };
    let report = world(3, swapped).run(LoadConfig { depth: 10, ..config() });
    let found = mismatch(&report);
    assert_eq!((found.connection, found.message, found.what), (1, 101, Corruption::LeftOut(64)));

    let lost = |seen: usize, data: &mut Vec<u8>, _: &mut Transport<'_>| {
        if seen == 6400 {
            data.drain(..64);
        }
    };
    let found = mismatch(&world(3, lost).run(LoadConfig { depth: 10, ..config() })).clone();
    assert_eq!((found.offset, found.what), (6400, Corruption::LeftOut(64)));

    let doubled = |seen: usize, data: &mut Vec<u8>, _: &mut Transport<'_>| {
        if seen == 6400 {
            data.splice(64..64, data[..64].to_vec());
        }
    };
    let found = mismatch(&world(3, doubled).run(LoadConfig { depth: 10, ..config() })).clone();
    assert_eq!((found.offset, found.what), (6464, Corruption::Repeated(64)));
}

#[test]
fn bytes_of_another_connection_and_bytes_too_many_are_found() {
    let last: Rc<RefCell<Vec<u8>>> = Rc::default();
    let mut simulation = Simulation::new(4);
    let (server, client) = (simulation.host("server"), simulation.host("client"));
    simulation.set_links(Link::fixed(Duration::from_millis(1)));
    // The second connection is once answered with what came on the first.
    let mut connections = 0;
    let new = move || {
        connections += 1;
        let (first, last) = (connections == 1, Rc::clone(&last));
        let fault = move |seen: usize, data: &mut Vec<u8>, _: &mut Transport<'_>| match first {
            true => last.replace(data.clone()).clear(),
            false if seen == 6400 => data.clone_from(&last.borrow()),
            false => {}
        };
        Server { seen: 0, fault }
    };
    simulation.reactor(server).listen_tcp("0.0.0.0:7", new).unwrap();
    let report = World { simulation, server, client }.run(LoadConfig { connections: 2, ..config() });
    let found = mismatch(&report);
    assert_eq!((found.connection, found.offset, found.what), (2, 6400, Corruption::Elsewhere));

    let more = |seen: usize, data: &mut Vec<u8>, _: &mut Transport<'_>| {
        if seen == 640 {
            data.push(0);
        }
    };
    let found = mismatch(&world(4, more).run(config())).clone();
    assert_eq!((found.offset, found.expected, found.what), (704, None, Corruption::TooMany));
}

#[test]
fn a_lost_connection_has_its_reason_and_the_others_go_on() {
    let closes = |seen: usize, data: &mut Vec<u8>, transport: &mut Transport<'_>| {
        if seen >= 6400 {
            data.clear();
            transport.lose_connection();
        }
    };
    let resets = |seen: usize, _: &mut Vec<u8>, transport: &mut Transport<'_>| {
        if seen >= 6400 {
            transport.abort_connection();
        }
    };
    for (report, why) in [
        (world(5, closes).run(config()), "the server closed it"),
        (world(5, resets).run(config()), "connection lost: "),
    ] {
        match &report.totals.first_errors[..] {
            [LoadError::Lost { connection: 1, in_flight: 1, reason, after }] => {
                assert!(reason.starts_with(why), "{reason}");
                assert!((200..210).contains(&after.as_millis()), "{report}");
            }
            first_errors => panic!("not one loss: {first_errors:?}"),
        }
        assert_eq!((report.totals.messages, report.totals.unanswered), (500 * 2 + 100, 1), "{report}");
    }
}

#[test]
fn a_load_whose_connections_are_all_lost_ends_early() {
    let resets = |seen: usize, _: &mut Vec<u8>, transport: &mut Transport<'_>| {
        if seen >= 640 {
            transport.abort_connection();
        }
    };
    for rate in [None, Some(1000.0)] {
        let report = world(6, resets).run(LoadConfig { connections: 1, rate, ..config() });
        assert_eq!((report.totals.lost, report.totals.open), (1, 0));
        assert!(report.totals.elapsed < Duration::from_millis(100), "{report}");
    }
}

#[test]
fn refusals_are_reported_and_end_an_unconnected_load_at_once() {
    for work in [Workload::Echo, Workload::Churn, Workload::Hold { interval: None }] {
        let mut world = world(7, right);
        world.simulation.refuse(world.server, None);
        let load = world.begin(LoadConfig { work, connections: 300, ..config() });
        world.simulation.run_until(|_| load.is_finished()).unwrap();
        let took = world.simulation.now().since_origin();
        assert!(took < Duration::from_secs(1), "{work:?}: {took:?}");
        let report = world.end(&load);
        assert!(!report.is_success() && report.totals.connected == 0);
        let errors: Vec<_> = report.totals.errors.iter().collect();
        assert_eq!(errors, [(&("connect", "connection refused".to_owned()), &300)], "{work:?}");
        let due = if work == Workload::Churn { 300 } else { 0 };
        assert_eq!(report.totals.latencies.count(), due, "only an exchange begins with its connection");
    }
}

#[test]
fn a_stall_is_seen_by_all_the_messages_that_were_due_in_it() {
    for (work, connections, depth) in [
        (Workload::Echo, 10, 1),
        (Workload::Echo, 10, 100),
        (Workload::Churn, 200, 1),
        (Workload::Churn, 2000, 1),
    ] {
        let mut world = world(8, right);
        let duration = Duration::from_secs(10);
        let server = world.server;
        // The server stands still for the sixth of ten seconds.
        world.simulation.at(Duration::from_secs(5), move |simulation| simulation.pause(server));
        world.simulation.at(Duration::from_secs(6), move |simulation| simulation.resume(server));
        let config = LoadConfig { work, connections, depth, duration, rate: Some(400.0), ..config() };
        let report = world.run(config);
        let latencies = &report.totals.latencies;
        assert!(report.is_success() && report.totals.messages == 4_000, "{report}");
        // A tenth of all was due while it stood still, and waited from no time to a second.
        // With one message at a time it takes a while until those behind are made up for.
        let (p85, p95, p99) = (85.0, 95.0, 99.0);
        let [p85, p95, p99] = [p85, p95, p99].map(|percent| millis(latencies.percentile(percent)));
        assert!(p85 < 10.0 && (490.0..700.0).contains(&p95) && (890.0..950.0).contains(&p99), "{report}");
        assert!((millis(latencies.max()) - 1000.0).abs() < 10.0, "{report}");
        // The generator was not to blame.
        assert_eq!(report.totals.lateness.max(), Some(Duration::ZERO));
        if work == Workload::Echo && depth == 1 {
            // Few messages were under way: from the sending, hardly any would have seen it.
            assert!(millis(report.totals.since_sent.percentile(99.0)) < 10.0, "{report}");
        }
    }
}

#[test]
fn a_stall_at_the_end_counts_too() {
    let mut world = world(9, right);
    let server = world.server;
    world.simulation.at(Duration::from_millis(500), move |simulation| simulation.pause(server));
    world.simulation.at(Duration::from_secs(3), move |simulation| simulation.resume(server));
    let report = world.run(LoadConfig { rate: Some(1000.0), ..config() });
    assert!(report.is_success(), "{report}");
    assert_eq!((report.totals.messages, report.totals.unsent), (1000, 0));
    assert!(millis(report.totals.latencies.percentile(60.0)) > 2000.0, "{report}");
}

#[test]
fn a_stopped_server_leaves_messages_unanswered_and_unsent() {
    for work in [Workload::Echo, Workload::Churn] {
        let mut world = world(10, right);
        let server = world.server;
        world.simulation.at(Duration::from_millis(500), move |simulation| simulation.pause(server));
        let load = world.begin(LoadConfig { work, rate: Some(1000.0), ..config() });
        world.simulation.run_until(|_| load.is_finished()).unwrap();
        let report = load.report();
        let totals = &report.totals;
        assert_eq!(totals.unanswered, if work == Workload::Echo { 3 } else { totals.unanswered }, "{report}");
        assert_eq!(totals.messages + totals.unanswered + totals.unsent, 1000, "{work:?} {report}");
        assert_eq!(totals.latencies.count(), 1000, "all that was due counts: {work:?} {report}");
        assert!(millis(totals.latencies.percentile(60.0)) > 5000.0, "{work:?} {report}");
        assert_eq!(report.bottlenecks, [], "no limit was hit");
        assert!(!report.is_success() && totals.unsent > 400, "{report}");
        let end = world.simulation.now().since_origin().as_secs_f64();
        assert!((6.0..6.1).contains(&end), "it waited for its drain timeout, and no longer: {end}");
    }
}

#[test]
fn a_slow_server_is_measured_as_slow() {
    let mut world = world(11, right);
    let latency = Latency::Fixed(Duration::from_millis(40));
    world.simulation.set_links(Link { latency, ..Link::default() });
    let report = world.run(config());
    let totals = &report.totals;
    assert_eq!(millis(totals.latencies.percentile(50.0)).round(), 80.0);
    assert_eq!(millis(totals.connects.max()).round(), 80.0);
    // Three connections, each with a message in eighty milliseconds; the last ones end after the end.
    assert_eq!((totals.messages, totals.elapsed), (3 * 13, Duration::from_millis(1040)), "{report}");
}

#[test]
fn what_is_warm_up_does_not_count() {
    let mut world = world(12, right);
    let server = world.server;
    // The stall is over before the warm-up is.
    world.simulation.at(Duration::from_millis(100), move |simulation| simulation.pause(server));
    world.simulation.at(Duration::from_millis(900), move |simulation| simulation.resume(server));
    let warm_up = Duration::from_secs(1);
    let report = world.run(LoadConfig { warm_up, connections: 30, rate: Some(1000.0), ..config() });
    assert!(report.is_success(), "{report}");
    assert_eq!(
        (report.totals.messages, report.totals.elapsed),
        (1000, Duration::from_millis(1001)),
        "{report}"
    );
    assert!(millis(report.totals.latencies.max()) < 5.0, "{report}");
}

#[test]
fn connections_are_opened_evenly_over_the_ramp() {
    let mut world = world(13, right);
    let load = world.begin(LoadConfig { connections: 100, ramp: Duration::from_secs(10), ..config() });
    for second in 1..10 {
        world.simulation.run_for(Duration::from_secs(1)).unwrap();
        let now = world.simulation.reactor(world.client).now();
        assert_eq!(load.progress(now).open, second * 10);
        assert_eq!(load.progress(now).running, None);
    }
    assert!(world.end(&load).is_success());
}

#[test]
fn held_connections_are_idle_and_answer_at_the_end() {
    let mut world = world(14, right);
    let work = Workload::Hold { interval: None };
    let report =
        world.run(LoadConfig { work, connections: 500, duration: Duration::from_secs(3600), ..config() });
    assert!(report.is_success(), "{report}");
    assert_eq!((report.totals.open, report.totals.messages), (500, 500));
    assert!(report.totals.elapsed >= Duration::from_secs(3600));
}

#[test]
fn a_held_connection_that_is_lost_is_told_at_once() {
    let mut world = world(15, right);
    let (server, client) = (world.server, world.client);
    world.simulation.at(Duration::from_secs(60), move |simulation| {
        simulation.reset_connections(server, client);
    });
    let work = Workload::Hold { interval: None };
    let load =
        world.begin(LoadConfig { work, connections: 4, duration: Duration::from_secs(3600), ..config() });
    let told: Rc<RefCell<Vec<LoadError>>> = Rc::default();
    let observed = Rc::clone(&told);
    load.on_error(move |trouble| observed.borrow_mut().push(trouble.clone()));
    world.simulation.run_for(Duration::from_secs(61)).unwrap();
    assert_eq!(told.borrow().len(), 4);
    assert!(told.borrow().iter().all(|trouble| matches!(trouble, LoadError::Lost { in_flight: 0, .. })));
    let report = world.end(&load);
    assert_eq!((report.totals.lost, report.totals.open), (4, 0));
}

#[test]
fn held_connections_send_one_message_per_interval_on_request() {
    let mut world = world(16, right);
    let work = Workload::Hold { interval: Some(Duration::from_secs(30)) };
    let report =
        world.run(LoadConfig { work, connections: 100, duration: Duration::from_secs(300), ..config() });
    assert!(report.is_success(), "{report}");
    // In ten intervals, and at the end.
    assert_eq!(report.totals.messages, 100 * 11, "{report}");
}

#[test]
fn churn_makes_uses_and_closes_one_connection_after_the_other() {
    for reset in [false, true] {
        let report = world(17, right).run(LoadConfig { work: Workload::Churn, reset, ..config() });
        assert!(report.is_success(), "{report}");
        assert_eq!(report.totals.messages, report.totals.connected);
        // Two milliseconds to connect, two for the message.
        assert_eq!(report.totals.latencies.max(), Some(Duration::from_millis(4)));
        assert!(report.totals.messages >= 3 * 160, "{report}");
    }
}

#[test]
fn a_load_that_is_stopped_tells_what_was_measured() {
    for (work, rate) in [(Workload::Echo, None), (Workload::Echo, Some(1000.0)), (Workload::Churn, None)] {
        let mut world = world(18, right);
        let load = world.begin(LoadConfig { work, rate, duration: Duration::from_secs(3600), ..config() });
        world.simulation.run_for(Duration::from_millis(1002)).unwrap();
        load.stop(world.simulation.reactor(world.client));
        let report = world.end(&load);
        assert!(report.is_success() && report.totals.messages > 400, "{report}");
        assert!(report.totals.elapsed < Duration::from_millis(1100), "{report}");
        assert_eq!((report.totals.unsent, report.totals.unanswered), (0, 0), "{report}");
    }
}

#[test]
fn no_weather_makes_a_right_server_look_wrong() {
    Simulation::explore(0..8, |simulation| {
        let mut random = simulation.random("chaos");
        let (server, client) = (simulation.host("server"), simulation.host("client"));
        let boot = |reactor: &mut Reactor| {
            reactor.listen_tcp("0.0.0.0:7", || Server { seen: 0, fault: right })?;
            Ok(())
        };
        simulation.boot(server, boot).unwrap();
        let works =
            [Workload::Echo, Workload::Churn, Workload::Hold { interval: Some(Duration::from_secs(1)) }];
        let work = *random.pick(&works);
        let config = LoadConfig {
            work,
            connections: 1 + random.index(20),
            size: *random.pick(&[1, 64, 5_000, 100_000]),
            depth: *random.pick(&[1, 2, 16]),
            rate: random.chance(0.5).then_some(500.0).filter(|_| !matches!(work, Workload::Hold { .. })),
            duration: Duration::from_secs(3),
            ..LoadConfig::default()
        };
        simulation.start_chaos(Chaos { strikes: Vec::new(), ..Chaos::draw(&mut random) });
        let reactor = simulation.reactor(client);
        let load = LoadTest::start(reactor, client_from_string("tcp:server:7").unwrap(), config).unwrap();
        simulation.run_until(|_| load.is_finished()).unwrap();
        let report = load.report();
        let wrong = |trouble: &LoadError| matches!(trouble, LoadError::Wrong(_));
        assert!(!report.totals.first_errors.iter().any(wrong), "{report}");
        simulation.stop_chaos();
        simulation.run_until_idle(Duration::from_secs(3600)).unwrap();
        assert_eq!(simulation.reactor(client).resource_count(), 0);
    });
}

#[test]
fn a_lost_packet_delays_the_messages_behind_it() {
    let mut world = world(19, right);
    let late = Verdict::Delay(Duration::from_millis(300));
    let client = world.client;
    world.simulation.add_rule(Fault::packet(PacketKind::Data, late).from(client).nth(100));
    let report = world.run(LoadConfig { connections: 1, rate: Some(100.0), depth: 100, ..config() });
    assert!(report.is_success() && report.totals.messages == 100, "{report}");
    assert!((millis(report.totals.latencies.max()) - 302.0).abs() < 1.0, "{report}");
}

#[test]
fn a_host_name_is_looked_up_once() {
    let mut world = world(20, right);
    let config = LoadConfig { work: Workload::Churn, connections: 1, ..config() };
    let reactor = world.simulation.reactor(world.client);
    let load = LoadTest::start(reactor, client_from_string("tcp:server:7").unwrap(), config.clone()).unwrap();
    world.simulation.run_for(Duration::from_millis(500)).unwrap();
    world.simulation.set_name_resolution(world.client, false);
    let report = world.end(&load);
    assert!(report.is_success() && report.endpoint == "tcp:server:7", "{report}");
}

#[test]
fn a_load_waits_after_its_connects_until_it_is_resumed() {
    for work in [Workload::Echo, Workload::Hold { interval: None }, Workload::Churn] {
        let mut world = world(1, right);
        let config =
            LoadConfig { work, connections: 5, duration: Duration::from_secs(1), ..LoadConfig::default() };
        let load = world.begin(config);
        let opened = Rc::new(RefCell::new(0));
        let told = Rc::clone(&opened);
        load.pause_after_connect(move |_| *told.borrow_mut() += 1);
        world.simulation.run_for(Duration::from_secs(60)).unwrap();
        let made = if work == Workload::Churn { 0 } else { 5 };
        let progress = load.progress(world.simulation.reactor(world.client).now());
        assert_eq!((*opened.borrow(), progress.open, progress.messages), (1, made, 0), "{work:?}");
        assert_eq!(progress.running, None, "{work:?}");
        load.resume(world.simulation.reactor(world.client));
        let report = world.end(&load);
        assert!(report.is_success() && report.totals.elapsed < Duration::from_secs(2), "{work:?}: {report}");
        assert_eq!(*opened.borrow(), 1, "{work:?}");
    }
}

#[test]
fn a_load_that_may_go_on_before_it_could_does_not_wait() {
    let mut world = world(1, right);
    let load = world.begin(LoadConfig { duration: Duration::from_secs(1), ..LoadConfig::default() });
    load.pause_after_connect(|_| unreachable!("it may go on"));
    load.resume(world.simulation.reactor(world.client));
    assert!(world.end(&load).is_success());
}

#[test]
fn a_load_that_waits_can_be_stopped() {
    let mut world = world(1, right);
    let load = world.begin(LoadConfig {
        connections: 3,
        work: Workload::Hold { interval: None },
        ..LoadConfig::default()
    });
    load.pause_after_connect(|_| {});
    world.simulation.run_for(Duration::from_secs(1)).unwrap();
    load.stop(world.simulation.reactor(world.client));
    let report = world.end(&load);
    assert_eq!((report.totals.open, report.totals.messages), (3, 0), "{report}");
}

/// An endpoint whose connections have a layer that holds bytes back.
struct Throttled(Box<dyn ClientEndpoint>);

impl ClientEndpoint for Throttled {
    fn connect(
        &self,
        reactor: &mut Reactor,
        factory: Box<dyn ClientFactory>,
    ) -> twistor::Result<ConnectorId> {
        let rates = RateLimits { write: Some(20_000_000), ..RateLimits::default() };
        self.0.connect(reactor, Box::new(throttled(factory, rates)))
    }

    fn describe(&self) -> String {
        self.0.describe()
    }
}

#[test]
fn long_messages_and_great_depths_wait_for_room() {
    let duration = Duration::from_millis(50);
    let short = LoadConfig { connections: 1, duration, ..config() };
    for (size, depth, rate) in [
        (3_000_000, 1, None),
        (65_536, 100, None),
        (2_000_000, 3, Some(40.0)),
        (65_536, 100, Some(500.0)),
        (4_096, 1_000, None),
        (4_096, 1_000, Some(10_000.0)),
    ] {
        for layered in [false, true] {
            let mut world = world(21, right);
            let address = format!("tcp:{}:7", world.simulation.address(world.server));
            let endpoint = client_from_string(&address).unwrap();
            let endpoint = if layered { Box::new(Throttled(endpoint)) } else { endpoint };
            let config = LoadConfig { size, depth, rate, ..short.clone() };
            let load = LoadTest::start(world.simulation.reactor(world.client), endpoint, config).unwrap();
            let report = world.end(&load);
            assert!(report.is_success(), "{size} {depth} {rate:?} {layered}: {report}");
            assert_eq!(report.totals.messages, report.totals.latencies.count());
            if let Some(rate) = rate {
                assert_eq!(report.totals.messages, (rate / 20.0) as u64, "{report}");
            }
        }
    }
    let churn = LoadConfig { work: Workload::Churn, size: 3_000_000, ..short };
    assert!(world(21, right).run(churn).is_success());
}

#[test]
fn a_server_that_reads_nothing_is_waited_for() {
    let mut world = world(22, right);
    let server = world.server;
    world.simulation.at(Duration::from_millis(500), move |simulation| simulation.pause(server));
    world.simulation.at(Duration::from_millis(1500), move |simulation| simulation.resume(server));
    let duration = Duration::from_secs(2);
    // Four times as much as a connection may have unsent is due in the meantime.
    let config =
        LoadConfig { connections: 1, size: 4_096, depth: 10_000, rate: Some(1000.0), duration, ..config() };
    let report = world.run(config);
    assert!(report.is_success(), "{report}");
    assert_eq!(report.totals.messages, 2000);
    // A message that had no room counts from when it was due, and the generator is not to blame.
    let latencies = &report.totals.latencies;
    assert!((450.0..600.0).contains(&millis(latencies.percentile(75.0))), "{report}");
    assert!((millis(latencies.max()) - 1000.0).abs() < 20.0, "{report}");
    assert_eq!(report.totals.lateness.max(), Some(Duration::ZERO));
}

#[test]
fn what_was_due_and_not_answered_counts_with_its_wait() {
    let mut world = world(23, right);
    let server = world.server;
    // It stands still for the second half, and for good.
    world.simulation.at(Duration::from_secs(5), move |simulation| simulation.pause(server));
    let (duration, drain_timeout) = (Duration::from_secs(10), Duration::from_secs(1));
    let config = LoadConfig { connections: 10, duration, drain_timeout, rate: Some(1000.0), ..config() };
    let load = world.begin(config);
    world.simulation.run_until(|_| load.is_finished()).unwrap();
    let report = load.report();
    let (answered, latencies) = (report.totals.messages, &report.totals.latencies);
    assert!((4_970..5_000).contains(&answered) && latencies.count() == 10_000, "{report}");
    // The message of second 7.5 had waited for 3.5 seconds at the end, and so on.
    let [p25, p75, p99] = [25.0, 75.0, 99.0].map(|percent| millis(latencies.percentile(percent)));
    assert!(p25 < 5.0 && (p75 - 3500.0).abs() < 40.0 && (p99 - 5900.0).abs() < 40.0, "{report}");
    let text = report.to_string();
    let words = format!("answered     4,{} of 10,000 due (the rest: its wait so far)\n", answered - 4000);
    assert!(text.contains(&words) && text.lines().all(|line| line.chars().count() <= 80), "{text}");
    let value = report.to_json();
    let members = ["/messages/due", "/messages/answered", "/latency_ms/count", "/latency_ms/answered"];
    let members = members.map(|pointer| value.pointer(pointer).and_then(|count| count.as_u64()));
    assert_eq!(members, [10_000, answered, 10_000, answered].map(Some));
    // Only what was sent can have waited since then.
    assert_eq!(report.totals.since_sent.count(), answered + report.totals.unanswered);
}

#[test]
fn a_connection_that_is_never_made_is_an_exchange_that_was_due() {
    let mut world = world(29, right);
    let (server, client) = (world.server, world.client);
    world.simulation.at(Duration::from_millis(500), move |simulation| {
        simulation.inject_fault(FaultKind::Partition, server, client);
    });
    let load =
        world.begin(LoadConfig { work: Workload::Churn, rate: Some(1000.0), connections: 5, ..config() });
    world.simulation.run_until(|_| load.is_finished()).unwrap();
    let report = load.report();
    assert!(report.totals.messages > 400, "{report}");
    assert_eq!(report.totals.latencies.count(), 1000, "{report}");
    assert!(millis(report.totals.latencies.percentile(60.0)) > 5000.0, "{report}");
}

#[test]
fn a_server_that_pauses_half_of_the_time_does_not_look_fast() {
    for (work, connections) in [(Workload::Echo, 4), (Workload::Churn, 4)] {
        let mut world = world(24, right);
        let server = world.server;
        for second in 0..10 {
            let from = Duration::from_secs(second) + Duration::from_millis(500);
            world.simulation.at(from, move |simulation| simulation.pause(server));
            let until = Duration::from_secs(second + 1);
            world.simulation.at(until, move |simulation| simulation.resume(server));
        }
        let duration = Duration::from_secs(10);
        let report = world.run(LoadConfig { work, connections, duration, rate: Some(500.0), ..config() });
        let latencies = &report.totals.latencies;
        assert_eq!(latencies.count(), 5000, "{report}");
        assert!(millis(latencies.percentile(99.0)) > 450.0, "{report}");
        assert!(millis(latencies.percentile(75.0)) > 150.0, "{report}");
    }
}

#[test]
fn advice_about_limits_is_given_where_one_was_hit_alone() {
    let closes = |seen: usize, _: &mut Vec<u8>, transport: &mut Transport<'_>| {
        if seen >= 6400 {
            transport.lose_connection();
        }
    };
    let report = world(25, closes).run(config());
    assert_eq!((report.totals.lost, report.bottlenecks.len()), (1, 0), "{report}");

    // An idle time-out of the server, a minute after, is none of its limits either.
    let mut world = world(25, right);
    let (server, client) = (world.server, world.client);
    world.simulation.at(Duration::from_secs(60), move |simulation| {
        simulation.reset_connections(server, client);
    });
    let work = Workload::Hold { interval: None };
    let report = world.run(LoadConfig { work, duration: Duration::from_secs(90), ..config() });
    assert_eq!((report.totals.lost, report.bottlenecks.len()), (3, 0), "{report}");
}

#[test]
fn a_held_connection_closed_at_once_or_unanswered_is_a_limit() {
    struct Closing;
    impl Protocol for Closing {
        fn connection_made(&mut self, transport: &mut Transport<'_>) {
            transport.lose_connection();
        }
        fn data_received(&mut self, _: &mut Transport<'_>, _: &[u8]) {}
    }
    struct Silent;
    impl Protocol for Silent {
        fn data_received(&mut self, _: &mut Transport<'_>, _: &[u8]) {}
    }
    for (closes, limit) in [(true, Limit::Closed), (false, Limit::Silent)] {
        let mut simulation = Simulation::new(26);
        let (server, client) = (simulation.host("server"), simulation.host("client"));
        let reactor = simulation.reactor(server);
        match closes {
            true => reactor.listen_tcp("0.0.0.0:7", || Closing).unwrap(),
            false => reactor.listen_tcp("0.0.0.0:7", || Silent).unwrap(),
        };
        let work = Workload::Hold { interval: None };
        let report = World { simulation, server, client }.run(LoadConfig { work, ..config() });
        let bottlenecks: Vec<_> =
            report.bottlenecks.iter().map(|stop| (stop.limit, stop.connections)).collect();
        assert_eq!(bottlenecks, [(limit, 3)], "{report}");
    }
}

/// Answers datagrams, and counts them.
struct Datagrams(Rc<RefCell<u64>>);

impl DatagramProtocol for Datagrams {
    fn datagram_received(&mut self, transport: &mut DatagramTransport<'_>, data: &[u8], from: &Address) {
        *self.0.borrow_mut() += 1;
        transport.write_to(data, from).unwrap();
    }
}

#[test]
fn datagrams_to_a_name_go_to_the_first_address_that_answers() {
    let start = |gone: bool, listens: &str, order: [usize; 2]| {
        let mut simulation = Simulation::new(27);
        let (server, client) = (simulation.host("server"), simulation.host("client"));
        let addresses = simulation.addresses(server);
        // A machine that is there and refuses; or one that says nothing.
        let other = match gone {
            true => "192.0.2.1".parse().unwrap(),
            false => simulation.address(client),
        };
        let used = addresses[usize::from(listens.starts_with('['))];
        let both = [other, used];
        simulation.add_name("echo", &order.map(|index| both[index]));
        let seen = Rc::new(RefCell::new(0));
        simulation.reactor(server).listen_udp(listens, Datagrams(Rc::clone(&seen))).unwrap();
        let config = LoadConfig { connections: 2, rate: Some(100.0), ..config() };
        let load = LoadTest::start_datagrams(simulation.reactor(client), "echo", 7, config).unwrap();
        simulation.run_until(|_| load.is_finished()).unwrap();
        let report = load.report();
        assert!(report.is_success(), "{report}");
        assert_eq!((report.totals.messages, report.totals.dropped), (100, 0), "{report}");
        assert_eq!(report.endpoint, format!("udp:echo:7 ({used})"));
        assert_eq!(*seen.borrow(), 101, "one message asked");
    };
    for order in [[0, 1], [1, 0]] {
        for gone in [false, true] {
            start(gone, "0.0.0.0:7", order);
            start(gone, "[::]:7", order);
        }
    }
}

#[test]
fn datagrams_that_this_machine_does_not_send_are_told_why() {
    for (errno, why) in [
        (Errno::EMSGSIZE, "a datagram of 9000 bytes is larger than this machine or the way takes"),
        (Errno::ENETUNREACH, "this machine has no route to it: send: "),
        (Errno::ENOBUFS, "send: "),
    ] {
        let mut simulation = Simulation::new(3);
        let (server, client) = (simulation.host("server"), simulation.host("client"));
        simulation.reactor(server).listen_udp("0.0.0.0:7", Datagrams(Rc::default())).unwrap();
        simulation.add_rule(Fault::fail(CallKind::SendDatagrams, errno).on(client));
        let config = LoadConfig { size: 9_000, connections: 2, ..config() };
        let load = LoadTest::start_datagrams(simulation.reactor(client), "10.0.0.1", 7, config).unwrap();
        simulation.run_until(|_| load.is_finished()).unwrap();
        let report = load.report();
        let told: Vec<_> = report.totals.unsendable.iter().collect();
        let [(reason, count)] = told[..] else { panic!("{told:?}") };
        assert!(reason.starts_with(why), "{reason}");
        assert_eq!((*count, report.totals.messages), (report.totals.dropped, 0), "{report}");
        assert!(!report.is_success() && report.to_string().matches("refused here").count() == 1, "{report}");
        assert_eq!(report.to_json()["messages"]["unsendable"][0]["count"], *count);
    }
}

#[test]
fn refused_datagrams_are_reported_and_silence_is_measured() {
    let mut simulation = Simulation::new(28);
    let (server, client) = (simulation.host("server"), simulation.host("client"));
    let addresses = simulation.addresses(server);
    simulation.add_name("echo", &addresses);
    let load = LoadTest::start_datagrams(simulation.reactor(client), "echo", 7, config()).unwrap();
    simulation.run_until(|_| load.is_finished()).unwrap();
    let report = load.report();
    let errors: Vec<_> = report.totals.errors.iter().collect();
    assert_eq!(errors, [(&("connect", "connection refused".to_owned()), &1)], "{report}");
    // Silence is measured: it may be the way that loses them.
    simulation.inject_fault(FaultKind::Partition, server, client);
    let load = LoadTest::start_datagrams(simulation.reactor(client), "echo", 7, config()).unwrap();
    simulation.run_until(|_| load.is_finished()).unwrap();
    let report = load.report();
    assert!(!report.is_success() && report.totals.dropped > 0, "{report}");
    assert_eq!(report.endpoint, format!("udp:echo:7 ({})", addresses[0]));
    assert_eq!(simulation.reactor(client).resource_count(), 0);
}
