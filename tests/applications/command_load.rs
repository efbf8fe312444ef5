//! `twistor load` measures `twistor echo`, tells right from wrong, and says so by its exit code.

use crate::command::{Ended, Running, Service, Signal, refusing_address, run};
use serde_json::Value;
use twistor::{Protocol, Transport};

/// `twistor echo`, and where it listens.
fn echo() -> (Running, String) {
    let mut echo = Running::start(&["echo", "--listen", "tcp:127.0.0.1:0"]);
    let line = echo.line();
    let address =
        line.strip_prefix("listening on ").unwrap_or_else(|| panic!("not what was promised: {line}"));
    (echo, address.to_owned())
}

/// A load of a fifth of a second, with these arguments.
fn load(address: &str, arguments: &[&str]) -> Ended {
    run(&[&["load", address, "--for", "200ms"], arguments].concat())
}

fn json(address: &str, arguments: &[&str]) -> (Ended, Value) {
    let ended = load(address, &[&["--json"], arguments].concat());
    let value = serde_json::from_str(&ended.out).unwrap_or_else(|error| panic!("{error}: {ended:?}"));
    (ended, value)
}

/// Echoes, but the thousandth byte of a connection.
struct Corrupting(usize);

impl Protocol for Corrupting {
    fn data_received(&mut self, transport: &mut Transport<'_>, data: &[u8]) {
        let mut data = data.to_vec();
        if let Some(byte) = 1000_usize.checked_sub(self.0).and_then(|place| data.get_mut(place)) {
            *byte = !*byte;
        }
        self.0 += data.len();
        transport.write(&data);
    }
}

/// Hangs up on the first message.
struct Closing;

impl Protocol for Closing {
    fn data_received(&mut self, transport: &mut Transport<'_>, _: &[u8]) {
        transport.lose_connection();
    }
}

#[test]
fn everything_that_comes_back_right_is_counted() {
    let (_echo, address) = echo();
    for arguments in [
        &["--connections", "8"][..],
        &["-c", "8", "-d", "16", "-s", "1024"],
        &["-c", "2", "-s", "3000000"],
        &["-c", "1", "-s", "8000000"],
        &["-c", "1", "-s", "65536", "-d", "100"],
        &["-c", "1", "-s", "8000000", "--churn"],
        &["-c", "8", "--rate", "2000", "--warm-up", "50ms"],
        &["-c", "8", "--rate", "2000", "--spin"],
        &["-c", "8", "--threads", "3"],
        &["-c", "9", "--rate", "3000", "--threads", "3", "--ramp", "50ms"],
        &["-c", "8", "--churn"],
        &["-c", "8", "--churn", "--reset", "--rate", "500"],
        &["-c", "8", "--hold"],
        &["-c", "8", "--hold", "--interval", "100ms", "--threads", "2"],
    ] {
        // A busy machine takes its time for the last answers.
        let (ended, report) = json(&address, &[arguments, &["--drain-timeout", "60s"]].concat());
        assert_eq!((ended.code, ended.err.as_str()), (Some(0), ""), "{arguments:?}: {}", ended.out);
        assert_eq!((&report["success"], &report["endpoint"]), (&true.into(), &address.as_str().into()));
        let answered = report["messages"]["answered"].as_u64().unwrap();
        assert!(answered > 0 && report["messages"]["unanswered"] == 0, "{arguments:?}: {report}");
        assert_eq!(report["latency_ms"]["count"], answered, "{arguments:?}");
        let size = report["config"]["size"].as_u64().unwrap();
        assert_eq!(report["messages"]["bytes"], answered * size, "{arguments:?}");
        let steps = report["steps"].as_array().unwrap();
        let sum: u64 = steps.iter().filter_map(|step| step["count"].as_u64()).sum();
        assert_eq!(sum, answered, "{arguments:?}");
        let rate = report["config"]["rate"].as_f64();
        // On a machine that is held up no further message of a held connection may have come due in time.
        let scheduled = rate.is_some() || arguments.contains(&"--interval");
        assert!(scheduled || report["lateness_ms"].is_null(), "{arguments:?}: {report}");
        if let Some(rate) = rate {
            assert!(report["lateness_ms"].is_object(), "{arguments:?}: {report}");
            let sent = answered + report["messages"]["unsent"].as_u64().unwrap();
            assert_eq!(sent, (rate / 5.0) as u64, "{arguments:?}: what was due, and nothing else");
        }
        let figures = ["min", "p50", "p75", "p90", "p95", "p99", "p99_9", "p99_99", "max"];
        let figures = figures.map(|name| report["latency_ms"][name].as_f64().unwrap());
        assert!(figures.is_sorted(), "{figures:?}");
    }
}

#[test]
#[cfg(target_os = "linux")]
fn unix_sockets_are_endpoints_too() {
    let name = format!("@twistor-load-{}", std::process::id());
    let (sender, started) = std::sync::mpsc::channel();
    let listen = name.clone();
    let server = std::thread::spawn(move || {
        let settings = twistor::Settings { handle_signals: false, ..twistor::Settings::default() };
        let mut reactor = twistor::Reactor::with_settings(settings).unwrap();
        reactor.listen_unix(listen.as_str(), || Corrupting(1001)).unwrap();
        sender.send(reactor.remote()).unwrap();
        reactor.run().unwrap();
    });
    let remote = started.recv_timeout(crate::command::TIME_LIMIT).unwrap();
    for arguments in [&["--connections", "8"][..], &["--churn"], &["--hold"], &["--rate", "1000"]] {
        let (ended, report) = json(&format!("unix:{name}"), arguments);
        assert_eq!((ended.code, ended.err.as_str()), (Some(0), ""), "{arguments:?}: {report}");
        assert!(report["latency_ms"]["count"].as_u64().unwrap() > 0, "{arguments:?}: {report}");
    }
    remote.stop().unwrap();
    server.join().unwrap();
}

#[test]
fn people_read_a_page() {
    let (_echo, address) = echo();
    let ended = load(&address, &["--connections", "4", "--rate", "1000"]);
    assert_eq!((ended.code, ended.err.as_str()), (Some(0), ""));
    for words in [
        &format!("{address}: 4 connections, messages of 64 bytes, 1,000 a second"),
        "connections  4 made in ",
        "messages     200 in ",
        "own delay    p50 ",
        "percentile      latency   since sent",
        "answered     200 of 200 due\n",
        "errors       none: every byte came back as it was sent",
    ] {
        assert!(ended.out.contains(words), "no {words:?} in {}", ended.out);
    }
    assert!(ended.out.lines().all(|line| line.chars().count() <= 80), "{}", ended.out);
}

#[test]
fn a_picture_of_the_latencies_is_drawn() {
    let (_echo, address) = echo();
    let path = std::env::temp_dir().join(format!("twistor-load-{}.svg", std::process::id()));
    let ended = load(&address, &["--rate", "1000", "--svg", path.to_str().unwrap()]);
    let picture = std::fs::read_to_string(&path).unwrap();
    std::fs::remove_file(&path).unwrap();
    assert_eq!((ended.code, ended.err.as_str()), (Some(0), ""));
    assert!(picture.starts_with("<svg ") && picture.ends_with("</svg>\n"));
    for words in ["prefers-color-scheme: dark", "99 %", "class=\"curve due\" d=\"M", "since sent", &address] {
        assert!(picture.contains(words), "no {words:?} in {picture}");
    }
}

#[test]
fn a_wrong_byte_is_told_with_its_place_and_is_exit_code_1() {
    let server = Service::start("127.0.0.1:0", || Corrupting(0));
    let (ended, report) = json(&server.address, &["--depth", "4"]);
    assert_eq!((ended.code, &report["success"]), (Some(1), &false.into()));
    let trouble = &report["first_errors"][0];
    assert_eq!((&trouble["kind"], &trouble["connection"]), (&"wrong".into(), &1.into()));
    assert_eq!((&trouble["offset"], &trouble["message"]), (&1000.into(), &16.into()));
    let (expected, found) = (trouble["expected"].as_u64().unwrap(), trouble["found"].as_u64().unwrap());
    assert_eq!(expected ^ found, 0xff);
    let ended = load(&server.address, &["--churn", "--size", "2000"]);
    assert_eq!(ended.code, Some(1));
    assert!(
        ended.out.contains("wrong: bytes were changed") && ended.out.contains("byte 1000 (in message 1)")
    );
}

#[test]
fn a_loss_is_exit_code_1_and_nothing_connected_is_one_line() {
    let server = Service::start("127.0.0.1:0", || Closing);
    let (ended, report) = json(&server.address, &["--connections", "5"]);
    assert_eq!((ended.code, &report["connections"]["lost"]), (Some(1), &5.into()));
    assert_eq!(report["errors"][0]["reason"], "the server closed it");
    let refusing = refusing_address();
    for arguments in [&["--connections", "5"][..], &["--churn"], &["--hold", "--threads", "2", "-c", "2"]] {
        let ended = load(&refusing, arguments);
        assert_eq!((ended.code, ended.out.as_str()), (Some(1), ""), "{arguments:?}");
        let last = format!("twistor: nothing connected to tcp:{refusing}: connection refused");
        assert_eq!(ended.err.lines().last(), Some(last.as_str()));
    }
}

#[test]
fn a_held_connection_that_is_lost_is_told_on_stderr_at_once() {
    let server = Service::start("127.0.0.1:0", || Closing);
    let ended = load(&server.address, &["--hold", "--connections", "3", "--interval", "50ms"]);
    assert_eq!(ended.code, Some(1));
    assert_eq!(ended.err.lines().filter(|line| line.contains("was lost after")).count(), 3, "{}", ended.err);
}

#[test]
fn a_server_that_never_answers_is_waited_for_and_no_longer() {
    let server = Service::silent("127.0.0.1:0");
    let (ended, report) = json(&server.address, &["--drain-timeout", "100ms", "--depth", "3"]);
    assert_eq!((ended.code, &report["messages"]["unanswered"]), (Some(1), &3.into()));
    assert_eq!(report["errors"][0]["kind"], "unanswered");
    // They count with the time that they were waited for.
    let latency = &report["latency_ms"];
    assert_eq!((&latency["count"], &latency["answered"]), (&3.into(), &0.into()), "{report}");
    assert!(latency["min"].as_f64().unwrap() >= 100.0, "{report}");
    assert_eq!(report["bottlenecks"], Value::Array(Vec::new()), "no limit was hit");
}

#[test]
fn a_signal_ends_it_early_with_a_report() {
    for signal in [Signal::INT, Signal::TERM] {
        for arguments in [
            &["--rate", "1000"][..],
            &["--threads", "2", "-c", "2"],
            &["--churn"],
            &["--hold", "--interval", "10ms"],
        ] {
            // It runs when the server has heard of it.
            let (heard, hears) = std::sync::mpsc::channel();
            let new = move || Telling(heard.clone());
            let server = Service::start("127.0.0.1:0", new);
            let load = [&["load", &server.address, "--json", "--for", "1h"], arguments].concat();
            let load = Running::start(&load);
            hears
                .recv_timeout(crate::command::TIME_LIMIT)
                .unwrap_or_else(|error| panic!("{arguments:?}: {error}"));
            let ended = load.end_by(signal);
            assert_eq!((ended.code, ended.err.as_str()), (Some(0), ""), "{arguments:?}: {}", ended.out);
            let report: Value = serde_json::from_str(&ended.out).unwrap();
            assert!(report["messages"]["elapsed_s"].as_f64().unwrap() < 600.0, "{report}");
        }
    }
}

/// Echoes, and reports each message on a channel.
struct Telling(std::sync::mpsc::Sender<()>);

impl Protocol for Telling {
    fn data_received(&mut self, transport: &mut Transport<'_>, data: &[u8]) {
        // The test listens to the first.
        let _ = self.0.send(());
        transport.write(data);
    }
}

#[test]
fn a_picture_that_cannot_be_written_is_known_before_the_load() {
    let ended = run(&["load", "127.0.0.1:9", "--for", "1h", "--svg", "/nowhere/latency.svg"]);
    assert_eq!((ended.code, ended.out.as_str()), (Some(1), ""));
    assert!(ended.err.starts_with("twistor: cannot write /nowhere/latency.svg: "), "{}", ended.err);
}

#[test]
#[cfg(target_os = "linux")]
fn a_picture_that_cannot_be_written_costs_no_report() {
    let (_echo, address) = echo();
    for json in [false, true] {
        let arguments = [&["--svg", "/dev/full"][..], if json { &["--json"] } else { &[] }].concat();
        let ended = load(&address, &arguments);
        assert_eq!(ended.code, Some(1), "{ended:?}");
        assert!(ended.err.starts_with("twistor: cannot write /dev/full: "), "{}", ended.err);
        assert_eq!(ended.err.lines().count(), 1, "{}", ended.err);
        match json {
            true => assert!(serde_json::from_str::<Value>(&ended.out).is_ok(), "{}", ended.out),
            false => assert!(ended.out.contains("errors       none"), "{}", ended.out),
        }
    }
}

#[test]
fn a_picture_keeps_what_it_was_until_there_is_another() {
    let path = std::env::temp_dir().join(format!("twistor-load-kept-{}.svg", std::process::id()));
    std::fs::write(&path, "an older picture").unwrap();
    let ended = run(&["load", "nothing:at-all", "--svg", path.to_str().unwrap()]);
    assert_eq!(ended.code, Some(2));
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "an older picture");
    let server = Service::start("127.0.0.1:0", || Closing);
    let ended = load(&server.address, &["--svg", path.to_str().unwrap()]);
    let picture = std::fs::read_to_string(&path).unwrap();
    std::fs::remove_file(&path).unwrap();
    assert_eq!(ended.code, Some(1));
    assert!(picture.starts_with("<svg ") && picture.ends_with("</svg>\n"), "{picture}");
}
