//! An unhandled failure is logged, once, when it is dropped, with the place that made it.

use std::time::Duration;

use crate::world::on_each_back_end;
use twistor::deferred::{Cooperator, gather};
use twistor::{Deferred, Failure, LoopingCall, Reactor};

fn turn(reactor: &mut Reactor) {
    assert!(reactor.iterate(Some(Duration::ZERO)).unwrap());
}

#[test]
fn one_that_is_dropped_with_its_deferred_is_logged_at_once() {
    on_each_back_end(|world| {
        let reactor = world.reactor();
        let (made, failed) = (line!() + 1, line!() + 2);
        let (resolver, deferred) = Deferred::<u32>::new(&reactor.handle());
        resolver.errback(Failure::new("no such device")).unwrap();
        assert_eq!(world.logged(), [] as [String; 0]);
        drop(deferred);
        let file = file!();
        let expected = format!(
            "unhandled failure: no such device (from {file}:{failed}:26, in the Deferred of {file}:{made}:36)"
        );
        assert_eq!(world.logged(), [expected]);
    });
}

#[test]
fn a_failure_after_its_deferred_was_detached_is_logged() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let (resolver, deferred) = Deferred::<&str>::new(&reactor.handle());
        deferred.then(|_, text| Ok(text.parse::<u32>()?)).map(|_, number| number + 1).detach();
        resolver.callback("x").unwrap();
        assert_eq!(world.logged(), [] as [String; 0]);
        turn(&mut reactor);
        let logged = world.logged();
        assert_eq!(logged.len(), 1);
        assert!(
            logged[0].starts_with("unhandled failure: invalid digit found in string (from "),
            "{logged:?}"
        );
        let (resolver, deferred) = Deferred::<u32>::new(&reactor.handle());
        deferred.detach();
        resolver.errback(Failure::new("late")).unwrap();
        assert!(world.logged()[0].starts_with("unhandled failure: late (from "));
    });
}

#[test]
fn a_panic_is_logged_and_counted_once_even_if_it_is_handled() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let handle = reactor.handle();
        Deferred::succeed(&handle, 1).done(|_, _| panic!("unhandled"));
        let handled = Deferred::succeed(&handle, 1).map(|_, _| panic!("handled"));
        handled.or_else(|_, _| Ok(())).detach();
        let (resolver, deferred) = Deferred::<()>::with_canceller(&handle, |_, _| panic!("canceller"));
        drop(deferred);
        turn(&mut reactor);
        Deferred::<()>::from_future(&handle, async { panic!("future") }).detach();
        turn(&mut reactor);
        Cooperator::new(&handle).cooperate(|_| panic!("step")).detach();
        turn(&mut reactor);
        let looping = LoopingCall::new(|_, _| -> Result<(), Failure> { panic!("loop") });
        looping.start(&mut reactor, Duration::ZERO).unwrap().detach();
        turn(&mut reactor);
        gather(&handle, [Deferred::succeed(&handle, 1).map(|_, _| panic!("gathered"))])
            .map(|_, _: Vec<()>| ())
            .detach();
        turn(&mut reactor);
        turn(&mut reactor);
        drop(resolver);
        let expected = [
            "panic in a queued call: unhandled",
            "panic in a queued call: handled",
            "panic in a queued call: canceller",
            "panic in a task: future",
            "panic in a queued call: step",
            "panic in a timed call: loop",
            "panic in a queued call: gathered",
        ];
        assert_eq!(world.logged(), expected);
        assert_eq!(reactor.statistics().panics, expected.len() as u64);
    });
}

#[test]
fn those_that_were_looked_at_and_cancellations_are_not_logged() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let handle = reactor.handle();
        let no = || Failure::new("no");
        Deferred::<u32>::fail(&handle, no()).done(|_, outcome| drop(outcome));
        Deferred::<u32>::fail(&handle, no()).or_else(|_, _| Ok(1)).detach();
        assert!(Deferred::<u32>::fail(&handle, no()).take_outcome().is_some());
        let (resolver, deferred) = Deferred::<u32>::new(&handle);
        deferred.cancel();
        drop((resolver, deferred));
        turn(&mut reactor);
    });
}

#[test]
fn deferreds_left_unfired_by_the_reactors_end_are_not_logged() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let (resolver, deferred) = Deferred::<u32>::new(&reactor.handle());
        reactor.call_later(Duration::from_secs(60), move |_| drop(resolver));
        reactor.call_when_running(|reactor| {
            reactor.stop();
        });
        world.run(&mut reactor);
        drop(deferred);
    });
}

#[test]
fn a_failure_awaited_by_another_deferred_is_logged_once() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let (resolver, inner) = Deferred::<u32>::new(&reactor.handle());
        Deferred::succeed(&reactor.handle(), ()).then(|_, ()| inner).detach();
        turn(&mut reactor);
        resolver.errback(Failure::new("inner")).unwrap();
        turn(&mut reactor);
        assert_eq!(world.logged().len(), 1);
    });
}

#[test]
fn the_place_of_an_error_is_where_it_was_passed_on() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let deferred = Deferred::succeed(&reactor.handle(), "x");
        let line = line!() + 1;
        let mut deferred = deferred.then(|_, text| Ok(text.parse::<u32>()?));
        turn(&mut reactor);
        let failure = deferred.take_outcome().unwrap().unwrap_err();
        assert_eq!((failure.place().file(), failure.place().line()), (file!(), line));
    });
}
