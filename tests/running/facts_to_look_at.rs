//! The options and state of a connection, a connector and a reactor can be read.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use crate::world::peer::{connection, narrow_connection, turns};
use crate::world::{Record, Recorder, idle_protocol, on_each_back_end, once};
use twistor::{ConnectTcp, Producer, ProducerKind, Reactor, Transport};

struct Quiet;

impl Producer for Quiet {
    fn resume_producing(&mut self, _: &mut Transport<'_>) {}
}

#[test]
fn whether_reading_is_paused() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let (id, _peer) = connection(world, &mut reactor, idle_protocol());
        let mut transport = reactor.transport(id).unwrap();
        assert!(!transport.reading_paused());
        transport.pause_reading();
        assert!(transport.reading_paused());
        transport.resume_reading();
        assert!(!transport.reading_paused());
        transport.abort_connection();
        world.run_until_idle(&mut reactor);
    });
}

#[test]
fn whether_too_much_waits_to_be_sent() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let record = Record::new();
        let (id, mut peer) = narrow_connection(world, &mut reactor, Recorder::new(&record));
        assert!(!reactor.transport(id).unwrap().writing_paused());
        while !record.has("pause") {
            assert!(!reactor.transport(id).unwrap().writing_paused());
            reactor.transport(id).unwrap().write(&[b'w'; 60_000]);
            turns(&mut reactor);
        }
        assert!(reactor.transport(id).unwrap().writing_paused());
        while !record.has("resume") {
            peer.read_now();
            turns(&mut reactor);
        }
        assert!(!reactor.transport(id).unwrap().writing_paused());
        reactor.transport(id).unwrap().abort_connection();
        world.run_until_idle(&mut reactor);
    });
}

#[test]
fn which_kind_of_producer_there_is() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let (id, _peer) = connection(world, &mut reactor, idle_protocol());
        assert_eq!(reactor.transport(id).unwrap().producer(), None);
        for kind in [ProducerKind::Push, ProducerKind::Pull] {
            let mut transport = reactor.transport(id).unwrap();
            transport.register_producer(Quiet, kind).unwrap();
            assert_eq!(transport.producer(), Some(kind));
            turns(&mut reactor);
            let mut transport = reactor.transport(id).unwrap();
            assert_eq!(transport.producer(), Some(kind));
            transport.unregister_producer();
            assert_eq!(transport.producer(), None);
        }
        reactor.transport(id).unwrap().abort_connection();
        world.run_until_idle(&mut reactor);
    });
}

#[test]
fn a_connection_that_is_gone_has_nothing_to_look_at() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let seen = Rc::new(RefCell::new(None));
        let look = Rc::clone(&seen);
        let protocol = Recorder::new(&Record::new()).acting(move |what, transport, _| {
            if what.starts_with("lost") {
                let paused = (transport.reading_paused(), transport.writing_paused());
                *look.borrow_mut() = Some((paused, transport.producer()));
            }
        });
        let (id, _peer) = connection(world, &mut reactor, protocol);
        let mut transport = reactor.transport(id).unwrap();
        transport.register_producer(Quiet, ProducerKind::Push).unwrap();
        transport.abort_connection();
        world.run_until_idle(&mut reactor);
        assert_eq!(*seen.borrow(), Some(((false, false), None)));
    });
}

#[test]
fn the_ports_that_are_listened_on() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        assert_eq!(reactor.listeners(), []);
        let first = reactor.listen_tcp(world.anywhere(), idle_protocol).unwrap();
        let second = reactor.listen_tcp(world.anywhere(), idle_protocol).unwrap();
        let (id, _peer) = connection(world, &mut reactor, idle_protocol());
        assert_eq!(reactor.listeners(), [first.clone(), second.clone()]);
        reactor.stop_listening(&first).unwrap();
        assert_eq!(reactor.listeners(), std::slice::from_ref(&second));
        reactor.stop_listening(&reactor.listeners()[0].clone()).unwrap();
        assert_eq!(reactor.listeners(), []);
        reactor.transport(id).unwrap().abort_connection();
        world.run_until_idle(&mut reactor);
    });
}

#[test]
fn how_a_connector_connects() {
    on_each_back_end(|world| {
        let mut reactor: Reactor = world.reactor();
        let record = Record::new();
        let unused = world.unused();
        let asked = ConnectTcp { timeout: Duration::from_secs(7), nodelay: false, ..unused.into() };
        let seen = Rc::new(RefCell::new(Vec::new()));
        let look = Rc::clone(&seen);
        let factory = once(idle_protocol(), &record).acting(move |what, connector| {
            look.borrow_mut().push((what.to_owned(), connector.options().cloned()))
        });
        let id = reactor.connect_tcp(asked.clone(), factory).unwrap();
        assert_eq!(reactor.connector(id).unwrap().options(), Some(&asked));
        world.run_until_idle(&mut reactor);
        let expected = ["connecting", "failed"].map(|what| (what.to_owned(), Some(asked.clone())));
        assert_eq!(*seen.borrow(), expected);
    });
}
