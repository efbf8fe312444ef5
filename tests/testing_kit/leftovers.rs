//! The kit's leak check, and its protocol that keeps what it hears.

use std::time::Duration;

use twistor::testing::{AccumulatingProtocol, Clock, MemoryReactor, StringTransport, assert_clean};
use twistor::{Reactor, Reason};

/// What the leak check says; nothing when it is content.
fn complaint(reactor: &Reactor) -> String {
    let checked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| assert_clean(reactor)));
    checked
        .map_or_else(|panic| panic.downcast_ref::<String>().cloned().unwrap_or_default(), |()| String::new())
}

#[test]
fn a_reactor_that_has_nothing_is_clean() {
    assert_clean(&Reactor::new().unwrap());
    assert_clean(Clock::new().reactor());
    assert_clean(&MemoryReactor::new().reactor());
}

#[test]
fn whatever_is_left_is_named() {
    let mut memory = MemoryReactor::new();
    memory.reactor().listen_tcp("192.0.2.1:80", AccumulatingProtocol::default).unwrap();
    assert!(complaint(&memory.reactor()).ends_with("  a listener on 192.0.2.1:80"));
    let visitor = memory.connect_from(([203, 0, 113, 9], 5), ([192, 0, 2, 1], 80));
    assert!(complaint(&memory.reactor()).contains("a connection with 203.0.113.9:5"));
    memory.reactor().connect_tcp("198.51.100.7:25", AccumulatingProtocol::default).unwrap();
    assert!(complaint(&memory.reactor()).contains("a connector to 198.51.100.7:25"));
    assert_eq!(memory.connecting().len(), 1);
    let text = complaint(&memory.reactor());
    assert!(text.contains("a connection attempt") && text.contains("a timed call"), "{text}");
    memory.reactor().call_later(Duration::from_secs(1), |_| ());
    assert!(complaint(&memory.reactor()).contains("2 timed calls"));
    memory.reactor().call_in_thread(|| (), |_, _| ()).unwrap();
    assert!(complaint(&memory.reactor()).contains("1 pending job results"));
    drop(visitor);
}

#[test]
fn a_connection_that_lingers_is_named_as_one() {
    let mut memory = MemoryReactor::new();
    let listener = memory.reactor().listen_tcp("192.0.2.1:80", AccumulatingProtocol::default).unwrap();
    let mut visitor = memory.connect(([192, 0, 2, 1], 80));
    memory.reactor().stop_listening(&listener).unwrap();
    let id = memory.reactor().connections()[0];
    let mut reactor = memory.reactor();
    let mut transport = reactor.transport(id).unwrap();
    transport.write(b"bye");
    transport.lose_connection();
    drop(reactor);
    assert_eq!(visitor.value(), b"bye");
    let text = complaint(&memory.reactor());
    assert!(text.contains("a lingering connection with"), "{text}");
    visitor.close();
    assert_eq!(complaint(&memory.reactor()), "");
}

#[test]
fn what_accumulates_is_all_that_a_protocol_hears() {
    let mut transport =
        StringTransport::new(AccumulatingProtocol { stays_open: true, ..AccumulatingProtocol::default() });
    transport.feed(b"ab");
    transport.feed(b"c");
    transport.with(|_, transport| transport.lose_write_connection());
    transport.with(|seen, transport| {
        assert!(seen.write_lost && !seen.read_lost);
        assert_eq!((seen.made, seen.peer.as_ref()), (1, Some(transport.peer())));
    });
    transport.reset();
    transport.with(|seen, _| {
        assert_eq!((seen.data.as_slice(), seen.pieces.as_slice()), (&b"abc"[..], &[2, 1][..]));
        assert!(matches!(seen.lost, Some(Reason::Lost(_))) && seen.closed == 1);
    });
}
