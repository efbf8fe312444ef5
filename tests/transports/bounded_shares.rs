//! Each connection has a budget per turn. The rest of its work runs in the next turn and is not
//! lost.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use crate::world::peer::{Peer, connection, turns};
use crate::world::{Record, Recorder, idle_protocol, on_each_back_end};
use twistor::{Reactor, Settings};

/// Returns the growth of a counter in each turn, until it has grown by `all`. Turns may block:
/// pending work alone has to keep the loop from waiting.
fn shares(reactor: &mut Reactor, all: u64, count: impl Fn(&Reactor) -> u64) -> Vec<u64> {
    let never = reactor.call_later(Duration::from_secs(20), |_| {});
    let (mut shares, begin) = (Vec::new(), count(reactor));
    while count(reactor) < begin + all {
        let before = count(reactor);
        let last = begin + all - before <= shares.last().copied().unwrap_or(0);
        reactor.iterate(if last { Some(Duration::ZERO) } else { None }).unwrap();
        shares.push(count(reactor) - before);
    }
    never.cancel(reactor).unwrap();
    shares
}

#[test]
fn timed_calls_that_are_due_together_come_in_shares() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor_with(Settings { calls_per_turn: 3, ..Settings::default() });
        let record = Record::new();
        for number in 0..10 {
            let record = record.clone();
            reactor.call_later(Duration::ZERO, move |_| record.add(number.to_string()));
        }
        let shares = shares(&mut reactor, 10, |reactor| reactor.statistics().timed_calls);
        assert_eq!(shares, [3, 3, 3, 1]);
        assert!(record.events().into_iter().eq((0..10).map(|number| number.to_string())));
        world.run_until_idle(&mut reactor);
    });
}

#[test]
fn calls_from_threads_that_wait_together_come_in_shares() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor_with(Settings { calls_per_turn: 5, ..Settings::default() });
        let remote = reactor.remote();
        for _ in 0..12 {
            remote.call_from_thread(|_| {}).unwrap();
        }
        let shares = shares(&mut reactor, 12, |reactor| reactor.statistics().thread_calls);
        assert_eq!(shares, [5, 5, 2]);
    });
}

#[test]
fn connections_that_wait_together_are_accepted_in_shares() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor_with(Settings { accepts_per_turn: 4, ..Settings::default() });
        let record = Record::new();
        let served = record.clone();
        let listener =
            reactor.listen_tcp(world.anywhere(), move || Recorder::new(&served).closing()).unwrap();
        let flood: Vec<Peer> = (0..10).map(|_| world.connect(listener.address())).collect();
        let shares = shares(&mut reactor, 10, |reactor| reactor.statistics().accepts);
        assert!(shares.iter().all(|share| *share <= 4), "{shares:?}");
        drop(flood);
        world.run_until(&mut reactor, "all lost", |_| record.count("lost Done") == 10);
        world.close(&mut reactor, &listener);
    });
}

#[test]
fn what_waits_on_one_connection_is_sent_in_shares() {
    on_each_back_end(|world| {
        const ALL: usize = 8_000_000;
        const SHARE: u64 = 10_000;
        let settings = Settings { bytes_per_turn: SHARE as usize / 2, ..Settings::default() };
        let mut reactor = world.reactor_with(settings);
        let (id, mut peer) = connection(world, &mut reactor, idle_protocol());
        let mut transport = reactor.transport(id).unwrap();
        transport.write(&vec![b'w'; ALL]);
        transport.lose_connection();
        turns(&mut reactor);
        let (mut read, mut largest) = (0, 0);
        while read < ALL {
            read += peer.read_now().len();
            let before = reactor.statistics().bytes_sent;
            reactor.iterate(Some(Duration::from_millis(1))).unwrap();
            largest = largest.max(reactor.statistics().bytes_sent - before);
        }
        assert_eq!(largest, SHARE, "sent in one turn");
        assert_eq!(peer.read_to_end(&mut reactor), (Vec::new(), None));
        drop(peer);
        world.run_until_idle(&mut reactor);
    });
}

#[test]
fn connections_go_on_while_very_many_timed_calls_are_due() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor_with(Settings { calls_per_turn: 100, ..Settings::default() });
        let record = Record::new();
        let echo = idle_protocol().echoing();
        let listener = world.serve(&mut reactor, echo);
        let came = Rc::new(Cell::new(0));
        for _ in 0..100_000 {
            let came = Rc::clone(&came);
            reactor.call_later(Duration::ZERO, move |_| came.set(came.get() + 1));
        }
        let client = Recorder::new(&record).acting(|what, transport, _| match what {
            "made" => transport.write(b"hello"),
            "data" => transport.lose_connection(),
            _ => {}
        });
        world.ask(&mut reactor, &listener, client);
        world.run_until(&mut reactor, "the echo", |_| record.has("data hello"));
        assert!(came.get() < 100_000, "the storm is not over");
        world.close(&mut reactor, &listener);
        assert_eq!(came.get(), 100_000);
    });
}

#[test]
fn a_share_of_nothing_counts_as_one() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor_with(Settings {
            accepts_per_turn: 0,
            calls_per_turn: 0,
            threads: 0,
            read_buffer: 0,
            bytes_per_turn: 0,
            ..Settings::default()
        });
        let record = Record::new();
        let echo = idle_protocol().echoing();
        let listener = world.serve(&mut reactor, echo);
        let client = Recorder::new(&record);
        let received = client.received.clone();
        let client = client.acting(|what, transport, data| match what {
            "made" => transport.write(b"hello"),
            "data" if data.ends_with(b"o") => transport.lose_connection(),
            _ => {}
        });
        world.ask(&mut reactor, &listener, client);
        let called = record.clone();
        reactor.remote().call_from_thread(|_| {}).unwrap();
        reactor.call_in_thread(|| (), move |_, _| called.add("job")).unwrap();
        world.run_until(&mut reactor, "all", |_| record.has("lost Done") && record.has("job"));
        assert_eq!(*received.borrow(), b"hello");
        world.close(&mut reactor, &listener);
    });
}
