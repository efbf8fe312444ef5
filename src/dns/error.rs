//! Errors of queries.

use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use crate::dns::ResponseCode;
use crate::escape::Escaped;

/// Error of a [query](crate::dns::Resolver::query): there is no response.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum DnsError {
    /// The text is not a domain name.
    InvalidName {
        /// The text.
        name: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// The text is not the type of a record.
    UnknownType(String),
    /// The resolver has no servers.
    NoServers,
    /// No server has answered in time.
    TimedOut {
        /// Time since the query began.
        after: Duration,
        /// The server that was asked last, if any was: queries that are over the limits wait.
        server: Option<SocketAddr>,
    },
    /// A server could not be reached, or closed the connection. The others failed before.
    Unreachable {
        /// The server that was asked last.
        server: SocketAddr,
        /// The system's error, or what happened.
        why: String,
    },
    /// This machine has no socket for the query, for example because of the limit on descriptors.
    NoSocket(String),
    /// The server has sent a message that cannot be read. The others failed before.
    Malformed {
        /// The server that was asked last.
        server: SocketAddr,
    },
    /// The server has no data for the name and does no recursion. The others failed before.
    Lame {
        /// The server that was asked last.
        server: SocketAddr,
    },
    /// An address was looked up, and the server answered with an error code. The others failed
    /// before.
    Refused {
        /// The server that was asked last.
        server: SocketAddr,
        /// The code.
        code: ResponseCode,
    },
    /// The name leads through more than 8 aliases, or through a loop of them.
    TooManyAliases,
    /// Too many queries are waiting. The number is the limit, [`ResolverConfig::max_pending`].
    ///
    /// [`ResolverConfig::max_pending`]: crate::dns::ResolverConfig::max_pending
    QueueFull(usize),
    /// The reactor is stopping, has finished, or is not available where the query was made.
    ReactorUnavailable,
}

impl fmt::Display for DnsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DnsError::InvalidName { name, why } => {
                write!(f, "{:?} is not a domain name: {why}", Escaped(name).to_string())
            }
            DnsError::UnknownType(text) => {
                write!(f, "{:?} is not a record type", Escaped(text).to_string())
            }
            DnsError::NoServers => f.write_str("no DNS server is known"),
            DnsError::TimedOut { after, server: Some(server) } => {
                write!(f, "no answer from DNS servers within {after:?}, the last of which is {server}")
            }
            DnsError::TimedOut { after, server: None } => {
                write!(f, "the query waited for {after:?}, because too many others were running")
            }
            DnsError::Unreachable { server, why } => {
                write!(f, "DNS server {server} cannot be asked: {}", Escaped(why))
            }
            DnsError::NoSocket(why) => write!(f, "cannot open a socket for a DNS query: {}", Escaped(why)),
            DnsError::Malformed { server } => write!(f, "malformed response from DNS server {server}"),
            DnsError::Lame { server } => {
                write!(f, "DNS server {server} has no data for the name and does no recursion")
            }
            DnsError::Refused { server, code } => write!(f, "{code} from DNS server {server}"),
            DnsError::TooManyAliases => f.write_str("more than 8 aliases in a row, or a loop of them"),
            DnsError::QueueFull(limit) => write!(f, "{limit} DNS queries are waiting, which is the limit"),
            DnsError::ReactorUnavailable => f.write_str("the reactor is stopping or not available"),
        }
    }
}

impl std::error::Error for DnsError {}
