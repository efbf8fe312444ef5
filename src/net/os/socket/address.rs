//! Conversion between socket addresses and the system's structures.

use std::io;
use std::net::SocketAddr;
use std::os::unix::ffi::OsStrExt;

use rustix::net::{AddressFamily, SocketAddrAny, SocketAddrUnix};

use crate::net::{Address, UnixAddress};

/// Converts a UNIX address to the system's structure.
pub(in crate::net::os) fn system_address(address: &UnixAddress) -> io::Result<SocketAddrUnix> {
    if let Some(path) = address.path() {
        return Ok(SocketAddrUnix::new(path)?);
    }
    #[cfg(target_os = "linux")]
    if let Some(name) = address.abstract_name() {
        return Ok(SocketAddrUnix::new_abstract_name(name)?);
    }
    Err(io::ErrorKind::Unsupported.into())
}

/// Converts an address from the system's structure.
pub(in crate::net::os) fn address_of(system: SocketAddrAny, stream: bool) -> io::Result<Address> {
    if system.address_family() == AddressFamily::UNIX {
        return Ok(Address::Unix(unix_address_of(&SocketAddrUnix::try_from(system)?)));
    }
    let address = SocketAddr::try_from(system)?;
    Ok(if stream { Address::Tcp(address) } else { Address::Udp(address) })
}

fn unix_address_of(system: &SocketAddrUnix) -> UnixAddress {
    #[cfg(target_os = "linux")]
    if let Some(name) = system.abstract_name() {
        return UnixAddress::of_abstract(name).unwrap_or(UnixAddress::UNNAMED);
    }
    let path = system.path_bytes().map(std::ffi::OsStr::from_bytes);
    path.and_then(|path| UnixAddress::of_path(path).ok()).unwrap_or(UnixAddress::UNNAMED)
}
