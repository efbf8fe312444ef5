//! Calls from other threads run on the loop's thread: once each, in order, and never inside the
//! requesting call.

use std::cell::RefCell;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use crate::world::{World, on_each_back_end, on_the_real_network};
use twistor::{Error, Reactor, Settings};

const THREADS: &str = "threads of the process call while the loop waits";

thread_local! {
    /// The calls that ran on this thread, which is the loop's.
    static RAN: RefCell<Vec<(usize, usize)>> = const { RefCell::new(Vec::new()) };
}

fn ran() -> Vec<(usize, usize)> {
    RAN.take()
}

fn note(thread: usize, number: usize) {
    RAN.with_borrow_mut(|ran| ran.push((thread, number)));
}

/// Runs the reactor until queued calls have run, also those queued before its start.
fn finish(world: &World, reactor: &mut Reactor) {
    reactor.call_later(Duration::ZERO, |reactor| {
        reactor.stop();
    });
    world.run(reactor);
}

#[test]
fn calls_of_each_thread_keep_their_order_and_none_is_lost() {
    on_the_real_network(THREADS, |world| {
        let mut reactor = world.reactor();
        const CALLS: usize = 2000;
        let done = Arc::new(AtomicUsize::new(0));
        let threads: Vec<_> = (0..4)
            .map(|thread| {
                let (remote, done) = (reactor.remote(), Arc::clone(&done));
                thread::spawn(move || {
                    for number in 0..CALLS {
                        remote.call_from_thread(move |_| note(thread, number)).unwrap();
                    }
                    done.fetch_add(1, Ordering::SeqCst);
                    remote.call_from_thread(|_| {}).unwrap();
                })
            })
            .collect();
        world.run_until(&mut reactor, "all calls", |reactor| {
            done.load(Ordering::SeqCst) == 4 && reactor.statistics().thread_calls == 4 * (CALLS as u64 + 1)
        });
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        let all = ran();
        assert_eq!(all.len(), 4 * CALLS);
        for thread in 0..4 {
            let numbers: Vec<usize> =
                all.iter().filter(|(from, _)| *from == thread).map(|(_, number)| *number).collect();
            assert!(numbers.into_iter().eq(0..CALLS), "thread {thread}");
        }
    });
}

#[test]
fn a_call_wakes_a_loop_that_waits() {
    on_the_real_network(THREADS, |world| {
        let mut reactor = world.reactor();
        // The only other event: a lost wake-up would let this timer fire.
        let never = reactor.call_later(Duration::from_secs(20), |_| {});
        for round in 0..50 {
            let remote = reactor.remote();
            let thread = thread::spawn(move || remote.call_from_thread(move |_| note(0, round)).unwrap());
            reactor.iterate(None).unwrap();
            reactor.iterate(Some(Duration::ZERO)).unwrap();
            assert_eq!(reactor.statistics().thread_calls, round as u64 + 1);
            thread.join().unwrap();
        }
        never.cancel(&mut reactor).unwrap();
        assert!(ran().into_iter().map(|(_, number)| number).eq(0..50));
        finish(world, &mut reactor);
    });
}

#[test]
fn a_call_is_never_run_inside_the_call_that_asks_for_it() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let remote = reactor.remote();
        // No call runs inside the request on the loop's own thread before it runs,
        remote.call_from_thread(|_| note(0, 1)).unwrap();
        assert_eq!(ran(), []);
        // nor inside one of its callbacks.
        reactor.call_later(Duration::ZERO, move |reactor| {
            remote.call_from_thread(|_| note(0, 3)).unwrap();
            note(0, 2);
            reactor.call_later(Duration::ZERO, |reactor| {
                reactor.stop();
            });
        });
        world.run(&mut reactor);
        assert_eq!(ran(), [(0, 1), (0, 2), (0, 3)]);
    });
}

#[test]
fn what_a_call_asks_for_runs_in_the_next_turn() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let remote = reactor.remote();
        let again = remote.clone();
        let first = move |reactor: &mut Reactor| {
            note(0, reactor.statistics().turns as usize);
            again.call_from_thread(|reactor| note(1, reactor.statistics().turns as usize)).unwrap();
        };
        remote.call_from_thread(first).unwrap();
        remote.call_from_thread(|reactor| note(2, reactor.statistics().turns as usize)).unwrap();
        world.run_until(&mut reactor, "all calls", |reactor| reactor.statistics().thread_calls == 3);
        assert_eq!(ran(), [(0, 1), (2, 1), (1, 2)]);
        finish(world, &mut reactor);
    });
}

#[test]
fn a_thread_can_stop_the_reactor() {
    on_the_real_network(THREADS, |world| {
        let mut reactor = world.reactor();
        let remote = reactor.remote();
        let stopper = thread::spawn(move || remote.stop().unwrap());
        // The request may come before the reactor runs or while it does.
        world.run(&mut reactor);
        stopper.join().unwrap();
    });
}

#[test]
fn an_ended_reactor_refuses_calls_and_drops_late_ones() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let remote = reactor.remote();
        let held = Arc::new(());
        let inside = Arc::clone(&held);
        let last = remote.clone();
        reactor.call_when_running(move |reactor| {
            reactor.stop();
            // The shutdown begins first.
            reactor.add_system_event_trigger(
                twistor::Phase::After,
                twistor::SystemEvent::Shutdown,
                move |_, _| {
                    last.call_from_thread(move |_| {
                        let _inside = inside;
                        note(0, 0);
                    })
                    .unwrap();
                },
            );
        });
        world.run(&mut reactor);
        assert_eq!((ran(), Arc::strong_count(&held)), (vec![], 1));
        assert!(matches!(remote.call_from_thread(|_| {}), Err(Error::ReactorGone)));
        assert!(matches!(remote.stop(), Err(Error::ReactorGone)));

        let reactor = world.reactor();
        let remote = reactor.remote();
        drop(reactor);
        assert!(matches!(remote.call_from_thread(|_| {}), Err(Error::ReactorGone)));
    });
}

#[test]
fn as_many_calls_can_wait_as_the_limit_says() {
    on_each_back_end(|world| {
        let settings = Settings { thread_call_queue: 3, ..Settings::default() };
        let mut reactor = world.reactor_with(settings);
        let remote = reactor.remote();
        for number in 1..=3 {
            remote.call_from_thread(move |_| note(0, number)).unwrap();
        }
        let refused = remote.call_from_thread(|_| note(0, 4));
        assert!(matches!(refused, Err(Error::QueueFull(3))));
        reactor.iterate(Some(Duration::ZERO)).unwrap();
        remote.call_from_thread(|_| note(0, 5)).unwrap();
        // A stop is never refused, even with a full queue.
        remote.call_from_thread(|_| note(0, 6)).unwrap();
        remote.call_from_thread(|_| note(0, 7)).unwrap();
        remote.stop().unwrap();
        world.run(&mut reactor);
        assert!(ran().into_iter().map(|(_, number)| number).eq([1, 2, 3, 5, 6, 7]));
    });
}
