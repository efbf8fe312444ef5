//! Every byte arrives once and in order, for any sizes of writes, buffers and sends.

use std::rc::Rc;

use crate::world::peer::{connection, narrow_connection, turns};
use crate::world::random::Random;
use crate::world::{idle_protocol, on_each_back_end};
use twistor::{Settings, Transport};

/// Test data that depends on the position, so that a wrong order is detected.
fn stream(from: usize, length: usize) -> Vec<u8> {
    (from..from + length).map(|place| (place ^ (place >> 8) ^ (place >> 16)) as u8).collect()
}

#[test]
fn writes_of_all_sizes_arrive_in_order_at_a_slow_reader() {
    on_each_back_end(|world| {
        for seed in 1..=4 {
            const TOTAL: usize = 1_500_000;
            let mut random = Random::new(seed);
            let mut reactor = world.reactor_with(Settings { bytes_per_turn: 5_000, ..Settings::default() });
            let mut written = 0;
            let mut paused = false;
            // Writes from callbacks and from outside: small ones, large ones, and ones behind
            // queued output.
            let mut write = move |transport: &mut Transport<'_>| {
                while written < TOTAL && transport.write_buffer_size() < 60_000 {
                    let most = [20, 2000, 100_000][random.below(3)];
                    let length = random.below(most).min(TOTAL - written);
                    transport.write(&stream(written, length));
                    written += length;
                }
                if written == TOTAL {
                    transport.lose_connection();
                }
            };
            let write = Rc::new(std::cell::RefCell::new(move |transport: &mut Transport<'_>| {
                write(transport);
            }));
            let from_callbacks = Rc::clone(&write);
            let protocol = idle_protocol().acting(move |what, transport, _| {
                match what {
                    "pause" => paused = true,
                    "resume" => paused = false,
                    _ => {}
                }
                if !paused {
                    from_callbacks.borrow_mut()(transport);
                }
            });
            let (id, mut peer) = match seed % 2 {
                0 => connection(world, &mut reactor, protocol),
                _ => narrow_connection(world, &mut reactor, protocol),
            };
            let mut reader = Random::new(seed + 100);
            let mut read = Vec::new();
            while read.len() < TOTAL {
                read.extend(peer.read_some(1 + reader.below(50_000)));
                if let Some(mut transport) = reactor.transport(id) {
                    write.borrow_mut()(&mut transport);
                }
                turns(&mut reactor);
            }
            assert!(read == stream(0, TOTAL), "the order is lost with seed {seed}");
            let (more, error) = peer.read_to_end(&mut reactor);
            assert_eq!((more.len(), error), (0, None));
            drop(peer);
            world.run_until_idle(&mut reactor);
        }
    });
}

#[test]
fn megabytes_in_one_write_arrive_whole() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let (id, mut peer) = connection(world, &mut reactor, idle_protocol());
        let mut transport = reactor.transport(id).unwrap();
        transport.write(&stream(0, 8_000_000));
        transport.lose_connection();
        let (all, error) = peer.read_to_end(&mut reactor);
        assert_eq!(error, None);
        assert!(all == stream(0, 8_000_000));
        drop(peer);
        world.run_until_idle(&mut reactor);
    });
}

#[test]
fn a_sequence_equals_its_pieces_and_an_empty_write_does_nothing() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let protocol = idle_protocol().acting(|what, transport, _| {
            if what == "made" {
                transport.write(b"");
                transport.write_sequence(&[]);
                transport.write_sequence(&[b"one ", b"", b"two ", &[b'3'; 20_000], b" four"]);
                transport.write(b"");
                transport.lose_connection();
            }
        });
        let (_, mut peer) = connection(world, &mut reactor, protocol);
        let expected = [b"one two ".to_vec(), vec![b'3'; 20_000], b" four".to_vec()].concat();
        assert_eq!(peer.read_to_end(&mut reactor), (expected, None));
        drop(peer);
        world.run_until_idle(&mut reactor);
    });
}
