//! Large amounts: whole, in order, bounded, and with backpressure.

use std::cell::Cell;
use std::rc::Rc;

use crate::certificates::{Authority, NAME};
use crate::end::{End, Seen, end, finish, listen, meet, secured};
use crate::world::on_each_back_end;

const MIB: usize = 1024 * 1024;

fn pattern(length: usize) -> Vec<u8> {
    (0..length).map(|index| (index / 7 + index / 251) as u8).collect()
}

/// Counts and checks what comes, without keeping it.
fn counting(end: End, seen: &Seen, data: &Rc<Vec<u8>>) -> (End, Rc<Cell<usize>>) {
    let count = Rc::new(Cell::new(0));
    let (counted, expected, received) = (Rc::clone(&count), Rc::clone(data), Rc::clone(&seen.received));
    let end = end.acting(move |what, transport, data| match what {
        "data" => {
            let at = counted.get();
            assert!(expected[at..].starts_with(data), "at {at}");
            counted.set(at + data.len());
            received.borrow_mut().clear();
        }
        "read lost" => transport.lose_connection(),
        _ => {}
    });
    (end, count)
}

#[test]
fn sixty_mebibytes_with_a_close_right_after_arrive_whole() {
    on_each_back_end(|world| {
        let authority = Authority::new();
        let data = Rc::new(pattern(60 * MIB));
        for client_sends in [false, true] {
            let mut reactor = world.reactor();
            let (receiver, seen) = end();
            let (receiver, count) = counting(receiver, &seen, &data);
            let sent = Rc::clone(&data);
            let (sender, sender_seen) = end();
            let sender = sender.acting(move |what, transport, _| {
                if what == "made" {
                    transport.write(&sent[..]);
                    transport.lose_connection();
                }
            });
            match client_sends {
                true => {
                    let (server, client) = secured(&authority, receiver, sender);
                    meet(world, &mut reactor, server, client);
                }
                false => {
                    let (server, client) = secured(&authority, sender, receiver);
                    meet(world, &mut reactor, server, client);
                }
            }
            assert_eq!(count.get(), data.len());
            assert_eq!(seen.events(), ["made", "data", "read lost", "lost Done"]);
            assert_eq!(sender_seen.events().last().unwrap(), "lost Done");
        }
    });
}

#[test]
fn a_peer_that_does_not_read_pauses_the_writer() {
    on_each_back_end(|world| {
        let authority = Authority::new();
        let mut reactor = world.reactor();
        let (server, server_seen) = end();
        let (client, client_seen) = end();
        let server = server.acting(|what, transport, _| match what {
            "made" => transport.pause_reading(),
            "read lost" => transport.lose_connection(),
            _ => {}
        });
        let written = Rc::new(Cell::new(0));
        let (total, paused) = (Rc::clone(&written), Rc::new(Cell::new(false)));
        let client = client.acting(move |what, transport, _| {
            match what {
                "pause" => paused.set(true),
                "resume" => paused.set(false),
                _ => {}
            }
            while !paused.get() && matches!(what, "made" | "resume") && total.get() < 32 * MIB {
                transport.write([b'x'; 16 * 1024]);
                total.set(total.get() + 16 * 1024);
                if transport.write_buffer_size() > MIB / 8 {
                    break;
                }
            }
            if total.get() >= 32 * MIB {
                transport.lose_connection();
            }
        });
        let listener = listen(world, &mut reactor, authority.acceptor().factory(server));
        let factory = authority.connector().factory(client, NAME).unwrap();
        reactor.connect_tcp(listener.address(), factory).unwrap();
        world.run_until(&mut reactor, "paused", |_| client_seen.record.has("pause"));
        for _ in 0..20 {
            reactor.iterate(Some(std::time::Duration::from_millis(1))).unwrap();
        }
        assert!(written.get() < 24 * MIB, "{} bytes were taken", written.get());
        assert!(server_seen.received.borrow().len() < MIB, "the reader gets at most a share");
        for id in reactor.connections() {
            reactor.transport(id).unwrap().resume_reading();
        }
        finish(world, &mut reactor, &listener);
        assert_eq!(server_seen.received.borrow().len(), written.get());
        assert!(client_seen.record.has("resume"));
    });
}

#[test]
fn messages_of_all_sizes_come_back_unchanged() {
    on_each_back_end(|world| {
        let authority = Authority::new();
        let mut reactor = world.reactor();
        let sizes = [1, 2, 63, 64, 4095, 4096, 4097, 16383, 16384, 16385, 65535, 65536, 65537, 300_000];
        let data = pattern(300_000);
        let (server, _) = end();
        let (client, seen) = end();
        let (mut next, expected, got) = (0, data.clone(), Rc::new(Cell::new(0)));
        let got_too = Rc::clone(&got);
        let client = client.acting(move |what, transport, data| {
            if !matches!(what, "made" | "data") {
                return;
            }
            got.set(got.get() + data.len());
            if next == 0 || got.get() == sizes[next - 1] {
                match sizes.get(next) {
                    Some(size) => transport.write(&expected[..*size]),
                    None => transport.lose_connection(),
                }
                got.set(0);
                next += 1;
            }
        });
        let (server, client) = secured(&authority, server.echoing(), client);
        meet(world, &mut reactor, server, client);
        assert_eq!(seen.events().last().unwrap(), "lost Done");
        let all: Vec<u8> = sizes.iter().flat_map(|size| data[..*size].to_vec()).collect();
        assert!(*seen.received.borrow() == all);
        assert_eq!(got_too.get(), 0);
    });
}
