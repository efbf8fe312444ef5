//! A persistent client connection.

mod effects;
pub(super) mod state;
use crate::escape::Escaped;
use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use crate::endpoint::ClientEndpoint;
use crate::reactor::Completion;
use crate::service::client::state::{AttemptHistory, Event};
use crate::service::{Backoff, ClientServiceError, ClientState, Failure, RetryPolicy, Service, StopToken};
use crate::{ConnectionId, ConnectorId, DelayedCall, Factory, Reactor};

/// Keeps one connection to an endpoint open while it runs. (Twisted: `ClientService`.)
///
/// It reconnects after each failure or loss, with a delay that grows with the number of failures.
///
/// Clones share the service.
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
/// /// Sends a report on the current connection, or on the next one.
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
#[doc(alias = "ReconnectingClientFactory")]
pub struct ClientService {
    name: Option<Rc<str>>,
    /// Number of failures after which callers of `when_connected` get an error.
    max_failures: Option<u32>,
    pub(in crate::service) client: Rc<RefCell<Client>>,
    pub(in crate::service) factory: Rc<RefCell<dyn Factory>>,
}

pub(in crate::service) struct Client {
    pub(in crate::service) endpoint: Rc<dyn ClientEndpoint>,
    pub(in crate::service) policy: Rc<dyn RetryPolicy>,
    /// `None` while it is being called.
    pub(in crate::service) prepare: Option<Prepare>,
    pub(in crate::service) prepares: bool,
    pub(in crate::service) prepare_timeout: Duration,
    pub(in crate::service) state: ClientState,
    pub(in crate::service) history: AttemptHistory,
    /// Number of the current attempt. Events of earlier attempts are ignored.
    pub(in crate::service) attempt: u64,
    pub(in crate::service) connector: Option<ConnectorId>,
    /// Timer of the retry delay or of the preparation.
    pub(in crate::service) timer: Option<DelayedCall>,
    pub(in crate::service) waiters: Vec<Waiter>,
    pub(in crate::service) stops: Vec<StopToken>,
}

pub(in crate::service) type Prepare = Box<dyn FnMut(&mut Reactor, ConnectionId, PrepareToken)>;

/// A caller that waits for a connection.
pub(in crate::service) struct Waiter {
    /// Number of failures after which the caller gets an error.
    pub(in crate::service) max_failures: Option<u32>,
    pub(in crate::service) failures: u32,
    pub(in crate::service) call: WaiterCall,
}

pub(in crate::service) type WaiterCall =
    Box<dyn FnOnce(&mut Reactor, Result<ConnectionId, ClientServiceError>)>;

/// Token of a connection that is being prepared. Reports the result. Dropping it reports a failure.
#[must_use = "dropping it reports that the preparation failed"]
pub struct PrepareToken {
    pub(in crate::service) completion: Completion<Result<(), String>>,
}

impl PrepareToken {
    /// Reports that the connection is ready for use.
    pub fn done(self) {
        self.completion.complete(Ok(()));
    }

    /// Reports a failure. The connection is closed, and the attempt counts as failed.
    pub fn failed(self, why: impl Into<String>) {
        self.completion.complete(Err(why.into()));
    }
}

impl ClientService {
    /// Creates a service that connects to `endpoint` and builds a protocol with `factory` for each
    /// connection.
    ///
    /// Only the service receives the results of attempts. The callbacks of a
    /// [`ClientFactory`](crate::ClientFactory) are not called.
    pub fn new(endpoint: impl ClientEndpoint + 'static, factory: impl Factory) -> ClientService {
        let client = Client {
            endpoint: Rc::new(endpoint),
            policy: Rc::new(Backoff::default()),
            prepare: None,
            prepares: false,
            prepare_timeout: Duration::from_secs(30),
            state: ClientState::New,
            history: AttemptHistory::default(),
            attempt: 0,
            connector: None,
            timer: None,
            waiters: Vec::new(),
            stops: Vec::new(),
        };
        ClientService {
            name: None,
            max_failures: None,
            client: Rc::new(RefCell::new(client)),
            factory: Rc::new(RefCell::new(factory)),
        }
    }

    /// Sets the name.
    pub fn named(mut self, name: &str) -> ClientService {
        self.name = Some(name.into());
        self
    }

    /// Sets the delay before the next attempt: a [`Backoff`] or another [`RetryPolicy`]. Default:
    /// [`Backoff::default`]. (Twisted: `retryPolicy`.)
    pub fn retry(self, policy: impl RetryPolicy) -> ClientService {
        self.client.borrow_mut().policy = Rc::new(policy);
        self
    }

    /// Sets a function that prepares each connection after `connection_made`, for example with a
    /// greeting or a login. (Twisted: `prepareConnection`.)
    ///
    /// Waiting callers get the connection after its preparation. A failed preparation counts as a
    /// failed attempt, and so does exceeding the [time limit](ClientService::prepare_timeout).
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
    ///             transport.write(b"hello\n");
    ///             preparation.done();
    ///         }
    ///         None => preparation.failed("connection lost"),
    ///     });
    /// # drop(reports);
    /// ```
    #[doc(alias = "prepareConnection")]
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

    /// Sets the time limit of a preparation. Default: 30 s.
    pub fn prepare_timeout(self, limit: Duration) -> ClientService {
        self.client.borrow_mut().prepare_timeout = limit;
        self
    }

    /// Sets after how many consecutive failures a caller of
    /// [`when_connected`](ClientService::when_connected) gets an error, counted from its call; 0
    /// counts as 1. Default: no limit. (Twisted: `failAfterFailures`.)
    ///
    /// The limit is of this handle. Other clones keep theirs, and the service goes on trying.
    ///
    /// ```
    /// # use twistor::service::ClientService;
    /// # fn example(service: &ClientService, reactor: &mut twistor::Reactor) {
    /// service.clone().fail_after_failures(3).when_connected(reactor, |_, connection| {
    ///     println!("{}", if connection.is_ok() { "connected" } else { "not yet" });
    /// });
    /// # }
    /// ```
    pub fn fail_after_failures(mut self, failures: u32) -> ClientService {
        self.max_failures = Some(failures.max(1));
        self
    }

    /// Calls `call` with the current connection or with the next one, never within this call.
    /// (Twisted: `whenConnected`.)
    ///
    /// `call` gets an error if the service is stopped, if its retry policy gives up, or after as
    /// many failures as [`fail_after_failures`](ClientService::fail_after_failures) has set.
    #[doc(alias = "whenConnected")]
    pub fn when_connected(
        &self,
        reactor: &mut Reactor,
        call: impl FnOnce(&mut Reactor, Result<ConnectionId, ClientServiceError>) + 'static,
    ) {
        self.wait(reactor, Waiter { max_failures: self.max_failures, failures: 0, call: Box::new(call) });
    }

    /// Current state.
    pub fn state(&self) -> ClientState {
        self.client.borrow().state
    }

    /// The connection, if it is ready for use.
    pub fn connection(&self) -> Option<ConnectionId> {
        match self.state() {
            ClientState::Connected(connection) => Some(connection),
            _ => None,
        }
    }

    /// Number of failed attempts since the last connection.
    pub fn failures(&self) -> u32 {
        self.client.borrow().history.failures
    }

    /// Name for log messages.
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

    /// Calls a waiting caller with the current result, or queues it again if there is none.
    pub(in crate::service) fn answer(&self, reactor: &mut Reactor, waiter: Waiter) {
        let answer = match self.state() {
            ClientState::Connected(connection) => Ok(connection),
            ClientState::Stopped | ClientState::Stopping => Err(ClientServiceError::Cancelled),
            ClientState::GivenUp => Err(self.client.borrow().history.no_connection()),
            // The connection was lost meanwhile.
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
        self.handle_event(reactor, Event::Start);
        Ok(())
    }

    fn stop(&mut self, reactor: &mut Reactor, stopped: StopToken) {
        self.client.borrow_mut().stops.push(stopped);
        self.handle_event(reactor, Event::Stop);
    }
}
