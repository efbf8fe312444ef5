//! `twistor monitor` tells the truth about services that stop and start, to people and to machines.
#![cfg(feature = "cli")]

mod command;

use command::{Running, Service, Signal, nobody, run};
use serde_json::Value;
use std::collections::HashMap;

fn json(line: &str) -> Value {
    serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))
}

fn event_of_target(line: Value) -> (String, Value) {
    (line["target"].as_str().unwrap().to_owned(), line["event"].clone())
}

#[test]
fn the_loss_of_a_held_connection_is_told_and_so_is_its_return() {
    let service = Service::silent("127.0.0.1:0");
    let address = service.address.clone();
    let target = format!("door=hold://{address}");
    let mut monitor = Running::start(&["monitor", &target, "--backoff", "20ms", "--backoff-max", "50ms"]);
    monitor.line_with(&["door  up ", "connected in"]);
    drop(service);
    monitor.line_with(&["door  down ", "closed by the peer", "was up for"]);
    monitor.line_with(&["door  down ", "connection refused now", "down for"]);
    let _service = Service::silent(&address);
    monitor.line_with(&["door  up ", "was down for"]);
    let ended = monitor.end_by(Signal::TERM);
    assert_eq!((ended.code, ended.err.as_str()), (Some(0), ""));
    let summary: Vec<&str> = ended.out.lines().filter(|line| !line.is_empty()).collect();
    assert!(summary[0].contains("target") && summary[0].contains("uptime"), "{}", ended.out);
    assert!(summary[1].contains("door") && summary[1].contains("● up"), "{}", ended.out);
}

#[test]
fn a_probe_tells_changes_and_first_results() {
    let service = Service::silent("127.0.0.1:0");
    let address = service.address.clone();
    let target = format!("tcp://{address}");
    let mut monitor = Running::start(&["monitor", &target, "--interval", "30ms", "--json"]);
    let first = json(&monitor.line());
    assert_eq!(
        (&first["event"], &first["first"], &first["target"]),
        (&"up".into(), &true.into(), &target.into())
    );
    assert!(first["took_ms"].as_f64().unwrap() > 0.0 && first["previous_s"].is_null());
    drop(service);
    let down = json(&monitor.line());
    assert_eq!((&down["event"], &down["reason"]), (&"down".into(), &"refused".into()));
    let _service = Service::silent(&address);
    let up = json(&monitor.line());
    assert_eq!((&up["event"], &up["first"]), (&"up".into(), &false.into()));
    monitor.signal(Signal::HUP);
    assert_eq!(json(&monitor.line())["event"], "summary");
    let ended = monitor.end_by(Signal::INT);
    let summary = json(&ended.out);
    assert_eq!((ended.code, &summary["state"], &summary["losses"]), (Some(0), &"up".into(), &1.into()));
}

#[test]
fn once_checks_every_target_once_and_answers_with_its_exit_code() {
    let service = Service::silent("127.0.0.1:0");
    let (up, held) = (format!("tcp://{}", service.address), format!("hold://{}", service.address));
    let down = format!("tcp://{}", nobody());
    let ended = run(&["monitor", "--once", &up, &held]);
    assert_eq!((ended.code, ended.out.lines().count(), ended.err.as_str()), (Some(0), 2, ""));
    let ended = run(&["monitor", "--once", &up, &down, &held, "--json"]);
    assert_eq!((ended.code, ended.out.lines().count()), (Some(1), 3));
    // In whatever order the results come.
    let events: HashMap<String, Value> = ended.out.lines().map(json).map(event_of_target).collect();
    assert_eq!([&events[&up], &events[&down], &events[&held]], ["up", "down", "up"]);
    let ended = run(&["monitor", "--once", "--quiet", &down]);
    assert_eq!((ended.code, ended.out.as_str(), ended.err.as_str()), (Some(1), "", ""));
}

#[test]
fn a_name_without_an_address_is_down_and_says_why() {
    let ended = run(&["monitor", "--once", "tcp://no-such-host.invalid:80", "--json"]);
    let event = json(&ended.out);
    assert_eq!((ended.code, &event["reason"]), (Some(1), &"unresolved".into()));
}

#[test]
fn count_ends_it_after_so_many_rounds() {
    let service = Service::silent("127.0.0.1:0");
    let (probed, held) = (format!("tcp://{}", service.address), format!("hold://{}", service.address));
    let ended =
        run(&["monitor", "--count", "3", "--interval", "40ms", "--every-probe", "--json", &probed, &held]);
    let lines: Vec<Value> = ended.out.lines().map(json).collect();
    let of = |target: &str| -> Vec<Value> {
        lines.iter().filter(|line| line["target"] == target).map(|line| line["event"].clone()).collect()
    };
    let events: Vec<Value> = ["up", "still_up", "still_up", "summary"].map(Value::from).into();
    assert_eq!(ended.code, Some(0));
    assert_eq!(of(&probed), events);
    assert_eq!(of(&held), events);
}

#[test]
fn a_reader_that_goes_away_ends_it_quietly() {
    let service = Service::silent("127.0.0.1:0");
    let target = format!("tcp://{}", service.address);
    let mut child = command::twistor(&["monitor", &target, "--interval", "10ms", "--every-probe"])
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let ended = child.wait_with_output().unwrap();
    assert_eq!((ended.status.code(), ended.stderr.as_slice()), (Some(0), &b""[..]));
}

#[test]
fn an_endpoint_is_a_target_too() {
    let name = format!("unix:@twistor-monitor-{}", std::process::id());
    let mut echo = Running::start(&["echo", "--listen", &name, "--listen", "tcp:0:interface=127.0.0.1"]);
    let (_, line) = (echo.line(), echo.line());
    let port = line.rsplit_once(':').unwrap().1.to_owned();
    let (tcp, held) = (format!("tcp:localhost:{port}:timeout=2s"), format!("app=hold:{name}"));
    assert_eq!(run(&["monitor", "--once", "-q", &tcp, &name, &held]).code, Some(0));

    let mut monitor =
        Running::start(&["monitor", &held, &tcp, "--interval", "30ms", "--json", "--backoff", "20ms"]);
    let mut targets = [json(&monitor.line()), json(&monitor.line())].map(|line| {
        assert_eq!(line["event"], "up");
        line["target"].as_str().unwrap().to_owned()
    });
    targets.sort();
    assert_eq!(targets, [format!("hold:{name}"), tcp.clone()]);
    echo.end_by(Signal::TERM);
    let lost = json(&monitor.line_with(&["\"down\"", "hold:"]));
    assert_eq!((&lost["reason"], &lost["name"]), (&"closed".into(), &"app".into()));
    assert_eq!(monitor.end_by(Signal::TERM).code, Some(0));
    let ended = run(&["monitor", "--once", &held, &tcp, "unix:/nowhere/at/all"]);
    assert_eq!((ended.code, ended.out.lines().count()), (Some(1), 3), "{}", ended.out);
}
