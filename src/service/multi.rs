//! Several services as one: started in order, stopped in reverse.

use std::any::type_name;
use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use super::tree::{Child, Stage, State, Tree};
use super::{Failure, Service, ServiceError, StopToken};
use crate::Reactor;

/// A tree of services. (Twisted: `MultiService`.)
///
/// Its services start in the order in which they were added, and stop in reverse, **one after the other**: the next is told when the
/// one before has stopped, or had [its limit](MultiService::stop_limit). (Twisted tells all at once.) So what was
/// started later, and leans on what was started before, never stands without it.
///
/// When one does not start, those that were started before are stopped again, in reverse, and the error names it.
///
/// Clones are the same tree.
///
/// ```
/// use std::time::Duration;
/// use twistor::service::{MultiService, TimerService};
///
/// let services = MultiService::new();
/// services.add(TimerService::new(Duration::from_secs(60), |_, _| println!("a minute")).named("minutes"))?;
/// services.add(TimerService::new(Duration::from_secs(3600), |_, _| println!("an hour")).named("hours"))?;
/// assert_eq!(services.names(), ["minutes", "hours"]);
/// assert!(services.add(TimerService::new(Duration::from_secs(1), |_, _| {}).named("hours")).is_err());
/// # Ok::<(), twistor::service::ServiceError>(())
/// ```
#[derive(Clone, Default)]
pub struct MultiService {
    name: Option<Rc<str>>,
    pub(super) tree: Rc<RefCell<Tree>>,
}

/// A service of a [`MultiService`] by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ServiceId(u64);

impl MultiService {
    /// Without services.
    pub fn new() -> MultiService {
        MultiService::default()
    }

    /// With this name, for a parent of its own.
    pub fn named(mut self, name: &str) -> MultiService {
        self.name = Some(name.into());
        self
    }

    /// How long each service may take to stop; then the next is told all the same, and a warning is logged. Default: 10 s.
    pub fn stop_limit(self, limit: Duration) -> MultiService {
        self.tree.borrow_mut().stop_limit = limit;
        self
    }

    /// Adds a service, to be started with the others. (Twisted: `setServiceParent`.)
    ///
    /// # Errors
    /// [`ServiceError::NameTaken`]; [`ServiceError::Running`]: see [`add_running`](MultiService::add_running).
    pub fn add<S: Service>(&self, service: S) -> Result<ServiceId, ServiceError> {
        if self.running() {
            return Err(ServiceError::Running);
        }
        self.insert(service)
    }

    /// Adds a service, and starts it now if the others run.
    ///
    /// # Errors
    /// [`ServiceError::NameTaken`]; [`ServiceError::Failed`] when it does not start: then it is stopped and removed again.
    pub fn add_running<S: Service>(
        &self,
        reactor: &mut Reactor,
        service: S,
    ) -> Result<ServiceId, ServiceError> {
        let id = self.insert(service)?;
        if !self.running() {
            return Ok(id);
        }
        match self.raise(reactor, id, Stage::Up) {
            Ok(()) => Ok(id),
            Err(error) => {
                // It is there, and not inside a call.
                let _ = self.remove(reactor, id, StopToken::ignored());
                Err(error)
            }
        }
    }

    /// Removes a service; one that runs is stopped first, and keeps its name until then. (Twisted:
    /// `disownServiceParent`.)
    ///
    /// # Errors
    /// [`ServiceError::NoSuchService`]; [`ServiceError::Busy`] inside one of its own calls.
    pub fn remove(
        &self,
        reactor: &mut Reactor,
        id: ServiceId,
        stopped: StopToken,
    ) -> Result<(), ServiceError> {
        let mut tree = self.tree.borrow_mut();
        let index = tree.children.iter().position(|child| child.id == id && !child.leaving);
        let index = index.ok_or(ServiceError::NoSuchService)?;
        let child = &mut tree.children[index];
        if child.service.is_none() {
            return Err(ServiceError::Busy(child.label.clone()));
        }
        child.leaving = true;
        match child.stage {
            Stage::Down => {
                let gone = tree.children.remove(index);
                drop(tree);
                drop((gone, stopped));
            }
            Stage::Privileged | Stage::Up => {
                drop(tree);
                self.stop_child(reactor, id, stopped);
            }
            // Its parent's stop is told of it, and removes it.
            Stage::Stopping => drop(stopped),
        }
        Ok(())
    }

    /// The names of those that have one, in order.
    pub fn names(&self) -> Vec<String> {
        self.tree.borrow().children.iter().filter_map(|child| child.name.clone()).collect()
    }

    /// The service of this name.
    pub fn find(&self, name: &str) -> Option<ServiceId> {
        let tree = self.tree.borrow();
        tree.children.iter().find(|child| child.name.as_deref() == Some(name)).map(|child| child.id)
    }

    /// How many services it has, those included that are removed and still stop.
    pub fn len(&self) -> usize {
        self.tree.borrow().children.len()
    }

    /// Whether it has none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether its services run.
    pub fn running(&self) -> bool {
        matches!(self.tree.borrow().state, State::Up)
    }

    fn insert<S: Service>(&self, service: S) -> Result<ServiceId, ServiceError> {
        let name = service.name().map(str::to_owned);
        let mut tree = self.tree.borrow_mut();
        if let Some(name) = &name
            && tree.children.iter().any(|child| child.name.as_ref() == Some(name))
        {
            return Err(ServiceError::NameTaken(name.clone()));
        }
        tree.count += 1;
        let id = ServiceId(tree.count);
        let label = name.clone().unwrap_or_else(|| {
            let kind = type_name::<S>().split('<').next().unwrap_or_default();
            match kind.rsplit("::").next().unwrap_or(kind) {
                // Says nothing of what is in it.
                "Box" => tree.count.to_string(),
                kind => format!("{} ({kind})", tree.count),
            }
        });
        let service: Option<Box<dyn Service>> = Some(Box::new(service));
        tree.children.push(Child { id, name, label, service, stage: Stage::Down, leaving: false });
        Ok(id)
    }
}

impl Service for MultiService {
    fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    fn privileged_start(&mut self, reactor: &mut Reactor) -> Result<(), Failure> {
        match self.tree.borrow().state {
            State::Down => {}
            State::Stopping(_) => return Err(ServiceError::Stopping.into()),
            State::Privileged | State::Starting | State::Up => return Ok(()),
        }
        Ok(self.raise_all(reactor, Stage::Privileged)?)
    }

    fn start(&mut self, reactor: &mut Reactor) -> Result<(), Failure> {
        match self.tree.borrow().state {
            State::Down | State::Privileged => {}
            State::Stopping(_) => return Err(ServiceError::Stopping.into()),
            State::Starting | State::Up => return Ok(()),
        }
        Ok(self.raise_all(reactor, Stage::Up)?)
    }

    fn stop(&mut self, reactor: &mut Reactor, stopped: StopToken) {
        let mut tree = self.tree.borrow_mut();
        match &mut tree.state {
            State::Down => {
                drop(tree);
                drop(stopped);
            }
            State::Stopping(waiting) => waiting.push(stopped),
            // Inside a service's start: it goes on from there.
            State::Starting => tree.state = State::Stopping(vec![stopped]),
            State::Privileged | State::Up => {
                tree.state = State::Stopping(vec![stopped]);
                drop(tree);
                self.stop_next(reactor);
            }
        }
    }

    fn reload(&mut self, reactor: &mut Reactor) {
        let up: Vec<ServiceId> = {
            let tree = self.tree.borrow();
            tree.children.iter().filter(|child| child.stage == Stage::Up).map(|child| child.id).collect()
        };
        for id in up {
            let called = self.call(reactor, id, |service, reactor| {
                service.reload(reactor);
                Ok(())
            });
            if let Err(failure) = called {
                log_error!("reloading a service: {failure}");
            }
        }
    }
}
