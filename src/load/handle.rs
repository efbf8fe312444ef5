//! The handle of a load: it begins one, looks at it, ends it.

use super::pattern::Pattern;
use super::report::Report;
use super::run::{Gate, Run, Stage, State, Target};
use super::sockets::Candidates;
use crate::endpoint::ClientEndpoint;
use crate::load::config::{LoadConfig, PlanError};
use crate::load::error::LoadError;
use crate::load::totals::Totals;
use crate::{ConnectTcp, Instant, Reactor};
use std::any::Any;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

/// A load that runs. A clone is another handle to the same one.
#[derive(Clone)]
pub struct LoadTest(Rc<Run>);

/// How far a load is.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Progress {
    /// Connections that stand.
    pub standing: u64,
    /// Messages answered so far, those of the warm-up included.
    pub messages: u64,
    /// What went wrong so far.
    pub errors: u64,
    /// The time since messages flow, or since connections are held; none before.
    pub running: Option<Duration>,
}

impl LoadTest {
    /// Begins a load. Nothing happens before the reactor runs. A host name is looked up until a connection is made;
    /// the further ones go to where that one did.
    ///
    /// # Errors
    /// What stands against the plan.
    pub fn start(
        reactor: &mut Reactor,
        endpoint: Box<dyn ClientEndpoint>,
        plan: LoadConfig,
    ) -> Result<LoadTest, PlanError> {
        plan.check()?;
        if !plan.sources.is_empty() && !(&*endpoint as &dyn Any).is::<ConnectTcp>() {
            return Err(PlanError::Sources);
        }
        Ok(LoadTest::start_to(reactor, endpoint.describe(), Target::Endpoint(endpoint), plan))
    }

    /// Begins a load of datagrams, on sockets that have the server as their one peer. Each datagram has its number in
    /// its first 8 bytes. One that does not come back within [`LoadConfig::lost_after`] is lost, which is counted and no error.
    /// A host name is looked up once. Where it has several addresses, each in turn is sent one message, and the first that
    /// answers is used; if none does, the first that did not refuse. [`Report::endpoint`] names the address.
    /// [`LoadConfig::ramp`] has no meaning.
    ///
    /// # Errors
    /// What stands against the plan ([`LoadConfig::check_datagrams`]).
    pub fn start_datagrams(
        reactor: &mut Reactor,
        host: &str,
        port: u16,
        plan: LoadConfig,
    ) -> Result<LoadTest, PlanError> {
        plan.check_datagrams()?;
        let described = match host.contains(':') {
            true => format!("udp:[{host}]:{port}"),
            false => format!("udp:{host}:{port}"),
        };
        Ok(LoadTest::start_to(reactor, described, Target::Datagrams { host: host.to_owned(), port }, plan))
    }

    fn start_to(reactor: &mut Reactor, described: String, target: Target, plan: LoadConfig) -> LoadTest {
        let now = reactor.now();
        let state = State {
            stage: Stage::Opening,
            began: now,
            since: now,
            until: now,
            last: now,
            connecting: BTreeMap::new(),
            standing: BTreeMap::new(),
            lanes: Vec::new(),
            schedule: None,
            cursor: 0,
            taken: 0,
            unfinished_lanes: Vec::new(),
            busy: 0,
            next: None,
            end: None,
            sweep: None,
            answers: 0,
            paced: plan.paced().is_some(),
            tally: Totals::default(),
            finished: None,
            gate: Gate::Open,
            candidates: Candidates::default(),
        };
        let state = RefCell::new(state);
        let run = Run {
            plan,
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

    /// Calls `observer` at each trouble, when it happens. One that is set later takes its place.
    pub fn on_trouble(&self, observer: impl FnMut(&LoadError) + 'static) {
        *self.0.observer.borrow_mut() = Some(Box::new(observer));
    }

    /// Calls `call` once when the load has finished; if it has, never.
    pub fn on_finished(&self, call: impl FnOnce(&mut Reactor) + 'static) {
        self.0.state.borrow_mut().finished = Some(Box::new(call));
    }

    /// Lets the load wait when its connections are made, as many as could be, before messages flow or anything is held: `call`
    /// is called then, and [`go_on`](LoadTest::resume) lets it go on. So several loads begin to run together. `call` is never called
    /// when the load has come further, or is finished before.
    pub fn wait_when_opened(&self, call: impl FnOnce(&mut Reactor) + 'static) {
        self.0.state.borrow_mut().gate = Gate::Closed(Box::new(call));
    }

    /// Lets a load go on that waits, or will.
    pub fn resume(&self, reactor: &mut Reactor) {
        let mut state = self.0.state.borrow_mut();
        let waits = matches!(state.gate, Gate::Reached) && state.stage == Stage::Opening;
        state.gate = Gate::Open;
        drop(state);
        if waits {
            self.0.begin(reactor);
        }
    }

    /// Ends the load before its time: the last answers are awaited as at the end. A second time does not wait.
    pub fn stop(&self, reactor: &mut Reactor) {
        let stage = self.0.state.borrow().stage;
        match stage {
            Stage::Opening | Stage::Draining => self.0.finish(reactor),
            Stage::Running => self.0.drain(reactor),
            Stage::Finished => {}
        }
    }

    /// Whether it is over.
    pub fn is_finished(&self) -> bool {
        self.0.state.borrow().stage == Stage::Finished
    }

    /// How far it is.
    pub fn progress(&self, now: Instant) -> Progress {
        let state = self.0.state.borrow();
        Progress {
            standing: state.standing.len() as u64,
            messages: state.answers,
            errors: state.tally.error_count(),
            running: (state.stage != Stage::Opening).then(|| now - state.begun_to_run(&self.0.plan)),
        }
    }

    /// What it has come to: at the end of it; or so far.
    pub fn report(&self) -> Report {
        let tally = self.0.state.borrow().tally.clone();
        Report::new(self.0.described.borrow().clone(), self.0.plan.clone(), tally)
    }
}
