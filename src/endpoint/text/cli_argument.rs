//! Endpoints on command lines, where a plain `host:port` is accepted as well.

use std::net::{Ipv4Addr, Ipv6Addr};

use super::argument::is_number;
use crate::endpoint::{ClientEndpoint, ParseError, Registry, ServerEndpoint};
use crate::net::zone::Literal;
use crate::{BadAddress, ConnectTcp, Error, ListenTcp};

impl Registry {
    /// Parses a server endpoint from a command-line argument.
    ///
    /// Accepted are an endpoint's text, `IP:PORT` and `tcp://IP:PORT`. `localhost` stands for
    /// 127.0.0.1. A text that begins with a known kind of endpoint is never taken for an address.
    ///
    /// ```
    /// let registry = twistor::endpoint::Registry::default();
    /// for text in ["127.0.0.1:80", "localhost:80", "tcp:127.0.0.1:80", "tcp://127.0.0.1:80"] {
    ///     assert_eq!(registry.server_from_argument(text)?.describe(), "tcp:80:interface=127.0.0.1");
    /// }
    /// # Ok::<(), twistor::endpoint::ParseError>(())
    /// ```
    ///
    /// # Errors
    /// [`ParseError`] if the argument is none of these.
    pub fn server_from_argument(&self, text: &str) -> Result<Box<dyn ServerEndpoint>, ParseError> {
        if let Some(port) = port_alone(text) {
            return Err(advice(text, format!("the kind of endpoint is missing; did you mean tcp:{port}?")));
        }
        if text.parse::<Ipv6Addr>().is_ok() {
            return Err(advice(text, no_port(&format!("[{text}]"))));
        }
        // `haproxy:` accepts an address as well as an endpoint.
        if let Some(inner) = text.strip_prefix("haproxy:").filter(|inner| is_local(inner)) {
            let whole = self.server_from_string(&format!("haproxy:tcp:{inner}"));
            return whole.map_err(|error| ParseError {
                text: text.to_owned(),
                position: error.position.saturating_sub("tcp:".len()),
                ..error
            });
        }
        let (offset, address) = url(text).unwrap_or(match text.strip_prefix("tcp:") {
            Some(rest) => ("tcp:".len(), rest),
            None => (0, text),
        });
        // A listening host is an IP address of this machine. Text with further arguments is an
        // endpoint.
        let plain = is_local(address) && (offset != "tcp:".len() || !address.contains('='));
        if plain || offset == "tcp://".len() {
            let listen = address.parse::<ListenTcp>();
            return Ok(Box::new(listen.map_err(|error| wrong(text, offset, &error))?));
        }
        match kind_of_url(text).filter(|(kind, _)| self.servers().any(|known| known == *kind)) {
            Some((kind, rest)) => {
                let endpoint = self.server_from_string(&format!("{kind}:{rest}"));
                endpoint.map_err(|error| in_url(text, kind, error))
            }
            None => self.server_from_string(text),
        }
    }

    /// Parses a client endpoint from a command-line argument: an endpoint's text, `HOST:PORT`,
    /// `tcp://HOST:PORT`, or `KIND://HOST:PORT` of another kind that takes a host and a port.
    ///
    /// ```
    /// let registry = twistor::endpoint::Registry::default();
    /// for text in ["[::1]:80", "tcp:[::1]:80", "tcp://[::1]:80"] {
    ///     assert_eq!(registry.client_from_argument(text)?.describe(), "tcp:[::1]:80");
    /// }
    /// # Ok::<(), twistor::endpoint::ParseError>(())
    /// ```
    ///
    /// # Errors
    /// [`ParseError`] if the argument is none of these.
    pub fn client_from_argument(&self, text: &str) -> Result<Box<dyn ClientEndpoint>, ParseError> {
        if let Some(port) = port_alone(text) {
            return Err(advice(text, no_host(port)));
        }
        if let Some(host) = self.host_alone(text) {
            return Err(advice(text, no_port(&host)));
        }
        let address = url(text).or_else(|| self.is_client_address(text).then_some((0, text)));
        match address {
            Some((offset, address)) => {
                Ok(Box::new(address.parse::<ConnectTcp>().map_err(|error| wrong(text, offset, &error))?))
            }
            None => match kind_of_url(text).filter(|(kind, _)| self.clients().any(|known| known == *kind)) {
                Some((kind, rest)) => {
                    let endpoint = self.client_from_string(&format!("{kind}:{rest}"));
                    endpoint.map_err(|error| in_url(text, kind, error))
                }
                None => self.client_from_string(text),
            },
        }
    }

    /// Returns the host if the text is a host without the required port. A kind of endpoint is not
    /// a host.
    pub(crate) fn host_alone(&self, text: &str) -> Option<String> {
        let host = text.strip_suffix(':').unwrap_or(text);
        if self.clients().any(|known| known == prefix(text)) {
            return None;
        }
        if Literal::read(host).is_some_and(|literal| literal.is_ok()) && host.contains(':') {
            return Some(format!("[{host}]"));
        }
        let inner = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(host);
        ConnectTcp::new(inner, 1).check().is_ok().then(|| host.to_owned())
    }

    /// Returns whether the text is meant as `host:port`: the prefix is not a kind of endpoint, and
    /// only a number follows.
    pub(crate) fn is_client_address(&self, text: &str) -> bool {
        let known = self.clients().any(|known| known == prefix(text));
        !known && (text.starts_with('[') || text.split_once(':').is_some_and(|(_, rest)| is_number(rest)))
    }
}

/// Returns the port if the text is a port without the required host or kind of endpoint.
pub(crate) fn port_alone(text: &str) -> Option<&str> {
    Some(text.strip_prefix(':').unwrap_or(text)).filter(|port| is_number(port))
}

/// Advice for a client whose address is only a port, as found by [`port_alone`].
pub(crate) fn no_host(port: &str) -> String {
    format!("the host is missing before the port; did you mean localhost:{port}?")
}

/// Advice for a host without a port.
pub(crate) fn no_port(host: &str) -> String {
    format!("the port is missing; write {host}:PORT")
}

fn prefix(text: &str) -> &str {
    text.split_once(':').map_or(text, |(prefix, _)| prefix)
}

/// Returns the address in a URL, and its byte offset.
fn url(text: &str) -> Option<(usize, &str)> {
    text.strip_prefix("tcp://").map(|address| ("tcp://".len(), address))
}

/// Returns kind and arguments of `KIND://HOST:PORT`, for a kind that wraps TCP. In a UNIX path, the
/// slashes belong to the path.
fn kind_of_url(text: &str) -> Option<(&str, &str)> {
    text.split_once("://").filter(|(kind, rest)| *kind != "unix" && !kind.contains(':') && !rest.is_empty())
}

/// The error about `KIND:REST`, for the text `KIND://REST`.
fn in_url(text: &str, kind: &str, error: ParseError) -> ParseError {
    let slashes = if error.position > kind.len() { "//".len() } else { 0 };
    ParseError { text: text.to_owned(), position: error.position + slashes, ..error }
}

/// Returns whether the text begins with an IP address or `localhost`.
fn is_local(text: &str) -> bool {
    let host = prefix(text);
    host == "localhost" || host.starts_with('[') || host.parse::<Ipv4Addr>().is_ok()
}

fn wrong(text: &str, position: usize, error: &Error) -> ParseError {
    let why = match error {
        Error::BadAddress(BadAddress { why, .. }) => (*why).to_owned(),
        other => other.to_string(),
    };
    ParseError { text: text.to_owned(), position, key: None, why }
}

fn advice(text: &str, why: String) -> ParseError {
    ParseError { text: text.to_owned(), position: 0, key: None, why }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_without_a_port_is_told_the_form_to_write() {
        let registry = Registry::default();
        for (text, form) in [
            ("localhost", "localhost"),
            ("localhost:", "localhost"),
            ("127.0.0.1", "127.0.0.1"),
            ("[::1]", "[::1]"),
            ("::1", "[::1]"),
            ("fe80::1%lo", "[fe80::1%lo]"),
        ] {
            let why = registry.client_from_argument(text).err().unwrap().why;
            assert_eq!(why, format!("the port is missing; write {form}:PORT"), "{text}");
        }
        for (text, form) in [("tcp://localhost", "HOST"), ("tcp://[::1]", "HOST"), ("tcp:h", "tcp:HOST")] {
            let why = registry.client_from_argument(text).err().unwrap().why;
            assert!(why.ends_with(&format!("missing; write {form}:PORT")), "{text}: {why}");
        }
        for text in ["127.0.0.1", "[::1]", "::1", "tcp:localhost", "tcp6:[::1]", "haproxy:127.0.0.1"] {
            let why = registry.server_from_argument(text).err().unwrap().why;
            assert!(why.contains("missing; write ") && why.ends_with(":PORT"), "{text}: {why}");
        }
    }
}
