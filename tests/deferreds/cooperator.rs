//! Long work cooperates: its tasks have their steps in turns, in slices, and do not starve other work.

use std::cell::{Cell, RefCell};
use std::error::Error;
use std::rc::Rc;
use std::time::Duration;

use crate::world::{Record, Recorder, on_each_back_end, spend};
use twistor::deferred::{CooperationError, CooperativeTask, Cooperator, Step, TaskEnd, defer_later};
use twistor::{Deferred, Failure, Reactor};

fn turn(reactor: &mut Reactor) {
    assert!(reactor.iterate(Some(Duration::ZERO)).unwrap());
}

fn turns(reactor: &mut Reactor, count: usize) {
    (0..count).for_each(|_| turn(reactor));
}

/// Notes its steps, so many of them.
fn counting(cooperator: &Cooperator, record: &Record, name: &'static str, steps: usize) -> CooperativeTask {
    let (record, mut count) = (record.clone(), 0);
    cooperator.cooperate(move |_| {
        count += 1;
        record.add(format!("{name} {count}"));
        Ok(if count < steps { Step::Again } else { Step::Done })
    })
}

/// Goes on for ever, and counts.
fn endless(cooperator: &Cooperator) -> (CooperativeTask, Rc<Cell<u64>>) {
    let count = Rc::new(Cell::new(0));
    let counted = Rc::clone(&count);
    let task = cooperator.cooperate(move |_| {
        counted.set(counted.get() + 1);
        Ok(Step::Again)
    });
    (task, count)
}

#[test]
fn tasks_step_in_turns_and_never_inside_the_starting_call() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let record = Record::new();
        let cooperator = Cooperator::new(&reactor.handle());
        let tasks = [
            counting(&cooperator, &record, "a", 3),
            counting(&cooperator, &record, "b", 1),
            counting(&cooperator, &record, "c", 2),
        ];
        assert_eq!(record.events(), [] as [String; 0]);
        turn(&mut reactor);
        assert_eq!(record.events(), ["a 1", "b 1", "c 1", "a 2", "c 2", "a 3"]);
        assert!(tasks.iter().all(|task| matches!(task.ended(), Some(TaskEnd::Done))));
    });
}

#[test]
fn a_slice_ends_on_time_and_the_next_turn_runs_the_next_task() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let record = Record::new();
        let cooperator = Cooperator::with_slice(&reactor.handle(), Duration::from_millis(2));
        let tasks = ["a", "b"].map(|name| {
            let record = record.clone();
            cooperator.cooperate(move |reactor| {
                record.add(format!("{name} in turn {}", reactor.statistics().turns));
                spend(Duration::from_millis(2));
                Ok(Step::Again)
            })
        });
        turns(&mut reactor, 4);
        assert_eq!(record.events(), ["a in turn 1", "b in turn 2", "a in turn 3", "b in turn 4"]);
        drop(tasks);
    });
}

#[test]
fn work_without_end_keeps_no_connection_and_no_timer_waiting() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let cooperator = Cooperator::new(&reactor.handle());
        let task = cooperator.cooperate(|_| {
            spend(Duration::from_micros(100));
            Ok(Step::Again)
        });
        let record = Record::new();
        let listener = world.serve(&mut reactor, Recorder::named("server", &record).echoing());
        let client = Recorder::named("client", &record).acting(|what, transport, _| match what {
            "made" => transport.write(b"hello"),
            "data" => transport.lose_connection(),
            _ => {}
        });
        world.ask(&mut reactor, &listener, client);
        let timer = record.clone();
        reactor.call_later(Duration::from_millis(1), move |_| timer.add("timer"));
        world.run_until(&mut reactor, "the echo and the timer", |_| {
            record.has("server: lost Done") && record.has("timer")
        });
        assert!(record.has("client: data hello") && task.ended().is_none());
        drop(task);
        world.close(&mut reactor, &listener);
    });
}

#[test]
fn a_slice_of_steps_that_take_no_time_ends_as_well() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let cooperator = Cooperator::with_slice(&reactor.handle(), Duration::MAX);
        let (task, count) = endless(&cooperator);
        turn(&mut reactor);
        assert_eq!(count.get(), 10_000);
        turn(&mut reactor);
        assert_eq!(count.get(), 20_000);
        drop(task);
    });
}

#[test]
fn a_step_that_waits_parks_its_task_and_no_other() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let record = Record::new();
        let cooperator = Cooperator::new(&reactor.handle());
        let (resolver, deferred) = Deferred::new(&reactor.handle());
        let (noted, mut waits) = (record.clone(), Some(deferred));
        let parked = cooperator.cooperate(move |_| {
            noted.add("step");
            Ok(waits.take().map_or(Step::Done, Step::Wait))
        });
        let other = counting(&cooperator, &record, "other", 2);
        turns(&mut reactor, 3);
        assert_eq!(record.events(), ["step", "other 1", "other 2"]);
        resolver.callback(()).unwrap();
        turns(&mut reactor, 2);
        assert_eq!(record.events().last().unwrap(), "step");
        assert!(matches!((parked.ended(), other.ended()), (Some(TaskEnd::Done), Some(TaskEnd::Done))));
    });
}

#[test]
fn pauses_add_up_and_one_that_is_not_paused_cannot_be_resumed() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let cooperator = Cooperator::with_slice(&reactor.handle(), Duration::ZERO);
        let (task, count) = endless(&cooperator);
        assert!(matches!(task.resume(), Err(CooperationError::NotPaused)));
        turns(&mut reactor, 3);
        let before = count.get();
        assert!(before > 0);
        task.pause().unwrap();
        task.pause().unwrap();
        turns(&mut reactor, 3);
        task.resume().unwrap();
        turns(&mut reactor, 3);
        assert_eq!(count.get(), before);
        task.resume().unwrap();
        assert!(matches!(task.resume(), Err(CooperationError::NotPaused)));
        turns(&mut reactor, 3);
        assert_eq!(count.get(), before + 3);
        // Paused and resumed in one turn, it is there once.
        task.pause().unwrap();
        task.resume().unwrap();
        turns(&mut reactor, 3);
        assert_eq!(count.get(), before + 6);
    });
}

#[test]
fn what_was_waited_for_while_paused_goes_on_when_resumed() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let cooperator = Cooperator::new(&reactor.handle());
        let (resolver, deferred) = Deferred::new(&reactor.handle());
        let mut waits = Some(deferred);
        let task = cooperator.cooperate(move |_| Ok(waits.take().map_or(Step::Done, Step::Wait)));
        turn(&mut reactor);
        task.pause().unwrap();
        resolver.callback(()).unwrap();
        turns(&mut reactor, 3);
        assert!(task.ended().is_none());
        task.resume().unwrap();
        turns(&mut reactor, 2);
        assert!(matches!(task.ended(), Some(TaskEnd::Done)));
    });
}

#[test]
fn stopped_it_makes_no_step_more_and_gives_up_what_it_waits_for() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let cooperator = Cooperator::new(&reactor.handle());
        let held = Rc::new(());
        let inside = Rc::clone(&held);
        let task = cooperator.cooperate(move |reactor| {
            let _inside = &inside;
            Ok(Step::Wait(defer_later(reactor, Duration::from_secs(3600))))
        });
        let mut done = task.when_done();
        turn(&mut reactor);
        assert_eq!(reactor.delayed_call_count(), 1);
        task.stop().unwrap();
        assert_eq!(Rc::strong_count(&held), 1, "what it owned is dropped");
        turn(&mut reactor);
        assert_eq!(reactor.delayed_call_count(), 0);
        let failure = done.take_outcome().unwrap().unwrap_err();
        assert!(matches!(failure.downcast_ref(), Some(TaskEnd::Stopped)));
        for refused in [task.stop(), task.pause(), task.resume()] {
            let error = refused.unwrap_err();
            assert!(matches!(error, CooperationError::Ended(TaskEnd::Stopped)));
            assert_eq!(error.to_string(), "the task was stopped");
        }
        let late = task.when_done().take_outcome().unwrap().unwrap_err();
        assert!(matches!(late.downcast_ref(), Some(TaskEnd::Stopped)));
    });
}

#[test]
fn a_step_may_stop_its_own_task() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let cooperator = Cooperator::new(&reactor.handle());
        let slot: Rc<RefCell<Option<CooperativeTask>>> = Rc::default();
        let (own, held) = (Rc::clone(&slot), Rc::new(()));
        let inside = Rc::clone(&held);
        let task = cooperator.cooperate(move |reactor| {
            let _inside = &inside;
            own.borrow().as_ref().unwrap().stop().unwrap();
            Ok(Step::Wait(defer_later(reactor, Duration::from_secs(3600))))
        });
        *slot.borrow_mut() = Some(task);
        turns(&mut reactor, 3);
        assert_eq!((Rc::strong_count(&held), reactor.delayed_call_count()), (1, 0));
    });
}

#[test]
fn dropped_it_is_stopped_and_detached_it_goes_on() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let record = Record::new();
        let cooperator = Cooperator::new(&reactor.handle());
        drop(counting(&cooperator, &record, "dropped", 1));
        counting(&cooperator, &record, "detached", 1).detach();
        turns(&mut reactor, 2);
        assert_eq!(record.events(), ["detached 1"]);
    });
}

#[test]
fn an_error_panic_or_awaited_failure_ends_only_its_own_task() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let record = Record::new();
        let cooperator = Cooperator::new(&reactor.handle());
        let tasks = [
            cooperator.cooperate(|_| Err(Failure::new("no"))),
            cooperator.cooperate(|_| panic!("no")),
            cooperator
                .cooperate(|reactor| Ok(Step::Wait(Deferred::fail(&reactor.handle(), Failure::new("no"))))),
        ];
        let other = counting(&cooperator, &record, "other", 3);
        let mut done: Vec<_> = tasks.iter().map(CooperativeTask::when_done).collect();
        turns(&mut reactor, 3);
        for (task, done) in tasks.iter().zip(&mut done) {
            let failure = done.take_outcome().unwrap().unwrap_err();
            let Some(TaskEnd::Failed(cause)) = failure.downcast_ref() else { panic!("{failure}") };
            assert!(cause.to_string().ends_with("no"), "{cause}");
            assert_eq!(failure.source().map(<dyn Error>::to_string), Some(cause.to_string()));
            assert!(matches!(task.ended(), Some(TaskEnd::Failed(_))));
        }
        assert_eq!(record.events().len(), 3);
        assert_eq!(world.logged(), ["panic in a queued call: no"]);
        drop(other);
    });
}

#[test]
fn the_failure_of_one_that_was_let_go_is_logged() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let cooperator = Cooperator::new(&reactor.handle());
        cooperator.cooperate(|_| Err(Failure::new("no"))).detach();
        turns(&mut reactor, 2);
        let logged = world.logged();
        assert!(logged.len() == 1 && logged[0].starts_with("unhandled failure: the task failed: no (from "));
    });
}

#[test]
fn everybody_who_asks_hears_when_it_is_done() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let record = Record::new();
        let cooperator = Cooperator::new(&reactor.handle());
        let task = counting(&cooperator, &record, "a", 2);
        let mut done = [task.when_done(), task.when_done()];
        drop(task.when_done());
        turns(&mut reactor, 2);
        for done in &mut done {
            done.take_outcome().unwrap().unwrap();
        }
        task.when_done().take_outcome().unwrap().unwrap();
    });
}

/// Panics when it is dropped.
struct Bomb;

impl Drop for Bomb {
    fn drop(&mut self) {
        assert!(std::thread::panicking(), "dropped");
    }
}

#[test]
fn one_whose_drop_panics_does_not_stop_the_others() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let record = Record::new();
        let cooperator = Cooperator::new(&reactor.handle());
        let bomb = Bomb;
        let bad = cooperator.cooperate(move |_| {
            let _bomb = &bomb;
            Ok(Step::Done)
        });
        let good = counting(&cooperator, &record, "good", 2);
        turns(&mut reactor, 3);
        assert_eq!(record.events(), ["good 1", "good 2"]);
        assert!(matches!((bad.ended(), good.ended()), (Some(TaskEnd::Done), Some(TaskEnd::Done))));
        assert_eq!((reactor.statistics().panics, world.logged().len()), (1, 1));
    });
}

#[test]
fn a_task_holding_its_cooperator_is_dropped_with_the_reactor() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let cooperator = Cooperator::new(&reactor.handle());
        let (held, own) = (Rc::new(()), cooperator.clone());
        let inside = Rc::clone(&held);
        let task = cooperator.cooperate(move |_| {
            let _inside = (&inside, &own);
            Ok(Step::Again)
        });
        let mut done = task.when_done();
        task.detach();
        drop(cooperator);
        turn(&mut reactor);
        drop(reactor);
        assert_eq!(Rc::strong_count(&held), 1);
        let failure = done.take_outcome().unwrap().unwrap_err();
        assert!(matches!(failure.downcast_ref(), Some(TaskEnd::Stopped)));
        world.logged();
    });
}
