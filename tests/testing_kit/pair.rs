//! The kit's pair: two protocols whose bytes go over when the test says so.

use std::time::Duration;

use twistor::testing::{
    AccumulatingProtocol, MemoryReactor, Pair, PeerEnd, StringTransport, Wire, assert_clean,
};
use twistor::{Protocol, Reason, Settings, Transport};

/// Sends back what comes; after the client's end it closes.
struct Echo;

impl Protocol for Echo {
    fn data_received(&mut self, transport: &mut Transport<'_>, data: &[u8]) {
        transport.write(data);
    }
}

/// Says hello, and answers each piece.
struct Polite;

impl Protocol for Polite {
    fn connection_made(&mut self, transport: &mut Transport<'_>) {
        transport.write(b"hello");
    }

    fn data_received(&mut self, transport: &mut Transport<'_>, _: &[u8]) {
        transport.write(b"thanks");
    }
}

fn write<P: Protocol>(transport: &mut StringTransport<P>, data: &[u8]) {
    transport.with(|_, transport| transport.write(data));
}

fn heard(transport: &mut StringTransport<AccumulatingProtocol>) -> Vec<u8> {
    transport.with(|seen, _| std::mem::take(&mut seen.data))
}

#[test]
fn a_pump_carries_what_was_written_and_no_answer_to_it() {
    let mut pair = Pair::new(Echo, AccumulatingProtocol::default());
    assert_eq!(pair.pump(), 0);
    write(&mut pair.client, b"hello");
    assert_eq!((pair.client.value(), pair.server.value()), (&b"hello"[..], &b""[..]));
    assert_eq!(pair.pump(), 5);
    assert_eq!((pair.client.value(), pair.server.value()), (&b""[..], &b"hello"[..]));
    assert_eq!(heard(&mut pair.client), b"");
    assert_eq!(pair.pump(), 5);
    assert_eq!(heard(&mut pair.client), b"hello");
    assert_eq!(pair.pump(), 0);
}

#[test]
fn both_ways_are_carried_at_once() {
    let mut pair = Pair::new(Polite, Polite);
    assert_eq!(pair.pump(), 10);
    assert_eq!((pair.client.value(), pair.server.value()), (&b"thanks"[..], &b"thanks"[..]));
    assert_eq!(pair.pump(), 12);
}

#[test]
fn the_two_know_each_other_by_their_addresses() {
    let mut pair = Pair::new(Echo, Echo);
    let server = pair.server.with(|_, transport| (transport.host(), transport.peer().clone()));
    let client = pair.client.with(|_, transport| (transport.peer().clone(), transport.host()));
    assert_eq!(server, client);
    let times = (pair.server.with(|_, t| t.connect_time()), pair.client.with(|_, t| t.connect_time()));
    assert_eq!(times, (None, Some(Duration::ZERO)), "the client is the one that has connected");
}

#[test]
fn flushing_goes_on_until_both_are_quiet() {
    let mut pair = Pair::new(Echo, AccumulatingProtocol::default());
    write(&mut pair.client, &vec![b'x'; 300_000]);
    assert_eq!(pair.flush(), 600_000);
    pair.client.with(|seen, _| assert_eq!(seen.data.len(), 300_000));
    assert_eq!(pair.flush(), 0);
    assert_eq!(pair.now().since_origin(), Duration::ZERO, "no time has passed");
}

#[test]
#[should_panic(expected = "are not idle after")]
fn two_that_never_stop_are_found_out() {
    Pair::new(Polite, Echo).flush();
}

#[test]
fn an_end_is_carried_after_the_bytes_before_it() {
    let mut pair = Pair::new(Echo, AccumulatingProtocol::default());
    pair.client.with(|_, transport| {
        transport.write(b"last words");
        transport.lose_write_connection();
    });
    assert!(pair.server.lost().is_none() && !pair.server.disconnecting());
    assert_eq!(pair.pump(), 10);
    assert!(pair.server.disconnecting(), "it heard of the end, and closed");
    assert_eq!(pair.pump(), 10);
    assert_eq!((pair.server.lost(), pair.client.lost()), (Some(Reason::Done), Some(Reason::Done)));
    assert_eq!(heard(&mut pair.client), b"last words");
    pair.flush();
    assert_clean(&pair.server.reactor());
    assert_clean(&pair.client.reactor());
}

#[test]
fn an_abort_is_carried_as_a_reset() {
    let mut pair = Pair::new(AccumulatingProtocol::default(), AccumulatingProtocol::default());
    pair.client.with(|_, transport| transport.abort_connection());
    assert_eq!(pair.server.lost(), None);
    pair.flush();
    assert!(matches!(pair.server.lost(), Some(Reason::Lost(_))));
    assert_eq!(pair.client.lost(), Some(Reason::Aborted));
}

#[test]
fn one_side_alone_can_be_lost() {
    let mut pair = Pair::new(AccumulatingProtocol::default(), AccumulatingProtocol::default());
    pair.server.reset();
    assert!(matches!(pair.server.lost(), Some(Reason::Lost(_))));
    pair.flush();
    assert_eq!(pair.client.lost(), None);
    write(&mut pair.client, b"anybody?");
    pair.flush();
    assert_eq!(pair.client.lost(), None, "the wire does not know, and neither does the client");
    pair.client.reset();
    assert!(matches!(pair.client.lost(), Some(Reason::Lost(_))));
}

#[test]
fn a_cut_wire_carries_nothing_and_a_mended_one_all() {
    let mut pair = Pair::new(Echo, AccumulatingProtocol::default());
    pair.cut();
    write(&mut pair.client, b"one");
    pair.client.with(|_, transport| transport.lose_write_connection());
    assert_eq!((pair.pump(), pair.flush()), (0, 0));
    pair.advance(Duration::from_secs(3600));
    assert_eq!((pair.server.lost(), pair.client.lost()), (None, None));
    pair.restore();
    assert_eq!(pair.flush(), 6);
    assert_eq!(heard(&mut pair.client), b"one");
    assert_eq!(pair.server.lost(), Some(Reason::Done));
}

#[test]
fn bytes_on_the_wire_can_be_dropped_changed_and_made_up() {
    let mut pair = Pair::new(Echo, AccumulatingProtocol::default());
    write(&mut pair.client, b"lost");
    write(&mut pair.server, b"too");
    assert_eq!(pair.drop_bytes(), 7);
    assert_eq!(pair.flush(), 0);
    write(&mut pair.client, b"change me");
    let taken = pair.client.take();
    pair.server.feed(&taken.to_ascii_uppercase());
    pair.flush();
    assert_eq!(heard(&mut pair.client), b"CHANGE ME");
    pair.client.feed(b"not from the peer");
    assert_eq!(heard(&mut pair.client), b"not from the peer");
}

#[test]
fn time_passes_for_both_and_each_timer_has_its_own() {
    struct Ticks;
    impl Protocol for Ticks {
        fn connection_made(&mut self, transport: &mut Transport<'_>) {
            tick(transport);
        }
        fn data_received(&mut self, _: &mut Transport<'_>, _: &[u8]) {}
    }
    fn tick(transport: &mut Transport<'_>) {
        transport.call_later(Duration::from_secs(1), |_: &mut Ticks, transport| {
            let now = transport.now().since_origin().as_secs();
            transport.write(format!("{now} ").as_bytes());
            tick(transport);
        });
    }
    let mut pair = Pair::new(Ticks, Ticks);
    pair.advance(Duration::from_secs(3));
    assert_eq!((pair.server.value(), pair.client.value()), (&b"1 2 3 "[..], &b"1 2 3 "[..]));
    // Through one side it passes for both.
    pair.server.advance(Duration::from_secs(1));
    assert_eq!(pair.client.value(), b"1 2 3 4 ");
    assert_eq!(pair.now().since_origin(), Duration::from_secs(4));
}

#[test]
fn one_that_does_not_read_pushes_back_until_the_other_pauses() {
    let settings = Settings { high_water: 10_000, ..Settings::default() };
    let mut pair =
        Pair::with_settings(settings, AccumulatingProtocol::default(), AccumulatingProtocol::default());
    pair.client.with(|_, transport| transport.pause_reading());
    let (mut written, mut carried) = (0, 0);
    while !pair.server.writing_paused() {
        write(&mut pair.server, &[b'x'; 1000]);
        written += 1000;
        carried += pair.flush();
        assert!(written < 1_000_000, "there is no backpressure");
    }
    pair.client.with(|_, transport| transport.resume_reading());
    pair.flush();
    assert!(!pair.server.writing_paused());
    assert_eq!(pair.client.with(|seen, _| seen.data.len()), written);
    pair.server.with(|seen, _| assert_eq!((seen.paused, seen.resumed), (1, 1)));
    assert!(carried < written);
}

#[test]
fn flushing_a_pair_does_not_resume_reading_the_test_stopped() {
    let mut pair = Pair::new(Echo, AccumulatingProtocol::default());
    pair.client.stop_reading();
    write(&mut pair.client, b"held");
    assert_eq!((pair.flush(), pair.client.write_buffer_size()), (0, 4));
    pair.client.resume_reading();
    assert_eq!(pair.flush(), 8);
}

#[test]
fn a_panic_on_either_side_is_the_tests() {
    struct Angry;
    impl Protocol for Angry {
        fn data_received(&mut self, _: &mut Transport<'_>, _: &[u8]) {
            panic!("enough");
        }
    }
    let mut pair = Pair::new(Angry, Echo);
    write(&mut pair.client, b"x");
    let pumped = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| pair.pump()));
    let text = pumped.unwrap_err().downcast_ref::<String>().cloned().unwrap_or_default();
    assert!(text.contains("enough"), "{text}");
}

#[test]
fn a_wire_joins_whatever_two_peers_there_are() {
    let mut memory = MemoryReactor::new();
    memory.reactor().connect_tcp("example.org:7", || Polite).unwrap();
    let mut peer = memory.succeed_next();
    let mut server = StringTransport::new(AccumulatingProtocol::default());
    let mut wire = Wire::new();
    assert_eq!(wire.pump(&mut peer, &mut server), 5);
    server.with(|seen, transport| {
        assert_eq!(seen.data, b"hello");
        transport.write(b"x");
        transport.lose_connection();
    });
    // The answer as well, which the server no longer reads.
    assert_eq!(wire.flush(&mut peer, &mut server), 7);
    assert_eq!(peer.end(), Some(PeerEnd::Finished));
    assert_eq!(memory.reactor().statistics().connections_lost, 1);
}
