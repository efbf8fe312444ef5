//! Tasks wait for times: exactly, in order, and without anything left behind.

use std::cell::RefCell;
use std::future::{Future, pending, poll_fn, ready};
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use crate::world::{on_each_back_end, with_reactor};
use twistor::task::{self, Tick, TimedOut, interval, sleep, sleep_until, timeout, yield_now};
use twistor::{Instant, Reactor};

const MOMENT: Duration = Duration::from_millis(2);

fn now() -> Instant {
    with_reactor(|reactor| reactor.now())
}

fn assert_nothing_left(reactor: &Reactor) {
    assert_eq!((reactor.resource_count(), reactor.delayed_call_count()), (0, 0));
}

#[test]
fn a_sleep_takes_its_time_and_not_a_tick_less() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        reactor
            .block_on(async {
                let began = now();
                sleep(MOMENT).await;
                assert!(now() - began >= MOMENT);
                let then = now() + MOMENT;
                sleep_until(then).await;
                assert!(now() >= then);
            })
            .unwrap();
        assert_nothing_left(&reactor);
    });
}

#[test]
fn sleeps_end_in_deadline_order_and_then_in_start_order() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let order = Rc::new(RefCell::new(Vec::new()));
        let seen = Rc::clone(&order);
        reactor
            .block_on(async move {
                let until = now() + 2 * MOMENT;
                let tasks: Vec<_> = [(0, 2), (1, 1), (2, 2), (3, 1)]
                    .into_iter()
                    .map(|(number, moments)| {
                        let seen = Rc::clone(&seen);
                        task::spawn(async move {
                            sleep_until(until + moments * MOMENT).await;
                            seen.borrow_mut().push(number);
                        })
                    })
                    .collect();
                for task in tasks {
                    task.await.unwrap();
                }
            })
            .unwrap();
        assert_eq!(*order.borrow(), [1, 3, 0, 2]);
    });
}

#[test]
fn a_sleep_of_no_time_lets_everything_else_have_its_turn() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let turns = reactor
            .block_on(async {
                let turns = || with_reactor(|reactor| reactor.statistics().turns);
                let before = turns();
                sleep(Duration::ZERO).await;
                let after = turns();
                sleep_until(Instant::default()).await;
                (after - before, turns() - after)
            })
            .unwrap();
        assert!(turns.0 >= 1 && turns.1 >= 1, "{turns:?}");
    });
}

#[test]
fn a_sleep_that_is_dropped_leaves_no_timer() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let kept = Rc::new(RefCell::new(None));
        let keep = Rc::clone(&kept);
        reactor
            .block_on(async move {
                let mut asleep = Box::pin(sleep(Duration::from_secs(60)));
                assert!(poll_fn(|context| Poll::Ready(asleep.as_mut().poll(context).is_pending())).await);
                assert_eq!(with_reactor(|reactor| reactor.delayed_call_count()), 1);
                drop(asleep);
                assert_eq!(with_reactor(|reactor| reactor.delayed_call_count()), 0);
                let mut asleep = Box::pin(sleep(Duration::from_secs(60)));
                let _ = poll_fn(|context| Poll::Ready(asleep.as_mut().poll(context))).await;
                keep.replace(Some(asleep));
            })
            .unwrap();
        // Outside of tasks as well, as soon as the reactor can be reached.
        kept.replace(None);
        reactor.iterate(Some(Duration::ZERO)).unwrap();
        assert_nothing_left(&reactor);
    });
}

#[test]
fn a_sleep_moved_to_another_task_wakes_that_task_on_time() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        reactor
            .block_on(async {
                let began = now();
                let mut asleep = Box::pin(sleep(MOMENT));
                let _ = poll_fn(|context| Poll::Ready(asleep.as_mut().poll(context))).await;
                assert_eq!(with_reactor(|reactor| reactor.delayed_call_count()), 1);
                let other = task::spawn(async move {
                    asleep.await;
                    now()
                });
                yield_now().await;
                assert_eq!(with_reactor(|reactor| reactor.delayed_call_count()), 1);
                assert!(other.await.unwrap() - began >= MOMENT);
            })
            .unwrap();
        assert_nothing_left(&reactor);
    });
}

#[test]
fn a_sleep_that_is_taken_to_another_reactor_takes_as_long() {
    on_each_back_end(|world| {
        let (mut one, mut other) = (world.reactor(), world.reactor());
        let mut asleep = Box::pin(sleep(5 * MOMENT));
        let began = one.now();
        let begun = one.block_on(poll_fn(|context| Poll::Ready(asleep.as_mut().poll(context))));
        assert!(begun.unwrap().is_pending());
        other.block_on(asleep).unwrap();
        one.iterate(Some(Duration::ZERO)).unwrap();
        assert!(one.now() - began >= 5 * MOMENT);
        assert_nothing_left(&one);
        assert_nothing_left(&other);
    });
}

#[test]
fn a_sleep_polled_while_the_reactor_is_borrowed_still_wakes() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        reactor
            .block_on(async {
                let began = now();
                let mut asleep = Box::pin(sleep(MOMENT));
                let mut polled = 0;
                poll_fn(|context| {
                    polled += 1;
                    if polled <= 2 {
                        // First where it cannot begin, then where it cannot look.
                        let poll = with_reactor(|_| asleep.as_mut().poll(context));
                        assert!(poll.is_pending());
                        let _ = (polled == 2).then(|| context.waker().wake_by_ref());
                        return Poll::Pending;
                    }
                    asleep.as_mut().poll(context)
                })
                .await;
                assert!(now() - began >= MOMENT);
            })
            .unwrap();
        assert_nothing_left(&reactor);
    });
}

#[test]
fn a_sleep_whose_reactor_is_gone_is_over() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let mut asleep = Box::pin(sleep(Duration::from_secs(60)));
        reactor
            .block_on(poll_fn(|context| {
                assert!(asleep.as_mut().poll(context).is_pending());
                Poll::Ready(())
            }))
            .unwrap();
        drop(reactor);
        assert!(pin!(asleep).poll(&mut Context::from_waker(Waker::noop())).is_ready());
    });
}

#[test]
fn a_timeout_gives_the_result_or_drops_the_future_at_its_limit() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        reactor
            .block_on(async {
                assert_eq!(timeout(MOMENT, ready(1)).await, Ok(1));
                assert_eq!(
                    timeout(Duration::ZERO, ready(1)).await,
                    Ok(1),
                    "what is there at the limit counts"
                );
                let began = now();
                let late = timeout(MOMENT, pending::<()>()).await;
                assert_eq!(late, Err(TimedOut { limit: MOMENT }));
                assert!(now() - began >= MOMENT);
                let error = std::io::Error::from(late.unwrap_err());
                assert_eq!(error.kind(), std::io::ErrorKind::TimedOut);
                // Both come up at the same time: it is there.
                let until = now() + MOMENT;
                let both = timeout(until - now(), async {
                    sleep_until(until).await;
                    2
                });
                assert_eq!(both.await, Ok(2));
            })
            .unwrap();
        assert_nothing_left(&reactor);
    });
}

#[test]
fn ticks_keep_their_phase_and_count_what_was_missed() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        reactor
            .block_on(async {
                let period = Duration::from_millis(20);
                let began = now();
                let mut interval = interval(period);
                assert_eq!(interval.tick().await, Tick { count: 0, skipped: 0 });
                let first = interval.tick().await;
                assert!(first.count == 1 + first.skipped && now() - began >= period, "{first:?}");
                // Two and a half periods after the last.
                sleep_until(began + (first.count as u32) * period + 5 * period / 2).await;
                let second = interval.tick().await;
                assert!(
                    second.skipped >= 1 && second.count == first.count + 1 + second.skipped,
                    "{second:?}"
                );
                // One that is missed comes at once; the next is in phase again.
                let third = interval.tick().await;
                assert!(now() - began >= (third.count as u32) * period, "{third:?}");
                // Dropped before it comes, it is not lost.
                let unasked = timeout(Duration::ZERO, interval.tick()).await;
                let fourth = match unasked {
                    Ok(tick) => tick,
                    Err(_) => interval.tick().await,
                };
                assert_eq!(fourth.count, third.count + 1 + fourth.skipped);
            })
            .unwrap();
        assert_nothing_left(&reactor);
    });
}

#[test]
fn in_virtual_time_ticks_come_to_the_nanosecond() {
    let mut simulation = twistor::sim::Simulation::new(7);
    let host = simulation.host("clockwork");
    let seen = Rc::new(RefCell::new(Vec::new()));
    let times = Rc::clone(&seen);
    simulation
        .reactor(host)
        .spawn(async move {
            let began = now();
            let mut interval = interval(Duration::from_millis(100));
            for _ in 0..4 {
                let tick = interval.tick().await;
                times.borrow_mut().push((tick.count, tick.skipped, now() - began));
                if tick.count == 1 {
                    sleep(Duration::from_millis(250)).await;
                }
            }
        })
        .detach();
    simulation.run_for(Duration::from_secs(1)).unwrap();
    let ms = Duration::from_millis;
    // The third tick was due at 200 and at 300 ms: one is skipped, one comes late, and the next is in phase.
    assert_eq!(*seen.borrow(), [(0, 0, ms(0)), (1, 0, ms(100)), (3, 1, ms(350)), (4, 0, ms(400))]);
}
