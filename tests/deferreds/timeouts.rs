//! A Deferred with a timeout has its outcome in time, or fails as timed out.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use crate::world::{Record, World, on_each_back_end};
use twistor::deferred::FailureKind;
use twistor::{Deferred, Failure, Reactor};

const LIMIT: Duration = Duration::from_millis(2);

/// What comes of it, when nothing is left to happen.
fn outcome<T: 'static>(world: &World, reactor: &mut Reactor, deferred: Deferred<T>) -> Result<T, Failure> {
    let place = Rc::new(Cell::new(None));
    let noted = Rc::clone(&place);
    deferred.done(move |_, outcome| noted.set(Some(outcome)));
    world.run_until_idle(reactor);
    place.take().unwrap()
}

#[test]
fn what_takes_too_long_is_cancelled_and_fails_as_timed_out() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let cancelled = Rc::new(Cell::new(false));
        let cancels = Rc::clone(&cancelled);
        let (_resolver, deferred) =
            Deferred::<u32>::with_canceller(&reactor.handle(), move |_, _| cancels.set(true));
        let line = line!() + 1;
        let deferred = deferred.timeout(&mut reactor, LIMIT);
        let failure = outcome(world, &mut reactor, deferred).unwrap_err();
        assert!(cancelled.get() && failure.is_timed_out());
        assert!(matches!(failure.kind(), FailureKind::TimedOut(LIMIT)));
        assert_eq!(failure.place().line(), line);
        assert_eq!(failure.to_string(), "timed out after 2ms");
    });
}

#[test]
fn what_comes_in_time_leaves_no_timer_behind() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let (resolver, deferred) = Deferred::new(&reactor.handle());
        let deferred = deferred.timeout(&mut reactor, Duration::from_secs(3600));
        resolver.callback(1).unwrap();
        assert_eq!(outcome(world, &mut reactor, deferred).unwrap(), 1);
        let (resolver, deferred) = Deferred::<u32>::new(&reactor.handle());
        let deferred = deferred.timeout(&mut reactor, Duration::from_secs(3600));
        resolver.errback(Failure::new("no")).unwrap();
        assert_eq!(outcome(world, &mut reactor, deferred).unwrap_err().to_string(), "no");
        assert_eq!(reactor.delayed_call_count(), 0);
    });
}

#[test]
fn what_is_cancelled_in_time_is_cancelled_and_not_timed_out() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let (_resolver, deferred) = Deferred::<u32>::new(&reactor.handle());
        let deferred = deferred.timeout(&mut reactor, Duration::from_secs(3600));
        deferred.cancel();
        assert!(outcome(world, &mut reactor, deferred).unwrap_err().is_cancelled());
    });
}

#[test]
fn what_its_canceller_fires_counts_when_the_time_is_up() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let (_resolver, deferred) =
            Deferred::with_canceller(&reactor.handle(), |_, resolver| resolver.callback("so far").unwrap());
        let deferred = deferred.timeout(&mut reactor, LIMIT);
        assert_eq!(outcome(world, &mut reactor, deferred).unwrap(), "so far");
        let (_resolver, deferred) = Deferred::<&str>::with_canceller(&reactor.handle(), |_, resolver| {
            resolver.errback(Failure::new("half of it is missing")).unwrap();
        });
        let deferred = deferred.timeout(&mut reactor, LIMIT);
        assert_eq!(outcome(world, &mut reactor, deferred).unwrap_err().to_string(), "half of it is missing");
    });
}

#[test]
fn what_is_to_come_of_it_when_the_time_is_up_can_be_said() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let record = Record::new();
        let noted = record.clone();
        let (_resolver, deferred) = Deferred::new(&reactor.handle());
        let deferred = deferred.timeout_with(&mut reactor, LIMIT, move |_, outcome| {
            noted.add(outcome.unwrap_err().to_string());
            Ok("what we had")
        });
        assert_eq!(outcome(world, &mut reactor, deferred).unwrap(), "what we had");
        assert_eq!(record.events(), ["cancelled"]);
        let (resolver, deferred) = Deferred::new(&reactor.handle());
        let deferred = deferred
            .timeout_with(&mut reactor, LIMIT, |_, _| -> Result<u32, Failure> { panic!("it came in time") });
        resolver.callback(1).unwrap();
        assert_eq!(outcome(world, &mut reactor, deferred).unwrap(), 1);
    });
}

#[test]
fn a_timeout_covers_awaited_callbacks_but_not_later_ones() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let (_inner, waited_for) = Deferred::<u32>::new(&reactor.handle());
        let begin = Deferred::succeed(&reactor.handle(), ());
        let deferred = begin.then(|_, ()| waited_for).timeout(&mut reactor, LIMIT);
        assert!(outcome(world, &mut reactor, deferred).unwrap_err().is_timed_out());
        let begin = Deferred::succeed(&reactor.handle(), ()).timeout(&mut reactor, LIMIT);
        let deferred = begin.then(|reactor, ()| twistor::deferred::defer_later(reactor, LIMIT * 3));
        assert!(outcome(world, &mut reactor, deferred).is_ok());
    });
}

#[test]
fn the_shorter_of_two_timeouts_counts() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        for (inner, outer) in [(1, 3600), (3600, 1)] {
            let (_resolver, deferred) = Deferred::<u32>::new(&reactor.handle());
            let deferred = deferred
                .timeout(&mut reactor, Duration::from_secs(inner) / 500)
                .timeout(&mut reactor, Duration::from_secs(outer) / 500);
            let failure = outcome(world, &mut reactor, deferred).unwrap_err();
            assert!(matches!(failure.kind(), FailureKind::TimedOut(limit) if *limit == LIMIT), "{failure:?}");
        }
    });
}
