//! A caching DNS resolver on the reactor's own UDP and TCP sockets.
//!
//! A [`Resolver`] is a stub resolver: it asks the recursive servers of its [`ResolverConfig`], and
//! never follows the tree of zones from the root by itself. It has two uses:
//! - As the resolver of a reactor ([`Reactor::set_resolver`](crate::Reactor::set_resolver)), it
//!   looks up all host names, with the search list. Both address families are asked for at the same
//!   time, and a connect begins with the first answer.
//! - [`Resolver::query`] asks for the records of a name, of any type.
//!
//! ```
//! use std::net::Ipv4Addr;
//! use std::time::Duration;
//! use twistor::dns::{NameServer, Resolver, ResolverConfig};
//!
//! let mut reactor = twistor::Reactor::new()?;
//! let resolver = Resolver::new(ResolverConfig {
//!     servers: vec![NameServer::from((Ipv4Addr::new(192, 0, 2, 53), 53))],
//!     search: vec!["example.org".parse()?],
//!     timeout: Duration::from_secs(4),
//!     ..ResolverConfig::default()
//! });
//! reactor.set_resolver(resolver.clone());
//! // RFC 6761: this name is not sent to the server.
//! reactor.resolve("localhost", 80, |reactor, found| {
//!     assert_eq!(found.unwrap(), ["[::1]:80", "127.0.0.1:80"].map(|text| text.parse().unwrap()));
//!     reactor.stop();
//! })?;
//! reactor.run()?;
//! assert_eq!(resolver.statistics().queries, 0);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Servers
//!
//! A query goes to the fastest server that answers. Without a response, the next one is asked after
//! 2 s, 3 s and 5 s. A server that was silent is avoided for some time, so that only the first
//! query waits for it. SERVFAIL, REFUSED and an unreachable server lead to the next one at once.
//!
//! # Forged responses
//!
//! Every query has a random id and a socket of its own with a random port. A response must come
//! from the server's address and port, and have the id and the question of the query (RFC 5452).
//! After eight messages that do not fit, the query is repeated by TCP. Only records of the name and
//! its aliases are used.
//!
//! Responses are as trustworthy as the path to the server. DNSSEC validation, DNS over HTTPS and
//! multicast DNS are not supported: for these, run a local resolver (unbound, systemd-resolved) and
//! ask it.
//!
//! # Cache
//!
//! Answers are cached for their TTL, and negative ones for that of the zone (RFC 2308). A name that
//! does not exist is known for all types. Failures are cached for 1 s to 30 s (RFC 9520). Equal
//! questions are asked once at a time. All limits are in [`ResolverConfig`].

mod cache;
mod config;
mod engine;
mod error;
mod key_hash;
mod lookup;
mod message;
mod reload;
mod resolver;
pub mod system;

pub use self::config::{NameServer, ResolverConfig, Transport};
pub use self::error::DnsError;
pub use self::message::codes::{RecordType, ResponseCode};
pub use self::message::data::RecordData;
pub use self::message::name::Name;
pub use self::message::record::Record;
pub use self::message::response::{Flags, Response};
pub use self::resolver::{QueryId, Resolver, ResolverStatistics};
