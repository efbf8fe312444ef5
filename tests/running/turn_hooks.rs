//! Turn hooks run in each turn in which they have work, and end with the reactor.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::mpsc;
use std::time::Duration;

use crate::world::{Record, on_each_back_end};
use twistor::sim::Simulation;
use twistor::{Error, Reactor, TurnHook};

type Job = Box<dyn FnOnce(&mut Reactor)>;

/// Runs one queued job in each turn.
#[derive(Default)]
struct Jobs {
    queue: RefCell<VecDeque<Job>>,
    record: Record,
}

impl Jobs {
    fn recording(record: &Record) -> Jobs {
        Jobs { record: record.clone(), ..Jobs::default() }
    }

    fn push(&self, job: impl FnOnce(&mut Reactor) + 'static) {
        self.queue.borrow_mut().push_back(Box::new(job));
    }
}

impl TurnHook for Jobs {
    fn has_work(&self) -> bool {
        !self.queue.borrow().is_empty()
    }

    fn run(&self, reactor: &mut Reactor) {
        let job = self.queue.borrow_mut().pop_front();
        job.into_iter().for_each(|job| job(reactor));
    }

    fn resources(&self) -> Vec<String> {
        self.queue.borrow().iter().map(|_| "a job".to_owned()).collect()
    }

    fn finish(&self, reactor: &mut Reactor) {
        self.record.add(format!("finish, running: {}", reactor.running()));
        self.queue.take();
    }

    fn kill(&self) {
        self.record.add("kill");
    }
}

#[test]
fn a_hook_runs_once_a_turn_while_it_has_work() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let record = Record::new();
        let jobs = reactor.handle().turn_hook(|| Jobs::recording(&record));
        reactor.iterate(Some(Duration::ZERO)).unwrap();
        for number in 0..3 {
            let record = record.clone();
            let turns = reactor.statistics().turns;
            jobs.push(move |reactor| {
                record.add(format!("job {number} in turn {}", reactor.statistics().turns - turns));
            });
        }
        assert_eq!(reactor.resource_count(), 3);
        assert_eq!(reactor.resources(), ["a job"; 3]);
        // A turn that may wait for an hour does not, because there is work.
        for _ in 0..3 {
            reactor.iterate(Some(Duration::from_secs(3600))).unwrap();
        }
        assert_eq!(record.take(), ["job 0 in turn 1", "job 1 in turn 2", "job 2 in turn 3"]);
        assert_eq!(reactor.resource_count(), 0);
        jobs.push(|reactor| {
            reactor.stop();
        });
        reactor.run().unwrap();
        assert_eq!(record.events(), ["finish, running: false"]);
        assert!(!jobs.has_work());
    });
}

#[test]
fn there_is_one_hook_of_each_type_and_they_run_in_order() {
    struct Second(Rc<Jobs>, Cell<bool>);

    impl TurnHook for Second {
        fn has_work(&self) -> bool {
            self.1.get()
        }

        fn run(&self, _: &mut Reactor) {
            self.1.set(false);
            self.0.record.add("second");
        }
    }

    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let record = Record::new();
        let handle = reactor.handle();
        let jobs = handle.turn_hook(|| Jobs::recording(&record));
        let again = handle.turn_hook(|| -> Jobs { unreachable!("there is one") });
        assert!(Rc::ptr_eq(&jobs, &again));
        handle.turn_hook(|| Second(Rc::clone(&jobs), Cell::new(true)));
        let first = record.clone();
        jobs.push(move |_| first.add("first"));
        reactor.iterate(Some(Duration::ZERO)).unwrap();
        assert_eq!(record.events(), ["first", "second"]);
    });
}

#[test]
fn a_panic_in_a_hook_is_contained() {
    struct Bad(Cell<bool>);

    impl TurnHook for Bad {
        fn has_work(&self) -> bool {
            self.0.get()
        }

        fn run(&self, _: &mut Reactor) {
            self.0.set(false);
            panic!("in a turn");
        }

        fn finish(&self, _: &mut Reactor) {
            panic!("at the end");
        }
    }

    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let record = Record::new();
        reactor.handle().turn_hook(|| Bad(Cell::new(true)));
        let jobs = reactor.handle().turn_hook(|| Jobs::recording(&record));
        let done = record.clone();
        jobs.push(move |reactor| {
            done.add("job");
            reactor.stop();
        });
        reactor.run().unwrap();
        assert_eq!(record.events(), ["job", "finish, running: false"]);
        assert_eq!(reactor.statistics().panics, 2);
        assert_eq!(world.logged(), ["panic in a turn hook: in a turn", "panic in a turn hook: at the end"]);
    });
}

#[test]
fn a_killed_process_calls_kill_instead_of_finish() {
    let mut simulation = Simulation::new(1);
    let host = simulation.host("host");
    let record = Record::new();
    let noted = record.clone();
    let boot = move |reactor: &mut Reactor| {
        reactor.handle().turn_hook(|| Jobs::recording(&noted));
        Ok(())
    };
    simulation.boot(host, boot).unwrap();
    simulation.run_for(Duration::from_secs(1)).unwrap();
    simulation.kill(host);
    assert_eq!(record.events(), ["kill"]);
}

#[test]
fn another_thread_wakes_the_loop() {
    /// Takes jobs from another thread.
    struct Remote(mpsc::Receiver<&'static str>, Cell<Option<&'static str>>, Cell<bool>);

    impl TurnHook for Remote {
        fn has_work(&self) -> bool {
            if self.1.get().is_none() {
                self.1.set(self.0.try_recv().ok());
            }
            self.1.get().is_some()
        }

        fn run(&self, reactor: &mut Reactor) {
            assert_eq!(self.1.take(), Some("a job"));
            reactor.stop();
        }

        fn set_awake(&self, awake: bool) {
            self.2.set(self.2.get() || !awake);
        }
    }

    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let (sender, receiver) = mpsc::channel();
        let hook = reactor.handle().turn_hook(|| Remote(receiver, Cell::new(None), Cell::new(false)));
        let waker = reactor.handle().waker();
        let send = move || {
            sender.send("a job").unwrap();
            waker.wake();
        };
        reactor.call_in_thread(send, |_, _| {}).unwrap();
        world.run(&mut reactor);
        assert!(hook.2.get(), "the loop went to sleep");
        // The waker of a finished reactor does nothing.
        reactor.handle().waker().wake();
        assert!(!reactor.handle().turn_hook(Jobs::default).has_work());
    });
}

#[test]
fn a_reactor_that_is_lent_is_not_lent_again() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let handle = reactor.handle();
        let inside = handle.clone();
        let refused = reactor.lend(|| {
            assert!(twistor::Handle::current().is_ok_and(|current| current.is_same(&inside)));
            inside.with_reactor(|reactor| {
                let lent = reactor.lend(|| unreachable!("it is lent"));
                assert!(matches!(lent, Err(Error::ReactorUnavailable)));
                // It does not run either, inside code that may wait for it.
                assert!(matches!(reactor.iterate(None), Err(Error::AlreadyRunning)));
                matches!(reactor.block_on(async {}), Err(Error::AlreadyRunning))
            })
        });
        assert!(refused.unwrap().unwrap());
        assert!(matches!(handle.with_reactor(|_| ()), Err(Error::ReactorUnavailable)));
        reactor.block_on(async {}).unwrap();
    });
}
