//! Each state of a handler gets exactly the bytes that it asked for, and names the one that follows.

use crate::world::peer::{connection, turns};
use crate::world::{Record, on_each_back_end};
use twistor::Reason;
use twistor::framing::{NextState, StateError, Stateful, StatefulReceiver, StatefulTransport};
use twistor::testing::StringTransport;

/// A byte says how many follow; a state of none marks the end of each message.
struct Messages {
    record: Record,
    /// How many a length asks for, of each that it says.
    times: usize,
}

impl Messages {
    fn length(&mut self, _: &mut StatefulTransport<'_>, length: &[u8]) -> NextState<Messages> {
        assert_eq!(length.len(), 1);
        NextState::new(usize::from(length[0]) * self.times, Messages::message)
    }

    fn message(&mut self, transport: &mut StatefulTransport<'_>, message: &[u8]) -> NextState<Messages> {
        self.record.add(format!("message {}", message.escape_ascii()));
        match message {
            b"pause" => transport.pause_reading(),
            b"end" => transport.lose_connection(),
            b"take" => self.record.add(format!("took {}", transport.clear_buffer().escape_ascii())),
            b"stay" => return NextState::new(0, Messages::idle),
            _ => {}
        }
        NextState::new(0, Messages::over)
    }

    fn over(&mut self, _: &mut StatefulTransport<'_>, nothing: &[u8]) -> NextState<Messages> {
        assert_eq!(nothing, b"");
        self.record.add("over");
        NextState::new(1, Messages::length)
    }

    fn idle(&mut self, _: &mut StatefulTransport<'_>, _: &[u8]) -> NextState<Messages> {
        NextState::new(0, Messages::idle)
    }
}

impl StatefulReceiver for Messages {
    fn initial_state(&mut self) -> NextState<Messages> {
        NextState::new(1, Messages::length)
    }

    fn connection_lost(&mut self, _: &mut StatefulTransport<'_>, reason: &Reason) {
        match reason {
            Reason::Protocol(error) => self.record.add(format!("{:?}", error.error::<StateError>().unwrap())),
            reason => self.record.add(reason.to_string()),
        }
    }
}

fn messages(record: &Record) -> Stateful<Messages> {
    Stateful::new(Messages { record: record.clone(), times: 1 })
}

#[test]
fn states_get_their_bytes_however_these_are_cut() {
    on_each_back_end(|world| {
        let bytes = b"\x03one\x00\x0ba hundred \n\x01x\x05half";
        for size in 1..=bytes.len() {
            let mut reactor = world.reactor();
            let record = Record::new();
            let (_, mut peer) = connection(world, &mut reactor, messages(&record));
            for piece in bytes.chunks(size) {
                peer.send(piece);
                turns(&mut reactor);
            }
            peer.finish();
            world.run_until_idle(&mut reactor);
            let expected = [
                "message one",
                "over",
                "message ",
                "over",
                "message a hundred \\n",
                "over",
                "message x",
                "over",
                "connection closed cleanly",
            ];
            assert_eq!(record.take(), expected);
        }
    });
}

#[test]
fn a_pause_holds_at_once_and_what_is_kept_comes_in_order() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let record = Record::new();
        let (id, mut peer) = connection(world, &mut reactor, messages(&record));
        peer.send(b"\x05pause\x03one");
        turns(&mut reactor);
        assert_eq!(record.take(), ["message pause"]);
        peer.finish();
        reactor.transport(id).unwrap().resume_reading();
        world.run_until_idle(&mut reactor);
        assert_eq!(record.take(), ["over", "message one", "over", "connection closed cleanly"]);
    });
}

#[test]
fn nothing_is_delivered_after_a_state_closes_or_takes_the_rest() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let record = Record::new();
        let (_, mut peer) = connection(world, &mut reactor, messages(&record));
        peer.send(b"\x04take\x03one\x03tw");
        turns(&mut reactor);
        peer.send(b"\x03end\x03two");
        turns(&mut reactor);
        peer.finish();
        world.run_until_idle(&mut reactor);
        let expected =
            ["message take", "took \\x03one\\x03tw", "over", "message end", "connection closed cleanly"];
        assert_eq!(record.take(), expected);
    });
}

#[test]
fn an_excessive_state_length_closes_before_its_bytes_arrive() {
    on_each_back_end(|world| {
        for (wanted, expected) in [(100, "message"), (101, "TooLong { length: 101, limit: 100 }")] {
            let mut reactor = world.reactor();
            let record = Record::new();
            let handler = Messages { record: record.clone(), times: wanted };
            let limited = Stateful::with_max_length(handler, 100);
            let (_, mut peer) = connection(world, &mut reactor, limited);
            peer.send(b"\x01");
            turns(&mut reactor);
            if wanted == 100 {
                assert_eq!(record.take(), Vec::<String>::new());
                peer.send(&[b'x'; 100]);
                turns(&mut reactor);
            }
            peer.finish();
            world.run_until_idle(&mut reactor);
            assert!(record.events()[0].starts_with(expected), "{:?}", record.events());
        }
    });
}

#[test]
fn states_that_want_nothing_do_not_go_round_for_ever() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let record = Record::new();
        let (_, mut peer) = connection(world, &mut reactor, messages(&record));
        peer.send(b"\x04stay\x03one");
        turns(&mut reactor);
        drop(peer);
        world.run_until_idle(&mut reactor);
        assert_eq!(record.take(), ["message stay", "Idle(1001)"]);
    });
}

#[test]
fn a_handler_may_have_the_last_word_and_nothing_more_comes() {
    struct Wants(Record);
    impl Wants {
        fn all(&mut self, _: &mut StatefulTransport<'_>, _: &[u8]) -> NextState<Wants> {
            self.0.add("called");
            NextState::new(1, Wants::all)
        }
    }
    impl StatefulReceiver for Wants {
        fn initial_state(&mut self) -> NextState<Wants> {
            NextState::new(usize::MAX, Wants::all)
        }
        fn state_refused(&mut self, transport: &mut StatefulTransport<'_>, error: &StateError) {
            transport.write(error.to_string().as_bytes());
        }
    }
    let record = Record::new();
    let mut transport = StringTransport::new(Stateful::new(Wants(record.clone())));
    transport.feed(b"one");
    transport.feed(b"two");
    assert_eq!(transport.value(), b"a state of 18446744073709551615 bytes is too long: the limit is 99999");
    assert_eq!(record.take(), Vec::<String>::new());
}
