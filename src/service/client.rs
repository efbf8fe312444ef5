//! One connection that is kept alive.

use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::rc::Rc;
use std::time::Duration;

use super::client_state::{Course, Effect, Event};
use super::{AttemptFailed, Backoff, ClientState, Failure, NoConnection, RetryPolicy, Service, Stopped};
use crate::endpoint::ClientEndpoint;
use crate::reactor::{Completion, panic_message};
use crate::{
    Address, ClientFactory, ConnectionId, Connector, ConnectorId, DelayedCall, Factory, Protocol, Reactor,
    Reason,
};

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
    client: Rc<RefCell<Client>>,
    factory: Rc<RefCell<dyn Factory>>,
}

struct Client {
    endpoint: Rc<dyn ClientEndpoint>,
    policy: Rc<RetryPolicy>,
    /// Out of its place while it runs.
    prepare: Option<Prepare>,
    prepares: bool,
    prepare_limit: Duration,
    state: ClientState,
    course: Course,
    /// Counts the attempts: what comes late from an earlier one is ignored.
    attempt: u64,
    connector: Option<ConnectorId>,
    /// Of the wait, or of the preparation.
    timer: Option<DelayedCall>,
    waiters: Vec<Waiter>,
    stops: Vec<Stopped>,
}

type Prepare = Box<dyn FnMut(&mut Reactor, ConnectionId, Preparation)>;

/// Somebody who waits for a connection.
struct Waiter {
    /// So many more failures, and it has had enough.
    patience: Option<u32>,
    failures: u32,
    call: WaiterCall,
}

type WaiterCall = Box<dyn FnOnce(&mut Reactor, Result<ConnectionId, NoConnection>)>;

/// Says how the preparation of a connection ended. Dropped without a word, it has failed.
#[must_use = "dropping it says that the preparation failed"]
pub struct Preparation {
    completion: Completion<Result<(), String>>,
}

impl Preparation {
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
    /// what becomes of an attempt: a [`ClientFactory`]'s own callbacks for that are not called.
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
        prepare: impl FnMut(&mut Reactor, ConnectionId, Preparation) + 'static,
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
        call: impl FnOnce(&mut Reactor, Result<ConnectionId, NoConnection>) + 'static,
    ) {
        self.wait(reactor, Waiter { patience: None, failures: 0, call: Box::new(call) });
    }

    /// As [`when_connected`](ClientService::when_connected), but waits for no more than so many failures in a row, from now
    /// on (0 counts as 1). (Twisted: `whenConnected(failAfterFailures)`.)
    pub fn when_connected_or_failed(
        &self,
        reactor: &mut Reactor,
        failures: u32,
        call: impl FnOnce(&mut Reactor, Result<ConnectionId, NoConnection>) + 'static,
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
    fn label(&self) -> String {
        self.name.as_deref().map_or_else(|| self.client.borrow().endpoint.describe(), str::to_owned)
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
    fn answer(&self, reactor: &mut Reactor, waiter: Waiter) {
        let answer = match self.state() {
            ClientState::Connected(connection) => Ok(connection),
            ClientState::Stopped | ClientState::Stopping => Err(NoConnection::Cancelled),
            ClientState::GivenUp => Err(self.client.borrow().course.no_connection()),
            // It was lost in between.
            _ => return self.client.borrow_mut().waiters.push(waiter),
        };
        (waiter.call)(reactor, answer);
    }

    /// Something that belongs to one attempt.
    fn of_attempt(&self, reactor: &mut Reactor, attempt: u64, event: Event) {
        if self.client.borrow().attempt == attempt {
            self.happened(reactor, event);
        }
    }

    fn happened(&self, reactor: &mut Reactor, event: Event) {
        let mut next = Some(event);
        while let Some(event) = next.take() {
            let effects = {
                let client = &mut *self.client.borrow_mut();
                let (state, effects) = client.state.step(event, client.prepares, &mut client.course);
                client.state = state;
                effects
            };
            for effect in effects {
                // What follows from it comes last in each list.
                next = self.effect(reactor, effect);
            }
        }
    }

    fn effect(&self, reactor: &mut Reactor, effect: Effect) -> Option<Event> {
        match effect {
            Effect::StartFactory => self.factory.borrow_mut().start_factory(reactor),
            Effect::StopFactory => self.factory.borrow_mut().stop_factory(reactor),
            Effect::Connect => return self.connect(reactor),
            Effect::Disconnect => {
                let connector = self.client.borrow().connector;
                if let Some(mut connector) = connector.and_then(|id| reactor.connector(id)) {
                    connector.disconnect();
                }
            }
            Effect::CancelTimer => {
                if let Some(timer) = self.client.borrow_mut().timer.take() {
                    // It may be the very one that was called.
                    let _ = timer.cancel(reactor);
                }
            }
            Effect::Retry => return self.retry_later(reactor),
            Effect::Prepare(connection) => self.prepare(reactor, connection),
            Effect::Tell => {
                let waiters = std::mem::take(&mut self.client.borrow_mut().waiters);
                for waiter in waiters {
                    let this = self.clone();
                    reactor.call_later(Duration::ZERO, move |reactor| this.answer(reactor, waiter));
                }
            }
            Effect::CountFailure(why) => {
                let label = self.label();
                log::info!(service = label.as_str(); "{label}: no connection: {why}");
                let mut client = self.client.borrow_mut();
                for waiter in &mut client.waiters {
                    waiter.failures = waiter.failures.saturating_add(1);
                }
                let had_enough =
                    |waiter: &mut Waiter| waiter.patience.is_some_and(|patience| waiter.failures >= patience);
                let enough: Vec<Waiter> = client.waiters.extract_if(.., had_enough).collect();
                for Waiter { failures, call, .. } in enough {
                    let answer = NoConnection::Failed { failures, last: why.clone() };
                    reactor.call_later(Duration::ZERO, move |reactor| call(reactor, Err(answer)));
                }
            }
            Effect::Refuse(why) => {
                let waiters = std::mem::take(&mut self.client.borrow_mut().waiters);
                for Waiter { call, .. } in waiters {
                    let why = why.clone();
                    reactor.call_later(Duration::ZERO, move |reactor| call(reactor, Err(why)));
                }
            }
            Effect::Finish => {
                let stops = std::mem::take(&mut self.client.borrow_mut().stops);
                drop(stops);
            }
        }
        None
    }

    fn connect(&self, reactor: &mut Reactor) -> Option<Event> {
        let (endpoint, attempt) = {
            let mut client = self.client.borrow_mut();
            (client.attempt, client.connector) = (client.attempt.wrapping_add(1), None);
            if client.state != ClientState::Connecting {
                // Stopped by the factory that was started for it.
                return Some(Event::Failed(AttemptFailed::Unreachable(Reason::Cancelled)));
            }
            (Rc::clone(&client.endpoint), client.attempt)
        };
        let factory = Box::new(Attempt { service: self.clone(), attempt });
        match catch_unwind(AssertUnwindSafe(|| endpoint.connect(reactor, factory))) {
            Ok(Ok(connector)) => {
                self.client.borrow_mut().connector = Some(connector);
                if self.state() != ClientState::Connecting {
                    // Stopped by the endpoint.
                    return self.effect(reactor, Effect::Disconnect);
                }
                None
            }
            Ok(Err(error)) => Some(Event::Failed(AttemptFailed::Endpoint(error.to_string()))),
            Err(panic) => {
                let why = format!("it panicked: {}", panic_message(&*panic));
                log::error!("{}: {why}", self.label());
                Some(Event::Failed(AttemptFailed::Endpoint(why)))
            }
        }
    }

    fn retry_later(&self, reactor: &mut Reactor) -> Option<Event> {
        let random = reactor.random();
        let (policy, failures, attempt) = {
            let client = self.client.borrow();
            (Rc::clone(&client.policy), client.course.failures, client.attempt)
        };
        let label = self.label();
        let wait = catch_unwind(AssertUnwindSafe(|| policy(failures, random))).unwrap_or_else(|panic| {
            log::error!("{label}: the retry policy panicked: {}", panic_message(&*panic));
            None
        });
        let Some(wait) = wait else {
            log::warn!(service = label.as_str(); "{label}: gave up after {failures} attempts");
            return Some(Event::Exhausted);
        };
        log::debug!(service = label.as_str(); "{label}: the next attempt comes in {wait:?}");
        let this = self.clone();
        let timer = reactor.call_later(wait, move |reactor| this.of_attempt(reactor, attempt, Event::Due));
        self.client.borrow_mut().timer = Some(timer);
        None
    }

    fn prepare(&self, reactor: &mut Reactor, connection: ConnectionId) {
        let mut client = self.client.borrow_mut();
        let (attempt, limit) = (client.attempt, client.prepare_limit);
        let this = self.clone();
        let late = Event::Unprepared(format!("not within {limit:?}"));
        client.timer =
            Some(reactor.call_later(limit, move |reactor| this.of_attempt(reactor, attempt, late)));
        let this = self.clone();
        let completion = reactor.completion(move |reactor, result| {
            let event = match result {
                Some(Ok(())) => Event::Prepared,
                Some(Err(why)) => Event::Unprepared(why),
                None => Event::Unprepared("it was let go without a word".to_owned()),
            };
            this.of_attempt(reactor, attempt, event);
        });
        let Some(mut prepare) = client.prepare.take() else { return };
        drop(client);
        let call = || prepare(reactor, connection, Preparation { completion });
        let called = catch_unwind(AssertUnwindSafe(call));
        self.client.borrow_mut().prepare = Some(prepare);
        // The token is dropped with it; the reactor counts and logs the panic.
        called.unwrap_or_else(|panic| resume_unwind(panic));
    }

    /// The attempt's protocol was built; its `connection_made` comes before this.
    fn made(&self, reactor: &mut Reactor, attempt: u64) {
        let (current, connector) = {
            let client = self.client.borrow();
            (client.attempt, client.connector)
        };
        let connector = connector.filter(|_| current == attempt);
        let connection = connector.and_then(|id| reactor.connector(id)?.connection());
        // One that closes already is of no use, and its loss will be told.
        let open =
            connection.and_then(|id| reactor.transport(id)).filter(|transport| !transport.is_closing());
        if let Some(id) = open.map(|transport| transport.id()) {
            self.happened(reactor, Event::Made(id));
        }
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

    fn stop(&mut self, reactor: &mut Reactor, stopped: Stopped) {
        self.client.borrow_mut().stops.push(stopped);
        self.happened(reactor, Event::Stop);
    }
}

/// What an attempt tells the service.
struct Attempt {
    service: ClientService,
    attempt: u64,
}

impl Factory for Attempt {
    fn build_protocol(&mut self, reactor: &mut Reactor, peer: &Address) -> Option<Box<dyn Protocol>> {
        // In use only inside its own call, which connects to itself.
        let protocol = self.service.factory.try_borrow_mut().ok()?.build_protocol(reactor, peer)?;
        let (service, attempt) = (self.service.clone(), self.attempt);
        reactor.call_later(Duration::ZERO, move |reactor| service.made(reactor, attempt));
        Some(protocol)
    }
}

impl ClientFactory for Attempt {
    fn client_connection_failed(&mut self, connector: &mut Connector<'_>, reason: &Reason) {
        let event = Event::Failed(AttemptFailed::Unreachable(reason.clone()));
        self.service.of_attempt(connector.reactor(), self.attempt, event);
    }

    fn client_connection_lost(&mut self, connector: &mut Connector<'_>, reason: &Reason) {
        let event = Event::Lost(reason.clone());
        self.service.of_attempt(connector.reactor(), self.attempt, event);
    }
}
