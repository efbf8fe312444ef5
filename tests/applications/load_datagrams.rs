//! A load of datagrams counts what is lost, finds what is wrong, and waits for nothing in vain.

use std::time::Duration;

use twistor::load::{Corruption, LoadConfig, LoadConfigError, LoadError, LoadTest, Report, Workload};
use twistor::{Address, DatagramProtocol, DatagramTransport, Reactor, Settings};

/// Answers each datagram with what a closure makes of it, which has the number of the datagram, from 1.
struct Server<F> {
    seen: u64,
    answers: F,
}

impl<F: FnMut(u64, &[u8]) -> Vec<Vec<u8>> + 'static> DatagramProtocol for Server<F> {
    fn datagram_received(&mut self, transport: &mut DatagramTransport<'_>, data: &[u8], from: &Address) {
        self.seen += 1;
        for answer in (self.answers)(self.seen, data) {
            transport.write_to(&answer, from).unwrap();
        }
    }
}

fn echo(_: u64, data: &[u8]) -> Vec<Vec<u8>> {
    vec![data.to_vec()]
}

/// Server and load on one reactor; afterwards the server alone is left.
fn run(answers: impl FnMut(u64, &[u8]) -> Vec<Vec<u8>> + 'static, config: LoadConfig) -> Report {
    let settings = Settings { handle_signals: false, ..Settings::default() };
    let mut reactor = Reactor::with_settings(settings).unwrap();
    let server = reactor.listen_udp("127.0.0.1:0", Server { seen: 0, answers }).unwrap();
    let port = reactor.datagram_transport(server).unwrap().host().port().unwrap();
    let load = LoadTest::start_datagrams(&mut reactor, "127.0.0.1", port, config).unwrap();
    while !load.is_finished() {
        reactor.iterate(None).unwrap();
    }
    reactor.iterate(Some(Duration::ZERO)).unwrap();
    assert_eq!(reactor.resource_count(), 1);
    load.report()
}

/// What is lost is given up soon; a machine that stands still for as long loses more than it should.
fn config() -> LoadConfig {
    let (duration, lost_after) = (Duration::from_millis(300), Duration::from_secs(5));
    LoadConfig { connections: 4, duration, lost_after, ..LoadConfig::default() }
}

#[test]
fn datagrams_follow_each_other_or_the_schedule() {
    for (size, depth) in [(8, 1), (1000, 3), (10_000, 1)] {
        let report = run(echo, LoadConfig { size, depth, ..config() });
        assert!(report.is_success() && report.totals.messages > 0, "{report}");
        assert_eq!((report.totals.dropped, report.totals.repeated), (0, 0), "{report}");
        assert_eq!(report.totals.bytes, report.totals.messages * size as u64);
    }
    let report = run(echo, LoadConfig { rate: Some(1000.0), depth: 1000, ..config() });
    assert!(report.is_success(), "{report}");
    assert_eq!((report.totals.messages, report.totals.dropped, report.totals.unsent), (300, 0, 0));
    assert_eq!(report.totals.latencies.count(), 300);
}

#[test]
fn lost_datagrams_are_counted_and_are_no_error() {
    let every_tenth =
        |number: u64, data: &[u8]| if number.is_multiple_of(10) { vec![] } else { vec![data.to_vec()] };
    let lost_after = Duration::from_millis(500);
    let config = LoadConfig { rate: Some(1000.0), depth: 1000, lost_after, ..config() };
    let report = run(every_tenth, config);
    let totals = &report.totals;
    assert!(report.is_success() && totals.first_errors.is_empty(), "{report}");
    assert_eq!((totals.messages, totals.dropped, totals.unsent), (270, 30, 0), "{report}");
    assert!(report.to_string().contains("lost         30 datagrams (10.00 %), 0 came again or late"));
    // They count with the time that they were waited for, at least.
    assert_eq!(totals.latencies.count(), 300, "{report}");
    assert!(totals.latencies.percentile(95.0).unwrap() >= Duration::from_millis(499), "{report}");
}

#[test]
fn a_lost_datagram_makes_room_for_the_next() {
    let first = |number: u64, data: &[u8]| if number <= 3 { vec![] } else { vec![data.to_vec()] };
    let config = LoadConfig { connections: 1, lost_after: Duration::from_millis(20), ..config() };
    let report = run(first, config);
    assert!(report.is_success() && report.totals.dropped >= 3 && report.totals.messages > 0, "{report}");
}

#[test]
fn what_comes_again_or_in_another_order_is_right() {
    let mut held: Option<Vec<u8>> = None;
    let shuffle = move |_: u64, data: &[u8]| match held.take() {
        // The second before the first, and the first twice.
        Some(first) => vec![data.to_vec(), first.clone(), first],
        None => {
            held = Some(data.to_vec());
            vec![]
        }
    };
    let config = LoadConfig { connections: 1, rate: Some(1000.0), depth: 1000, ..config() };
    let report = run(shuffle, config);
    assert!(report.is_success(), "{report}");
    assert_eq!((report.totals.messages, report.totals.repeated), (300, 150), "{report}");
}

#[test]
fn a_changed_a_cut_a_longer_and_a_foreign_datagram_are_wrong() {
    let fault = |number: u64, data: &[u8]| {
        let mut data = data.to_vec();
        match number {
            50 => data[20] ^= 1,
            60 => data.truncate(30),
            70 => data.push(0),
            80 => data[0] = 0xff,
            _ => {}
        }
        vec![data]
    };
    let lost_after = Duration::from_millis(200);
    let report =
        run(fault, LoadConfig { connections: 1, rate: Some(1000.0), depth: 1000, lost_after, ..config() });
    let told = |trouble: &LoadError| match trouble {
        LoadError::Wrong(found) => (found.message, found.offset % 64, found.what),
        trouble => panic!("{trouble}"),
    };
    let first_errors: Vec<_> = report.totals.first_errors.iter().map(told).collect();
    let expected = [
        (50, 20, Corruption::Changed),
        (60, 30, Corruption::LeftOut(34)),
        (70, 0, Corruption::TooMany),
        (1, 0, Corruption::Elsewhere),
    ];
    assert_eq!(first_errors, expected);
    // The one without its number is missed.
    assert_eq!((report.totals.messages, report.totals.dropped), (296, 1), "{report}");
    assert!(!report.is_success() && report.totals.open == 1);
}

#[test]
fn a_refusal_ends_the_load_at_once() {
    let mut reactor = Reactor::new().unwrap();
    let gone = reactor.listen_udp("127.0.0.1:0", Server { seen: 0, answers: echo }).unwrap();
    let port = reactor.datagram_transport(gone).unwrap().host().port().unwrap();
    reactor.datagram_transport(gone).unwrap().stop_listening();
    reactor.iterate(Some(Duration::ZERO)).unwrap();
    let config = LoadConfig { duration: Duration::from_secs(3600), ..config() };
    let load = LoadTest::start_datagrams(&mut reactor, "127.0.0.1", port, config).unwrap();
    while !load.is_finished() {
        reactor.iterate(None).unwrap();
    }
    let report = load.report();
    assert!(!report.is_success(), "{report}");
    assert_eq!(report.totals.errors[&("connect", "connection refused".to_owned())], 4);
    assert_eq!((report.totals.connected, report.totals.messages), (0, 0));
}

#[test]
fn silence_is_not_right() {
    let report = run(|_, _| vec![], LoadConfig { lost_after: Duration::from_millis(50), ..config() });
    assert!(
        !report.is_success() && report.totals.first_errors.is_empty() && report.totals.dropped > 0,
        "{report}"
    );
    assert!(report.to_string().ends_with("errors       nothing came back\n"), "{report}");
}

#[test]
fn more_datagrams_than_a_socket_takes_at_once_wait_for_room() {
    // As many bytes as forty sockets may have unsent; the server answers nothing, so that none of them makes room.
    let seen = std::rc::Rc::new(std::cell::Cell::new(0_u64));
    let count = std::rc::Rc::clone(&seen);
    let silent = move |number: u64, _: &[u8]| {
        count.set(number);
        vec![]
    };
    let config = LoadConfig { connections: 1, size: 40_000, depth: 1000, ..config() };
    let report = run(silent, LoadConfig { lost_after: Duration::from_millis(200), ..config });
    assert!(seen.get() > 0 && report.totals.dropped >= 1000, "{report}");
    assert_eq!(report.totals.latencies.count(), report.totals.dropped, "{report}");
}

#[test]
fn what_datagrams_cannot_do_is_refused() {
    for (config, error) in [
        (LoadConfig { work: Workload::Churn, ..config() }, LoadConfigError::Work(Workload::Churn)),
        (LoadConfig { size: 7, ..config() }, LoadConfigError::DatagramSize(7)),
        (LoadConfig { size: 65_508, ..config() }, LoadConfigError::DatagramSize(65_508)),
    ] {
        let mut reactor = Reactor::new().unwrap();
        assert_eq!(LoadTest::start_datagrams(&mut reactor, "127.0.0.1", 7, config).err(), Some(error));
    }
}
