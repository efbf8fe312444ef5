//! A looping call comes once an interval, in phase with its start, until it is stopped or fails.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use crate::world::on_each_back_end;
use twistor::deferred::{FailureKind, LoopingError, defer_later};
use twistor::testing::MemoryReactor;
use twistor::{Deferred, Failure, LoopingCall, Resolver};

const SECOND: Duration = Duration::from_secs(1);
const SHORT: Duration = Duration::from_millis(2);

/// When each call came after the start, in milliseconds, its number, and how many were skipped.
type Calls = Rc<RefCell<Vec<(u128, u64, u64)>>>;

/// A loop that notes its calls, and does what it is told in each, by number.
fn noting(memory: &MemoryReactor, calls: &Calls, act: impl Fn(u64) + 'static) -> LoopingCall {
    let (began, calls, network) = (memory.now(), Rc::clone(calls), memory.network());
    LoopingCall::new(move |_, tick| {
        calls.borrow_mut().push(((network.0.now() - began).as_millis(), tick.count, tick.skipped));
        act(tick.count);
    })
}

#[test]
fn it_comes_at_its_start_and_once_an_interval() {
    let mut memory = MemoryReactor::new();
    let calls = Calls::default();
    let looping = noting(&memory, &calls, |_| {});
    let ended = looping.start(&mut memory.reactor(), SECOND).unwrap();
    assert!(calls.borrow().is_empty() && looping.running(), "never inside the call");
    memory.start();
    assert_eq!(*calls.borrow(), [(0, 0, 0)]);
    memory.advance(SECOND * 3);
    assert_eq!(*calls.borrow(), [(0, 0, 0), (1000, 1, 0), (2000, 2, 0), (3000, 3, 0)]);
    drop(ended);
}

#[test]
fn it_may_come_for_the_first_time_after_an_interval() {
    let mut memory = MemoryReactor::new();
    let calls = Calls::default();
    let looping = noting(&memory, &calls, |_| {});
    let ended = looping.start_later(&mut memory.reactor(), SECOND).unwrap();
    memory.advance(SECOND / 2);
    assert!(calls.borrow().is_empty());
    memory.advance(SECOND * 2);
    assert_eq!(*calls.borrow(), [(1000, 1, 0), (2000, 2, 0)]);
    drop(ended);
}

#[test]
fn a_slow_call_skips_missed_ticks_and_keeps_the_phase() {
    let mut memory = MemoryReactor::new();
    let calls = Calls::default();
    let network = memory.network();
    let looping = noting(&memory, &calls, move |number| {
        if number == 1 {
            network.0.advance_host_clock(network.1, Duration::from_millis(3300));
        }
    });
    let ended = looping.start(&mut memory.reactor(), SECOND).unwrap();
    memory.advance(SECOND * 6);
    assert_eq!(*calls.borrow(), [(0, 0, 0), (1000, 1, 0), (4300, 4, 2), (5000, 5, 0), (6000, 6, 0)]);
    drop(ended);
}

#[test]
fn the_next_call_waits_for_the_last_deferred_and_keeps_phase() {
    let mut memory = MemoryReactor::new();
    let calls = Calls::default();
    let (noted, began, network) = (Rc::clone(&calls), memory.now(), memory.network());
    let looping = LoopingCall::new(move |reactor, tick| {
        noted.borrow_mut().push(((network.0.now() - began).as_millis(), tick.count, tick.skipped));
        defer_later(reactor, Duration::from_millis(if tick.count == 1 { 2500 } else { 100 }))
    });
    let ended = looping.start(&mut memory.reactor(), SECOND).unwrap();
    memory.advance(SECOND * 5);
    assert_eq!(*calls.borrow(), [(0, 0, 0), (1000, 1, 0), (4000, 4, 2), (5000, 5, 0)]);
    drop(ended);
}

#[test]
fn with_no_interval_it_comes_once_a_turn() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let turns = Rc::new(RefCell::new(Vec::new()));
        let noted = Rc::clone(&turns);
        let looping = LoopingCall::new(move |reactor, tick| {
            assert_eq!((tick.count, tick.skipped), (noted.borrow().len() as u64, 0));
            noted.borrow_mut().push(reactor.statistics().turns);
        });
        let ended = looping.start(&mut reactor, Duration::ZERO).unwrap();
        for _ in 0..5 {
            reactor.iterate(Some(SECOND)).unwrap();
        }
        let first = turns.borrow()[0];
        assert!(turns.borrow().iter().copied().eq(first..first + 5), "{turns:?}");
        looping.stop(&mut reactor).unwrap();
        drop(ended);
        assert_eq!(reactor.delayed_call_count(), 0);
    });
}

#[test]
fn stopped_between_two_calls_it_has_ended() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let count = Rc::new(Cell::new(0));
        let counted = Rc::clone(&count);
        let looping = LoopingCall::new(move |_, _| counted.set(counted.get() + 1));
        for round in 1..=2 {
            let mut ended = looping.start(&mut reactor, SHORT).unwrap();
            world.run_until(&mut reactor, "three calls", |_| count.get() >= 3 * round);
            looping.stop(&mut reactor).unwrap();
            assert!(!looping.running());
            ended.take_outcome().unwrap().unwrap();
            let calls = count.get();
            world.run_until_idle(&mut reactor);
            assert_eq!(count.get(), calls);
        }
    });
}

#[test]
fn stopped_by_its_own_call_it_ends_when_that_has() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let slot: Rc<RefCell<Option<LoopingCall>>> = Rc::default();
        let (own, resolvers): (_, Rc<RefCell<Vec<Resolver<()>>>>) = (Rc::clone(&slot), Rc::default());
        let given = Rc::clone(&resolvers);
        let looping = LoopingCall::new(move |reactor, _| {
            let looping = own.borrow().clone().unwrap();
            looping.stop(reactor).unwrap();
            assert!(!looping.running());
            assert_eq!(looping.stop(reactor), Err(LoopingError::NotRunning));
            assert_eq!(looping.start(reactor, SHORT).err(), Some(LoopingError::Running), "it has yet to end");
            let (resolver, deferred) = Deferred::new(&reactor.handle());
            given.borrow_mut().push(resolver);
            deferred
        });
        *slot.borrow_mut() = Some(looping.clone());
        let mut ended = looping.start(&mut reactor, SHORT).unwrap();
        world.run_until_idle(&mut reactor);
        assert!(ended.take_outcome().is_none(), "its call waits");
        resolvers.borrow_mut().pop().unwrap().callback(()).unwrap();
        world.run_until_idle(&mut reactor);
        ended.take_outcome().unwrap().unwrap();
        assert!(resolvers.borrow().is_empty());
        slot.take();
    });
}

#[test]
fn a_failure_a_failing_deferred_and_a_panic_each_end_it() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let loops = [
            LoopingCall::new(|_, tick| if tick.count < 2 { Ok(()) } else { Err(Failure::new("enough")) }),
            LoopingCall::new(|reactor, tick| {
                defer_later(reactor, Duration::ZERO)
                    .then(move |_, ()| if tick.count < 2 { Ok(()) } else { Err(Failure::new("enough")) })
            }),
            LoopingCall::new(|_, tick| assert!(tick.count < 2, "enough")),
        ];
        for looping in loops {
            let mut ended = looping.start(&mut reactor, SHORT).unwrap();
            world.run_until_idle(&mut reactor);
            let failure = ended.take_outcome().unwrap().unwrap_err();
            assert!(failure.to_string().ends_with("enough"), "{failure}");
            let panicked = matches!(failure.kind(), FailureKind::Panicked(_));
            assert_eq!(panicked, failure.to_string() != "enough");
            assert!(!looping.running());
        }
        assert_eq!(world.logged(), ["panic in a timed call: enough"]);
    });
}

#[test]
fn one_that_fails_and_was_stopped_has_failed() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let slot: Rc<RefCell<Option<LoopingCall>>> = Rc::default();
        let own = Rc::clone(&slot);
        let looping = LoopingCall::new(move |reactor, _| {
            own.borrow().as_ref().unwrap().stop(reactor).unwrap();
            Err::<(), _>(Failure::new("no"))
        });
        *slot.borrow_mut() = Some(looping.clone());
        let mut ended = looping.start(&mut reactor, SHORT).unwrap();
        world.run_until_idle(&mut reactor);
        assert_eq!(ended.take_outcome().unwrap().unwrap_err().to_string(), "no");
        slot.take();
    });
}

#[test]
fn the_failure_of_one_that_was_let_go_is_logged() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let looping = LoopingCall::new(|_, _| Err::<(), _>(Failure::new("no")));
        looping.start(&mut reactor, SHORT).unwrap().detach();
        world.run_until_idle(&mut reactor);
        let logged = world.logged();
        assert!(logged.len() == 1 && logged[0].starts_with("unhandled failure: no (from "), "{logged:?}");
    });
}

#[test]
fn reset_it_begins_its_phase_anew() {
    let mut memory = MemoryReactor::new();
    let calls = Calls::default();
    let looping = noting(&memory, &calls, |_| {});
    let ended = looping.start(&mut memory.reactor(), SECOND).unwrap();
    memory.advance(Duration::from_millis(1700));
    looping.reset(&mut memory.reactor()).unwrap();
    memory.advance(Duration::from_millis(2000));
    assert_eq!(*calls.borrow(), [(0, 0, 0), (1000, 1, 0), (2700, 1, 0), (3700, 2, 0)]);
    drop(ended);
}

#[test]
fn reset_by_its_own_call_it_comes_an_interval_later() {
    let mut memory = MemoryReactor::new();
    let times = Rc::new(RefCell::new(Vec::new()));
    let slot: Rc<RefCell<Option<LoopingCall>>> = Rc::default();
    let (noted, own, began) = (Rc::clone(&times), Rc::clone(&slot), memory.now());
    let looping = LoopingCall::new(move |reactor, tick| {
        noted.borrow_mut().push(((reactor.now() - began).as_millis(), tick.count));
        let looping = own.borrow().clone().unwrap();
        defer_later(reactor, SECOND / 2).map(move |reactor, ()| {
            looping.reset(reactor).unwrap();
        })
    });
    *slot.borrow_mut() = Some(looping.clone());
    let ended = looping.start(&mut memory.reactor(), SECOND).unwrap();
    memory.advance(SECOND * 3);
    assert_eq!(*times.borrow(), [(0, 0), (1500, 1), (3000, 1)]);
    drop(ended);
    slot.take();
}

#[test]
fn what_does_not_fit_its_state_is_a_typed_error() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let looping = LoopingCall::new(|_, _| {});
        assert_eq!(looping.stop(&mut reactor), Err(LoopingError::NotRunning));
        assert_eq!(looping.reset(&mut reactor), Err(LoopingError::NotRunning));
        let ended = looping.start(&mut reactor, SHORT).unwrap();
        assert_eq!(looping.start(&mut reactor, SHORT).err(), Some(LoopingError::Running));
        assert_eq!(looping.start_later(&mut reactor, SHORT).err(), Some(LoopingError::Running));
        drop(ended);
        world.run_until_idle(&mut reactor);
        assert_eq!(looping.stop(&mut reactor), Err(LoopingError::NotRunning));
    });
}

#[test]
fn dropping_or_cancelling_the_start_deferred_ends_the_loop() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        for case in 0..8 {
            let [waits, drops, stops] = [1, 2, 4].map(|bit| case & bit != 0);
            let looping = LoopingCall::new(move |reactor, _| {
                if waits {
                    defer_later(reactor, SECOND * 3600)
                } else {
                    Deferred::succeed(&reactor.handle(), ())
                }
            });
            let mut ended = looping.start(&mut reactor, SECOND).unwrap();
            reactor.iterate(Some(Duration::ZERO)).unwrap();
            reactor.iterate(Some(Duration::ZERO)).unwrap();
            assert_eq!(reactor.delayed_call_count(), 1);
            if stops && waits {
                looping.stop(&mut reactor).unwrap();
            }
            if drops {
                drop(ended);
            } else {
                ended.cancel();
                reactor.iterate(Some(Duration::ZERO)).unwrap();
                assert!(ended.take_outcome().unwrap().unwrap_err().is_cancelled());
            }
            world.run_until_idle(&mut reactor);
            assert!(!looping.running());
        }
    });
}

#[test]
fn one_that_runs_when_its_reactor_ends_is_dropped_with_it() {
    on_each_back_end(|world| {
        let held = Rc::new(());
        let mut reactor = world.reactor();
        let inside = Rc::clone(&held);
        let looping = LoopingCall::new(move |_, _| {
            let _inside = &inside;
        });
        looping.start(&mut reactor, SHORT).unwrap().detach();
        drop(looping);
        reactor.iterate(Some(Duration::ZERO)).unwrap();
        drop(reactor);
        assert_eq!(Rc::strong_count(&held), 1);
    });
}

#[test]
fn a_self_referencing_looping_call_is_dropped_when_it_ends() {
    on_each_back_end(|world| {
        for (stops, waits) in [(true, false), (true, true), (false, false), (false, true)] {
            let mut reactor = world.reactor();
            let slot: Rc<RefCell<Option<LoopingCall>>> = Rc::default();
            let (own, held) = (Rc::clone(&slot), Rc::new(()));
            let inside = Rc::clone(&held);
            let looping = LoopingCall::new(move |reactor, _| {
                let _inside = &inside;
                if stops {
                    own.borrow().as_ref().unwrap().stop(reactor).unwrap();
                }
                defer_later(reactor, if waits { SECOND * 3600 } else { Duration::ZERO })
            });
            *slot.borrow_mut() = Some(looping.clone());
            drop(slot);
            looping.start(&mut reactor, SHORT).unwrap().detach();
            for _ in 0..4 {
                reactor.iterate(Some(SHORT)).unwrap();
            }
            if stops {
                assert_eq!(Rc::strong_count(&held), 1);
                let again = if waits { LoopingError::Running } else { LoopingError::Finished };
                assert_eq!(looping.start(&mut reactor, SHORT).err(), Some(again));
            }
            drop((reactor, looping));
            assert_eq!(Rc::strong_count(&held), 1);
        }
    });
}
