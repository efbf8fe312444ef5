//! The system's address structures for IP datagrams.

use std::io;
use std::net::SocketAddr;

use nix::sys::socket::{SockaddrIn, SockaddrIn6};

use crate::net::Address;

pub(super) fn v4(address: &Address) -> io::Result<SockaddrIn> {
    match address.socket_address() {
        Some(SocketAddr::V4(address)) => Ok(address.into()),
        _ => Err(wrong_family()),
    }
}

pub(super) fn v6(address: &Address) -> io::Result<SockaddrIn6> {
    match address.socket_address() {
        Some(SocketAddr::V6(address)) => Ok(address.into()),
        Some(SocketAddr::V4(address)) => {
            let mapped = address.ip().to_ipv6_mapped();
            Ok(std::net::SocketAddrV6::new(mapped, address.port(), 0, 0).into())
        }
        None => Err(wrong_family()),
    }
}

pub(super) fn wrong_family() -> io::Error {
    rustix::io::Errno::AFNOSUPPORT.into()
}
