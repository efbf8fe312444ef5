//! The kit's clock: time passes when the test says so, and stops at each call on its way.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use twistor::testing::{Clock, assert_clean};
use twistor::{Phase, Reactor, Settings, SystemEvent};

type Seen = Rc<RefCell<Vec<(&'static str, u64)>>>;

/// A call that writes down its name and the time, in milliseconds.
fn note(seen: &Seen, name: &'static str) -> impl FnOnce(&mut Reactor) + 'static {
    let seen = Rc::clone(seen);
    move |reactor| seen.borrow_mut().push((name, reactor.now().since_origin().as_millis() as u64))
}

fn milliseconds(count: u64) -> Duration {
    Duration::from_millis(count)
}

#[test]
fn nothing_comes_before_its_time_and_everything_at_it() {
    let (mut clock, seen) = (Clock::new(), Seen::default());
    clock.call_later(milliseconds(10), note(&seen, "ten"));
    clock.advance(milliseconds(9));
    assert_eq!(*seen.borrow(), []);
    clock.advance(milliseconds(1));
    assert_eq!(*seen.borrow(), [("ten", 10)]);
    assert_eq!(clock.now().since_origin(), milliseconds(10));
    assert_eq!(clock.reactor().now(), clock.now());
}

#[test]
fn each_call_sees_its_own_time_on_one_long_way() {
    let (mut clock, seen) = (Clock::new(), Seen::default());
    for (name, after) in [("c", 30), ("a", 10), ("b", 20), ("b again", 20)] {
        clock.call_later(milliseconds(after), note(&seen, name));
    }
    clock.advance(Duration::from_secs(3600));
    assert_eq!(*seen.borrow(), [("a", 10), ("b", 20), ("b again", 20), ("c", 30)]);
    assert_eq!(clock.now().since_origin(), Duration::from_secs(3600));
}

#[test]
fn what_a_call_sets_counts_from_its_own_time() {
    let (mut clock, seen) = (Clock::new(), Seen::default());
    let inner = note(&seen, "inner");
    clock.call_later(milliseconds(10), move |reactor| {
        reactor.call_later(milliseconds(5), inner);
    });
    clock.advance(milliseconds(15));
    assert_eq!(*seen.borrow(), [("inner", 15)]);
}

#[test]
fn a_zero_delay_call_set_by_a_call_runs_in_the_same_advance() {
    let (mut clock, seen) = (Clock::new(), Seen::default());
    let inner = note(&seen, "inner");
    clock.call_later(Duration::ZERO, move |reactor| {
        reactor.call_later(Duration::ZERO, inner);
    });
    clock.advance(Duration::ZERO);
    assert_eq!(*seen.borrow(), [("inner", 0)]);
}

#[test]
fn pumping_is_advancing_step_by_step() {
    let (mut clock, seen) = (Clock::new(), Seen::default());
    clock.call_later(milliseconds(3), note(&seen, "three"));
    clock.pump(&[milliseconds(1), milliseconds(1), milliseconds(1), milliseconds(1)]);
    assert_eq!(*seen.borrow(), [("three", 3)]);
    assert_eq!(clock.now().since_origin(), milliseconds(4));
    clock.pump(&[]);
    assert_eq!(clock.now().since_origin(), milliseconds(4));
}

#[test]
fn calls_are_cancelled_put_off_and_counted() {
    let (mut clock, seen) = (Clock::new(), Seen::default());
    let cancelled = clock.call_later(milliseconds(1), note(&seen, "cancelled"));
    let late = clock.call_later(milliseconds(2), note(&seen, "late"));
    assert_eq!(clock.reactor().delayed_call_count(), 2);
    cancelled.cancel(clock.reactor()).unwrap();
    late.delay(clock.reactor(), milliseconds(2)).unwrap();
    clock.advance(milliseconds(3));
    assert!(late.active(clock.reactor()));
    clock.advance(milliseconds(1));
    assert_eq!(*seen.borrow(), [("late", 4)]);
    assert_clean(clock.reactor());
}

#[test]
fn time_between_advances_does_not_pass_whatever_is_done() {
    let mut clock = Clock::new();
    for _ in 0..1000 {
        clock.advance(Duration::ZERO);
        clock.reactor().call_when_running(|_| ());
    }
    assert_eq!(clock.now().since_origin(), Duration::ZERO);
    clock.advance(Duration::from_secs(1));
    // A delay counts from now, although the reactor had nothing to do meanwhile.
    let later = clock.call_later(Duration::from_secs(1), |_| ());
    assert_eq!(later.time(clock.reactor()).unwrap().since_origin(), Duration::from_secs(2));
}

#[test]
fn a_century_passes_at_once() {
    let (mut clock, seen) = (Clock::new(), Seen::default());
    let century = Duration::from_secs(100 * 365 * 24 * 3600);
    clock.call_later(century, note(&seen, "then"));
    clock.advance(century);
    assert_eq!(seen.borrow().len(), 1);
    clock.advance(Duration::MAX);
    clock.advance(Duration::from_secs(1));
}

#[test]
fn jobs_are_done_when_their_time_has_come() {
    let (mut clock, seen) = (Clock::new(), Seen::default());
    let told = Rc::clone(&seen);
    clock
        .reactor()
        .call_in_thread(|| "done", move |_, result| told.borrow_mut().push((result.unwrap(), 0)))
        .unwrap();
    clock.advance(Duration::from_secs(1));
    assert_eq!(*seen.borrow(), [("done", 0)]);
}

#[test]
fn a_stop_ends_it_with_all_triggers() {
    let (mut clock, seen) = (Clock::with_settings(Settings::default()), Seen::default());
    let trigger = note(&seen, "after");
    clock
        .reactor()
        .add_system_event_trigger(Phase::After, SystemEvent::Shutdown, |reactor, _| trigger(reactor));
    clock.call_later(milliseconds(7), |reactor| {
        reactor.stop();
    });
    assert!(!clock.has_stopped());
    clock.advance(milliseconds(7));
    assert!(clock.has_stopped());
    assert_eq!(*seen.borrow(), [("after", 7)]);
    clock.advance(milliseconds(7));
}

#[test]
#[should_panic(expected = "the reactor has stopped")]
fn a_reactor_that_has_stopped_is_not_there_any_more() {
    let mut clock = Clock::new();
    clock.reactor().stop();
    clock.advance(Duration::ZERO);
    clock.reactor();
}

#[test]
#[should_panic(expected = "said the call")]
fn a_panic_in_a_call_is_the_tests() {
    let mut clock = Clock::default();
    clock.call_later(milliseconds(1), |_| panic!("said the call"));
    clock.advance(milliseconds(1));
}

#[test]
fn a_panic_that_is_allowed_stops_nobody() {
    let (mut clock, seen) = (Clock::new(), Seen::default());
    clock.allow_panics();
    clock.call_later(milliseconds(1), |_| panic!("said the call"));
    clock.call_later(milliseconds(1), note(&seen, "the next"));
    clock.advance(milliseconds(1));
    assert_eq!(*seen.borrow(), [("the next", 1)]);
    assert_eq!(clock.reactor().statistics().panics, 1);
}

#[test]
#[should_panic(expected = "without progress of time")]
fn calls_that_set_themselves_for_now_are_found_out() {
    fn again(reactor: &mut Reactor) {
        reactor.call_later(Duration::ZERO, again);
    }
    let mut clock = Clock::new();
    again(clock.reactor());
    clock.advance(Duration::ZERO);
}
