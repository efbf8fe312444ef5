//! `connection_made` comes first and `connection_lost` last, each once, and no callback runs inside
//! another one.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use crate::world::{Record, Recorder, abort_all, idle_protocol, on_each_back_end, once};
use twistor::{
    BuildContext, ClientFactory, Connector, Factory, Producer, ProducerKind, Protocol, Reactor, Reason,
    Transport,
};

/// The nesting depth of callbacks. A callback must only start at depth 0.
#[derive(Clone, Default)]
struct Depth(Rc<Cell<usize>>, Record);

impl Depth {
    fn enter(&self, what: &str) {
        assert_eq!(self.0.replace(1), 0, "{what} inside another callback");
        self.1.add(what);
    }

    fn leave(&self) {
        self.0.set(0);
    }

    /// Runs `act` inside a callback, after scheduling calls in all other ways.
    fn inside(&self, what: &str, reactor: &mut Reactor, act: impl FnOnce(&mut Reactor)) {
        self.enter(what);
        let (later, soon, thread) = (self.clone(), self.clone(), self.1.clone());
        reactor.call_later(Duration::ZERO, move |_| {
            later.enter("timed call");
            later.leave();
        });
        reactor.call_when_running(move |_| {
            soon.enter("when running");
            soon.leave();
        });
        reactor.call_in_thread(|| (), move |_, _| thread.add("job")).unwrap();
        act(reactor);
        self.leave();
    }
}

struct Probe(Depth);

impl Probe {
    fn called(&self, what: &str, transport: &mut Transport<'_>) {
        let id = transport.id();
        self.0.inside(what, transport.reactor(), |reactor| {
            let Some(mut transport) = reactor.transport(id) else { return };
            transport.set_water_marks(1, 0);
            transport.write(b"more than one");
            let _ = transport.register_producer(Probe(self.0.clone()), ProducerKind::Push);
            transport.pause_reading();
            transport.resume_reading();
            match what {
                "made" => {
                    // Writes from outside of its callbacks are sent at the end of the turn.
                    reactor.call_later(Duration::ZERO, move |reactor| {
                        if let Some(mut transport) = reactor.transport(id) {
                            transport.write(b"more than one");
                        }
                    });
                }
                "resume" => {
                    transport.unregister_producer();
                    transport.lose_write_connection();
                }
                "read lost" | "write lost" => {
                    transport.unregister_producer();
                    transport.lose_connection();
                }
                _ => {}
            }
        });
    }
}

impl Protocol for Probe {
    fn connection_made(&mut self, transport: &mut Transport<'_>) {
        self.called("made", transport);
    }

    fn data_received(&mut self, transport: &mut Transport<'_>, _: &[u8]) {
        self.called("data", transport);
    }

    fn read_connection_lost(&mut self, transport: &mut Transport<'_>) {
        self.called("read lost", transport);
    }

    fn write_connection_lost(&mut self, transport: &mut Transport<'_>) {
        self.called("write lost", transport);
    }

    fn pause_writing(&mut self, transport: &mut Transport<'_>) {
        self.called("pause", transport);
    }

    fn resume_writing(&mut self, transport: &mut Transport<'_>) {
        self.called("resume", transport);
    }

    fn connection_lost(&mut self, transport: &mut Transport<'_>, _: &Reason) {
        self.called("lost", transport);
    }
}

impl Producer for Probe {
    fn resume_producing(&mut self, transport: &mut Transport<'_>) {
        self.called("resume producing", transport);
    }

    fn pause_producing(&mut self, transport: &mut Transport<'_>) {
        self.called("pause producing", transport);
    }

    fn stop_producing(&mut self, reactor: &mut Reactor) {
        self.0.inside("stop producing", reactor, |_| {});
    }
}

impl Factory for Probe {
    fn build_protocol(&mut self, context: &mut BuildContext<'_>) -> Option<Box<dyn Protocol>> {
        self.0.inside("build", context.reactor(), |_| {});
        Some(Box::new(Probe(self.0.clone())))
    }

    fn start_factory(&mut self, reactor: &mut Reactor) {
        self.0.inside("started", reactor, |_| {});
    }

    fn stop_factory(&mut self, reactor: &mut Reactor) {
        self.0.inside("stopped", reactor, |_| {});
    }
}

impl ClientFactory for Probe {
    fn started_connecting(&mut self, connector: &mut Connector<'_>) {
        let (id, again) = (connector.id(), self.0.1.count("failed") == 0);
        self.0.inside("connecting", connector.reactor(), |reactor| {
            if again {
                reactor.connector(id).unwrap().stop_connecting().unwrap();
            }
        });
    }

    fn client_connection_failed(&mut self, connector: &mut Connector<'_>, _: &Reason) {
        let id = connector.id();
        self.0.inside("failed", connector.reactor(), |reactor| {
            assert!(reactor.connector(id).unwrap().connect());
        });
    }

    fn client_connection_lost(&mut self, connector: &mut Connector<'_>, _: &Reason) {
        self.0.inside("gone", connector.reactor(), |_| {});
    }
}

#[test]
fn no_callback_runs_inside_another_whatever_it_calls() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let depth = Depth::default();
        let listener = reactor.listen_tcp(world.anywhere(), Probe(depth.clone())).unwrap();
        let id = reactor.connect_tcp(listener.address(), Probe(depth.clone())).unwrap();
        let record = depth.1.clone();
        world.run_until(&mut reactor, "the end", |reactor| {
            reactor.connector(id).is_none() && record.count("lost") == 2
        });
        world.close(&mut reactor, &listener);
        for what in [
            "started",
            "connecting",
            "failed",
            "build",
            "made",
            "data",
            "pause",
            "pause producing",
            "stop producing",
            "lost",
            "gone",
            "stopped",
            "timed call",
            "when running",
        ] {
            assert!(record.has(what), "{what} never came: {:?}", record.events());
        }
        assert_eq!(reactor.statistics().panics, 0);
    });
}

#[test]
fn bytes_that_came_with_the_connection_wait_until_it_is_made() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let record = Record::new();
        let server = Recorder::new(&record).closing();
        let listener = reactor.listen_tcp(world.anywhere(), once(server, &record)).unwrap();
        let mut peer = world.connect(listener.address());
        peer.send(b"early");
        drop(peer);
        world.run_until(&mut reactor, "lost", |_| record.has("lost Done"));
        assert_eq!(record.events(), ["started", "made", "data early", "read lost", "lost Done"]);
        world.close(&mut reactor, &listener);
    });
}

#[test]
fn a_client_hears_of_its_protocols_loss_before_its_own() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let record = Record::new();
        let closing = || {
            idle_protocol().acting(|what, transport, _| {
                if what == "made" {
                    transport.abort_connection();
                }
            })
        };
        let listener = reactor.listen_tcp(world.anywhere(), closing).unwrap();
        reactor.connect_tcp(listener.address(), once(Recorder::new(&record), &record)).unwrap();
        world.run_until(&mut reactor, "stopped", |_| record.has("stopped"));
        assert_eq!(record.events(), ["started", "connecting", "made", "lost Lost", "gone Lost", "stopped"]);
        world.close(&mut reactor, &listener);
    });
}

#[test]
fn an_abort_in_build_protocol_calls_neither_made_nor_lost() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let record = Record::new();
        let listener = reactor.listen_tcp(world.anywhere(), Hasty(record.clone())).unwrap();
        let _peer = world.connect(listener.address());
        world.run_until(&mut reactor, "the end", |reactor| reactor.statistics().connections_lost == 1);
        let made = record.count("made");
        assert_eq!(record.count("lost Aborted"), made, "{:?}", record.events());
        world.close(&mut reactor, &listener);
    });
}

/// Aborts all connections while it builds a protocol for one of them.
struct Hasty(Record);

impl Factory for Hasty {
    fn build_protocol(&mut self, context: &mut BuildContext<'_>) -> Option<Box<dyn Protocol>> {
        abort_all(context.reactor());
        Some(Box::new(Recorder::new(&self.0)))
    }
}
