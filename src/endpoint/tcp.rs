//! `tcp:` and `tcp6:`, for servers and clients.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use super::{Argument, Arguments, ClientEndpoint, ParseError, ServerEndpoint};
use crate::endpoint::text::TextBuilder;
use crate::escape::Escaped;
use crate::reactor::connection::options;
use crate::{ClientFactory, ConnectTcp, ConnectorId, Factory, ListenTcp, Listener, Reactor, Result};

/// (Twisted: `TCP4ServerEndpoint`, `TCP6ServerEndpoint`.)
impl ServerEndpoint for ListenTcp {
    fn listen(&self, reactor: &mut Reactor, factory: Box<dyn Factory>) -> Result<Listener> {
        reactor.listen_tcp(self.clone(), factory)
    }

    fn describe(&self) -> String {
        let defaults = ListenTcp::new(self.address);
        let text = TextBuilder::new("tcp").positional(self.address.port());
        let text = match self.address.ip() {
            IpAddr::V4(Ipv4Addr::UNSPECIFIED) => text,
            _ => text.ip("interface", self.address),
        };
        text.key("backlog", self.backlog, defaults.backlog)
            .flag("reuse_address", self.reuse_address, defaults.reuse_address)
            .flag("reuse_port", self.reuse_port, defaults.reuse_port)
            .flag("nodelay", self.nodelay, defaults.nodelay)
            .optional("keepalive", self.keepalive.map(|time| time.as_secs_f64()))
            .optional("user_timeout", self.user_timeout.map(|time| time.as_secs_f64()))
            .optional("send_buffer", self.send_buffer)
            .optional("receive_buffer", self.receive_buffer)
            .optional("ipv6_only", self.ipv6_only.map(|only| if only { "yes" } else { "no" }))
            .text()
    }
}

/// (Twisted: `HostnameEndpoint`, `TCP4ClientEndpoint`, `TCP6ClientEndpoint`.)
impl ClientEndpoint for ConnectTcp {
    fn connect(&self, reactor: &mut Reactor, factory: Box<dyn ClientFactory>) -> Result<ConnectorId> {
        reactor.connect_tcp(self.clone(), factory)
    }

    fn describe(&self) -> String {
        let defaults = ConnectTcp::new("", 0);
        let text = match self.host.contains(':') {
            true => TextBuilder::new(&format!("tcp:[{}]", self.host)),
            false => TextBuilder::new("tcp").positional(&self.host),
        };
        let text = text.positional(self.port).seconds("timeout", self.timeout, defaults.timeout).seconds(
            "attempt_delay",
            self.attempt_delay,
            defaults.attempt_delay,
        );
        let text = match self.bind {
            None => text,
            Some(address) if address.port() == 0 => text.ip("bind", address),
            Some(address) => text.optional("bind", Some(address)),
        };
        text.flag("reuse_address", self.reuse_address, defaults.reuse_address)
            .flag("nodelay", self.nodelay, defaults.nodelay)
            .optional("keepalive", self.keepalive.map(|time| time.as_secs_f64()))
            .optional("user_timeout", self.user_timeout.map(|time| time.as_secs_f64()))
            .optional("send_buffer", self.send_buffer)
            .optional("receive_buffer", self.receive_buffer)
            .text()
    }
}

/// Parses `tcp:PORT`, which listens on all IPv4 addresses or on `interface`, or `tcp:IP:PORT`.
pub(super) fn server(arguments: &mut Arguments) -> Result<ListenTcp, ParseError> {
    listen(arguments, Ipv4Addr::UNSPECIFIED.into())
}

/// Parses `tcp6:PORT`, which listens on all IPv6 addresses.
pub(super) fn server_v6(arguments: &mut Arguments) -> Result<ListenTcp, ParseError> {
    let listen = listen(arguments, Ipv6Addr::UNSPECIFIED.into())?;
    match listen.address {
        SocketAddr::V6(_) => Ok(listen),
        SocketAddr::V4(address) => {
            Err(arguments.bad(format!("{} is an IPv4 address; use tcp", address.ip())))
        }
    }
}

fn listen(arguments: &mut Arguments, unspecified: IpAddr) -> Result<ListenTcp, ParseError> {
    let interface = match arguments.starts_with_host() {
        true => Some(arguments.required("interface", |interface| interface.socket_address(0))?),
        false => None,
    };
    let port = arguments.required_in("tcp:PORT or tcp:IP:PORT", "port", Argument::port)?;
    let mut address = match interface {
        Some(interface) => interface,
        None => {
            let interface = arguments.key("interface", |interface| interface.socket_address(0))?;
            interface.unwrap_or(SocketAddr::new(unspecified, 0))
        }
    };
    address.set_port(port);
    let defaults = ListenTcp::new(address);
    Ok(ListenTcp {
        backlog: arguments.key("backlog", Argument::number)?.unwrap_or(defaults.backlog),
        reuse_address: arguments.key("reuse_address", Argument::flag)?.unwrap_or(defaults.reuse_address),
        reuse_port: arguments.key("reuse_port", Argument::flag)?.unwrap_or(defaults.reuse_port),
        nodelay: arguments.key("nodelay", Argument::flag)?.unwrap_or(defaults.nodelay),
        keepalive: arguments.key("keepalive", |time| kernel_time(time, options::keepalive))?,
        user_timeout: arguments.key("user_timeout", |time| kernel_time(time, options::user_timeout))?,
        send_buffer: arguments.key("send_buffer", Argument::number)?,
        receive_buffer: arguments.key("receive_buffer", Argument::number)?,
        ipv6_only: arguments.key("ipv6_only", Argument::flag)?,
        ..defaults
    })
}

/// Parses `tcp:HOST:PORT`.
pub(super) fn client(arguments: &mut Arguments) -> Result<ConnectTcp, ParseError> {
    let port_alone = arguments.is_port_alone();
    let host = arguments.required("host", |argument| host_before_port(argument, port_alone))?;
    let port = arguments.required_in("tcp:HOST:PORT", "port", Argument::port_of_peer)?;
    let defaults = ConnectTcp::new(host, port);
    Ok(ConnectTcp {
        timeout: arguments.key("timeout", Argument::positive_seconds)?.unwrap_or(defaults.timeout),
        attempt_delay: arguments.key("attempt_delay", Argument::seconds)?.unwrap_or(defaults.attempt_delay),
        bind: arguments.key("bind", Argument::local_address)?,
        reuse_address: arguments.key("reuse_address", Argument::flag)?.unwrap_or(defaults.reuse_address),
        nodelay: arguments.key("nodelay", Argument::flag)?.unwrap_or(defaults.nodelay),
        keepalive: arguments.key("keepalive", |time| kernel_time(time, options::keepalive))?,
        user_timeout: arguments.key("user_timeout", |time| kernel_time(time, options::user_timeout))?,
        send_buffer: arguments.key("send_buffer", Argument::number)?,
        receive_buffer: arguments.key("receive_buffer", Argument::number)?,
        ..defaults
    })
}

/// Like [`host`], but reports a port without a host, which is a likely mistake.
fn host_before_port(argument: &Argument, port_alone: bool) -> Result<String, ParseError> {
    if port_alone {
        let port = argument.value();
        let why = format!("the host is missing before the port; did you mean tcp:localhost:{port}?");
        return Err(argument.bad(why));
    }
    host(argument)
}

/// Parses a host name or an IP address, and removes brackets. The name of a zone is kept and looked
/// up when connecting.
pub(super) fn host(argument: &Argument) -> Result<String, ParseError> {
    let value = argument.value();
    let inner = value.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    if let Some(inner) = inner.filter(|inner| !inner.contains(':')) {
        return Err(argument.bad(format!("\"{}\" is not an IPv6 address", Escaped(inner))));
    }
    let host = inner.unwrap_or(value);
    ConnectTcp::new(host, 1).check().map_err(|why| argument.bad(why))?;
    Ok(host.to_owned())
}

/// Parses a time that the kernel accepts. The result is not rounded; that happens when the option
/// is set.
fn kernel_time(
    argument: &Argument,
    round: fn(Duration) -> std::result::Result<Duration, &'static str>,
) -> std::result::Result<Duration, ParseError> {
    let time = argument.seconds()?;
    round(time).map(|_| time).map_err(|why| argument.bad(why))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn served(text: &str) -> ListenTcp {
        server(&mut Arguments::of(text).unwrap()).unwrap()
    }

    fn asked(text: &str) -> ConnectTcp {
        client(&mut Arguments::of(text).unwrap()).unwrap()
    }

    #[test]
    fn a_server_has_the_defaults_of_listening() {
        assert_eq!(served("tcp:80"), ListenTcp::new(([0, 0, 0, 0], 80)));
        let six = server_v6(&mut Arguments::of("tcp6:80").unwrap()).unwrap();
        assert_eq!(six, ListenTcp::new((Ipv6Addr::UNSPECIFIED, 80)));
    }

    #[test]
    fn what_is_described_is_read_back() {
        for text in [
            "tcp:8080",
            "tcp:8080:interface=127.0.0.1",
            "tcp:8080:interface=[::1]:backlog=50",
            "tcp:8080:interface=[fe80::1%2]",
            "tcp:0:interface=[::]:reuse_address=no:reuse_port=yes:nodelay=no:keepalive=30:user_timeout=8.5:send_buffer=1:receive_buffer=2:ipv6_only=yes",
        ] {
            assert_eq!(served(text).describe(), text);
        }
        for text in [
            "tcp:example.org:80",
            "tcp:[::1]:80:timeout=0.25:attempt_delay=0.1",
            "tcp:[fe80::1%eth0]:80",
            "tcp:[fe80::1%2]:80:bind=[fe80::2%2]",
            "tcp:h:80:bind=127.0.0.1",
            r"tcp:h:80:bind=127.0.0.1\:5000:reuse_address=yes:nodelay=no:keepalive=1.5:user_timeout=8.5:send_buffer=1:receive_buffer=2",
            "tcp:h:80:bind=[::1]",
            r"tcp:h:80:bind=\[\:\:1]\:5000",
        ] {
            assert_eq!(asked(text).describe(), text);
        }
    }

    #[test]
    fn an_interface_may_stand_before_its_port() {
        for (text, described) in [
            ("tcp:127.0.0.1:80", "tcp:80:interface=127.0.0.1"),
            ("tcp:localhost:80:backlog=5", "tcp:80:interface=127.0.0.1:backlog=5"),
            ("tcp:[::1]:80", "tcp:80:interface=[::1]"),
            ("tcp:0.0.0.0:80", "tcp:80"),
        ] {
            assert_eq!(served(text).describe(), described, "{text}");
        }
        let wrong = |text| server(&mut Arguments::of(text).unwrap()).unwrap_err().to_string();
        assert!(wrong("tcp:h:80").contains("column 5: interface: \"h\" is not an IP address"));
        assert!(wrong("tcp:127.0.0.1:80:interface=::1").contains("interface: it is given twice"));
    }

    #[test]
    fn a_port_without_a_host_is_told_from_a_bad_address() {
        for text in ["tcp:7007", "tcp:7007:timeout=5"] {
            let error = client(&mut Arguments::of(text).unwrap()).unwrap_err();
            assert_eq!(error.position, 4);
            assert!(error.why.ends_with("did you mean tcp:localhost:7007?"), "{error}");
        }
        let error = client(&mut Arguments::of("tcp:1.2.3.256:80").unwrap()).unwrap_err();
        assert!(error.why.contains("looks like an IP address"), "{error}");
    }
}
