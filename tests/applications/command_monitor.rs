//! `twistor monitor` tells the truth about services that stop and start, to people and to machines.

use crate::command::{Running, Service, Signal, refusing_address, run, twistor_without_routes};
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
    let down = format!("tcp://{}", refusing_address());
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
    let mut child = crate::command::twistor(&["monitor", &target, "--interval", "10ms", "--every-probe"])
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

/// The command with a limit of descriptors, as arguments of `ulimit`.
fn with_descriptors(limit: &str, arguments: &[&str]) -> std::process::Command {
    let mut command = std::process::Command::new("sh");
    command.args(["-c", &format!("ulimit {limit}; exec \"$0\" \"$@\""), env!("CARGO_BIN_EXE_twistor")]);
    command.args(arguments).env_remove("RUST_LOG").stdin(std::process::Stdio::null());
    command
}

#[test]
fn a_monitor_out_of_descriptors_blames_no_target() {
    let service = Service::silent("127.0.0.1:0");
    let targets: Vec<String> =
        (0..60).map(|number| format!("n{number}=hold://{}", service.address)).collect();
    let targets: Vec<&str> = targets.iter().map(String::as_str).collect();
    let once = [&["monitor", "--json", "--count", "2", "--interval", "1s", "--backoff", "30s"][..], &targets]
        .concat();
    let ended = Running::begin(with_descriptors("-n 32", &once)).end();
    let lines: Vec<Value> = ended.out.lines().map(json).collect();
    let events = |event: &str| lines.iter().filter(|line| line["event"] == event).collect::<Vec<_>>();
    let unknown = events("unknown");
    assert!(unknown.len() >= 60 - 32 && events("down").is_empty(), "{}", ended.out);
    assert!(unknown.iter().all(|line| line["reason"] == "local" && line["first"] == true), "{}", ended.out);
    assert_eq!(events("up").len(), 60 - unknown.len());
    let mut told = ended.err.lines();
    let limit = "twistor: 60 targets need 70 descriptors, 32 allowed; raise with ulimit -n 70";
    assert_eq!(told.next(), Some(limit), "{}", ended.err);
    let warnings: Vec<&str> = told.collect();
    let words = " of 60, for a reason of this machine: connection failed: socket: ";
    assert!(warnings[0].contains(words), "{}", ended.err);
}

#[test]
fn a_limit_of_descriptors_that_can_be_raised_is() {
    let service = Service::silent("127.0.0.1:0");
    let targets: Vec<String> =
        (0..60).map(|number| format!("n{number}=hold://{}", service.address)).collect();
    let targets: Vec<&str> = targets.iter().map(String::as_str).collect();
    let twice = [&["monitor", "--count", "2", "--interval", "1s"][..], &targets].concat();
    let ended = Running::begin(with_descriptors("-Sn 32", &twice)).end();
    assert_eq!((ended.code, ended.err.as_str()), (Some(0), ""));
    assert_eq!(ended.out.matches("connected in").count(), 60, "{}", ended.out);
}

#[test]
fn a_machine_without_a_route_blames_no_target() {
    let arguments = ["monitor", "--once", "--json", "tcp://192.0.2.1:80", "hold://192.0.2.1:81"];
    let Some(monitor) = twistor_without_routes(&arguments) else { return };
    let mut monitor = Running::begin(monitor);
    for _ in 0..2 {
        let line = json(&monitor.line());
        assert_eq!((&line["event"], &line["reason"]), (&"unknown".into(), &"local".into()), "{line}");
        let detail = line["detail"].as_str().unwrap();
        assert!(detail.starts_with("this machine has no route to it: connect: "), "{detail}");
    }
    let ended = monitor.end();
    let words = "unknown targets: 2 of 2, for a reason of this machine: this machine has no route to it: ";
    assert!(ended.err.contains(words), "{}", ended.err);
    assert_eq!(ended.code, Some(1));
}

#[test]
fn once_is_a_failure_when_something_is_unknown() {
    let ended = run(&["monitor", "--once", "tcp:127.0.0.1:9:bind=192.0.2.1"]);
    assert_eq!(ended.code, Some(1));
    assert!(ended.out.contains("  unknown  not checked: local address: bind: "), "{}", ended.out);
    assert!(
        ended.err.contains("unknown targets: 1 of 1, ") && ended.err.lines().count() == 1,
        "{}",
        ended.err
    );
}

#[test]
fn a_server_that_closes_connections_stays_up() {
    struct Closing;
    impl twistor::Protocol for Closing {
        fn connection_made(&mut self, transport: &mut twistor::Transport<'_>) {
            let lifetime = std::time::Duration::from_millis(1500);
            transport.call_later(lifetime, |_: &mut Closing, transport| transport.lose_connection());
        }

        fn data_received(&mut self, _: &mut twistor::Transport<'_>, _: &[u8]) {}
    }
    let service = Service::start("127.0.0.1:0", || Closing);
    let target = format!("door=hold://{}", service.address);
    let mut monitor = Running::start(&["monitor", &target]);
    monitor.line_with(&["door  up ", "connected in"]);
    monitor.line_with(&["door  up ", "closed by the peer after ", "s idle, reconnected in "]);
    let ended = monitor.end_by(Signal::TERM);
    assert_eq!((ended.code, ended.err.as_str()), (Some(0), ""));
    assert!(ended.out.contains("reconnects") && ended.out.contains("100 %"), "{}", ended.out);
}

/// A network of its own behind a link that can be cut. It goes when it is dropped.
struct Network {
    name: String,
    /// The address of the host in it.
    there: String,
}

impl Network {
    /// `None`, and a word past the capture of passing tests, where it cannot be made.
    fn new() -> Option<Network> {
        let id = std::process::id();
        let name = format!("twistor-{id}");
        let [high, low] = [100 + id / 250 % 100, 1 + id % 250];
        let (here, there) = (format!("10.{high}.{low}.1/24"), format!("10.{high}.{low}.2"));
        // The names of interfaces have at most 15 bytes.
        let (near, far) = (format!("tw{id}a"), format!("tw{id}b"));
        let network = Network { name: name.clone(), there: there.clone() };
        let made = tool("ip", &["netns", "add", &name])
            && tool("ip", &["link", "add", &near, "type", "veth", "peer", "name", &far, "netns", &name])
            && tool("ip", &["addr", "add", &here, "dev", &near])
            && tool("ip", &["link", "set", &near, "up"])
            && tool("ip", &["-n", &name, "addr", "add", &format!("{there}/24"), "dev", &far])
            && tool("ip", &["-n", &name, "link", "set", &far, "up"])
            && network.cut("input")
            && network.mend();
        if !made {
            use std::io::Write;
            let _ =
                writeln!(std::io::stderr(), "SKIPPED: no network of its own can be made, or no nft in it");
        }
        made.then_some(network)
    }

    fn inside(&self, command: &[&str]) -> Vec<String> {
        let words = ["netns", "exec", &self.name].into_iter().chain(command.iter().copied());
        words.map(str::to_owned).collect()
    }

    fn nft(&self, rules: &str) -> bool {
        let arguments = self.inside(&["nft", rules]);
        tool("ip", &arguments.iter().map(String::as_str).collect::<Vec<_>>())
    }

    /// Drops what comes in ("input") or goes out ("output") there.
    fn cut(&self, way: &str) -> bool {
        let policy = format!("{{ type filter hook {way} priority 0; policy drop; }}");
        self.nft("add table inet cut") && self.nft(&format!("add chain inet cut dropped {policy}"))
    }

    fn mend(&self) -> bool {
        self.nft("delete table inet cut")
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        // Both ends of the link go with it. Without the rights for it there is nothing to remove.
        tool("ip", &["netns", "del", &self.name]);
    }
}

fn tool(program: &str, arguments: &[&str]) -> bool {
    let quiet = std::process::Stdio::null;
    let mut command = std::process::Command::new(program);
    command.args(arguments).stdin(quiet()).stdout(quiet()).stderr(quiet());
    command.status().is_ok_and(|status| status.success())
}

#[test]
fn a_held_peer_behind_a_cut_link_is_down_and_up_again() {
    let Some(network) = Network::new() else { return };
    let listen = format!("tcp:{}:0", network.there);
    let mut echo = std::process::Command::new("ip");
    echo.args(network.inside(&[env!("CARGO_BIN_EXE_twistor"), "echo", "--listen", &listen]));
    let mut echo = Running::begin(echo);
    let line = echo.line();
    let target = format!("hold://{}:{}", network.there, line.rsplit_once(':').unwrap().1);
    let arguments = ["--json", "--lost-after", "3s", "--timeout", "500ms", "--backoff", "100ms"];
    let mut monitor =
        Running::start(&[&["monitor", &target][..], &arguments, &["--backoff-max", "100ms"]].concat());
    monitor.line_with(&[r#""event":"up""#]);
    for way in ["input", "output"] {
        assert!(network.cut(way));
        // Without a sign of life being asked for, it would never be known.
        let down = json(&monitor.line());
        assert_eq!((&down["event"], &down["reason"]), (&"down".into(), &"broken".into()), "{way}");
        assert!(network.mend());
        monitor.line_with(&[r#""event":"up""#]);
    }
    assert_eq!(monitor.end_by(Signal::TERM).code, Some(0));
    echo.end_by(Signal::TERM);
}
