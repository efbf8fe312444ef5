//! The meaning of a response: the records that answer the question, their time to live, or the kind
//! of a negative answer.

use std::net::IpAddr;

use domain::base::iana::Class;
use domain::base::name::{Name as WireName, ParsedName, ToName};
use domain::base::wire::ParseError;
use domain::base::{Message, Rtype};
use domain::rdata::{A, Aaaa, Cname, Soa};

use crate::dns::message::codes::ResponseCode;
use crate::dns::message::name::Name;

/// The kind of a response that settles a question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::dns) enum AnswerKind {
    /// The name has records of the type.
    Positive,
    /// The name exists, without records of the type.
    NoData,
    /// The name does not exist.
    NxDomain,
}

/// The meaning of a response without an error code, or with NXDOMAIN.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::dns) enum Meaning {
    /// The response settles the question.
    Answer {
        kind: AnswerKind,
        /// Seconds for which the answer may be kept. `None`: a negative answer without a limit,
        /// which is not kept (RFC 2308 section 5).
        ttl: Option<u32>,
        /// The addresses, for a question of type A or AAAA.
        addresses: Vec<IpAddr>,
        /// Number of aliases between the name and the answer.
        aliases: u8,
    },
    /// The name is an alias, and the server did not follow it.
    Alias { target: Name, ttl: u32, aliases: u8 },
    /// More than the allowed number of aliases, or a loop of them.
    TooManyAliases,
    /// The server has no recursion, and no data for this name.
    Lame,
}

/// Reads a response to a question. Only records of the name and of its aliases are used: others
/// could be about names that are not the server's (RFC 2181 section 5.4.1).
///
/// `aliases` is the number of aliases that were followed before.
pub(in crate::dns) fn read(
    bytes: &[u8],
    name: &[u8],
    record_type: u16,
    aliases: u8,
) -> Result<Meaning, ParseError> {
    let message = Message::from_slice(bytes).map_err(|_| ParseError::ShortInput)?;
    let wanted = Rtype::from_int(record_type);
    let start = WireName::from_octets(name).map_err(|_| ParseError::ShortInput)?;
    let start = ParsedName::from(start);
    let mut current = start;
    let mut aliases = aliases;
    let mut ttl = u32::MAX;
    let mut addresses = Vec::new();
    loop {
        let mut alias = None;
        let mut found = false;
        for record in message.answer()? {
            let record = record?;
            let kind = record.rtype();
            if record.class() != Class::IN || !record.owner().name_eq(&current) {
                continue;
            }
            if kind == wanted || wanted == Rtype::ANY {
                found = true;
                ttl = ttl.min(record.ttl().as_secs());
                match kind {
                    Rtype::A if addresses.len() < MAX_ADDRESSES => {
                        let data = record.into_record::<A>()?;
                        addresses.extend(data.map(|record| IpAddr::V4(record.data().addr())));
                    }
                    Rtype::AAAA if addresses.len() < MAX_ADDRESSES => {
                        let data = record.into_record::<Aaaa>()?;
                        addresses.extend(data.map(|record| IpAddr::V6(record.data().addr())));
                    }
                    _ => {}
                }
            } else if kind == Rtype::CNAME && alias.is_none() {
                let own = record.ttl().as_secs();
                let data = record.into_record::<Cname<ParsedName<&[u8]>>>()?;
                alias = data.map(|record| (*record.data().cname(), own));
            }
        }
        if found {
            let kind = AnswerKind::Positive;
            return Ok(Meaning::Answer { kind, ttl: Some(ttl), addresses, aliases });
        }
        let Some((target, own)) = alias else { break };
        if aliases == MAX_ALIASES {
            return Ok(Meaning::TooManyAliases);
        }
        aliases += 1;
        ttl = ttl.min(own);
        current = target;
    }
    let header = message.header();
    let nonexistent = header.rcode().to_int() == ResponseCode::NXDOMAIN.0 as u8;
    let kind = if nonexistent { AnswerKind::NxDomain } else { AnswerKind::NoData };
    let followed_here = !current.name_eq(&start);
    match negative_ttl(message, &current)? {
        Some(limit) => Ok(Meaning::Answer { kind, ttl: Some(ttl.min(limit)), addresses, aliases }),
        None if nonexistent => Ok(Meaning::Answer { kind, ttl: None, addresses, aliases }),
        None if followed_here => Ok(Meaning::Alias { target: Name::copy(&current), ttl, aliases }),
        None if !header.aa() && !header.ra() => Ok(Meaning::Lame),
        None => Ok(Meaning::Answer { kind, ttl: None, addresses, aliases }),
    }
}

/// The time for which a negative answer may be kept: the lesser of the TTL of the SOA
/// record and its minimum. (RFC 2308 section 5.) The record must be of a zone that the name is in.
fn negative_ttl(message: &Message<[u8]>, name: &ParsedName<&[u8]>) -> Result<Option<u32>, ParseError> {
    for record in message.authority()? {
        let record = record?;
        if record.rtype() != Rtype::SOA || record.class() != Class::IN || !name.ends_with(&record.owner()) {
            continue;
        }
        let own = record.ttl().as_secs();
        let data = record.into_record::<Soa<ParsedName<&[u8]>>>()?;
        return Ok(data.map(|record| own.min(record.data().minimum().as_secs())));
    }
    Ok(None)
}

/// The code of a response, with the upper bits from EDNS.
pub(in crate::dns) fn response_code(bytes: &[u8]) -> ResponseCode {
    let Ok(message) = Message::from_slice(bytes) else { return ResponseCode::FORMERR };
    let in_header = u16::from(message.header().rcode().to_int());
    match message.header_counts().arcount() {
        0 => ResponseCode(in_header),
        _ => ResponseCode(message.opt_rcode().to_int()),
    }
}

/// Limit on the addresses of one answer. Real answers have at most some dozens.
const MAX_ADDRESSES: usize = 256;

/// Limit on aliases in a row. unbound has 11, hickory 8.
pub(in crate::dns) const MAX_ALIASES: u8 = 8;
