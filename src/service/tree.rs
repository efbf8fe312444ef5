//! Starting and stopping the services of a tree in sequence.

use crate::escape::Escaped;
use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::time::Duration;

use super::{Failure, MultiService, Service, ServiceError, ServiceId, StopToken};
use crate::Reactor;
use crate::reactor::panic_message;

/// Services of one parent.
pub(super) struct Tree {
    pub(super) state: State,
    pub(super) children: Vec<Child>,
    /// Number of services that were ever added.
    pub(super) count: u64,
    pub(super) stop_timeout: Duration,
}

pub(super) enum State {
    Down,
    /// `privileged_start` of all services has returned.
    Privileged,
    /// A service is being started.
    Starting,
    Up,
    /// Tokens of the callers that wait for the stop.
    Stopping(Vec<StopToken>),
}

pub(super) struct Child {
    pub(super) id: ServiceId,
    pub(super) name: Option<String>,
    /// Name for error messages.
    pub(super) label: String,
    /// `None` while the service is being called.
    pub(super) service: Option<Box<dyn Service>>,
    pub(super) stage: Stage,
    /// The service was removed. It is dropped when it has stopped.
    pub(super) removing: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    Down,
    Privileged,
    Up,
    Stopping,
}

impl MultiService {
    /// Calls a service, which is taken out of the tree meanwhile. A panic becomes a failure.
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
    pub(super) fn start_child(
        &self,
        reactor: &mut Reactor,
        id: ServiceId,
        to: Stage,
    ) -> Result<(), ServiceError> {
        for stage in [Stage::Privileged, Stage::Up] {
            let mut tree = self.tree.borrow_mut();
            let Some(child) = tree.child(id) else { return Ok(()) };
            if matches!((child.stage, stage), (Stage::Down, _) | (Stage::Privileged, Stage::Up)) {
                // Set before the call, because the service must be stopped even if the call fails.
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

    /// Brings all services up to a stage, including services added meanwhile. If one fails, the
    /// others are stopped.
    pub(super) fn start_all(&self, reactor: &mut Reactor, to: Stage) -> Result<(), ServiceError> {
        self.tree.borrow_mut().state = State::Starting;
        loop {
            let next = self.tree.borrow().next_below(to);
            let Some(id) = next else { break };
            let started = self.start_child(reactor, id, to);
            let stopping = matches!(self.tree.borrow().state, State::Stopping(_));
            if stopping {
                // Stopped by the service that was called.
                self.stop_next(reactor);
                return started.and(Err(ServiceError::Stopping));
            }
            if started.is_err() {
                self.tree.borrow_mut().state = State::Stopping(Vec::new());
                self.stop_next(reactor);
                return started;
            }
        }
        self.tree.borrow_mut().state = if to == Stage::Up { State::Up } else { State::Privileged };
        Ok(())
    }

    /// Stops the last service that is not down. If all are down, reports the end of the stop.
    pub(super) fn stop_next(&self, reactor: &mut Reactor) {
        let mut tree = self.tree.borrow_mut();
        let last = tree.children.iter().rev().find(|child| child.stage != Stage::Down);
        match last.map(|child| (child.id, child.stage)) {
            // The service is being removed. `child_stopped` continues when it has stopped.
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

    pub(super) fn stop_child(&self, reactor: &mut Reactor, id: ServiceId, stopped_token: StopToken) {
        let mut tree = self.tree.borrow_mut();
        let limit = tree.stop_timeout;
        let Some(child) = tree.child(id) else { return };
        child.stage = Stage::Stopping;
        if child.service.is_none() {
            // Removed from its own callback, which has returned when the call below runs.
            drop(tree);
            let this = self.clone();
            reactor.call_later(Duration::ZERO, move |reactor| this.stop_child(reactor, id, stopped_token));
            return;
        }
        let label = child.label.clone();
        drop(tree);
        // Taken by the first of two events: the token is dropped, or the limit expires.
        let over = Rc::new(Cell::new(Some(stopped_token)));
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
            // Fails if the limit has expired.
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
        let removed = index.and_then(|index| {
            tree.children[index].stage = Stage::Down;
            tree.children[index].removing.then(|| tree.children.remove(index))
        });
        let stopping = matches!(tree.state, State::Stopping(_));
        drop(tree);
        drop(removed);
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
            Stage::Down => !child.removing,
            Stage::Privileged => to == Stage::Up && !child.removing,
            Stage::Up | Stage::Stopping => false,
        };
        self.children.iter().find(below).map(|child| child.id)
    }
}

impl Default for Tree {
    fn default() -> Tree {
        Tree { state: State::Down, children: Vec::new(), count: 0, stop_timeout: Duration::from_secs(10) }
    }
}
