//! Of several Deferreds: the results of all, the first of them, or the outcome of each.

use std::error::Error;
use std::time::Duration;

use crate::world::{World, on_each_back_end};
use twistor::deferred::{AllFailed, FirstError, defer_later, gather, race, settle_all};
use twistor::{Deferred, Failure, Reactor, Resolver};

fn turn(reactor: &mut Reactor) {
    assert!(reactor.iterate(Some(Duration::ZERO)).unwrap());
}

type Ends = (Vec<Resolver<u32>>, Vec<Deferred<u32>>);

fn three(reactor: &Reactor) -> Ends {
    (0..3).map(|_| Deferred::new(&reactor.handle())).unzip()
}

/// What comes of it within some turns.
fn outcome<T: 'static>(reactor: &mut Reactor, mut deferred: Deferred<T>) -> Result<T, Failure> {
    for _ in 0..5 {
        turn(reactor);
    }
    deferred.take_outcome().expect("it has an outcome by now")
}

#[test]
fn the_results_of_all_are_in_their_order_whatever_came_first() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let (resolvers, deferreds) = three(&reactor);
        let mut all = gather(&reactor.handle(), deferreds);
        for index in [2, 0, 1] {
            turn(&mut reactor);
            assert!(all.take_outcome().is_none());
            resolvers[index].callback(index as u32 * 10).unwrap();
        }
        assert_eq!(outcome(&mut reactor, all).unwrap(), [0, 10, 20]);
    });
}

#[test]
fn gather_fails_with_the_first_failure_and_cancels_the_rest() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let (resolvers, deferreds) = three(&reactor);
        let all = gather(&reactor.handle(), deferreds);
        let line = line!() + 1;
        resolvers[1].errback(Failure::new("no")).unwrap();
        resolvers[2].errback(Failure::new("in the same turn, it is dropped")).unwrap();
        turn(&mut reactor);
        let failure = outcome(&mut reactor, all).unwrap_err();
        assert_eq!(failure.to_string(), "Deferred number 1: no");
        assert_eq!(failure.place().line(), line, "the place is that of what failed");
        assert_eq!(failure.source().map(<dyn Error>::to_string).as_deref(), Some("no"));
        assert_eq!(failure.downcast::<FirstError>().unwrap().index, 1);
        assert!(resolvers[0].is_fired(), "it was cancelled");
    });
}

#[test]
fn the_first_result_wins_with_its_index_and_cancels_the_rest() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let (resolvers, deferreds) = three(&reactor);
        let winner = race(&reactor.handle(), deferreds);
        resolvers[0].errback(Failure::new("no")).unwrap();
        turn(&mut reactor);
        assert!(!resolvers[2].is_fired());
        resolvers[1].callback(7).unwrap();
        assert_eq!(outcome(&mut reactor, winner).unwrap(), (1, 7));
        assert!(resolvers[2].is_fired(), "it was cancelled");
    });
}

#[test]
fn when_none_has_a_result_all_failures_are_there_in_their_order() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let (resolvers, deferreds) = three(&reactor);
        let winner = race(&reactor.handle(), deferreds);
        for index in [2, 0, 1] {
            resolvers[index].errback(Failure::new(format!("no {index}"))).unwrap();
        }
        let failure = outcome(&mut reactor, winner).unwrap_err();
        assert_eq!(failure.to_string(), "all 3 failed: no 0; no 1; no 2");
        let all = failure.downcast::<AllFailed>().unwrap();
        let texts: Vec<String> = all.failures.iter().map(Failure::to_string).collect();
        assert_eq!(texts, ["no 0", "no 1", "no 2"]);
    });
}

#[test]
fn the_outcome_of_each_is_there_in_their_order() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let (resolvers, deferreds) = three(&reactor);
        let all = settle_all(&reactor.handle(), deferreds);
        resolvers[2].callback(2).unwrap();
        resolvers[1].errback(Failure::new("no")).unwrap();
        turn(&mut reactor);
        resolvers[0].callback(0).unwrap();
        let outcomes = outcome(&mut reactor, all).unwrap();
        let texts: Vec<String> = outcomes
            .iter()
            .map(|outcome| outcome.as_ref().map_or_else(Failure::to_string, u32::to_string))
            .collect();
        assert_eq!(texts, ["0", "no", "2"]);
    });
}

#[test]
fn an_empty_gather_succeeds_at_once_and_an_empty_first_fails() {
    on_each_back_end(|world| {
        let reactor = world.reactor();
        let handle = reactor.handle();
        let none = Vec::<Deferred<u32>>::new;
        assert!(gather(&handle, none()).take_outcome().unwrap().unwrap().is_empty());
        assert!(settle_all(&handle, none()).take_outcome().unwrap().unwrap().is_empty());
        let failure = race(&handle, none()).take_outcome().unwrap().unwrap_err();
        assert!(failure.downcast_ref::<AllFailed>().unwrap().failures.is_empty());
        assert_eq!(failure.to_string(), "no Deferred was given");
    });
}

#[test]
fn to_cancel_or_drop_what_is_made_of_several_cancels_all() {
    fn all_are_given_up<T: 'static>(
        world: &World,
        together: fn(&twistor::Handle, Vec<Deferred<()>>) -> Deferred<T>,
    ) {
        for drops in [true, false] {
            let mut reactor = world.reactor();
            let timers = (1..=3).map(|n| defer_later(&mut reactor, Duration::from_secs(n))).collect();
            let deferred = together(&reactor.handle(), timers);
            assert_eq!(reactor.delayed_call_count(), 3);
            if drops {
                drop(deferred);
                turn(&mut reactor);
                turn(&mut reactor);
            } else {
                deferred.cancel();
                assert!(outcome(&mut reactor, deferred).err().unwrap().is_cancelled());
            }
            assert_eq!(reactor.delayed_call_count(), 0);
        }
    }
    on_each_back_end(|world| {
        all_are_given_up(world, |handle, timers| gather(handle, timers));
        all_are_given_up(world, |handle, timers| race(handle, timers));
        all_are_given_up(world, |handle, timers| settle_all(handle, timers));
    });
}
