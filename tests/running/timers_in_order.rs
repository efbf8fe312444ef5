//! Timed calls run when they are due, in order, once each.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use crate::world::{Record, on_each_back_end, spend};
use twistor::Reactor;

#[test]
fn calls_come_in_the_order_of_their_times_however_they_were_set() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let record = Record::new();
        for milliseconds in [5, 1, 4, 2, 3] {
            let record = record.clone();
            reactor.call_later(Duration::from_millis(milliseconds), move |_| {
                record.add(milliseconds.to_string());
            });
        }
        assert_eq!(reactor.delayed_call_count(), 5);
        world.run_until_idle(&mut reactor);
        assert_eq!(record.events(), ["1", "2", "3", "4", "5"]);
    });
}

#[test]
fn calls_for_the_same_time_run_in_the_order_they_were_set() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let record = Record::new();
        let mut times = Vec::new();
        for number in 0..100 {
            let record = record.clone();
            let call = reactor.call_later(Duration::from_millis(2), move |_| record.add(number.to_string()));
            times.push(call.time(&reactor).unwrap());
        }
        assert!(times.iter().all(|time| *time == times[0]), "the clock stands still between turns");
        world.run_until_idle(&mut reactor);
        let expected: Vec<String> = (0..100).map(|number| number.to_string()).collect();
        assert_eq!(record.events(), expected);
    });
}

#[test]
fn a_call_that_is_reset_comes_as_if_it_had_been_set_then() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let record = Record::new();
        let set = |reactor: &mut Reactor, name: &'static str, milliseconds| {
            let record = record.clone();
            reactor.call_later(Duration::from_millis(milliseconds), move |_| record.add(name))
        };
        // Resets to one time: from the same, an earlier and a later time.
        let same = set(&mut reactor, "same", 5);
        let earlier = set(&mut reactor, "earlier", 1);
        let later = set(&mut reactor, "later", 60_000);
        set(&mut reactor, "first", 5);
        for call in [later, same, earlier] {
            call.reset(&mut reactor, Duration::from_millis(5)).unwrap();
        }
        let delayed = set(&mut reactor, "delayed", 4);
        set(&mut reactor, "last", 5);
        delayed.delay(&mut reactor, Duration::from_millis(1)).unwrap();
        world.run_until_idle(&mut reactor);
        assert_eq!(record.events(), ["first", "later", "same", "earlier", "last", "delayed"]);
    });
}

#[test]
fn no_call_comes_before_its_time() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let came = Rc::new(Cell::new(0));
        for microseconds in (0..5000).step_by(100) {
            let came = Rc::clone(&came);
            let delay = Duration::from_micros(microseconds);
            let due = reactor.now() + delay;
            reactor.call_later(delay, move |reactor| {
                assert!(reactor.now() >= due);
                came.set(came.get() + 1);
            });
        }
        world.run_until_idle(&mut reactor);
        assert_eq!(came.get(), 50);
    });
}

#[test]
fn overdue_calls_after_a_busy_loop_run_in_order_and_once() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let record = Record::new();
        for number in [3, 1, 2] {
            let record = record.clone();
            reactor.call_later(Duration::from_millis(number), move |_| record.add(number.to_string()));
        }
        spend(Duration::from_millis(4));
        reactor.iterate(Some(Duration::ZERO)).unwrap();
        assert_eq!(record.events(), ["1", "2", "3"], "all that are due have their turn in one");
        reactor.iterate(Some(Duration::ZERO)).unwrap();
        assert_eq!(record.events().len(), 3);
    });
}

#[test]
fn a_call_years_away_disturbs_nobody() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let far = [Duration::MAX, Duration::from_millis(1 << 32), Duration::from_secs(100 * 366 * 86_400)];
        let calls = far.map(|delay| reactor.call_later(delay, |_| panic!("it came")));
        let record = Record::new();
        let soon = record.clone();
        reactor.call_later(Duration::from_millis(1), move |reactor| {
            soon.add("soon");
            // From here on the loop sleeps for years, unless the end of the job wakes it.
            let stop = |reactor: &mut Reactor, _| {
                reactor.stop();
            };
            reactor.call_in_thread(|| (), stop).unwrap();
        });
        reactor.run().unwrap();
        assert_eq!(record.events(), ["soon"]);
        assert!(calls.iter().all(|call| !call.active(&reactor)), "pending calls end with the reactor");
    });
}

#[test]
fn a_call_is_never_made_inside_the_one_that_sets_it() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let record = Record::new();
        let outer = record.clone();
        reactor.call_later(Duration::ZERO, move |reactor| {
            let inner = outer.clone();
            outer.add("outer begins");
            reactor.call_later(Duration::ZERO, move |_| inner.add("inner"));
            outer.add("outer ends");
        });
        assert_eq!(record.events(), [] as [String; 0]);
        world.run_until_idle(&mut reactor);
        assert_eq!(record.events(), ["outer begins", "outer ends", "inner"]);
    });
}

#[test]
fn time_that_passes_after_a_turn_has_passed_for_the_reactor() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let asked = Rc::new(Cell::new(reactor.now()));
        let last = Rc::clone(&asked);
        // The last action of the turn reads the clock.
        reactor.call_when_running(|reactor| {
            reactor.call_when_running(move |reactor| last.set(reactor.now()));
        });
        reactor.iterate(Some(Duration::ZERO)).unwrap();
        let before = asked.get();
        spend(Duration::from_millis(5));
        assert!(reactor.now() - before >= Duration::from_millis(5), "{:?}", reactor.now() - before);
    });
}
