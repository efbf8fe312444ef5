//! What the command writes never holds up what it does: readers stand still, go away, are slow, and get what there is.

use crate::command::{Running, Signal, TIME_LIMIT, twistor};
use std::io::{BufRead, BufReader, Read};
use std::net::TcpListener;
use std::os::fd::AsFd;
use std::process::{Child, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;

/// A service that tells of each connection and closes it.
fn door() -> (String, Receiver<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let (sender, came) = channel();
    thread::spawn(move || {
        for connection in listener.incoming() {
            drop(connection);
            if sender.send(()).is_err() {
                return;
            }
        }
    });
    (address, came)
}

fn wait_for(count: usize, came: &Receiver<()>) {
    for number in 0..count {
        let next = came.recv_timeout(TIME_LIMIT);
        next.unwrap_or_else(|_| panic!("only {number} of {count} connections came"));
    }
}

/// Makes a pipe so small that a few lines fill it, where the system can.
fn shrink(pipe: impl AsFd) {
    #[cfg(target_os = "linux")]
    rustix::pipe::fcntl_setpipe_size(pipe, 4096).unwrap();
    #[cfg(not(target_os = "linux"))]
    drop(pipe);
}

/// A monitor of one address, several times. Its lines are long and many, and are not read yet.
fn unread(address: &str, more: &[&str]) -> Child {
    let targets: Vec<String> =
        (0..8).map(|number| format!("{number}{}=tcp://{address}", "-".repeat(60))).collect();
    let mut monitor = twistor(&["monitor", "--json", "--every-probe", "--interval", "2ms"]);
    monitor.args(targets).args(more);
    let child = monitor.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    shrink(child.stdout.as_ref().unwrap());
    child
}

fn end(mut child: Child, signal: Signal) -> (Option<i32>, String) {
    rustix::process::kill_process(rustix::process::Pid::from_child(&child), signal).unwrap();
    let code = child.wait().unwrap().code();
    let mut err = String::new();
    child.stderr.take().unwrap().read_to_string(&mut err).unwrap();
    (code, err)
}

#[test]
fn a_stdout_that_is_not_read_stops_no_probe() {
    for signal in [Signal::TERM, Signal::INT] {
        let (address, came) = door();
        let monitor = unread(&address, &[]);
        // Several times as many as the pipe has lines.
        wait_for(1000, &came);
        let (code, err) = end(monitor, signal);
        assert_eq!((code, err.lines().count()), (Some(0), 1), "{err}");
        assert!(err.contains(" lines were dropped: stdout was not being read"), "{err}");
    }
}

#[test]
fn lines_that_found_no_room_are_counted_and_told() {
    let (address, came) = door();
    let mut monitor = unread(&address, &[]);
    // More than the queue holds.
    wait_for(6000, &came);
    let out = BufReader::new(monitor.stdout.take().unwrap());
    let reading = thread::spawn(move || out.lines().map_while(Result::ok).collect::<Vec<_>>());
    let mut told = String::new();
    let mut err = BufReader::new(monitor.stderr.take().unwrap());
    err.read_line(&mut told).unwrap();
    let count = told.strip_prefix("twistor: ").and_then(|rest| rest.split_once(" lines were dropped"));
    let count: usize = count.unwrap_or_else(|| panic!("{told}")).0.replace(',', "").parse().unwrap();
    assert!(count > 0 && told.ends_with(": stdout was not being read\n"), "{told}");
    rustix::process::kill_process(rustix::process::Pid::from_child(&monitor), Signal::TERM).unwrap();
    let lines = reading.join().unwrap();
    for line in &lines {
        serde_json::from_str::<serde_json::Value>(line).unwrap_or_else(|error| panic!("{error}: {line}"));
    }
    // It was being read again: nothing more is lost, and the summary is there.
    assert!(lines.iter().rev().take(8).all(|line| line.contains("\"summary\"")), "{:?}", lines.last());
    err.read_to_string(&mut told).unwrap();
    assert_eq!((monitor.wait().unwrap().code(), told.lines().count()), (Some(0), 1), "{told}");
}

#[test]
fn a_reader_that_comes_late_gets_everything() {
    let (address, came) = door();
    let mut monitor = unread(&address, &["--count", "100"]);
    // All is done, and waits for its reader.
    wait_for(800, &came);
    // Longer than the limit after a signal: as long as another one takes for 400 rounds.
    let (other_address, others) = door();
    let other = unread(&other_address, &[]);
    wait_for(3200, &others);
    end(other, Signal::TERM);
    let out = BufReader::new(monitor.stdout.take().unwrap());
    let lines: Vec<String> = out.lines().map(Result::unwrap).collect();
    assert_eq!(lines.len(), 8 * 100 + 8);
    let output = monitor.wait_with_output().unwrap();
    assert_eq!((output.status.code(), output.stderr.as_slice()), (Some(0), &b""[..]));
}

#[test]
fn a_stderr_that_is_not_read_stops_no_load() {
    let (address, _came) = door();
    let load = ["load", address.as_str(), "--hold", "-c", "200", "--for", "1ms"];
    let mut child = twistor(&load).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    shrink(child.stderr.as_ref().unwrap());
    // The report is written although what was told before is not read.
    let (mut first, mut out) = (String::new(), BufReader::new(child.stdout.take().unwrap()));
    out.read_line(&mut first).unwrap();
    assert!(!first.is_empty());
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let told = String::from_utf8(output.stderr).unwrap();
    assert!(told.lines().count() > 100, "{told}");
    drop(out);
}

#[test]
fn a_stdout_that_is_full_ends_it_at_once() {
    if !std::path::Path::new("/dev/full").exists() {
        return;
    }
    let (address, _came) = door();
    let (probed, feed) = (format!("tcp://{address}"), format!("http://{address}/"));
    for arguments in [
        // One line, and no other for an hour.
        &["monitor", "--interval", "1h", &probed][..],
        &["monitor", "--once", &probed],
        &["traffic", "--interval", "1h", &feed],
        &["traffic", "--count", "1", &feed],
        &["echo", "--listen", "tcp:127.0.0.1:0"],
        &["echo", "--listen", "tcp:127.0.0.1:0", "--processes", "2"],
        &["demo", "--for", "0"],
    ] {
        let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
        let output = twistor(arguments).stdout(full).output().unwrap();
        let err = String::from_utf8(output.stderr).unwrap();
        assert_eq!((output.status.code(), err.lines().count()), (Some(1), 1), "{arguments:?}: {err}");
        assert!(err.starts_with("twistor: cannot write to stdout: "), "{arguments:?}: {err}");
    }
}

#[test]
fn a_reader_that_goes_away_is_missed_without_a_line_for_it() {
    let (address, _came) = door();
    let mut monitor = twistor(&["monitor", "--interval", "1h", &format!("tcp://{address}")]);
    let mut child = monitor.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    // The first line, and no other for an hour: as `| head -1` reads it.
    let mut first = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut first).unwrap();
    assert!(first.contains(" up "), "{first}");
    let output = child.wait_with_output().unwrap();
    assert_eq!((output.status.code(), output.stderr.as_slice()), (Some(0), &b""[..]));
}

#[test]
fn a_server_goes_on_when_its_reader_has_gone() {
    let mut echo = Running::start(&["echo", "--listen", "tcp:127.0.0.1:0"]);
    let address = echo.line().rsplit_once("tcp:").unwrap().1.to_owned();
    let ended = crate::command::run(&["load", &address, "--for", "1ms"]);
    assert_eq!(ended.code, Some(0), "{}", ended.err);
    assert_eq!(echo.end_by(Signal::TERM).code, Some(0));
}
