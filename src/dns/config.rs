//! Servers, limits and times of a resolver.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use crate::dns::Name;
use crate::dns::system::Hosts;

/// The configuration of a [`Resolver`](crate::dns::Resolver).
///
/// ```
/// use std::time::Duration;
/// use twistor::dns::{NameServer, ResolverConfig};
///
/// let server = NameServer::from(([192, 0, 2, 53], 53));
/// let config = ResolverConfig { servers: vec![server], ..ResolverConfig::default() };
/// assert_eq!(config.timeouts.iter().sum::<Duration>(), Duration::from_secs(10));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResolverConfig {
    /// The servers, at most 16; further ones are ignored. The fastest one that answers is
    /// preferred. Default: none.
    pub servers: Vec<NameServer>,
    /// Suffixes for host names that are not complete, in the order in which they are tried.
    /// Applies to look-ups of addresses, not to queries. Default: none.
    pub search: Vec<Name>,
    /// Names and addresses that are known without a query. Applies to look-ups of addresses.
    /// Default: none.
    pub hosts: Hosts,
    /// Number of dots from which a host name is first tried as it is, and then with the suffixes.
    /// With fewer dots, the suffixes come first. (resolv.conf: `ndots`.) Default: 1.
    pub ndots: u8,
    /// Time limits of the first, the second and the further attempts, each with the next server.
    /// The last attempt is followed by no other. An attempt that fails at once takes none of these
    /// times. Default: 2, 3 and 5 seconds.
    pub timeouts: Vec<Duration>,
    /// Time limit of a query with all its attempts, and with its wait while too many others run.
    /// Default: 10 seconds.
    pub timeout: Duration,
    /// Takes the servers in turn, in place of the fastest one. (resolv.conf: `rotate`.) Default:
    /// no.
    pub rotate: bool,
    /// Looks up IPv4 addresses only. (resolv.conf: `no-aaaa`.) Default: no.
    pub no_aaaa: bool,
    /// Never asks for a host name without a dot as it is, if there are suffixes. (resolv.conf:
    /// `no-tld-query`.) Default: no.
    pub no_tld_query: bool,
    /// Asks by TCP only. (resolv.conf: `use-vc`.) Default: no.
    pub tcp_only: bool,
    /// Asks the servers to say whether they have validated the records, and passes their AD flag
    /// on. Only for servers on a trusted path. (resolv.conf: `trust-ad`.) Default: no.
    pub trust_ad: bool,
    /// Sends EDNS with a buffer size of 1232 bytes, except to servers that refuse it. Default: yes.
    pub edns: bool,
    /// Mixes upper and lower case in the names of queries, which a response must repeat. It makes
    /// forged responses harder, and some servers do not answer. Default: no.
    pub mixed_case: bool,
    /// Limit on cached answers. Those that were not used for longest are dropped. 0 disables the
    /// cache. Default: 10,000.
    pub max_cache_entries: usize,
    /// Limit on the size of cached answers in bytes. Default: 16 MiB.
    pub max_cache_bytes: usize,
    /// Limit on the time for which an answer is cached. Default: 1 day.
    pub max_ttl: Duration,
    /// Limit on the time for which a negative answer is cached. Default: 1 hour.
    pub max_negative_ttl: Duration,
    /// Limit on queries at a server's. Further ones wait. Default: 1,000.
    pub max_in_flight: usize,
    /// Limit on queries at one server. Further ones go to the next server, or wait. Default: 100.
    pub max_per_server: usize,
    /// Limit on queries at a server's or waiting. Further ones fail. Default: 100,000.
    pub max_pending: usize,
}

impl Default for ResolverConfig {
    fn default() -> ResolverConfig {
        ResolverConfig {
            servers: Vec::new(),
            search: Vec::new(),
            hosts: Hosts::default(),
            ndots: 1,
            timeouts: [2, 3, 5].map(Duration::from_secs).to_vec(),
            timeout: Duration::from_secs(10),
            rotate: false,
            no_aaaa: false,
            no_tld_query: false,
            tcp_only: false,
            trust_ad: false,
            edns: true,
            mixed_case: false,
            max_cache_entries: 10_000,
            max_cache_bytes: 16 * 1024 * 1024,
            max_ttl: Duration::from_secs(24 * 60 * 60),
            max_negative_ttl: Duration::from_secs(60 * 60),
            max_in_flight: 1000,
            max_per_server: 100,
            max_pending: 100_000,
        }
    }
}

impl ResolverConfig {
    /// The time limit of the first attempt.
    pub(in crate::dns) fn first_timeout(&self) -> Duration {
        self.timeouts.first().map_or(self.timeout, |first| self.timeout.min(*first))
    }
}

/// A server of a resolver.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NameServer {
    /// Its address. A link-local one has the number of its interface as scope.
    pub address: SocketAddr,
    /// The transport to ask it with. Default: [`Transport::Udp`].
    pub transport: Transport,
}

impl From<SocketAddr> for NameServer {
    fn from(address: SocketAddr) -> NameServer {
        NameServer { address, transport: Transport::Udp }
    }
}

impl<T: Into<IpAddr>> From<(T, u16)> for NameServer {
    fn from(address: (T, u16)) -> NameServer {
        NameServer::from(SocketAddr::from(address))
    }
}

/// Port 53.
impl From<IpAddr> for NameServer {
    fn from(address: IpAddr) -> NameServer {
        NameServer::from((address, 53))
    }
}

/// A transport of queries and responses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Transport {
    /// UDP, with TCP for responses that are too long for it.
    Udp,
    /// TCP.
    Tcp,
}
