//! The kit's string transport: one protocol, with the test as its peer.

use std::any::{Any, TypeId};
use std::net::SocketAddr;
use std::time::Duration;

use twistor::testing::{AccumulatingProtocol, ConnectionSetup, PeerEnd, Role, StringTransport, assert_clean};
use twistor::{Address, Producer, ProducerKind, Protocol, Reason, Settings, Transport};

/// Answers each piece with a dot and its length, says hello, and does as it is told.
#[derive(Default)]
struct Server;

impl Protocol for Server {
    fn connection_made(&mut self, transport: &mut Transport<'_>) {
        transport.write(b"hello.");
    }

    fn data_received(&mut self, transport: &mut Transport<'_>, data: &[u8]) {
        match data {
            b"quit" => transport.lose_connection(),
            b"abort" => transport.abort_connection(),
            b"fin" => transport.lose_write_connection(),
            b"pause" => transport.pause_reading(),
            b"panic" => panic!("as it was told"),
            b"stop" => assert!(transport.reactor().stop()),
            b"later" => {
                transport.call_later(Duration::from_secs(3), |_: &mut Server, transport| {
                    let now = transport.now().since_origin().as_secs();
                    transport.write(now.to_string().as_bytes());
                });
            }
            data => transport.write(format!("{}.", data.len()).as_bytes()),
        }
    }
}

#[test]
fn what_was_written_is_looked_at_taken_and_cleared() {
    let mut transport = StringTransport::new(Server);
    assert_eq!(transport.value(), b"hello.");
    transport.feed(b"one");
    assert_eq!(transport.value(), b"hello.3.");
    assert_eq!(transport.take(), b"hello.3.");
    transport.feed(b"four");
    transport.clear();
    assert_eq!(transport.value(), b"");
}

#[test]
fn each_feed_is_one_piece_however_long_it_is() {
    let mut transport = StringTransport::new(AccumulatingProtocol::default());
    let lengths = [1, 32 * 1024, 32 * 1024 + 1, 65_536, 3_000_000, 7];
    for length in lengths {
        transport.feed(&vec![b'x'; length]);
    }
    transport.feed(b"");
    transport.with(|seen, _| assert_eq!(seen.pieces, lengths));
    let mut transport = ConnectionSetup::client().connect(AccumulatingProtocol::default());
    transport.feed(&vec![b'x'; 1_000_000]);
    transport.with(|seen, _| assert_eq!(seen.pieces, [1_000_000]));
}

#[test]
fn much_that_was_written_at_once_is_all_there() {
    let mut transport = StringTransport::new(AccumulatingProtocol::default());
    transport.with(|_, transport| transport.write(&vec![b'y'; 2_000_000]));
    assert_eq!(transport.value().len(), 2_000_000);
    assert_eq!(transport.write_buffer_size(), 0);
}

#[test]
fn a_close_is_seen_as_it_is_asked_for_and_as_it_ends() {
    let mut transport = StringTransport::new(Server);
    assert!(!transport.disconnecting() && transport.lost().is_none() && transport.end().is_none());
    transport.feed(b"quit");
    assert!(transport.disconnecting() && !transport.aborted());
    assert_eq!(transport.lost(), Some(Reason::Done));
    assert_eq!(transport.end(), Some(PeerEnd::Finished));
    assert_clean(&transport.reactor());
    // What comes after it goes nowhere.
    transport.feed(b"more");
    transport.finish();
    transport.reset();
    transport.close();
    assert_eq!(transport.value(), b"hello.");
}

#[test]
fn a_close_waits_for_what_the_peer_does_not_take() {
    let mut transport = StringTransport::new(Server);
    transport.stop_reading();
    transport.feed(b"one");
    transport.feed(b"quit");
    assert!(transport.disconnecting() && transport.lost().is_none());
    assert_eq!(transport.write_buffer_size(), 2);
    transport.resume_reading();
    assert_eq!(transport.value(), b"hello.3.");
    assert_eq!(transport.lost(), Some(Reason::Done));
}

#[test]
fn a_peer_that_takes_nothing_while_closing_is_given_up_in_time() {
    let mut transport = StringTransport::new(Server);
    transport.stop_reading();
    transport.feed(b"one");
    transport.feed(b"quit");
    transport.advance(Duration::from_secs(29));
    assert_eq!(transport.lost(), None);
    transport.advance(Duration::from_secs(1));
    assert_eq!(transport.lost(), Some(Reason::CloseTimedOut(Duration::from_secs(30))));
    assert!(transport.aborted());
}

#[test]
fn an_abort_is_a_reset() {
    let mut transport = StringTransport::new(Server);
    transport.feed(b"abort");
    assert!(transport.aborted() && transport.disconnecting());
    assert_eq!(transport.end(), Some(PeerEnd::Reset));
    assert_eq!(transport.lost(), Some(Reason::Aborted));
    assert_clean(&transport.reactor());
}

#[test]
fn half_a_close_leaves_the_other_half_open() {
    let mut transport = StringTransport::new(Server);
    transport.feed(b"fin");
    assert!(transport.write_closed() && !transport.disconnecting() && transport.lost().is_none());
    transport.finish();
    assert_eq!(transport.lost(), Some(Reason::Done));
    let mut transport =
        StringTransport::new(AccumulatingProtocol { stays_open: true, ..AccumulatingProtocol::default() });
    transport.finish();
    assert!(!transport.write_closed() && !transport.disconnecting());
    transport.with(|seen, transport| {
        assert!(seen.read_lost);
        transport.write(b"still here");
        transport.lose_connection();
    });
    assert_eq!(transport.value(), b"still here");
    assert_eq!(transport.lost(), Some(Reason::Done));
}

#[test]
fn a_reset_by_the_peer_is_a_loss() {
    let mut transport = StringTransport::new(AccumulatingProtocol::default());
    transport.feed(b"bytes before it");
    transport.reset();
    assert!(matches!(transport.lost(), Some(Reason::Lost(_))), "{:?}", transport.lost());
    transport.with(|seen, _| assert_eq!((seen.data.as_slice(), seen.closed), (&b"bytes before it"[..], 1)));
}

#[test]
fn a_peer_that_closed_both_ways_answers_writes_with_a_reset() {
    let mut transport =
        StringTransport::new(AccumulatingProtocol { stays_open: true, ..AccumulatingProtocol::default() });
    transport.close();
    assert_eq!(transport.lost(), None);
    transport.with(|_, transport| transport.write(b"anybody?"));
    transport.with(|_, transport| transport.write(b"anybody?"));
    assert!(transport.lost().is_some_and(|reason| !reason.is_clean()));
}

#[test]
fn what_is_fed_to_a_protocol_that_does_not_read_waits() {
    let mut transport = StringTransport::new(Server);
    transport.clear();
    transport.feed(b"pause");
    assert!(transport.reading_paused());
    transport.feed(b"12345");
    transport.feed(b"678");
    assert_eq!(transport.value(), b"");
    transport.with(|_, transport| transport.resume_reading());
    assert!(!transport.reading_paused());
    assert_eq!(transport.value(), b"8.");
}

#[test]
fn the_end_that_follows_what_is_not_read_waits_with_it() {
    let mut transport = StringTransport::new(AccumulatingProtocol::default());
    transport.with(|_, transport| transport.pause_reading());
    transport.feed(b"first");
    transport.finish();
    transport.with(|seen, transport| {
        assert!(seen.data.is_empty() && !seen.read_lost);
        transport.resume_reading();
    });
    transport.with(|seen, _| assert!(seen.data == b"first" && seen.read_lost));
}

#[test]
fn a_peer_that_does_not_read_brings_the_writer_over_its_mark() {
    let mut transport = StringTransport::new(AccumulatingProtocol::default());
    transport.stop_reading();
    transport.with(|_, transport| {
        transport.set_water_marks(100, 10);
        transport.write(&[b'w'; 100]);
    });
    assert!(!transport.writing_paused());
    transport.with(|seen, transport| {
        assert_eq!(seen.paused, 0);
        transport.write(b"w");
    });
    assert!(transport.writing_paused());
    assert_eq!(transport.write_buffer_size(), 101);
    assert_eq!(transport.value(), b"");
    transport.with(|seen, _| assert_eq!((seen.paused, seen.resumed), (1, 0)));
    transport.resume_reading();
    transport.with(|seen, _| assert_eq!((seen.paused, seen.resumed), (1, 1)));
    assert_eq!((transport.value().len(), transport.write_buffer_size()), (101, 0));
}

#[test]
fn reading_can_be_stopped_before_anything_and_more_than_once() {
    let mut transport = StringTransport::new(AccumulatingProtocol::default());
    for round in 1..=3 {
        transport.stop_reading();
        transport.stop_reading();
        transport.with(|_, transport| transport.write(b"abc"));
        assert_eq!(transport.write_buffer_size(), 3);
        transport.resume_reading();
        assert_eq!(transport.value().len(), 3 * round);
    }
}

/// Writes what it is asked for, so many times; counts.
struct Fountain {
    pieces: usize,
    stopped: std::rc::Rc<std::cell::Cell<bool>>,
}

impl Producer for Fountain {
    fn resume_producing(&mut self, transport: &mut Transport<'_>) {
        match self.pieces.checked_sub(1) {
            Some(left) => {
                self.pieces = left;
                transport.write(b"drop ");
            }
            None => transport.unregister_producer(),
        }
    }

    fn pause_producing(&mut self, transport: &mut Transport<'_>) {
        transport.write(b"(paused)");
    }

    fn stop_producing(&mut self, _: &mut twistor::Reactor) {
        self.stopped.set(true);
    }
}

#[test]
fn a_producer_is_seen_and_driven_by_what_the_peer_takes() {
    let stopped = std::rc::Rc::default();
    let mut transport = StringTransport::new(AccumulatingProtocol::default());
    assert_eq!(transport.producer(), None);
    transport.stop_reading();
    transport.with(|_, transport| {
        let fountain = Fountain { pieces: 3, stopped: std::rc::Rc::clone(&stopped) };
        transport.register_producer(fountain, ProducerKind::Pull).unwrap();
    });
    assert_eq!(transport.producer(), Some(ProducerKind::Pull));
    assert_eq!(transport.write_buffer_size(), 5);
    transport.resume_reading();
    assert_eq!(transport.value(), b"drop drop drop ");
    assert_eq!(transport.producer(), None);

    transport.with(|_, transport| {
        let fountain = Fountain { pieces: 1, stopped: std::rc::Rc::clone(&stopped) };
        transport.register_producer(fountain, ProducerKind::Push).unwrap();
        transport.set_water_marks(7, 0);
    });
    assert_eq!(transport.producer(), Some(ProducerKind::Push));
    transport.clear();
    transport.stop_reading();
    transport.with(|_, transport| transport.write(b"too much"));
    transport.resume_reading();
    assert_eq!(transport.value(), b"too much(paused)drop ");
    transport.reset();
    assert!(stopped.get(), "its consumer is gone");
}

#[test]
fn a_producer_without_an_end_waits_for_the_test_to_look() {
    let mut transport = StringTransport::new(AccumulatingProtocol::default());
    transport.with(|_, transport| {
        transport.set_water_marks(0, 0);
        let endless = Fountain { pieces: usize::MAX, stopped: std::rc::Rc::default() };
        // A large piece at a time would do in fewer turns.
        transport.register_producer(Large(endless), ProducerKind::Pull).unwrap();
    });
    let first = transport.take().len();
    assert!(first >= 1024 * 1024, "{first}");
    assert!(!transport.take().is_empty(), "it goes on");
}

struct Large(Fountain);

impl Producer for Large {
    fn resume_producing(&mut self, transport: &mut Transport<'_>) {
        self.0.pieces -= 1;
        transport.write(&[b'L'; 1024 * 1024]);
    }
}

#[test]
fn time_stands_still_until_it_is_told_to_pass() {
    let mut transport = StringTransport::new(Server);
    transport.feed(b"later");
    for _ in 0..100 {
        transport.feed(b"1");
    }
    assert_eq!(transport.now().since_origin(), Duration::ZERO);
    transport.clear();
    transport.advance(Duration::from_millis(2999));
    assert_eq!(transport.value(), b"");
    transport.advance(Duration::from_secs(10));
    assert_eq!(transport.value(), b"3");
    assert_eq!(transport.now().since_origin(), Duration::from_millis(12_999));
}

#[test]
fn the_protocol_is_there_before_and_after_the_end() {
    let mut transport = StringTransport::new(AccumulatingProtocol::default());
    transport.feed(b"data");
    assert_eq!(transport.with(|seen, transport| (seen.made, transport.is_closing())), (1, false));
    transport.finish();
    let host = transport.with(|seen, transport| {
        assert_eq!((seen.closed, &seen.lost), (1, &Some(Reason::Done)));
        assert!(transport.is_closing());
        // It is discarded.
        transport.write(b"hello?");
        seen.data.clear();
        transport.host()
    });
    assert_eq!(host.port(), Some(0), "an address of a connection that is gone");
    transport.with(|seen, _| assert!(seen.data.is_empty()));
}

#[test]
fn the_protocol_is_there_when_its_reactor_has_stopped() {
    let mut transport = StringTransport::new(Server);
    transport.feed(b"stop");
    assert_eq!(transport.lost(), Some(Reason::Stopped));
    assert!(transport.disconnecting() && !transport.reading_paused());
    transport.with(|_, transport| transport.write(b"hello?"));
    assert_eq!(transport.value(), b"hello.");
}

#[test]
fn a_server_and_a_client_know_their_addresses() {
    let text = |address: Address| address.to_string();
    for (role, port, peer_port) in [(Role::Server, 80, 50_000), (Role::Client, 50_000, 80)] {
        let setup = ConnectionSetup { role, ..ConnectionSetup::default() };
        let mut transport = setup.connect(AccumulatingProtocol::default());
        transport.with(|_, transport| {
            assert_eq!(text(transport.host()), format!("192.0.2.1:{port}"));
            assert_eq!(text(transport.peer().clone()), format!("198.51.100.1:{peer_port}"));
        });
        for (host, peer) in [
            ("203.0.113.5:7", "203.0.113.9:8"),
            ("127.0.0.1:7", "127.0.0.1:8"),
            ("203.0.113.5:7", "203.0.113.5:8"),
            ("[2001:db8::1]:7", "[2001:db8::2]:8"),
            ("[::1]:7", "[::1]:8"),
        ] {
            let [host, peer] = [host, peer].map(|text| text.parse::<SocketAddr>().unwrap());
            let setup =
                ConnectionSetup { role, host: Some(host), peer: Some(peer), ..ConnectionSetup::default() };
            let mut transport = setup.connect(AccumulatingProtocol::default());
            assert_eq!(transport.address(), peer);
            transport.with(|seen, transport| {
                assert_eq!(seen.peer, Some(peer.into()));
                assert_eq!((transport.host(), transport.peer()), (host.into(), &peer.into()));
                assert_eq!(transport.connect_time().is_some(), role == Role::Client);
            });
            transport.feed(b"x");
            transport.with(|seen, _| assert_eq!(seen.data, b"x"));
            transport.finish();
            assert_eq!(transport.lost(), Some(Reason::Done));
        }
    }
}

#[test]
fn the_settings_are_those_of_the_setup() {
    let settings = Settings { write_buffer_limit: 1000, ..Settings::default() };
    let setup = ConnectionSetup { settings, ..ConnectionSetup::default() };
    let mut transport = setup.connect(AccumulatingProtocol::default());
    transport.stop_reading();
    // The protocol is told to pause; what it writes after that is limited.
    transport.with(|_, transport| transport.write(&[b'x'; 5000]));
    transport.with(|_, transport| transport.write(&[b'x'; 1001]));
    assert_eq!(transport.lost(), None);
    transport.with(|_, transport| transport.write(b"x"));
    assert_eq!(transport.lost(), Some(Reason::BufferLimit(1000)));
    assert!(transport.aborted());
}

/// A protocol that has its behaviour in a handler.
struct Wrapping<H>(H);

#[derive(Default)]
struct Handler {
    bytes: usize,
    called: bool,
}

impl Protocol for Wrapping<Handler> {
    fn data_received(&mut self, transport: &mut Transport<'_>, data: &[u8]) {
        self.0.bytes += data.len();
        transport.call_later(Duration::from_secs(1), |handler: &mut Handler, _| handler.called = true);
    }

    fn downcast_inner(&mut self, want: TypeId) -> Option<&mut dyn Any> {
        (want == TypeId::of::<Handler>()).then_some(&mut self.0)
    }
}

#[test]
fn a_protocol_and_its_handler_are_found_by_their_types() {
    let mut transport = StringTransport::new(Wrapping(Handler::default()));
    transport.feed(b"abc");
    transport.advance(Duration::from_secs(1));
    let id = transport.with(|wrapping, transport| {
        assert!(wrapping.0.bytes == 3 && wrapping.0.called);
        transport.id()
    });
    let found = transport.reactor().with_protocol(id, |handler: &mut Handler, _| handler.bytes);
    assert_eq!(found, Some(3));
    assert!(transport.reactor().with_protocol(id, |_: &mut Wrapping<Handler>, _| ()).is_some());
    assert!(transport.reactor().with_protocol(id, |_: &mut Server, _| ()).is_none());
}

#[test]
#[should_panic(expected = "as it was told")]
fn a_panic_of_a_callback_is_the_tests() {
    StringTransport::new(Server).feed(b"panic");
}

#[test]
fn a_panic_that_is_allowed_ends_the_connection() {
    let mut transport = StringTransport::new(Server);
    transport.allow_panics();
    transport.feed(b"panic");
    assert_eq!(transport.lost(), Some(Reason::Panicked("as it was told".to_owned())));
    assert!(transport.aborted());
}

#[test]
fn a_failed_assertion_about_the_protocol_is_the_tests() {
    let mut transport = StringTransport::new(AccumulatingProtocol::default());
    let fails = |transport: &mut StringTransport<AccumulatingProtocol>| {
        let fails = || transport.with(|seen, _| assert_eq!(seen.made, 2));
        std::panic::catch_unwind(std::panic::AssertUnwindSafe(fails)).is_err()
    };
    assert!(fails(&mut transport));
    transport.feed(b"and it goes on");
    transport.with(|seen, _| assert_eq!(seen.data, b"and it goes on"));
    transport.finish();
    assert!(fails(&mut transport));
    transport.with(|seen, _| assert_eq!(seen.closed, 1));
}
