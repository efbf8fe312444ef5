//! A handler of strings is told each string once and in order, in whatever framing; what is none ends the connection.

use std::time::Duration;

use crate::world::peer::{Peer, connection, turns};
use crate::world::random::Random;
use crate::world::{Record, World, on_each_back_end};
use twistor::framing::{
    FrameTransport, LengthPrefix, NetstringDecoder, NextString, PrefixDecoder, StatefulStringReceiver,
    StringError, StringReceiver, StringTooLong, Strings, encode_netstring, encode_string,
};
use twistor::testing::StringTransport;
use twistor::{ConnectionId, Protocol, Reactor, Reason, Transport};

/// Records what it is told, and then does something.
struct Talker {
    record: Record,
    act: Act,
}

type Act = Box<dyn FnMut(&str, &mut FrameTransport<'_>, &[u8])>;

impl Talker {
    fn acting(record: &Record, act: impl FnMut(&str, &mut FrameTransport<'_>, &[u8]) + 'static) -> Talker {
        Talker { record: record.clone(), act: Box::new(act) }
    }

    fn happened(&mut self, what: &str, transport: &mut FrameTransport<'_>, data: &[u8]) {
        self.record.add(format!("{what} {}", data.escape_ascii()).trim_end());
        (self.act)(what, transport, data);
    }
}

impl StringReceiver for Talker {
    fn string_received(&mut self, transport: &mut FrameTransport<'_>, string: &[u8]) {
        self.happened("string", transport, string);
    }

    fn string_refused(&mut self, transport: &mut FrameTransport<'_>, error: &StringError) {
        self.happened("refused", transport, error.to_string().as_bytes());
    }

    fn connection_made(&mut self, transport: &mut FrameTransport<'_>) {
        self.happened("made", transport, b"");
    }

    fn read_connection_lost(&mut self, transport: &mut FrameTransport<'_>) {
        self.happened("read lost", transport, b"");
        transport.lose_connection();
    }

    fn connection_lost(&mut self, transport: &mut FrameTransport<'_>, reason: &Reason) {
        self.happened("lost", transport, reason.to_string().as_bytes());
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Framing {
    Netstring,
    Prefixed(LengthPrefix),
}

const FRAMINGS: [Framing; 4] = [
    Framing::Netstring,
    Framing::Prefixed(LengthPrefix::Int8),
    Framing::Prefixed(LengthPrefix::Int16),
    Framing::Prefixed(LengthPrefix::Int32),
];

impl Framing {
    fn strings<H: StringReceiver>(self, handler: H, max: usize) -> Strings<H> {
        match self {
            Framing::Netstring => Strings::with_netstring_decoder(handler, NetstringDecoder::new(max)),
            Framing::Prefixed(prefix) => {
                Strings::with_prefix_decoder(handler, PrefixDecoder::new(prefix, max))
            }
        }
    }

    fn encode(self, strings: &[&[u8]]) -> Vec<u8> {
        let mut out = Vec::new();
        for string in strings {
            match self {
                Framing::Netstring => encode_netstring(&mut out, string),
                Framing::Prefixed(prefix) => encode_string(&mut out, prefix, string).unwrap(),
            }
        }
        out
    }
}

fn on_each_framing(promise: impl Fn(&World, Framing)) {
    on_each_back_end(|world| FRAMINGS.into_iter().for_each(|framing| promise(world, framing)));
}

fn begin(
    world: &World,
    framing: Framing,
    act: impl FnMut(&str, &mut FrameTransport<'_>, &[u8]) + 'static,
) -> (Reactor, Record, ConnectionId, Peer) {
    let mut reactor = world.reactor();
    let record = Record::new();
    let (id, peer) = connection(world, &mut reactor, framing.strings(Talker::acting(&record, act), 10));
    record.take();
    (reactor, record, id, peer)
}

fn end(world: &World, mut reactor: Reactor, mut peer: Peer) {
    peer.finish();
    world.run_until_idle(&mut reactor);
}

#[test]
fn strings_survive_any_fragmentation_in_order_and_round_trip() {
    on_each_framing(|world, framing| {
        let strings: [&[u8]; 5] = [b"one", b"", b"3:abc,", b"0123456789", b"\0\r\n"];
        let bytes = framing.encode(&strings);
        for size in [1, 2, 5, 100] {
            let (mut reactor, record, _, mut peer) = begin(world, framing, |what, transport, string| {
                if what == "string" {
                    transport.send_string(string).unwrap();
                }
            });
            for piece in bytes.chunks(size) {
                peer.send(piece);
                turns(&mut reactor);
            }
            let expected =
                strings.map(|string| format!("string {}", string.escape_ascii()).trim_end().to_owned());
            assert_eq!(record.take(), expected);
            assert_eq!(peer.read_now(), bytes);
            end(world, reactor, peer);
            assert_eq!(record.take(), ["read lost", "lost connection closed cleanly"]);
        }
    });
}

#[test]
fn a_pause_is_immediate_and_kept_strings_precede_the_end() {
    on_each_framing(|world, framing| {
        let (mut reactor, record, id, mut peer) = begin(world, framing, |what, transport, string| {
            if (what, string) == ("string", b"pause") {
                transport.pause_reading();
            }
        });
        let bytes = framing.encode(&[b"one", b"pause", b"two", b"pause", b"three"]);
        let (now, later) = bytes.split_at(bytes.len() - 3);
        peer.send(now);
        turns(&mut reactor);
        peer.send(later);
        peer.finish();
        turns(&mut reactor);
        assert_eq!(record.take(), ["string one", "string pause"]);
        reactor.transport(id).unwrap().resume_reading();
        turns(&mut reactor);
        assert_eq!(record.take(), ["string two", "string pause"]);
        reactor.transport(id).unwrap().resume_reading();
        world.run_until_idle(&mut reactor);
        assert_eq!(record.take(), ["string three", "read lost", "lost connection closed cleanly"]);
    });
}

#[test]
fn nothing_comes_behind_a_string_that_ends_the_connection() {
    on_each_framing(|world, framing| {
        let (mut reactor, record, _, mut peer) = begin(world, framing, |what, transport, string| {
            if (what, string) == ("string", b"end") {
                transport.lose_connection();
            }
        });
        peer.send(&framing.encode(&[b"one", b"end", b"two"]));
        turns(&mut reactor);
        end(world, reactor, peer);
        assert_eq!(record.take(), ["string one", "string end", "lost connection closed cleanly"]);
    });
}

/// Leaves to the defaults what can be left to them.
struct Plain(Record);

impl StringReceiver for Plain {
    fn string_received(&mut self, _: &mut FrameTransport<'_>, string: &[u8]) {
        self.0.add(format!("string of {}", string.len()));
    }

    fn connection_lost(&mut self, _: &mut FrameTransport<'_>, reason: &Reason) {
        let Reason::Protocol(error) = reason else { return self.0.add(reason.to_string()) };
        self.0.add(format!("{:?}", error.error::<StringError>().unwrap()));
    }
}

#[test]
fn by_default_an_overlong_length_alone_ends_the_connection() {
    on_each_back_end(|world| {
        let at_most = vec![b'x'; 99_999];
        let cases = [
            (Strings::netstrings(Plain(Record::new())), Framing::Netstring, &b"100000"[..]),
            (
                Strings::int32(Plain(Record::new())),
                Framing::Prefixed(LengthPrefix::Int32),
                &[0, 1, 0x86, 0xa0],
            ),
        ];
        for (mut strings, framing, too_long) in cases {
            let mut reactor = world.reactor();
            let record = Record::new();
            strings.handler_mut().0 = record.clone();
            let (_, mut peer) = connection(world, &mut reactor, strings);
            for piece in framing.encode(&[&at_most]).chunks(10_000) {
                peer.send(piece);
                turns(&mut reactor);
            }
            peer.send(too_long);
            drop(peer.read_to_end(&mut reactor));
            drop(peer);
            world.run_until_idle(&mut reactor);
            let error = StringError::TooLong(StringTooLong { length: 100_000, limit: 99_999 });
            assert_eq!(record.take(), ["string of 99999".to_owned(), format!("{error:?}")]);
        }
    });
}

#[test]
fn a_malformed_netstring_is_fatal_and_later_input_is_ignored() {
    on_each_back_end(|world| {
        let bad = [
            (&b"01:a,1:b,"[..], "the length of a netstring has a leading zero"),
            (b":a,1:b,", "a netstring begins with ':' instead of a digit"),
            (b"1\na,1:b,", "'\\n' instead of a colon after the length of a netstring"),
            (b"1:ab1:b,", "'b' instead of a comma after a netstring"),
            (b"11:a,1:b,", "a string of 11 bytes is too long: the limit is 10"),
        ];
        for (bytes, error) in bad {
            for size in [1, 100] {
                let (mut reactor, record, _, mut peer) =
                    begin(world, Framing::Netstring, |what, transport, _| {
                        if what == "refused" {
                            // It may have the last word, and need not close by itself.
                            transport.send_string(b"what?").unwrap();
                        }
                    });
                peer.send(b"3:one,");
                for piece in bytes.chunks(size) {
                    peer.send(piece);
                    turns(&mut reactor);
                }
                let (answer, _) = peer.read_to_end(&mut reactor);
                assert_eq!(answer, b"5:what?,");
                drop(peer);
                world.run_until_idle(&mut reactor);
                let refused = format!("refused {}", error.as_bytes().escape_ascii());
                let lost = format!("connection ended by its protocol: {error}");
                let lost = format!("lost {}", lost.as_bytes().escape_ascii());
                assert_eq!(record.take(), ["string one".to_owned(), refused, lost]);
            }
        }
    });
}

#[test]
fn an_excessive_length_is_reported_again_for_each_new_input() {
    on_each_back_end(|world| {
        let (mut reactor, record, _, mut peer) =
            begin(world, Framing::Prefixed(LengthPrefix::Int8), |_, _, _| {});
        for piece in [&b"\x03one\x0bhello"[..], b" world", b"\x01x"] {
            peer.send(piece);
            turns(&mut reactor);
        }
        let refused = "refused a string of 11 bytes is too long: the limit is 10";
        assert_eq!(record.take(), ["string one", refused, refused, refused]);
        end(world, reactor, peer);
    });
}

#[test]
fn a_length_that_is_too_much_can_be_let_pass() {
    on_each_back_end(|world| {
        let (mut reactor, record, _, mut peer) =
            begin(world, Framing::Prefixed(LengthPrefix::Int8), |what, transport, _| {
                if what == "refused" {
                    assert_eq!(transport.max_length(), 10);
                    transport.set_max_length(11);
                }
            });
        for piece in [&b"\x0bhello"[..], b" world\x03one\x0c"] {
            peer.send(piece);
            turns(&mut reactor);
        }
        let refused =
            |length, most| format!("refused a string of {length} bytes is too long: the limit is {most}");
        assert_eq!(record.events()[..3], [refused(11, 10), "string hello world".into(), "string one".into()]);
        // The handler's assertion does not hold a second time.
        assert_eq!(record.take()[3], refused(12, 11));
        assert_eq!(world.logged().len(), 1);
        drop(peer);
        world.run_until_idle(&mut reactor);
    });
}

#[test]
fn sending_an_overlong_string_is_an_error_and_sends_nothing() {
    on_each_back_end(|world| {
        for (prefix, most) in [(LengthPrefix::Int8, 255), (LengthPrefix::Int16, 65_535)] {
            let (mut reactor, record, _, mut peer) =
                begin(world, Framing::Prefixed(prefix), move |what, transport, _| {
                    if what == "string" {
                        let string = vec![b'x'; most + 1];
                        let error = StringTooLong { length: most + 1, limit: most };
                        assert_eq!(transport.send_string(&string), Err(error));
                        assert_eq!(transport.send_string(&string[1..]), Ok(()));
                        transport.lose_connection();
                    }
                });
            peer.send(&Framing::Prefixed(prefix).encode(&[b"go"]));
            let (answer, _) = peer.read_to_end(&mut reactor);
            assert_eq!(answer, Framing::Prefixed(prefix).encode(&[&vec![b'x'; most]]));
            end(world, reactor, peer);
            assert_eq!(record.take(), ["string go", "lost connection closed cleanly"]);
        }
    });
}

/// Speaks strings until it is told to echo what comes.
enum Switching {
    Strings(Strings<Switch>),
    Echo,
}

#[derive(Default)]
struct Switch {
    rest: Option<Vec<u8>>,
}

impl StringReceiver for Switch {
    fn string_received(&mut self, transport: &mut FrameTransport<'_>, string: &[u8]) {
        if string == b"echo" {
            self.rest = Some(transport.clear_buffer());
        }
    }
}

impl Protocol for Switching {
    fn data_received(&mut self, transport: &mut Transport<'_>, data: &[u8]) {
        match self {
            Switching::Echo => transport.write(data),
            Switching::Strings(strings) => {
                strings.data_received(transport, data);
                if let Some(rest) = strings.handler_mut().rest.take() {
                    transport.write(&rest);
                    *self = Switching::Echo;
                }
            }
        }
    }
}

#[test]
fn another_protocol_can_go_on_in_mid_buffer() {
    on_each_framing(|world, framing| {
        let mut bytes = framing.encode(&[b"one", b"echo"]);
        bytes.extend_from_slice(b"\0\xffno string");
        for size in [1, 4, 100] {
            let mut reactor = world.reactor();
            let strings = framing.strings(Switch::default(), 10);
            let (_, mut peer) = connection(world, &mut reactor, Switching::Strings(strings));
            for piece in bytes.chunks(size) {
                peer.send(piece);
                turns(&mut reactor);
            }
            assert_eq!(peer.read_now(), b"\0\xffno string");
            drop(peer);
            world.run_until_idle(&mut reactor);
        }
    });
}

#[test]
fn what_there_is_of_a_string_can_be_taken_with_its_length() {
    on_each_framing(|world, framing| {
        let bytes = framing.encode(&[b"0123456789"]);
        for cut in 0..bytes.len() {
            let (mut reactor, _, id, mut peer) = begin(world, framing, |_, _, _| {});
            peer.send(&bytes[..cut]);
            turns(&mut reactor);
            let taken = reactor.with_protocol(id, |strings: &mut Strings<Talker>, transport| {
                strings.with(transport, |_, transport| transport.clear_buffer())
            });
            assert_eq!(taken.unwrap(), &bytes[..cut]);
            end(world, reactor, peer);
        }
    });
}

#[test]
fn a_timer_gets_the_handler_and_a_string_transport() {
    on_each_framing(|world, framing| {
        let (mut reactor, _, id, mut peer) = begin(world, framing, |what, transport, _| {
            if what == "string" {
                transport.call_later(Duration::from_millis(1), |_: &mut Talker, transport| {
                    transport.send_string(b"ping").unwrap();
                    transport.lose_connection();
                });
            }
        });
        assert_eq!(reactor.with_protocol(id, |_: &mut Talker, _| 7), Some(7));
        peer.send(&framing.encode(&[b"go"]));
        assert_eq!(peer.read_to_end(&mut reactor).0, framing.encode(&[b"ping"]));
        end(world, reactor, peer);
    });
}

/// Asks for a name, then says hello to it until it says goodbye.
struct Hello {
    state: NextString<Hello>,
    record: Record,
}

impl Hello {
    fn name(&mut self, _: &mut FrameTransport<'_>, name: &[u8]) -> NextString<Hello> {
        self.record.add(format!("name {}", name.escape_ascii()));
        NextString::Next(Hello::talk)
    }

    fn talk(&mut self, _: &mut FrameTransport<'_>, text: &[u8]) -> NextString<Hello> {
        self.record.add(format!("talk {}", text.escape_ascii()));
        match text {
            b"bye" => NextString::Done,
            _ => NextString::Next(Hello::talk),
        }
    }
}

impl StatefulStringReceiver for Hello {
    fn state(&mut self) -> &mut NextString<Hello> {
        &mut self.state
    }

    fn connection_lost(&mut self, _: &mut FrameTransport<'_>, reason: &Reason) {
        self.record.add(reason.to_string());
    }
}

#[test]
fn each_string_reaches_the_state_named_by_the_previous_one() {
    on_each_framing(|world, framing| {
        let mut reactor = world.reactor();
        let record = Record::new();
        let hello = Hello { state: NextString::Next(Hello::name), record: record.clone() };
        let (_, mut peer) = connection(world, &mut reactor, framing.strings(hello, 10));
        for piece in framing.encode(&[b"John", b"a", b"b", b"bye", b"c"]).chunks(3) {
            peer.send(piece);
        }
        let (answer, _) = peer.read_to_end(&mut reactor);
        assert_eq!(answer, b"");
        drop(peer);
        world.run_until_idle(&mut reactor);
        let expected = ["name John", "talk a", "talk b", "talk bye", "connection closed cleanly"];
        assert_eq!(record.take(), expected);
    });
}

#[test]
fn arbitrary_bytes_yield_strings_or_errors_never_a_panic() {
    for seed in 0..400 {
        let mut random = Random::new(seed);
        let framing = FRAMINGS[random.below(4)];
        let mut bytes = framing.encode(&[b"one", b"", b"two"]);
        for _ in 0..random.below(4) {
            let at = random.below(bytes.len());
            bytes[at] = random.below(256) as u8;
        }
        let record = Record::new();
        let talker = Talker::acting(&record, |_, _, _| {});
        // A panic in a callback would be this test's.
        let mut transport = StringTransport::new(framing.strings(talker, random.below(300)));
        let mut rest = &bytes[..];
        while !rest.is_empty() {
            let (piece, behind) = rest.split_at(1 + random.below(rest.len()));
            transport.feed(piece);
            rest = behind;
        }
        transport.finish();
        assert!(transport.lost().is_some(), "seed {seed}");
        assert_eq!(record.events().iter().filter(|event| event.starts_with("lost")).count(), 1);
    }
}
