//! Each receiver of a broadcast gets each value in order, or learns how many it has missed.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use crate::world::on_each_back_end;
use twistor::task::{self, BroadcastError, SendError, broadcast, sleep, timeout, yield_now};

#[test]
fn each_receiver_gets_each_value_in_order() {
    on_each_back_end(|world| {
        world.run_future(async {
            let (sender, first) = broadcast(8);
            let tasks: Vec<_> = [first, sender.subscribe(), sender.subscribe()]
                .into_iter()
                .map(|mut receiver| {
                    task::spawn(async move {
                        let mut got = Vec::new();
                        loop {
                            match receiver.recv().await {
                                Ok(value) => got.push(value),
                                Err(BroadcastError::Closed) => return got,
                                Err(lagged) => panic!("{lagged}"),
                            }
                        }
                    })
                })
                .collect();
            for number in 0..100 {
                assert_eq!(sender.send(number), Ok(3));
                if number % 8 == 7 {
                    yield_now().await;
                    yield_now().await;
                }
            }
            drop(sender);
            for task in tasks {
                assert_eq!(task.await.unwrap(), (0..100).collect::<Vec<_>>());
            }
        });
    });
}

#[test]
fn a_slow_receiver_learns_how_many_it_missed() {
    on_each_back_end(|world| {
        world.run_future(async {
            let (sender, mut fast) = broadcast(3);
            let mut slow = fast.clone();
            for number in 0..10 {
                sender.send(number).unwrap();
                assert_eq!(fast.try_recv(), Ok(Some(number)));
            }
            assert_eq!((fast.len(), slow.len()), (0, 3));
            let mut copy = slow.clone();
            for receiver in [&mut slow, &mut copy] {
                assert_eq!(receiver.recv().await, Err(BroadcastError::Lagged(7)));
                assert_eq!(receiver.recv().await, Ok(7));
            }
            assert_eq!((slow.try_recv(), slow.try_recv()), (Ok(Some(8)), Ok(Some(9))));
            assert_eq!(slow.try_recv(), Ok(None));
            drop(sender);
            assert_eq!(slow.try_recv(), Err(BroadcastError::Closed));
            assert_eq!(copy.recv().await, Ok(8), "sent before the end");
        });
    });
}

#[test]
fn values_end_with_the_last_receiver_that_needs_them() {
    let value = Rc::new(());
    let (sender, mut first) = broadcast(4);
    let mut second = sender.subscribe();
    sender.send(Rc::clone(&value)).unwrap();
    sender.send(Rc::clone(&value)).unwrap();
    assert_eq!(Rc::strong_count(&value), 3);
    drop(first.try_recv().unwrap().unwrap());
    assert_eq!(Rc::strong_count(&value), 3, "the second has it yet to come");
    drop(second.try_recv().unwrap().unwrap());
    assert_eq!(Rc::strong_count(&value), 2);
    drop(first);
    assert_eq!((Rc::strong_count(&value), sender.receiver_count()), (2, 1));
    drop(second);
    assert_eq!((Rc::strong_count(&value), sender.receiver_count()), (1, 0));
    let back = sender.send(value);
    assert!(matches!(back, Err(SendError(value)) if Rc::strong_count(&value) == 1));
    sender.subscribe();
}

#[test]
fn a_receiver_that_was_given_up_loses_no_value() {
    on_each_back_end(|world| {
        world.run_future(async {
            let (sender, mut receiver) = broadcast(2);
            timeout(Duration::from_millis(1), receiver.recv()).await.unwrap_err();
            let later = sender.clone();
            let task = task::spawn(async move {
                sleep(Duration::from_millis(1)).await;
                later.send("late").unwrap();
            });
            drop(sender);
            assert_eq!(receiver.recv().await, Ok("late"));
            task.await.unwrap();
            assert_eq!(receiver.recv().await, Err(BroadcastError::Closed));
        });
    });
}

/// A value whose clone and drop use the channel.
struct ComesBack(twistor::task::BroadcastSender<ComesBack>, Rc<Cell<u32>>);

impl Clone for ComesBack {
    fn clone(&self) -> ComesBack {
        self.1.set(self.1.get() + self.0.receiver_count() as u32);
        ComesBack(self.0.clone(), Rc::clone(&self.1))
    }
}

impl Drop for ComesBack {
    fn drop(&mut self) {
        self.1.set(self.1.get() + 100 + self.0.receiver_count() as u32);
    }
}

#[test]
fn values_may_use_the_channel_when_cloned_and_dropped() {
    let used = Rc::new(Cell::new(0));
    let (sender, mut first) = broadcast(1);
    let mut second = first.clone();
    let value = || ComesBack(sender.clone(), Rc::clone(&used));
    sender.send(value()).unwrap();
    let taken = first.try_recv().unwrap().unwrap();
    assert_eq!(used.replace(0), 2, "cloned for the first of two");
    let moved = second.try_recv().unwrap().unwrap();
    assert_eq!(used.get(), 0, "moved to the last");
    drop((taken, moved));
    assert_eq!(used.replace(0), 204);
    sender.send(value()).unwrap();
    sender.send(value()).unwrap();
    assert_eq!(used.replace(0), 102, "the first made room");
    drop((first, second));
    assert_eq!(used.get(), 100, "no receiver is left");
}
