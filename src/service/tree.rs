//! How the services of a tree are brought up and down, one after the other.

use crate::escape::Escaped;
use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::time::Duration;

use super::{Failure, MultiService, Service, ServiceError, ServiceId, StopToken};
use crate::Reactor;
use crate::reactor::panic_message;

/// The services of one parent.
pub(super) struct Tree {
    pub(super) state: State,
    pub(super) children: Vec<Child>,
    /// Counts what was ever added.
    pub(super) count: u64,
    pub(super) stop_limit: Duration,
}

pub(super) enum State {
    Down,
    /// Everything that needs privileges is done.
    Privileged,
    /// A step of the start is under way: a service is being called.
    Starting,
    Up,
    /// Who waits for the end.
    Stopping(Vec<StopToken>),
}

pub(super) struct Child {
    pub(super) id: ServiceId,
    pub(super) name: Option<String>,
    /// For errors.
    pub(super) label: String,
    /// Out of its place while it is called.
    pub(super) service: Option<Box<dyn Service>>,
    pub(super) stage: Stage,
    /// It was removed, and goes when it has stopped.
    pub(super) leaving: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    Down,
    Privileged,
    Up,
    Stopping,
}

impl MultiService {
    /// Calls a service, which is out of its place meanwhile. A panic is its failure.
    pub(super) fn call(
        &self,
        reactor: &mut Reactor,
        id: ServiceId,
        call: impl FnOnce(&mut dyn Service, &mut Reactor) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        let taken = self.tree.borrow_mut().child(id).and_then(|child| child.service.take());
        let Some(mut service) = taken else { return Err(ServiceError::NoSuchService.into()) };
        let result = catch_unwind(AssertUnwindSafe(|| call(&mut *service, reactor)));
        if let Some(child) = self.tree.borrow_mut().child(id) {
            child.service = Some(service);
        }
        result.unwrap_or_else(|panic| Err(ServiceError::Panicked(panic_message(&*panic)).into()))
    }

    /// Brings one service up to a stage.
    pub(super) fn raise(&self, reactor: &mut Reactor, id: ServiceId, to: Stage) -> Result<(), ServiceError> {
        for stage in [Stage::Privileged, Stage::Up] {
            let mut tree = self.tree.borrow_mut();
            let Some(child) = tree.child(id) else { return Ok(()) };
            if matches!((child.stage, stage), (Stage::Down, _) | (Stage::Privileged, Stage::Up)) {
                // Whatever becomes of the call: it has to be stopped.
                child.stage = stage;
                let service = child.label.clone();
                drop(tree);
                let called = self.call(reactor, id, |service, reactor| match stage {
                    Stage::Privileged => service.privileged_start(reactor),
                    _ => service.start(reactor),
                });
                called.map_err(|source| ServiceError::Failed { service, source })?;
            }
            if stage == to {
                break;
            }
        }
        Ok(())
    }

    /// Brings all up to a stage, those included that are added meanwhile. When one fails, the others are stopped.
    pub(super) fn raise_all(&self, reactor: &mut Reactor, to: Stage) -> Result<(), ServiceError> {
        self.tree.borrow_mut().state = State::Starting;
        loop {
            let next = self.tree.borrow().next_below(to);
            let Some(id) = next else { break };
            let raised = self.raise(reactor, id, to);
            let stopping = matches!(self.tree.borrow().state, State::Stopping(_));
            if stopping {
                // By the service that was called.
                self.stop_next(reactor);
                return raised.and(Err(ServiceError::Stopping));
            }
            if raised.is_err() {
                self.tree.borrow_mut().state = State::Stopping(Vec::new());
                self.stop_next(reactor);
                return raised;
            }
        }
        self.tree.borrow_mut().state = if to == Stage::Up { State::Up } else { State::Privileged };
        Ok(())
    }

    /// Stops the last one that is not down; after all of them tells who waits.
    pub(super) fn stop_next(&self, reactor: &mut Reactor) {
        let mut tree = self.tree.borrow_mut();
        let last = tree.children.iter().rev().find(|child| child.stage != Stage::Down);
        match last.map(|child| (child.id, child.stage)) {
            // It is being removed, and comes here when it has stopped.
            Some((_, Stage::Stopping)) => {}
            Some((id, _)) => {
                drop(tree);
                self.stop_child(reactor, id, StopToken::ignored());
            }
            None => {
                let waiting = std::mem::replace(&mut tree.state, State::Down);
                drop(tree);
                drop(waiting);
            }
        }
    }

    pub(super) fn stop_child(&self, reactor: &mut Reactor, id: ServiceId, also: StopToken) {
        let mut tree = self.tree.borrow_mut();
        let limit = tree.stop_limit;
        let Some(child) = tree.child(id) else { return };
        child.stage = Stage::Stopping;
        if child.service.is_none() {
            // It is inside one of its own calls, which is over by then.
            drop(tree);
            let this = self.clone();
            reactor.call_later(Duration::ZERO, move |reactor| this.stop_child(reactor, id, also));
            return;
        }
        let label = child.label.clone();
        drop(tree);
        // Whichever comes first: its word, or the limit.
        let over = Rc::new(Cell::new(Some(also)));
        let (tree, late, name) = (self.clone(), Rc::clone(&over), label.clone());
        let timer = reactor.call_later(limit, move |reactor| {
            if late.take().is_some() {
                let name = Escaped(&name);
                log_warn!([service:% = name] "service {name} has not stopped within {limit:?}");
                tree.child_stopped(reactor, id);
            }
        });
        let tree = self.clone();
        let stopped = StopToken::new(reactor, move |reactor| {
            // It was called when the limit came first.
            let _ = timer.cancel(reactor);
            if over.take().is_some() {
                tree.child_stopped(reactor, id);
            }
        });
        let called = self.call(reactor, id, |service, reactor| {
            service.stop(reactor, stopped);
            Ok(())
        });
        if let Err(failure) = called {
            let label = Escaped(&label);
            log_error!([service:% = label] "stopping service {label}: {failure}");
        }
    }

    pub(super) fn child_stopped(&self, reactor: &mut Reactor, id: ServiceId) {
        let mut tree = self.tree.borrow_mut();
        let index = tree.children.iter().position(|child| child.id == id);
        let gone = index.and_then(|index| {
            tree.children[index].stage = Stage::Down;
            tree.children[index].leaving.then(|| tree.children.remove(index))
        });
        let stopping = matches!(tree.state, State::Stopping(_));
        drop(tree);
        drop(gone);
        if stopping {
            self.stop_next(reactor);
        }
    }
}

impl Tree {
    pub(super) fn child(&mut self, id: ServiceId) -> Option<&mut Child> {
        self.children.iter_mut().find(|child| child.id == id)
    }

    pub(super) fn next_below(&self, to: Stage) -> Option<ServiceId> {
        let below = |child: &&Child| match child.stage {
            Stage::Down => !child.leaving,
            Stage::Privileged => to == Stage::Up && !child.leaving,
            Stage::Up | Stage::Stopping => false,
        };
        self.children.iter().find(below).map(|child| child.id)
    }
}

impl Default for Tree {
    fn default() -> Tree {
        Tree { state: State::Down, children: Vec::new(), count: 0, stop_limit: Duration::from_secs(10) }
    }
}
