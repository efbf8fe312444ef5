//! While a Deferred is paused no callback of it runs, and its outcome stays where it is.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use crate::world::{Record, on_each_back_end};
use twistor::{Deferred, Reactor};

fn turn(reactor: &mut Reactor) {
    assert!(reactor.iterate(Some(Duration::ZERO)).unwrap());
}

#[test]
fn its_callbacks_wait_until_the_last_pause_has_ended() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let record = Record::new();
        let ran = record.clone();
        let (resolver, deferred) = Deferred::<u32>::new(&reactor.handle());
        let first = deferred.pause();
        let deferred = deferred.map(move |_, number| ran.add(number.to_string()));
        let second = deferred.pause();
        resolver.callback(1).unwrap();
        turn(&mut reactor);
        first.unpause();
        turn(&mut reactor);
        assert_eq!(record.events(), [] as [String; 0]);
        drop(second);
        assert_eq!(record.events(), [] as [String; 0], "not inside the call");
        turn(&mut reactor);
        assert_eq!(record.events(), ["1"]);
        drop(deferred);
    });
}

#[test]
fn a_callback_may_pause_those_behind_it() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let record = Record::new();
        let place: Rc<RefCell<Option<Deferred<()>>>> = Rc::default();
        let pause = Rc::new(Cell::new(None));
        let (resolver, deferred) = Deferred::<u32>::new(&reactor.handle());
        let (own, paused, first, second) =
            (Rc::clone(&place), Rc::clone(&pause), record.clone(), record.clone());
        let deferred = deferred.map(move |_, number| {
            paused.set(own.borrow().as_ref().map(Deferred::pause));
            first.add("first");
            number + 1
        });
        *place.borrow_mut() = Some(deferred.map(move |_, number| second.add(number.to_string())));
        resolver.callback(1).unwrap();
        turn(&mut reactor);
        turn(&mut reactor);
        assert_eq!(record.events(), ["first"]);
        drop(pause.take().unwrap());
        turn(&mut reactor);
        assert_eq!(record.events(), ["first", "2"]);
    });
}

#[test]
fn one_that_is_paused_holds_up_whoever_waits_for_it() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let record = Record::new();
        let ran = record.clone();
        let inner = Deferred::succeed(&reactor.handle(), 5);
        let pause = inner.pause();
        Deferred::succeed(&reactor.handle(), ())
            .then(|_, ()| inner)
            .done(move |_, outcome| ran.add(outcome.unwrap().to_string()));
        turn(&mut reactor);
        turn(&mut reactor);
        assert_eq!(record.events(), [] as [String; 0]);
        pause.unpause();
        turn(&mut reactor);
        assert_eq!(record.events(), ["5"]);
    });
}

#[test]
fn its_outcome_cannot_be_taken_while_it_is_paused() {
    on_each_back_end(|world| {
        let reactor = world.reactor();
        let mut deferred = Deferred::succeed(&reactor.handle(), 5);
        let pause = deferred.pause();
        assert!(deferred.take_outcome().is_none());
        drop(pause);
        assert_eq!(deferred.take_outcome().unwrap().unwrap(), 5);
    });
}

#[test]
fn it_can_be_cancelled_while_it_is_paused() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let record = Record::new();
        let (called, ran) = (record.clone(), record.clone());
        let (_resolver, deferred) =
            Deferred::<u32>::with_canceller(&reactor.handle(), move |_, _| called.add("canceller"));
        let pause = deferred.pause();
        deferred.cancel();
        deferred.done(move |_, outcome| ran.add(outcome.unwrap_err().to_string()));
        turn(&mut reactor);
        assert_eq!(record.events(), ["canceller"]);
        drop(pause);
        turn(&mut reactor);
        assert_eq!(record.events(), ["canceller", "cancelled"]);
    });
}
