//! `udp:`, with a local port or with a single peer.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use super::tcp::host;
use super::{Argument, Arguments, DatagramEndpoint, ParseError};
use crate::endpoint::text::TextBuilder;
use crate::{ConnectUdp, DatagramId, DatagramProtocol, ListenUdp, Reactor, Result};

impl DatagramEndpoint for ListenUdp {
    fn open(&self, reactor: &mut Reactor, protocol: Box<dyn DatagramProtocol>) -> Result<DatagramId> {
        reactor.open_udp(self, None, protocol)
    }

    fn describe(&self) -> String {
        let text = TextBuilder::new("udp").positional(self.address.port());
        let text = match self.address.ip() {
            IpAddr::V4(Ipv4Addr::UNSPECIFIED) => text,
            _ => text.ip("interface", self.address),
        };
        options(text, self).text()
    }
}

impl DatagramEndpoint for ConnectUdp {
    fn open(&self, reactor: &mut Reactor, protocol: Box<dyn DatagramProtocol>) -> Result<DatagramId> {
        reactor.open_connected_udp(self, protocol)
    }

    fn describe(&self) -> String {
        let text = match self.host.contains(':') {
            true => TextBuilder::new(&format!("udp:[{}]", self.host)),
            false => TextBuilder::new("udp").positional(&self.host),
        };
        let text = text.positional(self.port);
        let text = match self.local.address {
            local if local == ConnectUdp::new("", 0).local.address => text,
            local if local.port() == 0 => text.ip("bind", local),
            local => text.optional("bind", Some(local)),
        };
        options(text, &self.local).text()
    }
}

fn options(text: TextBuilder, listen: &ListenUdp) -> TextBuilder {
    let defaults = ListenUdp::new(listen.address);
    text.key("max_size", listen.max_size, defaults.max_size)
        .flag("reuse_address", listen.reuse_address, defaults.reuse_address)
        .flag("reuse_port", listen.reuse_port, defaults.reuse_port)
        .flag("broadcast", listen.broadcast, defaults.broadcast)
        .optional("ipv6_only", listen.ipv6_only.map(|only| if only { "yes" } else { "no" }))
        .optional("send_buffer", listen.send_buffer)
        .optional("receive_buffer", listen.receive_buffer)
}

/// Parses `udp:PORT`, which receives on all IPv4 addresses or on `interface`, or `udp:HOST:PORT`,
/// which has a single peer.
pub(super) fn datagram(arguments: &mut Arguments) -> Result<Box<dyn DatagramEndpoint>, ParseError> {
    if arguments.counts(2) || arguments.has("host") {
        let host = arguments.required("host", host)?;
        let port = arguments.required_in("udp:HOST:PORT", "port", Argument::port_of_peer)?;
        let bind = arguments.key("bind", Argument::local_address)?;
        let defaults = ConnectUdp::new(host, port);
        let peer = defaults.peer();
        if let (Some(bind), Some(peer)) = (bind, peer)
            && bind.is_ipv4() != peer.is_ipv4()
        {
            return Err(arguments.bad("the addresses are of different families"));
        }
        let local = options_of(arguments, bind.map_or(defaults.local.clone(), ListenUdp::new))?;
        return Ok(Box::new(ConnectUdp { local, ..defaults }));
    }
    let port = arguments.required_in("udp:PORT or udp:HOST:PORT", "port", Argument::port)?;
    let interface = arguments.key("interface", |interface| interface.socket_address(port))?;
    let address = interface.unwrap_or(SocketAddr::from((Ipv4Addr::UNSPECIFIED, port)));
    Ok(Box::new(options_of(arguments, ListenUdp::new(address))?))
}

fn options_of(arguments: &mut Arguments, defaults: ListenUdp) -> Result<ListenUdp, ParseError> {
    Ok(ListenUdp {
        max_size: arguments.key("max_size", Argument::number)?.unwrap_or(defaults.max_size),
        reuse_address: arguments.key("reuse_address", Argument::flag)?.unwrap_or(defaults.reuse_address),
        reuse_port: arguments.key("reuse_port", Argument::flag)?.unwrap_or(defaults.reuse_port),
        broadcast: arguments.key("broadcast", Argument::flag)?.unwrap_or(defaults.broadcast),
        ipv6_only: arguments.key("ipv6_only", Argument::flag)?,
        send_buffer: arguments.key("send_buffer", Argument::number)?,
        receive_buffer: arguments.key("receive_buffer", Argument::number)?,
        ..defaults
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn described(text: &str) -> Result<String, ParseError> {
        datagram(&mut Arguments::of(text)?).map(|endpoint| endpoint.describe())
    }

    #[test]
    fn what_is_described_is_read_back() {
        for text in [
            "udp:53",
            "udp:53:interface=127.0.0.1",
            "udp:53:interface=[::1]:max_size=512:reuse_address=yes:reuse_port=yes:broadcast=yes",
            "udp:53:interface=[::]:ipv6_only=no:send_buffer=1:receive_buffer=2",
            "udp:127.0.0.1:53",
            "udp:[::1]:53:bind=[::1]",
            "udp:[fe80::1%2]:53",
            "udp:[fe80::1%eth0]:53",
            "udp:ns.example.org:53",
            "udp:ns.example.org:53:bind=[::1]:max_size=512",
            r"udp:127.0.0.1:53:bind=127.0.0.1\:5353:max_size=512",
        ] {
            assert_eq!(described(text).unwrap(), text);
        }
        assert_eq!(described("udp:host=127.0.0.1:port=53").unwrap(), "udp:127.0.0.1:53");
    }

    #[test]
    fn a_peer_has_an_address_and_a_port() {
        for (text, key) in [
            ("udp", Some("port")),
            ("udp:example..org:53", Some("host")),
            ("udp:1.2.3:53", Some("host")),
            ("udp:127.0.0.1:0", Some("port")),
            ("udp:127.0.0.1:53:bind=::1", None),
        ] {
            assert_eq!(described(text).unwrap_err().key.as_deref(), key, "{text}");
        }
    }
}
