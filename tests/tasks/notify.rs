//! A `Notify` loses no wake-up, wakes in order, and survives wakers that come back to it.

use std::cell::{Cell, RefCell};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use crate::world::on_each_back_end;
use twistor::task::{self, Notified, Notify, join, sleep, timeout, yield_now};

fn poll(future: &mut Pin<&mut Notified<'_>>) -> bool {
    future.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_ready()
}

#[test]
fn one_permit_is_stored_however_often() {
    let notify = Notify::new();
    notify.notify_one();
    notify.notify_one();
    assert!(poll(&mut pin!(notify.notified())));
    assert!(!poll(&mut pin!(notify.notified())));
    notify.notify_waiters();
    assert!(!poll(&mut pin!(notify.notified())), "a broadcast stores nothing");
}

#[test]
fn the_one_that_waits_longest_is_woken() {
    on_each_back_end(|world| {
        world.run_future(async {
            let (notify, woken) = (Rc::new(Notify::new()), Rc::new(RefCell::new(Vec::new())));
            let mut tasks = Vec::new();
            for number in 0..5 {
                let (notify, woken) = (Rc::clone(&notify), Rc::clone(&woken));
                tasks.push(task::spawn(async move {
                    notify.notified().await;
                    woken.borrow_mut().push(number);
                }));
                yield_now().await;
                yield_now().await;
            }
            for count in 1..=3 {
                notify.notify_one();
                yield_now().await;
                yield_now().await;
                assert_eq!(*woken.borrow(), (0..count).collect::<Vec<_>>());
            }
            notify.notify_waiters();
            for task in tasks {
                task.await.unwrap();
            }
            assert_eq!(*woken.borrow(), [0, 1, 2, 3, 4]);
        });
    });
}

#[test]
fn a_broadcast_reaches_futures_that_were_not_polled() {
    let notify = Notify::new();
    let (mut before, mut polled) = (pin!(notify.notified()), pin!(notify.notified()));
    assert!(!poll(&mut polled));
    notify.notify_waiters();
    let mut after = pin!(notify.notified());
    assert_eq!((poll(&mut before), poll(&mut polled), poll(&mut after)), (true, true, false));
    assert!(poll(&mut before), "and stays ready");
}

#[test]
fn a_dropped_future_passes_its_wake_up_on() {
    let notify = Notify::new();
    let mut second = pin!(notify.notified());
    {
        let mut first = pin!(notify.notified());
        assert!(!poll(&mut first) && !poll(&mut second));
        notify.notify_one();
    }
    assert!(poll(&mut second));
    {
        let mut alone = pin!(notify.notified());
        assert!(!poll(&mut alone));
        notify.notify_one();
    }
    assert!(poll(&mut pin!(notify.notified())), "it became a permit");
}

#[test]
fn a_future_that_was_given_up_takes_no_wake_up() {
    on_each_back_end(|world| {
        world.run_future(async {
            let notify = Notify::new();
            timeout(Duration::from_millis(1), notify.notified()).await.unwrap_err();
            let done = Cell::new(false);
            let wait = async {
                notify.notified().await;
                done.set(true);
            };
            let wake = async {
                sleep(Duration::from_millis(1)).await;
                notify.notify_one();
            };
            join(wait, wake).await;
            assert!(done.get());
        });
    });
}

thread_local! {
    static SHARED: Rc<Notify> = Rc::new(Notify::new());
}

/// A waker that uses the `Notify` when it is woken and when it is dropped.
struct ComesBack;

impl Wake for ComesBack {
    fn wake(self: Arc<ComesBack>) {
        SHARED.with(|notify| notify.notify_waiters());
    }
}

impl Drop for ComesBack {
    fn drop(&mut self) {
        let _ = SHARED.try_with(|notify| notify.notify_one());
    }
}

#[test]
fn wakers_may_come_back_when_woken_and_when_dropped() {
    let notify = SHARED.with(Rc::clone);
    let come_back = || Waker::from(Arc::new(ComesBack));
    let mut first = pin!(notify.notified());
    let mut polled = |waker: &Waker| first.as_mut().poll(&mut Context::from_waker(waker));
    assert_eq!(polled(&come_back()), Poll::Pending);
    // The waker is replaced. Its destructor notifies the future itself.
    assert_eq!(polled(Waker::noop()), Poll::Pending);
    assert_eq!(polled(Waker::noop()), Poll::Ready(()));
    {
        let mut second = pin!(notify.notified());
        assert!(second.as_mut().poll(&mut Context::from_waker(&come_back())).is_pending());
        notify.notify_one();
        assert!(second.as_mut().poll(&mut Context::from_waker(&come_back())).is_ready());
    }
    {
        let mut third = pin!(notify.notified());
        // The permit of the last dropped waker.
        assert!(poll(&mut third));
    }
    assert!(format!("{notify:?}").contains("waiting: 0"), "{notify:?}");
}
