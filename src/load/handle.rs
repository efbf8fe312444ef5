//! The handle of a load, which starts, observes and stops it.

use crate::endpoint::ClientEndpoint;
use crate::load::config::{LoadConfig, LoadConfigError};
use crate::load::error::LoadError;
use crate::load::report::Report;
use crate::load::run::{Candidates, Run, Stage, StartGate, State, Target};
use crate::load::sender::Pattern;
use crate::load::totals::Totals;
use crate::{ConnectTcp, Instant, Reactor};
use std::any::Any;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

/// A running load. A clone is another handle to the same load.
#[derive(Clone)]
pub struct LoadTest(Rc<Run>);

/// The progress of a load.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Progress {
    /// Number of open connections.
    pub open: u64,
    /// Number of messages answered so far, warm-up included.
    pub messages: u64,
    /// Number of errors so far.
    pub errors: u64,
    /// Time since messages are sent or connections are held; `None` before.
    pub running: Option<Duration>,
}

impl LoadTest {
    /// Starts a load. Nothing is connected before the reactor runs. A host name is looked up until
    /// the first connection is made; later connections go to the same address.
    ///
    /// # Errors
    /// Returns an error if the configuration is invalid.
    pub fn start(
        reactor: &mut Reactor,
        endpoint: Box<dyn ClientEndpoint>,
        config: LoadConfig,
    ) -> Result<LoadTest, LoadConfigError> {
        config.check()?;
        if !config.sources.is_empty() && !(&*endpoint as &dyn Any).is::<ConnectTcp>() {
            return Err(LoadConfigError::Sources);
        }
        Ok(LoadTest::start_to(reactor, endpoint.describe(), Target::Endpoint(endpoint), config))
    }

    /// Starts a load of datagrams, on sockets that are connected to the server.
    ///
    /// Each datagram has its number in its first 8 bytes. A datagram that is not answered within
    /// [`LoadConfig::lost_after`] counts as lost, which is not an error. [`LoadConfig::ramp`] is
    /// ignored.
    ///
    /// A host name is looked up once. If it has several addresses, each is sent one message in
    /// turn, and the first that answers is used. If none answers, the first that did not refuse is
    /// used. [`Report::endpoint`] names the address.
    ///
    /// # Errors
    /// Returns an error if the configuration is invalid for datagrams.
    pub fn start_datagrams(
        reactor: &mut Reactor,
        host: &str,
        port: u16,
        config: LoadConfig,
    ) -> Result<LoadTest, LoadConfigError> {
        config.check_datagrams()?;
        let described = match host.contains(':') {
            true => format!("udp:[{host}]:{port}"),
            false => format!("udp:{host}:{port}"),
        };
        Ok(LoadTest::start_to(reactor, described, Target::Datagrams { host: host.to_owned(), port }, config))
    }

    fn start_to(reactor: &mut Reactor, described: String, target: Target, config: LoadConfig) -> LoadTest {
        let now = reactor.now();
        let state = State {
            stage: Stage::Opening,
            began: now,
            since: now,
            until: now,
            last: now,
            connecting: BTreeMap::new(),
            open: BTreeMap::new(),
            slots: Vec::new(),
            schedule: None,
            cursor: 0,
            note_started: 0,
            unfinished_slots: Vec::new(),
            busy: 0,
            next: None,
            end: None,
            sweep: None,
            answers: 0,
            paced: config.paced().is_some(),
            totals: Totals::default(),
            finished: None,
            start_gate: StartGate::Open,
            candidates: Candidates::default(),
        };
        let state = RefCell::new(state);
        let run = Run {
            config,
            described: RefCell::new(described),
            target: RefCell::new(target),
            pattern: Pattern::new(),
            state,
            observer: RefCell::new(None),
        };
        let load = LoadTest(Rc::new(run));
        let run = Rc::clone(&load.0);
        let next = reactor.call_later(Duration::ZERO, move |reactor| run.start(reactor));
        load.0.state.borrow_mut().next = Some(next);
        load
    }

    /// Sets an observer that is called for each error when it happens. It replaces the previous
    /// one.
    pub fn on_error(&self, observer: impl FnMut(&LoadError) + 'static) {
        *self.0.observer.borrow_mut() = Some(Box::new(observer));
    }

    /// Sets a callback that is called once when the load has finished. It is not called if the load
    /// has finished already.
    pub fn on_finished(&self, call: impl FnOnce(&mut Reactor) + 'static) {
        self.0.state.borrow_mut().finished = Some(Box::new(call));
    }

    /// Pauses the load when all connections that could be made are open, before messages are sent
    /// or connections are held. `call` is called then, and [`resume`](LoadTest::resume) continues
    /// the load. With this, several loads can start together.
    ///
    /// `call` is not called if the load is past this point, or if it finishes before.
    pub fn pause_after_connect(&self, call: impl FnOnce(&mut Reactor) + 'static) {
        self.0.state.borrow_mut().start_gate = StartGate::Closed(Box::new(call));
    }

    /// Continues a load that is paused after connecting, or will be.
    pub fn resume(&self, reactor: &mut Reactor) {
        let mut state = self.0.state.borrow_mut();
        let waits = matches!(state.start_gate, StartGate::Reached) && state.stage == Stage::Opening;
        state.start_gate = StartGate::Open;
        drop(state);
        if waits {
            self.0.begin(reactor);
        }
    }

    /// Ends the load early, and waits for the last answers as usual. A second call does not wait.
    pub fn stop(&self, reactor: &mut Reactor) {
        let stage = self.0.state.borrow().stage;
        match stage {
            Stage::Opening | Stage::Draining => self.0.finish(reactor),
            Stage::Running => self.0.drain(reactor),
            Stage::Finished => {}
        }
    }

    /// Whether the load has finished.
    pub fn is_finished(&self) -> bool {
        self.0.state.borrow().stage == Stage::Finished
    }

    /// Returns the progress at `now`.
    pub fn progress(&self, now: Instant) -> Progress {
        let state = self.0.state.borrow();
        Progress {
            open: state.open.len() as u64,
            messages: state.answers,
            errors: state.totals.error_count(),
            running: (state.stage != Stage::Opening).then(|| now - state.begun_to_run(&self.0.config)),
        }
    }

    /// Returns the report, preliminary before the end.
    pub fn report(&self) -> Report {
        let totals = self.0.state.borrow().totals.clone();
        Report::new(self.0.described.borrow().clone(), self.0.config.clone(), totals)
    }
}
