//! A service of several services, which are started in order and stopped in reverse order.

use std::any::type_name;
use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use super::tree::{Child, Stage, State, Tree};
use super::{Failure, Service, ServiceError, StopToken};
use crate::Reactor;

/// A tree of services. (Twisted: `MultiService`.)
///
/// The services start in the order in which they were added. They stop in reverse order, **one
/// after the other**: a service is stopped when the previous one has stopped or has exceeded [the
/// limit](MultiService::stop_timeout). A service can therefore rely on the services added before it
/// until it has stopped. (Twisted stops all at once.)
///
/// If a service does not start, the services started before it are stopped in reverse order, and
/// the error names the service.
///
/// Clones share the tree.
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

/// Identifier of a service within a [`MultiService`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ServiceId(u64);

impl MultiService {
    /// Creates a tree without services.
    pub fn new() -> MultiService {
        MultiService::default()
    }

    /// Sets the name, for a parent of this tree.
    pub fn named(mut self, name: &str) -> MultiService {
        self.name = Some(name.into());
        self
    }

    /// Sets the time limit for each service to stop. After it, a warning is logged and the next
    /// service is stopped. Default: 10 s.
    pub fn stop_timeout(self, limit: Duration) -> MultiService {
        self.tree.borrow_mut().stop_timeout = limit;
        self
    }

    /// Adds a service, which is started with the others. (Twisted: `setServiceParent`.)
    ///
    /// # Errors
    /// - [`ServiceError::NameTaken`].
    /// - [`ServiceError::Running`]: use [`add_running`](MultiService::add_running).
    pub fn add<S: Service>(&self, service: S) -> Result<ServiceId, ServiceError> {
        if self.running() {
            return Err(ServiceError::Running);
        }
        self.insert(service)
    }

    /// Adds a service, and starts it if the tree is running.
    ///
    /// # Errors
    /// - [`ServiceError::NameTaken`].
    /// - [`ServiceError::Failed`] if the service does not start. It is stopped and removed.
    pub fn add_running<S: Service>(
        &self,
        reactor: &mut Reactor,
        service: S,
    ) -> Result<ServiceId, ServiceError> {
        let id = self.insert(service)?;
        if !self.running() {
            return Ok(id);
        }
        match self.start_child(reactor, id, Stage::Up) {
            Ok(()) => Ok(id),
            Err(error) => {
                // Cannot fail: the service was just added, and none of its callbacks is running.
                let _ = self.remove(reactor, id, StopToken::ignored());
                Err(error)
            }
        }
    }

    /// Removes a service. A running service is stopped first and keeps its name until it has
    /// stopped. (Twisted: `disownServiceParent`.)
    ///
    /// # Errors
    /// - [`ServiceError::NoSuchService`].
    /// - [`ServiceError::Busy`] in one of the service's own callbacks.
    pub fn remove(
        &self,
        reactor: &mut Reactor,
        id: ServiceId,
        stopped: StopToken,
    ) -> Result<(), ServiceError> {
        let mut tree = self.tree.borrow_mut();
        let index = tree.children.iter().position(|child| child.id == id && !child.removing);
        let index = index.ok_or(ServiceError::NoSuchService)?;
        let child = &mut tree.children[index];
        if child.service.is_none() {
            return Err(ServiceError::Busy(child.label.clone()));
        }
        child.removing = true;
        match child.stage {
            Stage::Down => {
                let removed = tree.children.remove(index);
                drop(tree);
                drop((removed, stopped));
            }
            Stage::Privileged | Stage::Up => {
                drop(tree);
                self.stop_child(reactor, id, stopped);
            }
            // `child_stopped` removes the service.
            Stage::Stopping => drop(stopped),
        }
        Ok(())
    }

    /// Names of the services that have one, in order.
    pub fn names(&self) -> Vec<String> {
        self.tree.borrow().children.iter().filter_map(|child| child.name.clone()).collect()
    }

    /// Returns the service of this name.
    pub fn find(&self, name: &str) -> Option<ServiceId> {
        let tree = self.tree.borrow();
        tree.children.iter().find(|child| child.name.as_deref() == Some(name)).map(|child| child.id)
    }

    /// Number of services, including removed ones that are still stopping.
    pub fn len(&self) -> usize {
        self.tree.borrow().children.len()
    }

    /// Returns whether the tree has no services.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns whether the services are running.
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
                // The type name of a box says nothing about its content.
                "Box" => tree.count.to_string(),
                kind => format!("{} ({kind})", tree.count),
            }
        });
        let service: Option<Box<dyn Service>> = Some(Box::new(service));
        tree.children.push(Child { id, name, label, service, stage: Stage::Down, removing: false });
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
        Ok(self.start_all(reactor, Stage::Privileged)?)
    }

    fn start(&mut self, reactor: &mut Reactor) -> Result<(), Failure> {
        match self.tree.borrow().state {
            State::Down | State::Privileged => {}
            State::Stopping(_) => return Err(ServiceError::Stopping.into()),
            State::Starting | State::Up => return Ok(()),
        }
        Ok(self.start_all(reactor, Stage::Up)?)
    }

    fn stop(&mut self, reactor: &mut Reactor, stopped: StopToken) {
        let mut tree = self.tree.borrow_mut();
        match &mut tree.state {
            State::Down => {
                drop(tree);
                drop(stopped);
            }
            State::Stopping(waiting) => waiting.push(stopped),
            // Called while a service starts. `start_all` continues with the stop.
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
