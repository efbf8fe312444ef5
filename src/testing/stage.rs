//! What all parts of the kit stand on: a simulated network on which everything takes no time.

use std::cell::{RefCell, RefMut};
use std::rc::Rc;
use std::time::Duration;

use crate::sim::{Host, Link, Network, Simulation};
use crate::{Instant, Reactor, Settings};

/// A simulation whose links have no latency, with one host for everybody who is not tested.
pub(super) struct Stage {
    simulation: Simulation,
    /// Addresses and names that nobody has lead there.
    elsewhere: Host,
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
        let elsewhere = simulation.host("elsewhere");
        simulation.set_gateway(elsewhere);
        simulation.bind_any_address(elsewhere);
        simulation.reactor(elsewhere);
        Stage { simulation, elsewhere }
    }

    /// A host for a reactor that is tested.
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

    /// Whether the reactor of a host has come to its end.
    pub(super) fn has_stopped(&self, host: Host) -> bool {
        self.simulation.reactor_ref(host).is_none()
    }

    #[track_caller]
    pub(super) fn reactor(&mut self, host: Host) -> &mut Reactor {
        assert!(!self.has_stopped(host), "the reactor has stopped");
        self.simulation.reactor(host)
    }

    /// The reactor of a host; one that has just begun, if it has stopped.
    pub(super) fn with_any_reactor<R>(&mut self, host: Host, call: impl FnOnce(&mut Reactor) -> R) -> R {
        if self.has_stopped(host) {
            return call(&mut self.simulation.network().reactor(host, Settings::default()));
        }
        call(self.simulation.reactor(host))
    }

    pub(super) fn allow_panics(&mut self) {
        self.simulation.allow_panics();
    }

    /// Lets everything happen that can, and time pass.
    #[track_caller]
    pub(super) fn advance(&mut self, time: Duration) {
        if let Err(error) = self.simulation.run_for(time) {
            panic!("{error}");
        }
    }
}

/// A stage that several parts of a test act on.
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
                panic!("what `reactor()` returned is still held: let it go before anything else is called")
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

    pub(super) fn elsewhere(&self) -> Host {
        self.borrow().elsewhere
    }

    pub(super) fn has_stopped(&self, host: Host) -> bool {
        self.borrow().has_stopped(host)
    }

    pub(super) fn now(&self) -> Instant {
        self.borrow().now()
    }

    /// Lets everything happen that can without time passing.
    #[track_caller]
    pub(super) fn settle(&self) {
        self.advance(Duration::ZERO);
    }

    #[track_caller]
    pub(super) fn advance(&self, time: Duration) {
        self.borrow().advance(time);
    }
}

/// The name of the host whose reactor or protocol is tested.
pub(super) const HERE: &str = "here";

/// Nothing is left to chance here but what a reactor draws as random.
const SEED: u64 = 0;
