//! Startup and shutdown have three phases each. Their triggers run once, in order, and can delay
//! them.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use crate::world::{Record, Recorder, idle_protocol, on_each_back_end, once};
use twistor::{Error, Phase, PhaseGuard, Reactor, SystemEvent, TriggerId};

/// Records that the trigger ran, and whether the reactor was running.
fn note(
    reactor: &mut Reactor,
    phase: Phase,
    event: SystemEvent,
    record: &Record,
    name: &'static str,
) -> TriggerId {
    let record = record.clone();
    reactor.add_system_event_trigger(phase, event, move |reactor, _| {
        record.add(format!("{name} {}", reactor.running()));
    })
}

fn stop(reactor: &mut Reactor) {
    reactor.call_later(Duration::ZERO, |reactor| {
        reactor.stop();
    });
}

#[test]
fn triggers_run_once_by_phase_and_then_in_the_order_added() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let record = Record::new();
        for event in [SystemEvent::Shutdown, SystemEvent::Startup] {
            let name = |number| match (event, number) {
                (SystemEvent::Startup, 1) => "up 1",
                (SystemEvent::Startup, _) => "up 2",
                (SystemEvent::Shutdown, 1) => "down 1",
                (SystemEvent::Shutdown, _) => "down 2",
            };
            for phase in [Phase::After, Phase::During, Phase::Before] {
                note(&mut reactor, phase, event, &record, name(1));
            }
            for phase in [Phase::After, Phase::During, Phase::Before] {
                note(&mut reactor, phase, event, &record, name(2));
            }
        }
        let running = record.clone();
        reactor.call_when_running(move |reactor| running.add(format!("when running {}", reactor.running())));
        stop(&mut reactor);
        world.run(&mut reactor);
        assert_eq!(
            record.events(),
            [
                // Before, during and after the startup,
                "up 1 false",
                "up 2 false",
                "up 1 true",
                "up 2 true",
                "up 1 true",
                "up 2 true",
                "when running true",
                // then the shutdown.
                "down 1 true",
                "down 2 true",
                "down 1 false",
                "down 2 false",
                "down 1 false",
                "down 2 false",
            ]
        );
    });
}

#[test]
fn call_when_running_runs_in_order_or_later_if_already_running() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let record = Record::new();
        let (first, second) = (record.clone(), record.clone());
        reactor.call_when_running(move |reactor| {
            let inner = first.clone();
            first.add("first begins");
            reactor.call_when_running(move |_| inner.add("inner"));
            first.add("first ends");
        });
        reactor.call_when_running(move |_| second.add("second"));
        assert_eq!(record.events(), [] as [String; 0]);
        world.run_until_idle(&mut reactor);
        reactor.iterate(Some(Duration::ZERO)).unwrap();
        assert_eq!(record.events(), ["first begins", "first ends", "second", "inner"]);
    });
}

#[test]
fn startup_waits_for_every_before_trigger_that_holds_it() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let record = Record::new();
        let holds: Rc<RefCell<Vec<PhaseGuard>>> = Rc::default();
        for _ in 0..2 {
            let holds = Rc::clone(&holds);
            reactor.add_system_event_trigger(Phase::Before, SystemEvent::Startup, move |_, hold| {
                holds.borrow_mut().push(hold);
            });
        }
        note(&mut reactor, Phase::Before, SystemEvent::Startup, &record, "before");
        note(&mut reactor, Phase::During, SystemEvent::Startup, &record, "during");
        for milliseconds in [1, 2] {
            let (holds, record) = (Rc::clone(&holds), record.clone());
            reactor.call_later(Duration::from_millis(milliseconds), move |reactor| {
                record.add(format!("timer {}", reactor.running()));
                holds.borrow_mut().pop();
            });
        }
        world.run_until(&mut reactor, "running", |reactor| reactor.running());
        assert_eq!(record.events(), ["before false", "timer false", "timer false", "during true"]);
        stop(&mut reactor);
        world.run(&mut reactor);
    });
}

#[test]
fn the_loop_and_connections_stay_alive_while_shutdown_is_held() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let record = Record::new();
        let listener = reactor.listen_tcp(world.anywhere(), || idle_protocol().echoing()).unwrap();
        let (address, shutting) = (listener.address().clone(), record.clone());
        reactor.add_system_event_trigger(Phase::Before, SystemEvent::Shutdown, move |reactor, hold| {
            shutting.add("shutting down");
            let (mut hold, client_record) = (Some(hold), shutting.clone());
            let client = Recorder::new(&client_record).acting(move |what, transport, _| match what {
                "made" => transport.write(b"still there?"),
                "data" => {
                    assert!(transport.reactor().running());
                    assert!(!transport.reactor().stop(), "it stops already");
                    hold.take();
                }
                _ => {}
            });
            reactor.connect_tcp(&address, once(client, &Record::new())).unwrap();
        });
        note(&mut reactor, Phase::During, SystemEvent::Shutdown, &record, "during");
        stop(&mut reactor);
        world.run(&mut reactor);
        assert_eq!(
            record.events(),
            ["shutting down", "made", "data still there?", "lost Stopped", "during false"]
        );
    });
}

#[test]
fn a_hold_holds_up_nothing_but_the_phase_before() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let kept: Rc<RefCell<Vec<PhaseGuard>>> = Rc::default();
        for phase in [Phase::During, Phase::After] {
            for event in [SystemEvent::Startup, SystemEvent::Shutdown] {
                let kept = Rc::clone(&kept);
                reactor.add_system_event_trigger(phase, event, move |_, hold| kept.borrow_mut().push(hold));
            }
        }
        stop(&mut reactor);
        world.run(&mut reactor);
        assert_eq!(kept.borrow().len(), 4);
    });
}

#[test]
fn a_trigger_can_change_those_of_its_own_and_later_phases() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let record = Record::new();
        let (own, doomed) = (Rc::new(Cell::new(None::<TriggerId>)), Rc::new(RefCell::new(Vec::new())));
        let (this, others, added) = (Rc::clone(&own), Rc::clone(&doomed), record.clone());
        let first =
            reactor.add_system_event_trigger(Phase::Before, SystemEvent::Startup, move |reactor, _| {
                let spent = reactor.remove_system_event_trigger(this.get().unwrap());
                assert!(matches!(spent, Err(Error::NoSuchTrigger)), "it runs already");
                for other in others.borrow_mut().drain(..) {
                    reactor.remove_system_event_trigger(other).unwrap();
                    assert!(matches!(reactor.remove_system_event_trigger(other), Err(Error::NoSuchTrigger)));
                }
                note(reactor, Phase::Before, SystemEvent::Startup, &added, "added before");
                note(reactor, Phase::After, SystemEvent::Startup, &added, "added after");
            });
        own.set(Some(first));
        for phase in [Phase::Before, Phase::During, Phase::After] {
            doomed.borrow_mut().push(note(&mut reactor, phase, SystemEvent::Startup, &record, "removed"));
        }
        note(&mut reactor, Phase::During, SystemEvent::Startup, &record, "during");
        stop(&mut reactor);
        world.run(&mut reactor);
        assert_eq!(record.events(), ["added before false", "during true", "added after true"]);
    });
}

#[test]
fn a_trigger_that_panics_stops_neither_the_others_nor_the_event() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let record = Record::new();
        for event in [SystemEvent::Startup, SystemEvent::Shutdown] {
            for phase in [Phase::Before, Phase::During, Phase::After] {
                // The panic drops its guard.
                reactor.add_system_event_trigger(phase, event, |_, _hold| panic!("no"));
                note(&mut reactor, phase, event, &record, "next");
            }
        }
        stop(&mut reactor);
        world.run(&mut reactor);
        assert_eq!(record.events().len(), 6);
        assert_eq!(world.logged(), ["panic in a system event trigger: no"; 6]);
        assert_eq!(reactor.statistics().panics, 6);
    });
}

#[test]
fn a_reactor_dropped_while_running_notifies_its_connections() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let record = Record::new();
        let listener =
            reactor.listen_tcp(world.anywhere(), once(Recorder::named("server", &record), &record)).unwrap();
        let client = once(Recorder::named("client", &record), &record);
        reactor.connect_tcp(listener.address(), client).unwrap();
        world.run_until(&mut reactor, "both made", |_| {
            record.has("client: made") && record.has("server: made")
        });
        note(&mut reactor, Phase::After, SystemEvent::Shutdown, &record, "after");
        drop(reactor);
        for event in ["server: lost Stopped", "client: lost Stopped", "gone Stopped", "after false"] {
            assert_eq!(record.count(event), 1, "{event}");
        }
        assert_eq!(record.count("stopped"), 2, "both factories");
    });
}
