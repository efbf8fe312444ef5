//! UDP sockets with a single peer.

use std::net::{Ipv4Addr, SocketAddr};
use std::str::FromStr;

use crate::net::zone::host_text;
use crate::reactor::connect::tcp::literal_address;
use crate::reactor::conversions::{from_host_and_port, from_ip_and_port, try_from, try_from_address};
use crate::reactor::{ConnectTcp, DatagramId, DatagramProtocol, Error, ListenUdp, Reactor, Result};

/// The peer and the options of a connected UDP socket. (Twisted: `IUDPTransport.connect`.)
///
/// A host name is resolved when the socket is opened. The socket has its [`DatagramId`] at once,
/// and datagrams written before the resolution are queued. The protocol starts once the address is
/// known. The first address of the host to which a socket can be connected is used, because UDP has
/// no reply that would confirm one. If there is none,
/// [`stop_protocol`](DatagramProtocol::stop_protocol) reports the reason.
///
/// ```
/// use twistor::{ConnectUdp, ListenUdp};
///
/// let connect: ConnectUdp = "ns.example.org:53".parse()?;
/// assert_eq!(connect, ConnectUdp::new("ns.example.org", 53));
/// let local = ListenUdp::new(([192, 0, 2, 1], 0));
/// let connect = ConnectUdp { local, ..connect };
/// # drop(connect);
/// # Ok::<(), twistor::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConnectUdp {
    /// Host name or IP address of the peer. A zone is the number of an interface (`fe80::1%2`) or
    /// its name (`fe80::1%eth0`).
    pub host: String,
    /// Port of the peer.
    pub port: u16,
    /// Local address and options. With the address `0.0.0.0:0`, the socket has the peer's address
    /// family. Default: that address.
    pub local: ListenUdp,
}

impl ConnectUdp {
    /// Connects to `host` from a local port that the kernel chooses.
    pub fn new(host: impl Into<String>, port: u16) -> ConnectUdp {
        ConnectUdp { host: host.into(), port, local: ListenUdp::new((Ipv4Addr::UNSPECIFIED, 0)) }
    }

    /// Returns the peer if its host is an IP address. A zone must be an interface of this machine.
    pub(crate) fn peer(&self) -> Option<SocketAddr> {
        literal_address(&self.host, self.port)?.ok()
    }
}

impl From<SocketAddr> for ConnectUdp {
    fn from(peer: SocketAddr) -> ConnectUdp {
        ConnectUdp::new(host_text(peer), peer.port())
    }
}

try_from!(ConnectUdp from &str, String, &String: text => text.parse());
from_host_and_port!(ConnectUdp from (&str, u16), (String, u16), (&String, u16));
from_ip_and_port!(ConnectUdp);
try_from_address!(ConnectUdp);

impl FromStr for ConnectUdp {
    type Err = Error;

    /// Parses `HOST:PORT`, as [`ConnectTcp`] does.
    fn from_str(text: &str) -> Result<ConnectUdp> {
        let ConnectTcp { host, port, .. } = text.parse()?;
        Ok(ConnectUdp::new(host, port))
    }
}

impl Reactor {
    /// Opens a UDP socket connected to one peer. Datagrams from other addresses are dropped. If the
    /// peer's port is closed, its ICMP answer is delivered to
    /// [`DatagramProtocol::connection_refused`]. (Twisted: `IUDPTransport.connect`.)
    ///
    /// `peer` is text (`"127.0.0.1:53"`, `"ns.example.org:53"`), a `SocketAddr`, a host and
    /// a port (`("ns.example.org", 53)`) or a [`ConnectUdp`].
    ///
    /// # Errors
    /// - [`Error::BadAddress`]: not an address, a peer's port of 0, or addresses of different
    ///   families
    /// - [`Error::CannotListen`]
    /// - [`Error::Stopping`], [`Error::ReactorFinished`]: the reactor is stopping or has stopped
    #[doc(alias("create_datagram_endpoint", "UdpSocket"))]
    pub fn connect_udp<A>(&mut self, peer: A, protocol: impl DatagramProtocol) -> Result<DatagramId>
    where
        A: TryInto<ConnectUdp>,
        A::Error: Into<Error>,
    {
        self.open_connected_udp(&peer.try_into().map_err(Into::into)?, Box::new(protocol))
    }

    /// Opens a connected UDP socket for a boxed protocol.
    pub(crate) fn open_connected_udp(
        &mut self,
        connect: &ConnectUdp,
        protocol: Box<dyn DatagramProtocol>,
    ) -> Result<DatagramId> {
        match connect.peer() {
            Some(peer) => self.open_udp(&connect.local, Some(peer), protocol),
            None => self.open_udp_to(&connect.host, connect.port, &connect.local, protocol),
        }
    }
}
