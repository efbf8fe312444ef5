//! Domain names in wire format.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::net::IpAddr;
use std::str::FromStr;

use domain::base::name::ToLabelIter;

use crate::dns::DnsError;

/// An absolute domain name: labels of 1 to 63 bytes, at most 255 bytes in wire format. Letters are
/// equal in both cases. (RFC 1035 section 3.1.)
///
/// The text form is that of zone files: `\.` is a dot inside a label, and `\DDD` the byte with that
/// decimal number. A dot at the end is optional when a name is parsed, and printed always. Every
/// byte outside of printable ASCII is printed as `\DDD`, so the text is safe for a terminal.
///
/// ```
/// use twistor::dns::Name;
///
/// let name: Name = "WWW.example.org".parse()?;
/// assert_eq!(name, "www.example.org.".parse()?);
/// assert_eq!(name.to_string(), "WWW.example.org.");
/// let reverse = Name::reverse([192, 0, 2, 7].into());
/// assert_eq!(reverse.to_string(), "7.2.0.192.in-addr.arpa.");
/// # Ok::<(), twistor::dns::DnsError>(())
/// ```
#[derive(Clone)]
pub struct Name(Box<[u8]>);

impl Name {
    /// The root of all names.
    pub fn root() -> Name {
        Name(Box::new([0]))
    }

    /// The name under which an address has its PTR record. (RFC 1035 section 3.5, RFC 3596 section
    /// 2.5.)
    pub fn reverse(address: IpAddr) -> Name {
        let mut wire = Vec::with_capacity(MAX_NAME);
        match address {
            IpAddr::V4(address) => {
                for octet in address.octets().iter().rev() {
                    let digits = octet.to_string();
                    wire.push(digits.len() as u8);
                    wire.extend_from_slice(digits.as_bytes());
                }
                wire.extend_from_slice(b"\x07in-addr\x04arpa\0");
            }
            IpAddr::V6(address) => {
                let hexadecimal = |nibble: u8| char::from_digit(u32::from(nibble), 16).unwrap_or('0') as u8;
                for octet in address.octets().iter().rev() {
                    wire.extend_from_slice(&[1, hexadecimal(octet & 15), 1, hexadecimal(octet >> 4)]);
                }
                wire.extend_from_slice(b"\x03ip6\x04arpa\0");
            }
        }
        Name(wire.into())
    }

    /// The name in wire format: each label with its length before it, and a zero at the end.
    pub fn as_wire(&self) -> &[u8] {
        &self.0
    }

    /// Whether it is the root.
    pub fn is_root(&self) -> bool {
        self.0.len() == 1
    }

    /// The labels, without the root.
    pub fn labels(&self) -> impl Iterator<Item = &[u8]> {
        labels(&self.0)
    }

    /// Copies a name out of a message.
    pub(in crate::dns) fn copy(name: &impl ToLabelIter) -> Name {
        let mut wire = Vec::with_capacity(64);
        for label in name.iter_labels() {
            wire.push(label.len() as u8);
            wire.extend_from_slice(label.as_slice());
        }
        Name(wire.into())
    }
}

impl FromStr for Name {
    type Err = DnsError;

    /// Parses the text form. An internationalized name must be in its ASCII form (`xn--`).
    ///
    /// # Errors
    /// [`DnsError::InvalidName`].
    fn from_str(text: &str) -> Result<Name, DnsError> {
        let bad = |why| DnsError::InvalidName { name: text.to_owned(), why };
        if text == "." {
            return Ok(Name::root());
        }
        let mut wire = vec![0];
        let mut length_at = 0;
        let mut bytes = text.bytes();
        while let Some(byte) = bytes.next() {
            let length = wire.len() - length_at - 1;
            let byte = match byte {
                b'.' => {
                    if length == 0 {
                        return Err(bad("a label is empty"));
                    }
                    if let Some(place) = wire.get_mut(length_at) {
                        *place = length as u8;
                    }
                    length_at = wire.len();
                    wire.push(0);
                    continue;
                }
                b'\\' => escaped(&mut bytes).ok_or_else(|| bad("an escape is incomplete"))?,
                byte if !byte.is_ascii() => return Err(bad("it has a character outside of ASCII")),
                byte => byte,
            };
            if length == MAX_LABEL {
                return Err(bad("a label has more than 63 bytes"));
            }
            wire.push(byte);
            if wire.len() > MAX_NAME {
                return Err(bad("it has more than 253 characters"));
            }
        }
        let length = wire.len() - length_at - 1;
        if length > 0 {
            if let Some(place) = wire.get_mut(length_at) {
                *place = length as u8;
            }
            wire.push(0);
        } else if wire.len() == 1 {
            return Err(bad("it is empty"));
        }
        if wire.len() > MAX_NAME {
            return Err(bad("it has more than 253 characters"));
        }
        Ok(Name(wire.into()))
    }
}

fn escaped(bytes: &mut impl Iterator<Item = u8>) -> Option<u8> {
    let first = bytes.next()?;
    if !first.is_ascii_digit() {
        return first.is_ascii().then_some(first);
    }
    let mut number = u16::from(first - b'0');
    for _ in 0..2 {
        let digit = bytes.next().filter(u8::is_ascii_digit)?;
        number = number * 10 + u16::from(digit - b'0');
    }
    u8::try_from(number).ok()
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_root() {
            return f.write_str(".");
        }
        for label in self.labels() {
            for byte in label {
                match byte {
                    b'.' | b'\\' | b'"' | b';' | b'(' | b')' | b'@' | b'$' => {
                        write!(f, "\\{}", char::from(*byte))?;
                    }
                    byte if byte.is_ascii_graphic() => write!(f, "{}", char::from(*byte))?,
                    byte => write!(f, "\\{byte:03}")?,
                }
            }
            f.write_str(".")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Name({self})")
    }
}

/// The length bytes are below the letters, so all bytes can be compared as text.
impl PartialEq for Name {
    fn eq(&self, other: &Name) -> bool {
        self.0.eq_ignore_ascii_case(&other.0)
    }
}

impl Eq for Name {}

impl Hash for Name {
    fn hash<H: Hasher>(&self, state: &mut H) {
        for byte in &self.0 {
            state.write_u8(byte.to_ascii_lowercase());
        }
    }
}

/// The labels of a name in wire format, without the root.
pub(in crate::dns) fn labels(wire: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = wire;
    std::iter::from_fn(move || {
        let (length, after) = rest.split_first()?;
        let label = after.get(..usize::from(*length)).filter(|label| !label.is_empty())?;
        rest = after.get(label.len()..).unwrap_or_default();
        Some(label)
    })
}

/// Max length of a name in wire format, with the root.
pub(in crate::dns) const MAX_NAME: usize = 255;

/// Max length of a label.
pub(in crate::dns) const MAX_LABEL: usize = 63;
