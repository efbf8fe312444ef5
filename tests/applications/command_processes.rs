//! Several processes are one command: they share the ports and the load, end together, and what becomes of each is told.

use crate::command::{Ended, Running, Signal, TIME_LIMIT, run, twistor};
use rustix::process::{Pid, kill_process};
use serde_json::Value;
use std::collections::BTreeSet;
use std::fs;
use std::io::{Read, Write};
use std::net::{IpAddr, TcpStream};
use std::process::Command;
use std::sync::mpsc::channel;
use twistor::{Protocol, Transport};

/// `twistor echo` with these arguments, and where it listens.
fn echo(arguments: &[&str]) -> (Running, String) {
    let mut echo = Running::start(&[&["echo", "--listen", "tcp:127.0.0.1:0"], arguments].concat());
    let line = echo.line();
    let address = line.strip_prefix("listening on tcp:").unwrap_or_else(|| panic!("{line}"));
    (echo, address.to_owned())
}

/// The processes that a process has started.
fn children(parent: i32) -> Vec<i32> {
    let text = fs::read_to_string(format!("/proc/{parent}/task/{parent}/children")).unwrap();
    text.split_whitespace().map(|id| id.parse().unwrap()).collect()
}

/// Waits until a process has ended and was reaped by its parent. A pidfd reports it.
fn wait_for_the_end_of(process: i32) {
    let Some(id) = Pid::from_raw(process) else { return };
    let Ok(descriptor) = rustix::process::pidfd_open(id, rustix::process::PidfdFlags::empty()) else {
        return;
    };
    let mut wait = [rustix::event::PollFd::new(&descriptor, rustix::event::PollFlags::IN)];
    let timeout = rustix::event::Timespec { tv_sec: TIME_LIMIT.as_secs() as i64, tv_nsec: 0 };
    assert_eq!(rustix::event::poll(&mut wait, Some(&timeout)), Ok(1), "process {process} goes on");
}

/// A connection that has been accepted: a byte came back.
#[expect(clippy::disallowed_methods, reason = "a peer that is not twistor")]
fn accepted(address: &str) -> TcpStream {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(TIME_LIMIT)).unwrap();
    stream.write_all(b"x").unwrap();
    stream.read_exact(&mut [0]).unwrap();
    stream
}

/// The sockets that each poll of a process watches, as their links in `/proc` have them: every reactor has a poll.
fn watched(process: i32) -> Vec<BTreeSet<String>> {
    let fds = format!("/proc/{process}/fd");
    let link =
        |fd: &str| fs::read_link(format!("{fds}/{fd}")).map(|link| link.to_string_lossy().into_owned());
    let names =
        fs::read_dir(&fds).unwrap().map_while(Result::ok).filter_map(|fd| fd.file_name().into_string().ok());
    let polls = names.filter(|fd| link(fd).is_ok_and(|link| link == "anon_inode:[eventpoll]"));
    let sockets = |fd: String| {
        let info = fs::read_to_string(format!("/proc/{process}/fdinfo/{fd}")).unwrap();
        let fds = info.lines().filter_map(|line| line.strip_prefix("tfd:")?.split_whitespace().next());
        fds.filter_map(|fd| link(fd).ok()).filter(|link| link.starts_with("socket:")).collect()
    };
    polls.map(sockets).collect()
}

fn hold(address: &str, arguments: &[&str]) -> (Ended, Value) {
    let ended = run(&[&["load", address, "--hold", "--json", "--for", "50ms"], arguments].concat());
    let report = serde_json::from_str(&ended.out).unwrap_or_else(|error| panic!("{error}: {ended:?}"));
    (ended, report)
}

#[test]
fn every_worker_gets_some_of_the_connections() {
    for (arguments, workers) in [
        (&["--workers", "4"][..], 4),
        (&["--processes", "4"], 4),
        (&["--processes", "2", "--workers", "2"], 4),
    ] {
        let (echo, address) = echo(arguments);
        let serving = if arguments.contains(&"--processes") { children(echo.id()) } else { vec![echo.id()] };
        let look = || serving.iter().flat_map(|process| watched(*process));
        let before: BTreeSet<String> = look().flatten().collect();
        // That one of four gets less than two of 128 happens once in 10^13 times.
        let connections: Vec<TcpStream> = (0..128).map(|_| accepted(&address)).collect();
        let shares: Vec<usize> = look().map(|sockets| sockets.difference(&before).count()).collect();
        // One of the new sockets may be a reactor's own, for signals, where it was not yet there before.
        let with_some = shares.iter().filter(|share| **share > 1).count();
        assert_eq!(with_some, workers, "{arguments:?}: {shares:?}");
        assert!(shares.iter().sum::<usize>() >= connections.len(), "{arguments:?}: {shares:?}");
        drop(connections);
        let ended = echo.end_by(Signal::TERM);
        assert_eq!((ended.code, ended.out.as_str(), ended.err.as_str()), (Some(0), "", ""), "{arguments:?}");
    }
}

#[test]
fn a_worker_that_dies_is_told_and_its_exit_code_is_kept() {
    let (mut echo, mut told) =
        Running::begin_told(twistor(&["echo", "--listen", "tcp:127.0.0.1:0", "--processes", "3"]));
    let line = echo.line();
    let address = line.strip_prefix("listening on tcp:").unwrap_or_else(|| panic!("{line}"));
    let workers = children(echo.id());
    assert_eq!(workers.len(), 3);
    kill_process(Pid::from_raw(workers[1]).unwrap(), Signal::KILL).unwrap();
    let line =
        format!("twistor: worker 2 (process {}) ended: killed by SIGKILL; 2 of 3 continue", workers[1]);
    assert_eq!(told.next().unwrap().unwrap(), line);
    // The others share the port, and no connection goes to the dead process.
    let connections: Vec<TcpStream> = (0..16).map(|_| accepted(address)).collect();
    drop(connections);
    let ended = echo.end_by(Signal::TERM);
    assert_eq!((ended.code, ended.out.as_str(), told.next().is_none()), (Some(128 + 9), "", true));
}

#[test]
fn when_all_workers_have_died_the_command_ends() {
    let (echo, _) = echo(&["--processes", "2"]);
    for worker in children(echo.id()) {
        kill_process(Pid::from_raw(worker).unwrap(), Signal::KILL).unwrap();
    }
    let ended = echo.end();
    assert_eq!((ended.code, ended.err.lines().count()), (Some(128 + 9), 2), "{}", ended.err);
}

#[test]
fn workers_end_with_the_one_that_started_them_however_that_ends() {
    for signal in [Signal::TERM, Signal::INT, Signal::KILL] {
        let (echo, _) = echo(&["--processes", "3"]);
        let workers = children(echo.id());
        assert_eq!(workers.len(), 3);
        echo.signal(signal);
        workers.into_iter().for_each(wait_for_the_end_of);
    }
}

#[test]
fn what_keeps_workers_from_listening_is_one_line() {
    let taken = crate::command::Service::silent("127.0.0.1:0");
    let listen = format!("tcp:{}", taken.address);
    let ended = run(&["echo", "--listen", &listen, "--processes", "3"]);
    assert_eq!((ended.code, ended.out.as_str()), (Some(1), ""));
    assert!(ended.err.contains(&taken.address) && ended.err.lines().count() == 1, "{}", ended.err);
}

#[test]
fn the_shares_of_a_load_are_put_together() {
    let (_echo, address) = echo(&["--processes", "2"]);
    for arguments in [
        &["-c", "9", "--processes", "3"][..],
        &["-c", "8", "--processes", "2", "--threads", "2", "-d", "4", "-s", "1024"],
        &["-c", "6", "--processes", "3", "--rate", "3000"],
        &["-c", "4", "--processes", "2", "--churn", "--reset"],
        &["-c", "2", "--processes", "9", "--warm-up", "10ms"],
    ] {
        let ended = run(&[&["load", &address, "--json", "--for", "200ms"], arguments].concat());
        assert_eq!((ended.code, ended.err.as_str()), (Some(0), ""), "{arguments:?}: {}", ended.out);
        let report: Value = serde_json::from_str(&ended.out).unwrap();
        assert_eq!((&report["success"], &report["bottlenecks"]), (&true.into(), &Value::Array(Vec::new())));
        assert_eq!(report["endpoint"], format!("tcp:{address}"));
        let connections = report["config"]["connections"].as_u64().unwrap();
        if !arguments.contains(&"--churn") {
            assert_eq!(report["connections"]["made"], connections, "{arguments:?}");
            assert_eq!(report["connections"]["open"], connections, "{arguments:?}");
        }
        let answered = report["messages"]["answered"].as_u64().unwrap();
        assert!(answered >= connections, "{arguments:?}: {report}");
        assert_eq!(report["latency_ms"]["count"], answered, "{arguments:?}");
        let size = report["config"]["size"].as_u64().unwrap();
        assert_eq!(report["messages"]["bytes"], answered * size, "{arguments:?}");
    }
}

#[test]
fn held_connections_are_answered_once_each_over_all_processes() {
    let (_echo, address) = echo(&["--processes", "2"]);
    let (ended, report) = hold(&address, &["-c", "300", "--processes", "4"]);
    assert_eq!((ended.code, ended.err.as_str()), (Some(0), ""), "{report}");
    let connections = &report["connections"];
    assert_eq!((&connections["made"], &connections["open"]), (&300.into(), &300.into()));
    assert_eq!(
        (&report["messages"]["answered"], &report["messages"]["bytes"]),
        (&300.into(), &(300 * 64).into())
    );
    let ended = run(&["load", &address, "--hold", "-c", "300", "--processes", "4", "--for", "50ms"]);
    assert!(ended.out.starts_with(&format!("tcp:{address}: 300 connections held\n")), "{}", ended.out);
    assert!(
        ended.out.contains("300 stand after ") && ended.out.contains("errors       none"),
        "{}",
        ended.out
    );
}

#[test]
fn a_limit_that_stops_a_hold_is_named_with_value_and_remedy() {
    let (_echo, address) = echo(&[]);
    let load = |json: &str| {
        let line = format!(
            "ulimit -n 100; exec \"$0\" load {address} {json} --hold -c 300 --processes 2 --for 10ms"
        );
        let output = Command::new("/bin/sh")
            .args(["-c", &line, env!("CARGO_BIN_EXE_twistor")])
            .env_remove("RUST_LOG")
            .output()
            .unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (output.status.code(), text(output.stdout), text(output.stderr))
    };
    let (code, out, err) = load("--json");
    let report: Value = serde_json::from_str(&out).unwrap();
    let (made, stop) = (report["connections"]["made"].as_u64().unwrap(), &report["bottlenecks"][0]);
    assert_eq!(
        (code, &stop["limit"], &stop["connections"]),
        (Some(1), &"descriptors".into(), &(300 - made).into())
    );
    assert!((100..200).contains(&made), "two processes of a hundred descriptors: {made}");
    assert_eq!(report["messages"]["answered"], made, "those that stand are answered");
    assert_eq!(stop["now"], "100 for each process (ulimit -n)");
    assert!(stop["raise"].as_str().unwrap().starts_with("--processes 4, or "), "{stop}");
    assert!(err.lines().count() <= 2 && err.contains("Too many open files"), "one of each process: {err}");
    let (code, out, _) = load("");
    assert_eq!(code, Some(1));
    let statement = "\nwhat stopped it\n        ";
    assert!(out.contains(statement) && out.contains(" x descriptors of a process\n"), "{out}");
    assert!(out.contains("now:      100 for each process (ulimit -n)\n"), "{out}");
}

#[test]
fn a_server_that_has_enough_is_named_as_what_stopped_a_hold() {
    let mut command = Command::new("/bin/sh");
    let line = "ulimit -n 100; exec \"$0\" echo --listen tcp:127.0.0.1:0 --processes 2";
    command.args(["-c", line, env!("CARGO_BIN_EXE_twistor")]).env_remove("RUST_LOG");
    let mut echo = Running::begin(command);
    let line = echo.line();
    let address = line.strip_prefix("listening on tcp:").unwrap();
    let (ended, report) = hold(address, &["-c", "300"]);
    assert_eq!((ended.code, &report["bottlenecks"][0]["limit"]), (Some(1), &"closed".into()), "{report}");
    assert!(report["bottlenecks"][0]["raise"].as_str().unwrap().contains("--processes"), "{report}");
}

/// Says where each connection comes from.
struct Told(std::sync::mpsc::Sender<IpAddr>);

impl Protocol for Told {
    fn connection_made(&mut self, transport: &mut Transport<'_>) {
        self.0.send(transport.peer().ip().unwrap()).unwrap();
    }

    fn data_received(&mut self, transport: &mut Transport<'_>, data: &[u8]) {
        transport.write(data);
    }
}

#[test]
fn connections_use_the_requested_source_addresses_in_turn() {
    let (told, tells) = channel();
    let server = crate::command::Service::start("127.0.0.1:0", move || Told(told.clone()));
    let (ended, report) =
        hold(&server.address, &["-c", "12", "--processes", "2", "--from", "127.0.9.1,127.0.9.2,127.0.9.3"]);
    assert_eq!((ended.code, &report["config"]["sources"][2]), (Some(0), &"127.0.9.3".into()), "{report}");
    let mut peers: Vec<IpAddr> = tells.try_iter().collect();
    peers.sort();
    let wanted = ["127.0.9.1", "127.0.9.2", "127.0.9.3"].map(|text| text.parse::<IpAddr>().unwrap());
    assert_eq!(peers.len(), 12);
    for address in wanted {
        assert_eq!(peers.iter().filter(|peer| **peer == address).count(), 4, "{peers:?}");
    }
    assert_eq!(peers.iter().collect::<BTreeSet<_>>().len(), 3);
    let (ended, report) = hold(&server.address, &["--from", "192.0.2.1"]);
    assert_eq!(ended.code, Some(1), "{report}");
    assert!(ended.err.contains("local address"), "{}", ended.err);
    assert_eq!(report["bottlenecks"], Value::Array(Vec::new()), "that is no limit");
}

#[test]
fn a_process_of_a_load_that_dies_is_told_and_the_others_go_on() {
    let (_echo, address) = echo(&[]);
    let mut command =
        twistor(&["load", &address, "--hold", "--json", "-c", "30", "--processes", "3", "--for", "1h"]);
    command.env("RUST_LOG", "twistor=info");
    let (load, mut told) = stand(command);
    let processes = children(load.id());
    assert_eq!(processes.len(), 3);
    kill_process(Pid::from_raw(processes[2]).unwrap(), Signal::KILL).unwrap();
    wait_for_the_end_of(processes[2]);
    let mut line = String::new();
    while !line.contains("of the load") {
        line = told.next().expect("it tells of the death").unwrap();
    }
    assert_eq!(
        line,
        format!(
            "twistor: process 3 of the load ({}) ended: killed by SIGKILL; its 10 connections are lost",
            processes[2]
        )
    );
    load.signal(Signal::INT);
    let ended = load.end();
    let report: Value = serde_json::from_str(&ended.out).unwrap();
    assert_eq!((ended.code, &report["connections"]["open"]), (Some(1), &20.into()), "{report}");
    assert_eq!((&report["messages"]["answered"], &report["connections"]["lost"]), (&20.into(), &10.into()));
    let stop = &report["bottlenecks"][0];
    assert_eq!((&stop["limit"], &stop["connections"]), (&"workers".into(), &10.into()), "{report}");
}

#[test]
fn the_processes_of_a_load_end_with_it_however_that_ends() {
    let (_echo, address) = echo(&[]);
    for signal in [Signal::TERM, Signal::KILL] {
        let mut command =
            twistor(&["load", &address, "--hold", "-c", "6", "--processes", "3", "--for", "1h"]);
        command.env("RUST_LOG", "twistor=info");
        let (load, _told) = stand(command);
        let processes = children(load.id());
        assert_eq!(processes.len(), 3);
        load.signal(signal);
        processes.into_iter().for_each(wait_for_the_end_of);
    }
}

/// Starts a hold, and returns when all its connections stand, with what it tells after that.
fn stand(command: Command) -> (Running, impl Iterator<Item = std::io::Result<String>>) {
    let (load, mut told) = Running::begin_told(command);
    loop {
        let line = told.next().expect("it tells when they stand").unwrap();
        if line.contains("connections stand") {
            return (load, told);
        }
    }
}
