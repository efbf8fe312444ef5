//! A cancelled Deferred is given up by its producer, and fails as cancelled.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use crate::world::{Record, on_each_back_end};
use twistor::deferred::{AlreadyCalled, FailureKind, defer_later};
use twistor::{Deferred, Failure, Reactor, Resolver};

fn turn(reactor: &mut Reactor) {
    assert!(reactor.iterate(Some(Duration::ZERO)).unwrap());
}

/// Notes what came at its end.
fn noted(deferred: Deferred<u32>, record: &Record) {
    let record = record.clone();
    deferred.done(move |_, outcome| match outcome {
        Ok(value) => record.add(value.to_string()),
        Err(failure) => record.add(failure.to_string()),
    });
}

#[test]
fn a_cancel_without_a_canceller_tolerates_one_late_firing() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let record = Record::new();
        let (resolver, deferred) = Deferred::new(&reactor.handle());
        deferred.cancel();
        deferred.cancel();
        noted(deferred, &record);
        assert_eq!(record.events(), [] as [String; 0], "nothing is called inside the call");
        turn(&mut reactor);
        assert_eq!(record.events(), ["cancelled"]);
        assert!(resolver.is_fired());
        assert_eq!(resolver.callback(1), Ok(()));
        assert_eq!(resolver.callback(2), Err(AlreadyCalled));
        turn(&mut reactor);
        assert_eq!(record.events().len(), 1);
    });
}

#[test]
fn the_canceller_runs_once_from_the_loop_and_late_firing_fails() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let record = Record::new();
        let called = record.clone();
        let canceller = move |_: &mut Reactor, _: &Resolver<u32>| called.add("canceller");
        let (resolver, deferred) = Deferred::with_canceller(&reactor.handle(), canceller);
        deferred.cancel();
        deferred.cancel();
        noted(deferred, &record);
        assert_eq!(record.events(), [] as [String; 0]);
        turn(&mut reactor);
        assert_eq!(record.events(), ["canceller", "cancelled"]);
        assert_eq!(resolver.callback(1), Err(AlreadyCalled));
    });
}

#[test]
fn a_canceller_may_fire_it_with_a_result_or_a_failure() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let record = Record::new();
        let (_result, deferred) = Deferred::with_canceller(&reactor.handle(), |_, resolver| {
            resolver.callback(7).unwrap();
        });
        let (_failure, other) = Deferred::with_canceller(&reactor.handle(), |_, resolver| {
            resolver.errback(Failure::new("given up")).unwrap();
        });
        for deferred in [deferred, other] {
            deferred.cancel();
            noted(deferred, &record);
        }
        turn(&mut reactor);
        assert_eq!(record.events(), ["7", "given up"]);
    });
}

#[test]
fn a_canceller_that_drops_the_last_resolver_has_cancelled_it() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let record = Record::new();
        let place = Rc::new(Cell::new(None));
        let held = Rc::clone(&place);
        let canceller = move |_: &mut Reactor, _: &Resolver<u32>| drop(held.take());
        let (resolver, deferred) = Deferred::with_canceller(&reactor.handle(), canceller);
        place.set(Some(resolver));
        deferred.cancel();
        noted(deferred, &record);
        turn(&mut reactor);
        assert_eq!(record.events(), ["cancelled"]);
    });
}

#[test]
fn a_canceller_that_panics_is_the_failure() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let (_resolver, mut deferred) =
            Deferred::<u32>::with_canceller(&reactor.handle(), |_, _| panic!("not so fast"));
        deferred.cancel();
        turn(&mut reactor);
        let failure = deferred.take_outcome().unwrap().unwrap_err();
        assert!(matches!(failure.kind(), FailureKind::Panicked(text) if text == "not so fast"));
        assert_eq!(world.logged(), ["panic in a queued call: not so fast"]);
    });
}

#[test]
fn what_is_fired_before_the_canceller_had_its_turn_counts() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let record = Record::new();
        let (resolver, deferred) =
            Deferred::with_canceller(&reactor.handle(), |_, _| panic!("there is nothing to cancel"));
        deferred.cancel();
        assert!(!resolver.is_fired());
        resolver.callback(1).unwrap();
        noted(deferred, &record);
        turn(&mut reactor);
        assert_eq!(record.events(), ["1"]);
    });
}

#[test]
fn a_fired_deferred_cannot_be_cancelled_even_before_callbacks() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let record = Record::new();
        let (resolver, deferred) = Deferred::with_canceller(&reactor.handle(), |_, _| panic!("it has come"));
        resolver.callback(1).unwrap();
        let deferred = deferred.map(|_, number: u32| number + 1);
        deferred.cancel();
        turn(&mut reactor);
        deferred.cancel();
        noted(deferred, &record);
        turn(&mut reactor);
        assert_eq!(record.events(), ["2"]);
    });
}

#[test]
fn while_it_waits_for_another_that_one_is_cancelled() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let record = Record::new();
        let called = record.clone();
        let canceller = move |_: &mut Reactor, _: &Resolver<u32>| called.add("canceller of the inner one");
        let (inner, waited_for) = Deferred::<u32>::with_canceller(&reactor.handle(), canceller);
        let outer = |_: &mut Reactor, _: &Resolver<()>| panic!("the outer one was fired");
        let (resolver, deferred) = Deferred::with_canceller(&reactor.handle(), outer);
        resolver.callback(()).unwrap();
        let deferred = deferred.then(|_, ()| waited_for).or_else(|_, failure| {
            assert!(failure.is_cancelled());
            Ok(9)
        });
        turn(&mut reactor);
        deferred.cancel();
        noted(deferred, &record);
        turn(&mut reactor);
        assert_eq!(record.events(), ["canceller of the inner one", "9"]);
        assert!(inner.is_fired());
    });
}

#[test]
fn dropping_an_unfired_deferred_cancels_it_and_runs_callbacks() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let record = Record::new();
        let (heard, called) = (record.clone(), record.clone());
        let canceller = move |_: &mut Reactor, _: &Resolver<u32>| called.add("canceller");
        let (resolver, deferred) = Deferred::with_canceller(&reactor.handle(), canceller);
        drop(deferred.inspect(move |_, outcome| heard.add(outcome.unwrap_err().to_string())));
        assert!(!resolver.is_fired());
        turn(&mut reactor);
        assert_eq!(record.events(), ["canceller", "cancelled"]);
    });
}

#[test]
fn dropped_after_it_was_fired_it_runs_to_its_end() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let record = Record::new();
        let ran = record.clone();
        drop(Deferred::succeed(&reactor.handle(), 1).map(move |_, number| ran.add(number.to_string())));
        turn(&mut reactor);
        assert_eq!(record.events(), ["1"]);
    });
}

#[test]
fn a_detached_deferred_goes_on_and_its_handle_can_cancel_it() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let record = Record::new();
        for cancels in [false, true] {
            let noted = record.clone();
            let deferred = defer_later(&mut reactor, Duration::from_millis(2)).inspect(move |_, outcome| {
                noted.add(format!("{outcome:?}").split([' ', '(']).next().unwrap())
            });
            let handle = deferred.cancel_handle();
            deferred.detach();
            if cancels {
                handle.clone().cancel();
            }
            world.run_until_idle(&mut reactor);
            turn(&mut reactor);
            handle.cancel();
        }
        assert_eq!(record.events(), ["Ok", "Err"]);
    });
}

#[test]
fn a_cancelled_timer_leaves_nothing_behind() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let mut deferred = defer_later(&mut reactor, Duration::from_secs(60));
        assert_eq!(reactor.delayed_call_count(), 1);
        deferred.cancel();
        turn(&mut reactor);
        assert_eq!(reactor.delayed_call_count(), 0);
        assert!(deferred.take_outcome().unwrap().unwrap_err().is_cancelled());
        drop(defer_later(&mut reactor, Duration::from_secs(60)));
        turn(&mut reactor);
        assert_eq!(reactor.delayed_call_count(), 0, "dropped, it is cancelled");
    });
}

#[test]
fn a_timer_as_a_deferred_fires_when_its_time_has_come() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let due = reactor.now() + Duration::from_millis(3);
        let came = Rc::new(Cell::new(false));
        let coming = Rc::clone(&came);
        defer_later(&mut reactor, Duration::from_millis(3)).done(move |reactor, outcome| {
            outcome.unwrap();
            assert!(reactor.now() >= due);
            coming.set(true);
        });
        world.run_until(&mut reactor, "it", |_| came.get());
    });
}
