//! Bytes held back by layers count as unsent for the water marks and the limit, and a close waits
//! until they are sent.

use std::time::Duration;

use crate::layers::{Noted, Then};
use crate::world::peer::{Peer, turns};
use crate::world::{Record, Recorder, World, on_each_back_end, once};
use twistor::{Protocol, Reason, Settings, Transport, layered};

/// A layer that holds output until its timer expires, then sends it, and the end if it has come.
fn keeping(record: &Record, wake: Duration) -> Noted {
    let mut ending = false;
    Noted::new("layer", record).acting(move |what, held, below, data| match what {
        "written" => {
            held.extend_from_slice(data);
            below.set_timer(wake);
            Then::Nothing
        }
        "woken" => {
            below.pass_down(held);
            held.clear();
            if ending {
                below.pass_eof_down();
            }
            Then::Nothing
        }
        "write ending" if !held.is_empty() => {
            ending = true;
            Then::Nothing
        }
        _ => Then::Through,
    })
}

fn connection(
    world: &World,
    settings: Settings,
    protocol: Recorder,
    record: &Record,
    wake: Duration,
) -> (twistor::Reactor, twistor::ConnectionId, Peer) {
    let mut reactor = world.reactor_with(settings);
    let noted = record.clone();
    let factory = layered(once(protocol, &Record::new()), move || keeping(&noted, wake));
    let listener = reactor.listen_tcp(world.anywhere(), factory).unwrap();
    let peer = world.connect(listener.address());
    world.run_until(&mut reactor, "started", |_| record.has("layer: started"));
    reactor.stop_listening(&listener).unwrap();
    let id = reactor.connections()[0];
    (reactor, id, peer)
}

const SOON: Duration = Duration::from_millis(5);
const NEVER: Duration = Duration::from_secs(10_000);

#[test]
fn what_a_layer_holds_back_counts_for_the_water_marks() {
    on_each_back_end(|world| {
        let record = Record::new();
        let settings = Settings { high_water: 1000, ..Settings::default() };
        let (mut reactor, id, mut peer) = connection(world, settings, Recorder::new(&record), &record, NEVER);
        record.take();
        for (count, pauses) in [(1000, 0), (1, 1)] {
            reactor.transport(id).unwrap().write(&vec![b'w'; count]);
            turns(&mut reactor);
            assert_eq!(record.count("pause"), pauses);
        }
        assert_eq!(reactor.transport(id).unwrap().write_buffer_size(), 1001);
        reactor.transport(id).unwrap().abort_connection();
        peer.read_to_end(&mut reactor);
        world.run_until_idle(&mut reactor);

        let record = Record::new();
        let settings = Settings { high_water: 1000, ..Settings::default() };
        let (mut reactor, id, mut peer) = connection(world, settings, Recorder::new(&record), &record, SOON);
        reactor.transport(id).unwrap().write(&[b'w'; 1001]);
        world.run_until(&mut reactor, "resumed", |_| record.has("resume"));
        assert_eq!(reactor.transport(id).unwrap().write_buffer_size(), 0);
        assert_eq!(peer.read_now().len(), 1001);
        reactor.transport(id).unwrap().lose_connection();
        drop(peer);
        world.run_until_idle(&mut reactor);
    });
}

/// Records the state of its own output at the end of the input.
struct Looks(Record);

impl Protocol for Looks {
    fn data_received(&mut self, _: &mut Transport<'_>, _: &[u8]) {}

    fn read_connection_lost(&mut self, transport: &mut Transport<'_>) {
        self.0.add(format!("paused {} with {}", transport.writing_paused(), transport.write_buffer_size()));
        transport.lose_connection();
    }
}

#[test]
fn data_released_by_a_layer_at_eof_no_longer_counts_as_unsent() {
    on_each_back_end(|world| {
        let record = Record::new();
        let mut reactor = world.reactor_with(Settings { high_water: 1000, ..Settings::default() });
        let noted = record.clone();
        let keeps = move || {
            Noted::new("layer", &noted).acting(|what, held, below, data| match what {
                "written" => {
                    held.extend_from_slice(data);
                    Then::Nothing
                }
                "read ended" => {
                    below.pass_down(held);
                    held.clear();
                    Then::Through
                }
                _ => Then::Through,
            })
        };
        let factory = layered(once(Looks(record.clone()), &Record::new()), keeps);
        let listener = reactor.listen_tcp(world.anywhere(), factory).unwrap();
        let mut peer = world.connect(listener.address());
        world.run_until(&mut reactor, "started", |_| record.has("layer: started"));
        reactor.stop_listening(&listener).unwrap();
        let id = reactor.connections()[0];
        // Too large for the write batch.
        reactor.transport(id).unwrap().write(&[b'w'; 20_000]);
        turns(&mut reactor);
        assert!(reactor.transport(id).unwrap().writing_paused());
        peer.finish();
        peer.read_to_end(&mut reactor);
        assert!(record.has("paused false with 0"), "{:?}", record.events());
        drop(peer);
        world.run_until_idle(&mut reactor);
    });
}

#[test]
fn what_a_layer_holds_back_counts_for_the_buffers_limit() {
    for (waiting, lost) in [(999, false), (1000, false), (1001, true)] {
        on_each_back_end(|world| {
            let record = Record::new();
            let settings = Settings { write_buffer_limit: 1000, ..Settings::default() };
            let (mut reactor, id, peer) = connection(world, settings, Recorder::new(&record), &record, NEVER);
            // Output queued when `pause_writing` comes does not count.
            reactor.transport(id).unwrap().write(&[b'w'; 5000]);
            turns(&mut reactor);
            assert!(record.has("pause"));
            reactor.transport(id).unwrap().write(&vec![b'w'; waiting]);
            turns(&mut reactor);
            reactor.transport(id).unwrap().write(b"more");
            turns(&mut reactor);
            assert_eq!(record.has("lost BufferLimit"), lost);
            if let Some(mut transport) = reactor.transport(id) {
                assert_eq!(transport.write_buffer_size(), 5000 + waiting + 4);
                transport.abort_connection();
            }
            drop(peer);
            world.run_until_idle(&mut reactor);
        });
    }
}

#[test]
fn a_close_waits_for_what_a_layer_holds_back() {
    on_each_back_end(|world| {
        let record = Record::new();
        let protocol = Recorder::new(&record);
        let (mut reactor, id, mut peer) = connection(world, Settings::default(), protocol, &record, SOON);
        let mut transport = reactor.transport(id).unwrap();
        transport.write(b"the last words");
        transport.lose_connection();
        assert!(transport.is_closing());
        assert_eq!(peer.read_to_end(&mut reactor), (b"the last words".to_vec(), None));
        drop(peer);
        world.run_until_idle(&mut reactor);
        let told = record.take();
        let after = ["layer: write ending", "layer: woken", "lost Done", "layer: lost Done"];
        assert_eq!(told[told.len() - 4..], after);
    });
}

#[test]
fn a_half_close_waits_for_layers_while_reading_continues() {
    on_each_back_end(|world| {
        let record = Record::new();
        let protocol = Recorder::new(&record);
        let (mut reactor, id, mut peer) = connection(world, Settings::default(), protocol, &record, SOON);
        let mut transport = reactor.transport(id).unwrap();
        transport.write(b"the last words");
        transport.lose_write_connection();
        assert_eq!(peer.read_to_end(&mut reactor), (b"the last words".to_vec(), None));
        peer.send(b"answer");
        world.run_until(&mut reactor, "answered", |_| record.has("data answer"));
        assert!(record.has("write lost"));
        peer.finish();
        world.run_until_idle(&mut reactor);
        assert!(record.has("read lost") && record.has("lost Done"));
    });
}

#[test]
fn a_close_that_a_layer_holds_up_ends_with_the_closing_limit() {
    on_each_back_end(|world| {
        // The layer holds back bytes, or only the end.
        for bytes in [true, false] {
            let record = Record::new();
            let settings = Settings { close_timeout: Duration::from_millis(20), ..Settings::default() };
            let mut reactor = world.reactor_with(settings);
            let noted = record.clone();
            let stuck = move || {
                Noted::new("layer", &noted).acting(move |what, held, _, data| match what {
                    "written" => {
                        held.extend_from_slice(if bytes { data } else { b"" });
                        Then::Nothing
                    }
                    "write ending" => Then::Nothing,
                    _ => Then::Through,
                })
            };
            let protocol = Recorder::new(&record).acting(|what, transport, _| {
                if what == "made" {
                    transport.write(b"never sent");
                    transport.lose_connection();
                }
            });
            let factory = layered(once(protocol, &Record::new()), stuck);
            let listener = reactor.listen_tcp(world.anywhere(), factory).unwrap();
            let mut peer = world.connect(listener.address());
            let (read, _) = peer.read_to_end(&mut reactor);
            assert_eq!(read, b"");
            drop(peer);
            world.close(&mut reactor, &listener);
            assert!(record.has("lost CloseTimedOut"), "{:?}", record.events());
            assert_eq!(reactor.statistics().close_timeouts, 1);
        }
    });
}

#[test]
fn where_held_bytes_are_thrown_away_the_peer_sees_a_reset() {
    on_each_back_end(|world| {
        let record = Record::new();
        let protocol = Recorder::new(&record);
        let (mut reactor, id, mut peer) = connection(world, Settings::default(), protocol, &record, NEVER);
        reactor.transport(id).unwrap().write(b"never sent");
        turns(&mut reactor);
        reactor.stop();
        while reactor.iterate(Some(Duration::ZERO)).unwrap() {}
        let mut idle = world.reactor();
        let (read, error) = peer.read_to_end(&mut idle);
        assert_eq!((read, error.is_some()), (Vec::new(), true));
        assert!(record.has("lost Stopped") && record.has("layer: lost Stopped"));
        assert_eq!(Reason::Stopped.to_string(), "connection aborted: the reactor stopped");
    });
}

#[test]
fn a_pause_of_a_layer_leaves_the_protocols_pause_alone() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let record = Record::new();
        let noted = record.clone();
        let layer = move || {
            Noted::new("layer", &noted).acting(|what, _, below, data| {
                match (what, data) {
                    ("received", b"pause") => {
                        below.pause_reading();
                        below.set_timer(Duration::from_millis(1));
                    }
                    ("woken", _) => below.resume_reading(),
                    _ => {}
                }
                Then::Through
            })
        };
        let factory = layered(once(Recorder::new(&record), &Record::new()), layer);
        let listener = reactor.listen_tcp(world.anywhere(), factory).unwrap();
        let mut peer = world.connect(listener.address());
        peer.send(b"pause");
        world.run_until(&mut reactor, "paused", |_| record.has("data pause"));
        let id = reactor.connections()[0];
        let mut transport = reactor.transport(id).unwrap();
        assert!(!transport.reading_paused());
        transport.pause_reading();
        peer.send(b"more");
        world.run_until(&mut reactor, "woken", |_| record.has("layer: woken"));
        turns(&mut reactor);
        assert!(reactor.transport(id).unwrap().reading_paused());
        assert!(!record.has("layer: received more"));
        reactor.transport(id).unwrap().resume_reading();
        world.run_until(&mut reactor, "read", |_| record.has("data more"));
        peer.finish();
        reactor.transport(id).unwrap().lose_connection();
        world.close(&mut reactor, &listener);
    });
}

#[test]
fn data_a_layer_delivers_during_a_pause_waits_for_resume() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let record = Record::new();
        let noted = record.clone();
        // Output is delayed, and then sent in pieces.
        let late = move || {
            let mut kept: Vec<u8> = Vec::new();
            Noted::new("layer", &noted).acting(move |what, _, below, data| match what {
                "received" => {
                    kept.extend_from_slice(data);
                    below.set_timer(Duration::from_millis(1));
                    Then::Nothing
                }
                "read ended" => Then::Nothing,
                "woken" => {
                    below.pass_up(&kept);
                    below.pass_eof_up();
                    Then::Nothing
                }
                _ => Then::Through,
            })
        };
        let protocol = Recorder::new(&record).closing();
        let listener =
            reactor.listen_tcp(world.anywhere(), layered(once(protocol, &Record::new()), late)).unwrap();
        let mut peer = world.connect(listener.address());
        peer.send(b"hello");
        peer.finish();
        world.run_until(&mut reactor, "received", |_| record.has("layer: received hello"));
        let id = reactor.connections()[0];
        reactor.transport(id).unwrap().pause_reading();
        world.run_until(&mut reactor, "woken", |_| record.has("layer: woken"));
        turns(&mut reactor);
        assert!(!record.has("data hello") && !record.has("read lost"));
        reactor.transport(id).unwrap().resume_reading();
        world.close(&mut reactor, &listener);
        let told = record.events();
        let place = |what: &str| told.iter().position(|event| event == what).unwrap();
        assert!(place("data hello") < place("read lost") && place("read lost") < place("lost Done"));
    });
}

#[test]
fn data_held_by_a_layer_is_not_unsent_after_a_loss() {
    on_each_back_end(|world| {
        let record = Record::new();
        let (mut reactor, id, _peer) =
            connection(world, Settings::default(), Recorder::new(&record), &record, NEVER);
        reactor.transport(id).unwrap().write(b"held");
        turns(&mut reactor);
        assert_eq!(reactor.transport(id).unwrap().write_buffer_size(), 4);
        reactor.transport(id).unwrap().abort_connection();
        assert_eq!(reactor.transport(id).unwrap().write_buffer_size(), 0);
        world.run_until_idle(&mut reactor);
    });
}
