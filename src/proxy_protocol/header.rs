//! What a header says, whichever version it has, and what can be wrong with one.

use crate::escape::Escaped;
use std::fmt;
use std::time::Duration;

use crate::Address;
use crate::proxy_protocol::{version_1, version_2};

/// A PROXY header.
///
/// ```
/// use twistor::proxy_protocol::{Header, Version};
///
/// let bytes = b"PROXY TCP4 192.0.2.7 198.51.100.1 40000 443\r\nGET / HTTP/1.1\r\n";
/// let Some((header, length)) = Header::parse(bytes)? else { panic!("not complete yet") };
/// assert_eq!(header.version, Version::One);
/// assert_eq!(header.addresses.unwrap().0.to_string(), "192.0.2.7:40000");
/// assert_eq!(&bytes[length..], b"GET / HTTP/1.1\r\n");
/// # Ok::<(), twistor::proxy_protocol::HeaderError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// Its version.
    pub version: Version,
    /// The client's address, and the one that it connected to. `None`: the proxy speaks for itself (LOCAL) or does not
    /// know (UNKNOWN, UNSPEC), and the connection's own addresses hold.
    pub addresses: Option<(Address, Address)>,
    /// What version 2 says beside: the name that the client asked for, its certificate. Without checksum and padding; a proxy
    /// that speaks for itself says nothing beside.
    pub values: Vec<Value>,
}

/// A header's version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// A line of text.
    One,
    /// Binary.
    Two,
}

/// One of the values of version 2, as `PP2_TYPE_AUTHORITY` (2).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Value {
    /// Its type.
    pub kind: u8,
    /// Its bytes.
    pub bytes: Vec<u8>,
}

impl Header {
    /// A header that says these addresses: the client's, and the one that it connected to.
    pub fn new(version: Version, client: Address, server: Address) -> Header {
        Header { version, addresses: Some((client, server)), values: Vec::new() }
    }

    /// A header that leaves the connection's own addresses: for checks that a proxy makes by itself.
    pub fn local(version: Version) -> Header {
        Header { version, addresses: None, values: Vec::new() }
    }

    /// The bytes of the first value of this type.
    pub fn value(&self, kind: u8) -> Option<&[u8]> {
        self.values.iter().find(|value| value.kind == kind).map(|value| &value.bytes[..])
    }

    /// Reads a header from the first bytes of a connection: the header and its length, or `None` when more bytes are needed. However
    /// the bytes are cut, the outcome is the same.
    ///
    /// # Errors
    /// [`HeaderError`], as soon as no bytes to come could make it right.
    pub fn parse(data: &[u8]) -> Result<Option<(Header, usize)>, HeaderError> {
        match data.first() {
            None => Ok(None),
            Some(first) if *first == version_2::SIGNATURE[0] => version_2::parse(data),
            Some(_) => version_1::parse(data),
        }
    }

    /// The header as bytes. Version 1 has no UNIX and no UDP addresses, nor those of different families: it says UNKNOWN then, and
    /// version 2 UNSPEC. Version 1 has no values.
    ///
    /// Version 2 says LOCAL without addresses and values, and UNSPEC with values alone. It ends with a checksum where that
    /// fits. Left out are values that do not fit into 2,584 bytes, and those of the types that `encode` writes itself or that
    /// mean nothing: checksum (3) and padding (4). Every header that [`parse`](Header::parse) returns is read back the same.
    pub fn encode(&self) -> Vec<u8> {
        match self.version {
            Version::One => version_1::encode(self),
            Version::Two => version_2::encode(self),
        }
    }
}

/// What is wrong with a header, or with who sent it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum HeaderError {
    /// The peer is not among those that may send headers.
    NotTrusted(Address),
    /// No complete header came within the limit.
    TimedOut(Duration),
    /// The connection ended within the header.
    Ended,
    /// The connection does not begin with a header.
    Missing,
    /// Version 1: the line is longer than 107 bytes.
    LineTooLong,
    /// Version 1: neither TCP4 nor TCP6 nor UNKNOWN; this came in its place.
    BadProtocol(String),
    /// Version 1: not two addresses and two ports with one space between them.
    BadFields,
    /// An address is none, or is of the wrong family.
    BadAddress(Side, String),
    /// Version 1: a port is no number from 0 to 65535 without leading zeros.
    BadPort(Side, String),
    /// Version 2: the version is not 2.
    BadVersion(u8),
    /// Version 2: neither LOCAL (0) nor PROXY (1).
    BadCommand(u8),
    /// Version 2: no known address family.
    BadFamily(u8),
    /// Version 2: no known transport.
    BadTransport(u8),
    /// Version 2: longer than 536 bytes and 2 KiB of values; the length in all.
    TooLong(usize),
    /// Version 2: the header has so many bytes after its first 16, and the addresses alone need more.
    AddressesCut(usize),
    /// Version 2: a value of this type goes beyond the header's end, or its own head does (`None`).
    ValueCut(Option<u8>),
    /// Version 2: the checksum has not four bytes.
    BadChecksumLength(usize),
    /// Version 2: the checksum is wrong.
    BadChecksum {
        /// What the header says.
        said: u32,
        /// What it is.
        is: u32,
    },
}

/// Whose address it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The client's.
    Source,
    /// The one that the client connected to.
    Destination,
}

impl fmt::Display for Side {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Side::Source => "source",
            Side::Destination => "destination",
        })
    }
}

impl fmt::Display for HeaderError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            HeaderError::NotTrusted(peer) => write!(f, "{peer} is not trusted to send PROXY headers"),
            HeaderError::TimedOut(limit) => write!(f, "no complete PROXY header within {limit:?}"),
            HeaderError::Ended => f.write_str("the connection ended within the PROXY header"),
            HeaderError::Missing => f.write_str("the connection does not begin with a PROXY header"),
            HeaderError::LineTooLong => f.write_str("the line is longer than 107 bytes"),
            HeaderError::BadProtocol(text) => {
                write!(f, "\"{}\" is neither TCP4 nor TCP6 nor UNKNOWN", Escaped(text))
            }
            HeaderError::BadFields => {
                f.write_str("not two addresses and two ports with one space between them")
            }
            HeaderError::BadAddress(side, text) => {
                write!(f, "bad {side} address \"{}\"", Escaped(text))
            }
            HeaderError::BadPort(side, text) => write!(f, "bad {side} port \"{}\"", Escaped(text)),
            HeaderError::BadVersion(version) => write!(f, "version {version} in a header of version 2"),
            HeaderError::BadCommand(command) => write!(f, "unknown command {command}"),
            HeaderError::BadFamily(family) => write!(f, "unknown address family {family}"),
            HeaderError::BadTransport(transport) => write!(f, "unknown transport {transport}"),
            HeaderError::TooLong(length) => write!(f, "{length} bytes are too long for a header"),
            HeaderError::AddressesCut(length) => write!(f, "{length} bytes are too few for the addresses"),
            HeaderError::ValueCut(Some(kind)) => write!(f, "the value of type {kind} goes beyond the header"),
            HeaderError::ValueCut(None) => f.write_str("the last value has no room for its type and length"),
            HeaderError::BadChecksumLength(length) => write!(f, "a checksum of {length} bytes, not 4"),
            HeaderError::BadChecksum { said, is } => {
                write!(f, "the checksum is {is:08x}, and the header says {said:08x}")
            }
        }
    }
}

impl std::error::Error for HeaderError {}
