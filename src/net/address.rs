//! Addresses of sockets and peers.

use crate::escape::{Escaped, EscapedBytes};
use std::ffi::OsStr;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The address of a connection's end or of a datagram's sender. (Twisted: `IPv4Address`,
/// `IPv6Address`, `UNIXAddress`.)
///
/// ```
/// use twistor::{Address, UnixAddress};
///
/// let web = Address::Tcp(([127, 0, 0, 1], 80).into());
/// assert_eq!((web.to_string().as_str(), web.port()), ("127.0.0.1:80", Some(80)));
/// let local = Address::Unix(UnixAddress::of_path("/run/app.sock")?);
/// assert_eq!((local.to_string().as_str(), local.ip()), ("/run/app.sock", None));
/// # Ok::<(), twistor::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
#[doc(alias("IPv4Address", "IPv6Address", "UNIXAddress", "SocketAddr"))]
pub enum Address {
    /// TCP over IPv4 or IPv6.
    Tcp(SocketAddr),
    /// UDP over IPv4 or IPv6.
    Udp(SocketAddr),
    /// A UNIX stream or datagram socket.
    Unix(UnixAddress),
    /// No address: a pipe, a terminal or a file. (Twisted: `PipeAddress`.)
    Pipe,
}

impl Address {
    /// The IP address.
    pub fn ip(&self) -> Option<IpAddr> {
        self.socket_address().map(|address| address.ip())
    }

    /// The port.
    pub fn port(&self) -> Option<u16> {
        self.socket_address().map(|address| address.port())
    }

    /// The IP address and the port.
    pub fn socket_address(&self) -> Option<SocketAddr> {
        match self {
            Address::Tcp(address) | Address::Udp(address) => Some(*address),
            Address::Unix(_) | Address::Pipe => None,
        }
    }

    /// The UNIX socket's address.
    pub fn unix(&self) -> Option<&UnixAddress> {
        match self {
            Address::Unix(address) => Some(address),
            Address::Tcp(_) | Address::Udp(_) | Address::Pipe => None,
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Address::Tcp(address) | Address::Udp(address) => address.fmt(f),
            Address::Unix(address) => address.fmt(f),
            Address::Pipe => f.write_str("a pipe"),
        }
    }
}

impl From<SocketAddr> for Address {
    fn from(address: SocketAddr) -> Address {
        Address::Tcp(address)
    }
}

impl From<UnixAddress> for Address {
    fn from(address: UnixAddress) -> Address {
        Address::Unix(address)
    }
}

/// The address of a UNIX socket: a path in the file system, a name in Linux's abstract namespace,
/// or unnamed. Most clients are unnamed. (Twisted: `UNIXAddress`, with `\0name` for abstract
/// names.)
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct UnixAddress(Option<Arc<Name>>);

#[derive(Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Name {
    Path(PathBuf),
    Abstract(Vec<u8>),
}

impl UnixAddress {
    /// The address of an unbound socket.
    pub const UNNAMED: UnixAddress = UnixAddress(None);

    /// Creates an address from a path in the file system, of 1 to 107 bytes.
    ///
    /// # Errors
    /// [`Error::BadAddress`](crate::Error::BadAddress) for:
    /// - an empty path
    /// - a path of more than 107 bytes
    /// - a path with a NUL byte
    pub fn of_path(path: impl Into<PathBuf>) -> Result<UnixAddress, BadAddress> {
        let path = path.into();
        let bytes = path.as_os_str().as_bytes();
        match bytes {
            [] => Err(BadAddress { text: String::new(), why: "the path of the socket is empty" }),
            _ if bytes.contains(&0) => Err(BadAddress {
                text: EscapedBytes(bytes).to_string(),
                why: "the socket path has a NUL byte",
            }),
            _ if bytes.len() > MAX_LEN => Err(BadAddress {
                text: EscapedBytes(bytes).to_string(),
                why: "the path of a UNIX socket has at most 107 bytes",
            }),
            _ => Ok(UnixAddress(Some(Arc::new(Name::Path(path))))),
        }
    }

    /// Creates an address from an abstract name, of 1 to 107 arbitrary bytes. An abstract socket
    /// has no file, and its name is free once the socket is closed. Linux only.
    ///
    /// # Errors
    /// [`Error::BadAddress`](crate::Error::BadAddress) for an empty name or one of more than 107
    /// bytes.
    pub fn of_abstract(name: impl Into<Vec<u8>>) -> Result<UnixAddress, BadAddress> {
        let name = name.into();
        let why = match name.len() {
            0 => "the abstract name is empty",
            1..=MAX_LEN => return Ok(UnixAddress(Some(Arc::new(Name::Abstract(name))))),
            _ => "an abstract name has at most 107 bytes",
        };
        Err(BadAddress { text: format!("@{}", EscapedBytes(&name)), why })
    }

    /// The path, if the address has one.
    pub fn path(&self) -> Option<&Path> {
        match self.0.as_deref() {
            Some(Name::Path(path)) => Some(path),
            _ => None,
        }
    }

    /// The abstract name, without the leading NUL of the system's structure.
    pub fn abstract_name(&self) -> Option<&[u8]> {
        match self.0.as_deref() {
            Some(Name::Abstract(name)) => Some(name),
            _ => None,
        }
    }

    /// Whether the socket is unbound.
    pub fn is_unnamed(&self) -> bool {
        self.0.is_none()
    }
}

/// Formats the path, `@` and the abstract name, both [escaped](crate::escape), or `(unnamed)`.
impl fmt::Display for UnixAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.as_deref() {
            Some(Name::Path(path)) => EscapedBytes(path.as_os_str().as_bytes()).fmt(f),
            Some(Name::Abstract(name)) => write!(f, "@{}", EscapedBytes(name)),
            None => f.write_str("(unnamed)"),
        }
    }
}

impl fmt::Debug for UnixAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "UnixAddress({self})")
    }
}

/// Parses a path, or `@` and an abstract name.
impl std::str::FromStr for UnixAddress {
    type Err = BadAddress;

    fn from_str(text: &str) -> Result<UnixAddress, BadAddress> {
        match text.strip_prefix('@') {
            Some(name) => UnixAddress::of_abstract(name),
            None => UnixAddress::of_path(OsStr::new(text)),
        }
    }
}

/// An address that could not be parsed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadAddress {
    /// The address as given.
    pub text: String,
    /// The reason.
    pub why: &'static str,
}

impl fmt::Display for BadAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "bad address \"{}\": {}", Escaped(&self.text), self.why)
    }
}

impl std::error::Error for BadAddress {}

/// Size of `sun_path` (108), less one NUL byte.
const MAX_LEN: usize = 107;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_name_has_107_bytes() {
        for length in [1, 106, 107] {
            assert!(UnixAddress::of_path("p".repeat(length)).is_ok(), "{length}");
            assert!(UnixAddress::of_abstract("n".repeat(length)).is_ok(), "{length}");
        }
        for length in [0, 108] {
            assert!(UnixAddress::of_path("p".repeat(length)).is_err(), "{length}");
            assert!(UnixAddress::of_abstract("n".repeat(length)).is_err(), "{length}");
        }
    }

    #[test]
    fn a_unix_address_prints_as_it_is_read() {
        for text in ["/run/x", "relative", "@abstract"] {
            assert_eq!(text.parse::<UnixAddress>().unwrap().to_string(), text);
        }
        assert_eq!(UnixAddress::UNNAMED.to_string(), "(unnamed)");
    }
}
