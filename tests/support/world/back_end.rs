//! The differences between the back ends. A new back end is added here.

use std::fs;
use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use rustix::process::Signal as Raw;
use socket2::{Domain, SockRef, Type};
use twistor::sim::{Host, Link, Network, SocketOptions};
use twistor::{Reactor, Settings, Signal};

use super::child;

/// A back end of promises. Clones refer to the same one.
#[derive(Clone, Debug)]
pub enum BackEnd {
    /// The system's network, threads, signals and time.
    Os,
    /// A host of a simulated network, whose loopback has no latency, like the system's.
    Simulated(Network, Host),
}

impl BackEnd {
    /// Returns all back ends.
    pub fn all() -> Vec<BackEnd> {
        // One simulation reports readiness like Linux, the other one the minimum of the contract.
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

    /// Connects a plain socket, which is non-blocking afterwards. `TimedOut` without an answer in
    /// time.
    pub fn connect(
        &self,
        to: SocketAddr,
        receive_buffer: Option<usize>,
        timeout: Duration,
    ) -> io::Result<Socket> {
        match self {
            BackEnd::Os => {
                let socket = socket2::Socket::new(Domain::for_address(to), Type::STREAM, None)?;
                if let Some(size) = receive_buffer {
                    socket.set_recv_buffer_size(size)?;
                }
                // On the loopback the kernel connects without the peer's process.
                socket.connect_timeout(&to.into(), timeout)?;
                socket.set_nonblocking(true)?;
                socket.set_tcp_nodelay(true)?;
                Ok(Socket::Os(socket.into()))
            }
            BackEnd::Simulated(network, host) => {
                let options = SocketOptions { receive_buffer, ..SocketOptions::default() };
                let socket = network.connect(*host, to, options)?;
                // Without latency the result is already known.
                match (socket.peer_address(), socket.take_error()?) {
                    (Ok(_), _) => Ok(Socket::Simulated(socket)),
                    (_, Some(error)) => Err(error),
                    _ => Err(io::ErrorKind::TimedOut.into()),
                }
            }
        }
    }

    /// Opens a plain listener that never accepts.
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

    /// Returns the number of open descriptors.
    pub fn descriptors(&self) -> usize {
        match self {
            BackEnd::Os => fs::read_dir("/proc/self/fd").unwrap().count(),
            BackEnd::Simulated(network, host) => network.sockets(*host),
        }
    }

    /// Returns the number of reactors' threads for jobs and look-ups.
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

    /// Returns whether jobs run concurrently with the loop, so that one can be blocked while the
    /// loop runs.
    pub fn jobs_run_beside(&self) -> bool {
        match self {
            BackEnd::Os => true,
            BackEnd::Simulated(..) => false,
        }
    }

    /// Returns whether the condition becomes true, after some time for other threads and the
    /// system.
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

    /// Lets time pass without running the loop.
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

    /// Sends a signal to the process.
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
                assert!(network.signal(*host, signal), "no process watches {signal}");
            }
        }
    }
}

/// A connected non-blocking socket without a reactor. Dropping it closes it.
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

/// A listener without a reactor. Dropping it closes it.
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
