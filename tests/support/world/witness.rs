//! A connection beside a panic, which must not be affected by it.

use std::cell::Cell;
use std::rc::Rc;

use twistor::{ConnectionId, Listener, Reactor};

use super::{Record, Recorder, World, idle_protocol, on_each_back_end};

/// Runs a promise on every back end beside a witness, which checks its connection at the end.
pub fn beside_a_witness(promise: impl Fn(&World, &mut Reactor, &Witness)) {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let witness = Witness::new(world, &mut reactor);
        promise(world, &mut reactor, &witness);
        witness.testify(world, &mut reactor);
    });
}

/// A connection beside the one that panics. It echoes before and after.
pub struct Witness {
    record: Record,
    pub connection: ConnectionId,
    listener: Listener,
}

impl Witness {
    pub fn new(world: &World, reactor: &mut Reactor) -> Witness {
        let record = Record::new();
        let name: Rc<Cell<Option<ConnectionId>>> = Rc::default();
        let listener = world.serve(reactor, idle_protocol().echoing());
        let own = Rc::clone(&name);
        let client = Recorder::new(&record).acting(move |what, transport, _| {
            if what == "made" {
                own.set(Some(transport.id()));
            }
        });
        world.ask(reactor, &listener, client);
        world.run_until(reactor, "the witness", |_| record.has("made"));
        Witness { record, connection: name.get().unwrap(), listener }
    }

    /// Checks that the connection still works.
    pub fn testify(self, world: &World, reactor: &mut Reactor) {
        reactor.transport(self.connection).unwrap().write(b"alive");
        world.run_until(reactor, "the echo", |_| self.record.has("data alive"));
        assert_eq!(self.record.events(), ["made", "data alive"]);
        reactor.transport(self.connection).unwrap().lose_connection();
        world.close(reactor, &self.listener);
    }
}

/// Checks that the log and the statistics have exactly this panic.
pub fn panicked_once(world: &World, reactor: &Reactor, place: &str) {
    let logged = world.logged();
    assert_eq!(logged.len(), 1, "{logged:?}");
    assert!(logged[0].starts_with(&format!("panic in {place}")), "{logged:?}");
    assert!(logged[0].ends_with(": no"), "{logged:?}");
    assert_eq!(reactor.statistics().panics, 1);
}
