//! Tasks wait for several things at once, and hand each other what they have.

use std::cell::{Cell, RefCell};
use std::future::{Future, pending, ready};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use crate::world::{on_each_back_end, on_the_real_network, spend};
use twistor::task::{
    self, Either, RecvError, SendError, TrySendError, channel, join, join_all, select, select_all, sleep,
    timeout, yield_now,
};

const MOMENT: Duration = Duration::from_millis(1);

#[test]
fn join_gives_both_and_select_the_first() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        reactor
            .block_on(async {
                let slow = async {
                    sleep(MOMENT).await;
                    "slow"
                };
                assert_eq!(join(slow, ready("fast")).await, ("slow", "fast"));
                assert_eq!(select(pending::<()>(), ready(2)).await, Either::Right(2));
                assert_eq!(select(ready(1), ready(2)).await, Either::Left(1), "of equals the first");
            })
            .unwrap();
        assert_eq!((reactor.resource_count(), reactor.delayed_call_count()), (0, 0));
    });
}

#[test]
fn join_all_polls_those_alone_that_were_woken() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let polls = Rc::new(Cell::new(0));
        let count = &polls;
        let results = reactor.block_on(join_all((0..100u64).map(|number| async move {
            for _ in 0..number {
                count.set(count.get() + 1);
                yield_now().await;
            }
            number
        })));
        assert_eq!(results.unwrap(), (0..100).collect::<Vec<_>>());
        assert_eq!(polls.get(), 99 * 100 / 2, "each as often as it yields");
        assert_eq!(reactor.block_on(join_all(Vec::<std::future::Ready<()>>::new())).unwrap(), []);
    });
}

#[test]
fn select_all_gives_the_first_and_its_place() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let first = reactor.block_on(async {
            let wait = |moments: u32| async move {
                sleep(moments * MOMENT * 5).await;
                moments
            };
            let first = select_all([wait(9), wait(1), wait(5)]).await;
            assert!(timeout(MOMENT, select_all(Vec::<std::future::Ready<()>>::new())).await.is_err());
            first
        });
        assert_eq!(first.unwrap(), (1, 1));
        assert_eq!((reactor.resource_count(), reactor.delayed_call_count()), (0, 0));
    });
}

#[test]
fn one_busy_future_of_many_does_not_starve_the_others() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        reactor
            .block_on(async {
                let busy = || -> Pin<Box<dyn Future<Output = u32>>> {
                    Box::pin(async {
                        loop {
                            spend(MOMENT);
                            yield_now().await;
                        }
                    })
                };
                let patient = || -> Pin<Box<dyn Future<Output = u32>>> {
                    Box::pin(async {
                        sleep(MOMENT).await;
                        1
                    })
                };
                assert_eq!(select_all([busy(), patient(), busy()]).await, (1, 1));
                assert_eq!(timeout(5 * MOMENT, select_all([busy()])).await.ok(), None);
            })
            .unwrap();
        assert_eq!((reactor.resource_count(), reactor.delayed_call_count()), (0, 0));
    });
}

#[test]
fn a_channel_keeps_the_order_and_blocks_senders_when_full() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        reactor
            .block_on(async {
                let (sender, mut receiver) = channel(2);
                let sent = Rc::new(Cell::new(0));
                let tasks: Vec<_> = (0..5)
                    .map(|number| {
                        let (sender, sent) = (sender.clone(), Rc::clone(&sent));
                        task::spawn(async move {
                            sender.send(number).await.unwrap();
                            sent.set(sent.get() + 1);
                        })
                    })
                    .collect();
                drop(sender);
                for _ in 0..4 {
                    yield_now().await;
                }
                assert_eq!((sent.get(), receiver.len()), (2, 2));
                for number in 0..5 {
                    assert_eq!(receiver.recv().await, Some(number));
                }
                assert_eq!(receiver.recv().await, None);
                assert_eq!(receiver.try_recv(), Err(RecvError));
                for task in tasks {
                    task.await.unwrap();
                }
            })
            .unwrap();
    });
}

#[test]
fn senders_are_served_in_order_and_a_cancelled_one_is_skipped() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        reactor
            .block_on(async {
                let (sender, mut receiver) = channel(1);
                sender.try_send("first").unwrap();
                let waits = |text| {
                    let sender = sender.clone();
                    task::spawn(async move { sender.send(text).await })
                };
                let (second, third) = (waits("second"), waits("third"));
                yield_now().await;
                yield_now().await;
                assert_eq!(receiver.try_recv(), Ok(Some("first")));
                assert_eq!(sender.try_send("pushy"), Err(TrySendError::Full("pushy")));
                second.cancel();
                assert_eq!(receiver.recv().await, Some("third"));
                assert_eq!(third.await, Ok(Ok(())));
                assert_eq!(receiver.try_recv(), Ok(None));
            })
            .unwrap();
    });
}

#[test]
fn a_thread_that_waits_for_room_stands_in_the_same_line() {
    on_the_real_network("threads are the system's", |world| {
        let mut reactor = world.reactor();
        let (sender, mut receiver) = channel(1);
        let order = reactor.block_on(async move {
            sender.send(0).await.unwrap();
            let own = sender.clone();
            let first = task::spawn(async move { own.send(1).await });
            yield_now().await;
            yield_now().await;
            let mut order = vec![receiver.recv().await.unwrap()];
            // There is room, and a sender waits for it.
            let thread = std::thread::spawn(move || sender.send_blocking(2));
            while let Some(number) = receiver.recv().await {
                order.push(number);
            }
            thread.join().unwrap().unwrap();
            first.await.unwrap().unwrap();
            order
        });
        assert_eq!(order.unwrap(), [0, 1, 2]);
    });
}

#[test]
fn a_thread_receives_what_tasks_send() {
    on_the_real_network("threads are the system's", |world| {
        let mut reactor = world.reactor();
        let (sender, mut receiver) = channel(2);
        let thread = std::thread::spawn(move || {
            let mut sum = 0;
            while let Some(number) = receiver.recv_blocking() {
                sum += number;
            }
            sum
        });
        reactor
            .block_on(async move {
                for number in 1..=100 {
                    sender.send(number).await.unwrap();
                }
            })
            .unwrap();
        assert_eq!(thread.join().unwrap(), 5050);
    });
}

#[test]
fn a_waker_may_own_the_channel_that_it_waits_for() {
    struct Owns(#[expect(dead_code, reason = "it is dropped")] task::Sender<()>);
    impl Wake for Owns {
        fn wake(self: Arc<Owns>) {}
    }
    let (sender, mut receiver) = channel(1);
    let mut waits = pin!(receiver.recv());
    let owns = Waker::from(Arc::new(Owns(sender)));
    assert!(waits.as_mut().poll(&mut Context::from_waker(&owns)).is_pending());
    drop(owns);
    // The other goes, and the last sender with it.
    assert!(waits.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
    assert_eq!(waits.as_mut().poll(&mut Context::from_waker(Waker::noop())), Poll::Ready(None));
}

#[test]
fn what_is_sent_to_nobody_comes_back() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        reactor
            .block_on(async {
                let (sender, receiver) = channel(1);
                sender.send(1).await.unwrap();
                let waiting = {
                    let sender = sender.clone();
                    task::spawn(async move { sender.send(2).await })
                };
                yield_now().await;
                yield_now().await;
                drop(receiver);
                assert_eq!(waiting.await, Ok(Err(SendError(2))));
                assert_eq!(sender.try_send(3), Err(TrySendError::Closed(3)));
                assert_eq!(sender.send_blocking(4), Err(SendError(4)));
                assert!(sender.is_closed());
            })
            .unwrap();
    });
}

#[test]
fn threads_send_to_a_task_and_wait_for_room() {
    on_the_real_network("threads are the system's", |world| {
        let mut reactor = world.reactor();
        let (sender, mut receiver) = channel(3);
        let threads: Vec<_> = (0..4)
            .map(|thread| {
                let sender = sender.clone();
                std::thread::spawn(move || {
                    for number in 0..1_000 {
                        sender.send_blocking((thread, number)).unwrap();
                    }
                })
            })
            .collect();
        drop(sender);
        let mut next = [0; 4];
        reactor
            .block_on(async {
                while let Some((thread, number)) = receiver.recv().await {
                    assert_eq!(next[thread], number, "each in its order");
                    next[thread] += 1;
                }
            })
            .unwrap();
        assert_eq!(next, [1_000; 4]);
        for thread in threads {
            thread.join().unwrap();
        }
    });
}

/// A crowd of tasks that wait for each other in all ways there are: who was polled, in order.
fn crowd(seed: u64, shuffled: bool) -> Vec<u32> {
    let mut simulation = twistor::sim::Simulation::new(seed);
    simulation.shuffle_tasks(shuffled);
    let host = simulation.host("crowded");
    let order = Rc::new(RefCell::new(Vec::new()));
    for number in 0..8 {
        let order = Rc::clone(&order);
        simulation
            .reactor(host)
            .spawn(async move {
                for _ in 0..3 {
                    order.borrow_mut().push(number);
                    sleep(MOMENT).await;
                }
            })
            .detach();
    }
    simulation.run_for(Duration::from_secs(1)).unwrap();
    Rc::try_unwrap(order).unwrap().into_inner()
}

#[test]
fn a_seed_decides_the_order_of_tasks_and_always_the_same_way() {
    let in_order: Vec<u32> = (0..3).flat_map(|_| 0..8).collect();
    assert_eq!(crowd(1, false), in_order);
    let orders: Vec<_> = (0..10).map(|seed| crowd(seed, true)).collect();
    assert!(orders.iter().all(|order| *order != in_order));
    assert!(orders.windows(2).all(|pair| pair[0] != pair[1]), "each seed has its own");
    let again: Vec<_> = (0..10).map(|seed| crowd(seed, true)).collect();
    assert_eq!(orders, again);
}

#[test]
fn cancelled_at_any_await_a_program_leaves_nothing_behind() {
    for polls in 0.. {
        let mut simulation = twistor::sim::Simulation::new(polls);
        let host = simulation.host("cut short");
        let reactor = simulation.reactor(host);
        let ended = Rc::new(Cell::new(false));
        let (mut program, end) = (Box::pin(program()), Rc::clone(&ended));
        let mut left = polls;
        reactor
            .spawn(std::future::poll_fn(move |context| {
                if left == 0 {
                    return std::task::Poll::Ready(());
                }
                left -= 1;
                program.as_mut().poll(context).map(|()| end.set(true))
            }))
            .detach();
        simulation.run_for(Duration::from_secs(2)).unwrap();
        let reactor = simulation.reactor(host);
        assert_eq!(
            (reactor.resource_count(), reactor.delayed_call_count()),
            (0, 0),
            "after {polls} polls: {:?}",
            reactor.tasks()
        );
        if ended.get() {
            assert!(polls > 10, "it waits often: {polls}");
            break;
        }
    }
}

/// Waits in every way there is.
async fn program() {
    let (sender, mut receiver) = channel(1);
    let feeder = task::spawn(async move {
        let mut interval = task::interval(MOMENT);
        for _ in 0..3 {
            interval.tick().await;
            sender.send(()).await.unwrap();
        }
    });
    let helper = task::spawn(join_all((1..4).map(|n| sleep(n * MOMENT))));
    while let Some(()) = receiver.recv().await {
        yield_now().await;
    }
    feeder.await.unwrap();
    let _ = timeout(MOMENT, pending::<()>()).await;
    let _ = select(sleep(MOMENT), sleep(2 * MOMENT)).await;
    let _ = join(sleep(MOMENT), yield_now()).await;
    let _ = select_all([sleep(MOMENT), sleep(3 * MOMENT)]).await;
    helper.await.unwrap();
}
