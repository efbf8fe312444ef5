//! A protocol that keeps input is called again from the loop before the next read.

use crate::world::peer::{connection, turns};
use crate::world::{Record, Recorder, on_each_back_end, once};
use twistor::{Layer, LayerContext, Reason, layered};

/// Pauses at each piece and schedules another call.
fn pausing(record: &Record) -> Recorder {
    Recorder::new(record).acting(|what, transport, data| {
        if what == "data" && !data.is_empty() {
            transport.pause_reading();
            transport.schedule_data_received();
        }
    })
}

#[test]
fn receive_again_waits_for_resume_and_precedes_later_input() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let record = Record::new();
        let (id, mut peer) = connection(world, &mut reactor, pausing(&record));
        peer.send(b"one");
        turns(&mut reactor);
        peer.send(b"two");
        turns(&mut reactor);
        assert_eq!(record.take(), ["made", "data one"]);
        reactor.transport(id).unwrap().resume_reading();
        turns(&mut reactor);
        assert_eq!(record.take(), ["data", "data two"]);
        peer.finish();
        turns(&mut reactor);
        assert_eq!(record.take(), Vec::<String>::new());
        reactor.transport(id).unwrap().resume_reading();
        turns(&mut reactor);
        assert_eq!(record.take(), ["data", "read lost"]);
        reactor.transport(id).unwrap().lose_connection();
        world.run_until_idle(&mut reactor);
    });
}

#[test]
fn receive_again_calls_once_per_request_and_never_recursively() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let record = Record::new();
        let noting = record.clone();
        let mut left = 3;
        let protocol = Recorder::new(&record).acting(move |what, transport, _| {
            if what == "data" && left > 0 {
                left -= 1;
                transport.schedule_data_received();
                transport.schedule_data_received();
                noting.add("returns");
            }
        });
        let (id, mut peer) = connection(world, &mut reactor, protocol);
        peer.send(b"x");
        // The peer's FIN is there too, and has to wait.
        peer.finish();
        turns(&mut reactor);
        let expected =
            ["made", "data x", "returns", "data", "returns", "data", "returns", "data", "read lost"];
        assert_eq!(record.events(), expected);
        reactor.transport(id).unwrap().lose_connection();
        world.run_until_idle(&mut reactor);
    });
}

#[test]
fn another_connection_can_ask_for_it() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let record = Record::new();
        let (id, _peer) = connection(world, &mut reactor, Recorder::new(&record));
        reactor.transport(id).unwrap().schedule_data_received();
        turns(&mut reactor);
        assert_eq!(record.events(), ["made", "data"]);
        reactor.transport(id).unwrap().abort_connection();
        world.run_until_idle(&mut reactor);
    });
}

#[test]
fn a_connection_that_closes_or_is_lost_is_not_called() {
    on_each_back_end(|world| {
        for abort in [false, true] {
            let mut reactor = world.reactor();
            let record = Record::new();
            let (id, mut peer) = connection(world, &mut reactor, pausing(&record));
            peer.send(b"one");
            turns(&mut reactor);
            let mut transport = reactor.transport(id).unwrap();
            match abort {
                true => transport.abort_connection(),
                false => transport.lose_connection(),
            }
            transport.resume_reading();
            transport.schedule_data_received();
            drop(peer);
            world.run_until_idle(&mut reactor);
            assert_eq!(record.count("data"), 0);
            assert_eq!(record.events().len(), 3, "{:?}", record.events());
        }
    });
}

/// Delivers each byte twice, and so more than the size of a read.
struct Twice;

impl Layer for Twice {
    fn data_received(&mut self, below: &mut LayerContext<'_>, data: &[u8]) {
        below.pass_up(data);
        below.pass_up(data);
    }
}

#[test]
fn above_layers_receive_again_precedes_their_data_and_the_end() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let record = Record::new();
        let factory = layered(once(pausing(&record), &Record::new()), || Twice);
        let listener = reactor.listen_tcp(world.anywhere(), factory).unwrap();
        let mut peer = world.connect(listener.address());
        peer.send(b"one");
        world.run_until(&mut reactor, "received", |_| record.has("data oneone"));
        peer.send(b"two");
        peer.finish();
        turns(&mut reactor);
        assert_eq!(record.take(), ["made", "data oneone"]);
        for expected in [["data", "data twotwo"], ["data", "read lost"]] {
            let id = reactor.connections()[0];
            reactor.transport(id).unwrap().resume_reading();
            turns(&mut reactor);
            assert_eq!(record.take(), expected);
        }
        let id = reactor.connections()[0];
        reactor.transport(id).unwrap().abort_connection();
        world.close(&mut reactor, &listener);
    });
}

#[test]
fn a_protocol_can_close_with_a_reason_after_its_data_is_sent() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let record = Record::new();
        let told = std::rc::Rc::new(std::cell::RefCell::new(None));
        let protocol = Ending { told: std::rc::Rc::clone(&told) };
        let (_, mut peer) = connection(world, &mut reactor, protocol);
        peer.send(b"\xff");
        let (answer, error) = peer.read_to_end(&mut reactor);
        assert_eq!((answer.as_slice(), error), (&b"what?"[..], None));
        drop(peer);
        world.run_until_idle(&mut reactor);
        let Some(Reason::Protocol(error)) = told.borrow_mut().take() else { panic!("{:?}", record.events()) };
        assert!(error.error::<std::str::Utf8Error>().is_some() && !error.is::<std::fmt::Error>());
        let text = Reason::Protocol(error).to_string();
        assert!(text.starts_with("connection ended by its protocol: invalid utf-8"), "{text}");
    });
}

struct Ending {
    told: std::rc::Rc<std::cell::RefCell<Option<Reason>>>,
}

impl twistor::Protocol for Ending {
    fn data_received(&mut self, transport: &mut twistor::Transport<'_>, data: &[u8]) {
        if let Err(error) = std::str::from_utf8(data) {
            transport.write(b"what?");
            transport.lose_connection_with_error(error);
            // The first reason is kept.
            transport.lose_connection_with_error(std::fmt::Error);
            transport.lose_connection();
        }
    }

    fn connection_lost(&mut self, _: &mut twistor::Transport<'_>, reason: &Reason) {
        *self.told.borrow_mut() = Some(reason.clone());
    }
}

#[test]
fn it_waits_when_reading_is_paused_after_it_was_asked_for() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let record = Record::new();
        let (id, _peer) = connection(world, &mut reactor, Recorder::new(&record));
        let mut transport = reactor.transport(id).unwrap();
        transport.schedule_data_received();
        transport.pause_reading();
        turns(&mut reactor);
        assert_eq!(record.events(), ["made"]);
        reactor.transport(id).unwrap().resume_reading();
        turns(&mut reactor);
        assert_eq!(record.events(), ["made", "data"]);
        reactor.transport(id).unwrap().abort_connection();
        world.run_until_idle(&mut reactor);
    });
}

#[test]
fn bytes_given_back_come_again_before_later_input() {
    on_each_back_end(|world| {
        for beneath in [false, true] {
            let mut reactor = world.reactor();
            let record = Record::new();
            let mut first = true;
            let protocol = Recorder::new(&record).acting(move |what, transport, _| {
                if what == "data" && std::mem::take(&mut first) {
                    transport.unread(b"last");
                    transport.unread(b"first ");
                    transport.pause_reading();
                }
            });
            let (id, mut peer) = connection(world, &mut reactor, protocol);
            turns(&mut reactor);
            if beneath {
                struct Through;
                impl Layer for Through {}
                reactor.transport(id).unwrap().add_layer(Through);
                turns(&mut reactor);
            }
            peer.send(b"input");
            turns(&mut reactor);
            peer.send(b" later");
            turns(&mut reactor);
            assert!(!record.has("data first last"), "reading is paused");
            reactor.transport(id).unwrap().resume_reading();
            world.run_until(&mut reactor, "later", |_| record.events().concat().contains("later"));
            let data =
                record.events().into_iter().filter_map(|event| Some(event.strip_prefix("data ")?.to_owned()));
            assert_eq!(data.collect::<Vec<_>>().concat(), "inputfirst last later", "{beneath}");
            reactor.transport(id).unwrap().unread(b"gone");
            reactor.transport(id).unwrap().abort_connection();
            world.run_until_idle(&mut reactor);
            assert!(!record.has("data gone"));
        }
    });
}

#[test]
fn a_protocol_that_always_gives_back_does_not_hold_the_loop_up() {
    on_each_back_end(|world| {
        for beneath in [false, true] {
            let mut reactor = world.reactor();
            let record = Record::new();
            let wanted = std::rc::Rc::new(std::cell::Cell::new(false));
            let wants = std::rc::Rc::clone(&wanted);
            let protocol = Recorder::new(&Record::new()).acting({
                let record = record.clone();
                move |what, transport, data| match (what, wants.get()) {
                    ("data", false) => transport.unread(data),
                    ("data", true) => record.add("taken"),
                    _ => {}
                }
            });
            let (id, mut peer) = connection(world, &mut reactor, protocol);
            turns(&mut reactor);
            if beneath {
                struct Through;
                impl Layer for Through {}
                reactor.transport(id).unwrap().add_layer(Through);
                turns(&mut reactor);
            }
            reactor.call_later(std::time::Duration::from_millis(5), move |_| wanted.set(true));
            peer.send(b"input");
            world.run_until(&mut reactor, "taken", |_| record.has("taken"));
            reactor.transport(id).unwrap().abort_connection();
            world.run_until_idle(&mut reactor);
        }
    });
}
