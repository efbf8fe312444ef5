//! An echo server whose system calls fail now and then serves on: what fails harms its own connection at most.
//!
//! The server is a child under strace, which makes its calls fail. Without strace nothing is tested, and that
//! is said on stderr.

use std::env;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::world::Turn;
use crate::world::child::test_path;
use crate::world::{child, on_the_real_network};
use twistor::{Protocol, Reactor, Settings, Transport};

/// Sends back what it is sent, and stops the reactor when asked to.
struct Echo;

impl Protocol for Echo {
    fn data_received(&mut self, transport: &mut Transport<'_>, data: &[u8]) {
        transport.write(data);
        if data.starts_with(b"stop") {
            transport.reactor().stop_gracefully();
        }
    }
}

/// In the child: serves, and says that there is nothing else to do.
fn is_the_child(test: &str) -> bool {
    let Ok(port) = env::var("PORT_OF_THE_CHILD") else { return false };
    assert!(child::begin(test, "").is_none());
    // One at a time: a client that retries while connections are shed is not shed with them.
    let settings = Settings { accepts_per_turn: 1, ..Settings::default() };
    let mut reactor = Reactor::with_settings(settings).unwrap();
    reactor.listen_tcp(format!("127.0.0.1:{port}"), || Echo).unwrap();
    reactor.call_when_running(|_| eprintln!("serves"));
    reactor.run().unwrap();
    true
}

/// Ten messages there and back; `None` when the connection does not live so long.
fn talk(port: u16) -> Option<()> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(20))).ok()?;
    for number in 0..10u8 {
        stream.write_all(&[number; 1000]).ok()?;
        let mut back = [0; 1000];
        stream.read_exact(&mut back).ok()?;
        assert_eq!(back, [number; 1000], "what comes back is what was sent");
    }
    Some(())
}

/// Serves twenty clients while a call fails, and returns how many of them were served well.
fn served_while(test: &str, call: &str, error: &str, when: &str) -> usize {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let inject = format!("-e trace={call} -e inject={call}:error={error}:when={when}");
    let strace =
        format!("export PORT_OF_THE_CHILD={port}; exec strace -f -qq -o /dev/null {inject} \"$0\" \"$@\";");
    let mut child = child::begin(test, &strace).unwrap();
    child.says("serves");
    let served = (0..20).filter_map(|_| talk(port)).count();
    // Any of these may be the one that fails, until the listener is closed.
    for _ in 0..200 {
        let Ok(mut stream) = TcpStream::connect(("127.0.0.1", port)) else { break };
        let _ = stream.write_all(b"stop");
        let _ = stream.read(&mut [0; 4]);
    }
    child.succeeds();
    served
}

/// Runs a promise, unless this is the child, which serves.
fn while_calls_fail(test: &str, promise: impl FnOnce()) {
    on_the_real_network("strace lets calls of the system fail", |world| {
        if is_the_child(test) {
            world.logged();
        } else if !strace_is_absent() {
            promise();
        }
    });
}

fn strace_is_absent() -> bool {
    let _turn = Turn::take();
    let quiet = || Stdio::null();
    let present = Command::new("strace").arg("-V").stdout(quiet()).stderr(quiet()).status().is_ok();
    if !present {
        let _ = writeln!(std::io::stderr(), "SKIPPED: strace is not installed");
    }
    !present
}

#[test]
fn interrupted_calls_are_made_again() {
    let test = test_path(interrupted_calls_are_made_again);
    while_calls_fail(test, || {
        for call in ["recvfrom", "sendto", "epoll_wait", "accept4"] {
            assert_eq!(served_while(test, call, "EINTR", "2+3"), 20, "{call}");
        }
    });
}

#[test]
fn after_a_failed_accept_other_connections_are_accepted() {
    let test = test_path(after_a_failed_accept_other_connections_are_accepted);
    while_calls_fail(test, || {
        for error in ["ECONNABORTED", "EPERM", "EPROTO", "ENOBUFS", "ENOMEM", "ENFILE"] {
            // The connection is still in the queue: strace only says that it is not. When the table of open files is full
            // it is closed with the help of the spare descriptor.
            let served = served_while(test, "accept4", error, "3+4");
            let expected = if error == "ENFILE" { 5..20 } else { 20..21 };
            assert!(expected.contains(&served), "{error}: {served} of 20");
        }
    });
}

#[test]
fn a_connection_that_cannot_be_watched_or_breaks_goes_alone() {
    let test = test_path(a_connection_that_cannot_be_watched_or_breaks_goes_alone);
    while_calls_fail(test, || {
        for (call, error, when) in [
            ("epoll_ctl", "ENOSPC", "8+5"),
            ("epoll_ctl", "ENOMEM", "8+5"),
            ("recvfrom", "ECONNRESET", "15+40"),
            ("recvfrom", "ETIMEDOUT", "15+40"),
            ("recvfrom", "EHOSTUNREACH", "15+40"),
            ("sendto", "EPIPE", "15+40"),
            ("sendto", "ECONNRESET", "15+40"),
            ("sendto", "ENETUNREACH", "15+40"),
        ] {
            let served = served_while(test, call, error, when);
            assert!((10..20).contains(&served), "{call} {error}: {served} of 20");
        }
    });
}
