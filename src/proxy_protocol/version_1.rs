//! Version 1: a line of text.

use std::net::{IpAddr, SocketAddr};

use crate::Address;
use crate::proxy_protocol::{Header, HeaderError, Side, Version};

pub(in crate::proxy_protocol) fn parse(data: &[u8]) -> Result<Option<(Header, usize)>, HeaderError> {
    let known = data.len().min(PREFIX.len());
    if data.get(..known) != PREFIX.get(..known) {
        return Err(HeaderError::Missing);
    }
    let within = data.get(..MAX_LENGTH).unwrap_or(data);
    let Some(end) = within.windows(2).position(|pair| pair == b"\r\n") else {
        return if data.len() < MAX_LENGTH { Ok(None) } else { Err(HeaderError::LineTooLong) };
    };
    let line = data.get(PREFIX.len()..end).ok_or(HeaderError::Missing)?;
    let addresses = parse_fields(line)?;
    Ok(Some((Header { version: Version::One, addresses, values: Vec::new() }, end + 2)))
}

/// Parses the text between `PROXY ` and the end of the line.
fn parse_fields(line: &[u8]) -> Result<Option<(Address, Address)>, HeaderError> {
    let mut fields = line.split(|byte| *byte == b' ');
    let is_good: fn(&IpAddr) -> bool = match fields.next().unwrap_or_default() {
        // The specification requires receivers to ignore the rest of the line.
        b"UNKNOWN" => return Ok(None),
        b"TCP4" => IpAddr::is_ipv4,
        b"TCP6" => IpAddr::is_ipv6,
        other => return Err(HeaderError::BadProtocol(text(other))),
    };
    let mut field = || fields.next().ok_or(HeaderError::BadFields);
    let (source, destination) = (field()?, field()?);
    let (source_port, destination_port) = (field()?, field()?);
    if fields.next().is_some() {
        return Err(HeaderError::BadFields);
    }
    let address = |side, field, port| {
        let ip = parse_ip(field).filter(is_good);
        let ip = ip.ok_or_else(|| HeaderError::BadAddress(side, text(field)))?;
        let port = parse_port(port).ok_or_else(|| HeaderError::BadPort(side, text(port)))?;
        Ok(Address::Tcp(SocketAddr::new(ip, port)))
    };
    let source = address(Side::Source, source, source_port)?;
    Ok(Some((source, address(Side::Destination, destination, destination_port)?)))
}

fn parse_ip(field: &[u8]) -> Option<IpAddr> {
    std::str::from_utf8(field).ok()?.parse().ok()
}

/// Accepts digits only, without leading zeros. Other parsers might read other forms differently.
fn parse_port(field: &[u8]) -> Option<u16> {
    let leading_zero = field.len() > 1 && field.first() == Some(&b'0');
    if leading_zero || !field.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(field).ok()?.parse().ok()
}

fn text(bytes: &[u8]) -> String {
    bytes.escape_ascii().to_string()
}

pub(in crate::proxy_protocol) fn encode(header: &Header) -> Vec<u8> {
    let line = match &header.addresses {
        Some((Address::Tcp(source), Address::Tcp(destination)))
            if source.is_ipv4() == destination.is_ipv4() =>
        {
            let family = if source.is_ipv4() { "TCP4" } else { "TCP6" };
            let (from, to) = (source.ip(), destination.ip());
            format!("PROXY {family} {from} {to} {} {}\r\n", source.port(), destination.port())
        }
        _ => "PROXY UNKNOWN\r\n".to_owned(),
    };
    line.into_bytes()
}

const PREFIX: &[u8] = b"PROXY ";

/// Maximum length that the format allows, including CRLF.
const MAX_LENGTH: usize = 107;
