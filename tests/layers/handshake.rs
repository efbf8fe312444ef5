//! A layer with a handshake: its last words are sent, it reads while the protocol does not, it
//! finishes what was written before a close, and plain text behind its start is its own.

use crate::layers::{Noted, Then};
use crate::world::peer::{connection, turns};
use crate::world::{Record, Recorder, on_each_back_end, once};
use twistor::framing::{
    FrameTransport, LineDecoder, LineReceiver, LineTransport, Lines, MessageReceiver, MessageTransport,
    Messages, NextState, Stateful, StatefulReceiver, StatefulTransport, StringReceiver, Strings,
};
use twistor::{ConnectorState, Layer, LayerContext, LayerError, Protocol, Transport, layered};

/// Sends `hello`, is ready once it has read `HELLO`, and swaps the case of letters. Output waits for
/// the end of the handshake. Refuses any other greeting.
#[derive(Default)]
struct Greeting {
    input: Vec<u8>,
    output: Vec<u8>,
    ready: bool,
    closing: bool,
}

fn swapped(data: &[u8]) -> Vec<u8> {
    data.iter().map(|byte| if byte.is_ascii_alphabetic() { byte ^ 0x20 } else { *byte }).collect()
}

impl Layer for Greeting {
    fn started(&mut self, below: &mut LayerContext<'_>) {
        below.pass_down(b"hello ");
    }

    fn data_received(&mut self, below: &mut LayerContext<'_>, data: &[u8]) {
        if self.ready {
            return below.pass_up(&swapped(data));
        }
        self.input.extend_from_slice(data);
        if !b"HELLO".starts_with(&self.input[..self.input.len().min(5)]) {
            below.pass_down(b"alert");
            return below.end(LayerError::new("greeting", std::fmt::Error));
        }
        if self.input.len() >= 5 {
            self.ready = true;
            below.ready();
            below.pass_up(&swapped(&self.input[5..]));
            below.pass_down(&swapped(&std::mem::take(&mut self.output)));
            if self.closing {
                below.pass_eof_down();
            }
        }
    }

    fn data_written(&mut self, below: &mut LayerContext<'_>, data: &[u8]) {
        match self.ready {
            true => below.pass_down(&swapped(data)),
            false => self.output.extend_from_slice(data),
        }
    }

    fn write_closing(&mut self, below: &mut LayerContext<'_>) {
        self.closing = true;
        if self.ready || self.output.is_empty() {
            below.pass_eof_down();
        }
    }

    fn buffered(&self) -> usize {
        self.output.len()
    }
}

fn error() -> LayerError {
    LayerError::new("test", std::fmt::Error)
}

#[test]
fn a_layer_that_is_not_ready_has_the_last_word() {
    on_each_back_end(|world| {
        for (how, lower) in [("close", false), ("end", false), ("close", true), ("end", true)] {
            let mut reactor = world.reactor();
            let (record, made) = (Record::new(), Record::new());
            let noted = record.clone();
            let refusing = move || {
                Noted::new("refusing", &noted).acting(move |what, _, below, _| {
                    if what == "started" {
                        return Then::Nothing;
                    }
                    if what == "received" {
                        below.pass_down(b"ALERT");
                        match how {
                            "close" => below.close(Some(error())),
                            _ => below.end(error()),
                        }
                    }
                    if what == "write ending" { Then::Through } else { Then::Nothing }
                })
            };
            let factory = layered(once(Recorder::new(&made), &Record::new()), refusing);
            let listener = match lower {
                false => reactor.listen_tcp(world.anywhere(), factory),
                true => {
                    let below = Record::new();
                    reactor
                        .listen_tcp(world.anywhere(), layered(factory, move || Noted::new("below", &below)))
                }
            };
            let listener = listener.unwrap();
            let mut peer = world.connect(listener.address());
            peer.send(b"x");
            assert_eq!(peer.read_to_end(&mut reactor), (b"ALERT".to_vec(), None), "{how} {lower}");
            drop(peer);
            world.close(&mut reactor, &listener);
            let ended = if how == "close" { &["refusing: write ending"][..] } else { &[] };
            let expected = [&["refusing: started", "refusing: received x"], ended, &["refusing: lost Layer"]];
            assert_eq!(record.events(), expected.concat(), "{how} {lower}");
            assert_eq!(made.events(), [""; 0], "no protocol was made");
        }
    });
}

#[test]
fn last_words_before_the_end_of_a_made_connection_are_sent() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let (record, noted) = (Record::new(), Record::new());
        let ending = move || {
            Noted::new("ending", &noted).acting(|what, _, below, data| {
                if what == "received" && data == b"end" {
                    below.pass_up(b"before");
                    below.pass_down(b" and the last word");
                    below.end(error());
                    return Then::Nothing;
                }
                Then::Through
            })
        };
        let protocol = Recorder::new(&record).acting(|what, transport, _| {
            if what == "made" {
                transport.write(b"the first");
            }
        });
        let factory = layered(once(protocol, &Record::new()), ending);
        let listener = reactor.listen_tcp(world.anywhere(), factory).unwrap();
        let mut peer = world.connect(listener.address());
        peer.send(b"end");
        let expected = b"the first and the last word".to_vec();
        assert_eq!(peer.read_to_end(&mut reactor), (expected, None), "sent, and no reset");
        drop(peer);
        world.close(&mut reactor, &listener);
        assert_eq!(record.events(), ["made", "data before", "lost Layer"]);
    });
}

#[test]
fn long_last_words_are_sent_too() {
    on_each_back_end(|world| {
        for length in [1, 20_000] {
            let mut reactor = world.reactor();
            let noted = Record::new();
            let ending = move || {
                Noted::new("ending", &noted).acting(move |what, _, below, _| {
                    if what == "received" {
                        // So much is passed to the system at once.
                        below.pass_down(&vec![b'x'; length]);
                        below.end(error());
                        return Then::Nothing;
                    }
                    Then::Through
                })
            };
            let record = Record::new();
            let factory = layered(once(Recorder::new(&record), &Record::new()), ending);
            let listener = reactor.listen_tcp(world.anywhere(), factory).unwrap();
            let mut peer = world.connect(listener.address());
            peer.send(b"end");
            let (got, error) = peer.read_to_end(&mut reactor);
            assert_eq!((got.len(), error), (length, None));
            drop(peer);
            world.close(&mut reactor, &listener);
            assert_eq!(record.events(), ["made", "lost Layer"]);
        }
    });
}

#[test]
fn a_paused_protocol_gets_all_input_before_the_end() {
    const LENGTH: usize = 200_000;
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let (record, noted) = (Record::new(), Record::new());
        let ending = Noted::new("ending", &noted).acting(|what, _, below, _| {
            if what == "received" {
                below.pass_up(&vec![b'x'; LENGTH]);
                below.end(error());
                return Then::Nothing;
            }
            Then::Through
        });
        // Pauses at each piece of data.
        let protocol = Recorder::new(&record).acting(|what, transport, _| {
            if what == "data" {
                transport.pause_reading();
            }
        });
        let (id, mut peer) = connection(world, &mut reactor, protocol);
        turns(&mut reactor);
        reactor.transport(id).unwrap().add_layer(ending);
        peer.send(b"end");
        world.run_until(&mut reactor, "a piece", |_| record.events().len() == 3);
        for _ in 0..50 {
            turns(&mut reactor);
            if let Some(mut transport) = reactor.transport(id) {
                transport.resume_reading();
            }
        }
        world.run_until(&mut reactor, "the end", |_| record.has("lost Layer"));
        let got: usize = record.events().iter().filter_map(|event| length(event)).sum();
        assert_eq!(got, LENGTH, "{:?}", record.events());
        drop(peer);
        world.run_until_idle(&mut reactor);
    });
}

#[test]
fn input_given_back_comes_before_the_end() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let (record, noted) = (Record::new(), Record::new());
        let ending = Noted::new("ending", &noted).acting(|what, _, below, _| {
            if what == "received" {
                below.pass_up(b"abc");
                below.end(error());
                return Then::Nothing;
            }
            Then::Through
        });
        let mut gave_back = false;
        let protocol = Recorder::new(&record).acting(move |what, transport, _| {
            if what == "data" && !std::mem::replace(&mut gave_back, true) {
                transport.unread(b"bc");
            }
        });
        let (id, mut peer) = connection(world, &mut reactor, protocol);
        turns(&mut reactor);
        reactor.transport(id).unwrap().add_layer(ending);
        peer.send(b"end");
        world.run_until(&mut reactor, "the end", |_| record.has("lost Layer"));
        assert_eq!(record.events(), ["made", "layers ready", "data abc", "data bc", "lost Layer"]);
        drop(peer);
        world.run_until_idle(&mut reactor);
    });
}

/// The length of the data in a recorded event.
fn length(event: &str) -> Option<usize> {
    let data = event.strip_prefix("data ")?;
    match data.strip_prefix('(') {
        Some(count) => count.split(' ').next()?.parse().ok(),
        None => Some(data.len()),
    }
}

#[test]
fn a_layer_added_to_a_paused_connection_reads() {
    on_each_back_end(|world| {
        for early in [false, true] {
            let mut reactor = world.reactor();
            let record = Record::new();
            let (id, mut peer) = connection(world, &mut reactor, Recorder::new(&record));
            turns(&mut reactor);
            reactor.transport(id).unwrap().pause_reading();
            if early {
                // The greeting waits in the kernel, and no event will report it.
                peer.send(b"HELLO DATA");
                turns(&mut reactor);
            }
            reactor.transport(id).unwrap().add_layer(Greeting::default());
            if !early {
                turns(&mut reactor);
                peer.send(b"HELLO DATA");
            }
            world.run_until(&mut reactor, "ready", |_| record.has("layers ready"));
            turns(&mut reactor);
            assert_eq!(record.events(), ["made", "layers ready"], "the protocol has paused reading");
            reactor.transport(id).unwrap().resume_reading();
            world.run_until(&mut reactor, "data", |_| record.has("data  data"));
            drop(peer);
            reactor.transport(id).unwrap().abort_connection();
            world.run_until_idle(&mut reactor);
        }
    });
}

#[test]
fn what_was_written_before_a_close_waits_for_the_handshake() {
    on_each_back_end(|world| {
        for second in [false, true] {
            let mut reactor = world.reactor();
            let record = Record::new();
            let (id, mut peer) = connection(world, &mut reactor, Recorder::new(&record));
            turns(&mut reactor);
            let mut transport = reactor.transport(id).unwrap();
            transport.add_layer(Greeting::default());
            if second {
                transport.add_layer(Noted::new("second", &Record::new()));
            }
            transport.write(b"secret");
            transport.lose_connection();
            turns(&mut reactor);
            peer.send(b"HELLO ignored");
            assert_eq!(peer.read_to_end(&mut reactor), (b"hello SECRET".to_vec(), None), "{second}");
            drop(peer);
            world.run_until_idle(&mut reactor);
            assert_eq!(record.events(), ["made", "lost Done"], "{second}");
        }
    });
}

#[test]
fn a_handshake_that_fails_in_a_close_ends_it() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let record = Record::new();
        let (id, mut peer) = connection(world, &mut reactor, Recorder::new(&record));
        turns(&mut reactor);
        let mut transport = reactor.transport(id).unwrap();
        transport.add_layer(Greeting::default());
        transport.write(b"secret");
        transport.lose_connection();
        turns(&mut reactor);
        peer.send(b"nonsense");
        let (got, error) = peer.read_to_end(&mut reactor);
        assert!(b"hello alert".starts_with(&got), "{got:?}");
        assert!(error.is_some(), "the secret was discarded, so the end is no clean one");
        drop(peer);
        world.run_until_idle(&mut reactor);
        assert_eq!(record.events(), ["made", "lost Layer"]);
    });
}

/// Runs `make` behind a layer of a server to which `text` and a greeting come in one piece, and
/// compares what the handler was told.
fn starts<P: Protocol>(text: &[u8], make: impl Fn(&Record) -> P, expected: &[&str]) {
    on_each_back_end(|world| {
        for cut in [0, text.len() - 1, text.len(), text.len() + 3] {
            let mut reactor = world.reactor();
            let record = Record::new();
            let (_, mut peer) = connection(world, &mut reactor, make(&record));
            turns(&mut reactor);
            let all = [text, b"HELLO"].concat();
            peer.send(&all[..cut]);
            turns(&mut reactor);
            peer.send(&all[cut..]);
            world.run_until(&mut reactor, "ready", |_| record.has("ready"));
            turns(&mut reactor);
            assert_eq!(record.events(), expected, "cut at {cut}");
            drop(peer);
            world.run_until_idle(&mut reactor);
        }
    });
}

struct Handler(Record);

impl Handler {
    fn told(&self, transport: &mut Transport<'_>, message: &[u8]) {
        let text = String::from_utf8_lossy(message);
        self.0.add(format!("message {text}"));
        if text == "start" {
            transport.add_layer(Greeting::default());
        }
    }
}

impl LineReceiver for Handler {
    fn line_received(&mut self, transport: &mut LineTransport<'_>, line: &[u8]) {
        self.told(transport, line);
    }

    fn layers_ready(&mut self, _: &mut LineTransport<'_>) {
        self.0.add("ready");
    }
}

impl StringReceiver for Handler {
    fn string_received(&mut self, transport: &mut FrameTransport<'_>, string: &[u8]) {
        self.told(transport, string);
    }

    fn layers_ready(&mut self, _: &mut FrameTransport<'_>) {
        self.0.add("ready");
    }
}

impl StatefulReceiver for Handler {
    fn initial_state(&mut self) -> NextState<Handler> {
        NextState::new(5, |this, transport, data| {
            this.told(transport, data);
            this.initial_state()
        })
    }

    fn layers_ready(&mut self, _: &mut StatefulTransport<'_>) {
        self.0.add("ready");
    }
}

impl MessageReceiver for Handler {
    type Decoder = LineDecoder;

    fn message_received(&mut self, transport: &mut MessageTransport<'_, LineDecoder>, line: Vec<u8>) {
        self.told(transport, &line);
    }

    fn layers_ready(&mut self, _: &mut MessageTransport<'_, LineDecoder>) {
        self.0.add("ready");
    }
}

/// A protocol without a framing: the layer starts at a full stop.
struct Plain(Record);

impl Protocol for Plain {
    fn data_received(&mut self, transport: &mut Transport<'_>, data: &[u8]) {
        let stop = data.iter().position(|byte| *byte == b'.');
        let (own, rest) = data.split_at(stop.map_or(data.len(), |stop| stop + 1));
        own.iter().for_each(|byte| self.0.add(format!("message {}", *byte as char)));
        if stop.is_some() {
            transport.add_layer(Greeting::default());
            transport.unread(rest);
        }
    }

    fn layers_ready(&mut self, _: &mut Transport<'_>) {
        self.0.add("ready");
    }
}

#[test]
fn plain_text_behind_the_start_is_the_layers_first_input() {
    let told = ["message first", "message start", "ready"];
    starts(b"first\r\nstart\r\n", |record| Lines::new(Handler(record.clone())), &told);
    starts(b"\x05first\x05start", |record| Strings::int8(Handler(record.clone())), &told);
    starts(b"5:first,5:start,", |record| Strings::netstrings(Handler(record.clone())), &told);
    starts(b"firststart", |record| Stateful::new(Handler(record.clone())), &told);
    let messages = |record: &Record| Messages::new(Handler(record.clone()), LineDecoder::default());
    starts(b"first\r\nstart\r\n", messages, &told);
    starts(b"ab.", |record| Plain(record.clone()), &["message a", "message b", "message .", "ready"]);
}

#[test]
fn injected_plain_text_never_reaches_the_handler() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let record = Record::new();
        let (_, mut peer) = connection(world, &mut reactor, Lines::new(Handler(record.clone())));
        turns(&mut reactor);
        // The third line would be taken for one that came through the layer.
        peer.send(b"start\r\ndelete everything\r\nHELLO");
        assert_eq!(peer.read_to_end(&mut reactor), (b"hello alert".to_vec(), None));
        drop(peer);
        world.run_until_idle(&mut reactor);
        assert_eq!(record.events(), ["message start"]);
    });
}

#[test]
fn layers_are_ready_once_for_all_that_were_added() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let record = Record::new();
        let (id, mut peer) = connection(world, &mut reactor, Recorder::new(&record));
        turns(&mut reactor);
        let mut transport = reactor.transport(id).unwrap();
        transport.add_layer(Greeting::default());
        transport.add_layer(Noted::new("second", &Record::new()));
        turns(&mut reactor);
        assert_eq!(record.events(), ["made"]);
        peer.send(b"HELLO");
        world.run_until(&mut reactor, "ready", |_| record.has("layers ready"));
        reactor.transport(id).unwrap().add_layer(Noted::new("third", &Record::new()));
        turns(&mut reactor);
        assert_eq!(record.events(), ["made", "layers ready", "layers ready"]);
        reactor.transport(id).unwrap().abort_connection();
        world.run_until_idle(&mut reactor);
    });
}

#[test]
fn a_connector_is_securing_until_its_layers_are_ready() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let server = Record::new();
        let answering = Recorder::new(&server).acting(|what, transport, _| match what {
            "data" => transport.write(b"HELLO"),
            "read lost" => transport.lose_connection(),
            _ => {}
        });
        let listener = world.serve(&mut reactor, answering);
        let record = Record::new();
        let factory = layered(once(Recorder::new(&record), &Record::new()), Greeting::default);
        let id = reactor.connect_tcp(listener.address(), factory).unwrap();
        world.run_until(&mut reactor, "greeted", |_| server.has("made"));
        let seen = std::cell::RefCell::new(Vec::new());
        world.run_until(&mut reactor, "made", |reactor| {
            let state = reactor.connector(id).unwrap().state();
            let mut seen = seen.borrow_mut();
            if seen.last() != Some(&state) {
                seen.push(state);
            }
            record.has("made")
        });
        let seen = seen.into_inner();
        assert!(seen.contains(&ConnectorState::Securing), "{seen:?}");
        assert_eq!(seen.last(), Some(&ConnectorState::Connected));
        reactor.connector(id).unwrap().disconnect();
        world.close(&mut reactor, &listener);
    });
}
