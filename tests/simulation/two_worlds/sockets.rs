//! Non-blocking sockets of either world without a reactor.

use std::io::{self, Read, Write};
use std::mem::MaybeUninit;
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::{UnixListener, UnixStream};
use std::time::Duration;

use socket2::{Domain, SockAddr, SockRef, Type};
use twistor::sim::{Host, Network, SocketOptions};
use twistor::{Address, UnixAddress};

/// A network for a scenario.
#[derive(Clone)]
pub enum Net {
    /// The loopback of this machine.
    Real,
    /// The loopback of a simulated host.
    Sim(Network, Host),
}

pub enum Socket {
    Real(TcpStream),
    RealUnix(UnixStream),
    Sim(twistor::sim::Socket),
}

pub enum Listener {
    Real(TcpListener),
    RealUnix(UnixListener),
    Sim(twistor::sim::SocketListener),
}

impl Net {
    /// Starts connecting.
    pub fn connect(&self, to: &Address) -> io::Result<Socket> {
        match to {
            Address::Unix(to) => self.connect_unix(to),
            to => self.connect_tcp(to.socket_address().expect("TCP")),
        }
    }

    fn connect_unix(&self, to: &UnixAddress) -> io::Result<Socket> {
        match self {
            Net::Real => {
                let socket = socket2::Socket::new(Domain::UNIX, Type::STREAM.nonblocking(), None)?;
                socket.connect(&SockAddr::unix(to.path().expect("a path"))?)?;
                Ok(Socket::RealUnix(socket.into()))
            }
            Net::Sim(network, host) => network.connect_unix(*host, to).map(Socket::Sim),
        }
    }

    fn connect_tcp(&self, to: SocketAddr) -> io::Result<Socket> {
        match self {
            Net::Real => {
                let socket = socket2::Socket::new(Domain::for_address(to), Type::STREAM.nonblocking(), None)?;
                socket.set_tcp_nodelay(true)?;
                match socket.connect(&to.into()) {
                    Err(error) if error.raw_os_error() != Some(IN_PROGRESS) => Err(error),
                    _ => Ok(Socket::Real(socket.into())),
                }
            }
            Net::Sim(network, host) => network.connect(*host, to, SocketOptions::default()).map(Socket::Sim),
        }
    }

    pub fn listen(&self, at: &Address, backlog: u32) -> io::Result<Listener> {
        match (at, self) {
            (Address::Unix(at), Net::Real) => {
                let listener = UnixListener::bind(at.path().expect("a path"))?;
                listener.set_nonblocking(true)?;
                Ok(Listener::RealUnix(listener))
            }
            (Address::Unix(at), Net::Sim(network, host)) => {
                network.listen_unix(*host, at, backlog).map(Listener::Sim)
            }
            (at, _) => self.listen_tcp(at.socket_address().expect("TCP"), backlog),
        }
    }

    fn listen_tcp(&self, at: SocketAddr, backlog: u32) -> io::Result<Listener> {
        match self {
            Net::Real => {
                let socket = socket2::Socket::new(Domain::for_address(at), Type::STREAM.nonblocking(), None)?;
                socket.bind(&at.into())?;
                socket.listen(backlog as i32)?;
                Ok(Listener::Real(socket.into()))
            }
            Net::Sim(network, host) => network.listen(*host, at, backlog).map(Listener::Sim),
        }
    }

    /// Returns a port without a listener that no other test gets.
    pub fn closed_port(&self, at: SocketAddr) -> io::Result<(SocketAddr, Option<socket2::Socket>)> {
        match self {
            Net::Real => {
                let socket = socket2::Socket::new(Domain::for_address(at), Type::STREAM, None)?;
                socket.bind(&at.into())?;
                let address = socket.local_addr()?.as_socket().expect("it was bound to one of TCP");
                Ok((address, Some(socket)))
            }
            Net::Sim(..) => Ok((SocketAddr::new(at.ip(), 9), None)),
        }
    }
}

impl Socket {
    pub fn send(&mut self, data: &[u8]) -> io::Result<usize> {
        match self {
            Socket::Real(socket) => socket.write(data),
            Socket::RealUnix(socket) => socket.write(data),
            Socket::Sim(socket) => socket.send(data),
        }
    }

    pub fn recv(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Socket::Real(socket) => socket.read(buffer),
            Socket::RealUnix(socket) => socket.read(buffer),
            Socket::Sim(socket) => socket.recv(buffer),
        }
    }

    /// Waits briefly until this number of bytes can be read.
    pub fn await_bytes(&self, count: usize) -> io::Result<()> {
        let Socket::Real(socket) = self else { return Ok(()) };
        let socket = SockRef::from(socket);
        socket.set_nonblocking(false)?;
        socket.set_read_timeout(Some(MOMENT))?;
        let looked = socket.recv_with_flags(&mut vec![MaybeUninit::uninit(); count], PEEK | WAIT_FOR_ALL);
        socket.set_nonblocking(true)?;
        looked.map(|_| ())
    }

    pub fn finish(&mut self) -> io::Result<()> {
        match self {
            Socket::Real(socket) => socket.shutdown(Shutdown::Write),
            Socket::RealUnix(socket) => socket.shutdown(Shutdown::Write),
            Socket::Sim(socket) => socket.shutdown_write(),
        }
    }

    pub fn reset(self) {
        match self {
            Socket::Real(socket) => {
                let _ = SockRef::from(&socket).set_linger(Some(Duration::ZERO));
            }
            Socket::RealUnix(socket) => drop(socket),
            Socket::Sim(socket) => socket.reset(),
        }
    }

    pub fn is_connected(&self) -> bool {
        match self {
            Socket::Real(socket) => socket.peer_addr().is_ok(),
            Socket::RealUnix(socket) => socket.peer_addr().is_ok(),
            Socket::Sim(socket) => socket.peer().is_ok(),
        }
    }

    /// Returns whether it has a peer, and its pending error.
    pub fn state(&self) -> String {
        let (peer, error) = match self {
            Socket::Real(socket) => (socket.peer_addr().map(|_| ()), socket.take_error()),
            Socket::RealUnix(socket) => (socket.peer_addr().map(|_| ()), socket.take_error()),
            Socket::Sim(socket) => (socket.peer().map(|_| ()), socket.take_error()),
        };
        format!("{:?}, {:?}", peer.map_err(|error| error.kind()), error.map(|error| error.map(|e| e.kind())))
    }
}

/// The file is removed with its listener, as in the simulation.
impl Drop for Listener {
    fn drop(&mut self) {
        if let Listener::RealUnix(listener) = self
            && let Ok(address) = listener.local_addr()
            && let Some(path) = address.as_pathname()
        {
            let _ = std::fs::remove_file(path);
        }
    }
}

impl Listener {
    pub fn accept(&self) -> io::Result<Socket> {
        match self {
            Listener::Real(listener) => {
                let (socket, _) = listener.accept()?;
                socket.set_nonblocking(true)?;
                socket.set_nodelay(true)?;
                Ok(Socket::Real(socket))
            }
            Listener::RealUnix(listener) => {
                let (socket, _) = listener.accept()?;
                socket.set_nonblocking(true)?;
                Ok(Socket::RealUnix(socket))
            }
            Listener::Sim(listener) => listener.accept_from().map(|(socket, _)| Socket::Sim(socket)),
        }
    }

    /// Returns the address; `None` for a UNIX socket, which has the requested one.
    pub fn address(&self) -> Option<SocketAddr> {
        match self {
            Listener::Real(listener) => listener.local_addr().ok(),
            Listener::RealUnix(_) => None,
            Listener::Sim(listener) => listener.local_address().ok(),
        }
    }
}

/// Several times the delay of a packet that a kernel holds back.
const MOMENT: Duration = Duration::from_millis(200);

/// MSG_PEEK and MSG_WAITALL of Linux.
const PEEK: i32 = 0x2;
const WAIT_FOR_ALL: i32 = 0x100;

/// EINPROGRESS of Linux.
const IN_PROGRESS: i32 = 115;
