//! An ID or event of a closed connection never reaches a newer one in the same slot.

use std::cell::RefCell;
use std::collections::HashSet;
use std::rc::Rc;
use std::time::Duration;

use crate::world::peer::Peer;
use crate::world::{Record, Recorder, abort_all, on_each_back_end, once};
use twistor::{ConnectionId, Error};

/// The index part of an ID.
fn place(id: ConnectionId) -> String {
    id.to_string().split('.').next().unwrap().to_owned()
}

#[test]
fn an_event_of_a_stopped_listener_never_reaches_its_successor() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let record = Record::new();
        let old =
            reactor.listen_tcp(world.anywhere(), once(Recorder::named("old", &record), &record)).unwrap();
        let names = Rc::new(RefCell::new((Some(old.clone()), None)));
        let (own, noted, anywhere) = (Rc::clone(&names), record.clone(), world.anywhere());
        let server = Recorder::named("server", &record).acting(move |what, transport, _| match what {
            "data" => {
                let reactor = transport.reactor();
                let old = own.borrow_mut().0.take().unwrap();
                reactor.stop_listening(&old).unwrap();
                let factory = once(Recorder::named("new", &noted), &Record::new());
                own.borrow_mut().1 = Some(reactor.listen_tcp(anywhere, factory).unwrap());
            }
            "read lost" => transport.lose_connection(),
            _ => {}
        });
        let listener = world.serve(&mut reactor, server);
        let mut peer = world.connect(listener.address());
        world.run_until(&mut reactor, "made", |_| record.has("server: made"));
        record.take();
        // Both are ready at the next poll.
        peer.send(b"now");
        let waiting = world.connect(old.address());
        let (events, accepts) = (reactor.statistics().events, reactor.statistics().accepts);
        reactor.iterate(Some(Duration::from_secs(1))).unwrap();
        assert_eq!(reactor.statistics().events - events, 2, "in one turn");
        assert_eq!(reactor.statistics().accepts, accepts);
        let new = names.borrow_mut().1.take().unwrap();
        let client = world.connect(new.address());
        world.run_until(&mut reactor, "made", |_| record.has("new: made"));
        assert!(!record.has("old: made"), "{:?}", record.events());
        drop((peer, waiting, client));
        world.run_until(&mut reactor, "the FINs", |_| {
            record.has("new: read lost") && record.has("server: lost Done")
        });
        abort_all(&mut reactor);
        reactor.stop_listening(&listener).unwrap();
        world.close(&mut reactor, &new);
    });
}

#[test]
fn a_connection_aborted_by_another_in_a_turn_gets_no_more_data() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let record = Record::new();
        let ids: Rc<RefCell<Vec<ConnectionId>>> = Rc::default();
        let (own, noted) = (Rc::clone(&ids), record.clone());
        let listener = reactor
            .listen_tcp(world.anywhere(), move || {
                let own = Rc::clone(&own);
                Recorder::new(&noted).acting(move |what, transport, _| match what {
                    "made" => own.borrow_mut().push(transport.id()),
                    // The first to receive data ends all others.
                    "data" => {
                        let this = transport.id();
                        for id in own.borrow().iter().filter(|id| **id != this) {
                            transport.reactor().transport(*id).unwrap().abort_connection();
                        }
                    }
                    "read lost" => transport.lose_connection(),
                    _ => {}
                })
            })
            .unwrap();
        let mut peers: Vec<Peer> = (0..10).map(|_| world.connect(listener.address())).collect();
        world.run_until(&mut reactor, "all made", |_| record.count("made") == 10);
        peers.iter_mut().for_each(|peer| peer.send(b"x"));
        let before = reactor.statistics().events;
        reactor.iterate(Some(Duration::from_secs(1))).unwrap();
        assert_eq!(reactor.statistics().events - before, 10, "in one turn");
        world.run_until(&mut reactor, "the aborts", |_| record.count("lost Aborted") == 9);
        assert_eq!(record.count("data x"), 1);
        drop(peers);
        world.run_until(&mut reactor, "the last", |_| record.has("lost Done"));
        world.close(&mut reactor, &listener);
    });
}

#[test]
fn a_name_is_never_given_twice_though_its_place_is() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let record = Record::new();
        let ids: Rc<RefCell<Vec<ConnectionId>>> = Rc::default();
        let (own, noted) = (Rc::clone(&ids), record.clone());
        let listener = reactor
            .listen_tcp(world.anywhere(), move || {
                let own = Rc::clone(&own);
                Recorder::new(&noted).acting(move |what, transport, _| match what {
                    "made" => own.borrow_mut().push(transport.id()),
                    "read lost" => transport.lose_connection(),
                    _ => {}
                })
            })
            .unwrap();
        for round in 1..=20 {
            let peer = world.connect(listener.address());
            world.run_until(&mut reactor, "made", |_| record.count("made") == round);
            let (old, last) = (ids.borrow()[0], *ids.borrow().last().unwrap());
            assert!(reactor.transport(last).is_some());
            assert_eq!(reactor.transport(old).is_some(), old == last, "the first one is gone");
            assert_eq!(reactor.with_protocol(old, |_: &mut Recorder, _| ()).is_some(), old == last);
            drop(peer);
            world.run_until(&mut reactor, "lost", |_| record.count("lost Done") == round);
        }
        let ids = ids.borrow();
        assert_eq!(ids.iter().collect::<HashSet<_>>().len(), 20);
        assert!(ids.iter().map(|id| place(*id)).collect::<HashSet<_>>().len() < 20, "places are used again");
        reactor.stop_listening(&listener).unwrap();
        assert!(matches!(reactor.stop_listening(&listener), Err(Error::NotListening)));
        world.run_until_idle(&mut reactor);
    });
}
