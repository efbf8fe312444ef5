//! One connection that is kept alive.

mod effects;
pub(super) mod state;
use crate::escape::Escaped;
use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use crate::endpoint::ClientEndpoint;
use crate::reactor::Completion;
use crate::service::client::state::{Course, Event};
use crate::service::{Backoff, ClientState, ConnectError, Failure, RetryPolicy, Service, StopToken};
use crate::{ConnectionId, ConnectorId, DelayedCall, Factory, Reactor};

/// Keeps one connection to an endpoint alive while it runs: connects, and connects again after a failure or a loss, each time after a
/// wait that grows with the failures. (Twisted: `ClientService`.)
///
/// Clones are the same service.
///
/// ```
/// use twistor::service::ClientService;
/// use twistor::{ConnectTcp, Protocol, Reactor, Transport};
///
/// struct Reports;
///
/// impl Protocol for Reports {
///     fn data_received(&mut self, _: &mut Transport<'_>, _: &[u8]) {}
/// }
///
/// let reports = ClientService::new(ConnectTcp::new("reports.example", 4000), || Reports);
///
/// /// Sends as soon as there is a connection, whenever that is.
/// fn report(reports: &ClientService, reactor: &mut Reactor, text: &'static str) {
///     reports.when_connected(reactor, move |reactor, connection| {
///         let connection = connection.ok().and_then(|id| reactor.transport(id));
///         if let Some(mut transport) = connection {
///             transport.write(text.as_bytes());
///         }
///     });
/// }
/// # report(&reports, &mut Reactor::new()?, "hello");
/// # Ok::<(), twistor::Error>(())
/// ```
#[derive(Clone)]
pub struct ClientService {
    name: Option<Rc<str>>,
    pub(in crate::service) client: Rc<RefCell<Client>>,
    pub(in crate::service) factory: Rc<RefCell<dyn Factory>>,
}

pub(in crate::service) struct Client {
    pub(in crate::service) endpoint: Rc<dyn ClientEndpoint>,
    pub(in crate::service) policy: Rc<RetryPolicy>,
    /// Out of its place while it runs.
    pub(in crate::service) prepare: Option<Prepare>,
    pub(in crate::service) prepares: bool,
    pub(in crate::service) prepare_limit: Duration,
    pub(in crate::service) state: ClientState,
    pub(in crate::service) course: Course,
    /// Counts the attempts: what comes late from an earlier one is ignored.
    pub(in crate::service) attempt: u64,
    pub(in crate::service) connector: Option<ConnectorId>,
    /// Of the wait, or of the preparation.
    pub(in crate::service) timer: Option<DelayedCall>,
    pub(in crate::service) waiters: Vec<Waiter>,
    pub(in crate::service) stops: Vec<StopToken>,
}

pub(in crate::service) type Prepare = Box<dyn FnMut(&mut Reactor, ConnectionId, PrepareToken)>;

/// Somebody who waits for a connection.
pub(in crate::service) struct Waiter {
    /// So many more failures, and it has had enough.
    pub(in crate::service) patience: Option<u32>,
    pub(in crate::service) failures: u32,
    pub(in crate::service) call: WaiterCall,
}

pub(in crate::service) type WaiterCall = Box<dyn FnOnce(&mut Reactor, Result<ConnectionId, ConnectError>)>;

/// Says how the preparation of a connection ended. Dropped without a word, it has failed.
#[must_use = "dropping it says that the preparation failed"]
pub struct PrepareToken {
    pub(in crate::service) completion: Completion<Result<(), String>>,
}

impl PrepareToken {
    /// The connection can be used.
    pub fn done(self) {
        self.completion.complete(Ok(()));
    }

    /// It cannot: it is closed, and that counts as a failed attempt.
    pub fn failed(self, why: impl Into<String>) {
        self.completion.complete(Err(why.into()));
    }
}

impl ClientService {
    /// Connects to `endpoint`, and makes a protocol with `factory` for each connection. The service alone is told
    /// what becomes of an attempt: a [`ClientFactory`](crate::ClientFactory)'s own callbacks for that are not called.
    pub fn new(endpoint: impl ClientEndpoint + 'static, factory: impl Factory) -> ClientService {
        let client = Client {
            endpoint: Rc::new(endpoint),
            policy: Rc::new(Backoff::default().policy()),
            prepare: None,
            prepares: false,
            prepare_limit: Duration::from_secs(30),
            state: ClientState::New,
            course: Course::default(),
            attempt: 0,
            connector: None,
            timer: None,
            waiters: Vec::new(),
            stops: Vec::new(),
        };
        ClientService {
            name: None,
            client: Rc::new(RefCell::new(client)),
            factory: Rc::new(RefCell::new(factory)),
        }
    }

    /// With this name.
    pub fn named(mut self, name: &str) -> ClientService {
        self.name = Some(name.into());
        self
    }

    /// How long to wait before the next attempt. Default: [`Backoff::default`]. (Twisted: `retryPolicy`.)
    pub fn retry(self, backoff: Backoff) -> ClientService {
        self.retry_with(backoff.policy())
    }

    /// As [`retry`](ClientService::retry), with a function of the failures in a row (0: a connection was lost) and of 64 random bits;
    /// `None` gives up.
    pub fn retry_with(self, policy: impl Fn(u32, u64) -> Option<Duration> + 'static) -> ClientService {
        self.client.borrow_mut().policy = Rc::new(policy);
        self
    }

    /// Prepares each connection after its `connection_made`, by a greeting or a login, before anybody who waits for one is told.
    /// To fail counts as a failed attempt, and so does to take longer than the
    /// [limit](ClientService::prepare_limit). (Twisted: `prepareConnection`.)
    ///
    /// ```
    /// # use twistor::service::ClientService;
    /// # use twistor::{ConnectTcp, Protocol, Transport};
    /// # struct Reports;
    /// # impl Protocol for Reports {
    /// #     fn data_received(&mut self, _: &mut Transport<'_>, _: &[u8]) {}
    /// # }
    /// let reports = ClientService::new(ConnectTcp::new("reports.example", 4000), || Reports)
    ///     .prepare_connection(|reactor, connection, preparation| match reactor.transport(connection) {
    ///         Some(mut transport) => {
    ///             transport.write(b"I am here\n");
    ///             preparation.done();
    ///         }
    ///         None => preparation.failed("it is gone"),
    ///     });
    /// # drop(reports);
    /// ```
    pub fn prepare_connection(
        self,
        prepare: impl FnMut(&mut Reactor, ConnectionId, PrepareToken) + 'static,
    ) -> ClientService {
        let mut client = self.client.borrow_mut();
        client.prepare = Some(Box::new(prepare));
        client.prepares = true;
        drop(client);
        self
    }

    /// How long a preparation may take. Default: 30 s.
    pub fn prepare_limit(self, limit: Duration) -> ClientService {
        self.client.borrow_mut().prepare_limit = limit;
        self
    }

    /// Calls `call` with the connection: with the one that is there, never inside this call, or with the next one. Once the service
    /// is stopped, or its policy gives up, there is none. (Twisted: `whenConnected`.)
    pub fn when_connected(
        &self,
        reactor: &mut Reactor,
        call: impl FnOnce(&mut Reactor, Result<ConnectionId, ConnectError>) + 'static,
    ) {
        self.wait(reactor, Waiter { patience: None, failures: 0, call: Box::new(call) });
    }

    /// As [`when_connected`](ClientService::when_connected), but waits for no more than so many failures in a row, from now
    /// on (0 counts as 1). (Twisted: `whenConnected(failAfterFailures)`.)
    pub fn when_connected_or_failed(
        &self,
        reactor: &mut Reactor,
        failures: u32,
        call: impl FnOnce(&mut Reactor, Result<ConnectionId, ConnectError>) + 'static,
    ) {
        self.wait(reactor, Waiter { patience: Some(failures.max(1)), failures: 0, call: Box::new(call) });
    }

    /// What it does.
    pub fn state(&self) -> ClientState {
        self.client.borrow().state
    }

    /// The connection, if it is there.
    pub fn connection(&self) -> Option<ConnectionId> {
        match self.state() {
            ClientState::Connected(connection) => Some(connection),
            _ => None,
        }
    }

    /// How many attempts have failed since there was a connection.
    pub fn failures(&self) -> u32 {
        self.client.borrow().course.failures
    }

    /// For the log.
    pub(in crate::service) fn label(&self) -> String {
        match &self.name {
            Some(name) => Escaped(name).to_string(),
            None => Escaped(self.client.borrow().endpoint.describe()).to_string(),
        }
    }

    fn wait(&self, reactor: &mut Reactor, waiter: Waiter) {
        let mut client = self.client.borrow_mut();
        match client.state {
            ClientState::New
            | ClientState::Waiting
            | ClientState::Connecting
            | ClientState::Preparing(_)
            | ClientState::Discarding
            | ClientState::Restarting => client.waiters.push(waiter),
            ClientState::Connected(_)
            | ClientState::Stopped
            | ClientState::Stopping
            | ClientState::GivenUp => {
                let this = self.clone();
                reactor.call_later(Duration::ZERO, move |reactor| this.answer(reactor, waiter));
            }
        }
    }

    /// Tells somebody how it stands now.
    pub(in crate::service) fn answer(&self, reactor: &mut Reactor, waiter: Waiter) {
        let answer = match self.state() {
            ClientState::Connected(connection) => Ok(connection),
            ClientState::Stopped | ClientState::Stopping => Err(ConnectError::Cancelled),
            ClientState::GivenUp => Err(self.client.borrow().course.no_connection()),
            // It was lost in between.
            _ => return self.client.borrow_mut().waiters.push(waiter),
        };
        (waiter.call)(reactor, answer);
    }
}

impl Service for ClientService {
    fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    fn start(&mut self, reactor: &mut Reactor) -> Result<(), Failure> {
        self.happened(reactor, Event::Start);
        Ok(())
    }

    fn stop(&mut self, reactor: &mut Reactor, stopped: StopToken) {
        self.client.borrow_mut().stops.push(stopped);
        self.happened(reactor, Event::Stop);
    }
}
