//! A handler can skip a line that is too long: it is reported once, and the lines after it arrive.

use std::time::Duration;

use crate::world::peer::{Peer, connection, turns};
use crate::world::random::Random;
use crate::world::{Record, World, on_each_back_end};
use twistor::framing::{LineDecoder, LineReceiver, LineTransport, Lines};
use twistor::testing::StringTransport;
use twistor::{ConnectionId, Reactor, Reason};

/// Records its callbacks, skips each line that is too long, and then does what `then` says.
struct Skipper {
    record: Record,
    then: fn(&mut LineTransport<'_>),
}

impl LineReceiver for Skipper {
    fn line_received(&mut self, transport: &mut LineTransport<'_>, line: &[u8]) {
        self.record.add(format!("line {}", line.escape_ascii()).trim_end());
        match line {
            b"skip" => transport.skip_line(),
            b"later" => {
                transport.call_later(Duration::ZERO, |_: &mut Skipper, transport| transport.skip_line());
            }
            _ => {}
        }
    }

    fn line_length_exceeded(&mut self, transport: &mut LineTransport<'_>, data: &[u8]) {
        self.record.add(format!("exceeded {}", data.escape_ascii()));
        transport.skip_line();
        (self.then)(transport);
    }

    fn connection_lost(&mut self, transport: &mut LineTransport<'_>, _: &Reason) {
        self.record.add(format!("left {}", transport.clear_line_buffer().escape_ascii()).trim_end());
    }
}

fn lines(record: &Record, then: fn(&mut LineTransport<'_>)) -> Lines<Skipper> {
    Lines::with_decoder(Skipper { record: record.clone(), then }, LineDecoder::new(b"\r\n", 10))
}

fn begin(world: &World, then: fn(&mut LineTransport<'_>)) -> (Reactor, Record, ConnectionId, Peer) {
    let mut reactor = world.reactor();
    let record = Record::new();
    let (id, peer) = connection(world, &mut reactor, lines(&record, then));
    (reactor, record, id, peer)
}

fn end(world: &World, mut reactor: Reactor, mut peer: Peer) {
    peer.finish();
    world.run_until_idle(&mut reactor);
}

#[test]
fn an_overlong_line_is_reported_once_and_the_next_lines_arrive() {
    on_each_back_end(|world| {
        let cases: [(&[&[u8]], &[&str]); 5] = [
            (
                &[b"one\r\n0123456789abcdef\r\ntwo\r\nth", b"ree\r\n"],
                &["line one", "exceeded 0123456789abcdef\\r\\ntwo\\r\\nth", "line two", "line three"],
            ),
            (&[b"0123456789ab", b"cd\r", b"ef", b"\r\nnext\r\n"], &["exceeded 0123456789ab", "line next"]),
            (&[b"0123456789ab\r", b"\nnext\r\n"], &["exceeded 0123456789ab\\r", "line next"]),
            (&[b"0123456789a", b"\r", b"\nnext\r\n"], &["exceeded 0123456789a\\r", "line next"]),
            (
                &[b"0123456789ab\r\nabcdefghijkl\r\n\r\n"],
                &[
                    "exceeded 0123456789ab\\r\\nabcdefghijkl\\r\\n\\r\\n",
                    "exceeded abcdefghijkl\\r\\n\\r\\n",
                    "line",
                ],
            ),
        ];
        for (pieces, expected) in cases {
            let (mut reactor, record, _, mut peer) = begin(world, |_| {});
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
fn a_pause_with_a_skip_holds_the_next_lines() {
    on_each_back_end(|world| {
        let (mut reactor, record, id, mut peer) = begin(world, |transport| transport.pause_reading());
        peer.send(b"0123456789ab\r\none\r\ntw");
        turns(&mut reactor);
        peer.send(b"o\r\n");
        turns(&mut reactor);
        assert_eq!(record.take(), ["exceeded 0123456789ab\\r\\none\\r\\ntw"]);
        reactor.transport(id).unwrap().resume_reading();
        turns(&mut reactor);
        assert_eq!(record.take(), ["line one", "line two"]);
        end(world, reactor, peer);
    });
}

#[test]
fn a_close_with_a_skip_keeps_only_the_input_after_the_line() {
    on_each_back_end(|world| {
        let (mut reactor, record, _, mut peer) = begin(world, |transport| transport.lose_connection());
        peer.send(b"0123456789ab\r\none\r\ntw");
        turns(&mut reactor);
        end(world, reactor, peer);
        assert_eq!(record.take(), ["exceeded 0123456789ab\\r\\none\\r\\ntw", "left one\\r\\ntw"]);
    });
}

#[test]
fn a_new_delimiter_also_ends_the_skipped_line() {
    on_each_back_end(|world| {
        let (mut reactor, record, _, mut peer) = begin(world, |transport| transport.set_delimiter(b";"));
        peer.send(b"0123456789ab");
        turns(&mut reactor);
        peer.send(b"cd\r\n;one;");
        turns(&mut reactor);
        assert_eq!(record.take(), ["exceeded 0123456789ab", "line one"]);
        end(world, reactor, peer);
    });
}

#[test]
fn outside_a_delivery_the_incomplete_line_is_skipped() {
    on_each_back_end(|world| {
        let (mut reactor, record, _, mut peer) = begin(world, |_| {});
        peer.send(b"later\r\nsome");
        turns(&mut reactor);
        peer.send(b"thing\r\nnext\r\n");
        turns(&mut reactor);
        assert_eq!(record.take(), ["line later", "line next"]);
        end(world, reactor, peer);
    });
}

#[test]
fn a_skip_in_line_received_does_nothing() {
    on_each_back_end(|world| {
        let (mut reactor, record, _, mut peer) = begin(world, |_| {});
        peer.send(b"skip\r\none\r\nsk");
        turns(&mut reactor);
        peer.send(b"ip\r\ntwo\r\n");
        turns(&mut reactor);
        assert_eq!(record.take(), ["line skip", "line one", "line skip", "line two"]);
        end(world, reactor, peer);
    });
}

#[test]
fn the_lines_within_the_limit_arrive_however_they_are_cut() {
    for seed in 0..500 {
        let mut random = Random::new(seed);
        let bytes: Vec<u8> = (0..random.below(200)).map(|_| b"ab\r\n\r\n"[random.below(6)]).collect();
        let bytes = String::from_utf8(bytes).unwrap().replace('b', "0123456789");
        let record = Record::new();
        let mut transport = StringTransport::new(lines(&record, |_| {}));
        let mut rest = bytes.as_bytes();
        while !rest.is_empty() {
            let (piece, behind) = rest.split_at(1 + random.below(rest.len().min(20)));
            transport.feed(piece);
            rest = behind;
        }
        let events = record.take();
        let received: Vec<&String> = events.iter().filter(|event| event.starts_with("line")).collect();
        let mut expected: Vec<&str> = bytes.split("\r\n").collect();
        expected.pop();
        expected.retain(|line| line.len() <= 10);
        let expected: Vec<String> = expected
            .iter()
            .map(|line| format!("line {}", line.escape_default()).trim_end().to_owned())
            .collect();
        assert_eq!(received, expected.iter().collect::<Vec<_>>(), "seed {seed}: {bytes:?}");
    }
}
