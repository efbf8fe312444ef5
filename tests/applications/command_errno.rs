//! A system call of `twistor echo` that fails harms one connection at most, and the command serves on; one that fails
//! at the start is said in a line.
//!
//! strace lets the calls fail: what `errno_matrix` shows in the simulation, some of it with the real program and the real
//! system. Where strace is absent or must not trace, that is said on stderr, and nothing is tested.

use std::fs;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use crate::command::{Running, Signal};
use rustix::process::{Pid, kill_process};

/// A call that fails: its name, its error, the how-manieth time, and how many clients that may harm.
type Case = (&'static str, &'static str, u32, usize);

/// Errors of one connection, of which the command hears when it reads and writes.
const OF_A_CONNECTION: &[&str] = &[
    "ECONNRESET",
    "ETIMEDOUT",
    "EHOSTUNREACH",
    "ENETUNREACH",
    "ENOTCONN",
    "ENOMEM",
    "ENOBUFS",
    "EIO",
    "EPIPE",
];

/// Errors of an accept, and how many that wait may be closed unserved: without descriptors the peers are told so.
const OF_AN_ACCEPT: &[(&str, usize)] = &[
    ("EMFILE", CLIENTS),
    ("ENFILE", CLIENTS),
    ("ENOBUFS", 0),
    ("ENOMEM", 0),
    ("ECONNABORTED", 0),
    ("EPERM", 0),
    ("EPROTO", 0),
    ("EINTR", 0),
    ("ENETDOWN", 0),
    ("EHOSTUNREACH", 0),
    ("EIO", 0),
];

/// Calls of the start, and their errors: the command says why it cannot serve, and ends.
const AT_THE_START: &[(&str, &str)] = &[
    ("epoll_create1", "EMFILE"),
    ("epoll_create1", "ENOMEM"),
    ("eventfd2", "ENFILE"),
    ("epoll_ctl", "ENOSPC"),
    ("socket", "EMFILE"),
    ("socket", "EACCES"),
    ("socket", "ENOBUFS"),
    ("setsockopt", "ENOBUFS"),
    ("bind", "EADDRINUSE"),
    ("bind", "EACCES"),
    ("bind", "EADDRNOTAVAIL"),
    ("listen", "EADDRINUSE"),
    ("getsockname", "ENOBUFS"),
];

#[test]
fn a_failed_call_harms_at_most_one_client_and_serving_goes_on() {
    if strace_is_absent() {
        return;
    }
    let mut cases: Vec<Case> = Vec::new();
    // The first to read is who looks for signals, at the start.
    for when in [2, 3, 10] {
        cases.extend(OF_A_CONNECTION.iter().map(|errno| ("recvfrom", *errno, when, 1)));
        cases.extend(OF_A_CONNECTION.iter().map(|errno| ("sendto", *errno, when, 1)));
        cases.extend(["recvfrom", "sendto", "epoll_wait"].map(|call| (call, "EINTR", when, 0)));
    }
    for when in [1, 5] {
        cases.extend(OF_AN_ACCEPT.iter().map(|(errno, harm)| ("accept4", *errno, when, *harm)));
    }
    // The first ones are those of the start: the waker and the listener; the reused address, and what connections have from
    // their listener.
    cases.extend(["ENOSPC", "ENOMEM"].map(|errno| ("epoll_ctl", errno, 7, 1)));
    cases.extend(["EINVAL", "ENOBUFS"].map(|errno| ("setsockopt", errno, 3, 0)));
    assert!(cases.len() >= 40, "{} cases", cases.len());
    let count = cases.len();
    let at_rest = descriptors_at_rest();
    // Each waits more than it works.
    let bad: Vec<String> = thread::scope(|scope| {
        let parts = cases.chunks(count.div_ceil(TOGETHER));
        let threads: Vec<_> = parts
            .map(|part| {
                scope.spawn(move || part.iter().filter_map(|case| wrong(case, at_rest)).collect::<Vec<_>>())
            })
            .collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    });
    assert!(bad.is_empty(), "{} of {count}:\n{}", bad.len(), bad.join("\n"));
}

#[test]
fn a_failed_call_at_the_start_ends_with_a_one_line_reason() {
    if strace_is_absent() {
        return;
    }
    for case @ (call, errno) in AT_THE_START {
        let trace = trace_of(&format!("start-{call}-{errno}"));
        let ended = start(&trace, call, errno, 1).end();
        let traced = take(&trace);
        assert!(traced.contains("(INJECTED)"), "{case:?} was not reached:\n{traced}");
        let error = ended.err.trim_end();
        assert_eq!((ended.code, ended.out.as_str()), (Some(1), ""), "{case:?}: {error}");
        assert!(
            !error.is_empty() && !error.contains('\n') && !error.contains("panicked"),
            "{case:?}: {error}"
        );
    }
}

/// What is wrong in this case.
fn wrong(case: &Case, at_rest: usize) -> Option<String> {
    let (call, errno, when, harm) = *case;
    let trace = trace_of(&format!("{call}-{errno}-{when}"));
    let mut echo = start(&trace, call, errno, when);
    let line = echo.line();
    let address = line.strip_prefix("listening on tcp:").unwrap().to_owned();
    let process = echo.traced();
    let served = (0..CLIENTS).filter(|number| talk(&address, *number).is_ok()).count();
    // Whatever happened, others are served afterwards; those that come while it closes what waits are not yet.
    let goes_on = (0..20).any(|_| talk(&address, CLIENTS).is_ok());
    let closed = comes_to(|| open_descriptors(process) == at_rest);
    kill_process(Pid::from_raw(process).unwrap(), Signal::TERM).unwrap();
    let ended = echo.end();
    let traced = take(&trace);
    let struck = traced.matches("(INJECTED)").count();
    let well = struck == 1
        && served + harm >= CLIENTS
        && goes_on
        && closed
        && (ended.code, ended.out.as_str(), ended.err.as_str()) == (Some(0), "", "");
    (!well).then(|| {
        format!("{case:?}: struck {struck} times, {served} of {CLIENTS} served, goes on: {goes_on}, closed: {closed}, {ended:?}")
    })
}

/// Number of descriptors of a command that serves and has no connection.
#[expect(clippy::disallowed_methods, reason = "a peer that is not twistor")]
fn descriptors_at_rest() -> usize {
    let mut echo = Running::start(&["echo", "--listen", "tcp:127.0.0.1:0"]);
    let line = echo.line();
    let mut stream = TcpStream::connect(line.strip_prefix("listening on tcp:").unwrap()).unwrap();
    stream.set_read_timeout(Some(crate::command::TIME_LIMIT)).unwrap();
    stream.write_all(b"?").unwrap();
    stream.read_exact(&mut [0]).unwrap();
    // This client is one of them.
    open_descriptors(echo.id()) - 1
}

fn comes_to(done: impl Fn() -> bool) -> bool {
    (0..2000).any(|_| {
        done() || {
            thread::sleep(Duration::from_millis(1));
            false
        }
    })
}

fn start(trace: &Path, call: &str, errno: &str, when: u32) -> Running {
    let inject = format!("inject={call}:error={errno}:when={when}");
    let tampering = ["-e", &format!("trace={call}"), "-e", &inject];
    // With an option to set of each connection.
    let listen = "tcp:0:interface=127.0.0.1:keepalive=60s";
    Running::start_under_strace(&tampering, trace, &["echo", "--listen", listen])
}

/// Some messages there and back, and a clean end.
#[expect(clippy::disallowed_methods, reason = "a peer that is not twistor")]
fn talk(address: &str, number: usize) -> std::io::Result<()> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(crate::command::TIME_LIMIT))?;
    for round in 0..3 {
        let message = [(number * 3 + round) as u8; 1000];
        stream.write_all(&message)?;
        let mut back = [0; 1000];
        stream.read_exact(&mut back)?;
        assert_eq!(back, message, "what comes back is what was sent");
    }
    stream.shutdown(Shutdown::Write)?;
    let rest = stream.read_to_end(&mut Vec::new())?;
    assert_eq!(rest, 0, "nothing comes twice");
    Ok(())
}

fn open_descriptors(process: i32) -> usize {
    fs::read_dir(format!("/proc/{process}/fd")).map_or(0, Iterator::count)
}

fn trace_of(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("errno-{name}-{}", std::process::id()))
}

fn take(trace: &Path) -> String {
    let traced = fs::read_to_string(trace).unwrap();
    fs::remove_file(trace).unwrap();
    traced
}

fn strace_is_absent() -> bool {
    let status =
        Command::new("strace").args(["-qq", "-o", "/dev/null", "true"]).stderr(Stdio::null()).status();
    let present = status.is_ok_and(|status| status.success());
    if !present {
        // Past the capture of the test's output.
        let _ = writeln!(std::io::stderr(), "SKIPPED: strace is absent or must not trace");
    }
    !present
}

const CLIENTS: usize = 5;

/// Commands that run at once.
const TOGETHER: usize = 4;
