//! A callback may return another Deferred, whose outcome is waited for; and however many wait for each other, the stack
//! stays flat.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use crate::world::{Record, World, on_each_back_end};
use twistor::deferred::FailureKind;
use twistor::{Deferred, Failure, Reactor, Resolver};

const MANY: usize = 100_000;

/// Runs a promise on a stack on which no hundred thousand frames have room.
fn on_a_small_stack(promise: fn(&World)) {
    let thread = std::thread::Builder::new().stack_size(256 * 1024);
    let promised = thread.spawn(move || on_each_back_end(promise)).unwrap().join();
    promised.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
}

fn turn(reactor: &mut Reactor) {
    assert!(reactor.iterate(Some(Duration::ZERO)).unwrap());
}

/// A place that says what came.
fn outcome_of<T: 'static>(deferred: Deferred<T>) -> Rc<Cell<Option<Result<T, Failure>>>> {
    let place = Rc::new(Cell::new(None));
    let noted = Rc::clone(&place);
    deferred.done(move |_, outcome| noted.set(Some(outcome)));
    place
}

fn run_until_there<T>(world: &World, reactor: &mut Reactor, place: &Cell<Option<T>>) -> T {
    let there = |_: &mut Reactor| {
        let value = place.take();
        let there = value.is_some();
        place.set(value);
        there
    };
    world.run_until(reactor, "the outcome", there);
    place.take().unwrap()
}

#[test]
fn later_callbacks_wait_for_a_returned_deferred() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let record = Record::new();
        let (inner, waited_for) = Deferred::<u32>::new(&reactor.handle());
        let (resolver, deferred) = Deferred::<u32>::new(&reactor.handle());
        let (begun, ended) = (record.clone(), record.clone());
        deferred
            .then(move |_, number| {
                begun.add("waits");
                waited_for.map(move |_, other| number + other)
            })
            .done(move |_, outcome| ended.add(outcome.unwrap().to_string()));
        resolver.callback(1).unwrap();
        turn(&mut reactor);
        turn(&mut reactor);
        assert_eq!(record.events(), ["waits"]);
        inner.callback(10).unwrap();
        turn(&mut reactor);
        assert_eq!(record.events(), ["waits", "11"]);
    });
}

#[test]
fn a_returned_deferred_that_has_fired_is_not_waited_for() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let place = outcome_of(Deferred::succeed(&reactor.handle(), 1).then(|reactor, number| {
            Deferred::succeed(&reactor.handle(), number + 1).map(|_, number| number * 10)
        }));
        turn(&mut reactor);
        assert_eq!(place.take().unwrap().unwrap(), 20);
    });
}

#[test]
fn the_failure_of_an_awaited_deferred_fails_the_outer_one() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let (inner, waited_for) = Deferred::<u32>::new(&reactor.handle());
        let begin = Deferred::succeed(&reactor.handle(), ());
        let place = outcome_of(begin.then(|_, ()| waited_for).or_else(|_, failure| {
            assert_eq!(failure.to_string(), "no");
            Ok(3)
        }));
        turn(&mut reactor);
        inner.errback(Failure::new("no")).unwrap();
        turn(&mut reactor);
        assert_eq!(place.take().unwrap().unwrap(), 3);
    });
}

#[test]
fn an_errback_may_return_a_deferred() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let (second, retried) = Deferred::<u32>::new(&reactor.handle());
        let first = Deferred::<u32>::fail(&reactor.handle(), Failure::new("no"));
        let place = outcome_of(first.or_else(|_, _| retried));
        turn(&mut reactor);
        second.callback(2).unwrap();
        turn(&mut reactor);
        assert_eq!(place.take().unwrap().unwrap(), 2);
    });
}

#[test]
fn a_callback_that_returns_its_own_deferred_fails() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let (resolver, deferred) = Deferred::<u32>::new(&reactor.handle());
        let place: Rc<RefCell<Option<Deferred<u32>>>> = Rc::default();
        let own = Rc::clone(&place);
        let held = Rc::new(());
        let inside = Rc::clone(&held);
        *place.borrow_mut() = Some(deferred.then(move |_, _| {
            drop(inside);
            own.borrow_mut().take().unwrap()
        }));
        resolver.callback(1).unwrap();
        turn(&mut reactor);
        assert_eq!(Rc::strong_count(&held), 1);
        let logged = world.logged();
        assert_eq!(logged.len(), 1);
        assert!(logged[0].contains("the Deferred waits for itself"), "{logged:?}");
    });
}

#[test]
fn deferreds_of_two_reactors_each_run_in_their_own() {
    on_each_back_end(|world| {
        let (mut here, mut there) = (world.reactor(), world.reactor());
        here.call_later(Duration::from_secs(60), |_| {});
        let delayed = |reactor: &mut Reactor| reactor.delayed_call_count();
        let (resolver, other) = Deferred::<()>::new(&there.handle());
        let other = other.map(move |reactor, ()| delayed(reactor));
        let place = outcome_of(
            Deferred::succeed(&here.handle(), ())
                .then(|_, ()| other)
                .map(move |reactor, elsewhere| (elsewhere, delayed(reactor))),
        );
        turn(&mut here);
        resolver.callback(()).unwrap();
        turn(&mut here);
        assert!(place.take().is_none(), "it is the other's");
        turn(&mut there);
        turn(&mut here);
        assert_eq!(place.take().unwrap().unwrap(), (0, 1));
    });
}

// -- a hundred thousand --

fn with_callbacks(deferred: Deferred<usize>) -> Deferred<usize> {
    (0..MANY).fold(deferred, |deferred, _| deferred.map(|_, number| number + 1))
}

#[test]
fn a_hundred_thousand_callbacks_run() {
    on_a_small_stack(|world| {
        let mut reactor = world.reactor();
        let (resolver, deferred) = Deferred::new(&reactor.handle());
        let place = outcome_of(with_callbacks(deferred));
        resolver.callback(0).unwrap();
        assert_eq!(run_until_there(world, &mut reactor, &place).unwrap(), MANY);
    });
}

#[test]
fn a_hundred_thousand_callbacks_can_be_cancelled() {
    on_a_small_stack(|world| {
        let mut reactor = world.reactor();
        let (resolver, deferred) = Deferred::new(&reactor.handle());
        let deferred = with_callbacks(deferred);
        let cancel = deferred.cancel_handle();
        let place = outcome_of(deferred);
        cancel.cancel();
        assert!(run_until_there(world, &mut reactor, &place).unwrap_err().is_cancelled());
        assert!(resolver.is_fired());
    });
}

#[test]
fn a_hundred_thousand_callbacks_can_be_dropped() {
    on_a_small_stack(|world| {
        let mut reactor = world.reactor();
        let held = Rc::new(());
        let (resolver, deferred) = Deferred::new(&reactor.handle());
        let deferred = (0..MANY).fold(deferred, |deferred: Deferred<()>, _| {
            let inside = Rc::clone(&held);
            deferred.map(move |_, ()| drop(inside))
        });
        drop(deferred);
        world.run_until(&mut reactor, "all are dropped", |_| Rc::strong_count(&held) == 1);
        drop(resolver);
    });
}

/// Each returned by the one before, the first fired.
fn nested(reactor: &mut Reactor, depth: usize) -> Deferred<usize> {
    let begin = Deferred::succeed(&reactor.handle(), ());
    if depth == 0 {
        return begin.map(|_, ()| 0);
    }
    begin.then(move |reactor, ()| nested(reactor, depth - 1)).map(|_, number| number + 1)
}

/// Each waits already for the one made before it.
fn waiting(world: &World, reactor: &mut Reactor) -> (Resolver<usize>, Deferred<usize>) {
    let (resolver, innermost) = Deferred::new(&reactor.handle());
    let mut deferred = innermost;
    let returned = Rc::new(Cell::new(0));
    for _ in 0..MANY {
        let count = Rc::clone(&returned);
        let begin = Deferred::succeed(&reactor.handle(), ());
        let inner = deferred;
        deferred = begin
            .then(move |_, ()| {
                count.set(count.get() + 1);
                inner
            })
            .map(|_, number| number + 1);
    }
    world.run_until(reactor, "all wait", |_| returned.get() == MANY);
    (resolver, deferred)
}

#[test]
fn a_hundred_thousand_nested_returned_deferreds_run() {
    on_a_small_stack(|world| {
        let mut reactor = world.reactor();
        let place = outcome_of(nested(&mut reactor, MANY));
        assert_eq!(run_until_there(world, &mut reactor, &place).unwrap(), MANY);
    });
}

#[test]
fn a_hundred_thousand_deferreds_that_wait_for_each_other_run() {
    on_a_small_stack(|world| {
        let mut reactor = world.reactor();
        let (resolver, deferred) = waiting(world, &mut reactor);
        let place = outcome_of(deferred);
        resolver.callback(5).unwrap();
        assert_eq!(run_until_there(world, &mut reactor, &place).unwrap(), MANY + 5);
    });
}

#[test]
fn a_hundred_thousand_chained_deferreds_can_be_cancelled() {
    on_a_small_stack(|world| {
        let mut reactor = world.reactor();
        let (resolver, deferred) = waiting(world, &mut reactor);
        deferred.cancel();
        let place = outcome_of(deferred);
        assert!(run_until_there(world, &mut reactor, &place).unwrap_err().is_cancelled());
        assert!(resolver.is_fired(), "the innermost was cancelled");
    });
}

#[test]
fn a_hundred_thousand_chained_deferreds_can_be_dropped() {
    on_a_small_stack(|world| {
        let mut reactor = world.reactor();
        let (resolver, deferred) = waiting(world, &mut reactor);
        drop(deferred);
        assert!(resolver.is_fired(), "the innermost was cancelled");
        turn(&mut reactor);
        // Those that were not told before their reactor ended.
        let (resolver, deferred) = waiting(world, &mut reactor);
        drop(reactor);
        drop((resolver, deferred));
    });
}

#[test]
fn callbacks_that_hold_the_next_resolver_can_be_dropped() {
    on_a_small_stack(|world| {
        let reactor = world.reactor();
        let handle = reactor.handle();
        let held = Rc::new(());
        let (first, mut last) = Deferred::<()>::new(&handle);
        for _ in 0..MANY {
            let (resolver, next) = Deferred::<()>::new(&handle);
            let inside = Rc::clone(&held);
            last.done(move |_, _| {
                drop(inside);
                let _ = resolver.callback(());
            });
            last = next;
        }
        drop(reactor);
        drop(first);
        drop(last);
        assert_eq!(Rc::strong_count(&held), 1);
    });
}

#[test]
fn deferreds_in_a_waiting_cycle_fail_and_are_dropped() {
    on_each_back_end(|world| {
        for (size, callbacks) in [(2, 0), (2, 1), (5, 0), (5, 1)] {
            let mut reactor = world.reactor();
            let (held, record) = (Rc::new(()), Record::new());
            let slot = Rc::new(RefCell::new(None::<Deferred<()>>));
            let (last, deferred) = Deferred::<()>::new(&reactor.handle());
            let own = Rc::clone(&slot);
            let mut line = deferred.then(move |_, ()| own.take().unwrap());
            for _ in 1..size {
                for _ in 0..callbacks {
                    let (inside, noted) = (Rc::clone(&held), record.clone());
                    line = line.or_else(move |_, failure| {
                        let _inside = inside;
                        assert!(matches!(failure.kind(), FailureKind::WaitsForItself), "{failure}");
                        noted.add("failed");
                        Err::<(), _>(failure)
                    });
                }
                let inside = Rc::clone(&held);
                line = Deferred::succeed(&reactor.handle(), ()).then(move |_, ()| {
                    let _inside = inside;
                    line
                });
            }
            let abort = line.cancel_handle();
            *slot.borrow_mut() = Some(line);
            turn(&mut reactor);
            last.callback(()).unwrap();
            turn(&mut reactor);
            abort.cancel();
            turn(&mut reactor);
            assert_eq!(record.events().len(), (size - 1) * callbacks);
            assert_eq!(Rc::strong_count(&held), 1);
            let logged = world.logged();
            assert!(logged.len() == 1 && logged[0].contains("the Deferred waits for itself"), "{logged:?}");
        }
    });
}
