//! Responses to queries.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::time::Duration;

use domain::base::{Message, RecordSection};

use crate::dns::message::answer::{AnswerKind, response_code};
use crate::dns::message::record::Record;
use crate::dns::{ResponseCode, Transport};

/// A response to a [query](crate::dns::Resolver::query). Clones share the message.
///
/// A response with an error code, such as NXDOMAIN or SERVFAIL, is a response too.
#[derive(Clone)]
pub struct Response {
    pub(in crate::dns) shared: Rc<Shared>,
    pub(in crate::dns) age: Duration,
    pub(in crate::dns) cached: bool,
}

/// The parts of a response that do not change while it is cached.
pub(in crate::dns) struct Shared {
    pub(in crate::dns) message: Box<[u8]>,
    /// Responses that led to the name of this one by aliases.
    pub(in crate::dns) earlier: Vec<Box<[u8]>>,
    pub(in crate::dns) server: SocketAddr,
    pub(in crate::dns) transport: Transport,
    pub(in crate::dns) took: Duration,
    /// `None` for a failure of the server.
    pub(in crate::dns) kind: Option<AnswerKind>,
    /// Time for which the answer may be kept. Zero: it may not.
    pub(in crate::dns) ttl: Duration,
    /// Addresses of the last name, for a question of type A or AAAA.
    pub(in crate::dns) addresses: Vec<IpAddr>,
    pub(in crate::dns) aliases: u8,
}

/// The flags of a response. (RFC 1035 section 4.1.1, RFC 4035 section 3.)
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flags {
    /// AA: the server is an authority for the name.
    pub authoritative: bool,
    /// TC: the response was truncated. Truncated responses are asked for again by TCP, so this is
    /// only set if a server does it there.
    pub truncated: bool,
    /// RD: the query asked for recursion.
    pub recursion_desired: bool,
    /// RA: the server does recursion.
    pub recursion_available: bool,
    /// AD: the server has validated the records by DNSSEC. It is only as trustworthy as the server
    /// and the path to it.
    pub authentic_data: bool,
    /// CD: the query asked not to validate.
    pub checking_disabled: bool,
}

impl Response {
    /// The response code.
    pub fn code(&self) -> ResponseCode {
        response_code(&self.shared.message)
    }

    /// The flags.
    pub fn flags(&self) -> Flags {
        let (high, low) = match *self.shared.message {
            [_, _, high, low, ..] => (high, low),
            _ => (0, 0),
        };
        Flags {
            authoritative: high & 4 != 0,
            truncated: high & 2 != 0,
            recursion_desired: high & 1 != 0,
            recursion_available: low & 0x80 != 0,
            authentic_data: low & 0x20 != 0,
            checking_disabled: low & 0x10 != 0,
        }
    }

    /// The answer section, in the server's order. It can have records of other names than the one
    /// asked for, such as aliases. If the resolver followed an alias, records of the earlier
    /// responses come first.
    pub fn answers(&self) -> impl Iterator<Item = Record<'_>> {
        let messages = self.shared.earlier.iter().chain(std::iter::once(&self.shared.message));
        messages.flat_map(|message| records(message, Section::Answer))
    }

    /// The authority section.
    pub fn authorities(&self) -> impl Iterator<Item = Record<'_>> {
        records(&self.shared.message, Section::Authority)
    }

    /// The additional section, with the OPT record of EDNS.
    pub fn additionals(&self) -> impl Iterator<Item = Record<'_>> {
        records(&self.shared.message, Section::Additional)
    }

    /// The addresses of the answer to a question of type A or AAAA, at most 256. Only those of the
    /// name and its aliases.
    pub fn addresses(&self) -> &[IpAddr] {
        &self.shared.addresses
    }

    /// The time for which the answer is still valid. Zero: it is not cached.
    pub fn ttl(&self) -> Duration {
        self.shared.ttl.saturating_sub(self.age)
    }

    /// Whether the response came from the cache.
    pub fn cached(&self) -> bool {
        self.cached
    }

    /// The time since the response was received, if it came from the cache.
    pub fn age(&self) -> Duration {
        self.age
    }

    /// The server that sent it.
    pub fn server(&self) -> SocketAddr {
        self.shared.server
    }

    /// The transport by which it came.
    pub fn transport(&self) -> Transport {
        self.shared.transport
    }

    /// The time between the query to this server and the response.
    pub fn took(&self) -> Duration {
        self.shared.took
    }

    /// The message in wire format.
    pub fn message(&self) -> &[u8] {
        &self.shared.message
    }

    pub(in crate::dns) fn kind(&self) -> Option<AnswerKind> {
        self.shared.kind
    }
}

impl fmt::Debug for Response {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Response")
            .field("code", &self.code())
            .field("answers", &self.answers().collect::<Vec<_>>())
            .field("server", &self.server())
            .field("cached", &self.cached)
            .finish_non_exhaustive()
    }
}

/// Responses are equal if their messages are.
impl PartialEq for Response {
    fn eq(&self, other: &Response) -> bool {
        self.shared.message == other.shared.message && self.shared.earlier == other.shared.earlier
    }
}

#[derive(Clone, Copy)]
enum Section {
    Answer,
    Authority,
    Additional,
}

/// The records of a section, up to the first malformed one.
fn records(bytes: &[u8], section: Section) -> impl Iterator<Item = Record<'_>> {
    let records = Message::from_slice(bytes).ok().and_then(|message| match section {
        Section::Answer => message.answer().ok(),
        Section::Authority => message.authority().ok(),
        Section::Additional => message.additional().ok(),
    });
    let records: Option<RecordSection<'_, [u8]>> = records;
    records.into_iter().flat_map(|records| records.map_while(Result::ok)).map(Record::new)
}
