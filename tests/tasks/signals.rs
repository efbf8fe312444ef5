//! Tasks receive signals, each all of them, and the default stop comes back after the last.

use std::cell::Cell;
use std::future::pending;
use std::rc::Rc;
use std::time::Duration;

use crate::world::{on_each_back_end, raise};
use twistor::task::{self, JoinSet, select, signals, timeout, yield_now};
use twistor::{Error, Handle, Settings, Signal};

const MOMENT: Duration = Duration::from_millis(2);

#[test]
fn each_receiver_gets_each_delivery_of_its_signal() {
    on_each_back_end(|world| {
        world.run_future(async {
            let (mut receivers, received) = (JoinSet::new(), Rc::new(Cell::new(0)));
            for _ in 0..3 {
                let (mut hangups, received) = (signals(Signal::Hangup).unwrap(), Rc::clone(&received));
                receivers.spawn(async move {
                    for _ in 0..2 {
                        hangups.recv().await.unwrap();
                        received.set(received.get() + 1);
                    }
                });
            }
            let mut users = signals(Signal::User1).unwrap();
            assert_eq!(users.signal(), Signal::User1);
            for count in [3, 6] {
                raise(Signal::Hangup);
                while received.get() < count {
                    yield_now().await;
                }
            }
            while let Some(result) = receivers.join_next().await {
                result.unwrap();
            }
            timeout(MOMENT, users.recv()).await.unwrap_err();
            raise(Signal::User1);
            assert_eq!(users.recv().await, Some(()));
            // A new one gets what is delivered from now on.
            timeout(MOMENT, signals(Signal::User1).unwrap().recv()).await.unwrap_err();
        });
    });
}

#[test]
fn deliveries_before_a_call_count_as_one() {
    on_each_back_end(|world| {
        world.run_future(async {
            let (mut users, mut others) = (signals(Signal::User2).unwrap(), signals(Signal::User2).unwrap());
            for _ in 0..2 {
                raise(Signal::User2);
                others.recv().await.unwrap();
            }
            assert_eq!(users.recv().await, Some(()));
            timeout(MOMENT, users.recv()).await.unwrap_err();
        });
    });
}

#[test]
fn the_default_stop_comes_back_after_the_last_receiver() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor_that_signals_stop(Settings::default());
        let heard = Rc::new(Cell::new(0));
        let count = Rc::clone(&heard);
        let result = reactor.block_on(async move {
            let (mut one, other) = (signals(Signal::Terminate).unwrap(), signals(Signal::Terminate).unwrap());
            for _ in 0..2 {
                raise(Signal::Terminate);
                one.recv().await.unwrap();
                count.set(count.get() + 1);
            }
            assert!(!Handle::current().unwrap().is_stopping());
            drop((one, other));
            raise(Signal::Terminate);
            task::stopping().await;
            count.get()
        });
        assert_eq!(result.unwrap(), 2);
        reactor.run().unwrap();
        assert_eq!(heard.get(), 2);
    });
}

#[test]
fn receivers_end_with_their_reactor() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let mut hangups = reactor.block_on(async { signals(Signal::Hangup).unwrap() }).unwrap();
        let mut other = world.reactor();
        let waits = other.spawn(async move { hangups.recv().await });
        other.iterate(Some(Duration::ZERO)).unwrap();
        drop(reactor);
        assert_eq!(other.block_on(waits).unwrap(), Ok(None));
        assert!(matches!(signals(Signal::Hangup), Err(Error::ReactorUnavailable)));
        other.block_on(select(pending::<()>(), async {})).unwrap();
    });
}
