//! A callback can write to other connections and reach their protocols. Connections that are gone
//! are not found.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use crate::world::peer::{connection, turns};
use crate::world::{Record, Recorder, idle_protocol, on_each_back_end};
use twistor::{ConnectionId, Protocol, Transport};

type Room = Rc<RefCell<Vec<ConnectionId>>>;

#[test]
fn what_one_says_leaves_for_all_others_in_the_same_turn() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let room: Room = Rc::default();
        let mut peers = Vec::new();
        for _ in 0..4 {
            let others = Rc::clone(&room);
            let protocol = idle_protocol().acting(move |what, transport, data| {
                let me = transport.id();
                for other in others.borrow().iter().filter(|other| what == "data" && **other != me) {
                    let mut other = transport.reactor().transport(*other).unwrap();
                    other.write(b"one says: ");
                    other.write(data);
                }
            });
            let (id, peer) = connection(world, &mut reactor, protocol);
            room.borrow_mut().push(id);
            peers.push(peer);
        }
        turns(&mut reactor);
        let received = reactor.statistics().bytes_received;
        peers[0].send(b"hello");
        while reactor.statistics().bytes_received == received {
            reactor.iterate(Some(Duration::from_secs(1))).unwrap();
        }
        // No further turn runs.
        assert_eq!(peers[0].read_now(), b"");
        for peer in &mut peers[1..] {
            assert_eq!(peer.read_now(), b"one says: hello");
        }
        for id in room.borrow().iter() {
            reactor.transport(*id).unwrap().abort_connection();
        }
        world.run_until_idle(&mut reactor);
    });
}

#[test]
fn a_write_by_a_timed_call_or_a_thread_leaves_in_the_same_turn() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let (id, mut peer) = connection(world, &mut reactor, idle_protocol());
        let write = move |reactor: &mut twistor::Reactor| reactor.transport(id).unwrap().write(b"tick");
        reactor.call_later(Duration::ZERO, write);
        reactor.iterate(Some(Duration::ZERO)).unwrap();
        assert_eq!(peer.read_now(), b"tick");
        reactor.remote().call_from_thread(write).unwrap();
        reactor.iterate(Some(Duration::ZERO)).unwrap();
        assert_eq!(peer.read_now(), b"tick");
        // Outside of a turn, output is sent in the next one.
        write(&mut reactor);
        reactor.iterate(Some(Duration::from_secs(10))).unwrap();
        assert_eq!(peer.read_now(), b"tick");
        reactor.transport(id).unwrap().abort_connection();
        world.run_until_idle(&mut reactor);
    });
}

struct Counter(usize);

impl Protocol for Counter {
    fn data_received(&mut self, transport: &mut Transport<'_>, _: &[u8]) {
        self.0 += 1;
        let me = transport.id();
        // The protocol is out of its slot while it is called.
        assert!(transport.reactor().with_protocol(me, |_: &mut Counter, _| ()).is_none());
    }
}

#[test]
fn a_protocol_is_reached_by_its_type_unless_it_is_being_called() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let (id, mut peer) = connection(world, &mut reactor, Counter(0));
        peer.send(b"x");
        turns(&mut reactor);
        assert_eq!(reactor.statistics().panics, 0);
        assert_eq!(reactor.with_protocol(id, |counter: &mut Counter, _| counter.0), Some(1));
        assert!(reactor.with_protocol(id, |_: &mut Recorder, _| ()).is_none());
        let answer = reactor.with_protocol(id, |counter: &mut Counter, transport| {
            transport.write(b"with");
            counter.0 += 10;
            counter.0
        });
        assert_eq!(answer, Some(11));
        turns(&mut reactor);
        assert_eq!(peer.read_now(), b"with");
        reactor.transport(id).unwrap().abort_connection();
        world.run_until_idle(&mut reactor);
        assert!(reactor.with_protocol(id, |_: &mut Counter, _| ()).is_none());
    });
}

#[test]
fn a_lost_connections_id_is_not_reused_by_its_successor() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let record = Record::new();
        let from = record.clone();
        let factory = move || Recorder::new(&from);
        let listener = reactor.listen_tcp(world.anywhere(), factory).unwrap();
        let peer = world.connect(listener.address());
        world.run_until(&mut reactor, "made", |_| record.has("made"));
        let old = reactor.connections()[0];
        peer.reset();
        world.run_until(&mut reactor, "lost", |_| record.has("lost Lost"));
        let mut peer = world.connect(listener.address());
        world.run_until(&mut reactor, "made", |_| record.count("made") == 2);
        let new = reactor.connections()[0];
        let index = |id: ConnectionId| id.to_string().split('.').next().unwrap().to_owned();
        assert_eq!(index(old), index(new));
        assert!(reactor.transport(old).is_none());
        assert!(reactor.with_protocol(old, |_: &mut Recorder, _| ()).is_none());
        assert_eq!(reactor.connections(), [new]);
        reactor.transport(new).unwrap().write(b"new");
        turns(&mut reactor);
        assert_eq!(peer.read_now(), b"new");
        reactor.stop_listening(&listener).unwrap();
        reactor.transport(new).unwrap().abort_connection();
        world.run_until_idle(&mut reactor);
    });
}

#[test]
fn a_panic_inside_a_call_to_another_protocol_is_the_callers_own() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let record = Record::new();
        let (victim, _victims_peer) = connection(world, &mut reactor, Recorder::named("victim", &record));
        let caller = Recorder::named("caller", &record).acting(move |what, transport, _| {
            if what == "data" {
                transport.reactor().with_protocol(victim, |_: &mut Recorder, _| panic!("as planned"));
            }
        });
        let (_, mut peer) = connection(world, &mut reactor, caller);
        peer.send(b"x");
        world.run_until(&mut reactor, "lost", |_| record.has("caller: lost Panicked"));
        assert_eq!(world.logged().len(), 1);
        let seen = Rc::new(Cell::new(false));
        let see = Rc::clone(&seen);
        reactor.with_protocol(victim, move |_: &mut Recorder, _| see.set(true));
        assert!(seen.get(), "the other one is in its place again");
        reactor.transport(victim).unwrap().abort_connection();
        world.run_until_idle(&mut reactor);
    });
}
