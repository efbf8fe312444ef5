//! All that differs from one back end to the other: whoever adds one adds it here.

use std::fs;
use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use rustix::process::Signal as Raw;
use socket2::{Domain, SockRef, Type};
use twistor::sim::{Host, Link, Network, SocketOptions};
use twistor::{Reactor, Settings, Signal};

use super::child;

/// Where promises are tried; clones are the same place.
#[derive(Clone, Debug)]
pub enum BackEnd {
    /// The system's network, threads, signals and time.
    Os,
    /// A host of a simulated network, whose loopback takes no time, as the system's.
    Simulated(Network, Host),
}

impl BackEnd {
    /// One of each.
    pub fn all() -> Vec<BackEnd> {
        // The simulated one tells of readiness as Linux does, and as little as it may.
        vec![BackEnd::Os, BackEnd::simulated(false), BackEnd::simulated(true)]
    }

    fn simulated(minimal_edges: bool) -> BackEnd {
        let network = Network::new(1);
        network.set_fifo_order();
        network.set_minimal_readiness(minimal_edges);
        network.set_loopback(Link::instant());
        let host = network.host("here");
        BackEnd::Simulated(network, host)
    }

    pub fn reactor(&self, settings: Settings) -> Reactor {
        match self {
            BackEnd::Os => Reactor::with_settings(settings).unwrap(),
            BackEnd::Simulated(network, host) => network.reactor(*host, settings),
        }
    }

    /// A plain socket, which does not block any more, once it is connected; `TimedOut` when there is no answer within
    /// the patience.
    pub fn connect(
        &self,
        to: SocketAddr,
        receive_buffer: Option<usize>,
        patience: Duration,
    ) -> io::Result<Socket> {
        match self {
            BackEnd::Os => {
                let socket = socket2::Socket::new(Domain::for_address(to), Type::STREAM, None)?;
                if let Some(size) = receive_buffer {
                    socket.set_recv_buffer_size(size)?;
                }
                // On the loopback this is done by the kernel alone.
                socket.connect_timeout(&to.into(), patience)?;
                socket.set_nonblocking(true)?;
                socket.set_tcp_nodelay(true)?;
                Ok(Socket::Os(socket.into()))
            }
            BackEnd::Simulated(network, host) => {
                let options = SocketOptions { receive_buffer, ..SocketOptions::default() };
                let socket = network.connect(*host, to, options)?;
                // Without latency it is done by now, if it ever is.
                match (socket.peer_address(), socket.take_error()?) {
                    (Ok(_), _) => Ok(Socket::Simulated(socket)),
                    (_, Some(error)) => Err(error),
                    _ => Err(io::ErrorKind::TimedOut.into()),
                }
            }
        }
    }

    /// A plain listener that nobody accepts from.
    pub fn listen(&self, at: SocketAddr, backlog: i32) -> io::Result<ListeningSocket> {
        match self {
            BackEnd::Os => {
                let socket = socket2::Socket::new(Domain::for_address(at), Type::STREAM, None)?;
                socket.bind(&at.into())?;
                socket.listen(backlog)?;
                Ok(ListeningSocket::Os(socket.into()))
            }
            BackEnd::Simulated(network, host) => {
                Ok(ListeningSocket::Simulated(network.listen(*host, at, backlog.unsigned_abs())?))
            }
        }
    }

    /// How many descriptors are open.
    pub fn descriptors(&self) -> usize {
        match self {
            BackEnd::Os => fs::read_dir("/proc/self/fd").unwrap().count(),
            BackEnd::Simulated(network, host) => network.sockets(*host),
        }
    }

    /// How many threads reactors have for jobs and look-ups.
    pub fn threads(&self) -> usize {
        match self {
            BackEnd::Os => {
                let tasks = fs::read_dir("/proc/self/task").unwrap();
                let names = tasks.filter_map(|task| fs::read_to_string(task.ok()?.path().join("comm")).ok());
                names.filter(|name| name.starts_with("twistor-")).count()
            }
            BackEnd::Simulated(..) => 0,
        }
    }

    /// Whether jobs run beside the loop: one can be held up while the loop goes on.
    pub fn jobs_run_beside(&self) -> bool {
        match self {
            BackEnd::Os => true,
            BackEnd::Simulated(..) => false,
        }
    }

    /// Whether it has come to this, after some time for other threads and the system.
    pub fn comes_to(&self, done: impl Fn() -> bool) -> bool {
        match self {
            BackEnd::Os => {
                let began = Instant::now();
                while !done() {
                    if began.elapsed() > super::LONG {
                        return false;
                    }
                    std::thread::sleep(Duration::from_millis(1));
                }
                true
            }
            BackEnd::Simulated(..) => done(),
        }
    }

    /// Lets time pass in which the loop does nothing.
    pub fn spend(&self, time: Duration) {
        match self {
            BackEnd::Os => {
                let began = Instant::now();
                while began.elapsed() < time {
                    std::hint::spin_loop();
                }
            }
            BackEnd::Simulated(network, host) => network.advance_host_clock(*host, time),
        }
    }

    /// Sends the process a signal.
    pub fn raise(&self, signal: Signal) {
        match self {
            BackEnd::Os => child::raise(match signal {
                Signal::Interrupt => Raw::INT,
                Signal::Terminate => Raw::TERM,
                Signal::Hangup => Raw::HUP,
                Signal::User1 => Raw::USR1,
                Signal::User2 => Raw::USR2,
                Signal::WindowChange => Raw::WINCH,
                Signal::Child => Raw::CHILD,
                Signal::Quit => Raw::QUIT,
                Signal::Suspend => Raw::TSTP,
                Signal::Continue => Raw::CONT,
                _ => panic!("{signal} has no name here yet"),
            }),
            BackEnd::Simulated(network, host) => {
                assert!(network.signal(*host, signal), "nobody watches {signal}");
            }
        }
    }
}

/// A connected socket that belongs to no reactor and never blocks; its drop closes it.
pub enum Socket {
    Os(TcpStream),
    Simulated(twistor::sim::Socket),
}

impl Socket {
    pub fn send(&mut self, data: &[u8]) -> io::Result<usize> {
        match self {
            Socket::Os(socket) => socket.write(data),
            Socket::Simulated(socket) => socket.send(data),
        }
    }

    pub fn recv(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Socket::Os(socket) => socket.read(buffer),
            Socket::Simulated(socket) => socket.recv(buffer),
        }
    }

    /// Sends FIN.
    pub fn shutdown_write(&mut self) -> io::Result<()> {
        match self {
            Socket::Os(socket) => socket.shutdown(Shutdown::Write),
            Socket::Simulated(socket) => socket.shutdown_write(),
        }
    }

    /// Sends RST.
    pub fn reset(self) {
        match self {
            Socket::Os(socket) => SockRef::from(&socket).set_linger(Some(Duration::ZERO)).unwrap(),
            Socket::Simulated(socket) => socket.reset(),
        }
    }

    pub fn local_address(&self) -> io::Result<SocketAddr> {
        match self {
            Socket::Os(socket) => socket.local_addr(),
            Socket::Simulated(socket) => socket.local_address(),
        }
    }

    pub fn peer_address(&self) -> io::Result<SocketAddr> {
        match self {
            Socket::Os(socket) => socket.peer_addr(),
            Socket::Simulated(socket) => socket.peer_address(),
        }
    }
}

/// A listener that belongs to no reactor; its drop closes it.
pub enum ListeningSocket {
    Os(TcpListener),
    Simulated(twistor::sim::SocketListener),
}

impl ListeningSocket {
    pub fn local_address(&self) -> io::Result<SocketAddr> {
        match self {
            ListeningSocket::Os(socket) => socket.local_addr(),
            ListeningSocket::Simulated(socket) => socket.local_address(),
        }
    }
}
