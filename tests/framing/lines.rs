//! A handler of lines is told each line once and in order, whole and as soon as it is there, and decides what becomes of the rest.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use crate::world::peer::{connection, narrow_connection, turns};
use crate::world::random::Random;
use crate::world::{Record, kind, on_each_back_end};
use twistor::Reason;
use twistor::framing::{LineDecoder, LineReceiver, LineTooLong, LineTransport, Lines};
use twistor::testing::StringTransport;

/// Records what it is told, and then does something.
struct Talker {
    record: Record,
    act: Act,
    closing: bool,
    reason: Option<Reason>,
}

type Act = Box<dyn FnMut(&str, &mut LineTransport<'_>, &[u8])>;

impl Talker {
    fn new(record: &Record) -> Talker {
        Talker::acting(record, |_, _, _| {})
    }

    fn acting(record: &Record, act: impl FnMut(&str, &mut LineTransport<'_>, &[u8]) + 'static) -> Talker {
        Talker { record: record.clone(), act: Box::new(act), closing: true, reason: None }
    }

    fn happened(&mut self, what: &str, transport: &mut LineTransport<'_>, data: &[u8]) {
        let shown = match data.len() {
            0..=100 => data.escape_ascii().to_string(),
            length => format!("({length} bytes)"),
        };
        self.record.add(format!("{what} {shown}").trim_end());
        (self.act)(what, transport, data);
    }

    fn ping(&mut self, transport: &mut LineTransport<'_>) {
        self.record.add("ping");
        transport.send_line(b"ping");
    }
}

impl LineReceiver for Talker {
    fn line_received(&mut self, transport: &mut LineTransport<'_>, line: &[u8]) {
        self.happened("line", transport, line);
    }

    fn raw_data_received(&mut self, transport: &mut LineTransport<'_>, data: &[u8]) {
        self.happened("raw", transport, data);
    }

    fn line_length_exceeded(&mut self, transport: &mut LineTransport<'_>, data: &[u8]) {
        self.happened("exceeded", transport, data);
    }

    fn connection_made(&mut self, transport: &mut LineTransport<'_>) {
        self.happened("made", transport, b"");
    }

    fn read_connection_lost(&mut self, transport: &mut LineTransport<'_>) {
        self.happened("read lost", transport, b"");
        if self.closing {
            transport.lose_connection();
        }
    }

    fn write_connection_lost(&mut self, transport: &mut LineTransport<'_>) {
        self.happened("write lost", transport, b"");
    }

    fn pause_writing(&mut self, transport: &mut LineTransport<'_>) {
        self.happened("pause", transport, b"");
    }

    fn resume_writing(&mut self, transport: &mut LineTransport<'_>) {
        self.happened("resume", transport, b"");
    }

    fn connection_lost(&mut self, transport: &mut LineTransport<'_>, reason: &Reason) {
        self.happened("lost", transport, kind(reason).as_bytes());
        self.reason = Some(reason.clone());
    }
}

fn ten() -> LineDecoder {
    LineDecoder::new(b"\r\n", 10)
}

#[test]
fn lines_come_whole_and_in_order_however_they_are_cut() {
    on_each_back_end(|world| {
        for size in [1, 2, 3, 7, 100] {
            let mut reactor = world.reactor();
            let record = Record::new();
            let (_, mut peer) = connection(world, &mut reactor, Lines::new(Talker::new(&record)));
            for piece in b"one\r\n\r\nt\rw\no\r\n\r\r\nrest".chunks(size) {
                peer.send(piece);
                turns(&mut reactor);
            }
            peer.finish();
            world.run_until_idle(&mut reactor);
            let expected =
                ["made", "line one", "line", "line t\\rw\\no", "line \\r", "read lost", "lost Done"];
            assert_eq!(record.events(), expected);
        }
    });
}

#[test]
fn an_overlong_line_is_handed_over_with_all_buffered_input() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let record = Record::new();
        let lines = Lines::with_decoder(Talker::new(&record), ten());
        let (_, mut peer) = connection(world, &mut reactor, lines);
        peer.send(b"0123456789\r\n0123456789a\r\nmore\r\nand mo");
        turns(&mut reactor);
        let exceeded = "exceeded 0123456789a\\r\\nmore\\r\\nand mo";
        assert_eq!(record.take(), ["made", "line 0123456789", exceeded]);
        // The connection goes on, and with it the lines.
        peer.send(b"re\r\n");
        turns(&mut reactor);
        assert_eq!(record.take(), ["line re"]);
        peer.finish();
        world.run_until_idle(&mut reactor);
    });
}

#[test]
fn an_unfinished_line_is_overlong_once_no_delimiter_can_fit() {
    on_each_back_end(|world| {
        let cases: [(&[&[u8]], &[&str]); 5] = [
            (&[b"0123456789\r"], &[]),
            (&[b"0123456789\r", b"\n"], &["line 0123456789"]),
            (&[b"0123456789a"], &[]),
            (&[b"0123456789a", b"b", b"c\r\n"], &["exceeded 0123456789ab", "line c"]),
            (&[b"0123456789\r", b"\r", b"\n"], &["exceeded 0123456789\\r\\r"]),
        ];
        for (pieces, expected) in cases {
            let mut reactor = world.reactor();
            let record = Record::new();
            let lines = Lines::with_decoder(Talker::new(&record), ten());
            let (_, mut peer) = connection(world, &mut reactor, lines);
            record.take();
            for piece in pieces {
                peer.send(piece);
                turns(&mut reactor);
            }
            assert_eq!(record.take(), expected);
            peer.finish();
            world.run_until_idle(&mut reactor);
        }
    });
}

/// Leaves to the defaults what can be left to them.
struct Plain(Rc<RefCell<Seen>>);

/// The lines, and how it ended.
type Seen = (Vec<Vec<u8>>, Option<Reason>);

impl LineReceiver for Plain {
    fn line_received(&mut self, _: &mut LineTransport<'_>, line: &[u8]) {
        self.0.borrow_mut().0.push(line.to_vec());
    }

    fn connection_lost(&mut self, _: &mut LineTransport<'_>, reason: &Reason) {
        self.0.borrow_mut().1 = Some(reason.clone());
    }
}

#[test]
fn by_default_an_overlong_line_closes_with_a_typed_error() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let seen = Rc::default();
        let (_, mut peer) = connection(world, &mut reactor, Lines::new(Plain(Rc::clone(&seen))));
        peer.send(&[&[b'x'; 16_384][..], b"\r\n", &[b'y'; 16_385], b"\r\nmore\r\n"].concat());
        drop(peer.read_to_end(&mut reactor));
        drop(peer);
        world.run_until_idle(&mut reactor);
        let (lines, reason) = seen.take();
        assert_eq!(lines, [[b'x'; 16_384]]);
        let Some(Reason::Protocol(error)) = reason else { panic!("{reason:?}") };
        assert_eq!(error.error(), Some(&LineTooLong { limit: 16_384 }));
        assert_eq!(error.to_string(), "a line is longer than 16384 bytes");
    });
}

#[test]
fn by_default_the_connection_closes_when_its_peer_has() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let seen = Rc::default();
        let (_, mut peer) = connection(world, &mut reactor, Lines::new(Plain(Rc::clone(&seen))));
        peer.send(b"one\r\ntwo");
        peer.finish();
        world.run_until_idle(&mut reactor);
        assert_eq!(seen.take(), (vec![b"one".to_vec()], Some(Reason::Done)));
    });
}

#[test]
fn raw_mode_begins_with_the_rest_of_what_came_in_the_same_pass() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let record = Record::new();
        let talker = Talker::acting(&record, |what, transport, line| {
            if (what, line) == ("line", b"raw") {
                transport.set_raw_mode();
                assert!(transport.raw_mode());
            }
        });
        let (_, mut peer) = connection(world, &mut reactor, Lines::new(talker));
        peer.send(b"one\r\nraw\r\nno\r\nline");
        turns(&mut reactor);
        assert_eq!(record.take(), ["made", "line one", "line raw", "raw no\\r\\nline"]);
        peer.send(b"\r\n");
        turns(&mut reactor);
        assert_eq!(record.take(), ["raw \\r\\n"]);
        peer.finish();
        world.run_until_idle(&mut reactor);
    });
}

/// `len N` is followed by N bytes, and then there are lines again.
fn counting(record: &Record) -> Talker {
    let mut missing = 0;
    Talker::acting(record, move |what, transport, data| match what {
        "line" => {
            if let Some(count) = data.strip_prefix(b"len ") {
                missing = std::str::from_utf8(count).unwrap().parse().unwrap();
                match missing {
                    0 => transport.set_line_mode(b""),
                    _ => transport.set_raw_mode(),
                }
            }
        }
        "raw" => {
            let (_, extra) = data.split_at(missing.min(data.len()));
            missing -= data.len() - extra.len();
            if missing == 0 {
                transport.set_line_mode(extra);
            }
        }
        _ => {}
    })
}

#[test]
fn lines_go_on_behind_raw_bytes_however_they_are_cut() {
    let bytes = b"one\nlen 5\n\nraw\ntwo\nlen 0\n\nlen 1\n\nlen 1\nxlen 3\nabcthree\n";
    let whole = |events: Vec<String>| {
        // Raw bytes come as they are cut, and with what is behind them.
        events.into_iter().filter(|event| event.starts_with("line")).collect::<Vec<_>>()
    };
    let expected = ["one", "len 5", "two", "len 0", "", "len 1", "len 1", "len 3", "three"]
        .map(|line| format!("line {line}"));
    for size in 1..=bytes.len() {
        let record = Record::new();
        let lines = Lines::with_decoder(counting(&record), LineDecoder::new(b"\n", 64));
        let mut transport = StringTransport::new(lines);
        for piece in bytes.chunks(size) {
            transport.feed(piece);
        }
        let events: Vec<String> = whole(record.take());
        let expected: Vec<String> = expected.iter().map(|line| line.trim_end().to_owned()).collect();
        assert_eq!(events, expected, "in pieces of {size}");
    }
}

#[test]
fn a_hundred_thousand_mode_changes_in_one_piece_do_not_recurse() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let record = Record::new();
        let mut talker = counting(&record);
        let mut act = talker.act;
        let mut lines = 0;
        let (noting, quiet) = (record.clone(), Record::new());
        talker.record = quiet.clone();
        talker.act = Box::new(move |what, transport, data| {
            quiet.take();
            act(what, transport, data);
            match what {
                "made" => transport.set_line_mode(&b"len 1\nx".repeat(50_000)),
                "line" => lines += 1,
                "lost" => noting.add(format!("{lines} lines")),
                _ => {}
            }
        });
        let lines = Lines::with_decoder(talker, LineDecoder::new(b"\n", 64));
        let (_, mut peer) = connection(world, &mut reactor, lines);
        turns(&mut reactor);
        peer.finish();
        world.run_until_idle(&mut reactor);
        assert_eq!(record.take(), ["50000 lines"]);
    });
}

#[test]
fn what_a_handler_puts_back_comes_behind_what_waits() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let record = Record::new();
        let talker = Talker::acting(&record, |what, transport, data| {
            if (what, data) == ("line", b"one") {
                transport.set_line_mode(b"four\r\nfi");
                transport.set_line_mode(b"ve\r\nsi");
            }
        });
        let (_, mut peer) = connection(world, &mut reactor, Lines::new(talker));
        peer.send(b"one\r\ntwo\r\nthree\r\n");
        turns(&mut reactor);
        peer.send(b"x\r\n");
        turns(&mut reactor);
        let expected = ["line one", "line two", "line three", "line four", "line five", "line six"];
        assert_eq!(record.take()[1..], expected);
        peer.finish();
        world.run_until_idle(&mut reactor);
    });
}

#[test]
fn what_is_put_back_outside_of_a_delivery_comes_from_the_loop() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let record = Record::new();
        let noting = record.clone();
        let talker = Talker::acting(&record, move |what, transport, _| {
            if what == "made" {
                transport.set_line_mode(b"zero\r\nha");
                noting.add("returns");
            }
        });
        let (_, mut peer) = connection(world, &mut reactor, Lines::new(talker));
        turns(&mut reactor);
        peer.send(b"lf\r\n");
        turns(&mut reactor);
        assert_eq!(record.take(), ["made", "returns", "line zero", "line half"]);
        peer.finish();
        world.run_until_idle(&mut reactor);
    });
}

#[test]
fn a_pause_in_mid_buffer_is_immediate_and_keeps_the_order() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let record = Record::new();
        let talker = Talker::acting(&record, |what, transport, line| {
            if what == "line" && line.starts_with(b"pause") {
                transport.pause_reading();
            }
        });
        let (id, mut peer) = connection(world, &mut reactor, Lines::new(talker));
        peer.send(b"one\r\npause1\r\ntwo\r\npause2\r\nth");
        turns(&mut reactor);
        assert_eq!(record.take(), ["made", "line one", "line pause1"]);
        // What comes meanwhile waits as well, and so does the end.
        peer.send(b"ree\r\n");
        peer.finish();
        turns(&mut reactor);
        assert_eq!(record.take(), Vec::<String>::new());
        reactor.transport(id).unwrap().resume_reading();
        assert_eq!(record.take(), Vec::<String>::new(), "it comes from the loop");
        turns(&mut reactor);
        assert_eq!(record.take(), ["line two", "line pause2"]);
        reactor.transport(id).unwrap().resume_reading();
        world.run_until_idle(&mut reactor);
        assert_eq!(record.take(), ["line three", "read lost", "lost Done"]);
    });
}

#[test]
fn a_pause_and_a_resume_in_one_callback_hold_nothing_up() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let record = Record::new();
        let talker = Talker::acting(&record, |what, transport, _| {
            if what == "line" {
                transport.pause_reading();
                transport.resume_reading();
            }
        });
        let (_, mut peer) = connection(world, &mut reactor, Lines::new(talker));
        peer.send(b"one\r\ntwo\r\nthree\r\n");
        turns(&mut reactor);
        assert_eq!(record.take(), ["made", "line one", "line two", "line three"]);
        peer.finish();
        world.run_until_idle(&mut reactor);
    });
}

#[test]
fn a_pause_before_raw_mode_holds_the_raw_bytes() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let record = Record::new();
        let talker = Talker::acting(&record, |what, transport, data| match (what, data) {
            ("line", b"raw") => {
                transport.pause_reading();
                transport.set_raw_mode();
            }
            ("raw", _) => {
                transport.pause_reading();
                transport.set_line_mode(&data[3..]);
            }
            _ => {}
        });
        let (id, mut peer) = connection(world, &mut reactor, Lines::new(talker));
        peer.send(b"raw\r\n123line\r\n");
        turns(&mut reactor);
        assert_eq!(record.take(), ["made", "line raw"]);
        for expected in ["raw 123line\\r\\n", "line line"] {
            reactor.transport(id).unwrap().resume_reading();
            turns(&mut reactor);
            assert_eq!(record.take(), [expected]);
        }
        peer.finish();
        world.run_until_idle(&mut reactor);
    });
}

#[test]
fn a_handler_that_pauses_after_each_line_receives_all_lines() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let record = Record::new();
        let talker = Talker::acting(&record, |what, transport, _| {
            if what == "line" {
                transport.pause_reading();
                transport.call_later(Duration::from_micros(10), |_: &mut Talker, transport| {
                    transport.resume_reading();
                });
            }
        });
        let (_, mut peer) = connection(world, &mut reactor, Lines::new(talker));
        let bytes: Vec<u8> = (0..500).flat_map(|number| format!("{number}\r\n").into_bytes()).collect();
        for piece in bytes.chunks(700) {
            peer.send(piece);
        }
        peer.finish();
        world.run_until_idle(&mut reactor);
        let expected: Vec<String> = (0..500).map(|number| format!("line {number}")).collect();
        assert_eq!(record.events()[1..501], expected);
        assert_eq!(record.events()[501..], ["read lost", "lost Done"]);
    });
}

#[test]
fn input_after_a_closing_line_is_kept_but_not_delivered() {
    on_each_back_end(|world| {
        for abort in [false, true] {
            let mut reactor = world.reactor();
            let record = Record::new();
            let noting = record.clone();
            let talker = Talker::acting(&record, move |what, transport, line| match (what, line) {
                ("line", b"end") if abort => transport.abort_connection(),
                ("line", b"end") => transport.lose_connection(),
                ("lost", _) => noting.add(transport.clear_line_buffer().escape_ascii().to_string()),
                _ => {}
            });
            let (_, mut peer) = connection(world, &mut reactor, Lines::new(talker));
            peer.send(b"one\r\nend\r\ntwo\r\nthr");
            turns(&mut reactor);
            drop(peer);
            world.run_until_idle(&mut reactor);
            let lost = if abort { "lost Aborted" } else { "lost Done" };
            assert_eq!(record.take(), ["made", "line one", "line end", lost, "two\\r\\nthr"]);
        }
    });
}

#[test]
fn nothing_comes_behind_raw_bytes_that_end_the_connection() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let record = Record::new();
        let talker = Talker::acting(&record, |what, transport, _| match what {
            "made" => transport.set_raw_mode(),
            "raw" => {
                transport.lose_connection();
                transport.set_line_mode(b"one\r\ntwo\r\n");
            }
            _ => {}
        });
        let (_, mut peer) = connection(world, &mut reactor, Lines::new(talker));
        peer.send(b"raw");
        turns(&mut reactor);
        drop(peer);
        world.run_until_idle(&mut reactor);
        assert_eq!(record.take(), ["made", "raw raw", "lost Done"]);
    });
}

#[test]
fn a_handler_can_take_buffered_input_and_a_partial_line() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let record = Record::new();
        let noting = record.clone();
        let talker = Talker::acting(&record, move |what, transport, data| {
            if (what, data) == ("line", b"take") || what == "read lost" {
                noting.add(format!("took {}", transport.clear_line_buffer().escape_ascii()));
                assert_eq!(transport.clear_line_buffer(), b"");
            }
        });
        let (_, mut peer) = connection(world, &mut reactor, Lines::new(talker));
        peer.send(b"take\r\none\r\ntw");
        turns(&mut reactor);
        assert_eq!(record.take(), ["made", "line take", "took one\\r\\ntw"]);
        peer.send(b"o\r\nthr");
        turns(&mut reactor);
        peer.finish();
        world.run_until_idle(&mut reactor);
        assert_eq!(record.take(), ["line o", "read lost", "took thr", "lost Done"]);
    });
}

#[test]
fn a_new_delimiter_or_limit_applies_to_buffered_input() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let record = Record::new();
        let talker = Talker::acting(&record, |what, transport, line| match (what, line) {
            ("line", b"bar") => {
                transport.set_delimiter(b"|");
                assert_eq!(transport.delimiter(), b"|");
            }
            ("line", b"short") => {
                transport.set_max_length(3);
                assert_eq!(transport.max_length(), 3);
            }
            _ => {}
        });
        let (id, mut peer) = connection(world, &mut reactor, Lines::new(talker));
        peer.send(b"one\r\nbar\r\ntwo|th\r\nree|fo;ur");
        turns(&mut reactor);
        assert_eq!(record.take(), ["made", "line one", "line bar", "line two", "line th\\r\\nree"]);
        // Between two deliveries it holds for the unfinished line.
        reactor.with_protocol(id, |lines: &mut Lines<Talker>, transport| {
            lines.with(transport, |_, transport| transport.set_delimiter(b";"));
        });
        turns(&mut reactor);
        assert_eq!(record.take(), ["line fo"]);
        peer.send(b";short;123;1234;");
        turns(&mut reactor);
        assert_eq!(record.take(), ["line ur", "line short", "line 123", "exceeded 1234;"]);
        peer.finish();
        world.run_until_idle(&mut reactor);
    });
}

#[test]
fn a_timer_gets_the_handler_and_a_line_transport() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let record = Record::new();
        let talker = Talker::acting(&record, |what, transport, _| {
            if what == "line" {
                transport.call_later(Duration::from_millis(1), Talker::ping);
                transport.lose_write_connection_later();
            }
        });
        let (_, mut peer) = connection(world, &mut reactor, Lines::new(talker));
        peer.send(b"go\r\n");
        let (answer, _) = peer.read_to_end(&mut reactor);
        assert_eq!(answer, b"ping\r\n");
        peer.finish();
        world.run_until_idle(&mut reactor);
        assert_eq!(record.take(), ["made", "line go", "ping", "write lost", "read lost", "lost Done"]);
    });
}

/// After whatever else is due at the same time.
trait Later {
    fn lose_write_connection_later(&mut self);
}

impl Later for LineTransport<'_> {
    fn lose_write_connection_later(&mut self) {
        self.call_later(Duration::from_millis(1), |_: &mut Talker, transport| {
            transport.lose_write_connection();
        });
    }
}

#[test]
fn others_find_the_handler_and_its_adapter_by_their_types() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let record = Record::new();
        let (id, mut peer) = connection(world, &mut reactor, Lines::new(Talker::new(&record)));
        let seen = reactor.with_protocol(id, |talker: &mut Talker, transport| {
            talker.record.add("found");
            transport.write(b"plain ");
            7
        });
        assert_eq!(seen, Some(7));
        let seen = reactor.with_protocol(id, |lines: &mut Lines<Talker>, transport| {
            assert!(lines.handler().reason.is_none());
            lines.handler_mut().closing = true;
            lines.with(transport, Talker::ping);
            8
        });
        assert_eq!(seen, Some(8));
        assert_eq!(reactor.with_protocol(id, |_: &mut Plain, _| 9), None);
        reactor.transport(id).unwrap().lose_connection();
        assert_eq!(peer.read_to_end(&mut reactor).0, b"plain ping\r\n");
        drop(peer);
        world.run_until_idle(&mut reactor);
        assert_eq!(record.take(), ["made", "found", "ping", "lost Done"]);
    });
}

#[test]
fn a_handler_hears_of_everything_that_a_protocol_hears_of() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let record = Record::new();
        let talker = Talker::acting(&record, |what, transport, _| match what {
            "made" => {
                transport.set_water_marks(1000, 100);
                transport.send_line(&[b'x'; 200_000]);
            }
            "resume" => transport.lose_write_connection(),
            _ => {}
        });
        let (_, mut peer) = narrow_connection(world, &mut reactor, Lines::new(talker));
        assert_eq!(peer.read_to_end(&mut reactor).0.len(), 200_002);
        peer.finish();
        world.run_until_idle(&mut reactor);
        assert_eq!(record.take(), ["made", "pause", "resume", "write lost", "read lost", "lost Done"]);
    });
}

#[test]
fn a_panic_in_line_received_ends_only_that_connection() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let record = Record::new();
        let talker = Talker::acting(&record, |what, _, line| {
            assert!((what, line) != ("line", b"bad"), "a bad line");
        });
        let (_, mut peer) = connection(world, &mut reactor, Lines::new(talker));
        peer.send(b"one\r\nbad\r\ntwo\r\n");
        world.run_until_idle(&mut reactor);
        assert_eq!(record.take(), ["made", "line one", "line bad", "lost Panicked"]);
        assert_eq!(world.logged().len(), 1);
    });
}

#[test]
fn events_depend_on_the_bytes_not_on_fragments_or_pauses() {
    for seed in 0..300 {
        let mut random = Random::new(seed);
        let mut bytes = Vec::new();
        for _ in 0..random.below(20) {
            match random.below(4) {
                0 => {
                    let count = random.below(9);
                    bytes.extend_from_slice(format!("len {count}\n").as_bytes());
                    bytes.extend((0..count).map(|_| b"\nab"[random.below(3)]));
                }
                1 => bytes.push(b'\n'),
                _ => {
                    bytes.extend((0..random.below(12)).map(|_| b"ab\r"[random.below(3)]));
                    bytes.push(b'\n');
                }
            }
        }
        let mut seen = Vec::new();
        for pauses in [false, true] {
            let record = Record::new();
            let mut talker = counting(&record);
            let (mut act, mut drawn) = (talker.act, Random::new(seed + 1));
            talker.act = Box::new(move |what, transport, data| {
                act(what, transport, data);
                if pauses && matches!(what, "line" | "raw") && drawn.below(2) == 0 {
                    transport.pause_reading();
                    transport.call_later(Duration::from_millis(5), |_: &mut Talker, transport| {
                        transport.resume_reading();
                    });
                }
            });
            let lines = Lines::with_decoder(talker, LineDecoder::new(b"\n", 64));
            let mut transport = StringTransport::new(lines);
            let mut rest = &bytes[..];
            while !rest.is_empty() {
                let (piece, behind) = rest.split_at(1 + random.below(rest.len().min(15)));
                transport.feed(piece);
                transport.advance(Duration::from_millis(random.below(9) as u64));
                rest = behind;
            }
            transport.advance(Duration::from_secs(10));
            seen.push(
                record.take().into_iter().filter(|event| event.starts_with("line")).collect::<Vec<_>>(),
            );
        }
        assert_eq!(seen[0], naive(&bytes), "seed {seed}: {}", bytes.escape_ascii());
        assert_eq!(seen[1], seen[0], "seed {seed}: {}", bytes.escape_ascii());
    }
}

/// The lines between the raw bytes.
fn naive(mut bytes: &[u8]) -> Vec<String> {
    let mut lines = Vec::new();
    while let Some(end) = bytes.iter().position(|byte| *byte == b'\n') {
        let line = &bytes[..end];
        lines.push(format!("line {}", line.escape_ascii()).trim_end().to_owned());
        bytes = &bytes[end + 1..];
        if let Some(count) = line.strip_prefix(b"len ") {
            bytes = &bytes[std::str::from_utf8(count).unwrap().parse().unwrap()..];
        }
    }
    lines
}

#[test]
fn descriptors_reach_the_handler() {
    struct Takes(Record);
    impl LineReceiver for Takes {
        fn connection_made(&mut self, transport: &mut LineTransport<'_>) {
            transport.receive_descriptors().unwrap();
        }
        fn line_received(&mut self, _: &mut LineTransport<'_>, line: &[u8]) {
            self.0.add(format!("line {}", line.escape_ascii()));
        }
        fn descriptor_received(&mut self, _: &mut LineTransport<'_>, _: std::os::fd::OwnedFd) {
            self.0.add("descriptor");
        }
    }
    crate::world::on_the_real_network("descriptors are the system's", |world| {
        let mut reactor = world.reactor();
        let record = Record::new();
        let name = format!("@twistor-lines-{}", std::process::id());
        let takes = Lines::new(Takes(record.clone()));
        let listener = reactor.listen_unix(name.as_str(), crate::world::once(takes, &Record::new())).unwrap();
        let sender = crate::world::Recorder::new(&Record::new()).acting(|what, transport, _| {
            if what == "made" {
                let descriptor = std::fs::File::open("/dev/null").unwrap().into();
                transport.write_descriptors(b"one\r\n", vec![descriptor]).unwrap();
                transport.lose_connection();
            }
        });
        reactor.connect_unix(name.as_str(), crate::world::once(sender, &Record::new())).unwrap();
        world.run_until(&mut reactor, "received", |_| record.has("line one"));
        assert_eq!(record.take(), ["descriptor", "line one"]);
        world.close(&mut reactor, &listener);
    });
}
