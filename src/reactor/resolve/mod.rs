//! Host name look-ups: the trait of resolvers, queries and answers.

pub(in crate::reactor) mod answers;
pub(in crate::reactor) mod lookup;
pub(in crate::reactor) mod system;

use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use crate::net::Instant;
use crate::reactor::resolve::answers::Answers;
use crate::reactor::{Error, Reactor, Reason, Result};

/// A resolver of host names. [`Reactor::set_resolver`] installs it for all look-ups of a reactor.
/// (Twisted: `IHostnameResolver`.)
///
/// A closure with the same arguments is a resolver too. A resolver of one's own can pass names on
/// to [`SystemResolver`](crate::SystemResolver).
///
/// ```
/// use std::collections::HashMap;
/// use std::net::SocketAddr;
/// use twistor::{Answers, Query, Reactor, Resolve, SystemResolver};
///
/// /// A table of names, as in /etc/hosts. The system is asked for other names.
/// struct Hosts(HashMap<String, SocketAddr>);
///
/// impl Resolve for Hosts {
///     fn resolve(&self, reactor: &mut Reactor, query: &Query, answers: Answers) -> twistor::Result<()> {
///         match self.0.get(&query.host) {
///             Some(address) => answers.finish_with([*address], None),
///             None => return SystemResolver.resolve(reactor, query, answers),
///         }
///         Ok(())
///     }
/// }
///
/// let mut reactor = Reactor::new()?;
/// reactor.set_resolver(Hosts([("db".to_owned(), ([192, 0, 2, 7], 0).into())].into()));
/// reactor.resolve("db", 5432, |reactor, found| {
///     assert_eq!(found.unwrap(), ["192.0.2.7:5432".parse().unwrap()]);
///     reactor.stop();
/// })?;
/// reactor.run()?;
/// # Ok::<(), twistor::Error>(())
/// ```
pub trait Resolve: 'static {
    /// Starts to look up a name. The resolver keeps `answers` and reports to it: within this call,
    /// later, or from another thread. The requester is called from the loop in each case.
    ///
    /// The host is a valid name and not an IP address. Called inside [`Reactor::look_up`] and its
    /// like. A resolver that looks up the same name by [`Reactor::look_up`] calls itself without
    /// end.
    ///
    /// A panic is caught and logged. The look-up fails with [`Reason::LookupFailed`], unless
    /// `answers` was kept.
    ///
    /// # Errors
    /// The look-up was not started, for example [`Error::QueueFull`]. The requester gets the error,
    /// and what `answers` was told is discarded.
    fn resolve(&self, reactor: &mut Reactor, query: &Query, answers: Answers) -> Result<()>;
}

impl<F> Resolve for F
where
    F: Fn(&mut Reactor, &Query, Answers) -> Result<()> + 'static,
{
    fn resolve(&self, reactor: &mut Reactor, query: &Query, answers: Answers) -> Result<()> {
        self(reactor, query, answers)
    }
}

/// A name to look up, and the limits of the look-up.
///
/// ```
/// use twistor::{AddressFamily, Query};
///
/// let query = Query { family: AddressFamily::Ipv6, ..Query::new("example.org", 443) };
/// assert_eq!(query.timeout.as_secs(), 30);
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Query {
    /// The host name, or an IP address.
    pub host: String,
    /// The port of the addresses.
    pub port: u16,
    /// The family of the addresses. Default: any.
    pub family: AddressFamily,
    /// Time limit. It counts from the time when the resolver was asked. A wait for a thread before
    /// that has the same limit. Default: 30 s.
    pub timeout: Duration,
}

impl Query {
    /// A query with the default options.
    pub fn new(host: impl Into<String>, port: u16) -> Query {
        Query { host: host.into(), port, family: AddressFamily::Any, timeout: LOOKUP_TIMEOUT }
    }
}

impl From<(&str, u16)> for Query {
    fn from((host, port): (&str, u16)) -> Query {
        Query::new(host, port)
    }
}

/// The family of the addresses that are wanted. (`getaddrinfo`: `ai_family`.)
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum AddressFamily {
    /// IPv4 and IPv6 addresses (`AF_UNSPEC`).
    #[default]
    Any,
    /// IPv4 addresses only.
    Ipv4,
    /// IPv6 addresses only.
    Ipv6,
}

impl AddressFamily {
    /// Whether an address is of this family.
    pub fn contains(self, address: SocketAddr) -> bool {
        match self {
            AddressFamily::Any => true,
            AddressFamily::Ipv4 => address.is_ipv4(),
            AddressFamily::Ipv6 => address.is_ipv6(),
        }
    }
}

/// An answer to a [look-up](Reactor::look_up).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Further addresses, each reported once. (Twisted: `addressResolved`.)
    Addresses {
        /// The addresses, at least one.
        addresses: Vec<SocketAddr>,
        /// The time for which they are valid, if the resolver knows it.
        ttl: Option<Duration>,
    },
    /// The end of the look-up, always the last answer. (Twisted: `resolutionComplete`, which has no
    /// failures.)
    End(Result<Resolution, Reason>),
}

/// The result of a look-up that found at least one address.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Resolution {
    /// All addresses, in the resolver's order.
    pub addresses: Vec<SocketAddr>,
    /// The shortest time for which one of them is valid, if the resolver knows it.
    pub ttl: Option<Duration>,
    /// Time between the request and the question to the resolver: the wait for a thread.
    pub waited: Duration,
    /// Time between the question to the resolver and the last answer.
    pub took: Duration,
    /// The reason why addresses may be missing: the resolver failed, or did not finish in time,
    /// after it had found some.
    pub incomplete: Option<Reason>,
}

/// Error of a look-up by [`task::resolve`](crate::task::resolve()).
#[derive(Debug)]
#[non_exhaustive]
pub enum ResolveError {
    /// The look-up failed, or the name has no address.
    Failed(Reason),
    /// The look-up was not started: the name is invalid, the queue is full, the caller is not
    /// inside a task, or the reactor has finished.
    Reactor(Error),
}

impl fmt::Display for ResolveError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ResolveError::Failed(reason) => reason.fmt(f),
            ResolveError::Reactor(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for ResolveError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            ResolveError::Failed(reason) => reason.source(),
            ResolveError::Reactor(error) => error.source(),
        }
    }
}

impl From<Reason> for ResolveError {
    fn from(reason: Reason) -> ResolveError {
        ResolveError::Failed(reason)
    }
}

impl From<Error> for ResolveError {
    fn from(error: Error) -> ResolveError {
        ResolveError::Reactor(error)
    }
}

/// The part of an answer that reaches the loop at once.
pub(in crate::reactor) struct Message {
    pub(in crate::reactor) addresses: Vec<SocketAddr>,
    /// The order of the addresses has no meaning.
    pub(in crate::reactor) unordered: bool,
    pub(in crate::reactor) ttl: Option<Duration>,
    /// Time at which the resolver was asked, if it was later than the request.
    pub(in crate::reactor) began: Option<Instant>,
    pub(in crate::reactor) end: Option<End>,
}

/// Addresses for a connector.
pub(in crate::reactor) struct Found {
    /// None, possibly, if these are the last ones.
    pub(in crate::reactor) addresses: Vec<SocketAddr>,
    /// The order of the addresses has no meaning.
    pub(in crate::reactor) unordered: bool,
    /// No further addresses arrive.
    pub(in crate::reactor) is_last: bool,
}

/// The end of a look-up, as the resolver reports it.
pub(in crate::reactor) enum End {
    Complete,
    Failed(crate::net::NameError),
    /// The resolver dropped its `Answers`.
    Dropped,
}

/// Default time limit for the resolver, and before that for a wait for a thread. Connectors have a
/// timeout of their own.
const LOOKUP_TIMEOUT: Duration = Duration::from_secs(30);
