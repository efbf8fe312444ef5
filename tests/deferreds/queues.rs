//! A queue gives each value to one who asked, in order, and has bounds for both.

use std::time::Duration;

use crate::world::{Record, on_each_back_end};
use twistor::deferred::{DeferredQueue, QueueUnderflow, gather, race};
use twistor::{Deferred, Reactor, task};

fn turn(reactor: &mut Reactor) {
    assert!(reactor.iterate(Some(Duration::ZERO)).unwrap());
}

fn value<T: 'static>(mut deferred: Deferred<T>) -> T {
    deferred.take_outcome().expect("it is there").unwrap()
}

#[test]
fn values_wait_for_whoever_asks_in_order() {
    on_each_back_end(|world| {
        let reactor = world.reactor();
        let queue = DeferredQueue::new(&reactor.handle(), 10, 10);
        for number in 0..5 {
            queue.put(number).unwrap();
        }
        assert_eq!((queue.len(), queue.waiting()), (5, 0));
        for number in 0..5 {
            assert_eq!(value(queue.get().unwrap()), number);
        }
        assert!(queue.is_empty());
    });
}

#[test]
fn who_asks_first_has_the_first_value() {
    on_each_back_end(|world| {
        let reactor = world.reactor();
        let queue = DeferredQueue::new(&reactor.handle(), 10, 10);
        let gets: Vec<Deferred<u32>> = (0..5).map(|_| queue.get().unwrap()).collect();
        assert_eq!((queue.len(), queue.waiting()), (0, 5));
        for number in 0..5 {
            queue.put(number).unwrap();
        }
        assert!(gets.into_iter().map(value).eq(0..5));
        assert_eq!((queue.len(), queue.waiting()), (0, 0));
    });
}

#[test]
fn as_many_values_wait_as_may_and_the_next_one_comes_back() {
    on_each_back_end(|world| {
        let reactor = world.reactor();
        for size in [0, 1, 3] {
            let queue = DeferredQueue::new(&reactor.handle(), size, 1);
            for number in 0..size {
                queue.put(number).unwrap();
            }
            let overflow = queue.put(99).unwrap_err();
            assert_eq!((overflow.value, overflow.to_string().as_str()), (99, "the queue is full"));
            assert_eq!(queue.len(), size);
            if size > 0 {
                drop(queue.get().unwrap());
                queue.put(99).unwrap();
            } else {
                let waits = queue.get().unwrap();
                queue.put(99).unwrap();
                assert_eq!(value(waits), 99);
            }
        }
    });
}

#[test]
fn as_many_wait_for_a_value_as_may() {
    on_each_back_end(|world| {
        let reactor = world.reactor();
        for backlog in [0, 1, 3] {
            let queue = DeferredQueue::<u32>::new(&reactor.handle(), 1, backlog);
            let waits: Vec<_> = (0..backlog).map(|_| queue.get().unwrap()).collect();
            assert_eq!(queue.get().unwrap_err(), QueueUnderflow);
            assert_eq!(queue.waiting(), backlog);
            for wait in waits {
                queue.put(1).unwrap();
                assert_eq!(value(wait), 1);
            }
            queue.put(2).unwrap();
            assert_eq!(value(queue.get().unwrap()), 2, "one that is there can be had");
        }
    });
}

#[test]
fn who_is_cancelled_waits_no_longer_and_takes_no_value_away() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let queue = DeferredQueue::new(&reactor.handle(), 10, 10);
        let cancelled = queue.get().unwrap();
        let dropped = queue.get().unwrap();
        let patient = queue.get().unwrap();
        cancelled.cancel();
        drop(dropped);
        // In the same turn, before the cancellers have run.
        queue.put(1).unwrap();
        assert_eq!(value(patient), 1);
        turn(&mut reactor);
        // And after they have.
        let later = queue.get().unwrap();
        later.cancel();
        turn(&mut reactor);
        assert_eq!(queue.waiting(), 0);
        queue.put(2).unwrap();
        assert_eq!(queue.len(), 1);
        for mut deferred in [cancelled, later] {
            assert!(deferred.take_outcome().unwrap().unwrap_err().is_cancelled());
        }
    });
}

#[test]
fn several_workers_share_what_is_put() {
    /// Works on numbers until there is none.
    fn work(queue: DeferredQueue<Option<u32>>, name: &'static str, record: Record) {
        queue.get().unwrap().done(move |_, number| match number.unwrap() {
            Some(number) => {
                record.add(format!("{name}: {number}"));
                work(queue, name, record);
            }
            None => record.add(format!("{name} ends")),
        });
    }
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let record = Record::new();
        let queue = DeferredQueue::new(&reactor.handle(), 10, 10);
        for name in ["one", "two"] {
            work(queue.clone(), name, record.clone());
        }
        for number in (0..4).map(Some).chain([None, None]) {
            queue.put(number).unwrap();
        }
        for _ in 0..4 {
            turn(&mut reactor);
        }
        assert_eq!(record.events(), ["one: 0", "two: 1", "one: 2", "two: 3", "one ends", "two ends"]);
        assert_eq!(queue.waiting(), 0);
    });
}

#[test]
fn the_drop_of_one_that_has_given_up_may_look_at_the_queue() {
    on_each_back_end(|world| {
        let reactor = world.reactor();
        let queue = DeferredQueue::<u32>::new(&reactor.handle(), 1, 1);
        let looks = Looks(queue.clone());
        let deferred = queue.get().unwrap().map(move |_, number| {
            let _looks = &looks;
            number
        });
        drop(reactor);
        drop(deferred);
        queue.put(1).unwrap();
        assert_eq!((queue.len(), queue.waiting()), (1, 0));
    });
}

/// Looks at a queue when it is dropped.
struct Looks(DeferredQueue<u32>);

impl Drop for Looks {
    fn drop(&mut self) {
        assert!(self.0.is_empty());
    }
}

#[test]
fn a_value_whose_waiter_is_dropped_is_there_for_the_next() {
    on_each_back_end(|world| {
        world.run_future(async {
            let queue = DeferredQueue::new(&twistor::Handle::current().unwrap(), 10, 10);
            for put_first in [true, false] {
                let waits = queue.clone();
                let waiter = task::spawn(async move { waits.get().unwrap().await.unwrap() });
                task::yield_now().await;
                assert_eq!(queue.waiting(), 1);
                // The task is woken, and gone before it is polled; or gone before it is woken.
                if put_first {
                    queue.put(7).unwrap();
                    drop(waiter);
                } else {
                    drop(waiter);
                    queue.put(7).unwrap();
                }
                assert_eq!(queue.get().unwrap().await.unwrap(), 7);
                assert_eq!((queue.len(), queue.waiting()), (0, 0));
            }
        });
    });
}

#[test]
fn values_given_back_keep_their_order() {
    on_each_back_end(|world| {
        let reactor = world.reactor();
        for order in [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]] {
            let queue = DeferredQueue::new(&reactor.handle(), 10, 10);
            // One is taken from the queue, two are handed over.
            queue.put(0).unwrap();
            let mut gets: Vec<_> = (0..3).map(|_| queue.get().ok()).collect();
            for number in 1..5 {
                queue.put(number).unwrap();
            }
            for index in order {
                gets[index] = None;
            }
            assert_eq!(queue.len(), 5);
            for number in 0..5 {
                assert_eq!(value(queue.get().unwrap()), number, "dropped in the order {order:?}");
            }
        }
    });
}

#[test]
fn a_value_given_back_goes_to_the_one_that_waits() {
    on_each_back_end(|world| {
        let reactor = world.reactor();
        let queue = DeferredQueue::new(&reactor.handle(), 10, 10);
        let [gone, second, also_gone, patient, last] = [(); 5].map(|()| queue.get().unwrap());
        queue.put(1).unwrap();
        queue.put(2).unwrap();
        // It does not go to one that is gone either.
        drop(also_gone);
        drop(gone);
        assert_eq!((value(second), value(patient)), (2, 1));
        queue.put(3).unwrap();
        assert_eq!(value(last), 3);
        assert!(queue.is_empty());
    });
}

#[test]
fn what_is_given_back_takes_no_room() {
    on_each_back_end(|world| {
        let reactor = world.reactor();
        let queue = DeferredQueue::new(&reactor.handle(), 1, 1);
        queue.put(1).unwrap();
        let taken = queue.get().unwrap();
        queue.put(2).unwrap();
        drop(taken);
        assert_eq!((queue.len(), queue.put(3).unwrap_err().value), (2, 3));
        assert_eq!((value(queue.get().unwrap()), value(queue.get().unwrap())), (1, 2));
        queue.put(3).unwrap();
        assert!(queue.put(4).is_err());
    });
}

#[test]
fn callbacks_that_only_look_take_nothing_away() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let queue = DeferredQueue::new(&reactor.handle(), 10, 10);
        let limited = queue.get().unwrap().timeout(&mut reactor, Duration::from_secs(60));
        let looked_at = queue.get().unwrap().inspect(|_, number| assert_eq!(*number.unwrap(), 2));
        let taken = queue.get().unwrap().map(|_, number| assert_eq!(number, 3));
        for number in 1..4 {
            queue.put(number).unwrap();
        }
        drop((limited, looked_at, taken));
        turn(&mut reactor);
        turn(&mut reactor);
        assert_eq!((value(queue.get().unwrap()), value(queue.get().unwrap())), (1, 2));
        // A callback has had the third.
        assert!(queue.is_empty());
    });
}

#[test]
fn of_several_queues_the_first_gives_and_others_lose_nothing() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let handle = reactor.handle();
        let queues: Vec<_> = (0..3).map(|_| DeferredQueue::new(&handle, 10, 10)).collect();
        let gets = || queues.iter().map(|queue| queue.get().unwrap());
        let mut winner = race(&handle, gets());
        for (number, queue) in queues.iter().enumerate() {
            queue.put(number).unwrap();
        }
        turn(&mut reactor);
        turn(&mut reactor);
        assert_eq!(winner.take_outcome().unwrap().unwrap(), (0, 0));
        assert_eq!(value(queues[1].get().unwrap()), 1);
        // The same if the winner's item is not taken, and if none is.
        queues[0].put(10).unwrap();
        queues[1].put(11).unwrap();
        let untaken = race(&handle, gets());
        turn(&mut reactor);
        turn(&mut reactor);
        drop(untaken);
        let all = gather(&handle, gets());
        turn(&mut reactor);
        turn(&mut reactor);
        drop(all);
        let missing = gather(&handle, gets().chain([queues[0].get().unwrap()]));
        turn(&mut reactor);
        missing.cancel();
        drop(missing);
        turn(&mut reactor);
        turn(&mut reactor);
        let rest: Vec<_> = gets().map(value).collect();
        assert_eq!(rest, [10, 11, 2]);
        assert!(queues.iter().all(|queue| queue.is_empty() && queue.waiting() == 0));
    });
}
