//! The access log, in the combined format of Apache and nginx.

use std::fmt::Write;
use std::net::IpAddr;

use super::head::Head;
use crate::{Address, Transport};

/// The part of a line that the request determines.
pub(super) struct AccessLine {
    peer: Option<IpAddr>,
    time: String,
    request: String,
    referer: String,
    agent: String,
}

impl AccessLine {
    pub(super) fn new(transport: &mut Transport<'_>, head: &Head<'_>) -> AccessLine {
        let text = |name: &str| quoted(head.field(name).unwrap_or(b"-"));
        AccessLine {
            request: quoted(format!("{} {} HTTP/1.{}", head.method, head.target, head.minor).as_bytes()),
            referer: text("Referer"),
            agent: text("User-Agent"),
            ..AccessLine::unread(transport)
        }
    }

    /// The line of a request that could not be read.
    pub(super) fn unread(transport: &mut Transport<'_>) -> AccessLine {
        let dash = || "-".to_owned();
        let peer = match transport.peer() {
            Address::Tcp(address) => Some(address.ip()),
            _ => None,
        };
        let time = log_time(transport);
        AccessLine { peer, time, request: dash(), referer: dash(), agent: dash() }
    }

    /// Writes the line.
    pub(super) fn log(&self, status: u16, sent: u64) {
        let AccessLine { peer, time, request, referer, agent } = self;
        let peer = peer.map_or_else(|| "-".to_owned(), |peer| peer.to_string());
        log::info!(
            target: TARGET, status = status, sent = sent;
            "{peer} - - [{time}] \"{request}\" {status} {sent} \"{referer}\" \"{agent}\""
        );
    }
}

/// The date in the form "06/Nov/1994:08:49:37 +0000".
fn log_time(transport: &mut Transport<'_>) -> String {
    let date = super::site::http_date(transport.reactor().system_time());
    let date = String::from_utf8_lossy(&date);
    match date.split(' ').collect::<Vec<_>>().as_slice() {
        [_, day, month, year, time, _] => format!("{day}/{month}/{year}:{time} +0000"),
        _ => String::new(),
    }
}

/// Text between quotes: these, backslashes and everything that is not visible ASCII become `\xHH`,
/// as in nginx.
fn quoted(text: &[u8]) -> String {
    let mut quoted = String::with_capacity(text.len());
    for byte in text {
        match byte {
            b'"' | b'\\' => _ = write!(quoted, "\\x{byte:02X}"),
            b' '..=b'~' => quoted.push(char::from(*byte)),
            _ => _ = write!(quoted, "\\x{byte:02X}"),
        }
    }
    quoted
}

const TARGET: &str = "twistor::http::access";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_from_clients_cannot_leave_its_quotes() {
        assert_eq!(quoted(b"a \"b\" \\ \x1b[2J\n\xc3"), "a \\x22b\\x22 \\x5C \\x1B[2J\\x0A\\xC3");
    }
}
