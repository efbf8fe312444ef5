//! An error that the system answers to any call ends what it concerns, with that error as its reason, and nothing else.

use std::io::ErrorKind;

use crate::world::child::test_path;
use crate::world::peer::{Peer, connection, turns};
use crate::world::strace::under_strace;
use crate::world::{Record, Recorder};
use twistor::{Protocol, Reason, Transport};

/// Sends back what it is sent, and records the error that ends it.
struct Echo(Record);

impl Protocol for Echo {
    fn data_received(&mut self, transport: &mut Transport<'_>, data: &[u8]) {
        transport.write(data);
    }

    fn connection_lost(&mut self, _: &mut Transport<'_>, reason: &Reason) {
        match reason.system_error() {
            Some(error) => self.0.add(format!("{} {:?}", error.call, error.kind)),
            None => self.0.add(crate::world::kind(reason)),
        }
    }
}

#[test]
fn a_read_that_finds_nothing_is_no_end_and_no_data() {
    // Bytes that an edge promised are not there yet: the next edge brings them; nothing is lost, and the loop does not spin.
    let name = test_path(a_read_that_finds_nothing_is_no_end_and_no_data);
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
fn a_connection_that_cannot_be_registered_is_closed_alone() {
    let name = test_path(a_connection_that_cannot_be_registered_is_closed_alone);
    // The waker, the listener, one connection; the second one.
    let tampering = "-e trace=epoll_ctl -e inject=epoll_ctl:error=ENOSPC:when=4";
    let traced = under_strace(name, tampering, |world| {
        let mut reactor = world.reactor();
        let listener = reactor.listen_tcp(world.anywhere(), || Echo(Record::new())).unwrap();
        let mut peers: Vec<Peer> = (0..3).map(|_| world.connect(listener.address())).collect();
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
        world.close(&mut reactor, &listener);
    });
    if let Some(traced) = traced {
        assert_eq!(traced.matches("(INJECTED)").count(), 1, "{traced}");
    }
}

#[test]
fn a_fin_that_cannot_be_sent_loses_the_connection() {
    let name = test_path(a_fin_that_cannot_be_sent_loses_the_connection);
    let tampering = "-e trace=shutdown -e inject=shutdown:error=ENOBUFS:when=1";
    let traced = under_strace(name, tampering, |world| {
        let mut reactor = world.reactor();
        let record = Record::new();
        let (id, mut peer) = connection(world, &mut reactor, Echo(record.clone()));
        reactor.transport(id).unwrap().lose_write_connection();
        // The peer's FIN would never come, for it waits for ours.
        world.run_until_idle(&mut reactor);
        assert_eq!(record.events().len(), 1);
        assert!(record.events()[0].starts_with("shutdown "), "{:?}", record.events());
        assert_eq!(peer.read_to_end(&mut reactor), (Vec::new(), Some(ErrorKind::ConnectionReset)));
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
            one_failure(test_path($name), $call, $errno, $expected);
        }
    )*};
}

failures! {
    a_read_that_meets_a_reset_loses_the_connection: "recvfrom" "ECONNRESET" "recv ConnectionReset";
    a_read_that_times_out_loses_the_connection: "recvfrom" "ETIMEDOUT" "recv TimedOut";
    a_read_from_an_unreachable_host_loses_the_connection: "recvfrom" "EHOSTUNREACH" "recv HostUnreachable";
    a_read_from_an_unreachable_network_loses_the_connection: "recvfrom" "ENETUNREACH" "recv NetworkUnreachable";
    a_read_of_an_unconnected_socket_loses_the_connection: "recvfrom" "ENOTCONN" "recv NotConnected";
    a_write_that_meets_a_reset_loses_the_connection: "sendto" "ECONNRESET" "send ConnectionReset";
    a_write_to_a_closed_pipe_loses_the_connection: "sendto" "EPIPE" "send BrokenPipe";
    a_write_that_times_out_loses_the_connection: "sendto" "ETIMEDOUT" "send TimedOut";
    a_write_to_an_unreachable_host_loses_the_connection: "sendto" "EHOSTUNREACH" "send HostUnreachable";
    a_write_to_an_unreachable_network_loses_the_connection: "sendto" "ENETUNREACH" "send NetworkUnreachable";
    a_write_to_an_unconnected_socket_loses_the_connection: "sendto" "ENOTCONN" "send NotConnected";
}
