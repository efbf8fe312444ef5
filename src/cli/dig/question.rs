//! The question on the command line: a name, a type and a server, in any order that is clear.

use crate::ConnectTcp;
use crate::cli::Failure;
use crate::dns::{Name, RecordType};
use crate::endpoint::parse_error::nearest;
use crate::escape::Escaped;
use std::net::IpAddr;

/// What is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Question {
    pub(super) name: Name,
    pub(super) record_type: RecordType,
    /// `None`: the servers of the system.
    pub(super) server: Option<ConnectTcp>,
}

impl Question {
    /// Parses the words of the command line. `reverse` is the address of `-x`.
    pub(super) fn parse(
        words: &[String],
        reverse: Option<&str>,
        default_port: u16,
    ) -> Result<Question, Failure> {
        let (servers, words): (Vec<&str>, Vec<&str>) =
            words.iter().map(String::as_str).partition(|word| word.starts_with('@'));
        let server = match servers.as_slice() {
            [] => None,
            [server] => Some(parse_server(server, default_port)?),
            [first, second, ..] => {
                return Err(usage(format!("one server is asked, and not both {first} and {second}")));
            }
        };
        let (name, record_type) = match (reverse, words.as_slice()) {
            (Some(address), []) => (parse_address(address)?, None),
            (Some(address), [record_type]) => (parse_address(address)?, Some(parse_type(record_type)?)),
            (None, []) => return Err(usage("the NAME to ask for is missing".to_owned())),
            (None, [name]) => parse_name(name)?,
            // `dig MX example.org` is as clear as `dig example.org MX`.
            (None, [first, second]) => match (parse_type(first), parse_type(second)) {
                (Ok(record_type), Err(_)) => with_type(parse_name(second)?, record_type)?,
                (_, record_type) => {
                    let name = parse_name(first)?;
                    with_type(name, record_type?)?
                }
            },
            (_, [.., last]) => return Err(usage(format!("one word too many: {last}"))),
        };
        let record_type = record_type.unwrap_or(match reverse {
            Some(_) => RecordType::PTR,
            None => RecordType::A,
        });
        Ok(Question { name, record_type, server })
    }
}

/// Parses a name, or an address, which has a type of its own.
fn parse_name(text: &str) -> Result<(Name, Option<RecordType>), Failure> {
    if let Ok(address) = text.parse::<IpAddr>() {
        return Ok((Name::reverse(address), Some(RecordType::PTR)));
    }
    if let Some((_, rest)) = text.split_once("://") {
        let host = rest.split(['/', ':', '?', '#']).next().unwrap_or_default();
        return Err(usage(format!("{text} is a URL; did you mean {host}?")));
    }
    if !text.is_ascii() {
        let why = "it has letters outside of ASCII; write its ASCII form, with labels that begin with xn--";
        return Err(usage(format!("{text} is not a domain name: {why}")));
    }
    let name = text.parse().map_err(|error: crate::dns::DnsError| usage(error.to_string()))?;
    Ok((name, None))
}

/// Adds the type, which an address does not need.
fn with_type(
    (name, own): (Name, Option<RecordType>),
    record_type: RecordType,
) -> Result<(Name, Option<RecordType>), Failure> {
    match own {
        Some(own) if own != record_type => Err(usage(format!(
            "an address is asked for as {own}, and not as {record_type}; leave the type out"
        ))),
        _ => Ok((name, Some(record_type))),
    }
}

fn parse_address(text: &str) -> Result<Name, Failure> {
    let address = text.parse().map_err(|_| usage(format!("-x needs an IP address, and {text} is none")));
    address.map(Name::reverse)
}

fn parse_type(text: &str) -> Result<RecordType, Failure> {
    let record_type = text.parse::<RecordType>().map_err(|_| {
        let meant = nearest(text, TYPES.iter().copied());
        let meant = meant.map_or(String::new(), |meant| format!("; did you mean {meant}?"));
        usage(format!("{text} is not a type of records{meant}"))
    })?;
    match NOT_ASKED_FOR.iter().find(|(number, _)| *number == record_type.0) {
        Some((_, why)) => Err(usage(format!("{record_type} cannot be asked for: {why}"))),
        None => Ok(record_type),
    }
}

/// Parses a server: an IP address or a host name, with or without a port.
fn parse_server(word: &str, default_port: u16) -> Result<ConnectTcp, Failure> {
    let text = word.strip_prefix('@').unwrap_or(word);
    if text.is_empty() {
        return Err(usage("the server after @ is missing".to_owned()));
    }
    let is_ipv6 = text.split('%').next().is_some_and(|text| text.parse::<std::net::Ipv6Addr>().is_ok());
    let parsed = match text.rsplit_once(':') {
        _ if is_ipv6 => format!("[{text}]:{default_port}").parse(),
        Some(_) if !text.ends_with(']') => text.parse::<ConnectTcp>(),
        _ => format!("{text}:{default_port}").parse(),
    };
    parsed.map_err(|error| usage(error.to_string()))
}

fn usage(why: String) -> Failure {
    Failure::Usage(format!("{} (see --help)", Escaped(&why)))
}

/// The types to suggest for a misspelt one.
const TYPES: &[&str] = &[
    "A", "AAAA", "CNAME", "MX", "NS", "TXT", "SRV", "PTR", "SOA", "CAA", "SVCB", "HTTPS", "ANY", "DNAME",
    "NAPTR", "TLSA", "SSHFP", "DS", "DNSKEY", "RRSIG", "NSEC", "HINFO", "LOC", "URI",
];

/// Types of other operations.
const NOT_ASKED_FOR: &[(u16, &str)] = &[
    (0, "it is reserved"),
    (41, "it is the pseudo-record of EDNS"),
    (249, "it is for the exchange of keys"),
    (250, "it is a signature of a message"),
    (251, "zone transfers are not supported"),
    (252, "zone transfers are not supported"),
];

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<(String, String, Option<String>), String> {
        let mut words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        let reverse =
            words.iter().position(|word| word == "-x").map(|at| words.drain(at..at + 2).nth(1).unwrap());
        match Question::parse(&words, reverse.as_deref(), 53) {
            Ok(Question { name, record_type, server }) => {
                Ok((name.to_string(), record_type.to_string(), server.map(|server| server.to_string())))
            }
            Err(failure) => Err(failure.to_string()),
        }
    }

    #[test]
    fn words_are_recognized_in_any_clear_order() {
        let question = |name: &str, record_type: &str, server: Option<&str>| {
            Ok((name.to_owned(), record_type.to_owned(), server.map(str::to_owned)))
        };
        for (line, expected) in [
            ("example.org", question("example.org.", "A", None)),
            ("example.org. mx", question("example.org.", "MX", None)),
            ("MX example.org", question("example.org.", "MX", None)),
            ("@192.0.2.1 example.org TYPE65", question("example.org.", "HTTPS", Some("192.0.2.1:53"))),
            ("example.org @ns.example:5353 AAAA", question("example.org.", "AAAA", Some("ns.example:5353"))),
            ("a @::1", question("a.", "A", Some("[::1]:53"))),
            ("a @[::1]", question("a.", "A", Some("[::1]:53"))),
            ("a @[::1]:54", question("a.", "A", Some("[::1]:54"))),
            ("a @fe80::1%2", question("a.", "A", Some("[fe80::1%2]:53"))),
            ("192.0.2.7", question("7.2.0.192.in-addr.arpa.", "PTR", None)),
            ("192.0.2.7 ptr", question("7.2.0.192.in-addr.arpa.", "PTR", None)),
            ("-x 192.0.2.7", question("7.2.0.192.in-addr.arpa.", "PTR", None)),
            ("-x 192.0.2.7 TXT", question("7.2.0.192.in-addr.arpa.", "TXT", None)),
            // A name that is also a type.
            ("mx", question("mx.", "A", None)),
            ("mx mx", question("mx.", "MX", None)),
            (". NS", question(".", "NS", None)),
        ] {
            assert_eq!(parse(line), expected, "{line}");
        }
    }

    #[test]
    fn what_is_unclear_is_refused_with_the_reason() {
        for (line, why) in [
            ("", "the NAME to ask for is missing"),
            ("@192.0.2.1", "the NAME to ask for is missing"),
            ("b MXX", "MXX is not a type of records; did you mean MX?"),
            ("b wombat", "wombat is not a type of records"),
            ("b MX c", "one word too many: c"),
            ("-x 192.0.2.7 MX c", "one word too many: c"),
            ("-x nine", "-x needs an IP address, and nine is none"),
            ("192.0.2.7 A", "an address is asked for as PTR, and not as A; leave the type out"),
            ("a @192.0.2.1 @192.0.2.2", "one server is asked, and not both @192.0.2.1 and @192.0.2.2"),
            ("a @", "the server after @ is missing"),
            ("a @ns:0", "bad address \"ns:0\": port 0 cannot be connected to"),
            ("a @fe80::1", "bad address \"[fe80::1]:53\": a link-local address needs a zone"),
            ("a..b", "a label is empty"),
            ("m\u{fc}nchen.example", "it has letters outside of ASCII; write its ASCII form"),
            ("http://example.org/path", "is a URL; did you mean example.org?"),
            ("b AXFR", "AXFR cannot be asked for: zone transfers are not supported"),
            ("b OPT", "OPT cannot be asked for"),
            ("b \u{1b}[31m", "\\u{1b}[31m is not a type of records"),
        ] {
            let said = parse(line).unwrap_err();
            assert!(said.contains(why) && said.ends_with(" (see --help)"), "{line}: {said}");
        }
    }
}
