//! Turn hooks run in each turn in which they have work, and end with the reactor.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::mpsc;
use std::time::Duration;

use crate::world::{Record, Recorder, on_each_back_end, once};
use twistor::sim::Simulation;
use twistor::{Error, Layer, Reactor, TurnHook};

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
fn panics_of_a_hook_are_contained_and_it_may_add_others() {
    struct Rude(Cell<u32>);

    impl TurnHook for Rude {
        fn has_work(&self) -> bool {
            self.0.set(self.0.get() + 1);
            let handle = twistor::Handle::current();
            assert!(handle.is_err(), "no task is polled");
            panic!("has_work");
        }

        fn run(&self, _: &mut Reactor) {
            unreachable!("it has no work");
        }

        fn set_awake(&self, _: bool) {
            panic!("set_awake");
        }

        fn resources(&self) -> Vec<String> {
            panic!("resources");
        }
    }

    impl Drop for Rude {
        fn drop(&mut self) {
            panic!("drop");
        }
    }

    struct Adds(twistor::Handle, Record, Cell<bool>);

    impl TurnHook for Adds {
        fn has_work(&self) -> bool {
            let jobs = self.0.turn_hook(|| Jobs::recording(&self.1));
            if !self.2.replace(true) {
                let done = self.1.clone();
                jobs.push(move |_| done.add("job of an added hook"));
            }
            false
        }

        fn run(&self, _: &mut Reactor) {}
    }

    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let handle = reactor.handle();
        let record = Record::new();
        drop(handle.turn_hook(|| Adds(handle.clone(), record.clone(), Cell::new(false))));
        reactor.iterate(Some(Duration::ZERO)).unwrap();
        assert_eq!(record.take(), ["job of an added hook"]);
        // Nothing escapes, and the reactor can be turned again.
        reactor.call_later(Duration::ZERO, |reactor| {
            reactor.handle().turn_hook(|| Rude(Cell::new(0)));
        });
        for _ in 0..2 {
            assert!(reactor.iterate(Some(Duration::ZERO)).unwrap());
        }
        assert_eq!(reactor.resources().len(), 0);
        drop(reactor);
        let logged = world.logged();
        for method in ["has_work", "set_awake", "resources"] {
            let expected = format!("panic in a turn hook: {method}");
            assert!(logged.contains(&expected), "{logged:?}");
        }
        assert_eq!(logged.last().unwrap(), "panic in the drop of user code: drop");
    });
}

#[test]
fn a_callback_of_a_connection_does_not_lend_its_reactor() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let record = Record::new();
        let noted = record.clone();
        let protocol = Recorder::new(&record).acting(move |what, transport, _| {
            if what == "lost" {
                return;
            }
            transport.write(what.as_bytes());
            let lent = transport.reactor().lend(|| unreachable!("inside a callback"));
            assert!(matches!(lent, Err(Error::ReactorUnavailable)));
            transport.write(b"!");
            noted.add("refused");
            if what == "read lost" {
                transport.lose_connection();
            }
        });
        let layered = twistor::layered(once(protocol, &Record::new()), || PassesOn);
        let listener = reactor.listen_tcp(world.anywhere(), layered).unwrap();
        let mut peer = world.connect(listener.address());
        peer.send(b"?");
        peer.finish();
        assert_eq!(peer.read_to_end(&mut reactor), (b"made!data!read lost!".to_vec(), None));
        drop(peer);
        world.close(&mut reactor, &listener);
        assert_eq!(record.count("refused"), 3);
    });
}

/// A layer that changes nothing.
struct PassesOn;

impl Layer for PassesOn {}

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
