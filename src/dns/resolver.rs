//! The resolver: queries of any type, with a callback, a Deferred or a future.

use std::cell::Cell;
use std::fmt;
use std::rc::Rc;

use crate::deferred::FailureKind;
use crate::dns::cache::Outcome;
use crate::dns::engine::Engine;
use crate::dns::engine::flight::{Ask, Done};
use crate::dns::message::question::Question;
use crate::dns::reload::Files;
use crate::dns::{DnsError, Name, RecordType, ResolverConfig, Response};
use crate::{Deferred, Handle, Reactor};

/// A caching stub resolver: it asks recursive servers by UDP and TCP, on the loop and without
/// threads. (Twisted: `twisted.names.client.Resolver`, `CacheResolver`.)
///
/// [`Reactor::set_resolver`] makes it the resolver of all host names. [`query`](Resolver::query)
/// asks for records of any type.
///
/// Clones share servers, cache and limits. They may be used with several reactors of one thread.
///
/// ```
/// use twistor::dns::{NameServer, RecordType, Resolver, ResolverConfig};
///
/// let mut reactor = twistor::Reactor::new()?;
/// # // Nothing is listening there, so that the example ends at once.
/// # let closed = std::net::UdpSocket::bind("127.0.0.1:0").and_then(|socket| socket.local_addr()).unwrap();
/// let servers = vec![NameServer::from(([127, 0, 0, 1], 53))];
/// # let servers = vec![NameServer::from(closed)];
/// let resolver = Resolver::new(ResolverConfig { servers, ..ResolverConfig::default() });
/// resolver.query(&mut reactor, &"example.org".parse()?, RecordType::MX, |reactor, outcome| {
///     match outcome {
///         Ok(response) => response.answers().for_each(|record| println!("{record}")),
///         Err(error) => eprintln!("{error}"),
///     }
///     reactor.stop();
/// })?;
/// reactor.run()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Resolver {
    pub(in crate::dns) engine: Rc<Engine>,
    /// The system's files, if the configuration is theirs.
    pub(in crate::dns) files: Option<Rc<Files>>,
}

/// A handle to a query.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QueryId(Option<Ask>);

/// Counters of a [`Resolver`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ResolverStatistics {
    /// Queries sent to servers, each repetition counted.
    pub queries: u64,
    /// Responses of servers, also those with an error code.
    pub responses: u64,
    /// Queries that a server did not answer in time.
    pub timeouts: u64,
    /// Received messages that were no response to the query. After eight of them, a query is
    /// repeated by TCP.
    pub mismatches: u64,
    /// Responses that were too long for UDP.
    pub truncated: u64,
    /// Questions that ended without a response.
    pub failures: u64,
    /// Questions answered from the cache.
    pub cache_hits: u64,
    /// Questions that were not in the cache.
    pub cache_misses: u64,
    /// Questions that were being asked already.
    pub joined: u64,
    /// Questions refused because of [`ResolverConfig::max_pending`].
    pub refused: u64,
    /// Answers in the cache.
    pub cache_entries: usize,
    /// Size of the cache in bytes.
    pub cache_bytes: usize,
    /// Questions that are asked or wait.
    pub pending: usize,
}

impl Resolver {
    /// Creates a resolver.
    pub fn new(config: ResolverConfig) -> Resolver {
        Resolver { engine: Rc::new(Engine::new(config)), files: None }
    }

    /// Creates a resolver with the configuration of the system: `/etc/resolv.conf`, `/etc/hosts`
    /// and `/etc/nsswitch.conf`, with the variables `LOCALDOMAIN` and `RES_OPTIONS`. The files are
    /// read in this call, which therefore belongs before the loop, and again on a thread at most
    /// every 5 s, when they have changed.
    ///
    /// Look-ups of names that `/etc/nsswitch.conf` leaves to other sources, such as multicast DNS
    /// or a directory, are passed on to [`SystemResolver`](crate::SystemResolver). Without the
    /// option `timeout` or `attempts`, the times are those of [`ResolverConfig`]. EDNS is always
    /// used.
    pub fn from_system() -> Resolver {
        let files = Files::default();
        let engine = Rc::new(Engine::new(ResolverConfig::default()));
        files.load(&engine);
        Resolver { engine, files: Some(Rc::new(files)) }
    }

    /// As [`from_system`](Resolver::from_system), and reads the files on a thread, when the first
    /// host name is looked up.
    pub(crate) fn of_system() -> Resolver {
        let engine = Rc::new(Engine::new(ResolverConfig::default()));
        Resolver { engine, files: Some(Rc::default()) }
    }

    /// The configuration. That of [`from_system`](Resolver::from_system) changes with the files.
    pub fn config(&self) -> Rc<ResolverConfig> {
        self.engine.config()
    }

    /// Asks for the records of a name. `done` is called once from the loop, never inside this call.
    /// Neither the search list nor the table of hosts is used. An equal question that is being
    /// asked is joined, and a cached answer is used. (Twisted: `lookupMailExchange` and its like.)
    ///
    /// # Errors
    /// `done` gets these when no server has given a response:
    /// - [`DnsError::TimedOut`], [`DnsError::Unreachable`], [`DnsError::Malformed`],
    ///   [`DnsError::Lame`], [`DnsError::TooManyAliases`]
    /// - [`DnsError::NoSocket`]
    /// - [`DnsError::ReactorUnavailable`]: the reactor is stopping
    ///
    /// The query is not made:
    /// - [`DnsError::NoServers`]
    /// - [`DnsError::QueueFull`]
    pub fn query(
        &self,
        reactor: &mut Reactor,
        name: &Name,
        record_type: RecordType,
        done: impl FnOnce(&mut Reactor, Result<Response, DnsError>) + 'static,
    ) -> Result<QueryId, DnsError> {
        if let Some(files) = &self.files {
            files.refresh(reactor, &self.engine);
        }
        let mut question = Question::new(name.as_wire(), record_type.0);
        if let Some(outcome) = self.engine.cached(&mut question, reactor.now()) {
            reactor.handle().call(move |reactor| done(reactor, outcome));
            return Ok(QueryId(None));
        }
        // On a fresh stack, where a panic ends nothing else.
        let done: Done = Box::new(move |reactor: &mut Reactor, outcome: Outcome| {
            reactor.handle().call(move |reactor| done(reactor, outcome));
        });
        self.engine.ask(reactor, &mut question, done).map(|ask| QueryId(Some(ask)))
    }

    /// Cancels a query. Its callback is dropped. A query that has ended, or whose answer came from
    /// the cache, is not cancelled.
    pub fn cancel(&self, reactor: &mut Reactor, query: QueryId) {
        if let Some(ask) = query.0 {
            self.engine.cancel(reactor, ask);
        }
    }

    /// Asks as [`query`](Resolver::query), and returns a Deferred. Cancelling or dropping it
    /// cancels the query. It fails with a [`DnsError`].
    #[track_caller]
    pub fn query_deferred(
        &self,
        reactor: &mut Reactor,
        name: &Name,
        record_type: RecordType,
    ) -> Deferred<Response> {
        let query = Rc::new(Cell::new(QueryId(None)));
        let (own, cancelled) = (self.clone(), Rc::clone(&query));
        let (resolver, deferred) = Deferred::with_canceller(&reactor.handle(), move |reactor, _| {
            own.cancel(reactor, cancelled.get());
        });
        let done = resolver.clone();
        // The Deferred may have been cancelled: then its end is not news.
        let started = self.query(reactor, name, record_type, move |_, outcome| match outcome {
            Ok(response) => drop(done.callback(response)),
            Err(error) => drop(done.errback(error)),
        });
        match started {
            Ok(started) => query.set(started),
            Err(error) => drop(resolver.errback(error)),
        }
        deferred
    }

    /// Asks as [`query`](Resolver::query), inside a [task](crate::task). Dropping the future
    /// cancels the query.
    ///
    /// # Errors
    /// Those of [`query`](Resolver::query), and [`DnsError::ReactorUnavailable`] outside of a task.
    pub async fn query_async(&self, name: &Name, record_type: RecordType) -> Result<Response, DnsError> {
        let handle = Handle::current().map_err(|_| DnsError::ReactorUnavailable)?;
        let deferred = handle.with_reactor(|reactor| self.query_deferred(reactor, name, record_type));
        let failure = match deferred.map_err(|_| DnsError::ReactorUnavailable)?.await {
            Ok(response) => return Ok(response),
            Err(failure) => failure,
        };
        match failure.into_kind() {
            FailureKind::Error(error) => {
                Err(error.downcast().map_or(DnsError::ReactorUnavailable, |error| *error))
            }
            _ => Err(DnsError::ReactorUnavailable),
        }
    }

    /// Drops all cached answers.
    pub fn clear_cache(&self) {
        self.engine.state.borrow_mut().cache.clear();
    }

    /// The counters so far.
    pub fn statistics(&self) -> ResolverStatistics {
        let state = self.engine.state.borrow();
        ResolverStatistics {
            cache_entries: state.cache.len(),
            cache_bytes: state.cache.bytes(),
            pending: state.pending(),
            ..state.statistics
        }
    }
}

impl fmt::Debug for Resolver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Resolver").field("config", &self.config()).finish_non_exhaustive()
    }
}
