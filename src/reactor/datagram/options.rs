//! Opening sockets of datagrams: UDP, with or without a peer, and UNIX.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::OwnedFd;

use crate::net::{Adopt, Buffers, Close, LONGEST_DATAGRAM, Open, Token};
use crate::reactor::datagram::DatagramSlot;
use crate::reactor::datagram::transport::in_family_of;
use crate::reactor::listen::cannot_listen;
use crate::reactor::queues::Callback;
use crate::reactor::registry::Source;
use crate::reactor::{Address, DatagramId, DatagramProtocol, Error, ListenTcp, Reactor, Result, UnixAddress};

/// Where and how to receive datagrams. (Twisted: `listenUDP`, `listenMulticast`.)
///
/// ```
/// let listen = twistor::ListenUdp { broadcast: true, ..twistor::ListenUdp::new(([0, 0, 0, 0], 67)) };
/// assert_eq!("127.0.0.1:53".parse::<twistor::ListenUdp>()?.max_size, 65_507);
/// # Ok::<(), twistor::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListenUdp {
    /// The address to bind; port 0 lets the system choose. With a wildcard (`0.0.0.0`, `::`) datagrams to all addresses of the
    /// host are received, and answers leave from the address that was asked: see
    /// [`DatagramTransport::reply_source`](crate::reactor::DatagramTransport::reply_source).
    pub address: SocketAddr,
    /// The longest datagram that is received whole, in bytes, at most 262,144; of a longer one the protocol is told.
    /// Default: 65,507,
    /// as long as they get. (Twisted: 8192.)
    pub max_size: usize,
    /// Let others bind the same address and port, if they allow it, too: each receives what is sent to a group that it
    /// has joined. Default: no. (Twisted: `listenMultiple`.)
    pub reuse_address: bool,
    /// Let several sockets of this user share the port, datagrams to one host are spread over them. Default: no.
    pub reuse_port: bool,
    /// For an IPv6 address: no IPv4 datagrams. Default: the system's choice.
    pub ipv6_only: Option<bool>,
    /// Datagrams may go to broadcast addresses. Default: no.
    pub broadcast: bool,
    /// The kernel's send buffer in bytes. Default: the system's.
    pub send_buffer: Option<usize>,
    /// The kernel's receive buffer in bytes: what comes while it is full is lost. Default: the system's.
    pub receive_buffer: Option<usize>,
}

impl ListenUdp {
    /// Receives at `address` with the default options.
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

    /// For a multicast group: other programs may receive at the same port.
    pub fn multicast(port: u16) -> ListenUdp {
        ListenUdp { reuse_address: true, ..ListenUdp::new((Ipv4Addr::UNSPECIFIED, port)) }
    }

    /// These options for this peer, and the peer in the family of the socket. An address that says nothing takes the peer's
    /// family.
    pub(in crate::reactor) fn towards(&self, peer: SocketAddr) -> (ListenUdp, SocketAddr) {
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

    /// Reads `IP:PORT`; `localhost` is 127.0.0.1.
    fn from_str(text: &str) -> Result<ListenUdp> {
        Ok(ListenUdp::new(text.parse::<ListenTcp>()?.address))
    }
}

impl TryFrom<&str> for ListenUdp {
    type Error = Error;

    fn try_from(text: &str) -> Result<ListenUdp> {
        text.parse()
    }
}

impl TryFrom<String> for ListenUdp {
    type Error = Error;

    fn try_from(text: String) -> Result<ListenUdp> {
        text.parse()
    }
}

/// Where and how to have UNIX datagrams. (Twisted: `listenUNIXDatagram`, `connectUNIXDatagram`.)
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListenUnixDatagram {
    /// The path or the abstract name of this side; nobody can answer a socket that has none.
    pub address: Option<UnixAddress>,
    /// The only peer there is to be. Default: none, datagrams come from anybody and go anywhere.
    pub peer: Option<UnixAddress>,
    /// The longest datagram that is received whole, in bytes, at most 262,144; of a longer one the protocol is told.
    /// Default: 65,507.
    pub max_size: usize,
    /// The mode of the file. Default: what the process's umask leaves of 0o777.
    pub mode: Option<u32>,
    /// Remove a socket file that stands in the way, if it is nobody's any more. Default: yes.
    pub remove_stale: bool,
    /// Remove the file with the socket, unless another one has taken its place. Default: yes.
    pub unlink: bool,
    /// The kernel's send buffer in bytes. Default: the system's.
    pub send_buffer: Option<usize>,
    /// The kernel's receive buffer in bytes. Default: the system's.
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
    /// Receives datagrams at a UDP port, from anybody, and sends them anywhere. The port is bound at once; nothing is
    /// called before this returns. (Twisted: `listenUDP`.)
    ///
    /// `address` is text (`"127.0.0.1:53"`, `"[::]:53"`), a `SocketAddr` or a [`ListenUdp`].
    ///
    /// # Errors
    /// [`Error::BadAddress`], [`Error::CannotListen`];
    /// [`Error::Stopping`] or [`Error::ReactorFinished`] when the reactor stops or has stopped.
    pub fn listen_udp<A>(&mut self, address: A, protocol: impl DatagramProtocol) -> Result<DatagramId>
    where
        A: TryInto<ListenUdp>,
        A::Error: Into<Error>,
    {
        self.open_udp(&address.try_into().map_err(Into::into)?, None, Box::new(protocol))
    }

    /// Exchanges datagrams with one peer: others are not heard, and its answer that nobody listens there comes as
    /// [`DatagramProtocol::connection_refused`]. (Twisted: `IUDPTransport.connect`.)
    ///
    /// The peer is an IP address: a host name has to be looked up before ([`Reactor::resolve`]). `options` without an
    /// address of their own (`0.0.0.0:0`) take the peer's family.
    ///
    /// # Errors
    /// [`Error::BadAddress`] when the peer's port is 0, or the addresses are of different families;
    /// [`Error::CannotListen`];
    /// [`Error::Stopping`] or [`Error::ReactorFinished`] when the reactor stops or has stopped.
    pub fn connect_udp_with(
        &mut self,
        peer: SocketAddr,
        options: ListenUdp,
        protocol: impl DatagramProtocol,
    ) -> Result<DatagramId> {
        self.open_udp(&options, Some(peer), Box::new(protocol))
    }

    /// The same for a protocol whose type is not known, with or without a peer.
    pub(crate) fn open_udp(
        &mut self,
        options: &ListenUdp,
        peer: Option<SocketAddr>,
        protocol: Box<dyn DatagramProtocol>,
    ) -> Result<DatagramId> {
        let Some(peer) = peer else {
            return self.open_datagram(&options.open(None), protocol, options.max_size);
        };
        let (options, peer) = options.towards(peer);
        let bad = |why| Error::BadAddress(crate::reactor::BadAddress { text: peer.to_string(), why });
        if peer.port() == 0 {
            return Err(bad("port 0 cannot be connected to"));
        }
        if options.address.is_ipv4() && peer.is_ipv6() {
            return Err(bad("the socket is one of IPv4, the address is not"));
        }
        self.open_datagram(&options.open(Some(peer)), protocol, options.max_size)
    }

    /// As [`connect_udp_with`](Reactor::connect_udp_with), from a port that the system chooses.
    ///
    /// # Errors
    /// As there.
    pub fn connect_udp(
        &mut self,
        peer: impl Into<SocketAddr>,
        protocol: impl DatagramProtocol,
    ) -> Result<DatagramId> {
        let peer = peer.into();
        let bind = match peer {
            SocketAddr::V4(_) => SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)),
            SocketAddr::V6(_) => SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0)),
        };
        self.connect_udp_with(peer, ListenUdp::new(bind), protocol)
    }

    /// Has UNIX datagrams: kept in order, none lost. While the queue of a receiver is full, what goes to it waits here, and
    /// what goes to others does not; a receiver that is full can have about half of what may wait on the socket
    /// ([`Settings::write_buffer_limit`](crate::reactor::Settings::write_buffer_limit)), two of them a third each, until
    /// [`Error::QueueFull`]. What its receivers have not read counts for the socket's
    /// [`send_buffer`](ListenUnixDatagram::send_buffer) with the system, so that a few long datagrams to one that does not read
    /// can use that up for all. (Twisted: `listenUNIXDatagram`, `connectUNIXDatagram`.)
    ///
    /// # Errors
    /// [`Error::CannotListen`];
    /// [`Error::Stopping`] or [`Error::ReactorFinished`] when the reactor stops or has stopped.
    pub fn listen_unix_datagram(
        &mut self,
        options: ListenUnixDatagram,
        protocol: impl DatagramProtocol,
    ) -> Result<DatagramId> {
        self.open_unix(&options, Box::new(protocol))
    }

    /// The same for a protocol whose type is not known.
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

    /// Goes on with a socket of datagrams that somebody else opened. (Twisted: `adoptDatagramPort`.)
    ///
    /// # Errors
    /// [`Error::System`] when it is no socket of datagrams, and the descriptor is closed;
    /// [`Error::Stopping`] or [`Error::ReactorFinished`] when
    /// the reactor stops or has stopped.
    pub fn adopt_datagram(
        &mut self,
        descriptor: OwnedFd,
        protocol: impl DatagramProtocol,
    ) -> Result<DatagramId> {
        self.check_begins()?;
        let token = self.registry.next_token();
        let adopted = self.net.adopt(token, descriptor, Adopt::Datagram);
        adopted.map_err(|failed| Error::System { call: failed.step.name(), source: failed.error })?;
        self.begin_datagram(token, Box::new(protocol), LONGEST_DATAGRAM, None, "an adopted descriptor")
    }

    fn open_datagram(
        &mut self,
        open: &Open,
        protocol: Box<dyn DatagramProtocol>,
        max_size: usize,
    ) -> Result<DatagramId> {
        self.check_begins()?;
        let asked = match open {
            Open::Udp { connect: Some(peer), .. } => peer.to_string(),
            Open::Udp { bind, .. } => bind.to_string(),
            Open::UnixDatagram { bind: Some(name), .. } | Open::UnixDatagram { connect: Some(name), .. } => {
                name.to_string()
            }
            _ => UnixAddress::UNNAMED.to_string(),
        };
        let token = self.registry.next_token();
        self.net.open(token, open).map_err(|failed| cannot_listen(&asked, failed))?;
        let peer = match open {
            Open::Udp { connect, .. } => connect.map(Address::Udp),
            Open::UnixDatagram { connect, .. } => connect.clone().map(Address::Unix),
            _ => None,
        };
        self.begin_datagram(token, protocol, max_size, peer, &asked)
    }

    fn begin_datagram(
        &mut self,
        token: Token,
        protocol: Box<dyn DatagramProtocol>,
        max_size: usize,
        peer: Option<Address>,
        asked: &str,
    ) -> Result<DatagramId> {
        let (host, peer, hears) = self.name_datagram(token, peer).map_err(|source| Error::CannotListen {
            address: asked.to_owned(),
            call: "getsockname",
            source,
        })?;
        log::debug!(address = host.to_string().as_str(); "datagrams at {host}");
        let slot = DatagramSlot::new(protocol, host, peer, hears, max_size.min(MOST_SIZE));
        let inserted = self.registry.insert(Source::Datagram(Box::new(slot)));
        debug_assert_eq!(inserted, token);
        self.queues.callbacks.push(Callback::StartDatagram(token));
        Ok(DatagramId(token))
    }

    /// The address of a socket that was opened; its peer, as it is shown, and as the system names it. It is closed if it
    /// has none.
    pub(in crate::reactor) fn name_datagram(
        &mut self,
        token: Token,
        asked: Option<Address>,
    ) -> io::Result<Named> {
        let host = self.net.local_address(token).inspect_err(|_| self.net.close(token, Close::Graceful))?;
        // An adopted one may have a peer that nobody told us of. The name of a UNIX socket can be written in several ways.
        let hears = self.net.peer_address(token).ok().or_else(|| asked.clone());
        let peer = match asked {
            Some(Address::Unix(_)) => asked,
            _ => hears.clone(),
        };
        Ok((host, peer, hears))
    }
}

/// What a `max_size` can be at the most: no datagram of UNIX sockets gets as long, by the system's default sizes.
pub(in crate::reactor) const MOST_SIZE: usize = 256 * 1024;

/// The address of a socket, its peer as it is shown, and as the system names it.
pub(in crate::reactor) type Named = (Address, Option<Address>, Option<Address>);
