//! Endpoints of command lines, where a plain `host:port` is understood as well.

use std::net::Ipv4Addr;

use super::{ClientEndpoint, ParseError, Registry, ServerEndpoint};
use crate::{BadAddress, ConnectTcp, Error, ListenTcp};

impl Registry {
    /// The server that an argument of a command line names: an endpoint's text, or an address alone, `IP:PORT`, with
    /// `localhost` for 127.0.0.1, or `tcp:IP:PORT`. Text of a known kind of endpoint is never taken for an address.
    ///
    /// ```
    /// let registry = twistor::endpoint::Registry::default();
    /// for text in ["127.0.0.1:80", "localhost:80", "tcp:127.0.0.1:80", "tcp:80:interface=127.0.0.1"] {
    ///     assert_eq!(registry.server_from_argument(text)?.describe(), "tcp:80:interface=127.0.0.1");
    /// }
    /// # Ok::<(), twistor::endpoint::ParseError>(())
    /// ```
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn server_from_argument(&self, text: &str) -> Result<Box<dyn ServerEndpoint>, ParseError> {
        let (before, address) = match text.strip_prefix("tcp:") {
            Some(rest) => ("tcp:".len(), rest),
            None => (0, text),
        };
        // A host to listen on is an address of this machine.
        let host = prefix(address);
        if host == "localhost" || host.starts_with('[') || host.parse::<Ipv4Addr>().is_ok() {
            let listen = address.parse::<ListenTcp>();
            return Ok(Box::new(listen.map_err(|error| wrong(text, before, &error))?));
        }
        self.server_from_string(text)
    }

    /// The client that an argument of a command line names: an endpoint's text, or `HOST:PORT` alone.
    ///
    /// ```
    /// let registry = twistor::endpoint::Registry::default();
    /// for text in ["[::1]:80", "tcp:[::1]:80"] {
    ///     assert_eq!(registry.client_from_argument(text)?.describe(), "tcp:[::1]:80");
    /// }
    /// # Ok::<(), twistor::endpoint::ParseError>(())
    /// ```
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn client_from_argument(&self, text: &str) -> Result<Box<dyn ClientEndpoint>, ParseError> {
        let prefix = prefix(text);
        let known = self.clients().any(|known| known == prefix);
        match is_address(text, known) {
            true => Ok(Box::new(text.parse::<ConnectTcp>().map_err(|error| wrong(text, 0, &error))?)),
            false => self.client_from_string(text),
        }
    }
}

fn prefix(text: &str) -> &str {
    text.split_once(':').map_or(text, |(prefix, _)| prefix)
}

/// Whether a text is meant as `host:port`: there is no endpoint of this kind, and a number is all that follows.
fn is_address(text: &str, known: bool) -> bool {
    let port = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    !known && (text.starts_with('[') || text.split_once(':').is_some_and(|(_, rest)| port(rest)))
}

fn wrong(text: &str, position: usize, error: &Error) -> ParseError {
    let why = match error {
        Error::BadAddress(BadAddress { why, .. }) => (*why).to_owned(),
        other => other.to_string(),
    };
    ParseError { text: text.to_owned(), position, key: None, why }
}
