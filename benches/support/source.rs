//! Where the load's connections come from: after so many from one address of the loopback the next ones take another.
//!
//! The kernel looks for a free port among some 28,000, first among every second one. With 14,000 in use, or closed but not yet
//! forgotten, every further connection takes longer to open than to use; and there may be none left.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};

use nix::sys::socket::{setsockopt, sockopt::IpBindAddressNoPort};
use rustix::io::Errno;
use socket2::{Domain, Socket, Type};

/// Connects, as the `nth` to come.
pub fn connect(address: SocketAddr, nth: u64) -> io::Result<TcpStream> {
    match nth / FROM_ONE_ADDRESS {
        0 => TcpStream::connect(address),
        source => {
            let socket = socket_at(source, Type::STREAM)?;
            socket.connect(&address.into())?;
            Ok(socket.into())
        }
    }
}

/// Begins to connect, as the `nth` to come.
pub fn start_connecting(address: SocketAddr, nth: u64) -> io::Result<mio::net::TcpStream> {
    match nth / FROM_ONE_ADDRESS {
        0 => mio::net::TcpStream::connect(address),
        source => {
            let socket = socket_at(source, Type::STREAM.nonblocking())?;
            match socket.connect(&address.into()) {
                Err(error) if error.raw_os_error() != Some(Errno::INPROGRESS.raw_os_error()) => Err(error),
                _ => Ok(mio::net::TcpStream::from_std(socket.into())),
            }
        }
    }
}

/// 127.0.0.2 and up. The port is chosen when the peer is known, so that it needs to be free for that peer only.
fn socket_at(source: u64, kind: Type) -> io::Result<Socket> {
    let socket = Socket::new(Domain::IPV4, kind, None)?;
    setsockopt(&socket, IpBindAddressNoPort, &true)?;
    let address = Ipv4Addr::new(127, 0, 0, 2 + (source % 250) as u8);
    socket.bind(&SocketAddr::from((address, 0)).into())?;
    Ok(socket)
}

const FROM_ONE_ADDRESS: u64 = 8_192;
