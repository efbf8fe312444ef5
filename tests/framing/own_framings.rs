//! A framing of one's own has what the shipped ones have: whole messages in order, pauses between
//! them, typed errors, and the rest for another protocol.

use std::io::{Error, ErrorKind};
use std::time::Duration;

use crate::world::peer::{Peer, connection, turns};
use crate::world::{Record, World, idle_protocol, on_each_back_end};
use twistor::framing::{
    Decoder, LengthPrefix, LineEncoder, MessageBuffer, MessageError, MessageReceiver, MessageTransport,
    Messages, NetstringEncoder,
};
use twistor::testing::StringTransport;
use twistor::{ConnectionId, Layer, Reactor, Reason};

/// Words that end in a space. The last one needs none. `!` is invalid, and `#` switches to letters.
#[derive(Default)]
struct Words {
    letters: bool,
}

impl Decoder for Words {
    type Message = String;
    type Error = Error;

    fn decode(&mut self, input: &mut &[u8]) -> Result<Option<String>, Error> {
        if input.first() == Some(&b'!') {
            return Err(ErrorKind::InvalidData.into());
        }
        let length = if self.letters { Some(1) } else { input.iter().position(|byte| *byte == b' ') };
        let Some((word, rest)) = length.and_then(|length| input.split_at_checked(length)) else {
            return Ok(None);
        };
        *input = rest.strip_prefix(b" ").unwrap_or(rest);
        Ok(Some(word.escape_ascii().to_string()))
    }

    fn decode_eof(&mut self, input: &mut &[u8]) -> Result<Option<String>, Error> {
        match input.split_off_first() {
            None => Ok(None),
            Some(b'?') => {
                // A word that must not be the last.
                *input = b"?";
                Ok(None)
            }
            Some(first) => {
                let rest = std::mem::take(input);
                Ok(Some([&[*first], rest].concat().escape_ascii().to_string()))
            }
        }
    }
}

/// Records what it is told, and then does something.
struct Teller {
    record: Record,
    act: Act,
}

type Act = Box<dyn FnMut(&str, &mut MessageTransport<'_, Words>)>;

impl Teller {
    fn happened(&mut self, what: &str, transport: &mut MessageTransport<'_, Words>) {
        self.record.add(what);
        (self.act)(what, transport);
    }
}

impl MessageReceiver for Teller {
    type Decoder = Words;

    fn message_received(&mut self, transport: &mut MessageTransport<'_, Words>, word: String) {
        self.happened(&word, transport);
    }

    fn message_refused(&mut self, transport: &mut MessageTransport<'_, Words>, error: MessageError<Error>) {
        self.happened("(refused)", transport);
        transport.lose_connection_with_error(error);
    }

    fn read_connection_lost(&mut self, transport: &mut MessageTransport<'_, Words>) {
        self.happened("(read lost)", transport);
        transport.lose_connection();
    }

    fn connection_lost(&mut self, transport: &mut MessageTransport<'_, Words>, reason: &Reason) {
        self.happened(&format!("(lost {reason})"), transport);
    }
}

/// At most ten bytes a word.
fn words(
    record: &Record,
    act: impl FnMut(&str, &mut MessageTransport<'_, Words>) + 'static,
) -> Messages<Teller> {
    let teller = Teller { record: record.clone(), act: Box::new(act) };
    Messages::with_buffer(teller, MessageBuffer::with_max_length(Words::default(), 10))
}

fn begin(
    world: &World,
    act: impl FnMut(&str, &mut MessageTransport<'_, Words>) + 'static,
) -> (Reactor, Record, ConnectionId, Peer) {
    let mut reactor = world.reactor();
    let record = Record::new();
    let (id, peer) = connection(world, &mut reactor, words(&record, act));
    (reactor, record, id, peer)
}

const CLOSED: &str = "(lost connection closed cleanly)";

#[test]
fn messages_survive_any_fragmentation() {
    on_each_back_end(|world| {
        for size in [1, 2, 5, 100] {
            let (mut reactor, record, _, mut peer) = begin(world, |_, _| {});
            for piece in b"one two  012345678 last".chunks(size) {
                peer.send(piece);
                turns(&mut reactor);
            }
            peer.finish();
            world.run_until_idle(&mut reactor);
            assert_eq!(record.take(), ["one", "two", "", "012345678", "last", "(read lost)", CLOSED]);
        }
    });
}

#[test]
fn a_pause_is_immediate_and_kept_messages_come_first() {
    on_each_back_end(|world| {
        let (mut reactor, record, id, mut peer) = begin(world, |what, transport| {
            if what == "pause" {
                transport.pause_reading();
            }
        });
        peer.send(b"one pause two pause pause thr");
        turns(&mut reactor);
        peer.send(b"ee");
        peer.finish();
        turns(&mut reactor);
        for seen in [vec!["one", "pause"], vec!["two", "pause"], vec!["pause"]] {
            assert_eq!(record.take(), seen);
            reactor.transport(id).unwrap().resume_reading();
            turns(&mut reactor);
        }
        world.run_until_idle(&mut reactor);
        assert_eq!(record.take(), ["three", "(read lost)", CLOSED]);
    });
}

#[test]
fn a_pause_in_the_last_message_holds_the_end_back() {
    struct PassOn;
    impl Layer for PassOn {}
    on_each_back_end(|world| {
        for layered in [false, true] {
            let (mut reactor, record, id, mut peer) = begin(world, |what, transport| {
                if what == "pause" {
                    transport.pause_reading();
                }
            });
            if layered {
                reactor.transport(id).unwrap().add_layer(PassOn);
            }
            peer.send(b"one pause");
            peer.finish();
            world.run_until(&mut reactor, "paused", |_| record.has("pause"));
            turns(&mut reactor);
            assert_eq!(record.take(), ["one", "pause"]);
            reactor.transport(id).unwrap().resume_reading();
            world.run_until_idle(&mut reactor);
            assert_eq!(record.take(), ["(read lost)", CLOSED]);
        }
    });
}

#[test]
fn the_last_message_comes_after_our_own_end_too() {
    on_each_back_end(|world| {
        let (mut reactor, record, _, mut peer) = begin(world, |what, transport| {
            if what == "end" {
                transport.lose_write_connection();
            }
        });
        peer.send(b"end la");
        while !peer.at_end() {
            turns(&mut reactor);
        }
        peer.send(b"st");
        peer.finish();
        world.run_until_idle(&mut reactor);
        assert_eq!(record.take(), ["end", "last", "(read lost)", CLOSED]);
    });
}

#[test]
fn nothing_comes_after_a_close_in_mid_read() {
    on_each_back_end(|world| {
        for abort in [false, true] {
            let (mut reactor, record, _, mut peer) = begin(world, move |what, transport| match what {
                "close" if abort => transport.abort_connection(),
                "close" => transport.lose_connection(),
                _ => {}
            });
            peer.send(b"one close two three");
            world.run_until(&mut reactor, "lost", |reactor| reactor.connections().is_empty());
            drop(peer);
            world.run_until_idle(&mut reactor);
            let events = record.take();
            assert_eq!((&events[..2], events.len()), (&["one".to_owned(), "close".to_owned()][..], 3));
        }
    });
}

#[test]
fn invalid_bytes_end_the_connection_with_their_error() {
    on_each_back_end(|world| {
        for (bytes, error) in [
            (&b"one ! two "[..], "invalid data"),
            (b"one 0123456789a two ", "a message is longer than 10 bytes"),
            (b"one ?", "the input ended after 1 bytes of a message"),
        ] {
            let (mut reactor, record, _, mut peer) = begin(world, |_, _| {});
            peer.send(bytes);
            peer.finish();
            world.run_until_idle(&mut reactor);
            let lost = record.events().pop().unwrap();
            assert!(lost.contains(error), "{lost}");
            assert_eq!(record.take()[..2], ["one", "(refused)"]);
        }
    });
}

#[test]
fn a_mode_switch_applies_to_the_bytes_after_the_message() {
    on_each_back_end(|world| {
        let (mut reactor, record, _, mut peer) = begin(world, |what, transport| {
            transport.decoder().letters = what == "#";
        });
        peer.send(b"one # ab");
        turns(&mut reactor);
        peer.send(b"c two ");
        peer.finish();
        world.run_until_idle(&mut reactor);
        assert_eq!(record.take(), ["one", "#", "a", "bc", "two", "(read lost)", CLOSED]);
    });
}

#[test]
fn the_rest_can_be_taken_for_another_protocol() {
    on_each_back_end(|world| {
        let record = Record::new();
        let rests = record.clone();
        let mut reactor = world.reactor();
        let act = move |what: &str, transport: &mut MessageTransport<'_, Words>| match what {
            "switch" => rests.add(format!("[{}]", transport.take_rest().escape_ascii())),
            "pause" => transport.pause_reading(),
            what if what.starts_with("(lost") => {
                rests.add(format!("[{}]", transport.take_rest().escape_ascii()));
            }
            _ => {}
        };
        let (id, mut peer) = connection(world, &mut reactor, words(&record, act));
        peer.send(b"one swi");
        turns(&mut reactor);
        peer.send(b"tch binary! pause ");
        turns(&mut reactor);
        peer.send(b"two pause more ");
        turns(&mut reactor);
        reactor.transport(id).unwrap().abort_connection();
        world.run_until_idle(&mut reactor);
        let events = record.take();
        assert_eq!(events[..5], ["one", "switch", "[binary! pause ]", "two", "pause"]);
        assert_eq!((events[5].starts_with("(lost"), events[6].as_str()), (true, "[more ]"));
    });
}

#[test]
fn handlers_are_found_by_timers_and_other_connections() {
    on_each_back_end(|world| {
        let (mut reactor, record, id, mut peer) = begin(world, |what, transport| {
            if what == "later" {
                transport.call_later(Duration::from_millis(1), |teller: &mut Teller, transport| {
                    teller.record.add("timer");
                    transport.write(b"timer");
                });
            }
        });
        peer.send(b"later ");
        world.run_until(&mut reactor, "called", |_| record.has("timer"));
        reactor.with_protocol(id, |teller: &mut Teller, _| teller.record.add("found"));
        reactor.with_protocol(id, |messages: &mut Messages<Teller>, transport| {
            messages.with(transport, |teller, transport| teller.happened("with", transport));
        });
        peer.finish();
        world.run_until_idle(&mut reactor);
        assert_eq!(record.take(), ["later", "timer", "found", "with", "(read lost)", CLOSED]);
        assert_eq!(peer.read_now(), b"timer");
    });
}

#[test]
fn a_line_can_be_sent_to_each_of_the_others() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let record = Record::new();
        let say = |what: &str, transport: &mut MessageTransport<'_, Words>| {
            if what.starts_with('(') {
                return;
            }
            let (own, reactor) = (transport.id(), transport.reactor());
            for other in reactor.connections().into_iter().filter(|other| *other != own) {
                let mut other = reactor.transport(other).unwrap();
                other.write_message(&mut LineEncoder::new(b"\n"), what.as_bytes()).unwrap();
                other.write_message(&mut LengthPrefix::Int8, what.as_bytes()).unwrap();
                other.write_message(&mut NetstringEncoder, what.as_bytes()).unwrap();
                assert!(other.write_message(&mut LineEncoder::new(b"\n"), b"two\nlines").is_err());
                assert!(other.write_message(&mut LengthPrefix::Int8, &[0; 256]).is_err());
            }
        };
        let (_, mut speaker) = connection(world, &mut reactor, words(&record, say));
        let mut others = [(); 3].map(|()| connection(world, &mut reactor, idle_protocol()).1);
        speaker.send(b"hello ");
        turns(&mut reactor);
        for other in &mut others {
            assert_eq!(other.read_now(), b"hello\n\x05hello5:hello,");
            other.finish();
        }
        assert_eq!(speaker.read_now(), b"");
        crate::world::abort_all(&mut reactor);
        world.run_until_idle(&mut reactor);
    });
}

#[test]
fn data_that_the_buffer_holds_is_delivered_first() {
    let record = Record::new();
    let mut buffer = MessageBuffer::new(Words::default());
    assert_eq!(buffer.next(&mut &b"on"[..]).unwrap(), None);
    let teller = Teller { record: record.clone(), act: Box::new(|_, _| {}) };
    let mut transport = StringTransport::new(Messages::with_buffer(teller, buffer));
    transport.feed(b"e two ");
    assert_eq!(record.take(), ["one", "two"]);
}
