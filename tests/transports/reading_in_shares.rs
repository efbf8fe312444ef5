//! A connection with a lot of input has a read budget per turn, and does not delay the others.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use crate::world::peer::{connection, turns};
use crate::world::{Recorder, abort_all, idle_protocol, on_each_back_end};
use twistor::{Settings, Transport};

/// A protocol that counts received bytes.
fn counting(received: &Rc<Cell<usize>>) -> Recorder {
    let received = Rc::clone(received);
    idle_protocol().acting(move |_, _, data| received.set(received.get() + data.len()))
}

#[test]
fn a_connection_reads_at_most_its_share_per_turn() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        // The read that exceeds the budget is the last one of the turn.
        let at_once = reactor.settings().read_buffer.min(32 * 1024); // the limit of a single connection
        let share = reactor.settings().bytes_per_turn + at_once - 1;
        let received = Rc::new(Cell::new(0));
        let (id, mut peer) = connection(world, &mut reactor, counting(&received));
        let mut sent = 0;
        for _ in 0..100 {
            sent += peer.fill();
            let before = received.get();
            reactor.iterate(Some(Duration::ZERO)).unwrap();
            let read = received.get() - before;
            assert!(read <= share, "{read} bytes in one turn");
        }
        assert!(received.get() > 40 * share);
        peer.finish();
        world.run_until(&mut reactor, "all is read", |_| received.get() == sent);
        reactor.transport(id).unwrap().lose_connection();
        world.run_until_idle(&mut reactor);
    });
}

#[test]
fn a_read_returns_at_most_the_read_buffer() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let largest = Rc::new(Cell::new(0));
        let noting = || {
            let largest = Rc::clone(&largest);
            idle_protocol().acting(move |_, _, data| largest.set(largest.get().max(data.len())))
        };
        let (_, mut one) = connection(world, &mut reactor, noting());
        let (_, mut other) = connection(world, &mut reactor, noting());
        // Both sockets report WRITABLE once.
        turns(&mut reactor);
        for _ in 0..10 {
            one.fill();
            reactor.iterate(Some(Duration::ZERO)).unwrap();
        }
        assert_eq!(largest.get(), reactor.settings().read_buffer);
        for _ in 0..10 {
            one.fill();
            other.fill();
            reactor.iterate(Some(Duration::ZERO)).unwrap();
        }
        assert_eq!(largest.get(), reactor.settings().read_buffer);
        abort_all(&mut reactor);
        world.run_until_idle(&mut reactor);
    });
}

#[test]
fn what_is_left_of_a_share_is_read_without_further_news() {
    on_each_back_end(|world| {
        // With a budget of one byte there is one read per turn.
        let mut reactor =
            world.reactor_with(Settings { bytes_per_turn: 1, read_buffer: 100, ..Settings::default() });
        let received = Rc::new(Cell::new(0));
        let (id, mut peer) = connection(world, &mut reactor, counting(&received));
        peer.send(&[b'x'; 10_000]);
        let turns = reactor.statistics().turns;
        world.run_until(&mut reactor, "all is read", |_| received.get() == 10_000);
        assert!(reactor.statistics().turns - turns >= 100);
        reactor.transport(id).unwrap().lose_connection();
        drop(peer);
        world.run_until_idle(&mut reactor);
    });
}

#[test]
fn one_hot_connection_does_not_hold_up_many_quiet_ones() {
    on_each_back_end(|world| {
        let connections = world.connections(1000);
        let mut reactor =
            world.reactor_with(Settings { max_connections: connections + 1, ..Settings::default() });
        let (hot, quiet) = (Rc::new(Cell::new(0)), Rc::new(Cell::new(0)));
        let (_, mut hot_peer) = connection(world, &mut reactor, counting(&hot));
        let echo = Rc::clone(&quiet);
        let listener = reactor
            .listen_tcp(world.anywhere(), move || {
                let quiet = Rc::clone(&echo);
                idle_protocol().acting(move |what, transport: &mut Transport<'_>, data| {
                    quiet.set(quiet.get() + data.len());
                    if what == "read lost" {
                        transport.lose_connection();
                    }
                })
            })
            .unwrap();
        let mut peers = Vec::new();
        for _ in 0..connections {
            peers.push(world.connect(listener.address()));
            let expected = peers.len() + 1;
            world.run_until(&mut reactor, "accepted", |reactor| reactor.statistics().connections == expected);
        }
        hot_peer.fill();
        for peer in &mut peers {
            peer.send(b"?");
        }
        // One poll may not report all of them.
        for _ in 0..2 {
            hot_peer.fill();
            reactor.iterate(Some(Duration::ZERO)).unwrap();
        }
        assert_eq!(quiet.get(), connections);
        assert!(hot.get() > 0);
        reactor.stop_listening(&listener).unwrap();
        abort_all(&mut reactor);
        world.run_until_idle(&mut reactor);
    });
}

#[test]
fn bytes_that_come_one_by_one_are_all_delivered_in_order() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor_with(Settings { read_buffer: 1, ..Settings::default() });
        let protocol = idle_protocol();
        let received = Rc::clone(&protocol.received);
        let (id, mut peer) = connection(world, &mut reactor, protocol);
        let bytes: Vec<u8> = (0..2000u32).map(|number| (number % 251) as u8).collect();
        for byte in &bytes {
            peer.send(&[*byte]);
        }
        world.run_until(&mut reactor, "all is read", |_| received.borrow().len() == bytes.len());
        assert_eq!(*received.borrow(), bytes);
        reactor.transport(id).unwrap().lose_connection();
        world.run_until_idle(&mut reactor);
    });
}
