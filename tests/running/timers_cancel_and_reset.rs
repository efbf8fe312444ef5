//! A timed call can be cancelled, reset and postponed until it runs. After that its handle is
//! inactive.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use crate::world::{Record, Recorder, idle_protocol, on_each_back_end};
use twistor::{DelayedCall, Error, Reactor, Result};

const SOON: Duration = Duration::from_millis(1);
const LATER: Duration = Duration::from_secs(60);

fn is_not_active(result: Result<()>) -> bool {
    matches!(result, Err(Error::TimerNotActive))
}

/// Checks that a handle is inactive for every operation.
fn means_nothing(call: DelayedCall, reactor: &mut Reactor) -> bool {
    is_not_active(call.cancel(reactor))
        && is_not_active(call.reset(reactor, SOON))
        && is_not_active(call.delay(reactor, SOON))
        && !call.active(reactor)
        && call.time(reactor).is_none()
}

#[test]
fn a_cancelled_call_never_comes_and_is_dropped_at_once() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let held = Rc::new(());
        let inside = Rc::clone(&held);
        let call = reactor.call_later(SOON, move |_| {
            let _ = &inside;
            panic!("it came");
        });
        assert!(call.active(&reactor));
        call.cancel(&mut reactor).unwrap();
        assert_eq!(Rc::strong_count(&held), 1, "what it held is free");
        assert_eq!(reactor.delayed_call_count(), 0);
        assert!(means_nothing(call, &mut reactor));
        let record = Record::new();
        let after = record.clone();
        reactor.call_later(SOON * 2, move |_| after.add("after"));
        world.run_until_idle(&mut reactor);
        assert_eq!((record.events(), reactor.statistics().timed_calls), (vec!["after".to_owned()], 1));
    });
}

#[test]
fn the_name_of_a_call_that_came_means_nothing() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let call = reactor.call_later(SOON, |_| {});
        world.run_until_idle(&mut reactor);
        assert!(means_nothing(call, &mut reactor));
        // A call that reuses the slot is not affected.
        let next = reactor.call_later(LATER, |_| {});
        assert!(means_nothing(call, &mut reactor));
        assert!(next.active(&reactor));
        next.cancel(&mut reactor).unwrap();
    });
}

#[test]
fn inside_the_call_it_counts_as_called() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let name: Rc<Cell<Option<DelayedCall>>> = Rc::default();
        let meant_nothing = Rc::new(Cell::new(false));
        let (own, noted) = (Rc::clone(&name), Rc::clone(&meant_nothing));
        let call = reactor.call_later(SOON, move |reactor| {
            noted.set(means_nothing(own.get().unwrap(), reactor));
        });
        name.set(Some(call));
        world.run_until_idle(&mut reactor);
        assert!(meant_nothing.get());
    });
}

#[test]
fn a_call_can_cancel_another_that_is_due_at_the_same_instant() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let names: Rc<Cell<Option<DelayedCall>>> = Rc::default();
        let record = Record::new();
        let (target, first) = (Rc::clone(&names), record.clone());
        reactor.call_later(SOON, move |reactor| {
            first.add("first");
            target.get().unwrap().cancel(reactor).unwrap();
        });
        let second = reactor.call_later(SOON, |_| panic!("it came"));
        let third = record.clone();
        reactor.call_later(SOON, move |_| third.add("third"));
        names.set(Some(second));
        world.run_until_idle(&mut reactor);
        assert_eq!(record.events(), ["first", "third"]);
    });
}

#[test]
fn a_call_can_put_off_another_that_is_due_at_the_same_instant() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let names: Rc<Cell<Option<DelayedCall>>> = Rc::default();
        let record = Record::new();
        let (target, first) = (Rc::clone(&names), record.clone());
        reactor.call_later(SOON, move |reactor| {
            first.add("first");
            target.get().unwrap().delay(reactor, SOON).unwrap();
        });
        let second = record.clone();
        names.set(Some(reactor.call_later(SOON, move |_| second.add("second"))));
        let third = record.clone();
        reactor.call_later(SOON, move |_| third.add("third"));
        world.run_until_idle(&mut reactor);
        assert_eq!(record.events(), ["first", "third", "second"]);
    });
}

#[test]
fn reset_counts_from_now_and_delay_from_the_time_it_was_due() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let call = reactor.call_later(LATER, |_| {});
        let due = call.time(&reactor).unwrap();
        call.delay(&mut reactor, LATER).unwrap();
        assert_eq!(call.time(&reactor), Some(due + LATER));
        call.reset(&mut reactor, SOON).unwrap();
        assert_eq!(call.time(&reactor), Some(reactor.now() + SOON));
        assert_eq!(reactor.delayed_call_count(), 1);
        world.run_until_idle(&mut reactor);
        assert!(!call.active(&reactor));
    });
}

#[test]
fn a_call_that_was_reset_comes_at_its_new_time_only() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let record = Record::new();
        let mut set = |milliseconds: u64, name: &'static str| {
            let record = record.clone();
            reactor.call_later(Duration::from_millis(milliseconds), move |_| record.add(name))
        };
        let sooner = set(60_000, "sooner");
        let later = set(1, "later");
        set(3, "between");
        sooner.reset(&mut reactor, Duration::from_millis(2)).unwrap();
        later.reset(&mut reactor, Duration::from_millis(5)).unwrap();
        world.run_until_idle(&mut reactor);
        assert_eq!(record.events(), ["sooner", "between", "later"]);
    });
}

#[test]
fn a_connections_call_is_dropped_with_the_connection() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let record = Record::new();
        let held = Rc::new(());
        let inside = Rc::clone(&held);
        let listener = reactor.listen_tcp(world.anywhere(), idle_protocol).unwrap();
        let client = Recorder::new(&record).acting(move |what, transport, _| {
            if what == "made" {
                let inside = Rc::clone(&inside);
                transport.call_later(SOON, |this: &mut Recorder, _| this.record.add("called"));
                transport.call_later(SOON * 2, move |_: &mut Recorder, transport| {
                    let _inside = &inside;
                    // One call that is due at the same time, and one far in the future.
                    transport.call_later(Duration::ZERO, |_: &mut Recorder, _| panic!("it came"));
                    transport.call_later(LATER, |_: &mut Recorder, _| panic!("it came"));
                    transport.abort_connection();
                });
            } else if what == "lost" {
                let inside = Rc::clone(&inside);
                transport.call_later(SOON, move |_: &mut Recorder, _| {
                    let _inside = &inside;
                    panic!("it came");
                });
            }
        });
        world.ask(&mut reactor, &listener, client);
        world.run_until(&mut reactor, "lost", |_| record.has("lost Aborted"));
        assert_eq!(record.events(), ["made", "called", "lost Aborted"]);
        assert_eq!(Rc::strong_count(&held), 1);
        world.close(&mut reactor, &listener);
    });
}
