//! Tasks run on the loop, one at a time, beside callbacks, and end when they should.

use std::cell::{Cell, RefCell};
use std::future::{pending, poll_fn};
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use crate::world::{World, on_each_back_end, on_the_real_network, spend, with_reactor};
use twistor::task::{self, TaskError, sleep, yield_now};
use twistor::{Error, Handle, Phase, Reactor, SystemEvent};

/// What happened, in order.
#[derive(Clone, Default)]
struct Log(Rc<RefCell<Vec<String>>>);

impl Log {
    fn note(&self, what: impl Into<String>) {
        self.0.borrow_mut().push(what.into());
    }

    fn take(&self) -> Vec<String> {
        self.0.take()
    }
}

/// Says when it is dropped.
struct Dropped(Log, &'static str);

impl Drop for Dropped {
    fn drop(&mut self) {
        self.0.note(format!("{} dropped", self.1));
    }
}

fn turns(reactor: &mut Reactor, count: usize) {
    for _ in 0..count {
        reactor.iterate(Some(Duration::ZERO)).unwrap();
    }
}

/// Nothing is left but what the promise says.
fn assert_nothing_left(reactor: &Reactor) {
    assert_eq!((reactor.resource_count(), reactor.delayed_call_count()), (0, 0), "{:?}", reactor.tasks());
}

#[test]
fn a_task_begins_from_the_loop_and_in_the_order_of_spawning() {
    on_each_back_end(|world| {
        let (mut reactor, log) = (world.reactor(), Log::default());
        for name in ["one", "two", "three"] {
            let log = log.clone();
            reactor.spawn(async move { log.note(name) }).detach();
        }
        assert!(log.take().is_empty());
        turns(&mut reactor, 1);
        assert_eq!(log.take(), ["one", "two", "three"]);
        assert_nothing_left(&reactor);
    });
}

#[test]
fn one_that_is_spawned_by_a_task_comes_in_the_next_turn() {
    on_each_back_end(|world| {
        let (mut reactor, log) = (world.reactor(), Log::default());
        let inner = log.clone();
        reactor
            .spawn(async move {
                let log = inner.clone();
                task::spawn(async move { log.note("inner") }).detach();
                inner.note("outer");
            })
            .detach();
        turns(&mut reactor, 1);
        assert_eq!(log.take(), ["outer"]);
        turns(&mut reactor, 1);
        assert_eq!(log.take(), ["inner"]);
    });
}

#[test]
fn a_result_is_there_when_the_future_was_dropped() {
    on_each_back_end(|world| {
        let (mut reactor, log) = (world.reactor(), Log::default());
        let inner = log.clone();
        let result = reactor.block_on(async move {
            let held = Dropped(inner.clone(), "what it held");
            let result = task::spawn(async move {
                yield_now().await;
                let _held = &held;
                7
            })
            .await;
            inner.note("told");
            result
        });
        assert_eq!(result.unwrap(), Ok(7));
        assert_eq!(log.take(), ["what it held dropped", "told"]);
        assert_nothing_left(&reactor);
    });
}

#[test]
fn a_dropped_task_is_cancelled_and_a_detached_one_runs_on() {
    on_each_back_end(|world| {
        let (mut reactor, log) = (world.reactor(), Log::default());
        let held = Dropped(log.clone(), "one");
        let one = reactor.spawn(async move {
            let _held = held;
            pending::<()>().await;
        });
        let inner = log.clone();
        reactor
            .spawn(async move {
                sleep(Duration::from_millis(1)).await;
                inner.note("two ended");
            })
            .detach();
        turns(&mut reactor, 1);
        drop(one);
        assert!(log.take().is_empty(), "not inside the drop");
        turns(&mut reactor, 1);
        assert_eq!(log.take(), ["one dropped"]);
        world.run_until_idle(&mut reactor);
        assert_eq!(log.take(), ["two ended"]);
        assert_nothing_left(&reactor);
    });
}

#[test]
fn cancelling_fails_a_pending_task_and_keeps_an_ended_result() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let results = reactor.block_on(async {
            let endless = task::spawn(pending::<u8>());
            let quick = task::spawn(async { 1 });
            yield_now().await;
            yield_now().await;
            endless.cancel();
            quick.cancel();
            assert!(quick.is_finished() && !endless.is_finished());
            (endless.await, quick.await)
        });
        assert_eq!(results.unwrap(), (Err(TaskError::Cancelled), Ok(1)));
        assert_nothing_left(&reactor);
    });
}

#[test]
fn a_task_that_cancels_itself_ends_where_it_waits_next() {
    on_each_back_end(|world| {
        let (mut reactor, log) = (world.reactor(), Log::default());
        let own = Rc::new(RefCell::new(None));
        let (mine, inner) = (Rc::clone(&own), log.clone());
        let task = reactor.spawn(async move {
            drop(mine.borrow_mut().take());
            inner.note("goes on");
            yield_now().await;
            inner.note("never");
        });
        own.replace(Some(task));
        turns(&mut reactor, 3);
        assert_eq!(log.take(), ["goes on"]);
        assert_nothing_left(&reactor);
    });
}

#[test]
fn a_panic_ends_that_task_alone_is_logged_and_told() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let (bad, good) = reactor
            .block_on(async {
                let bad = task::spawn(async {
                    yield_now().await;
                    if true {
                        panic!("it is broken");
                    }
                });
                let good = task::spawn(async {
                    sleep(Duration::from_millis(1)).await;
                    "well"
                });
                (bad.await, good.await)
            })
            .unwrap();
        assert_eq!(bad, Err(TaskError::Panicked("it is broken".into())));
        assert_eq!(good, Ok("well"));
        let logged = world.logged();
        assert!(logged.len() == 1 && logged[0].contains("panic in a task: it is broken"), "{logged:?}");
        assert_eq!(reactor.statistics().panics, 1);
        assert_nothing_left(&reactor);
    });
}

#[test]
fn a_panic_in_what_an_end_drops_is_nobody_elses() {
    struct Bad;
    impl Drop for Bad {
        fn drop(&mut self) {
            panic!("it does not go");
        }
    }
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let result = reactor.block_on(async {
            let bad = Bad;
            let task = task::spawn(poll_fn(move |_| {
                let _bad = &bad;
                Poll::Ready(3)
            }));
            task.await
        });
        // It had its result by then.
        assert_eq!(result.unwrap(), Ok(3));
        assert!(world.logged().concat().contains("it does not go"));
        assert_nothing_left(&reactor);
    });
}

#[test]
fn a_panic_while_dropping_an_unwanted_result_is_contained() {
    struct Bad;
    impl Drop for Bad {
        fn drop(&mut self) {
            panic!("dropping fails");
        }
    }
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        reactor.spawn(async { Bad }).detach();
        reactor.block_on(async { yield_now().await }).unwrap();
        assert!(world.logged().concat().contains("dropping fails"));
        assert!(Handle::current().is_err());
        assert_nothing_left(&reactor);
    });
}

#[test]
fn what_is_thrown_may_panic_as_it_goes() {
    struct Bad;
    impl Drop for Bad {
        fn drop(&mut self) {
            panic!("again");
        }
    }
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        reactor.spawn(async { std::panic::panic_any(Bad) }).detach();
        reactor.call_later(Duration::ZERO, |_| std::panic::panic_any(Bad));
        turns(&mut reactor, 3);
        assert_eq!((world.logged().len(), reactor.statistics().panics), (2, 2));
        assert!(Handle::current().is_err());
        assert_nothing_left(&reactor);
    });
}

#[test]
fn busy_tasks_leave_time_for_the_network_and_for_timers() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let done = Rc::new(Cell::new(false));
        let end = Rc::clone(&done);
        reactor.call_later(Duration::from_millis(1), move |_| end.set(true));
        let polls = reactor.block_on(async move {
            let mut polls = 0u32;
            while !done.get() {
                polls += 1;
                if polls > 3 {
                    // No time passes by itself in a simulated turn.
                    spend(Duration::from_millis(1));
                }
                yield_now().await;
            }
            polls
        });
        assert!(polls.unwrap() > 1);
        assert_nothing_left(&reactor);
    });
}

#[test]
fn when_the_reactor_ends_current_and_later_tasks_end() {
    on_each_back_end(|world| {
        let (mut reactor, log) = (world.reactor(), Log::default());
        let held = Dropped(log.clone(), "the first");
        let waiting = reactor.spawn(async move {
            let _held = held;
            sleep(Duration::from_secs(60)).await;
        });
        reactor.call_later(Duration::from_millis(1), |reactor| {
            reactor.stop();
        });
        let handle = reactor.handle();
        world.run(&mut reactor);
        assert_eq!(log.take(), ["the first dropped"]);
        assert!(waiting.is_finished() && handle.finished());
        let late = handle.spawn(async { 1 });
        assert!(late.is_finished());
        handle.call(|_| unreachable!("it has finished"));
        assert_nothing_left(&reactor);
    });
}

#[test]
fn at_the_end_whoever_was_spawned_by_another_goes_before_it() {
    on_each_back_end(|world| {
        let (mut reactor, log) = (world.reactor(), Log::default());
        let (outer, inner) = (Dropped(log.clone(), "parent"), Dropped(log.clone(), "child"));
        // Its place is taken by the child.
        let first = reactor.spawn(async {});
        reactor
            .spawn(async move {
                let _outer = outer;
                yield_now().await;
                let child = async move {
                    let _inner = inner;
                    pending::<()>().await;
                };
                task::spawn(child).detach();
                pending::<()>().await;
            })
            .detach();
        turns(&mut reactor, 4);
        drop((first, reactor));
        assert_eq!(log.take(), ["child dropped", "parent dropped"]);
    });
}

#[test]
fn tasks_go_when_a_blocking_future_panics() {
    on_the_real_network("it has a reactor of its own", |_| {
        let log = Log::default();
        let held = Dropped(log.clone(), "what it held");
        let caught = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            let _ = twistor::block_on(async move {
                let waiting = async move {
                    let _held = held;
                    pending::<()>().await;
                };
                task::spawn(waiting).detach();
                yield_now().await;
                yield_now().await;
                panic!("it is broken");
            });
        }));
        assert!(caught.is_err());
        assert_eq!(log.take(), ["what it held dropped"]);
    });
}

#[test]
fn a_reactor_among_the_locals_of_a_thread_ends_with_it() {
    thread_local! {
        static REACTOR: RefCell<Option<Reactor>> = const { RefCell::new(None) };
    }
    on_the_real_network("threads are the system's", |_| {
        let thread = std::thread::spawn(|| {
            REACTOR.with_borrow_mut(|kept| {
                let mut reactor = Reactor::new().unwrap();
                reactor.spawn(sleep(Duration::from_secs(60))).detach();
                turns(&mut reactor, 2);
                *kept = Some(reactor);
            });
        });
        thread.join().unwrap();
    });
}

#[test]
fn no_turn_begins_in_what_the_drop_of_a_reactor_calls() {
    on_each_back_end(|world| {
        let (mut reactor, log) = (world.reactor(), Log::default());
        let inner = log.clone();
        reactor.add_system_event_trigger(Phase::After, SystemEvent::Shutdown, move |reactor, _| {
            inner.note(reactor.iterate(None).unwrap_err().to_string());
        });
        turns(&mut reactor, 1);
        drop(reactor);
        assert_eq!(log.take(), ["the reactor is already running"]);
    });
}

#[test]
fn what_losses_at_the_end_lead_to_is_still_done() {
    struct Told(Option<task::Sender<&'static str>>, Log);
    impl twistor::Protocol for Told {
        fn data_received(&mut self, _: &mut twistor::Transport<'_>, _: &[u8]) {}

        fn connection_lost(&mut self, transport: &mut twistor::Transport<'_>, _: &twistor::Reason) {
            let log = self.1.clone();
            transport.reactor().handle().call(move |_| log.note("called"));
            if let Some(sender) = self.0.take() {
                sender.try_send("lost").unwrap();
            }
        }
    }
    on_each_back_end(|world| {
        let (mut reactor, log) = (world.reactor(), Log::default());
        let (sender, mut receiver) = task::channel(1);
        let inner = log.clone();
        let listening = reactor.spawn(async move {
            inner.note(receiver.recv().await.unwrap());
            yield_now().await;
            inner.note("cleaned up");
            loop {
                yield_now().await;
            }
        });
        let listener = world.serve(&mut reactor, Told(Some(sender), log.clone()));
        let _peer = world.connect(listener.address());
        world.run_until(&mut reactor, "accepted", |reactor| !reactor.connections().is_empty());
        reactor.stop();
        world.run(&mut reactor);
        assert_eq!(log.take(), ["called", "lost", "cleaned up"]);
        assert!(listening.is_finished(), "one that never rests is dropped");
    });
}

#[test]
fn an_aborted_blocking_future_reaches_the_reactor_in_its_drop() {
    struct Reaches(Log);
    impl Drop for Reaches {
        fn drop(&mut self) {
            let reached = Handle::current().is_ok_and(|handle| handle.with_reactor(|_| ()).is_ok());
            self.0.note(format!("reached: {reached}"));
        }
    }
    on_each_back_end(|world| {
        let (mut reactor, log) = (world.reactor(), Log::default());
        let reaches = Reaches(log.clone());
        let stopped = reactor.block_on(async move {
            let _reaches = reaches;
            with_reactor(|reactor| reactor.stop());
            pending::<()>().await;
        });
        assert!(matches!(stopped, Err(Error::Stopped)));
        assert_eq!(log.take(), ["reached: true"]);
    });
}

#[test]
fn a_killed_process_reaches_nothing_as_its_tasks_go() {
    let mut simulation = twistor::sim::Simulation::new(1);
    let (host, log) = (simulation.host("killed"), Log::default());
    struct Reaches(Log, Handle);
    impl Drop for Reaches {
        fn drop(&mut self) {
            let reached = Handle::current().is_ok() || self.1.with_reactor(|_| ()).is_ok();
            self.0.note(format!("reached: {reached}"));
        }
    }
    let reactor = simulation.reactor(host);
    let reaches = Reaches(log.clone(), reactor.handle());
    reactor
        .spawn(async move {
            let _reaches = reaches;
            pending::<()>().await;
        })
        .detach();
    simulation.run_for(Duration::from_millis(1)).unwrap();
    simulation.kill(host);
    assert_eq!(log.take(), ["reached: false"]);
}

#[test]
fn callbacks_of_a_nested_reactor_are_not_in_the_outer_task() {
    on_each_back_end(|world| {
        let (mut outer, mut inner) = (world.reactor(), world.reactor());
        let seen = outer.block_on(async move {
            let (seen, own) = (Rc::new(Cell::new(None)), Handle::current().unwrap());
            let note = Rc::clone(&seen);
            inner.call_later(Duration::ZERO, move |_| note.set(Some(Handle::current().is_err())));
            turns(&mut inner, 2);
            assert!(Handle::current().unwrap().is_same(&own));
            seen.get()
        });
        assert_eq!(seen.unwrap(), Some(true));
    });
}

#[test]
fn a_block_on_that_is_stopped_says_so() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let stopped = reactor.block_on(async {
            with_reactor(|reactor| reactor.stop());
            pending::<()>().await;
        });
        assert!(matches!(stopped, Err(Error::Stopped)), "{stopped:?}");
        assert!(matches!(reactor.block_on(async {}), Err(Error::ReactorFinished)));
    });
}

#[test]
fn a_block_on_leaves_the_reactor_as_it_was() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let borrowed = String::from("what is not static");
        assert_eq!(reactor.block_on(async { borrowed.len() }).unwrap(), 18);
        let ticks = Rc::new(Cell::new(0));
        let count = Rc::clone(&ticks);
        let ticker = reactor.spawn(async move {
            loop {
                yield_now().await;
                count.set(count.get() + 1);
            }
        });
        reactor.block_on(sleep(Duration::from_millis(1))).unwrap();
        let before = ticks.get();
        turns(&mut reactor, 2);
        assert_eq!(ticks.get(), before + 2);
        drop(ticker);
        turns(&mut reactor, 1);
        assert_nothing_left(&reactor);
    });
}

#[test]
fn a_panic_of_the_blocking_future_is_the_callers() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let caught = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            reactor.block_on(async {
                yield_now().await;
                panic!("mine");
            })
        }));
        assert_eq!(*caught.unwrap_err().downcast::<&str>().unwrap(), "mine");
        assert_eq!(reactor.block_on(async { 1 }).unwrap(), 1, "and the reactor goes on");
    });
}

#[test]
fn a_reactor_can_be_reached_inside_a_task_and_by_one_at_a_time() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let handle = reactor.handle();
        assert!(matches!(handle.with_reactor(|_| ()), Err(Error::ReactorUnavailable)));
        assert!(Handle::current().is_err());
        let inner = handle.clone();
        let seen = reactor.block_on(async move {
            assert!(Handle::current().unwrap().is_same(&inner));
            let nested = inner.with_reactor(|reactor| {
                let turned = reactor.iterate(None);
                assert!(matches!(turned, Err(Error::AlreadyRunning)));
                assert!(matches!(reactor.block_on(async {}), Err(Error::AlreadyRunning)));
                Handle::current().unwrap().with_reactor(|_| ())
            });
            assert!(matches!(nested, Ok(Err(Error::ReactorUnavailable))));
            inner.with_reactor(|reactor| reactor.now()).unwrap()
        });
        assert!(seen.unwrap() <= reactor.now());
        assert!(Handle::current().is_err());
        // Wake-ups left over from the inner one have no effect.
        turns(&mut reactor, 2);
    });
}

#[test]
fn a_reactor_inside_a_task_of_another_has_tasks_of_its_own() {
    on_each_back_end(|world| {
        let (mut outer, mut inner) = (world.reactor(), world.reactor());
        let inside = inner.handle();
        let same = outer.block_on(async move {
            let before = Handle::current().unwrap();
            let own = inner.block_on(async { Handle::current().unwrap() }).unwrap();
            (own.is_same(&inside), Handle::current().unwrap().is_same(&before))
        });
        assert_eq!(same.unwrap(), (true, true));
    });
}

#[test]
fn queued_calls_run_in_order_and_nested_calls_a_turn_later() {
    on_each_back_end(|world| {
        let (mut reactor, log) = (world.reactor(), Log::default());
        let handle = reactor.handle();
        for number in 0..3 {
            let (log, handle) = (log.clone(), handle.clone());
            handle.clone().call(move |_| {
                log.note(format!("{number}"));
                handle.call(move |_| log.note(format!("after {number}")));
            });
        }
        assert!(log.take().is_empty());
        turns(&mut reactor, 1);
        assert_eq!(log.take(), ["0", "1", "2"]);
        turns(&mut reactor, 1);
        assert_eq!(log.take(), ["after 0", "after 1", "after 2"]);
        assert_nothing_left(&reactor);
    });
}

#[test]
fn a_queued_call_of_a_reactor_that_never_ran_is_dropped_with_it() {
    on_each_back_end(|world| {
        let (reactor, log) = (world.reactor(), Log::default());
        let (handle, held) = (reactor.handle(), Dropped(log.clone(), "what it held"));
        handle.call(move |_| drop(held));
        drop(reactor);
        assert_eq!(log.take(), ["what it held dropped"]);
        assert!(handle.finished());
    });
}

#[test]
fn a_thread_wakes_a_loop_that_waits() {
    on_the_real_network("threads are the system's", |world| {
        let mut reactor = world.reactor();
        for _ in 0..200 {
            let flag = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
            let mut thread = None;
            reactor
                .block_on(poll_fn(|context| {
                    if flag.load(std::sync::atomic::Ordering::SeqCst) {
                        return Poll::Ready(());
                    }
                    if thread.is_none() {
                        let (flag, waker) = (std::sync::Arc::clone(&flag), context.waker().clone());
                        thread = Some(std::thread::spawn(move || {
                            flag.store(true, std::sync::atomic::Ordering::SeqCst);
                            waker.wake();
                        }));
                    }
                    Poll::Pending
                }))
                .unwrap();
            thread.unwrap().join().unwrap();
        }
        world.run_until_idle(&mut reactor);
    });
}

#[test]
fn a_callback_of_one_reactor_can_wake_a_task_of_another() {
    on_each_back_end(|world| {
        let (mut one, mut other) = (world.reactor(), world.reactor());
        let (sender, mut receiver) = task::channel(1);
        let waiting = other.spawn(async move { receiver.recv().await });
        turns(&mut other, 2);
        one.block_on(async move { sender.send(5).await }).unwrap().unwrap();
        assert_eq!(other.block_on(waiting).unwrap(), Ok(Some(5)));
    });
}

#[test]
fn tasks_can_be_listed_with_their_names_and_places() {
    on_each_back_end(|world: &World| {
        let mut reactor = world.reactor();
        let named = reactor.spawn(pending::<()>()).named("the one that waits");
        let line = line!() - 1;
        let other = reactor.spawn(pending::<()>());
        let tasks = reactor.tasks();
        assert_eq!(tasks.len(), 2);
        assert_eq!(tasks[0].name.as_deref(), Some("the one that waits"));
        assert_eq!((tasks[0].location.file(), tasks[0].location.line()), (file!(), line));
        assert!(tasks[0].to_string().starts_with("the one that waits, spawned at tests/tasks/running.rs:"));
        assert!(tasks[1].id > tasks[0].id && tasks[1].name.is_none());
        drop((named, other));
        turns(&mut reactor, 1);
        assert!(reactor.tasks().is_empty());
    });
}
