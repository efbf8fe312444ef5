//! TCP options for listening and connecting, and their parsing.

use crate::escape::Escaped;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::str::FromStr;
use std::time::Duration;

use crate::net::os::interface_index;
use crate::net::zone::{BadZone, Literal, host_text};
use crate::net::{BadAddress, Buffers};
use crate::reactor::connection::options::StreamOptions;
use crate::reactor::conversions::{from_host_and_port, from_ip_and_port, try_from, try_from_address};
use crate::reactor::error::Error;

/// The address and options of a TCP listener. (Twisted: `listenTCP`, and `makeBinding` for the
/// options.)
///
/// ```
/// let listen = twistor::ListenTcp { backlog: 128, ..twistor::ListenTcp::new(([127, 0, 0, 1], 8080)) };
/// assert_eq!("[::1]:80".parse::<twistor::ListenTcp>()?.address.port(), 80);
/// assert!("localhost:70000".parse::<twistor::ListenTcp>().is_err());
/// # Ok::<(), twistor::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[doc(alias("reuse_port", "SO_REUSEPORT", "backlog"))]
pub struct ListenTcp {
    /// The address to bind. Port 0 lets the system choose.
    pub address: SocketAddr,
    /// Allows binding while old connections of the same address linger (SO_REUSEADDR). Default:
    /// yes, as is usual on Unix.
    pub reuse_address: bool,
    /// Allows several sockets to share the port (SO_REUSEPORT). Connections are distributed among
    /// them. Default: no.
    pub reuse_port: bool,
    /// Limit on connections that wait to be accepted. Default: 1024 (the system has a maximum of
    /// its own).
    pub backlog: u32,
    /// Sends small writes at once on accepted connections (TCP_NODELAY). Default: yes, because the
    /// writes of one callback are sent together.
    pub nodelay: bool,
    /// Idle time before keepalive probes on accepted connections, rounded up to whole seconds, at
    /// most 32,767 s. A connection is lost when four probes, a quarter of that time apart, go
    /// unanswered. Default: none.
    pub keepalive: Option<Duration>,
    /// Time for which sent data or a keepalive probe of an accepted connection may stay
    /// unacknowledged (TCP_USER_TIMEOUT, Linux and Android). It is rounded up to milliseconds, at
    /// most 24 days. Default: the system's.
    pub user_timeout: Option<Duration>,
    /// Size of the kernel's send buffer in bytes. Default: the system's.
    pub send_buffer: Option<usize>,
    /// Size of the kernel's receive buffer in bytes. Default: the system's.
    pub receive_buffer: Option<usize>,
    /// Refuses IPv4 connections on an IPv6 address. Default: the system's choice.
    pub ipv6_only: Option<bool>,
}

impl ListenTcp {
    /// Listens on `address` with the default options.
    pub fn new(address: impl Into<SocketAddr>) -> ListenTcp {
        ListenTcp {
            address: address.into(),
            reuse_address: true,
            reuse_port: false,
            backlog: 1024,
            nodelay: true,
            keepalive: None,
            user_timeout: None,
            send_buffer: None,
            receive_buffer: None,
            ipv6_only: None,
        }
    }

    pub(in crate::reactor) fn buffers(&self) -> Buffers {
        Buffers { send: self.send_buffer, receive: self.receive_buffer }
    }

    /// The options set on accepted connections.
    pub(in crate::reactor) fn of_connections(&self) -> StreamOptions {
        let ListenTcp { nodelay, keepalive, user_timeout, .. } = *self;
        StreamOptions { nodelay, keepalive, user_timeout }
    }
}

/// The destination and options of a TCP connection. (Twisted: `connectTCP`.)
///
/// ```
/// let connect: twistor::ConnectTcp = "[::1]:80".parse()?;
/// assert_eq!((connect.host.as_str(), connect.port), ("::1", 80));
/// # Ok::<(), twistor::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[doc(alias("attemptDelay", "bindAddress", "connect_timeout"))]
pub struct ConnectTcp {
    /// A host name, or an IP address (IPv6 without brackets). The zone of an IPv6 address is the
    /// number or the name of an interface, as in `fe80::1%2` and `fe80::1%eth0`. Interface names
    /// are resolved when connecting.
    pub host: String,
    /// The port, 1 to 65535.
    pub port: u16,
    /// Timeout of an attempt. It includes the host name look-up, all addresses and the handshakes
    /// of layers.
    ///
    /// If the look-up has to wait for a thread, the timeout restarts when the resolver is asked. A
    /// look-up that waits longer fails with [`Reason::LookupFailed`](crate::Reason::LookupFailed).
    /// Default: 10 s.
    pub timeout: Duration,
    /// Head start of an address before the next one is tried beside it, at least 10 ms. When an
    /// attempt fails, the next begins at once. (RFC 8305, 5. Twisted: `attemptDelay`, 0.3 s.)
    /// Default: 250 ms.
    pub attempt_delay: Duration,
    /// The local address to bind. Only addresses of its family are tried for a host name. Default:
    /// the system's choice.
    pub bind: Option<SocketAddr>,
    /// Allows binding while old connections of the same local address linger (SO_REUSEADDR).
    /// Default: no.
    pub reuse_address: bool,
    /// Sends small writes at once (TCP_NODELAY). Default: yes.
    pub nodelay: bool,
    /// Idle time before keepalive probes, rounded up to whole seconds, at most 32,767 s. The
    /// connection is lost when four probes, a quarter of that time apart, go unanswered. Default:
    /// none.
    pub keepalive: Option<Duration>,
    /// Time for which sent data or a keepalive probe may stay unacknowledged (TCP_USER_TIMEOUT,
    /// Linux and Android). It is rounded up to milliseconds, at most 24 days. With keepalive, the
    /// connection is lost after this time without an answer, regardless of the number of probes.
    /// Default: the system's.
    pub user_timeout: Option<Duration>,
    /// Size of the kernel's send buffer in bytes. Default: the system's.
    pub send_buffer: Option<usize>,
    /// Size of the kernel's receive buffer in bytes. Default: the system's.
    pub receive_buffer: Option<usize>,
}

impl ConnectTcp {
    /// Connects to `host` with the default options.
    pub fn new(host: impl Into<String>, port: u16) -> ConnectTcp {
        ConnectTcp {
            host: host.into(),
            port,
            timeout: Duration::from_secs(10),
            attempt_delay: Duration::from_millis(250),
            bind: None,
            reuse_address: false,
            nodelay: true,
            keepalive: None,
            user_timeout: None,
            send_buffer: None,
            receive_buffer: None,
        }
    }

    pub(in crate::reactor) fn buffers(&self) -> Buffers {
        Buffers { send: self.send_buffer, receive: self.receive_buffer }
    }

    /// The options set on outgoing connections.
    pub(in crate::reactor) fn of_connections(&self) -> StreamOptions {
        let ConnectTcp { nodelay, keepalive, user_timeout, .. } = *self;
        StreamOptions { nodelay, keepalive, user_timeout }
    }
}

/// Formats `host:port`, with brackets around an IPv6 address.
impl fmt::Display for ConnectTcp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.host.contains(':') {
            true => write!(f, "[{}]:{}", Escaped(&self.host), self.port),
            false => write!(f, "{}:{}", Escaped(&self.host), self.port),
        }
    }
}

impl FromStr for ListenTcp {
    type Err = Error;

    /// Parses `IP:PORT`; `localhost` is 127.0.0.1. An IPv6 address may have a zone,
    /// `[fe80::1%2]:80` or `[fe80::1%eth0]:80`. An interface name must exist on this machine.
    fn from_str(text: &str) -> Result<ListenTcp, Error> {
        let (host, port) = split(text)?;
        local_address(host, port).map(ListenTcp::new).map_err(|why| bad(text, why))
    }
}

/// The address to listen on, of a host without brackets. The error has the text as it would be
/// written in one piece.
pub(in crate::reactor) fn listen_address(host: impl AsRef<str>, port: u16) -> Result<SocketAddr, Error> {
    let host = host.as_ref();
    local_address(host, port).map_err(|why| {
        let text = if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") };
        bad(&text, why)
    })
}

fn local_address(host: &str, port: u16) -> Result<SocketAddr, &'static str> {
    match host {
        "localhost" => Ok(SocketAddr::from((Ipv4Addr::LOCALHOST, port))),
        "" => Err(NO_HOST_TO_LISTEN),
        _ => literal_address(host, port)
            .ok_or("the host to listen on must be an IP address")?
            .map_err(BadZone::why),
    }
}

const NO_HOST_TO_LISTEN: &str = "the host is missing, such as 0.0.0.0 for all IPv4 addresses";

impl FromStr for ConnectTcp {
    type Err = Error;

    /// Parses `HOST:PORT`. The host is a name or an IP address. IPv6 addresses are in brackets and
    /// may have a zone: `[fe80::1%2]:80` or `[fe80::1%eth0]:80`.
    fn from_str(text: &str) -> Result<ConnectTcp, Error> {
        let (host, port) = split(text)?;
        let connect = ConnectTcp::new(host, port);
        connect.check().map_err(|why| bad(text, why))?;
        Ok(connect)
    }
}

impl ConnectTcp {
    pub(crate) fn check(&self) -> Result<(), &'static str> {
        if self.port == 0 { Err("port 0 cannot be connected to") } else { check_host(&self.host) }
    }
}

/// Checks that a host is an IP address or a host name. The error says what is wrong.
pub(in crate::reactor) fn check_host(host: &str) -> Result<(), &'static str> {
    let name = host.strip_suffix('.').unwrap_or(host);
    let (mut good, mut label, mut digits) = (name.len() <= 253, 0, 0);
    for byte in name.bytes() {
        if byte == b'.' {
            good &= (1..=63).contains(&label);
            (label, digits) = (0, 0);
        } else {
            good &= byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
            label += 1;
            digits += usize::from(byte.is_ascii_digit());
        }
    }
    good &= (1..=63).contains(&label);
    if good && digits < label {
        Ok(())
    } else if name.is_empty() {
        Err("the host is missing")
    } else if let Some(literal) = Literal::read(host) {
        literal.and_then(Literal::with_its_zone).map(drop).map_err(BadZone::why)
    } else if good {
        Err("the host looks like an IP address but is not one")
    } else {
        Err("the host is neither an IP address nor a host name")
    }
}

#[cfg(any(test, feature = "http"))]
impl ConnectTcp {
    /// Parses the authority of a URL. A zone follows `%25` (RFC 6874) or, as is common in practice,
    /// `%`.
    pub(crate) fn from_authority(text: &str) -> Result<ConnectTcp, Error> {
        match text.split_once("%25") {
            Some((address, zone)) if text.starts_with('[') && !zone.starts_with(']') => {
                format!("{address}%{zone}").parse()
            }
            _ => text.parse(),
        }
    }
}

/// The address, if `host` is an IP address, with the zone's number on this machine. A link-local
/// address needs a zone.
pub(crate) fn literal_address(host: &str, port: u16) -> Option<Result<SocketAddr, BadZone>> {
    let index = |name: &str| interface_index(name).ok();
    let literal = Literal::read(host)?.and_then(Literal::with_its_zone);
    Some(literal.and_then(|literal| literal.with_port(port, index)))
}

/// Splits `host:port` and removes brackets.
fn split(text: &str) -> Result<(&str, u16), Error> {
    let in_brackets = text.starts_with('[') && text.ends_with(']');
    let (host, port) = text.rsplit_once(':').filter(|_| !in_brackets).ok_or_else(|| {
        let is_port = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        bad(text, if is_port { NO_HOST } else { NO_PORT })
    })?;
    let host = match host.strip_prefix('[') {
        Some(rest) => {
            let inner = rest.strip_suffix(']').ok_or_else(|| bad(text, "a bracket is missing"))?;
            match Literal::read(inner) {
                Some(Ok(Literal::Ip(IpAddr::V6(_)) | Literal::Zoned(..))) => inner,
                Some(Err(zone)) => return Err(bad(text, zone.why())),
                _ => return Err(bad(text, "the text in brackets is not an IPv6 address")),
            }
        }
        None if host.contains(':') => {
            return Err(bad(text, "an IPv6 address must be in brackets"));
        }
        None => host,
    };
    if host.is_empty() {
        return Err(bad(text, "the host is missing"));
    }
    // `u16::from_str` would accept a sign.
    if port.is_empty() || !port.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(bad(text, "the port is not a number"));
    }
    let port = port.parse().map_err(|_| bad(text, "the port is above 65535"))?;
    Ok((host, port))
}

const NO_PORT: &str = "the port is missing; write HOST:PORT";
const NO_HOST: &str = "the host is missing before the port, such as localhost:80";

fn bad(text: &str, why: &'static str) -> Error {
    Error::BadAddress(BadAddress { text: text.to_owned(), why })
}

try_from!(ListenTcp from &str, String, &String: text => text.parse());
try_from!(ListenTcp from (&str, u16), (String, u16), (&String, u16): address => {
    listen_address(address.0, address.1).map(ListenTcp::new)
});
from_ip_and_port!(ListenTcp);
try_from_address!(ListenTcp);

try_from!(ConnectTcp from &str, String, &String: text => text.parse());
from_host_and_port!(ConnectTcp from (&str, u16), (String, u16), (&String, u16));
from_ip_and_port!(ConnectTcp);
try_from_address!(ConnectTcp);

impl From<SocketAddr> for ListenTcp {
    fn from(address: SocketAddr) -> ListenTcp {
        ListenTcp::new(address)
    }
}

impl From<SocketAddr> for ConnectTcp {
    fn from(address: SocketAddr) -> ConnectTcp {
        ConnectTcp::new(host_text(address), address.port())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::Address;

    #[test]
    fn a_bad_address_is_named_with_what_is_wrong() {
        for (text, why) in [
            ("", NO_PORT),
            ("localhost", NO_PORT),
            ("[::1]", NO_PORT),
            ("7007", "the host is missing before the port, such as localhost:80"),
            (":80", "the host is missing"),
            ("host:", "the port is not a number"),
            ("host:http", "the port is not a number"),
            ("host:+80", "the port is not a number"),
            ("host:65536", "the port is above 65535"),
            ("host:0", "port 0 cannot be connected to"),
            ("::1:80", "an IPv6 address must be in brackets"),
            ("[::1:80", "a bracket is missing"),
            ("[localhost]:80", "the text in brackets is not an IPv6 address"),
            ("ho st:80", "the host is neither an IP address nor a host name"),
            ("a..b:80", "the host is neither an IP address nor a host name"),
            ("1.2.3.256:80", "the host looks like an IP address but is not one"),
            ("1.2.3.4%lo:80", "an IPv4 address has no zone"),
            ("[1.2.3.4%lo]:80", "an IPv4 address has no zone"),
            ("[1.2.3.4]:80", "the text in brackets is not an IPv6 address"),
            ("[fe80::1%]:80", "the zone after % is missing"),
            ("[fe80::1%eth 0]:80", "the zone is neither a number nor a name of an interface"),
            ("[fe80::1]:80", "a link-local address needs a zone, such as fe80::1%eth0"),
            ("[fe80::1%0]:80", "a link-local address needs a zone, such as fe80::1%eth0"),
            ("host%lo:80", "the host is neither an IP address nor a host name"),
        ] {
            let error = text.parse::<ConnectTcp>().unwrap_err().to_string();
            assert_eq!(error, format!("bad address \"{text}\": {why}"));
        }
        assert!("example.org:80".parse::<ListenTcp>().is_err());
        let zone = "[fe80::1]:80".parse::<ListenTcp>().unwrap_err().to_string();
        assert!(zone.ends_with("a link-local address needs a zone, such as fe80::1%eth0"), "{zone}");
        let unknown = "[fe80::1%no_such_if]:80".parse::<ListenTcp>().unwrap_err().to_string();
        let why = "this machine has no interface of that name";
        assert_eq!(unknown, format!("bad address \"[fe80::1%no_such_if]:80\": {why}"));
    }

    #[test]
    fn an_address_keeps_its_zone() {
        let listen: ListenTcp = "[fe80::1%2]:80".parse().unwrap();
        let connect = ConnectTcp::from(listen.address);
        assert_eq!((connect.host.as_str(), connect.to_string().as_str()), ("fe80::1%2", "[fe80::1%2]:80"));
        let again = ConnectTcp::try_from(&Address::Tcp(listen.address)).unwrap();
        assert_eq!(again, connect);
        assert_eq!(Address::Tcp(listen.address).to_string().parse::<ListenTcp>().unwrap(), listen);
        for text in ["[::1%lo]:80", "[::1%25lo]:80"] {
            assert_eq!(ConnectTcp::from_authority(text).unwrap().host, "::1%lo");
        }
        assert_eq!(ConnectTcp::from_authority("[::1%25]:80").unwrap().host, "::1%25");
    }

    #[test]
    fn an_address_prints_as_it_is_read() {
        for text in [
            "127.0.0.1:80",
            "[::1]:80",
            "example.org:443",
            "example.org.:65535",
            "a_b:1",
            "[fe80::1%eth0]:80",
        ] {
            assert_eq!(text.parse::<ConnectTcp>().unwrap().to_string(), text);
        }
    }
}
