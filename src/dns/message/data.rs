//! The data of records, and its text as in zone files.

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};

use crate::dns::{Name, RecordType};

/// The data of a record. `Display` writes it as in a zone file, in printable ASCII.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RecordData {
    /// An IPv4 address.
    A(Ipv4Addr),
    /// An IPv6 address.
    Aaaa(Ipv6Addr),
    /// The canonical name of an alias.
    Cname(Name),
    /// The alias of a subtree.
    Dname(Name),
    /// A name server of a zone.
    Ns(Name),
    /// The name of an address, or another pointer.
    Ptr(Name),
    /// A mail server.
    Mx {
        /// The server with the lowest preference is tried first.
        preference: u16,
        /// The host name of the server.
        exchange: Name,
    },
    /// Text: strings of at most 255 bytes each.
    Txt(Vec<Vec<u8>>),
    /// The host and the port of a service.
    Srv {
        /// The host with the lowest priority is tried first.
        priority: u16,
        /// Share of the requests among hosts of equal priority.
        weight: u16,
        /// Port of the service.
        port: u16,
        /// Host name. The root means that there is no such service.
        target: Name,
    },
    /// The start of a zone.
    Soa {
        /// The primary name server.
        primary: Name,
        /// The address of the administrator, as a name: `admin.example.` is `admin@example`.
        administrator: Name,
        /// Version of the zone.
        serial: u32,
        /// Seconds between two checks of the version by a secondary server.
        refresh: u32,
        /// Seconds between two checks after a failed one.
        retry: u32,
        /// Seconds after which a secondary server without contact stops to answer.
        expire: u32,
        /// Limit in seconds on the caching of negative answers.
        minimum: u32,
    },
    /// An authority that may issue certificates.
    Caa {
        /// Bit 7 says that the property must be understood.
        flags: u8,
        /// The property.
        tag: String,
        /// Its value.
        value: Vec<u8>,
    },
    /// The endpoint of a service: SVCB and HTTPS.
    Svcb {
        /// 0 for an alias. Otherwise, the endpoint with the lowest priority is tried first.
        priority: u16,
        /// Host name. The root stands for the owner of the record.
        target: Name,
        /// The parameters: their keys and their values in wire format.
        parameters: Vec<(u16, Vec<u8>)>,
    },
    /// Data of another type, or data that does not fit its type.
    Other {
        /// The type of the record.
        record_type: RecordType,
        /// The data in wire format. A compressed name in it is not expanded.
        bytes: Vec<u8>,
        /// The text as in a zone file; the generic form of RFC 3597 for unknown types.
        text: String,
    },
}

impl fmt::Display for RecordData {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RecordData::A(address) => address.fmt(f),
            RecordData::Aaaa(address) => address.fmt(f),
            RecordData::Cname(name)
            | RecordData::Dname(name)
            | RecordData::Ns(name)
            | RecordData::Ptr(name) => name.fmt(f),
            RecordData::Mx { preference, exchange } => write!(f, "{preference} {exchange}"),
            RecordData::Txt(strings) => {
                for (index, string) in strings.iter().enumerate() {
                    if index > 0 {
                        f.write_str(" ")?;
                    }
                    quoted(f, string)?;
                }
                Ok(())
            }
            RecordData::Srv { priority, weight, port, target } => {
                write!(f, "{priority} {weight} {port} {target}")
            }
            RecordData::Soa { primary, administrator, serial, refresh, retry, expire, minimum } => {
                write!(f, "{primary} {administrator} {serial} {refresh} {retry} {expire} {minimum}")
            }
            RecordData::Caa { flags, tag, value } => {
                write!(f, "{flags} {tag} ")?;
                quoted(f, value)
            }
            RecordData::Svcb { priority, target, parameters } => {
                write!(f, "{priority} {target}")?;
                parameters.iter().try_for_each(|(key, value)| parameter(f, *key, value))
            }
            RecordData::Other { text, .. } => f.write_str(text),
        }
    }
}

/// Writes a string in quotes. (RFC 1035 section 5.1.)
fn quoted(f: &mut fmt::Formatter<'_>, bytes: &[u8]) -> fmt::Result {
    f.write_str("\"")?;
    bytes.iter().try_for_each(|byte| escaped(f, *byte))?;
    f.write_str("\"")
}

fn escaped(f: &mut fmt::Formatter<'_>, byte: u8) -> fmt::Result {
    match byte {
        b'"' | b'\\' => write!(f, "\\{}", char::from(byte)),
        b' '..=b'~' => write!(f, "{}", char::from(byte)),
        byte => write!(f, "\\{byte:03}"),
    }
}

/// Writes a parameter of a SVCB record. A value that does not fit its key has the generic form.
/// (RFC 9460 sections 2.1 and 14.3.2.)
fn parameter(f: &mut fmt::Formatter<'_>, key: u16, value: &[u8]) -> fmt::Result {
    match key {
        0 if !value.is_empty() && value.len().is_multiple_of(2) => {
            let keys = value.chunks_exact(2).map(|key| match key {
                [high, low] => key_name(u16::from_be_bytes([*high, *low])),
                _ => String::new(),
            });
            write!(f, " mandatory={}", keys.collect::<Vec<_>>().join(","))
        }
        1 if protocols(value).is_some_and(|ids| !ids.is_empty()) => {
            f.write_str(" alpn=\"")?;
            for (index, id) in protocols(value).unwrap_or_default().into_iter().enumerate() {
                if index > 0 {
                    f.write_str(",")?;
                }
                for byte in id {
                    match byte {
                        // Escaped for the list, and again for the string.
                        b',' => f.write_str("\\\\,")?,
                        b'\\' => f.write_str("\\\\\\\\")?,
                        byte => escaped(f, *byte)?,
                    }
                }
            }
            f.write_str("\"")
        }
        2 if value.is_empty() => f.write_str(" no-default-alpn"),
        3 if value.len() == 2 => {
            let port = value.iter().fold(0, |port, byte| port << 8 | u32::from(*byte));
            write!(f, " port={port}")
        }
        4 if !value.is_empty() && value.len().is_multiple_of(4) => {
            let addresses = value
                .chunks_exact(4)
                .filter_map(|octets| Some(Ipv4Addr::from(<[u8; 4]>::try_from(octets).ok()?).to_string()));
            write!(f, " ipv4hint={}", addresses.collect::<Vec<_>>().join(","))
        }
        5 if !value.is_empty() => {
            f.write_str(" ech=")?;
            base64(f, value)
        }
        6 if !value.is_empty() && value.len().is_multiple_of(16) => {
            let addresses = value
                .chunks_exact(16)
                .filter_map(|octets| Some(Ipv6Addr::from(<[u8; 16]>::try_from(octets).ok()?).to_string()));
            write!(f, " ipv6hint={}", addresses.collect::<Vec<_>>().join(","))
        }
        key => {
            write!(f, " key{key}")?;
            if value.is_empty() {
                return Ok(());
            }
            f.write_str("=")?;
            quoted(f, value)
        }
    }
}

fn key_name(key: u16) -> String {
    let known = ["mandatory", "alpn", "no-default-alpn", "port", "ipv4hint", "ech", "ipv6hint"];
    known.get(usize::from(key)).map_or_else(|| format!("key{key}"), |name| (*name).to_owned())
}

/// The protocol names of an `alpn` parameter.
fn protocols(value: &[u8]) -> Option<Vec<&[u8]>> {
    let mut all = Vec::new();
    let mut rest = value;
    while let Some((length, after)) = rest.split_first() {
        let (id, after) = after.split_at_checked(usize::from(*length)).filter(|(id, _)| !id.is_empty())?;
        all.push(id);
        rest = after;
    }
    Some(all)
}

fn base64(f: &mut fmt::Formatter<'_>, bytes: &[u8]) -> fmt::Result {
    let digit = |bits: u32| match (bits & 63) as u8 {
        bits @ 0..26 => b'A' + bits,
        bits @ 26..52 => b'a' + (bits - 26),
        bits @ 52..62 => b'0' + (bits - 52),
        62 => b'+',
        _ => b'/',
    };
    for group in bytes.chunks(3) {
        let bits = (0..3)
            .fold(0, |bits, index| bits << 8 | u32::from(group.get(index).copied().unwrap_or_default()));
        for place in 0..4 {
            let character = match place <= group.len() {
                true => digit(bits >> (18 - 6 * place)),
                false => b'=',
            };
            write!(f, "{}", char::from(character))?;
        }
    }
    Ok(())
}

/// The generic form of unknown data. (RFC 3597 section 5.)
pub(in crate::dns) fn generic(bytes: &[u8]) -> String {
    use fmt::Write;

    let mut text = format!("\\# {}", bytes.len());
    if !bytes.is_empty() {
        text.push(' ');
    }
    for byte in bytes {
        // Writing to a string does not fail.
        let _ = write!(text, "{byte:02X}");
    }
    text
}
