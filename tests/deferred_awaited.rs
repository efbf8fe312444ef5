//! A task awaits a Deferred, and a Deferred has what a future comes to.

mod world;

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use twistor::deferred::{DeferredLock, FailureKind, defer_later};
use twistor::task::{self, TaskError, sleep};
use twistor::{Deferred, Failure, Reactor};
use world::{Record, World, on_each_back_end};

const SHORT: Duration = Duration::from_millis(1);
const LONG: Duration = Duration::from_secs(3600);

/// Says when it is dropped.
struct Dropped(Record);

impl Drop for Dropped {
    fn drop(&mut self) {
        self.0.add("dropped");
    }
}

fn outcome<T: 'static>(world: &World, reactor: &mut Reactor, deferred: Deferred<T>) -> Result<T, Failure> {
    let place = Rc::new(Cell::new(None));
    let (noted, there) = (Rc::clone(&place), Rc::new(Cell::new(false)));
    let come = Rc::clone(&there);
    deferred.done(move |_, outcome| {
        noted.set(Some(outcome));
        come.set(true);
    });
    world.run_until(reactor, "the outcome", |_| there.get());
    place.take().unwrap()
}

#[test]
fn a_task_gets_the_result_or_the_failure_after_all_callbacks() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let record = Record::new();
        let noted = record.clone();
        let (resolver, deferred) = Deferred::<u32>::new(&reactor.handle());
        let deferred = deferred.map(|_, number| number + 1);
        let (failing, failed) = Deferred::<u32>::new(&reactor.handle());
        reactor
            .spawn(async move {
                noted.add(format!("{:?}", deferred.await.ok()));
                noted.add(failed.await.unwrap_err().to_string());
            })
            .detach();
        reactor.turn(Some(Duration::ZERO)).unwrap();
        resolver.callback(1).unwrap();
        failing.errback(Failure::new("no")).unwrap();
        world.run_until_idle(&mut reactor);
        assert_eq!(record.events(), ["Some(2)", "no"]);
    });
}

#[test]
fn in_a_task_errors_of_all_kinds_are_one() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let handle = reactor.handle();
        let lock = DeferredLock::new(&handle);
        let run = async move {
            let acquired = lock.acquire().await?;
            task::here().with(|reactor| defer_later(reactor, SHORT))?.await?;
            drop(acquired);
            let number: u32 = "x".parse()?;
            Ok::<u32, Failure>(number)
        };
        let failure = outcome(world, &mut reactor, Deferred::from_future(&handle, run)).unwrap_err();
        assert_eq!(failure.to_string(), "invalid digit found in string");
    });
}

#[test]
fn a_task_that_is_dropped_cancels_what_it_awaits() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let deferred = defer_later(&mut reactor, LONG);
        let task = reactor.spawn(deferred);
        reactor.turn(Some(Duration::ZERO)).unwrap();
        assert_eq!(reactor.delayed_calls(), 1);
        drop(task);
        world.run_until_idle(&mut reactor);
        let limited = task::timeout(SHORT, defer_later(&mut reactor, LONG));
        reactor.spawn(async move { assert!(limited.await.is_err()) }).detach();
        world.run_until_idle(&mut reactor);
    });
}

#[test]
fn a_deferred_has_what_a_future_comes_to() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let handle = reactor.handle();
        let deferred = Deferred::from_future(&handle, async {
            sleep(SHORT).await;
            Ok(7)
        });
        assert_eq!(outcome(world, &mut reactor, deferred.map(|_, number| number + 1)).unwrap(), 8);
        let failing = Deferred::<u32>::from_future(&handle, async { Err(Failure::new("no")) });
        assert_eq!(outcome(world, &mut reactor, failing).unwrap_err().to_string(), "no");
        assert_eq!(reactor.in_use(), 0);
    });
}

#[test]
fn a_future_that_panics_is_a_failure() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let deferred = Deferred::<u32>::from_future(&reactor.handle(), async { panic!("in there") });
        let failure = outcome(world, &mut reactor, deferred).unwrap_err();
        assert!(matches!(failure.kind(), FailureKind::Panicked(text) if text == "in there"));
        assert_eq!(reactor.statistics().panics, 0);
    });
}

#[test]
fn to_cancel_or_drop_the_deferred_of_a_future_drops_the_future() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let record = Record::new();
        for drops in [true, false] {
            let dropped = Dropped(record.clone());
            let deferred = Deferred::<()>::from_future(&reactor.handle(), async move {
                let _dropped = dropped;
                sleep(LONG).await;
                Ok(())
            });
            reactor.turn(Some(Duration::ZERO)).unwrap();
            assert_eq!(reactor.in_use(), 1);
            if drops {
                drop(deferred);
            } else {
                deferred.cancel();
                assert!(outcome(world, &mut reactor, deferred).unwrap_err().is_cancelled());
            }
            world.run_until_idle(&mut reactor);
        }
        assert_eq!(record.events(), ["dropped"; 2]);
    });
}

#[test]
fn what_tasks_fail_with_is_of_the_same_kinds() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let handle = reactor.handle();
        let kinds = async {
            let late = task::timeout(SHORT, sleep(LONG)).await;
            let late = Failure::from(late.unwrap_err());
            assert!(matches!(late.kind(), FailureKind::TimedOut(SHORT)), "{late:?}");
            let panicked = Failure::from(TaskError::Panicked("no".into()));
            assert!(matches!(panicked.kind(), FailureKind::Panicked(text) if text == "no"));
            assert!(Failure::from(TaskError::Cancelled).is_cancelled());
            Ok(())
        };
        outcome(world, &mut reactor, Deferred::from_future(&handle, kinds)).unwrap();
    });
}
