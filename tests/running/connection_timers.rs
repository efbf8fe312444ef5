//! A connection's own timed calls reach its protocol by type, and end with the connection.

use std::any::{Any, TypeId};
use std::rc::Rc;
use std::time::Duration;

use crate::world::peer::connection;
use crate::world::{Record, Recorder, on_each_back_end};
use twistor::{Protocol, Transport};

/// A protocol that wraps a handler.
struct Outer {
    handler: Handler,
}

struct Handler {
    record: Record,
}

impl Protocol for Outer {
    fn connection_made(&mut self, transport: &mut Transport<'_>) {
        transport.call_later(Duration::ZERO, |outer: &mut Outer, _| outer.handler.record.add("outer"));
        transport.call_later(Duration::ZERO, |handler: &mut Handler, transport| {
            handler.record.add("handler");
            transport.write(b"from the handler");
        });
        transport.call_later(Duration::ZERO, |_: &mut String, _| panic!("no protocol has this type"));
    }

    fn data_received(&mut self, _: &mut Transport<'_>, _: &[u8]) {}

    fn downcast_inner(&mut self, want: TypeId) -> Option<&mut dyn Any> {
        (want == TypeId::of::<Handler>()).then_some(&mut self.handler)
    }
}

#[test]
fn a_call_finds_the_protocol_or_the_handler_that_it_wraps() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let record = Record::new();
        let handler = Handler { record: record.clone() };
        let (id, mut peer) = connection(world, &mut reactor, Outer { handler });
        world.run_until(&mut reactor, "both calls", |_| record.events().len() == 2);
        assert_eq!(record.events(), ["outer", "handler"]);
        let by_type = reactor.with_protocol(id, |handler: &mut Handler, _| handler.record.events().len());
        assert_eq!(by_type, Some(2));
        world.run_until(&mut reactor, "nothing pending", |reactor| reactor.delayed_call_count() == 1);
        assert_eq!(peer.read_now(), b"from the handler");
        drop(peer);
        world.run_until_idle(&mut reactor);
    });
}

#[test]
fn a_call_goes_with_the_connection_and_is_dropped() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let record = Record::new();
        let (id, peer) = connection(world, &mut reactor, Recorder::new(&record));
        let held = Rc::new(());
        for seconds in 0..100 {
            let held = Rc::clone(&held);
            let delay = Duration::from_secs(3600 + seconds);
            let late = move |_: &mut Recorder, _: &mut Transport<'_>| drop(held);
            reactor.transport(id).unwrap().call_later(delay, late);
        }
        peer.reset();
        world.run_until_idle(&mut reactor);
        assert_eq!(Rc::strong_count(&held), 1);
        assert_eq!(record.events(), ["made", "lost Lost"]);
    });
}

#[test]
fn a_call_set_while_the_connection_is_being_lost_never_comes() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let record = Record::new();
        let protocol = Recorder::new(&record).acting(|what, transport, _| {
            if what == "lost" {
                transport.call_later(Duration::ZERO, |late: &mut Recorder, _| late.record.add("too late"));
            }
        });
        let (_, peer) = connection(world, &mut reactor, protocol);
        peer.reset();
        world.run_until_idle(&mut reactor);
        assert_eq!(record.events(), ["made", "lost Lost"]);
    });
}

/// A protocol that closes the connection when no data arrives for a while.
struct Impatient {
    timeout: Option<twistor::DelayedCall>,
    record: Record,
}

const IDLE_TIMEOUT: Duration = Duration::from_millis(50);

impl Protocol for Impatient {
    fn connection_made(&mut self, transport: &mut Transport<'_>) {
        let give_up = |this: &mut Self, transport: &mut Transport<'_>| {
            this.record.add("gave up");
            transport.abort_connection();
        };
        self.timeout = Some(transport.call_later(IDLE_TIMEOUT, give_up));
    }

    fn data_received(&mut self, transport: &mut Transport<'_>, _: &[u8]) {
        if let Some(timeout) = self.timeout {
            timeout.reset(transport.reactor(), IDLE_TIMEOUT).unwrap();
            let left = timeout.time(transport.reactor()).unwrap() - transport.now();
            assert!(left <= IDLE_TIMEOUT && left > IDLE_TIMEOUT / 2, "{left:?}");
            self.record.add("heard");
        }
    }
}

#[test]
fn a_silent_peer_is_found_by_a_timeout_that_every_byte_puts_off() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let record = Record::new();
        let protocol = Impatient { timeout: None, record: record.clone() };
        let (_, mut peer) = connection(world, &mut reactor, protocol);
        for heard in 1..=3 {
            peer.send(b".");
            world.run_until(&mut reactor, "heard", |_| record.count("heard") == heard);
        }
        // The peer is open but silent: no FIN, no reset.
        world.run_until_idle(&mut reactor);
        assert_eq!(record.events(), ["heard", "heard", "heard", "gave up"]);
    });
}
