//! A lock goes to one at a time, a semaphore's tokens to as many as there are, in the order in which they were asked for.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Wake, Waker};
use std::time::Duration;

use crate::world::{Record, on_each_back_end};
use twistor::deferred::{DeferredLock, DeferredSemaphore, Permit, defer_later, gather};
use twistor::{Deferred, Failure, Reactor};

fn turn(reactor: &mut Reactor) {
    assert!(reactor.iterate(Some(Duration::ZERO)).unwrap());
}

type Held = Rc<RefCell<Vec<Permit>>>;

/// Keeps what it gets, and says so.
fn keep(deferred: Deferred<Permit>, held: &Held, record: &Record, name: &'static str) {
    let (held, record) = (Rc::clone(held), record.clone());
    deferred.done(move |_, acquired| {
        held.borrow_mut().push(acquired.unwrap());
        record.add(name);
    });
}

#[test]
fn who_waits_for_a_lock_has_it_when_the_one_before_drops_it() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let (record, held) = (Record::new(), Held::default());
        let lock = DeferredLock::new(&reactor.handle());
        assert!(!lock.locked());
        for name in ["first", "second", "third"] {
            keep(lock.acquire(), &held, &record, name);
        }
        assert_eq!((lock.locked(), lock.waiting()), (true, 2));
        for expected in [&["first"][..], &["first", "second"], &["first", "second", "third"]] {
            turn(&mut reactor);
            turn(&mut reactor);
            assert_eq!(record.events(), expected);
            held.borrow_mut().clear();
        }
        assert!(!lock.locked());
    });
}

#[test]
fn as_many_have_a_token_as_there_are() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let semaphore = DeferredSemaphore::new(&reactor.handle(), 3);
        let (now, most) = (Rc::new(Cell::new(0)), Rc::new(Cell::new(0)));
        let jobs: Vec<_> = (0..20)
            .map(|number| {
                let (begun, ended, most) = (Rc::clone(&now), Rc::clone(&now), Rc::clone(&most));
                semaphore.run(move |reactor| {
                    begun.set(begun.get() + 1);
                    most.set(most.get().max(begun.get()));
                    defer_later(reactor, Duration::from_micros(number % 7 * 100)).map(move |_, ()| {
                        ended.set(ended.get() - 1);
                        number
                    })
                })
            })
            .collect();
        assert_eq!((semaphore.available_permits(), semaphore.waiting(), semaphore.limit()), (0, 17, 3));
        let all = gather(&reactor.handle(), jobs);
        let ended = Rc::new(Cell::new(false));
        let ends = Rc::clone(&ended);
        all.done(move |_, numbers| ends.set(numbers.unwrap().into_iter().eq(0..20)));
        world.run_until(&mut reactor, "all jobs", |_| ended.get());
        assert_eq!((most.get(), semaphore.available_permits(), semaphore.waiting()), (3, 3, 0));
    });
}

#[test]
fn a_semaphore_of_nothing_has_one_token() {
    on_each_back_end(|world| {
        let reactor = world.reactor();
        let semaphore = DeferredSemaphore::new(&reactor.handle(), 0);
        let acquired = semaphore.acquire().take_outcome().unwrap().unwrap();
        assert_eq!((semaphore.limit(), semaphore.available_permits()), (1, 0));
        drop(acquired);
    });
}

#[test]
fn a_cancelled_waiter_leaves_the_queue_and_takes_no_lock() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let (record, held) = (Record::new(), Held::default());
        let lock = DeferredLock::new(&reactor.handle());
        let acquired = lock.acquire().take_outcome().unwrap().unwrap();
        let mut cancelled = lock.acquire();
        let dropped = lock.acquire();
        keep(lock.acquire(), &held, &record, "the patient one");
        cancelled.cancel();
        drop(dropped);
        // In the same turn, before the cancellers have run.
        drop(acquired);
        turn(&mut reactor);
        turn(&mut reactor);
        assert_eq!(record.events(), ["the patient one"]);
        assert!(cancelled.take_outcome().unwrap().unwrap_err().is_cancelled());
        // And after they have.
        let mut cancelled = lock.acquire();
        cancelled.cancel();
        turn(&mut reactor);
        assert!(cancelled.take_outcome().unwrap().unwrap_err().is_cancelled());
        assert_eq!(lock.waiting(), 0);
    });
}

#[test]
fn what_runs_under_a_lock_releases_it_however_it_ends() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let lock = DeferredLock::new(&reactor.handle());
        let panics: fn(&mut Reactor) = |_| panic!("in there");
        let mut ended = [
            lock.run(|_| ()),
            lock.run(|_| Err::<(), _>(Failure::new("no"))),
            lock.run(panics),
            lock.run(|reactor| defer_later(reactor, Duration::from_millis(1))),
            lock.run(|reactor| {
                defer_later(reactor, Duration::from_secs(3600)).timeout(reactor, Duration::from_millis(1))
            }),
        ];
        assert_eq!(lock.waiting(), 4);
        world.run_until(&mut reactor, "all that runs", |_| !lock.locked());
        assert_eq!(reactor.delayed_call_count(), 0);
        let texts = ended.each_mut().map(|deferred| match deferred.take_outcome() {
            Some(Ok(())) => "ended".to_owned(),
            Some(Err(failure)) => failure.to_string(),
            None => "nothing".to_owned(),
        });
        let expected = ["ended", "no", "it panicked: in there", "ended", "timed out after 1ms"];
        assert_eq!(texts, expected);
        assert!(!lock.locked());
        assert_eq!(world.logged(), ["panic in a queued call: in there"]);
    });
}

#[test]
fn what_waits_under_a_lock_is_cancelled_with_it() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let lock = DeferredLock::new(&reactor.handle());
        let under = lock.run(|reactor| defer_later(reactor, Duration::from_secs(3600)));
        turn(&mut reactor);
        assert_eq!((lock.locked(), reactor.delayed_call_count()), (true, 1));
        drop(under);
        turn(&mut reactor);
        assert_eq!((lock.locked(), reactor.delayed_call_count()), (false, 0));
    });
}

#[test]
fn detached_acquisitions_release_in_turn_on_a_small_stack() {
    let thread = std::thread::Builder::new().stack_size(256 * 1024);
    let handed_on = || {
        on_each_back_end(|world| {
            let reactor = world.reactor();
            let lock = DeferredLock::new(&reactor.handle());
            let acquired = lock.acquire().take_outcome().unwrap().unwrap();
            for _ in 0..100_000 {
                lock.acquire().detach();
            }
            drop(acquired);
            assert_eq!((lock.locked(), lock.waiting()), (false, 0));
        });
    };
    thread.spawn(handed_on).unwrap().join().unwrap();
}

/// Panics when it is woken.
struct Bomb;

impl Wake for Bomb {
    fn wake(self: Arc<Self>) {
        panic!("woken");
    }
}

#[test]
fn a_waker_panic_on_release_does_not_block_the_next_waiter() {
    on_each_back_end(|world| {
        let reactor = world.reactor();
        let lock = DeferredLock::new(&reactor.handle());
        let held = lock.acquire().take_outcome().unwrap().unwrap();
        let (mut first, mut second) = (lock.acquire(), lock.acquire());
        let waker = Waker::from(Arc::new(Bomb));
        assert!(Pin::new(&mut first).poll(&mut Context::from_waker(&waker)).is_pending());
        assert!(catch_unwind(AssertUnwindSafe(|| drop(held))).is_err());
        drop(first.take_outcome().unwrap().unwrap());
        drop(second.take_outcome().unwrap().unwrap());
        assert!(!lock.locked());
    });
}

#[test]
fn a_reactor_stands_for_its_handle() {
    fn in_a_callback(reactor: &mut Reactor) -> (DeferredLock, Deferred<Vec<u8>>) {
        let both = [Deferred::succeed(&reactor, 1), Deferred::succeed(&reactor.handle(), 2)];
        (DeferredLock::new(&reactor), gather(&reactor, both))
    }
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let record = Record::new();
        let (lock, numbers) = in_a_callback(&mut reactor);
        let noted = record.clone();
        numbers.done(move |_, numbers| noted.add(format!("{:?}", numbers.unwrap())));
        let held = Held::default();
        keep(lock.acquire(), &held, &record, "locked");
        world.run_until(&mut reactor, "both", |_| record.events().len() == 2);
        let mut events = record.events();
        events.sort();
        assert_eq!(events, ["[1, 2]", "locked"]);
        drop(held);
        world.run_until_idle(&mut reactor);
    });
}
