//! A task awaits a Deferred, and a Deferred has what a future comes to.

use std::cell::Cell;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use crate::world::{Record, World, on_each_back_end};
use twistor::deferred::{DeferredLock, FailureKind, defer_later};
use twistor::task::{self, TaskError, sleep};
use twistor::{Deferred, Failure, Handle, Reactor, Resolver};

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
        reactor.iterate(Some(Duration::ZERO)).unwrap();
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
            Handle::current().unwrap().with_reactor(|reactor| defer_later(reactor, SHORT))?.await?;
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
        reactor.iterate(Some(Duration::ZERO)).unwrap();
        assert_eq!(reactor.delayed_call_count(), 1);
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
        assert_eq!(reactor.resource_count(), 0);
    });
}

#[test]
fn a_future_that_panics_is_a_failure() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let deferred = Deferred::<u32>::from_future(&reactor.handle(), async { panic!("in there") });
        let failure = outcome(world, &mut reactor, deferred).unwrap_err();
        assert!(matches!(failure.kind(), FailureKind::Panicked(text) if text == "in there"));
        assert_eq!(
            (reactor.statistics().panics, world.logged()),
            (1, vec!["panic in a task: in there".into()])
        );
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
            reactor.iterate(Some(Duration::ZERO)).unwrap();
            assert_eq!(reactor.resource_count(), 1);
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

/// Counts how often it is woken.
#[derive(Default)]
struct Woken(AtomicUsize);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// Makes what is awaited: with a handle of another reactor, and the one that is about to end.
type Make = fn(&Handle, &mut Reactor) -> (Option<Resolver<u32>>, Deferred<u32>);

/// What is done, and whether the reactor has begun before it ends: one that has not leaves in its queue what is there.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Case {
    FiredBefore,
    FiredAfter,
    CancelledBefore,
    /// Its resolver is dropped with the reactor.
    Begun,
}

#[test]
fn whoever_awaits_one_of_a_reactor_that_has_ended_hears_of_it() {
    let alone: Make = |_, ending| {
        let (resolver, deferred) = Deferred::with_canceller(&ending.handle(), |_, _| {});
        (Some(resolver), deferred.map(|_, number: u32| number + 1))
    };
    let waited_for_elsewhere: Make = |other, ending| {
        let (resolver, inner) = Deferred::new(&ending.handle());
        let inner = inner.map(|_, number: u32| number + 1);
        (Some(resolver), Deferred::succeed(other, ()).then(|_, ()| inner).map(|_, number| number + 1))
    };
    let waiting: Make = |_, ending| {
        let (resolver, inner) = Deferred::new(&ending.handle());
        ending.call_later(LONG, move |_| resolver.callback(1).unwrap());
        let inner = inner.map(|_, number: u32| number + 1);
        (None, Deferred::succeed(&ending.handle(), ()).then(|_, ()| inner).map(|_, number| number + 1))
    };
    let cases = [
        (Case::FiredBefore, alone),
        (Case::FiredAfter, alone),
        (Case::CancelledBefore, alone),
        (Case::FiredBefore, waited_for_elsewhere),
        (Case::FiredAfter, waited_for_elsewhere),
        (Case::Begun, waiting),
    ];
    on_each_back_end(|world| {
        for (number, (case, make)) in cases.into_iter().enumerate() {
            let (mut other, mut ending) = (world.reactor(), world.reactor());
            let (resolver, mut deferred) = make(&other.handle(), &mut ending);
            let fire = || resolver.iter().for_each(|resolver| resolver.callback(1).unwrap());
            if case == Case::Begun {
                ending.iterate(Some(Duration::ZERO)).unwrap();
            }
            other.iterate(Some(Duration::ZERO)).unwrap();
            let woken = Arc::new(Woken::default());
            let waker = Waker::from(Arc::clone(&woken));
            let mut context = Context::from_waker(&waker);
            assert!(Pin::new(&mut deferred).poll(&mut context).is_pending(), "{number}");
            match case {
                Case::FiredBefore => fire(),
                Case::CancelledBefore => deferred.cancel(),
                Case::FiredAfter | Case::Begun => {}
            }
            drop(ending);
            if case == Case::FiredAfter {
                fire();
            }
            other.iterate(Some(Duration::ZERO)).unwrap();
            assert_eq!(woken.0.load(Ordering::Relaxed), 1, "{number}");
            let Poll::Ready(Err(failure)) = Pin::new(&mut deferred).poll(&mut context) else {
                panic!("{number}: it has no callbacks left")
            };
            let cancelled = case == Case::CancelledBefore;
            assert_eq!(
                (failure.is_cancelled(), failure.is_never_fired()),
                (cancelled, !cancelled),
                "{number}"
            );
        }
    });
}

#[test]
fn a_deferred_without_callbacks_fires_after_its_reactor_ended() {
    on_each_back_end(|world| {
        let (mut other, ending) = (world.reactor(), world.reactor());
        let (resolver, deferred) = Deferred::<u32>::new(&ending.handle());
        let waits = Deferred::succeed(&other.handle(), ()).then(|_, ()| deferred).map(|_, number| number + 1);
        other.iterate(Some(Duration::ZERO)).unwrap();
        drop(ending);
        resolver.callback(1).unwrap();
        assert_eq!(outcome(world, &mut other, waits).unwrap(), 2);
    });
}
