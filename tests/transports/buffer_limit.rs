//! A protocol that keeps writing after `pause_writing` loses its connection, while a single answer
//! may have any size.

use std::cell::Cell;
use std::io::ErrorKind;
use std::rc::Rc;
use std::time::Duration;

use crate::layers::Noted;
use crate::world::peer::{connection, narrow_connection, turns};
use crate::world::{Record, Recorder, idle_protocol, on_each_back_end};
use twistor::testing::{AccumulatingProtocol, ConnectionSetup, StringTransport};
use twistor::{Reason, Settings, Transport, stream};

/// More than the kernel accepts at once, also over loopback.
const LARGE: usize = 8_000_000;

/// Writes a large answer in three pieces, and closes.
fn answer(transport: &mut Transport<'_>) {
    transport.write(b"head");
    transport.write(&vec![b'w'; LARGE]);
    transport.write(b"tail");
    transport.lose_connection();
}

fn is_the_answer(all: &[u8]) -> bool {
    all.len() == LARGE + 8 && all.starts_with(b"headw") && all.ends_with(b"wtail")
}

#[test]
fn after_the_pause_a_write_may_find_the_limit_and_no_more() {
    on_each_back_end(|world| {
        const LIMIT: usize = 200_000;
        let mut reactor = world.reactor_with(Settings { write_buffer_limit: LIMIT, ..Settings::default() });
        let record = Record::new();
        let (id, mut peer) = narrow_connection(world, &mut reactor, Recorder::new(&record));
        while !record.has("pause") {
            reactor.transport(id).unwrap().write(&[b'w'; 10_000]);
            turns(&mut reactor);
        }
        let mut transport = reactor.transport(id).unwrap();
        let before = transport.write_buffer_size();
        transport.write(&vec![b'w'; LIMIT]);
        assert_eq!(transport.write_buffer_size(), before + LIMIT);
        transport.write(b"w");
        assert!(!transport.is_closing());
        assert_eq!(transport.write_buffer_size(), before + LIMIT + 1);
        transport.write(b"w");
        assert!(transport.is_closing());
        turns(&mut reactor);
        assert_eq!(record.events(), ["made", "pause", "lost BufferLimit"]);
        assert_eq!(reactor.statistics().buffer_limits, 1);
        assert_eq!(peer.read_to_end(&mut reactor).1, Some(ErrorKind::ConnectionReset));
        world.run_until_idle(&mut reactor);
    });
}

#[test]
fn one_write_larger_than_the_limit_is_taken() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor_with(Settings { write_buffer_limit: 1000, ..Settings::default() });
        let record = Record::new();
        let (id, mut peer) = narrow_connection(world, &mut reactor, Recorder::new(&record));
        reactor.transport(id).unwrap().write(&[b'w'; 300_000]);
        reactor.transport(id).unwrap().lose_connection();
        let (all, error) = peer.read_to_end(&mut reactor);
        assert_eq!((all.len(), error), (300_000, None));
        drop(peer);
        world.run_until_idle(&mut reactor);
        assert_eq!(record.events().last().unwrap(), "lost Done");
    });
}

#[test]
fn a_large_answer_in_several_pieces_is_sent_whole() {
    on_each_back_end(|world| {
        type Writes = fn(&mut Transport<'_>);
        let in_sequence: Writes = |transport| {
            transport.write_sequence(&[b"head", &vec![b'w'; LARGE], b"tail"]);
            transport.lose_connection();
        };
        for writes in [answer as Writes, in_sequence] {
            let mut reactor = world.reactor();
            let protocol = idle_protocol().acting(move |what, transport, _| {
                if what == "data" {
                    writes(transport);
                }
            });
            let (_, mut peer) = connection(world, &mut reactor, protocol);
            peer.send(b"?");
            let (all, error) = peer.read_to_end(&mut reactor);
            assert!(is_the_answer(&all) && error.is_none(), "{} bytes, {error:?}", all.len());
            assert_eq!(reactor.statistics().buffer_limits, 0);
            drop(peer);
            world.run_until_idle(&mut reactor);
        }
    });
}

#[test]
fn so_is_one_that_another_connection_or_nobody_writes() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let (other, mut others_peer) = connection(world, &mut reactor, idle_protocol());
        let writer = idle_protocol().acting(move |what, transport, _| {
            if what == "data" {
                answer(&mut transport.reactor().transport(other).unwrap());
            }
        });
        let (id, mut peer) = connection(world, &mut reactor, writer);
        peer.send(b"?");
        let (all, error) = others_peer.read_to_end(&mut reactor);
        assert!(is_the_answer(&all) && error.is_none(), "{} bytes, {error:?}", all.len());
        answer(&mut reactor.transport(id).unwrap());
        let (all, error) = peer.read_to_end(&mut reactor);
        assert!(is_the_answer(&all) && error.is_none(), "{} bytes, {error:?}", all.len());
        drop((peer, others_peer));
        world.run_until_idle(&mut reactor);
    });
}

#[test]
fn so_is_one_through_layers() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let record = Record::new();
        let noted = record.clone();
        let protocol = idle_protocol().acting(move |what, transport, _| match what {
            "made" => {
                transport.add_layer(Noted::new("lower", &noted));
                transport.add_layer(Noted::new("upper", &noted));
            }
            "data" => answer(transport),
            _ => {}
        });
        let (_, mut peer) = connection(world, &mut reactor, protocol);
        peer.send(b"?");
        let (all, error) = peer.read_to_end(&mut reactor);
        assert!(is_the_answer(&all) && error.is_none(), "{} bytes, {error:?}", all.len());
        drop(peer);
        world.run_until_idle(&mut reactor);
    });
}

#[test]
fn so_is_one_that_a_task_writes_before_it_drains() {
    on_each_back_end(|world| {
        let all = world.run_future(async {
            let server = stream::start_server("127.0.0.1:0", async |_reader, writer| {
                writer.write(b"head");
                writer.write(&vec![b'w'; LARGE]);
                writer.write(b"tail");
                writer.drain().await
            })
            .unwrap();
            let (mut reader, _writer) = stream::open_connection(server.address()).await.unwrap();
            reader.read_to_end(2 * LARGE).await.unwrap()
        });
        assert!(is_the_answer(&all), "{} bytes", all.len());
    });
}

#[test]
fn so_is_one_in_a_string_transport_whatever_its_size() {
    for size in [100, 3_000_000, LARGE] {
        let mut transport = StringTransport::new(AccumulatingProtocol::default());
        transport.stop_reading();
        transport.with(|_, transport| {
            for piece in [b"head", &vec![b'w'; size][..], b"tail"] {
                transport.write(piece);
            }
        });
        assert_eq!(transport.lost(), None);
        transport.resume_reading();
        assert_eq!(transport.value().len(), size + 8);
    }
}

#[test]
fn what_waits_at_the_pause_does_not_count() {
    let settings = Settings { write_buffer_limit: 1000, ..Settings::default() };
    let setup = ConnectionSetup { settings, ..ConnectionSetup::default() };
    let mut transport = setup.connect(AccumulatingProtocol::default());
    transport.stop_reading();
    // A high-water mark above the limit is reduced to the limit, so that `pause_writing` comes in
    // time.
    transport.with(|_, transport| transport.write(&[b'x'; 1001]));
    assert!(transport.writing_paused());
    transport.with(|_, transport| transport.write(&[b'x'; 1001]));
    assert_eq!((transport.lost(), transport.write_buffer_size()), (None, 2002));
    transport.with(|_, transport| transport.write(b"x"));
    assert_eq!(transport.lost(), Some(Reason::BufferLimit(1000)));
}

#[test]
fn what_has_gone_since_the_pause_gives_no_room() {
    on_each_back_end(|world| {
        const LIMIT: usize = 100_000;
        let mut reactor = world.reactor_with(Settings { write_buffer_limit: LIMIT, ..Settings::default() });
        let record = Record::new();
        let (id, mut peer) = narrow_connection(world, &mut reactor, Recorder::new(&record));
        reactor.transport(id).unwrap().write(&[b'w'; 1_000_000]);
        turns(&mut reactor);
        while reactor.transport(id).unwrap().write_buffer_size() > 100_000 {
            peer.read_now();
            turns(&mut reactor);
        }
        assert_eq!(record.events(), ["made", "pause"]);
        // A tenth of the earlier output is left. The limit counts from there.
        for _ in 0..2 {
            reactor.transport(id).unwrap().write(&[b'w'; LIMIT + 1]);
        }
        assert!(reactor.transport(id).unwrap().is_closing());
        world.run_until_idle(&mut reactor);
        assert_eq!(record.events(), ["made", "pause", "lost BufferLimit"]);
    });
}

#[test]
fn an_answer_after_each_resume_is_sent_whole() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor_with(Settings { write_buffer_limit: 100_000, ..Settings::default() });
        let left = Rc::new(Cell::new(3));
        let protocol = idle_protocol().acting(move |what, transport, _| match (what, left.get()) {
            ("made" | "resume", 0) => transport.lose_connection(),
            ("made" | "resume", count) => {
                left.set(count - 1);
                for _ in 0..5 {
                    transport.write(&[b'w'; 100_001]);
                }
            }
            _ => {}
        });
        let (_, mut peer) = narrow_connection(world, &mut reactor, protocol);
        let (all, error) = peer.read_to_end(&mut reactor);
        assert_eq!((all.len(), error), (3 * 5 * 100_001, None));
        drop(peer);
        world.run_until_idle(&mut reactor);
    });
}

#[test]
fn a_writer_that_minds_no_pause_has_the_limit_and_a_turn_more() {
    on_each_back_end(|world| {
        const LIMIT: usize = 100_000;
        let mut reactor = world.reactor_with(Settings { write_buffer_limit: LIMIT, ..Settings::default() });
        let most = Rc::new(Cell::new(0));
        let (id, _peer) = narrow_connection(world, &mut reactor, idle_protocol());
        while let Some(mut transport) = reactor.transport(id) {
            transport.write(&[b'w'; 10_000]);
            most.set(most.get().max(transport.write_buffer_size()));
            turns(&mut reactor);
        }
        let high = reactor.settings().high_water;
        assert!((LIMIT..=high + LIMIT + 30_000).contains(&most.get()), "{}", most.get());
        assert_eq!(reactor.statistics().buffer_limits, 1);
        world.run_until_idle(&mut reactor);
    });
}

/// Writes until output is unsent.
fn fill(transport: &mut Transport<'_>) {
    while transport.write_buffer_size() <= 1000 {
        transport.write(&[b'w'; 9000]);
    }
}

#[test]
fn a_pending_pause_does_not_limit_what_resume_writing_writes() {
    on_each_back_end(|world| {
        let settings = Settings { write_buffer_limit: 50_000, high_water: 1000, ..Settings::default() };
        let mut reactor = world.reactor_with(settings);
        let record = Record::new();
        let protocol = Recorder::new(&record).acting(|what, transport, _| {
            if what == "resume" {
                for _ in 0..3 {
                    transport.write(&[b'w'; 60_000]);
                }
            }
        });
        let (id, mut peer) = connection(world, &mut reactor, protocol);
        // In one turn, before any callback: above the mark, below it, and above it again.
        fill(&mut reactor.transport(id).unwrap());
        peer.read_now();
        reactor.call_later(Duration::ZERO, move |reactor| {
            assert_eq!(reactor.transport(id).unwrap().write_buffer_size(), 0, "it went");
            fill(&mut reactor.transport(id).unwrap());
        });
        turns(&mut reactor);
        assert_eq!(record.events(), ["made", "pause", "resume", "pause"]);
        reactor.transport(id).unwrap().abort_connection();
        world.run_until_idle(&mut reactor);
    });
}
