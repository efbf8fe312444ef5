//! Plain sockets without a reactor, for peers whose behaviour no protocol can produce.

use std::cell::RefCell;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;

use crate::net::{Accepted, Address, Buffers, Close, Open, ThreadLimits, Token, Transmit, UnixAddress};
use crate::sim::Host;
use crate::sim::network::Network;
use crate::sim::world::World;
use crate::sim::world::process::Socket as Named;

/// Options of a TCP socket.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SocketOptions {
    /// The local address. Default: any.
    pub bind: Option<SocketAddr>,
    /// The send buffer in bytes, which the kernel doubles, as on Linux. Default: 1 MiB.
    pub send_buffer: Option<usize>,
    /// The receive buffer in bytes, which the kernel doubles, as on Linux. Default: 2 MiB.
    pub receive_buffer: Option<usize>,
}

/// A descriptor of a process without a reactor.
struct Descriptor {
    world: Rc<RefCell<World>>,
    process: u32,
    token: Token,
}

/// One side of a connection, without a reactor. Its calls behave like those of a non-blocking
/// socket. Dropping it closes it.
///
/// ```
/// use std::time::Duration;
/// use twistor::sim::{Simulation, SocketOptions};
/// use twistor::{Protocol, Transport};
///
/// struct Echo;
///
/// impl Protocol for Echo {
///     fn data_received(&mut self, transport: &mut Transport<'_>, data: &[u8]) {
///         transport.write(data);
///     }
/// }
///
/// let mut simulation = Simulation::new(1);
/// let (server, client) = (simulation.host("server"), simulation.host("client"));
/// simulation.reactor(server).listen_tcp("0.0.0.0:7", || Echo)?;
/// let echo = (simulation.address(server), 7).into();
/// let mut socket = simulation.connect(client, echo, SocketOptions::default()).unwrap();
/// simulation.run_for(Duration::from_millis(10))?;
/// socket.send(b"hello").unwrap();
/// simulation.run_for(Duration::from_millis(10))?;
/// let mut buffer = [0; 16];
/// assert_eq!(socket.recv(&mut buffer).unwrap(), 5);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Socket {
    descriptor: Descriptor,
}

/// A listener without a reactor. Dropping it closes it.
pub struct SocketListener {
    descriptor: Descriptor,
}

/// A UDP socket without a reactor. Dropping it closes it.
pub struct DatagramSocket {
    descriptor: Descriptor,
    address: SocketAddr,
}

impl Network {
    /// Starts connecting from a host, and returns at once. Reads and writes fail with `WouldBlock`
    /// until the handshake is complete.
    ///
    /// # Errors
    /// Those of `socket`, `bind` and `connect`.
    pub fn connect(&self, from: Host, to: SocketAddr, options: SocketOptions) -> io::Result<Socket> {
        let buffers = Buffers { send: options.send_buffer, receive: options.receive_buffer };
        let open = Open::TcpConnect { address: to, bind: options.bind, reuse_address: true, buffers };
        Ok(Socket { descriptor: self.open(from, &open)? })
    }

    /// Listens on a host. At most `backlog` + 1 connections wait to be accepted.
    ///
    /// # Errors
    /// Those of `socket`, `bind` and `listen`.
    pub fn listen(&self, host: Host, at: SocketAddr, backlog: u32) -> io::Result<SocketListener> {
        let open = Open::TcpListen {
            address: at,
            reuse_address: true,
            reuse_port: false,
            ipv6_only: None,
            backlog,
            buffers: Buffers::default(),
            nodelay: false,
        };
        Ok(SocketListener { descriptor: self.open(host, &open)? })
    }

    /// Connects to a UNIX socket of the same host.
    ///
    /// # Errors
    /// - `NotFound`: there is no such file.
    /// - `ConnectionRefused`: no socket listens there.
    /// - `WouldBlock`: the backlog is full.
    /// - Other errors of `socket` and `connect`.
    ///
    /// ```
    /// use twistor::sim::Simulation;
    /// # struct Echo;
    /// # impl twistor::Protocol for Echo {
    /// #     fn data_received(&mut self, _: &mut twistor::Transport<'_>, _: &[u8]) {}
    /// # }
    /// let mut simulation = Simulation::new(1);
    /// let host = simulation.host("here");
    /// simulation.reactor(host).listen_unix("/run/echo", || Echo)?;
    /// let mut socket = simulation.connect_unix(host, &"/run/echo".parse().unwrap()).unwrap();
    /// assert_eq!(socket.peer().unwrap().to_string(), "/run/echo");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn connect_unix(&self, host: Host, to: &UnixAddress) -> io::Result<Socket> {
        let open = Open::UnixConnect { address: to.clone(), bind: None, buffers: Buffers::default() };
        Ok(Socket { descriptor: self.open(host, &open)? })
    }

    /// Listens on a UNIX socket. Its file, if it has one, is removed when the listener is dropped.
    /// Accept connections with [`accept_from`](SocketListener::accept_from).
    ///
    /// # Errors
    /// Those of `socket`, `bind` and `listen`.
    pub fn listen_unix(&self, host: Host, at: &UnixAddress, backlog: u32) -> io::Result<SocketListener> {
        let open = Open::UnixListen {
            address: at.clone(),
            mode: None,
            backlog,
            remove_stale: true,
            unlink: true,
            buffers: Buffers::default(),
        };
        Ok(SocketListener { descriptor: self.open(host, &open)? })
    }

    /// Binds a UDP socket. Port 0 selects a free port.
    ///
    /// # Errors
    /// Those of `bind`.
    pub fn bind_datagrams(&self, host: Host, at: SocketAddr) -> io::Result<DatagramSocket> {
        let open = Open::Udp {
            bind: at,
            connect: None,
            reuse_address: false,
            reuse_port: false,
            ipv6_only: None,
            broadcast: false,
            buffers: Buffers::default(),
        };
        let descriptor = self.open(host, &open)?;
        let address = descriptor.call(World::local_address)?.socket_address().unwrap_or(at);
        Ok(DatagramSocket { descriptor, address })
    }

    fn open(&self, host: Host, open: &Open) -> io::Result<Descriptor> {
        let descriptor = self.descriptor(host);
        let mut world = self.world.borrow_mut();
        world.catch_up();
        world.open(descriptor.process, descriptor.token, open).map_err(|failed| failed.error)?;
        drop(world);
        Ok(descriptor)
    }

    /// Reserves a token for a new descriptor of the host's process without a reactor.
    fn descriptor(&self, host: Host) -> Descriptor {
        let mut world = self.world.borrow_mut();
        let process = match world.host(host.0).socket_process {
            Some(process) => process,
            None => {
                let process = world.add_process(host.0, ThreadLimits::NONE);
                world.host_mut(host.0).socket_process = Some(process);
                process
            }
        };
        let token = world.process(process).free_token();
        Descriptor { world: Rc::clone(&self.world), process, token }
    }
}

impl Socket {
    /// Sends as many bytes as there is room for, and returns their number.
    ///
    /// # Errors
    /// - `WouldBlock`: no room, or the handshake is not complete.
    /// - `BrokenPipe`, `ConnectionReset` and others, as on Linux.
    pub fn send(&mut self, data: &[u8]) -> io::Result<usize> {
        self.descriptor.call(|world, process, token| world.send(process, token, data))
    }

    /// Reads available bytes; 0 is the end of the stream.
    ///
    /// # Errors
    /// - `WouldBlock`: no byte is available.
    /// - `ConnectionReset` and others, as on Linux.
    pub fn recv(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.descriptor.call(|world, process, token| world.recv(process, token, buffer))
    }

    /// Sends FIN; the other direction stays open.
    ///
    /// # Errors
    /// `NotConnected`.
    pub fn shutdown_write(&self) -> io::Result<()> {
        self.descriptor.call(|world, process, token| world.shutdown_write(process, token))
    }

    /// Closes with a reset.
    pub fn reset(self) {
        self.descriptor.call(|world, process, token| world.close(process, token, Close::Reset));
    }

    /// Limits the bytes that both kernels hold for this socket, sent by the peer and not read yet.
    /// Bytes held already are kept. With 0, the peer's writes block at once. (SO_RCVBUF, and the
    /// peer's SO_SNDBUF.)
    pub fn set_receive_buffer_size(&self, bytes: usize) {
        self.set_buffer_size(false, bytes);
    }

    /// Sets the same limit for the bytes that this socket sends. (SO_SNDBUF, and the peer's
    /// SO_RCVBUF.)
    pub fn set_send_buffer_size(&self, bytes: usize) {
        self.set_buffer_size(true, bytes);
    }

    fn set_buffer_size(&self, sending: bool, bytes: usize) {
        self.descriptor.call(|world, process, token| {
            if let Ok((index, side)) = world.process(process).stream(token) {
                let end = if sending { world.connections[index as usize].other(side) } else { side };
                world.set_buffer_size(index, end, bytes);
            }
        });
    }

    /// Returns the local address.
    pub fn local_address(&self) -> io::Result<SocketAddr> {
        inet(self.descriptor.call(World::local_address)?)
    }

    /// Returns the peer's address.
    ///
    /// # Errors
    /// `NotConnected` before the handshake is complete and after the connection has ended.
    pub fn peer_address(&self) -> io::Result<SocketAddr> {
        inet(self.descriptor.call(World::peer_address)?)
    }

    /// Returns the peer's address, TCP or UNIX.
    ///
    /// # Errors
    /// Like [`peer_address`](Socket::peer_address).
    pub fn peer(&self) -> io::Result<Address> {
        self.descriptor.call(World::peer_address)
    }

    /// Takes the pending error (SO_ERROR), such as that of a failed connect.
    pub fn take_error(&self) -> io::Result<Option<io::Error>> {
        self.descriptor.call(World::take_error)
    }
}

impl SocketListener {
    /// Accepts a TCP connection.
    ///
    /// # Errors
    /// `WouldBlock` when none is waiting.
    pub fn accept(&self) -> io::Result<(Socket, SocketAddr)> {
        let (socket, peer) = self.accept_from()?;
        Ok((socket, inet(peer)?))
    }

    /// Accepts a TCP or UNIX connection.
    ///
    /// # Errors
    /// `WouldBlock` when none is waiting.
    pub fn accept_from(&self) -> io::Result<(Socket, Address)> {
        let Descriptor { world, process, token: listener } = &self.descriptor;
        self.descriptor
            .call(|found, process, listener| {
                let token = found.process(process).free_token();
                match found.accept(process, listener, token)? {
                    Accepted::Connection(peer) => Ok((token, peer)),
                    Accepted::Dropped(error) => Err(error),
                }
            })
            .map(|(token, peer)| {
                let _ = listener;
                (
                    Socket { descriptor: Descriptor { world: Rc::clone(world), process: *process, token } },
                    peer,
                )
            })
    }

    /// Returns the address that it listens on.
    pub fn local_address(&self) -> io::Result<SocketAddr> {
        inet(self.descriptor.call(World::local_address)?)
    }
}

impl DatagramSocket {
    /// Sends a datagram.
    ///
    /// # Errors
    /// - `EMSGSIZE`: more than 65,507 bytes.
    pub fn send_to(&self, data: &[u8], to: SocketAddr) -> io::Result<usize> {
        self.descriptor.call(|world, process, token| {
            let going = Transmit { length: data.len(), to: Some(Address::Udp(to)), origin: None };
            world.send_datagrams(process, token, data, &[going])
        })?;
        Ok(data.len())
    }

    /// Receives a datagram. Returns the bytes copied, its whole length, and its sender. Bytes
    /// beyond the buffer's size are lost.
    ///
    /// # Errors
    /// `WouldBlock` when none is waiting.
    pub fn recv_from(&self, buffer: &mut [u8]) -> io::Result<(usize, usize, SocketAddr)> {
        self.descriptor
            .call(|world, process, token| world.recv_from(process, token, buffer))
            .and_then(|(length, whole, from)| Ok((length, whole, inet(from)?)))
    }

    /// Returns the address that it is bound to.
    pub fn local_address(&self) -> SocketAddr {
        self.address
    }
}

fn inet(address: Address) -> io::Result<SocketAddr> {
    address.socket_address().ok_or(io::ErrorKind::Unsupported.into())
}

impl Descriptor {
    /// Runs the events that are due, then makes a call.
    fn call<R>(&self, call: impl FnOnce(&mut World, u32, Token) -> R) -> R {
        let mut world = self.world.borrow_mut();
        world.catch_up();
        call(&mut world, self.process, self.token)
    }
}

impl Drop for Descriptor {
    fn drop(&mut self) {
        let mut world = self.world.borrow_mut();
        if world.process(self.process).get(self.token) != Named::Closed {
            world.close(self.process, self.token, Close::Graceful);
        }
    }
}
