//! An error that the system answers to any call ends what it concerns, with that error as its reason, and nothing else.
//!
//! The errors are injected by strace into a child that runs the same test. Where strace is absent, the tests say so.

mod world;

use std::cell::Cell;
use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::rc::Rc;
use std::time::Duration;

use twistor::{Protocol, Reason, Transport};
use world::child;
use world::peer::{Peer, connection, turns};
use world::{Record, Recorder, World, on_each_back_end, once};

/// Runs `body` in a child under strace, with these calls traced and tampered with; returns what was traced. `None` in
/// the child, and where there is no strace.
fn under_strace(test: &str, tampering: &str, body: impl FnOnce(&World)) -> Option<String> {
    let works =
        || Command::new("strace").args(["-qq", "-o", "/dev/null", "true"]).stderr(Stdio::null()).status();
    if !child::inside() && !works().is_ok_and(|status| status.success()) {
        eprintln!("SKIPPED: {test} needs strace, which is absent here or must not trace");
        return None;
    }
    let trace = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("{test}-{}", std::process::id()));
    let first = format!("exec strace -f -qq -o {} {tampering} \"$0\" \"$@\";", trace.display());
    let child = child::begin(test, &first);
    match child {
        None => {
            let body = Cell::new(Some(body));
            on_each_back_end(|world| body.take().expect("there is one back end that strace can see")(world));
            None
        }
        Some(child) => {
            child.succeeds();
            let traced = fs::read_to_string(&trace).unwrap();
            fs::remove_file(trace).unwrap();
            Some(traced)
        }
    }
}

/// Sends back what it is sent, and records the error that ends it.
struct Echo(Record);

impl Protocol for Echo {
    fn data_received(&mut self, transport: &mut Transport<'_>, data: &[u8]) {
        transport.write(data);
    }

    fn connection_lost(&mut self, _: &mut Transport<'_>, reason: &Reason) {
        match reason.system_error() {
            Some(error) => self.0.add(format!("{} {:?}", error.call, error.kind)),
            None => self.0.add(world::kind(reason)),
        }
    }
}

/// Twenty connections to an echo, of which each says something and is answered in full.
fn echoes_are_whole(world: &World) {
    let mut reactor = world.reactor();
    let record = Record::new();
    let lost = record.clone();
    let listener = reactor.listen_tcp(world.anywhere(), move || Echo(lost.clone())).unwrap();
    let answers = Rc::new(Cell::new(0));
    for _ in 0..20 {
        let answered = Rc::clone(&answers);
        let mut received = 0;
        let client = Recorder::new(&Record::new()).acting(move |what, transport, data| match what {
            "made" => transport.write(&[b'e'; 3000]),
            "data" => {
                received += data.len();
                if received == 3000 {
                    answered.set(answered.get() + 1);
                    transport.lose_connection();
                }
            }
            _ => {}
        });
        reactor.connect_tcp(listener.address(), once(client, &Record::new())).unwrap();
    }
    world.run_until(&mut reactor, "all are answered", |_| answers.get() == 20);
    reactor.stop_listening(&listener).unwrap();
    world.run_until_idle(&mut reactor);
    assert_eq!(record.events(), ["Done"; 20]);
}

#[test]
fn a_read_that_finds_nothing_is_no_end_and_no_data() {
    // Bytes that an edge promised are not there yet: the next edge brings them; nothing is lost, nobody spins.
    let name = "a_read_that_finds_nothing_is_no_end_and_no_data";
    let tampering = "-e trace=recvfrom -e inject=recvfrom:error=EAGAIN:when=1";
    let traced = under_strace(name, tampering, |world| {
        let mut reactor = world.reactor();
        let record = Record::new();
        let (id, mut peer) = connection(world, &mut reactor, Recorder::new(&record));
        peer.send(b"one");
        turns(&mut reactor);
        assert_eq!(record.events(), ["made"]);
        peer.send(b" two");
        turns(&mut reactor);
        assert_eq!(record.events(), ["made", "data one two"]);
        reactor.transport(id).unwrap().abort_connection();
        world.run_until_idle(&mut reactor);
    });
    if let Some(traced) = traced {
        assert_eq!(traced.matches("(INJECTED)").count(), 1);
        assert!(traced.matches("recvfrom(").count() <= 4, "{traced}");
    }
}

#[test]
fn reads_and_writes_that_are_interrupted_are_tried_again() {
    let name = "reads_and_writes_that_are_interrupted_are_tried_again";
    let tampering = "-e trace=recvfrom,sendto -e inject=recvfrom,sendto:error=EINTR:when=1+2";
    if let Some(traced) = under_strace(name, tampering, echoes_are_whole) {
        assert!(traced.matches("(INJECTED)").count() >= 40);
    }
}

#[test]
fn a_poll_that_is_interrupted_is_made_again() {
    let name = "a_poll_that_is_interrupted_is_made_again";
    let tampering = "-e trace=epoll_wait -e inject=epoll_wait:error=EINTR:when=1+2";
    if let Some(traced) = under_strace(name, tampering, echoes_are_whole) {
        assert!(traced.contains("(INJECTED)"));
    }
}

#[test]
fn a_connection_that_was_aborted_before_it_was_accepted_does_not_end_the_accepting() {
    let name = "a_connection_that_was_aborted_before_it_was_accepted_does_not_end_the_accepting";
    let tampering = "-e trace=accept4 -e inject=accept4:error=ECONNABORTED:when=1+2";
    if let Some(traced) = under_strace(name, tampering, echoes_are_whole) {
        assert!(traced.matches("(INJECTED)").count() >= 20);
    }
}

#[test]
fn a_connection_that_cannot_be_watched_is_closed_and_others_go_on() {
    let name = "a_connection_that_cannot_be_watched_is_closed_and_others_go_on";
    // The waker, the listener, one connection; the second one.
    let tampering = "-e trace=epoll_ctl -e inject=epoll_ctl:error=ENOSPC:when=4";
    let traced = under_strace(name, tampering, |world| {
        let mut reactor = world.reactor();
        let listener = reactor.listen_tcp(world.anywhere(), || Echo(Record::new())).unwrap();
        let mut peers: Vec<Peer> = (0..3).map(|_| Peer::connect(listener.address())).collect();
        turns(&mut reactor);
        assert_eq!(reactor.statistics().connections, 2);
        assert_eq!(reactor.statistics().accept_errors, 1);
        assert_eq!(world.logged().len(), 1);
        for peer in [0, 2] {
            peers[peer].send(b"hello");
        }
        turns(&mut reactor);
        assert_eq!(peers[0].read_now(), b"hello");
        assert_eq!(peers[2].read_now(), b"hello");
        // The other one was told.
        assert_eq!(peers.remove(1).read_to_end(&mut reactor), (Vec::new(), None));
        drop(peers);
        reactor.stop_listening(&listener).unwrap();
        world.run_until_idle(&mut reactor);
    });
    if let Some(traced) = traced {
        assert_eq!(traced.matches("(INJECTED)").count(), 1, "{traced}");
    }
}

/// One connection, whose first call of this kind fails though its socket is well.
fn one_failure(test: &str, call: &str, errno: &str, expected: &str) {
    // The first to send is the peer.
    let when = if call == "sendto" { 2 } else { 1 };
    let tampering = format!("-e trace={call} -e inject={call}:error={errno}:when={when}");
    under_strace(test, &tampering, |world| {
        let mut reactor = world.reactor();
        let record = Record::new();
        let (_, mut peer) = connection(world, &mut reactor, Echo(record.clone()));
        let mut other = connection(world, &mut reactor, Echo(record.clone())).1;
        peer.send(b"hello");
        world.run_until(&mut reactor, "lost", |_| !record.events().is_empty());
        assert_eq!(record.take(), [expected]);
        // Others go on.
        other.send(b"still here");
        turns(&mut reactor);
        assert_eq!(other.read_now(), b"still here");
        drop(other);
        world.run_until_idle(&mut reactor);
        assert_eq!(record.events(), ["Done"]);
    });
}

/// A test for each call and error.
macro_rules! failures {
    ($($name:ident: $call:literal $errno:literal $expected:literal;)*) => {$(
        #[test]
        fn $name() {
            one_failure(stringify!($name), $call, $errno, $expected);
        }
    )*};
}

failures! {
    a_read_that_meets_a_reset_loses_the_connection: "recvfrom" "ECONNRESET" "recv ConnectionReset";
    a_read_that_times_out_loses_the_connection: "recvfrom" "ETIMEDOUT" "recv TimedOut";
    a_read_from_an_unreachable_host_loses_the_connection: "recvfrom" "EHOSTUNREACH" "recv HostUnreachable";
    a_read_from_an_unreachable_network_loses_the_connection: "recvfrom" "ENETUNREACH" "recv NetworkUnreachable";
    a_read_of_a_socket_that_is_not_connected_loses_the_connection: "recvfrom" "ENOTCONN" "recv NotConnected";
    a_write_that_meets_a_reset_loses_the_connection: "sendto" "ECONNRESET" "send ConnectionReset";
    a_write_to_a_closed_pipe_loses_the_connection: "sendto" "EPIPE" "send BrokenPipe";
    a_write_that_times_out_loses_the_connection: "sendto" "ETIMEDOUT" "send TimedOut";
    a_write_to_an_unreachable_host_loses_the_connection: "sendto" "EHOSTUNREACH" "send HostUnreachable";
    a_write_to_an_unreachable_network_loses_the_connection: "sendto" "ENETUNREACH" "send NetworkUnreachable";
    a_write_to_a_socket_that_is_not_connected_loses_the_connection: "sendto" "ENOTCONN" "send NotConnected";
}

#[test]
fn what_one_callback_writes_is_one_call_of_the_system() {
    let name = "what_one_callback_writes_is_one_call_of_the_system";
    let traced = under_strace(name, "-e trace=sendto -s 4", |world| {
        let mut reactor = world.reactor();
        let protocol = Recorder::new(&Record::new()).acting(|what, transport, _| {
            for _ in 0..100 {
                match what {
                    "made" => transport.write(b"made!"),
                    "data" => transport.write_sequence(&[b"da", b"", b"ta!"]),
                    _ => {}
                }
            }
        });
        let (id, mut peer) = connection(world, &mut reactor, protocol);
        peer.send(b"?");
        turns(&mut reactor);
        // From elsewhere it leaves together as well, at the end of the turn.
        reactor.call_later(Duration::ZERO, move |reactor| {
            for _ in 0..100 {
                reactor.transport(id).unwrap().write(b"timer");
            }
        });
        turns(&mut reactor);
        assert_eq!(peer.read_now().len(), 3 * 500);
        reactor.transport(id).unwrap().abort_connection();
        world.run_until_idle(&mut reactor);
    });
    if let Some(traced) = traced {
        for first in ["made", "data", "time"] {
            assert_eq!(traced.matches(&format!("\"{first}\"")).count(), 1, "{traced}");
        }
    }
}
