//! An outcome goes through the callbacks of a Deferred in their order, from the loop, and through each once.

use std::cell::{Cell, RefCell};
use std::fmt::Display;
use std::num::ParseIntError;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::time::Duration;

use crate::world::{Record, on_each_back_end};
use twistor::deferred::{AlreadyCalled, FailureKind};
use twistor::{Deferred, Failure, Reactor, Resolver};

/// Notes an outcome under a name.
fn note<T: Display + 'static>(
    record: &Record,
    name: &'static str,
) -> impl FnOnce(&mut Reactor, Result<T, Failure>) + 'static {
    let record = record.clone();
    move |_, outcome| match outcome {
        Ok(value) => record.add(format!("{name}: {value}")),
        Err(failure) => record.add(format!("{name} failed: {failure}")),
    }
}

fn turn(reactor: &mut Reactor) {
    assert!(reactor.iterate(Some(Duration::ZERO)).unwrap());
}

#[test]
fn each_callback_gets_the_previous_result_of_any_type() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let record = Record::new();
        let (resolver, deferred) = Deferred::<&str>::new(&reactor.handle());
        deferred
            .then(|_, text| Ok(text.parse::<u32>()?))
            .map(|_, number| vec![number; 3])
            .map(|_, numbers| numbers.iter().sum::<u32>() + 1)
            .map(|_, sum| sum * 2)
            .map(|_, sum| format!("<{sum}>"))
            .done(note(&record, "end"));
        resolver.callback("7").unwrap();
        turn(&mut reactor);
        assert_eq!(record.events(), ["end: <44>"]);
    });
}

#[test]
fn no_callback_runs_inside_the_call_that_fires_it_or_adds_it() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let record = Record::new();
        let (resolver, deferred) = Deferred::<u32>::new(&reactor.handle());
        deferred.done(note(&record, "added before"));
        resolver.callback(1).unwrap();
        Deferred::succeed(&reactor.handle(), 2).done(note(&record, "added after"));
        Deferred::<u32>::fail(&reactor.handle(), Failure::new("no")).done(note(&record, "failed"));
        assert_eq!(record.events(), [] as [String; 0]);
        turn(&mut reactor);
        assert_eq!(record.events(), ["added before: 1", "added after: 2", "failed failed: no"]);
    });
}

#[test]
fn a_whole_chain_runs_in_one_go() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let (resolver, deferred) = Deferred::<()>::new(&reactor.handle());
        let turns = Rc::new(Cell::new(0));
        let end = Rc::clone(&turns);
        let mut deferred = deferred.map(|reactor, ()| reactor.statistics().turns);
        for _ in 0..100 {
            deferred = deferred.map(|reactor, first| {
                assert_eq!(reactor.statistics().turns, first);
                first
            });
        }
        deferred.done(move |_, outcome| end.set(outcome.unwrap()));
        resolver.callback(()).unwrap();
        turn(&mut reactor);
        assert_ne!(turns.get(), 0);
    });
}

#[test]
fn a_failure_skips_callbacks_until_an_errback_recovers() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let record = Record::new();
        let (resolver, deferred) = Deferred::<&str>::new(&reactor.handle());
        let (errback, looked) = (record.clone(), record.clone());
        deferred
            .or_else(|_, _| -> Result<&str, Failure> { panic!("nothing has failed") })
            .then(|_, text| Ok(text.parse::<u32>()?))
            .map(|_, _| -> u32 { panic!("there is no result") })
            .inspect(move |_, outcome| looked.add(format!("seen: {}", outcome.is_err())))
            .or_else(move |_, failure| {
                errback.add(format!("{failure} {}", failure.downcast_ref::<ParseIntError>().is_some()));
                Ok(5)
            })
            .map(|_, number| number + 1)
            .done(note(&record, "end"));
        resolver.callback("x").unwrap();
        turn(&mut reactor);
        assert_eq!(record.events(), ["seen: true", "invalid digit found in string true", "end: 6"]);
    });
}

#[test]
fn a_callbacks_failure_does_not_reach_the_errback_beside_it() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let record = Record::new();
        let pair = |deferred: Deferred<u32>| {
            deferred.then_else(
                |_, _| Err(Failure::new("the callback")),
                |_, failure| Ok(format!("errback of {failure}")),
            )
        };
        let handle = reactor.handle();
        pair(Deferred::succeed(&handle, 1)).done(note(&record, "result"));
        pair(Deferred::fail(&handle, Failure::new("before"))).done(note(&record, "failure"));
        turn(&mut reactor);
        assert_eq!(record.events(), ["result failed: the callback", "failure: errback of before"]);
    });
}

#[test]
fn a_callback_that_a_callback_adds_comes_at_the_end() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let record = Record::new();
        let (resolver, deferred) = Deferred::<u32>::new(&reactor.handle());
        let place: Rc<RefCell<Option<Deferred<u32>>>> = Rc::default();
        let (own, noted) = (Rc::clone(&place), record.clone());
        let deferred = deferred.map(move |_, number| {
            let deferred = own.borrow_mut().take().unwrap();
            let late = noted.clone();
            deferred.done(move |_, outcome| late.add(format!("added: {}", outcome.unwrap())));
            noted.add("first");
            number + 1
        });
        let second = record.clone();
        let deferred = deferred.inspect(move |_, _| second.add("second"));
        *place.borrow_mut() = Some(deferred);
        resolver.callback(1).unwrap();
        turn(&mut reactor);
        assert_eq!(record.events(), ["first", "second", "added: 2"]);
    });
}

#[test]
fn it_is_fired_once_and_who_fires_it_again_is_told() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let record = Record::new();
        let (resolver, deferred) = Deferred::<u32>::new(&reactor.handle());
        let clone = resolver.clone();
        assert!(!resolver.is_fired());
        assert_eq!(clone.callback(1), Ok(()));
        assert!(resolver.is_fired());
        assert_eq!(resolver.callback(2), Err(AlreadyCalled));
        assert_eq!(resolver.errback(Failure::new("late")), Err(AlreadyCalled));
        deferred.done(note(&record, "end"));
        turn(&mut reactor);
        assert_eq!(resolver.callback(3), Err(AlreadyCalled));
        assert_eq!(record.events(), ["end: 1"]);
    });
}

#[test]
fn a_panic_in_a_callback_is_a_failure_of_the_chain() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let record = Record::new();
        let (kind, value) = (record.clone(), Rc::new(()));
        let held = Rc::clone(&value);
        Deferred::succeed(&reactor.handle(), held)
            .map(|_, _held| -> u32 { panic!("no way") })
            .or_else(move |_, failure| {
                assert!(matches!(failure.kind(), FailureKind::Panicked(text) if text == "no way"));
                kind.add(failure.to_string());
                Err(failure)
            })
            .done(note(&record, "end"));
        turn(&mut reactor);
        let said = "it panicked: no way";
        assert_eq!(record.events(), [said.to_owned(), format!("end failed: {said}")]);
        assert_eq!(Rc::strong_count(&value), 1);
        assert_eq!((reactor.statistics().panics, world.logged().len()), (1, 1));
    });
}

#[test]
fn when_all_resolvers_are_dropped_it_fails() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let record = Record::new();
        let (resolver, deferred) = Deferred::<u32>::new(&reactor.handle());
        deferred
            .inspect(|_, outcome| assert!(outcome.unwrap_err().is_never_fired()))
            .done(note(&record, "end"));
        let clone = resolver.clone();
        drop(resolver);
        turn(&mut reactor);
        assert_eq!(record.events(), [] as [String; 0], "the clone is there");
        drop(clone);
        turn(&mut reactor);
        assert_eq!(record.events(), ["end failed: it was never fired"]);
    });
}

#[test]
fn it_can_be_fired_in_a_drop_and_by_a_callback_of_another() {
    struct Fires(Resolver<u32>);

    impl Drop for Fires {
        fn drop(&mut self) {
            self.0.callback(1).unwrap();
        }
    }

    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let record = Record::new();
        let (first, from_drop) = Deferred::<u32>::new(&reactor.handle());
        let (second, from_callback) = Deferred::<u32>::new(&reactor.handle());
        from_drop.done(move |_, outcome| second.callback(outcome.unwrap() + 1).unwrap());
        from_callback.done(note(&record, "end"));
        drop(Fires(first));
        world.run_until(&mut reactor, "both", |_| record.has("end: 2"));
    });
}

#[test]
fn the_outcome_can_be_taken_when_no_callback_is_left() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let (resolver, deferred) = Deferred::<u32>::new(&reactor.handle());
        let mut deferred = deferred.map(|_, number| number + 1);
        assert!(deferred.take_outcome().is_none(), "it is not fired");
        resolver.callback(1).unwrap();
        assert!(deferred.take_outcome().is_none(), "the callback has not run");
        turn(&mut reactor);
        assert_eq!(deferred.take_outcome().unwrap().unwrap(), 2);
        assert!(deferred.take_outcome().is_none(), "it is taken");
    });
}

#[test]
fn an_endless_chain_keeps_nobody_waiting() {
    on_each_back_end(|world| {
        fn forever(reactor: &mut Reactor, wanted: Rc<Cell<bool>>, rounds: Rc<Cell<u64>>) -> Deferred<()> {
            Deferred::succeed(&reactor.handle(), ()).then(move |reactor, ()| {
                rounds.set(rounds.get() + 1);
                if wanted.get() {
                    forever(reactor, wanted, rounds)
                } else {
                    Deferred::succeed(&reactor.handle(), ())
                }
            })
        }
        let mut reactor = world.reactor();
        let (wanted, rounds) = (Rc::new(Cell::new(true)), Rc::new(Cell::new(0)));
        let record = Record::new();
        forever(&mut reactor, Rc::clone(&wanted), Rc::clone(&rounds))
            .map(|_, ()| "over")
            .done(note(&record, "end"));
        let stop = Rc::clone(&wanted);
        reactor.call_later(Duration::ZERO, move |reactor| {
            reactor.call_later(Duration::ZERO, move |_| stop.set(false));
        });
        world.run_until_idle(&mut reactor);
        world.run_until(&mut reactor, "its end", |_| record.has("end: over"));
        assert!(rounds.get() > 500, "{}", rounds.get());
    });
}

#[test]
fn what_waits_when_the_reactor_ends_is_dropped_and_not_called() {
    on_each_back_end(|world| {
        let reactor = world.reactor();
        let held = Rc::new(());
        let (resolver, deferred) = Deferred::<u32>::new(&reactor.handle());
        let inside = Rc::clone(&held);
        deferred.done(move |_, _| drop(inside));
        let (other, never_fired) = Deferred::<u32>::new(&reactor.handle());
        let inside = Rc::clone(&held);
        never_fired.done(move |_, _| drop(inside));
        resolver.callback(1).unwrap();
        drop(reactor);
        drop(resolver);
        assert_eq!(Rc::strong_count(&held), 2);
        drop(other);
        assert_eq!(Rc::strong_count(&held), 1);
    });
}

/// Panics when it is dropped.
struct Bomb;

impl Drop for Bomb {
    fn drop(&mut self) {
        assert!(std::thread::panicking(), "dropped");
    }
}

#[test]
fn a_canceller_whose_drop_panics_keeps_no_callback_from_running() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let (bomb, record) = (Bomb, Record::new());
        let (resolver, deferred) = Deferred::with_canceller(&reactor.handle(), move |_, _| {
            let _bomb = &bomb;
        });
        let noted = record.clone();
        deferred.done(move |_, outcome| noted.add(format!("{:?}", outcome.ok())));
        assert!(catch_unwind(AssertUnwindSafe(|| resolver.callback(7))).is_err());
        turn(&mut reactor);
        assert_eq!(record.events(), ["Some(7)"]);
    });
}
