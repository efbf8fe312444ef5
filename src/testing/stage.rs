//! The basis of the kit: a simulated network without latency.

use std::cell::{RefCell, RefMut};
use std::rc::Rc;
use std::time::Duration;

use crate::sim::{Host, Link, Network, Simulation};
use crate::{Instant, Reactor, Settings};

/// A simulation whose links have no latency. One host stands for all hosts that are not tested.
pub(super) struct Stage {
    simulation: Simulation,
    /// The gateway: unknown addresses and names lead to it.
    gateway: Host,
}

impl Stage {
    pub(super) fn new() -> Stage {
        let mut simulation = Simulation::new(SEED);
        simulation.set_fifo_order();
        simulation.set_minimal_readiness(false);
        simulation.shuffle_tasks(false);
        simulation.set_links(Link::instant());
        simulation.set_loopback(Link::instant());
        simulation.set_look_up_time(Duration::ZERO);
        let gateway = simulation.host("elsewhere");
        simulation.set_gateway(gateway);
        simulation.bind_any_address(gateway);
        simulation.reactor(gateway);
        Stage { simulation, gateway }
    }

    /// Creates a host for a tested reactor.
    pub(super) fn host(&mut self, name: &str, settings: Settings) -> Host {
        let host = self.simulation.host(name);
        self.simulation.bind_any_address(host);
        self.simulation.set_settings(host, settings);
        self.simulation.reactor(host);
        host
    }

    fn network(&self) -> Network {
        self.simulation.network()
    }

    pub(super) fn now(&self) -> Instant {
        self.simulation.now()
    }

    /// Returns whether the reactor of a host has stopped.
    pub(super) fn has_stopped(&self, host: Host) -> bool {
        self.simulation.reactor_ref(host).is_none()
    }

    #[track_caller]
    pub(super) fn reactor(&mut self, host: Host) -> &mut Reactor {
        assert!(!self.has_stopped(host), "the reactor has stopped");
        self.simulation.reactor(host)
    }

    /// Calls with the reactor of a host, or with a new one if it has stopped.
    pub(super) fn with_any_reactor<R>(&mut self, host: Host, call: impl FnOnce(&mut Reactor) -> R) -> R {
        if self.has_stopped(host) {
            return call(&mut self.simulation.network().reactor(host, Settings::default()));
        }
        call(self.simulation.reactor(host))
    }

    pub(super) fn allow_panics(&mut self) {
        self.simulation.allow_panics();
    }

    /// Runs the simulation for a duration of virtual time.
    #[track_caller]
    pub(super) fn advance(&mut self, time: Duration) {
        if let Err(error) = self.simulation.run_for(time) {
            panic!("{error}");
        }
    }
}

/// A stage shared by several parts of a test.
#[derive(Clone)]
pub(super) struct SharedStage(Rc<RefCell<Stage>>);

impl SharedStage {
    pub(super) fn new() -> SharedStage {
        SharedStage(Rc::new(RefCell::new(Stage::new())))
    }

    #[track_caller]
    pub(super) fn borrow(&self) -> RefMut<'_, Stage> {
        match self.0.try_borrow_mut() {
            Ok(stage) => stage,
            Err(_) => {
                panic!("the result of `reactor()` is still borrowed: drop it before another call")
            }
        }
    }

    #[track_caller]
    pub(super) fn reactor(&self, host: Host) -> RefMut<'_, Reactor> {
        RefMut::map(self.borrow(), |stage| stage.reactor(host))
    }

    pub(super) fn network(&self) -> Network {
        self.borrow().network()
    }

    pub(super) fn gateway(&self) -> Host {
        self.borrow().gateway
    }

    pub(super) fn has_stopped(&self, host: Host) -> bool {
        self.borrow().has_stopped(host)
    }

    pub(super) fn now(&self) -> Instant {
        self.borrow().now()
    }

    /// Runs all events that are due now.
    #[track_caller]
    pub(super) fn run_due_events(&self) {
        self.advance(Duration::ZERO);
    }

    #[track_caller]
    pub(super) fn advance(&self, time: Duration) {
        self.borrow().advance(time);
    }
}

/// The name of the host under test.
pub(super) const TESTED_HOST: &str = "here";

/// A fixed seed; it affects only the random numbers that a reactor draws.
const SEED: u64 = 0;
