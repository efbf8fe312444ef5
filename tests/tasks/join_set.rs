//! A set of tasks gives the results as they come, and ends its tasks when it ends.

use std::cell::Cell;
use std::future::pending;
use std::rc::Rc;
use std::time::Duration;

use crate::world::{on_each_back_end, with_reactor};
use twistor::task::{self, JoinSet, TaskError, sleep, timeout, yield_now};

const MOMENT: Duration = Duration::from_millis(1);

/// Counts itself when it is dropped.
struct Dropped(Rc<Cell<u32>>);

impl Drop for Dropped {
    fn drop(&mut self) {
        self.0.set(self.0.get() + 1);
    }
}

#[test]
fn results_come_in_the_order_in_which_tasks_end() {
    on_each_back_end(|world| {
        world.run_future(async {
            let mut set = JoinSet::new();
            assert_eq!(set.join_next().await, None);
            for number in [5, 1, 3] {
                set.spawn(async move {
                    sleep(MOMENT * number * 10).await;
                    number
                });
            }
            set.insert(task::spawn(async { 0 }).named("the fourth"));
            let mut got = Vec::new();
            while let Some(result) = set.join_next().await {
                got.push(result.unwrap());
                if got.len() == 2 {
                    // Indices are used again.
                    set.spawn(async { 9 });
                }
            }
            assert_eq!(got, [0, 1, 9, 3, 5]);
        });
    });
}

#[test]
fn a_panic_and_a_cancel_are_results() {
    on_each_back_end(|world| {
        world.run_future(async {
            let mut set = JoinSet::new();
            set.spawn(async { panic!("it is broken") });
            assert_eq!(set.join_next().await, Some(Err(TaskError::Panicked("it is broken".into()))));
            let dropped = Rc::new(Cell::new(0));
            for _ in 0..3 {
                let held = Dropped(Rc::clone(&dropped));
                set.spawn(async move {
                    let _held = held;
                    pending::<()>().await;
                });
            }
            yield_now().await;
            set.cancel_all();
            assert_eq!(set.len(), 3);
            while let Some(result) = set.join_next().await {
                assert_eq!(result, Err(TaskError::Cancelled));
            }
            assert_eq!(dropped.get(), 3);
        });
        let logged = world.logged();
        assert!(logged.len() == 1 && logged[0].contains("it is broken"), "{logged:?}");
    });
}

#[test]
fn a_dropped_set_cancels_and_a_detached_one_does_not() {
    on_each_back_end(|world| {
        world.run_future(async {
            let dropped = Rc::new(Cell::new(0));
            let spawn = |set: &mut JoinSet<()>| {
                let held = Dropped(Rc::clone(&dropped));
                set.spawn(async move {
                    let _held = held;
                    sleep(MOMENT * 2).await;
                });
            };
            let (mut one, mut other) = (JoinSet::new(), JoinSet::default());
            spawn(&mut one);
            spawn(&mut other);
            yield_now().await;
            drop(one);
            other.detach_all();
            assert!(other.is_empty());
            yield_now().await;
            assert_eq!((dropped.get(), with_reactor(|reactor| reactor.tasks().len())), (1, 1));
            sleep(MOMENT * 5).await;
            assert_eq!(dropped.get(), 2);
            spawn(&mut other);
            other.shutdown().await;
            assert_eq!((dropped.get(), other.len()), (3, 0));
        });
    });
}

#[test]
fn a_wait_that_was_given_up_loses_no_result() {
    on_each_back_end(|world| {
        world.run_future(async {
            let mut set = JoinSet::new();
            set.spawn(async {
                sleep(MOMENT * 20).await;
                7
            });
            for _ in 0..3 {
                timeout(MOMENT, set.join_next()).await.unwrap_err();
            }
            // Another task takes the set over.
            let rest = task::spawn(async move { set.join_next().await });
            assert_eq!(rest.await.unwrap(), Some(Ok(7)));
        });
    });
}
