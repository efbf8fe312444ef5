//! The header, independent of its version, and header errors.

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
    /// The version that the header was or will be encoded in.
    pub version: Version,
    /// Addresses of the client and of the server that it connected to. `None` if the proxy connects
    /// on its own behalf (LOCAL) or does not know the client (UNKNOWN, UNSPEC). The connection's
    /// own addresses apply then.
    pub addresses: Option<(Address, Address)>,
    /// Additional values (TLVs) of version 2, such as the requested host name or the client
    /// certificate. Checksum and padding are not included. Always empty for LOCAL.
    pub values: Vec<Value>,
}

/// Version of a header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// Version 1: a line of text.
    One,
    /// Version 2: binary.
    Two,
}

/// A value (TLV) of version 2, such as `PP2_TYPE_AUTHORITY` (2).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Value {
    /// Type of the value.
    pub kind: u8,
    /// Content of the value.
    pub bytes: Vec<u8>,
}

impl Header {
    /// Creates a header with the addresses of the client and of the server that it connected to.
    pub fn new(version: Version, client: Address, server: Address) -> Header {
        Header { version, addresses: Some((client, server)), values: Vec::new() }
    }

    /// Creates a header without addresses, for connections that a proxy makes on its own behalf,
    /// such as health checks. The connection's own addresses apply.
    pub fn local(version: Version) -> Header {
        Header { version, addresses: None, values: Vec::new() }
    }

    /// Returns the content of the first value of this type.
    pub fn value(&self, kind: u8) -> Option<&[u8]> {
        self.values.iter().find(|value| value.kind == kind).map(|value| &value.bytes[..])
    }

    /// Parses a header from the first bytes of a connection. Returns the header and its length, or
    /// `None` if more bytes are needed. The result does not depend on how the bytes are split over
    /// calls.
    ///
    /// # Errors
    /// [`HeaderError`], as soon as no further bytes could make the header valid.
    pub fn parse(data: &[u8]) -> Result<Option<(Header, usize)>, HeaderError> {
        match data.first() {
            None => Ok(None),
            Some(first) if *first == version_2::SIGNATURE[0] => version_2::parse(data),
            Some(_) => version_1::parse(data),
        }
    }

    /// Encodes the header.
    ///
    /// Version 1 has no values, no UNIX or UDP addresses, and no pairs of different address
    /// families. It writes UNKNOWN for such addresses. Version 2 writes UNSPEC for pairs of
    /// different families.
    ///
    /// Version 2 writes LOCAL if there are neither addresses nor values, and UNSPEC if there are
    /// only values. It ends with a checksum where that fits. Two kinds of values are omitted:
    /// - values that do not fit into 2,584 bytes;
    /// - the types that `encode` writes itself or that carry no information: checksum (3) and
    ///   padding (4).
    ///
    /// Every header that [`parse`](Header::parse) returns is parsed to an equal header after
    /// encoding.
    pub fn encode(&self) -> Vec<u8> {
        match self.version {
            Version::One => version_1::encode(self),
            Version::Two => version_2::encode(self),
        }
    }
}

/// An invalid header, or a header that is not accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum HeaderError {
    /// The peer is not trusted to send headers.
    NotTrusted(Address),
    /// No complete header was received within the time limit.
    TimedOut(Duration),
    /// The connection ended within the header.
    Ended,
    /// The connection does not begin with a header.
    Missing,
    /// Version 1: the line is longer than 107 bytes.
    LineTooLong,
    /// Version 1: the protocol is this text rather than TCP4, TCP6 or UNKNOWN.
    BadProtocol(String),
    /// Version 1: the fields are not two addresses and two ports separated by single spaces.
    BadFields,
    /// An address is invalid or of the wrong family.
    BadAddress(Side, String),
    /// Version 1: a port is not a number from 0 to 65535 without leading zeros.
    BadPort(Side, String),
    /// Version 2: the version field is not 2.
    BadVersion(u8),
    /// Version 2: the command is neither LOCAL (0) nor PROXY (1).
    BadCommand(u8),
    /// Version 2: unknown address family.
    BadFamily(u8),
    /// Version 2: unknown transport.
    BadTransport(u8),
    /// Version 2: the header is longer than 536 bytes and 2 KiB of values. The field is the total
    /// length.
    TooLong(usize),
    /// Version 2: too few bytes for the addresses. The field is the number of bytes after the first
    /// 16.
    AddressesCut(usize),
    /// Version 2: a value of this type, or the type and length of a value (`None`), exceeds the
    /// header.
    ValueCut(Option<u8>),
    /// Version 2: the checksum is not four bytes long.
    BadChecksumLength(usize),
    /// Version 2: the checksum is wrong.
    BadChecksum {
        /// Checksum in the header.
        said: u32,
        /// Checksum computed from the header.
        is: u32,
    },
}

/// Owner of an address in an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The client.
    Source,
    /// The server that the client connected to.
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
