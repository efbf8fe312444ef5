//! A handler of lines alone is told each line once and in order, and of one that is too long by itself.

use crate::world::peer::{Peer, connection, turns};
use crate::world::random::Random;
use crate::world::{Record, World, on_each_back_end};
use twistor::framing::{LineDecoder, LineOnlyReceiver, LineOnlyTransport, LineTooLong, LinesOnly};
use twistor::testing::StringTransport;
use twistor::{ConnectionId, Reactor, Reason};

/// Records what it is told; a line can ask for something.
struct Talker {
    record: Record,
    /// A line that is too long ends the connection, as by default.
    strict: bool,
}

impl LineOnlyReceiver for Talker {
    fn line_received(&mut self, transport: &mut LineOnlyTransport<'_>, line: &[u8]) {
        self.record.add(format!("line {}", line.escape_ascii()).trim_end());
        match line {
            b"echo" => transport.send_line(line),
            b"pause" => transport.pause_reading(),
            b"end" => transport.lose_connection(),
            b"take" => self.record.add(transport.clear_line_buffer().escape_ascii().to_string()),
            _ => {}
        }
    }

    fn line_length_exceeded(&mut self, transport: &mut LineOnlyTransport<'_>, line: &[u8]) {
        self.record.add(format!("exceeded {}", line.escape_ascii()));
        if self.strict {
            let limit = transport.max_length();
            transport.lose_connection_with_error(LineTooLong { limit });
        }
    }

    fn connection_lost(&mut self, transport: &mut LineOnlyTransport<'_>, reason: &Reason) {
        self.record.add(reason.to_string());
        self.record.add(transport.clear_line_buffer().escape_ascii().to_string());
    }
}

fn lines(record: &Record, strict: bool) -> LinesOnly<Talker> {
    LinesOnly::with_decoder(Talker { record: record.clone(), strict }, LineDecoder::new(b"\r\n", 10))
}

fn begin(world: &World, strict: bool) -> (Reactor, Record, ConnectionId, Peer) {
    let mut reactor = world.reactor();
    let record = Record::new();
    let (id, peer) = connection(world, &mut reactor, lines(&record, strict));
    (reactor, record, id, peer)
}

fn end(world: &World, mut reactor: Reactor, mut peer: Peer) {
    peer.finish();
    world.run_until_idle(&mut reactor);
}

#[test]
fn lines_come_whole_and_in_order_however_they_are_cut() {
    on_each_back_end(|world| {
        for size in [1, 2, 3, 7, 100] {
            let (mut reactor, record, _, mut peer) = begin(world, true);
            for piece in b"one\r\n\r\necho\r\nt\rw\no\r\n\r\r\nrest".chunks(size) {
                peer.send(piece);
                turns(&mut reactor);
            }
            let expected = ["line one", "line", "line echo", "line t\\rw\\no", "line \\r"];
            assert_eq!(record.take(), expected);
            assert_eq!(peer.read_now(), b"echo\r\n");
            end(world, reactor, peer);
        }
    });
}

#[test]
fn a_part_of_the_delimiter_beyond_the_limit_is_too_much() {
    on_each_back_end(|world| {
        let cases: [(&[&[u8]], &[&str]); 4] = [
            (&[b"0123456789\r\n"], &["line 0123456789"]),
            (&[b"0123456789", b"\r\n"], &["line 0123456789"]),
            (&[b"0123456789\r", b"\nnext\r\n"], &["exceeded 0123456789\\r", "line next"]),
            (&[b"0123456789a", b"bc\r\nnext\r\n"], &["exceeded 0123456789a", "line next"]),
        ];
        for (pieces, expected) in cases {
            let (mut reactor, record, _, mut peer) = begin(world, false);
            for piece in pieces {
                peer.send(piece);
                turns(&mut reactor);
            }
            assert_eq!(record.take(), expected);
            end(world, reactor, peer);
        }
    });
}

#[test]
fn an_overlong_line_is_reported_alone_and_other_lines_arrive() {
    on_each_back_end(|world| {
        let (mut reactor, record, _, mut peer) = begin(world, false);
        peer.send(b"one\r\n0123456789abcdef\r\ntwo\r\n");
        turns(&mut reactor);
        assert_eq!(record.take(), ["line one", "exceeded 0123456789abcdef", "line two"]);
        end(world, reactor, peer);
    });
}

#[test]
fn by_default_it_ends_the_connection_with_an_error_that_says_so() {
    struct Plain(Record);
    impl LineOnlyReceiver for Plain {
        fn line_received(&mut self, _: &mut LineOnlyTransport<'_>, line: &[u8]) {
            self.0.add(format!("line of {}", line.len()));
        }
        fn connection_lost(&mut self, _: &mut LineOnlyTransport<'_>, reason: &Reason) {
            let Reason::Protocol(error) = reason else { panic!("{reason}") };
            self.0.add(format!("{:?}", error.error::<LineTooLong>()));
        }
    }
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let record = Record::new();
        let (_, mut peer) = connection(world, &mut reactor, LinesOnly::new(Plain(record.clone())));
        peer.send(&[&[b'x'; 16_384][..], b"\r\n", &[b'y'; 16_385], b"\r\nmore\r\n"].concat());
        drop(peer.read_to_end(&mut reactor));
        drop(peer);
        world.run_until_idle(&mut reactor);
        assert_eq!(record.take(), ["line of 16384", "Some(LineTooLong { limit: 16384 })"]);
    });
}

#[test]
fn a_pause_holds_at_once_and_what_is_kept_comes_in_order() {
    on_each_back_end(|world| {
        let (mut reactor, record, id, mut peer) = begin(world, true);
        peer.send(b"one\r\npause\r\ntwo\r\nthr");
        turns(&mut reactor);
        peer.send(b"ee\r\n");
        turns(&mut reactor);
        assert_eq!(record.take(), ["line one", "line pause"]);
        reactor.transport(id).unwrap().resume_reading();
        turns(&mut reactor);
        assert_eq!(record.take(), ["line two", "line three"]);
        end(world, reactor, peer);
    });
}

#[test]
fn input_after_a_closing_line_is_kept_but_not_delivered() {
    on_each_back_end(|world| {
        let (mut reactor, record, _, mut peer) = begin(world, true);
        peer.send(b"one\r\nend\r\ntwo\r\nthr");
        turns(&mut reactor);
        end(world, reactor, peer);
        assert_eq!(record.take(), ["line one", "line end", "connection closed cleanly", "two\\r\\nthr"]);
    });
}

#[test]
fn a_handler_can_take_what_waits() {
    on_each_back_end(|world| {
        let (mut reactor, record, _, mut peer) = begin(world, true);
        peer.send(b"take\r\none\r\ntwo");
        turns(&mut reactor);
        peer.send(b"x\r\ny");
        turns(&mut reactor);
        end(world, reactor, peer);
        assert_eq!(record.take(), ["line take", "one\\r\\ntwo", "line x", "connection closed cleanly", "y"]);
    });
}

#[test]
fn lines_within_the_limit_are_delivered_for_any_input() {
    for seed in 0..500 {
        let mut random = Random::new(seed);
        let bytes: Vec<u8> = (0..random.below(200)).map(|_| b"ab\r\n\r\n"[random.below(6)]).collect();
        let bytes = String::from_utf8(bytes).unwrap().replace('b', "0123456789");
        let record = Record::new();
        let mut transport = StringTransport::new(lines(&record, false));
        let mut rest = bytes.as_bytes();
        while !rest.is_empty() {
            let (piece, behind) = rest.split_at(1 + random.below(rest.len().min(20)));
            transport.feed(piece);
            rest = behind;
        }
        let told: Vec<String> = record.take().into_iter().filter(|event| event.starts_with("line")).collect();
        let mut all: Vec<&str> = bytes.split("\r\n").collect();
        all.pop();
        let short = |line: &&str| line.len() < 10;
        let show = |line: &str| format!("line {}", line.escape_default()).trim_end().to_owned();
        let certain: Vec<String> = all.iter().copied().filter(short).map(show).collect();
        // One of exactly the limit depends on where its delimiter was cut.
        let told_short: Vec<String> = told
            .iter()
            .filter(|event| all.iter().any(|line| short(line) && show(line) == **event))
            .cloned()
            .collect();
        assert_eq!(told_short, certain, "seed {seed}: {bytes:?}");
        assert!(told.iter().all(|event| all.iter().any(|line| line.len() <= 10 && show(line) == *event)));
    }
}
