//! A policy outside of the crate has all that the crate's own policies have: it rejects, holds
//! guards, and decides when the final addresses are known.

use std::cell::RefCell;
use std::rc::Rc;

use crate::world::peer::turns;
use crate::world::{Record, Recorder, World, idle_protocol, on_each_back_end, once};
use twistor::{
    Address, BuildContext, Factory, Layer, LayerContext, Protocol, Reactor, layered, policy, shared,
};

/// Records its end.
struct Guard(&'static str, Record);

impl Drop for Guard {
    fn drop(&mut self) {
        self.1.add(format!("{} dropped", self.0));
        assert!(self.0 != "a bad guard", "a bug");
    }
}

/// Ready after one byte, as after a handshake.
struct Handshake;

impl Layer for Handshake {
    fn started(&mut self, _: &mut LayerContext<'_>) {}

    fn data_received(&mut self, below: &mut LayerContext<'_>, _: &[u8]) {
        below.ready();
    }
}

type Call = Box<dyn FnMut(&mut BuildContext<'_>)>;

/// Calls closures with the context in both calls of a factory.
struct Policy<F> {
    factory: F,
    layers: Call,
    build: Call,
}

impl<F> Policy<F> {
    fn new(factory: F) -> Policy<F> {
        Policy { factory, layers: Box::new(|_| {}), build: Box::new(|_| {}) }
    }

    fn at_layers(self, call: impl FnMut(&mut BuildContext<'_>) + 'static) -> Policy<F> {
        Policy { layers: Box::new(call), ..self }
    }

    fn at_build(self, call: impl FnMut(&mut BuildContext<'_>) + 'static) -> Policy<F> {
        Policy { build: Box::new(call), ..self }
    }
}

impl<F: Factory> Factory for Policy<F> {
    fn layers(&mut self, context: &mut BuildContext<'_>) -> Vec<Box<dyn Layer>> {
        (self.layers)(context);
        self.factory.layers(context)
    }

    fn build_protocol(&mut self, context: &mut BuildContext<'_>) -> Option<Box<dyn Protocol>> {
        (self.build)(context);
        self.factory.build_protocol(context)
    }
}

fn hold(name: &'static str, record: &Record) -> impl FnMut(&mut BuildContext<'_>) + 'static {
    let record = record.clone();
    move |context| context.guards().hold(Guard(name, record.clone()))
}

/// What a connection with one byte sent through such a factory leaves behind.
fn events(world: &World, factory: impl Factory, record: &Record) -> Vec<String> {
    let mut reactor = world.reactor();
    let listener = reactor.listen_tcp(world.anywhere(), factory).unwrap();
    let mut peer = world.connect(listener.address());
    peer.send(b"!");
    peer.finish();
    world.run_until(&mut reactor, "accepted", |reactor| reactor.statistics().accepts == 1);
    peer.read_to_end(&mut reactor);
    drop(peer);
    world.run_until(&mut reactor, "gone", |reactor| reactor.connections().is_empty());
    world.close(&mut reactor, &listener);
    record.take()
}

#[test]
fn the_context_knows_the_connection_in_both_calls() {
    on_each_back_end(|world| {
        let record = Record::new();
        let seen: Rc<RefCell<Vec<_>>> = Rc::default();
        let note = || {
            let seen = Rc::clone(&seen);
            move |context: &mut BuildContext<'_>| {
                let (id, peer, host) = (context.id(), context.peer().clone(), context.host());
                assert!(context.reactor().connections().contains(&id));
                assert!(!context.is_rejected() && !context.addresses_pending());
                seen.borrow_mut().push((id, peer, host));
            }
        };
        let seen_by_protocol = Rc::clone(&seen);
        let protocol = Recorder::new(&record).acting(move |what, transport, _| {
            if what == "made" {
                let (peer, host) = (transport.peer().clone(), transport.host());
                seen_by_protocol.borrow_mut().push((transport.id(), peer, host));
                transport.lose_connection();
            }
        });
        let factory = layered(once(protocol, &Record::new()), || Handshake);
        events(world, Policy::new(factory).at_layers(note()).at_build(note()), &record);
        let seen = seen.borrow();
        assert_eq!(seen.len(), 3);
        assert!(seen.iter().all(|one| *one == seen[0]), "{seen:?}");
        assert_ne!(seen[0].1, seen[0].2);
    });
}

#[test]
fn whoever_rejects_in_either_call_closes_the_connection() {
    on_each_back_end(|world| {
        let record = Record::new();
        let closing = || Recorder::new(&record).closing();
        let rejects = |context: &mut BuildContext<'_>| {
            context.reject();
            assert!(context.is_rejected());
        };
        // The protocol that the wrapped factory builds all the same is dropped.
        let at_build = Policy::new(once(closing(), &Record::new())).at_build(rejects);
        assert_eq!(events(world, at_build, &record), [""; 0]);
        let in_layers =
            Policy::new(layered(once(closing(), &Record::new()), || Handshake)).at_layers(rejects);
        assert_eq!(events(world, in_layers, &record), [""; 0]);
        let behind_layers =
            layered(Policy::new(once(closing(), &Record::new())).at_build(rejects), || Handshake);
        assert_eq!(events(world, behind_layers, &record), [""; 0]);
        // Without a rejection.
        assert!(!events(world, Policy::new(once(closing(), &Record::new())), &record).is_empty());
    });
}

#[test]
fn a_guard_is_dropped_on_every_way_out() {
    on_each_back_end(|world| {
        let record = Record::new();
        let closing = || once(Recorder::new(&record).closing(), &Record::new());
        let guarded = |factory| Policy::new(factory).at_layers(hold("guard", &record));
        // Before `connection_lost`, because that may connect again.
        let made = events(world, guarded(closing()), &record);
        let lost = made.iter().position(|event| event.starts_with("lost")).unwrap();
        assert_eq!(made[lost - 1], "guard dropped");

        let rejected = Policy::new(guarded(closing())).at_build(|context| context.reject());
        assert_eq!(events(world, rejected, &record), ["guard dropped"]);
        let rejected = guarded(once(idle_protocol(), &Record::new())).at_layers({
            let mut hold = hold("guard", &record);
            move |context| {
                hold(context);
                context.reject();
            }
        });
        assert_eq!(events(world, rejected, &record), ["guard dropped"]);
        let panics = guarded(closing()).at_build(|_| panic!("a bug"));
        assert_eq!(events(world, panics, &record), ["guard dropped"]);
        assert_eq!(world.logged(), ["panic in build_protocol: a bug"]);
    });
}

#[test]
fn a_panic_in_the_drop_of_a_guard_is_contained() {
    on_each_back_end(|world| {
        let record = Record::new();
        let closing = || once(Recorder::new(&record).closing(), &Record::new());
        let both = |factory| {
            let inner = Policy::new(factory).at_layers(hold("guard", &record));
            Policy::new(inner).at_layers(hold("a bad guard", &record))
        };
        let lost = events(world, both(closing()), &record);
        for expected in ["made", "guard dropped", "a bad guard dropped"] {
            assert!(lost.iter().any(|event| event == expected), "{lost:?}");
        }
        assert!(lost.last().unwrap().starts_with("lost"), "{lost:?}");
        let rejected = Policy::new(both(closing())).at_build(|context| context.reject());
        assert_eq!(events(world, rejected, &record), ["guard dropped", "a bad guard dropped"]);
        assert_eq!(world.logged(), ["panic in the drop of user code: a bug"; 2]);
    });
}

#[test]
fn guards_are_found_and_released_by_type_and_test() {
    on_each_back_end(|world| {
        let record = Record::new();
        let noted = record.clone();
        let at_build = move |context: &mut BuildContext<'_>| {
            let guards = context.guards();
            assert!(guards.find(|_: &String| true).is_none());
            assert_eq!(guards.find(|guard: &Guard| guard.0 == "second").unwrap().0, "second");
            assert!(guards.find(|guard: &Guard| guard.0 == "third").is_none());
            drop(guards.release(|guard: &Guard| guard.0 == "first"));
            assert!(guards.release(|guard: &Guard| guard.0 == "first").is_none());
            noted.add("built");
        };
        let closing = once(
            idle_protocol().acting(|what, transport, _| {
                if what == "read lost" {
                    transport.lose_connection();
                }
            }),
            &Record::new(),
        );
        let first = Policy::new(closing).at_layers(hold("first", &record)).at_build(at_build);
        let both = Policy::new(first).at_layers(hold("second", &record));
        assert_eq!(events(world, both, &record), ["first dropped", "built", "second dropped"]);
    });
}

/// Learns the client's address from the first byte, which is the last one of the address.
struct Learns(Record);

impl Layer for Learns {
    fn started(&mut self, below: &mut LayerContext<'_>) {
        below.guards().hold(Guard("of a layer", self.0.clone()));
    }

    fn data_received(&mut self, below: &mut LayerContext<'_>, data: &[u8]) {
        let client = Address::Tcp(([192, 0, 2, data[0]], 40000).into());
        let host = below.host();
        below.set_addresses(client, host);
        below.insert_extension(String::from("learnt"));
        below.ready();
    }
}

struct Learning<F>(F, Record);

impl<F: Factory> Factory for Learning<F> {
    fn layers(&mut self, context: &mut BuildContext<'_>) -> Vec<Box<dyn Layer>> {
        context.set_addresses_pending();
        let mut layers = self.0.layers(context);
        layers.insert(0, Box::new(Learns(self.1.clone())));
        layers
    }

    fn build_protocol(&mut self, context: &mut BuildContext<'_>) -> Option<Box<dyn Protocol>> {
        self.0.build_protocol(context)
    }
}

#[test]
fn a_layer_that_learns_the_client_works_with_the_limit_per_peer() {
    on_each_back_end(|world| {
        let mut reactor: Reactor = world.reactor();
        let record = Record::new();
        let noted = record.clone();
        let policy = Policy::new(idle_protocol)
            .at_layers(|context| assert!(context.addresses_pending()))
            .at_build(move |context| {
                let learnt = context.extension::<String>().unwrap();
                noted.add(format!("{} {learnt}", context.peer().ip().unwrap()));
                assert!(!context.addresses_pending());
                assert!(context.guards().find(|_: &Guard| true).is_some());
            });
        let limited = shared(policy::limit_per_peer(policy, 1));
        let factory = Learning(limited.clone(), Record::new());
        let listener = reactor.listen_tcp(world.anywhere(), factory).unwrap();
        let mut peers = Vec::new();
        for client in [7, 7, 8] {
            let mut peer = world.connect(listener.address());
            peer.send(&[client]);
            peers.push(peer);
            world.run_until(&mut reactor, "accepted", |reactor| {
                reactor.statistics().accepts == peers.len() as u64
            });
            turns(&mut reactor);
        }
        world.run_until(&mut reactor, "two clients", |reactor| reactor.connections().len() == 2);
        assert_eq!(record.events(), ["192.0.2.7 learnt", "192.0.2.8 learnt"]);
        let open = |last| limited.with_factory(|limit| limit.open([192, 0, 2, last].into()));
        assert_eq!((open(7), open(8)), (Some(1), Some(1)));
        crate::world::abort_all(&mut reactor);
        world.close(&mut reactor, &listener);
        assert_eq!((open(7), open(8)), (Some(0), Some(0)));
    });
}
