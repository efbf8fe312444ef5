//! Version 2: binary, with additional values (TLVs).

use std::ffi::OsStr;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::unix::ffi::OsStrExt;

use crate::proxy_protocol::{Header, HeaderError, Side, Value, Version};
use crate::{Address, UnixAddress};

pub(in crate::proxy_protocol) fn parse(data: &[u8]) -> Result<Option<(Header, usize)>, HeaderError> {
    let known = data.len().min(SIGNATURE.len());
    if data.get(..known) != SIGNATURE.get(..known) {
        return Err(HeaderError::Missing);
    }
    // Each byte is checked as soon as it is present, so that a partial header is refused for the
    // same reason as the complete one.
    let Some(&version_command) = data.get(12) else { return Ok(None) };
    if version_command >> 4 != 2 {
        return Err(HeaderError::BadVersion(version_command >> 4));
    }
    let local = match version_command & 15 {
        0 => true,
        1 => false,
        other => return Err(HeaderError::BadCommand(other)),
    };
    let Some(&kind) = data.get(13) else { return Ok(None) };
    let (family, transport) = (kind >> 4, kind & 15);
    if family > 3 {
        return Err(HeaderError::BadFamily(family));
    }
    if transport > 2 {
        return Err(HeaderError::BadTransport(transport));
    }
    let (Some(&high), Some(&low)) = (data.get(14), data.get(15)) else { return Ok(None) };
    let length = FIXED_LENGTH + usize::from(u16::from_be_bytes([high, low]));
    if length > MAX_LENGTH {
        return Err(HeaderError::TooLong(length));
    }
    let Some(whole) = data.get(..length) else { return Ok(None) };
    let rest = whole.get(FIXED_LENGTH..).unwrap_or_default();
    let header = |addresses, values| Ok(Some((Header { version: Version::Two, addresses, values }, length)));
    if local {
        // Receivers must ignore the rest of a LOCAL header.
        return header(None, Vec::new());
    }
    let (addresses, used) = match (family, transport) {
        (0, _) | (_, 0) => (None, address_length(family)),
        _ => (Some(parse_addresses(family, transport, rest)?), address_length(family)),
    };
    let values = rest.get(used..).ok_or(HeaderError::AddressesCut(rest.len()))?;
    header(addresses, parse_values(whole, values)?)
}

/// Parses both addresses. The family must be one that has addresses.
fn parse_addresses(family: u8, transport: u8, rest: &[u8]) -> Result<(Address, Address), HeaderError> {
    let block = rest.get(..address_length(family)).ok_or(HeaderError::AddressesCut(rest.len()))?;
    if family == UNIX {
        let (source, destination) = block.split_at(UNIX_PATH);
        return Ok((unix(Side::Source, source)?, unix(Side::Destination, destination)?));
    }
    let (ips, ports) = block.split_at(block.len() - 4);
    let (source, destination) = ips.split_at(ips.len() / 2);
    let address = |ip: &[u8], port: usize| {
        // The block has the family's length, so all indices are valid.
        let ip = match (<[u8; 4]>::try_from(ip), <[u8; 16]>::try_from(ip)) {
            (Ok(four), _) => IpAddr::V4(Ipv4Addr::from(four)),
            (_, Ok(six)) => IpAddr::V6(Ipv6Addr::from(six)),
            _ => return Err(HeaderError::AddressesCut(rest.len())),
        };
        let port = u16::from_be_bytes([ports[port], ports[port + 1]]);
        let address = SocketAddr::new(ip, port);
        Ok(if transport == STREAM { Address::Tcp(address) } else { Address::Udp(address) })
    };
    Ok((address(source, 0)?, address(destination, 2)?))
}

/// Parses a path or an abstract name that is padded with NULs.
fn unix(side: Side, bytes: &[u8]) -> Result<Address, HeaderError> {
    let used = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
    let name = bytes.get(..used).unwrap_or_default();
    let address = match name {
        [] => Ok(UnixAddress::UNNAMED),
        [0, rest @ ..] => UnixAddress::of_abstract(rest),
        path => UnixAddress::of_path(OsStr::from_bytes(path)),
    };
    let address = address.map_err(|_| HeaderError::BadAddress(side, name.escape_ascii().to_string()))?;
    Ok(Address::Unix(address))
}

/// Parses the values after the addresses. A checksum covers the whole header.
fn parse_values(whole: &[u8], mut rest: &[u8]) -> Result<Vec<Value>, HeaderError> {
    let mut values = Vec::new();
    while !rest.is_empty() {
        let &[kind, high, low, ref after @ ..] = rest else { return Err(HeaderError::ValueCut(None)) };
        let length = usize::from(u16::from_be_bytes([high, low]));
        let bytes = after.get(..length).ok_or(HeaderError::ValueCut(Some(kind)))?;
        rest = after.get(length..).unwrap_or_default();
        match kind {
            CHECKSUM => {
                let four = <[u8; 4]>::try_from(bytes).map_err(|_| HeaderError::BadChecksumLength(length))?;
                let said = u32::from_be_bytes(four);
                let offset = whole.len() - rest.len() - 4;
                let is = checksum(whole, offset);
                if said != is {
                    return Err(HeaderError::BadChecksum { said, is });
                }
            }
            PADDING => {}
            _ => values.push(Value { kind, bytes: bytes.to_vec() }),
        }
    }
    Ok(values)
}

pub(in crate::proxy_protocol) fn encode(header: &Header) -> Vec<u8> {
    let mut bytes = SIGNATURE.to_vec();
    let block = header.addresses.as_ref().map(encode_addresses);
    let (kind, block) = block.unwrap_or_default();
    // Receivers ignore the content of LOCAL, so values without addresses are sent as PROXY with
    // UNSPEC.
    let proxied = header.addresses.is_some() || !header.values.is_empty();
    bytes.extend([if proxied { 0x21 } else { 0x20 }, kind, 0, 0]);
    bytes.extend(block);
    for Value { kind, bytes: value } in &header.values {
        let is_own = *kind == CHECKSUM || *kind == PADDING;
        // The maximum length guarantees that the value's length fits into two bytes.
        if !is_own && bytes.len() + 3 + value.len() <= MAX_LENGTH {
            let [high, low] = (value.len() as u16).to_be_bytes();
            bytes.extend([*kind, high, low]);
            bytes.extend(value);
        }
    }
    let summed = bytes.len() + CHECKSUM_VALUE <= MAX_LENGTH;
    if summed {
        bytes.extend([CHECKSUM, 0, 4, 0, 0, 0, 0]);
    }
    let length = ((bytes.len() - FIXED_LENGTH) as u16).to_be_bytes();
    bytes[14..FIXED_LENGTH].copy_from_slice(&length);
    if summed {
        let offset = bytes.len() - 4;
        let sum = checksum(&bytes, offset);
        bytes[offset..].copy_from_slice(&sum.to_be_bytes());
    }
    bytes
}

/// Returns the byte with family and transport, and the encoded addresses.
fn encode_addresses((source, destination): &(Address, Address)) -> (u8, Vec<u8>) {
    let mut block = Vec::new();
    let ips = |source: &SocketAddr, destination: &SocketAddr, transport: u8| {
        let mut block = Vec::new();
        let family = match (source.ip(), destination.ip()) {
            (IpAddr::V4(source), IpAddr::V4(destination)) => {
                block.extend(source.octets());
                block.extend(destination.octets());
                1
            }
            (IpAddr::V6(source), IpAddr::V6(destination)) => {
                block.extend(source.octets());
                block.extend(destination.octets());
                2
            }
            _ => return (0, Vec::new()),
        };
        block.extend(source.port().to_be_bytes());
        block.extend(destination.port().to_be_bytes());
        (family << 4 | transport, block)
    };
    match (source, destination) {
        (Address::Tcp(source), Address::Tcp(destination)) => ips(source, destination, STREAM),
        (Address::Udp(source), Address::Udp(destination)) => ips(source, destination, DATAGRAM),
        (Address::Unix(source), Address::Unix(destination)) => {
            for address in [source, destination] {
                let begin = block.len();
                if let Some(path) = address.path() {
                    block.extend(path.as_os_str().as_encoded_bytes());
                } else if let Some(name) = address.abstract_name() {
                    block.push(0);
                    block.extend(name);
                }
                block.resize(begin + UNIX_PATH, 0);
            }
            (UNIX << 4 | STREAM, block)
        }
        _ => (0, Vec::new()),
    }
}

fn address_length(family: u8) -> usize {
    match family {
        1 => 12,
        2 => 36,
        UNIX => 2 * UNIX_PATH,
        _ => 0,
    }
}

/// Computes the CRC32c of a header, in which the checksum at `offset` counts as zeros.
fn checksum(header: &[u8], offset: usize) -> u32 {
    let zeroed = offset..offset + 4;
    let bytes =
        header.iter().enumerate().map(|(index, byte)| if zeroed.contains(&index) { 0 } else { *byte });
    !bytes.fold(u32::MAX, |sum, byte| {
        (0..8).fold(sum ^ u32::from(byte), |sum, _| sum >> 1 ^ if sum & 1 == 1 { CASTAGNOLI } else { 0 })
    })
}

pub(in crate::proxy_protocol) const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";

/// Length of signature, version and command, family and transport, and length field.
const FIXED_LENGTH: usize = 16;

/// Maximum header length: the 536 bytes that every receiver must accept, and room for certificates
/// and names.
const MAX_LENGTH: usize = 536 + 2048;

const UNIX: u8 = 3;
const UNIX_PATH: usize = 108;
const STREAM: u8 = 1;
const DATAGRAM: u8 = 2;

/// `PP2_TYPE_CRC32C`.
const CHECKSUM: u8 = 3;
/// Length of the checksum value with its type and length.
const CHECKSUM_VALUE: usize = 7;
/// `PP2_TYPE_NOOP`.
const PADDING: u8 = 4;

/// Polynomial of CRC32c, reflected.
const CASTAGNOLI: u32 = 0x82f6_3b78;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_is_crc32c_with_zeros_in_its_own_place() {
        // The check value of the CRC catalogue, and RFC 3720, B.4.
        assert_eq!(checksum(b"123456789", 100), 0xe306_9283);
        assert_eq!(checksum(&[0; 32], 28), 0x8a91_36aa);
        let mut ones = [0xff; 32];
        let sum = checksum(&ones, 4);
        ones[4..8].fill(0);
        assert_eq!(checksum(&ones, 100), sum);
    }
}
