//! `haproxy:`, which wraps a server behind a proxy.

use std::time::Duration;

use super::parse_error::is_near;
use super::{Argument, Arguments, ParseError, Registry, ServerEndpoint};
use crate::endpoint::text::TextBuilder;
use crate::proxy_protocol::{ParseTrustedError, ProxyOptions, TrustedProxies, behind_proxy};
use crate::{Factory, Listener, Reactor, Result};

/// A server endpoint whose connections begin with a PROXY header. (Twisted:
/// `haproxy.proxyEndpoint`.)
pub(super) struct ProxyEndpoint {
    endpoint: Box<dyn ServerEndpoint>,
    allow: String,
    options: ProxyOptions,
}

impl ServerEndpoint for ProxyEndpoint {
    fn listen(&self, reactor: &mut Reactor, factory: Box<dyn Factory>) -> Result<Listener> {
        self.listen_below(reactor, factory, &|factory| factory)
    }

    fn listen_below(
        &self,
        reactor: &mut Reactor,
        factory: Box<dyn Factory>,
        below: &dyn Fn(Box<dyn Factory>) -> Box<dyn Factory>,
    ) -> Result<Listener> {
        // The header is the first data of a connection, also in front of a TLS handshake.
        let with_header =
            |factory| below(Box::new(behind_proxy(factory, self.options.clone())) as Box<dyn Factory>);
        self.endpoint.listen_below(reactor, factory, &with_header)
    }

    fn describe(&self) -> String {
        TextBuilder::new(&format!("haproxy:{}", self.endpoint.describe()))
            .key("allow", self.allow.as_str(), LOCAL_PEERS)
            .seconds("header_timeout", self.options.timeout, default_timeout())
            .text()
    }
}

/// Parses `haproxy:tcp:80:allow=10.0.0.0/8`.
pub(super) fn server(arguments: &mut Arguments, registry: &Registry) -> Result<ProxyEndpoint, ParseError> {
    let given = arguments.key("allow", |allow| {
        let bad = |wrong: ParseTrustedError| allow.bad(wrong.to_string());
        Ok((allow.text()?, trusted(allow.value()).map_err(bad)?))
    })?;
    let (allow, trusted) = match given {
        Some(given) => given,
        None => {
            let bad = |wrong: ParseTrustedError| arguments.bad(wrong.to_string());
            (LOCAL_PEERS.to_owned(), trusted(LOCAL_PEERS).map_err(bad)?)
        }
    };
    let timeout = arguments.key("header_timeout", Argument::positive_seconds)?;
    let mut inner = arguments.nested()?;
    let is_datagram = registry.datagrams().any(|known| known == inner.prefix());
    if is_datagram && !registry.servers().any(|known| known == inner.prefix()) {
        let instead = "datagrams have no PROXY headers, haproxy wraps a stream server";
        return Err(inner.unknown_prefix(registry.servers(), Some(instead)));
    }
    let endpoint = registry.server(&mut inner)?;
    let options =
        ProxyOptions { timeout: timeout.unwrap_or(default_timeout()), ..ProxyOptions::from(trusted) };
    Ok(ProxyEndpoint { endpoint, allow, options })
}

fn trusted(text: &str) -> Result<TrustedProxies, ParseTrustedError> {
    match text {
        "everybody" => Ok(TrustedProxies::everybody()),
        text if is_near(text, "everybody") => {
            Err(ParseTrustedError { text: text.to_owned(), why: "did you mean everybody?" })
        }
        text => text.parse(),
    }
}

fn default_timeout() -> Duration {
    ProxyOptions::from(TrustedProxies::everybody()).timeout
}

/// Default peers that may send headers: only those on this machine, because a sender can claim any
/// client address.
const LOCAL_PEERS: &str = "127.0.0.0/8,::1,unix";

#[cfg(test)]
mod tests {
    use super::*;

    fn described(text: &str) -> Result<String, ParseError> {
        Registry::of_sockets().server_from_string(text).map(|endpoint| endpoint.describe())
    }

    #[test]
    fn what_is_described_is_read_back() {
        for text in [
            "haproxy:tcp:80",
            "haproxy:unix:/run/x:mode=660",
            "haproxy:tcp:80:interface=[::1]:allow=10.0.0.0/8,192.0.2.1:header_timeout=2.5",
            r"haproxy:tcp:80:allow=\:\:1",
            "haproxy:fd:3:allow=everybody",
        ] {
            assert_eq!(described(text).unwrap(), text);
        }
        assert!(described("haproxy:allow=::1:tcp:80").is_err(), "what follows belongs to the key");
        assert_eq!(described("haproxy:tcp:80:allow=::1").unwrap(), r"haproxy:tcp:80:allow=\:\:1");
    }

    #[test]
    fn what_is_wrong_is_named_in_the_whole_text() {
        for (text, position, key) in [
            ("haproxy", 7, None),
            ("haproxy:80", 8, Some("80")),
            ("haproxy:tcp", 11, Some("port")),
            ("haproxy:tcp:80:zz=1", 15, Some("zz")),
            ("haproxy:tcp:80:allow=10.0.0.0/33", 21, Some("allow")),
            ("haproxy:tcp:80:allow=", 21, Some("allow")),
            ("haproxy:tcp:80:allow=everbody", 21, Some("allow")),
            ("haproxy:tcp:80:header_timeout=0", 30, Some("header_timeout")),
        ] {
            let error = described(text).unwrap_err();
            assert_eq!((error.position, error.key.as_deref()), (position, key), "{error}");
        }
        let error = described("haproxy:udp:1").unwrap_err();
        let why = "datagrams have no PROXY headers, haproxy wraps a stream server; \
                   known are: fd, haproxy, systemd, tcp, tcp6, unix";
        assert_eq!((error.position, error.why.as_str()), (8, why));
    }
}
