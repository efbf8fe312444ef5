//! A busy-polling loop polls for a while before it sleeps, and misses no event that would have
//! woken it.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::rc::Rc;
use std::sync::mpsc;
use std::task::{Poll, Waker};
use std::thread;
use std::time::Duration;

use crate::world::child::test_path;
use crate::world::{World, child, on_each_back_end, on_the_real_network, raise};
use twistor::{JobPanicked, Protocol, Reactor, Settings, Signal, Transport};

const REAL: &str = "only the real network spins";

/// Longer than any test. A test that waits for its end hangs.
const FOR_EVER: Duration = Duration::from_secs(1_000_000);

/// A time that is over at once.
const MOMENT: Duration = Duration::from_nanos(1);

const SHORT: Duration = Duration::from_millis(5);

fn spinning(world: &World, spin: Duration) -> Reactor {
    world.reactor_with(Settings { busy_poll: spin, ..Settings::default() })
}

/// The number of busy polls, and of those without an event.
fn spins(reactor: &Reactor) -> (u64, u64) {
    let statistics = reactor.statistics();
    (statistics.busy_polls, statistics.busy_polls_idle)
}

struct Echo;

impl Protocol for Echo {
    fn data_received(&mut self, transport: &mut Transport<'_>, data: &[u8]) {
        transport.write(data);
    }
}

#[test]
fn by_itself_no_loop_spins() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        assert_eq!(Settings::default().busy_poll, Duration::ZERO);
        for _ in 0..3 {
            reactor.iterate(Some(SHORT)).unwrap();
        }
        assert_eq!(spins(&reactor), (0, 0));
    });
}

#[test]
fn a_loop_that_finds_nothing_sleeps_afterwards() {
    on_the_real_network(REAL, |world| {
        let mut reactor = spinning(world, MOMENT);
        for _ in 0..3 {
            reactor.iterate(Some(SHORT)).unwrap();
        }
        assert_eq!(spins(&reactor), (3, 3));
    });
}

#[test]
fn a_turn_that_is_not_to_wait_does_not_spin() {
    on_each_back_end(|world| {
        let mut reactor = spinning(world, FOR_EVER);
        for _ in 0..3 {
            reactor.iterate(Some(Duration::ZERO)).unwrap();
        }
        assert_eq!(spins(&reactor), (0, 0));
    });
}

#[test]
fn a_turn_waits_no_longer_than_it_is_told_to() {
    on_each_back_end(|world| {
        let mut reactor = spinning(world, FOR_EVER);
        for _ in 0..4 {
            assert!(reactor.iterate(Some(SHORT)).unwrap());
        }
        // The whole time was busy-polled, without sleep.
        assert_eq!(spins(&reactor), (if world.simulated().is_some() { 0 } else { 4 }, 0));
    });
}

#[test]
fn timed_calls_come_at_their_time() {
    on_each_back_end(|world| {
        for spin in [MOMENT, FOR_EVER] {
            let mut reactor = spinning(world, spin);
            let called = Rc::new(RefCell::new(Vec::new()));
            for number in 1..=3 {
                let (called, set) = (Rc::clone(&called), reactor.now());
                reactor.call_later(SHORT * number, move |reactor| {
                    assert!(reactor.now() >= set + SHORT * number, "too soon");
                    called.borrow_mut().push(number);
                    if number == 3 {
                        reactor.stop();
                    }
                });
            }
            reactor.run().unwrap();
            assert_eq!(*called.borrow(), [1, 2, 3]);
            assert_eq!(reactor.statistics().panics, 0);
        }
    });
}

#[test]
fn bytes_and_connections_end_it() {
    on_each_back_end(|world| {
        for spin in [MOMENT, FOR_EVER] {
            let mut reactor = spinning(world, spin);
            let listener = world.serve(&mut reactor, Echo);
            let peer = RefCell::new(world.connect(listener.address()));
            for _ in 0..10 {
                peer.borrow_mut().send(b"hello");
                let echo = RefCell::new(Vec::new());
                world.run_until(&mut reactor, "an echo", |_| {
                    echo.borrow_mut().extend(peer.borrow_mut().read_now());
                    echo.borrow().len() >= 5
                });
                assert_eq!(*echo.borrow(), b"hello");
            }
            drop(peer);
            world.close(&mut reactor, &listener);
        }
    });
}

#[test]
fn a_call_from_a_thread_ends_it() {
    on_the_real_network(REAL, |world| {
        for spin in [MOMENT, SHORT, FOR_EVER] {
            let mut reactor = spinning(world, spin);
            let (asks, asked) = mpsc::channel::<()>();
            let remote = reactor.remote();
            let thread = thread::spawn(move || {
                let calls = asked.iter().map(|()| remote.call_from_thread(|_| {}).unwrap());
                let calls = calls.count();
                remote.stop().unwrap();
                calls
            });
            for round in 1..=20 {
                asks.send(()).unwrap();
                // The wake-up ends one turn. The call runs in that turn or the next.
                assert!(reactor.iterate(None).unwrap());
                assert!(reactor.iterate(Some(Duration::ZERO)).unwrap());
                assert_eq!(reactor.statistics().thread_calls, round);
            }
            drop(asks);
            while reactor.iterate(None).unwrap() {}
            assert_eq!(thread.join().unwrap(), 20);
        }
    });
}

#[test]
fn a_task_that_a_thread_wakes_ends_it() {
    on_the_real_network(REAL, |world| {
        for spin in [MOMENT, SHORT, FOR_EVER] {
            let mut reactor = spinning(world, spin);
            let (wakers, to_wake) = mpsc::channel::<Waker>();
            let thread = thread::spawn(move || to_wake.iter().map(Waker::wake).count());
            let woken = Rc::new(Cell::new(0));
            let rounds = Rc::clone(&woken);
            let task = async move {
                for _ in 0..20 {
                    let mut waits = true;
                    poll_fn(|context| match std::mem::take(&mut waits) {
                        true => {
                            wakers.send(context.waker().clone()).unwrap();
                            Poll::Pending
                        }
                        false => Poll::Ready(()),
                    })
                    .await;
                    rounds.set(rounds.get() + 1);
                }
            };
            // Wakes the spawned task, and with its end the future that waits for it.
            reactor.block_on(async move { twistor::task::spawn(task).await.unwrap() }).unwrap();
            assert_eq!(woken.get(), 20);
            assert_eq!(thread.join().unwrap(), 20);
        }
    });
}

#[test]
fn the_result_of_a_job_ends_it() {
    on_each_back_end(|world| {
        let mut reactor = spinning(world, FOR_EVER);
        let done = |reactor: &mut Reactor, result: Result<i32, JobPanicked>| {
            assert_eq!(result.unwrap(), 42);
            reactor.stop();
        };
        reactor.call_in_thread(|| 42, done).unwrap();
        reactor.run().unwrap();
        assert_eq!(reactor.statistics().panics, 0);
    });
}

#[test]
fn a_signal_ends_it() {
    child::alone(test_path(a_signal_ends_it), "", || {
        on_each_back_end(|world| {
            let settings = Settings { busy_poll: FOR_EVER, ..Settings::default() };
            let mut reactor = world.reactor_that_signals_stop(settings);
            reactor.call_later(SHORT, |_| raise(Signal::Terminate));
            reactor.run().unwrap();
        });
    });
}

#[test]
fn simulated_time_passes_as_it_does_without() {
    let play = |spin: Duration| {
        let network = twistor::sim::Network::new(7);
        let host = network.host("here");
        let mut reactor = network.reactor(host, Settings { busy_poll: spin, ..Settings::default() });
        let times = Rc::new(RefCell::new(Vec::new()));
        for number in [3, 1, 2] {
            let times = Rc::clone(&times);
            reactor.call_later(SHORT * number, move |reactor| {
                times.borrow_mut().push((number, reactor.now()));
                if number == 3 {
                    reactor.stop();
                }
            });
        }
        reactor.run().unwrap();
        assert_eq!(reactor.statistics().busy_polls, 0);
        (times.take(), reactor.statistics().turns)
    };
    assert_eq!(play(FOR_EVER), play(Duration::ZERO));
}
