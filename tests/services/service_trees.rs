//! Services of a tree start in order and stop in reverse, one after the other; one that fails takes those before it down.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use crate::world::{Record, World, on_each_back_end};
use twistor::Failure;
use twistor::Reactor;
use twistor::service::{MultiService, Service, ServiceError, StopToken};

type Act = Box<dyn FnMut(&mut Reactor) -> Result<(), Failure>>;

/// Notes what it is told, and stops when the test says so, or at once.
struct Noting {
    name: &'static str,
    record: Record,
    /// At `privileged` and `start`.
    act: Act,
    stopping: Stopping,
}

#[derive(Clone)]
enum Stopping {
    AtOnce,
    After(Duration),
    Never(Rc<RefCell<Vec<StopToken>>>),
}

fn noting(name: &'static str, record: &Record) -> Noting {
    Noting { name, record: record.clone(), act: Box::new(|_| Ok(())), stopping: Stopping::AtOnce }
}

impl Noting {
    fn acting(mut self, act: impl FnMut(&mut Reactor) -> Result<(), Failure> + 'static) -> Noting {
        self.act = Box::new(act);
        self
    }

    fn stopping(mut self, stopping: Stopping) -> Noting {
        self.stopping = stopping;
        self
    }
}

impl Service for Noting {
    fn name(&self) -> Option<&str> {
        Some(self.name)
    }

    fn privileged_start(&mut self, _: &mut Reactor) -> Result<(), Failure> {
        self.record.add(format!("{} privileged", self.name));
        Ok(())
    }

    fn start(&mut self, reactor: &mut Reactor) -> Result<(), Failure> {
        self.record.add(format!("{} starts", self.name));
        (self.act)(reactor)
    }

    fn stop(&mut self, reactor: &mut Reactor, stopped: StopToken) {
        self.record.add(format!("{} stops", self.name));
        let (name, record) = (self.name, self.record.clone());
        match &self.stopping {
            Stopping::AtOnce => drop(stopped),
            Stopping::After(delay) => {
                reactor.call_later(*delay, move |_| {
                    record.add(format!("{name} has stopped"));
                    drop(stopped);
                });
            }
            Stopping::Never(kept) => kept.borrow_mut().push(stopped),
        }
    }

    fn reload(&mut self, _: &mut Reactor) {
        self.record.add(format!("{} reloads", self.name));
    }
}

fn start(services: &MultiService, reactor: &mut Reactor) -> Result<(), Failure> {
    let mut services = services.clone();
    services.privileged_start(reactor)?;
    services.start(reactor)
}

/// Stops a tree, and notes `all stopped`.
fn stop(services: &MultiService, reactor: &mut Reactor, record: &Record) {
    let record = record.clone();
    let stopped = StopToken::new(reactor, move |_| record.add("all stopped"));
    services.clone().stop(reactor, stopped);
}

fn stop_and_wait(world: &World, services: &MultiService, reactor: &mut Reactor, record: &Record) {
    stop(services, reactor, record);
    world.run_until(reactor, "all stopped", |_| record.has("all stopped"));
}

const SOON: Duration = Duration::from_millis(5);

#[test]
fn services_start_in_order_and_stop_in_reverse_one_at_a_time() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let record = Record::new();
        let services = MultiService::new();
        for name in ["one", "two", "three"] {
            services.add(noting(name, &record).stopping(Stopping::After(SOON))).unwrap();
        }
        start(&services, &mut reactor).unwrap();
        assert!(services.running());
        assert_eq!(
            record.take(),
            [
                "one privileged",
                "two privileged",
                "three privileged",
                "one starts",
                "two starts",
                "three starts"
            ]
        );
        stop_and_wait(world, &services, &mut reactor, &record);
        assert!(!services.running());
        assert_eq!(
            record.take(),
            [
                "three stops",
                "three has stopped",
                "two stops",
                "two has stopped",
                "one stops",
                "one has stopped",
                "all stopped"
            ]
        );
        world.run_until_idle(&mut reactor);
    });
}

#[test]
fn a_tree_that_has_stopped_can_be_started_again() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let record = Record::new();
        let services = MultiService::new();
        services.add(noting("one", &record)).unwrap();
        for _ in 0..2 {
            // Without the first half, which is made up for.
            services.clone().start(&mut reactor).unwrap();
            services.clone().start(&mut reactor).unwrap();
            stop_and_wait(world, &services, &mut reactor, &record);
            assert_eq!(record.take(), ["one privileged", "one starts", "one stops", "all stopped"]);
        }
        stop_and_wait(world, &services, &mut reactor, &record);
        assert_eq!(record.take(), ["all stopped"]);
    });
}

#[test]
fn a_failed_start_stops_the_others_in_reverse_and_is_named() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let record = Record::new();
        let (inner, outer) = (MultiService::new().named("inner"), MultiService::new());
        outer.add(noting("one", &record).stopping(Stopping::After(SOON))).unwrap();
        inner.add(noting("two", &record).stopping(Stopping::After(SOON))).unwrap();
        inner.add(noting("bad", &record).acting(|_| Err(Failure::new("no more paper")))).unwrap();
        inner.add(noting("never", &record)).unwrap();
        outer.add(inner).unwrap();
        let error = start(&outer, &mut reactor).unwrap_err();
        assert_eq!(error.to_string(), "service inner: service bad: no more paper");
        assert!(!outer.running());
        stop_and_wait(world, &outer, &mut reactor, &record);
        let mut events = record.take();
        let started = events.iter().position(|event| event == "bad starts").unwrap();
        assert_eq!(
            events.split_off(started + 1),
            [
                "never stops",
                "bad stops",
                "two stops",
                "two has stopped",
                "one stops",
                "one has stopped",
                "all stopped"
            ]
        );
        world.run_until_idle(&mut reactor);
    });
}

#[test]
fn a_panic_in_start_is_a_failure_and_one_in_stop_never_blocks() {
    struct Panics(&'static str);

    impl Service for Panics {
        fn start(&mut self, _: &mut Reactor) -> Result<(), Failure> {
            assert_ne!(self.0, "start", "it starts badly");
            Ok(())
        }

        fn stop(&mut self, _: &mut Reactor, stopped: StopToken) {
            assert_ne!(self.0, "stop", "it stops badly");
            drop(stopped);
        }
    }

    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let record = Record::new();
        let services = MultiService::new();
        services.add(noting("one", &record)).unwrap();
        services.add(Panics("start")).unwrap();
        let error = start(&services, &mut reactor).unwrap_err().to_string();
        assert!(error.starts_with("service 2 (Panics): it panicked: "), "{error}");
        assert!(error.contains("it starts badly"), "{error}");
        stop_and_wait(world, &services, &mut reactor, &record);
        assert_eq!(record.take(), ["one privileged", "one starts", "one stops", "all stopped"]);

        let services = MultiService::new();
        services.add(noting("one", &record)).unwrap();
        services.add(Panics("stop")).unwrap();
        start(&services, &mut reactor).unwrap();
        stop_and_wait(world, &services, &mut reactor, &record);
        assert_eq!(record.take(), ["one privileged", "one starts", "one stops", "all stopped"]);
        let logged = world.logged();
        assert!(logged.len() == 1 && logged[0].contains("it stops badly"), "{logged:?}");
        world.run_until_idle(&mut reactor);
    });
}

#[test]
fn a_service_over_its_stop_limit_is_skipped_with_a_warning() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let record = Record::new();
        let kept: Rc<RefCell<Vec<StopToken>>> = Rc::default();
        let services = MultiService::new().stop_timeout(SOON);
        services.add(noting("one", &record)).unwrap();
        services.add(noting("stuck", &record).stopping(Stopping::Never(Rc::clone(&kept)))).unwrap();
        start(&services, &mut reactor).unwrap();
        record.take();
        stop_and_wait(world, &services, &mut reactor, &record);
        assert_eq!(record.take(), ["stuck stops", "one stops", "all stopped"]);
        assert_eq!(world.logged(), ["service stuck has not stopped within 5ms"]);
        // Its late word changes nothing.
        start(&services, &mut reactor).unwrap();
        kept.borrow_mut().clear();
        reactor.iterate(Some(Duration::ZERO)).unwrap();
        reactor.iterate(Some(Duration::ZERO)).unwrap();
        assert!(services.running());
        record.take();
        stop(&services, &mut reactor, &record);
        kept.borrow_mut().clear();
        world.run_until(&mut reactor, "all stopped", |_| record.has("all stopped"));
        world.run_until_idle(&mut reactor);
        world.logged();
    });
}

#[test]
fn the_token_can_be_let_go_on_another_thread() {
    struct Threaded;

    impl Service for Threaded {
        fn start(&mut self, _: &mut Reactor) -> Result<(), Failure> {
            Ok(())
        }

        fn stop(&mut self, reactor: &mut Reactor, stopped: StopToken) {
            reactor.call_in_thread(move || drop(stopped), |_, _| {}).unwrap();
        }
    }

    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let record = Record::new();
        let services = MultiService::new();
        services.add(Threaded).unwrap();
        start(&services, &mut reactor).unwrap();
        stop_and_wait(world, &services, &mut reactor, &record);
        world.run_until_idle(&mut reactor);
    });
}

#[test]
fn a_running_tree_starts_added_and_stops_removed_services() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let record = Record::new();
        let services = MultiService::new();
        services.add(noting("one", &record)).unwrap();
        start(&services, &mut reactor).unwrap();
        record.take();

        assert!(matches!(services.add(noting("two", &record)), Err(ServiceError::Running)));
        let two = noting("two", &record).stopping(Stopping::After(SOON));
        let two = services.add_running(&mut reactor, two).unwrap();
        assert_eq!(record.take(), ["two privileged", "two starts"]);
        assert_eq!((services.names(), services.find("two")), (vec!["one".into(), "two".into()], Some(two)));

        let gone = record.clone();
        let stopped = StopToken::new(&mut reactor, move |_| gone.add("gone"));
        services.remove(&mut reactor, two, stopped).unwrap();
        // It keeps its name until it has stopped, and cannot be removed twice.
        assert!(matches!(
            services.add_running(&mut reactor, noting("two", &record)),
            Err(ServiceError::NameTaken(name)) if name == "two"
        ));
        let again = services.remove(&mut reactor, two, StopToken::ignored());
        assert!(matches!(again, Err(ServiceError::NoSuchService)));
        world.run_until(&mut reactor, "gone", |_| record.has("gone"));
        assert_eq!(record.take(), ["two stops", "two has stopped", "gone"]);
        assert_eq!(services.len(), 1);

        let bad = noting("bad", &record).acting(|_| Err(Failure::new("no")));
        let error = services.add_running(&mut reactor, bad).unwrap_err();
        assert_eq!(twistor::error_chain(&error).to_string(), "service bad: no");
        world.run_until(&mut reactor, "removed", |_| services.len() == 1);
        assert_eq!(record.take(), ["bad privileged", "bad starts", "bad stops"]);
        assert!(services.running());

        services.clone().reload(&mut reactor);
        stop_and_wait(world, &services, &mut reactor, &record);
        assert_eq!(record.take(), ["one reloads", "one stops", "all stopped"]);
        world.run_until_idle(&mut reactor);
    });
}

#[test]
fn the_end_of_a_tree_waits_for_one_that_is_being_removed() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let record = Record::new();
        let services = MultiService::new();
        services.add(noting("one", &record)).unwrap();
        let two = services.add(noting("two", &record).stopping(Stopping::After(SOON))).unwrap();
        start(&services, &mut reactor).unwrap();
        record.take();
        services.remove(&mut reactor, two, StopToken::ignored()).unwrap();
        stop_and_wait(world, &services, &mut reactor, &record);
        assert_eq!(record.take(), ["two stops", "two has stopped", "one stops", "all stopped"]);
        assert_eq!(services.names(), ["one"]);
        world.run_until_idle(&mut reactor);
    });
}

#[test]
fn services_may_add_stop_and_remove_while_they_start() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let record = Record::new();
        let services = MultiService::new();
        let (tree, notes) = (services.clone(), record.clone());
        let adds = noting("one", &record).acting(move |_| {
            tree.add(noting("added", &notes))?;
            let own = tree.find("one").ok_or_else(|| Failure::new("it has no place"))?;
            let busy = tree.remove(&mut Reactor::new()?, own, StopToken::ignored());
            assert!(matches!(busy, Err(ServiceError::Busy(_))));
            Ok(())
        });
        services.add(adds).unwrap();
        start(&services, &mut reactor).unwrap();
        let expected = ["one privileged", "one starts", "added privileged", "added starts"].map(String::from);
        assert_eq!(record.take(), expected);
        stop_and_wait(world, &services, &mut reactor, &record);
        record.take();

        let services = MultiService::new();
        let (tree, notes) = (services.clone(), record.clone());
        let stops = noting("stops all", &record).acting(move |reactor| {
            stop(&tree, reactor, &notes);
            Ok(())
        });
        services.add(noting("one", &record)).unwrap();
        services.add(stops).unwrap();
        services.add(noting("never", &record)).unwrap();
        let error = start(&services, &mut reactor).unwrap_err();
        assert_eq!(error.to_string(), "the services are being stopped");
        world.run_until(&mut reactor, "all stopped", |_| record.has("all stopped"));
        assert_eq!(
            record.take().split_off(3),
            ["one starts", "stops all starts", "never stops", "stops all stops", "one stops", "all stopped"]
        );
        world.run_until_idle(&mut reactor);
    });
}

#[test]
fn two_services_of_one_name_are_refused() {
    let record = Record::new();
    let services = MultiService::new();
    services.add(noting("one", &record)).unwrap();
    let error = services.add(noting("one", &record)).unwrap_err();
    assert_eq!(error.to_string(), "the service name \"one\" is taken");
    assert_eq!(services.len(), 1);
}

#[test]
fn everybody_who_asks_a_tree_to_stop_is_told() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let record = Record::new();
        let services = MultiService::new();
        services.add(noting("one", &record).stopping(Stopping::After(SOON))).unwrap();
        start(&services, &mut reactor).unwrap();
        let told = Rc::new(Cell::new(0));
        for _ in 0..3 {
            let told = Rc::clone(&told);
            let stopped = StopToken::new(&mut reactor, move |_| told.set(told.get() + 1));
            services.clone().stop(&mut reactor, stopped);
            let error = services.clone().start(&mut reactor).unwrap_err();
            assert_eq!(error.to_string(), "the services are being stopped");
        }
        world.run_until(&mut reactor, "told", |_| told.get() == 3);
        assert_eq!(record.count("one stops"), 1);
        world.run_until_idle(&mut reactor);
    });
}

#[test]
fn a_tree_stopped_inside_a_callback_stops_after_it_returns() {
    struct Stops(MultiService, Record);

    impl Service for Stops {
        fn start(&mut self, _: &mut Reactor) -> Result<(), Failure> {
            Ok(())
        }

        fn stop(&mut self, _: &mut Reactor, stopped: StopToken) {
            self.1.add("stops");
            drop(stopped);
        }

        fn reload(&mut self, reactor: &mut Reactor) {
            stop(&self.0, reactor, &self.1);
            self.1.add("has reloaded");
        }
    }

    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let record = Record::new();
        let services = MultiService::new();
        let id = services.add(Stops(services.clone(), record.clone())).unwrap();
        start(&services, &mut reactor).unwrap();
        services.clone().reload(&mut reactor);
        world.run_until(&mut reactor, "all stopped", |_| record.has("all stopped"));
        assert_eq!(record.take(), ["has reloaded", "stops", "all stopped"]);
        services.remove(&mut reactor, id, StopToken::ignored()).unwrap();
        assert!(services.is_empty());
    });
}
