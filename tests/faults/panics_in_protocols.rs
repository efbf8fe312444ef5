//! A panic in a callback of a protocol or of its producer ends that connection and nothing else, and is logged once.

use std::time::Duration;

use crate::world::witness::{beside_a_witness, panicked_once};
use crate::world::{Record, Recorder, idle_protocol, on_each_back_end, once};
use twistor::{Producer, ProducerKind, Reactor, Transport};

/// A server whose client's protocol panics at `what`, and what its `connection_lost` was told.
fn panic_at(what: &'static str, place: &str) {
    beside_a_witness(|world, reactor, witness| {
        let (record, gone) = (Record::new(), Record::new());
        let server = Recorder::named("server", &record).acting(|what, transport, data| match what {
            // Whatever it takes that the client is called.
            "made" => transport.write(b"hello"),
            "data" if data == b"bye" => transport.lose_connection(),
            _ => {}
        });
        let listener = world.serve(reactor, server);
        let client = Recorder::new(&record).acting(move |at, transport, _| {
            if at == what {
                panic!("no");
            }
            match (what, at) {
                ("read lost", "made") => transport.write(b"bye"),
                ("write lost", "made") => transport.lose_write_connection(),
                ("pause" | "resume", "made") => {
                    transport.set_water_marks(1, 0);
                    transport.write(b"more than one");
                    // Not sent before the turn's end.
                    let id = transport.id();
                    transport.reactor().call_later(Duration::ZERO, move |reactor| {
                        if let Some(mut transport) = reactor.transport(id) {
                            transport.write(b"more than one");
                        }
                    });
                }
                ("lost", "made") => transport.lose_connection(),
                _ => {}
            }
        });
        reactor.connect_tcp(listener.address(), once(client, &gone)).unwrap();
        world.run_until(reactor, "the loss", |_| gone.has("stopped"));
        let expected = if what == "lost" { "Done" } else { "Panicked" };
        let lost = format!("lost {expected}");
        assert_eq!(record.events().iter().filter(|event| event.starts_with("lost")).count(), 1);
        assert!(record.has(&lost), "{:?}", record.events());
        assert_eq!(record.count(what).max(record.count("data hello")).max(1), 1, "{:?}", record.events());
        assert_eq!(gone.events(), ["started", "connecting", &format!("gone {expected}"), "stopped"]);
        panicked_once(world, reactor, place);
        reactor.stop_listening(&listener).unwrap();
        let ids = reactor.connections();
        for id in ids.into_iter().filter(|id| *id != witness.connection) {
            // The server of the one that panicked, if it has not noticed; the witness's own is left.
            let mine = reactor.with_protocol(id, |recorder: &mut Recorder, _| recorder.name == "server");
            if mine == Some(true) {
                reactor.transport(id).unwrap().abort_connection();
            }
        }
    });
}

#[test]
fn a_panic_in_connection_made_ends_that_connection_alone() {
    panic_at("made", "connection_made of connection");
}

#[test]
fn a_panic_in_data_received_ends_that_connection_alone() {
    panic_at("data", "data_received of connection");
}

#[test]
fn a_panic_in_read_connection_lost_ends_that_connection_alone() {
    panic_at("read lost", "read_connection_lost of connection");
}

#[test]
fn a_panic_in_write_connection_lost_ends_that_connection_alone() {
    panic_at("write lost", "write_connection_lost of connection");
}

#[test]
fn a_panic_in_pause_writing_ends_that_connection_alone() {
    panic_at("pause", "pause_writing of connection");
}

#[test]
fn a_panic_in_resume_writing_ends_that_connection_alone() {
    panic_at("resume", "resume_writing of connection");
}

#[test]
fn a_panic_in_connection_lost_still_reports_the_loss_to_others() {
    panic_at("lost", "connection_lost of connection");
}

#[test]
fn what_a_callback_wrote_before_it_panicked_is_not_sent() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let record = Record::new();
        let listener = world.serve(&mut reactor, Recorder::new(&record));
        let client = idle_protocol().acting(|what, transport, _| {
            if what == "made" {
                transport.write(b"half of an answer");
                panic!("no");
            }
        });
        world.ask(&mut reactor, &listener, client);
        world.run_until(&mut reactor, "lost", |_| record.has("lost Lost"));
        assert_eq!(record.events(), ["made", "lost Lost"], "a reset, and no bytes");
        panicked_once(world, &reactor, "connection_made");
        world.close(&mut reactor, &listener);
    });
}

/// A producer that panics where it is told to.
struct Rude {
    at: &'static str,
    record: Record,
}

impl Rude {
    fn called(&mut self, what: &'static str) {
        self.record.add(what);
        if self.at == what {
            panic!("no");
        }
    }
}

impl Producer for Rude {
    fn resume_producing(&mut self, _: &mut Transport<'_>) {
        self.called("resume producing");
    }

    fn pause_producing(&mut self, _: &mut Transport<'_>) {
        self.called("pause producing");
    }

    fn stop_producing(&mut self, _: &mut Reactor) {
        self.called("stop producing");
    }
}

#[test]
fn a_panic_in_a_producer_ends_its_connection_alone() {
    for at in ["resume producing", "pause producing", "stop producing"] {
        beside_a_witness(|world, reactor, _| {
            let (record, gone) = (Record::new(), Record::new());
            let listener = world.serve(reactor, idle_protocol());
            let producing = record.clone();
            let client = Recorder::new(&record).acting(move |what, transport, _| {
                if what == "made" {
                    let producer = Rude { at, record: producing.clone() };
                    transport.register_producer(producer, ProducerKind::Push).unwrap();
                    transport.set_water_marks(1, 0);
                    let id = transport.id();
                    transport.reactor().call_later(Duration::ZERO, move |reactor| {
                        reactor.transport(id).unwrap().write(b"more than one");
                    });
                } else if what == "resume" {
                    transport.abort_connection();
                }
            });
            reactor.connect_tcp(listener.address(), once(client, &gone)).unwrap();
            world.run_until(reactor, "the loss", |_| gone.has("stopped"));
            let expected = if at == "stop producing" { "Aborted" } else { "Panicked" };
            assert!(record.has(&format!("lost {expected}")), "{:?}", record.events());
            assert!(gone.has(&format!("gone {expected}")));
            assert_eq!(record.count("stop producing"), 1, "it is told, whatever it did");
            panicked_once(world, reactor, "a producer");
            reactor.stop_listening(&listener).unwrap();
        });
    }
}
