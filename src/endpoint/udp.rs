//! `udp:`, with a port of one's own or with one peer.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use super::tcp::host;
use super::{Argument, Arguments, DatagramEndpoint, ParseError};
use crate::endpoint::describe::Written;
use crate::reactor::literal_address;
use crate::{DatagramId, DatagramProtocol, ListenUdp, Reactor, Result};

impl DatagramEndpoint for ListenUdp {
    fn open(&self, reactor: &mut Reactor, protocol: Box<dyn DatagramProtocol>) -> Result<DatagramId> {
        reactor.open_udp(self, None, protocol)
    }

    fn describe(&self) -> String {
        let written = Written::new("udp").plain(self.address.port());
        let written = match self.address.ip() {
            IpAddr::V4(Ipv4Addr::UNSPECIFIED) => written,
            _ => written.ip("interface", self.address),
        };
        options(written, self).text()
    }
}

/// One peer to exchange datagrams with, as `udp:HOST:PORT` has it. A host name is looked up when it is opened: the socket has its
/// [`DatagramId`] at once, what is written waits, and its protocol starts when it has an address. Of those of the host
/// the first is taken that a socket can be connected to: UDP has no answer to wait for. When there is none, the protocol is told by
/// [`stop_protocol`](DatagramProtocol::stop_protocol), with the reason.
///
/// ```
/// use twistor::endpoint::{ConnectUdp, datagram_from_string, DatagramEndpoint};
///
/// let endpoint = ConnectUdp::new("ns.example.org", 53);
/// assert_eq!(endpoint.describe(), datagram_from_string("udp:ns.example.org:53")?.describe());
/// # Ok::<(), twistor::endpoint::ParseError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConnectUdp {
    /// The peer's host name or IP address; `fe80::1%2` has the number of an interface, `fe80::1%eth0` its name.
    pub host: String,
    /// The peer's port.
    pub port: u16,
    /// This side: by default any port of the peer's family.
    pub local: ListenUdp,
}

impl ConnectUdp {
    /// A peer, from a port that the system chooses.
    pub fn new(host: impl Into<String>, port: u16) -> ConnectUdp {
        ConnectUdp { host: host.into(), port, local: ListenUdp::new((Ipv4Addr::UNSPECIFIED, 0)) }
    }

    /// The peer, if its host is an IP address, whose zone, if it has one, is an interface of this machine.
    fn peer(&self) -> Option<SocketAddr> {
        literal_address(&self.host, self.port)?.ok()
    }
}

impl DatagramEndpoint for ConnectUdp {
    fn open(&self, reactor: &mut Reactor, protocol: Box<dyn DatagramProtocol>) -> Result<DatagramId> {
        match self.peer() {
            Some(peer) => reactor.open_udp(&self.local, Some(peer), protocol),
            None => reactor.open_udp_to(&self.host, self.port, &self.local, protocol),
        }
    }

    fn describe(&self) -> String {
        let written = match self.host.contains(':') {
            true => Written::new(&format!("udp:[{}]", self.host)),
            false => Written::new("udp").plain(&self.host),
        };
        let written = written.plain(self.port);
        let written = match self.local.address {
            local if local == ConnectUdp::new("", 0).local.address => written,
            local if local.port() == 0 => written.ip("bind", local),
            local => written.maybe("bind", Some(local)),
        };
        options(written, &self.local).text()
    }
}

fn options(written: Written, listen: &ListenUdp) -> Written {
    let usual = ListenUdp::new(listen.address);
    written
        .key("max_size", listen.max_size, usual.max_size)
        .flag("reuse_address", listen.reuse_address, usual.reuse_address)
        .flag("reuse_port", listen.reuse_port, usual.reuse_port)
        .flag("broadcast", listen.broadcast, usual.broadcast)
        .maybe("ipv6_only", listen.ipv6_only.map(|only| if only { "yes" } else { "no" }))
        .maybe("send_buffer", listen.send_buffer)
        .maybe("receive_buffer", listen.receive_buffer)
}

/// `udp:PORT`, which receives at all addresses of IPv4 or at `interface`, or `udp:HOST:PORT`, which has one peer.
pub(super) fn datagram(arguments: &mut Arguments) -> Result<Box<dyn DatagramEndpoint>, ParseError> {
    if arguments.counts(2) || arguments.has("host") {
        let host = arguments.required("host", host)?;
        let port = arguments.required_in("udp:HOST:PORT", "port", Argument::port_of_peer)?;
        let bind = arguments.key("bind", Argument::local_address)?;
        let usual = ConnectUdp::new(host, port);
        let peer = usual.peer();
        if let (Some(bind), Some(peer)) = (bind, peer)
            && bind.is_ipv4() != peer.is_ipv4()
        {
            return Err(arguments.bad("the two addresses are of different families"));
        }
        let local = options_of(arguments, bind.map_or(usual.local.clone(), ListenUdp::new))?;
        return Ok(Box::new(ConnectUdp { local, ..usual }));
    }
    let port = arguments.required_in("udp:PORT or udp:HOST:PORT", "port", Argument::port)?;
    let interface = arguments.key("interface", |interface| interface.socket_address(port))?;
    let address = interface.unwrap_or(SocketAddr::from((Ipv4Addr::UNSPECIFIED, port)));
    Ok(Box::new(options_of(arguments, ListenUdp::new(address))?))
}

fn options_of(arguments: &mut Arguments, usual: ListenUdp) -> Result<ListenUdp, ParseError> {
    Ok(ListenUdp {
        max_size: arguments.key("max_size", Argument::number)?.unwrap_or(usual.max_size),
        reuse_address: arguments.key("reuse_address", Argument::flag)?.unwrap_or(usual.reuse_address),
        reuse_port: arguments.key("reuse_port", Argument::flag)?.unwrap_or(usual.reuse_port),
        broadcast: arguments.key("broadcast", Argument::flag)?.unwrap_or(usual.broadcast),
        ipv6_only: arguments.key("ipv6_only", Argument::flag)?,
        send_buffer: arguments.key("send_buffer", Argument::number)?,
        receive_buffer: arguments.key("receive_buffer", Argument::number)?,
        ..usual
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
