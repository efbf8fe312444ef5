//! Opening datagram sockets: UDP, connected or not, and UNIX.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::OwnedFd;

use crate::net::{Adopt, Buffers, Close, LONGEST_DATAGRAM, Open, Token};
use crate::reactor::connect::tcp::listen_address;
use crate::reactor::conversions::{from_ip_and_port, try_from, try_from_address};
use crate::reactor::datagram::DatagramSlot;
use crate::reactor::datagram::transport::in_family_of;
use crate::reactor::listen::cannot_listen;
use crate::reactor::registry::Source;
use crate::reactor::turn::queues::Callback;
use crate::reactor::{Address, DatagramId, DatagramProtocol, Error, ListenTcp, Reactor, Result, UnixAddress};

/// The address and options of a UDP socket. (Twisted: `listenUDP`, `listenMulticast`.)
///
/// ```
/// use twistor::ListenUdp;
///
/// let listen = ListenUdp { broadcast: true, ..ListenUdp::new(([0, 0, 0, 0], 67)) };
/// assert_eq!("127.0.0.1:53".parse::<ListenUdp>()?.max_size, 65_507);
/// # Ok::<(), twistor::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListenUdp {
    /// The address to bind. With port 0, the kernel chooses the port. With a wildcard (`0.0.0.0`,
    /// `::`), the socket receives datagrams to all addresses of the host, and answers have the
    /// destination of the question as their source: see
    /// [`DatagramTransport::reply_source`](crate::reactor::DatagramTransport::reply_source).
    pub address: SocketAddr,
    /// Max size of a received datagram in bytes, at most 262,144. Longer datagrams are truncated,
    /// and `datagram_truncated` is called. (Twisted: 8192.) Default: 65,507, the max of UDP.
    pub max_size: usize,
    /// Allows other sockets with this option to bind the same address and port. Each receives the
    /// datagrams to a multicast group that it has joined. (Twisted: `listenMultiple`.) Default: no.
    pub reuse_address: bool,
    /// Allows several sockets of this user to share the port. Unicast datagrams are spread over
    /// them. Default: no.
    pub reuse_port: bool,
    /// For an IPv6 address: receives no IPv4 datagrams. Default: the system's.
    pub ipv6_only: Option<bool>,
    /// Allows sending to broadcast addresses. Default: no.
    pub broadcast: bool,
    /// Size of the kernel's send buffer in bytes. Default: the system's.
    pub send_buffer: Option<usize>,
    /// Size of the kernel's receive buffer in bytes. Datagrams that arrive while it is full are
    /// lost. Default: the system's.
    pub receive_buffer: Option<usize>,
}

impl ListenUdp {
    /// Creates default options for this address.
    pub fn new(address: impl Into<SocketAddr>) -> ListenUdp {
        ListenUdp {
            address: address.into(),
            max_size: LONGEST_DATAGRAM,
            reuse_address: false,
            reuse_port: false,
            ipv6_only: None,
            broadcast: false,
            send_buffer: None,
            receive_buffer: None,
        }
    }

    /// Creates options for a multicast group: other programs may receive on the same port.
    pub fn multicast(port: u16) -> ListenUdp {
        ListenUdp { reuse_address: true, ..ListenUdp::new((Ipv4Addr::UNSPECIFIED, port)) }
    }

    /// Returns the options for a socket connected to `peer`, and `peer` in the socket's address
    /// family. With the default address, the socket has the peer's family.
    pub(in crate::reactor) fn with_peer(&self, peer: SocketAddr) -> (ListenUdp, SocketAddr) {
        let mut options = self.clone();
        if peer.is_ipv6() && self.address == SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)) {
            options.address = SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0));
        }
        let peer = in_family_of(options.address, peer);
        (options, peer)
    }

    pub(in crate::reactor) fn open(&self, connect: Option<SocketAddr>) -> Open {
        Open::Udp {
            bind: self.address,
            connect,
            reuse_address: self.reuse_address,
            reuse_port: self.reuse_port,
            ipv6_only: self.ipv6_only,
            broadcast: self.broadcast,
            buffers: Buffers { send: self.send_buffer, receive: self.receive_buffer },
        }
    }
}

impl From<SocketAddr> for ListenUdp {
    fn from(address: SocketAddr) -> ListenUdp {
        ListenUdp::new(address)
    }
}

impl std::str::FromStr for ListenUdp {
    type Err = Error;

    /// Parses `IP:PORT`. `localhost` is 127.0.0.1.
    fn from_str(text: &str) -> Result<ListenUdp> {
        Ok(ListenUdp::new(text.parse::<ListenTcp>()?.address))
    }
}

try_from!(ListenUdp from &str, String, &String: text => text.parse());
try_from!(ListenUdp from (&str, u16), (String, u16), (&String, u16): address => {
    listen_address(address.0, address.1).map(ListenUdp::new)
});
from_ip_and_port!(ListenUdp);
try_from_address!(ListenUdp);

/// The addresses and options of a UNIX datagram socket. (Twisted: `listenUNIXDatagram`,
/// `connectUNIXDatagram`.)
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListenUnixDatagram {
    /// The local path or abstract name. Without one, peers cannot answer. Default: none.
    pub address: Option<UnixAddress>,
    /// The peer to connect to. Without one, the socket exchanges datagrams with any socket.
    /// Default: none.
    pub peer: Option<UnixAddress>,
    /// Max size of a received datagram in bytes, at most 262,144. Longer datagrams are truncated,
    /// and `datagram_truncated` is called. Default: 65,507.
    pub max_size: usize,
    /// Mode of the socket file. Default: 0o777 less the umask.
    pub mode: Option<u32>,
    /// Removes an existing socket file if no process uses it any more. Default: yes.
    pub remove_stale: bool,
    /// Removes the file when the socket is closed, unless another file has replaced it. Default:
    /// yes.
    pub unlink: bool,
    /// Size of the kernel's send buffer in bytes. Default: the system's.
    pub send_buffer: Option<usize>,
    /// Size of the kernel's receive buffer in bytes. Default: the system's.
    pub receive_buffer: Option<usize>,
}

impl Default for ListenUnixDatagram {
    fn default() -> ListenUnixDatagram {
        ListenUnixDatagram {
            address: None,
            peer: None,
            max_size: LONGEST_DATAGRAM,
            mode: None,
            remove_stale: true,
            unlink: true,
            send_buffer: None,
            receive_buffer: None,
        }
    }
}

impl Reactor {
    /// Opens a UDP socket that exchanges datagrams with any peer. The port is bound before this
    /// returns, and callbacks come later from the loop. (Twisted: `listenUDP`.)
    ///
    /// `address` is text (`"127.0.0.1:53"`, `"[::]:53"`), a `SocketAddr`, an IP address and a port
    /// (`("127.0.0.1", 53)`, `(Ipv4Addr::LOCALHOST, 53)`) or a [`ListenUdp`].
    ///
    /// # Errors
    /// - [`Error::BadAddress`]
    /// - [`Error::CannotListen`]
    /// - [`Error::Stopping`], [`Error::ReactorFinished`]: the reactor is stopping or has stopped
    #[doc(alias("listenUDP", "listenMulticast", "create_datagram_endpoint", "UdpSocket"))]
    pub fn listen_udp<A>(&mut self, address: A, protocol: impl DatagramProtocol) -> Result<DatagramId>
    where
        A: TryInto<ListenUdp>,
        A::Error: Into<Error>,
    {
        self.open_udp(&address.try_into().map_err(Into::into)?, None, Box::new(protocol))
    }

    /// Opens a UDP socket for a boxed protocol, connected if there is a peer.
    pub(crate) fn open_udp(
        &mut self,
        options: &ListenUdp,
        peer: Option<SocketAddr>,
        protocol: Box<dyn DatagramProtocol>,
    ) -> Result<DatagramId> {
        let Some(peer) = peer else {
            return self.open_datagram(&options.open(None), protocol, options.max_size);
        };
        let (options, peer) = options.with_peer(peer);
        let bad = |why| Error::BadAddress(crate::reactor::BadAddress { text: peer.to_string(), why });
        if peer.port() == 0 {
            return Err(bad("port 0 cannot be connected to"));
        }
        if options.address.is_ipv4() && peer.is_ipv6() {
            return Err(bad("an IPv4 socket cannot send to an IPv6 address"));
        }
        self.open_datagram(&options.open(Some(peer)), protocol, options.max_size)
    }

    /// Opens a UNIX datagram socket. Datagrams are kept in order and not lost. (Twisted:
    /// `listenUNIXDatagram`, `connectUNIXDatagram`.)
    ///
    /// While a receiver's queue is full, datagrams to it wait here, and those to other receivers
    /// are sent. Above the limit, writes fail with [`Error::QueueFull`]. One full receiver can use
    /// about half of the socket's limit
    /// ([`Settings::write_buffer_limit`](crate::reactor::Settings::write_buffer_limit)), and two a
    /// third each.
    ///
    /// The kernel counts unread datagrams of all receivers against the socket's
    /// [`send_buffer`](ListenUnixDatagram::send_buffer). A few long datagrams to a receiver that
    /// does not read can therefore block all of them.
    ///
    /// # Errors
    /// - [`Error::CannotListen`]
    /// - [`Error::Stopping`], [`Error::ReactorFinished`]: the reactor is stopping or has stopped
    #[doc(alias("listenUNIXDatagram", "connectUNIXDatagram", "UnixDatagram"))]
    pub fn listen_unix_datagram(
        &mut self,
        options: ListenUnixDatagram,
        protocol: impl DatagramProtocol,
    ) -> Result<DatagramId> {
        self.open_unix(&options, Box::new(protocol))
    }

    /// Opens a UNIX datagram socket for a boxed protocol.
    pub(crate) fn open_unix(
        &mut self,
        options: &ListenUnixDatagram,
        protocol: Box<dyn DatagramProtocol>,
    ) -> Result<DatagramId> {
        let open = Open::UnixDatagram {
            bind: options.address.clone(),
            connect: options.peer.clone(),
            mode: options.mode,
            remove_stale: options.remove_stale,
            unlink: options.unlink,
            buffers: Buffers { send: options.send_buffer, receive: options.receive_buffer },
        };
        self.open_datagram(&open, protocol, options.max_size)
    }

    /// Takes over an open datagram socket. (Twisted: `adoptDatagramPort`.)
    ///
    /// # Errors
    /// The descriptor is closed on every error.
    /// - [`Error::System`]: not a datagram socket
    /// - [`Error::Stopping`], [`Error::ReactorFinished`]: the reactor is stopping or has stopped
    #[doc(alias("adoptDatagramPort", "from_std"))]
    pub fn adopt_datagram(
        &mut self,
        descriptor: OwnedFd,
        protocol: impl DatagramProtocol,
    ) -> Result<DatagramId> {
        self.check_not_stopping()?;
        let token = self.registry.next_token();
        let adopted = self.net.adopt(token, descriptor, Adopt::Datagram);
        adopted.map_err(|failed| Error::System { call: failed.step.name(), source: failed.error })?;
        self.register_datagram(token, Box::new(protocol), LONGEST_DATAGRAM, None, || {
            "an adopted descriptor".to_owned()
        })
    }

    fn open_datagram(
        &mut self,
        open: &Open,
        protocol: Box<dyn DatagramProtocol>,
        max_size: usize,
    ) -> Result<DatagramId> {
        self.check_not_stopping()?;
        let asked = || match open {
            Open::Udp { connect: Some(peer), .. } => peer.to_string(),
            Open::Udp { bind, .. } => bind.to_string(),
            Open::UnixDatagram { bind: Some(name), .. } | Open::UnixDatagram { connect: Some(name), .. } => {
                name.to_string()
            }
            _ => UnixAddress::UNNAMED.to_string(),
        };
        let token = self.registry.next_token();
        self.net.open(token, open).map_err(|failed| cannot_listen(&asked(), failed))?;
        let peer = match open {
            Open::Udp { connect, .. } => connect.map(Address::Udp),
            Open::UnixDatagram { connect, .. } => connect.clone().map(Address::Unix),
            _ => None,
        };
        self.register_datagram(token, protocol, max_size, peer, asked)
    }

    fn register_datagram(
        &mut self,
        token: Token,
        protocol: Box<dyn DatagramProtocol>,
        max_size: usize,
        peer: Option<Address>,
        asked: impl FnOnce() -> String,
    ) -> Result<DatagramId> {
        let (host, peer, connected_peer) = self
            .datagram_addresses(token, peer)
            .map_err(|source| Error::CannotListen { address: asked(), call: "getsockname", source })?;
        log::debug!(address = host.to_string().as_str(); "datagrams at {host}");
        let slot = DatagramSlot::new(protocol, host, peer, connected_peer, max_size.min(MAX_SIZE_LIMIT));
        let inserted = self.registry.insert(Source::Datagram(Box::new(slot)));
        debug_assert_eq!(inserted, token);
        self.queues.callbacks.push(Callback::StartDatagram(token));
        Ok(DatagramId(token))
    }

    /// Returns the socket's address, its peer as displayed, and its peer as the kernel reports it.
    /// Closes the socket on failure.
    pub(in crate::reactor) fn datagram_addresses(
        &mut self,
        token: Token,
        asked: Option<Address>,
    ) -> io::Result<DatagramAddresses> {
        let host = self.net.local_address(token).inspect_err(|_| self.net.close(token, Close::Graceful))?;
        // An adopted socket may be connected to a peer unknown here. A UNIX socket's path can be
        // written in several ways, so the one from the options is displayed.
        let connected_peer = self.net.peer_address(token).ok().or_else(|| asked.clone());
        let peer = match asked {
            Some(Address::Unix(_)) => asked,
            _ => connected_peer.clone(),
        };
        Ok((host, peer, connected_peer))
    }
}

/// Max of `max_size`. With the system's default buffer sizes, UNIX datagrams are shorter.
pub(in crate::reactor) const MAX_SIZE_LIMIT: usize = 256 * 1024;

/// A socket's address, its peer as displayed, and its peer as the kernel reports it.
pub(in crate::reactor) type DatagramAddresses = (Address, Option<Address>, Option<Address>);
