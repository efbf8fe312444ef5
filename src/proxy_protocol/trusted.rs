//! Peers that may send headers.

use crate::escape::Escaped;
use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use crate::Address;

/// Peers that may send PROXY headers. There is no default, because a sender of headers can claim
/// any client address.
///
/// ```
/// use twistor::proxy_protocol::TrustedProxies;
///
/// let trusted: TrustedProxies = "127.0.0.1, 10.0.0.0/8, fd00::/8, unix".parse()?;
/// assert!(trusted.has(&"10.1.2.3:4000".parse::<std::net::SocketAddr>().unwrap().into()));
/// assert!("10.0.0.0/33".parse::<TrustedProxies>().is_err());
/// # Ok::<(), twistor::proxy_protocol::ParseTrustedError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrustedProxies {
    networks: Vec<Network>,
    unix: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Network {
    address: IpAddr,
    /// Number of leading bits that must be equal.
    prefix: u32,
}

/// Error of parsing [`TrustedProxies`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParseTrustedError {
    /// The invalid part of the list.
    pub text: String,
    /// Reason why it is invalid.
    pub why: &'static str,
}

impl TrustedProxies {
    /// Trusts every peer. Only for ports that the proxy alone can reach.
    pub fn everybody() -> TrustedProxies {
        let all = |address: [u8; 4]| Network { address: address.into(), prefix: 0 };
        let six = Network { address: IpAddr::from([0u16; 8]), prefix: 0 };
        TrustedProxies { networks: vec![all([0; 4]), six], unix: true }
    }

    /// Trusts only these addresses.
    pub fn addresses(addresses: impl IntoIterator<Item = IpAddr>) -> TrustedProxies {
        let networks = addresses.into_iter().map(|address| Network::one(address.to_canonical()));
        TrustedProxies { networks: networks.collect(), unix: false }
    }

    /// Returns whether this peer is trusted. IPv4-mapped addresses of IPv6 sockets count as IPv4.
    pub fn has(&self, peer: &Address) -> bool {
        match peer.ip() {
            Some(ip) => self.networks.iter().any(|network| network.has(ip.to_canonical())),
            None => self.unix,
        }
    }
}

impl Network {
    fn one(address: IpAddr) -> Network {
        Network { address, prefix: if address.is_ipv4() { 32 } else { 128 } }
    }

    /// Converts an IPv4-mapped network to IPv4, because peers are compared in that form.
    fn canonical(self) -> Network {
        match (self.address.to_canonical(), self.prefix.checked_sub(MAPPED_PREFIX)) {
            (address @ IpAddr::V4(_), Some(prefix)) if self.address.is_ipv6() => Network { address, prefix },
            _ => self,
        }
    }

    fn has_host_bits(self) -> bool {
        let fixed = match self.address {
            IpAddr::V4(address) => 32u32.saturating_sub(address.to_bits().trailing_zeros()),
            IpAddr::V6(address) => 128u32.saturating_sub(address.to_bits().trailing_zeros()),
        };
        fixed > self.prefix
    }

    fn has(self, ip: IpAddr) -> bool {
        let alike = match (self.address, ip) {
            (IpAddr::V4(one), IpAddr::V4(other)) => (one.to_bits() ^ other.to_bits()).leading_zeros(),
            (IpAddr::V6(one), IpAddr::V6(other)) => (one.to_bits() ^ other.to_bits()).leading_zeros(),
            _ => return false,
        };
        alike >= self.prefix
    }
}

/// Parses a comma-separated list of at least one IP address, network (`10.0.0.0/8`) or `unix`,
/// which stands for peers of UNIX sockets.
///
/// A network of IPv4-mapped addresses is the IPv4 network: `::ffff:10.0.0.0/104` is `10.0.0.0/8`.
/// Other IPv6 networks, including `::/0`, contain no IPv4 peers.
///
/// Errors:
/// - A network of IPv4-mapped addresses has a prefix shorter than 96.
/// - A network's address has bits set beyond its prefix (`10.0.0.1/8`). It could mean one host or
///   the whole network.
impl FromStr for TrustedProxies {
    type Err = ParseTrustedError;

    fn from_str(text: &str) -> Result<TrustedProxies, ParseTrustedError> {
        let mut trusted = TrustedProxies { networks: Vec::new(), unix: false };
        for part in text.split(',').map(str::trim) {
            if part == "unix" {
                trusted.unix = true;
            } else {
                trusted.networks.push(read_network(part)?);
            }
        }
        Ok(trusted)
    }
}

fn read_network(text: &str) -> Result<Network, ParseTrustedError> {
    let wrong = |why| ParseTrustedError { text: text.to_owned(), why };
    let (address, prefix) = match text.split_once('/') {
        Some((address, prefix)) => (address, Some(prefix)),
        None => (text, None),
    };
    if address.contains('%') {
        return Err(wrong("a trusted peer must not have a zone: remove it"));
    }
    let address: IpAddr =
        address.parse().map_err(|_| wrong("neither an IP address nor a network nor unix"))?;
    let one = Network::one(address);
    let Some(prefix) = prefix else { return Ok(Network::one(address.to_canonical())) };
    let digits = !prefix.is_empty() && prefix.len() <= 3 && prefix.bytes().all(|byte| byte.is_ascii_digit());
    let network = match prefix.parse() {
        Ok(prefix) if digits && prefix <= one.prefix => Network { address, prefix },
        _ => return Err(wrong("a prefix length is 0 to 32 for IPv4 and 0 to 128 for IPv6")),
    };
    if let IpAddr::V6(six) = address
        && six.to_ipv4_mapped().is_some()
        && network.prefix < MAPPED_PREFIX
    {
        return Err(wrong("a network of IPv4-mapped addresses has a prefix of 96 to 128: write it as IPv4"));
    }
    if network.has_host_bits() {
        return Err(wrong(
            "the address has bits set beyond the prefix: write /32, or /128 for IPv6, for one host",
        ));
    }
    Ok(network.canonical())
}

impl fmt::Display for ParseTrustedError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "bad trusted peer \"{}\": {}", Escaped(&self.text), self.why)
    }
}

impl std::error::Error for ParseTrustedError {}

/// Number of bits before the IPv4 address in an IPv4-mapped address.
const MAPPED_PREFIX: u32 = 96;

#[cfg(test)]
mod tests {
    use super::*;

    fn has(trusted: &TrustedProxies, ip: &str) -> bool {
        trusted.has(&Address::Tcp((ip.parse::<IpAddr>().unwrap(), 1).into()))
    }

    #[test]
    fn a_network_has_the_addresses_that_begin_as_it_does() {
        let trusted: TrustedProxies = "10.0.0.0/8,192.0.2.1, 2001:db8::/33".parse().unwrap();
        for (ip, yes) in [
            ("9.255.255.255", false),
            ("10.0.0.0", true),
            ("10.255.255.255", true),
            ("11.0.0.0", false),
            ("192.0.2.0", false),
            ("192.0.2.1", true),
            ("192.0.2.2", false),
            ("2001:db8:7fff::1", true),
            ("2001:db8:8000::1", false),
            ("::ffff:10.0.0.1", true),
        ] {
            assert_eq!(has(&trusted, ip), yes, "{ip}");
        }
        assert!(has(&TrustedProxies::everybody(), "1.2.3.4") && has(&TrustedProxies::everybody(), "::1"));
        assert!(!has(&TrustedProxies::addresses(["::1".parse().unwrap()]), "::2"));
        assert!(!trusted.has(&Address::Unix(crate::UnixAddress::UNNAMED)));
    }

    #[test]
    fn a_network_has_its_peers_in_either_form() {
        for (network, inside, outside) in [
            ("::ffff:127.0.0.0/104", "127.255.255.255", "128.0.0.0"),
            ("::ffff:0:0/96", "255.255.255.255", "::1"),
            ("::ffff:10.1.2.3/128", "10.1.2.3", "10.1.2.2"),
            ("::ffff:10.1.2.2/127", "10.1.2.3", "10.1.2.4"),
            ("::ffff:10.1.2.3", "10.1.2.3", "10.1.2.4"),
            ("127.0.0.0/8", "127.1.2.3", "126.255.255.255"),
            ("0.0.0.0/0", "1.2.3.4", "::1"),
            ("1.2.3.4/32", "1.2.3.4", "1.2.3.5"),
            ("::/0", "ff::1", "1.2.3.4"),
            ("::1/128", "::1", "::2"),
            ("8000::/1", "ffff::", "7fff::"),
        ] {
            let trusted: TrustedProxies = network.parse().unwrap();
            assert!(has(&trusted, inside) && !has(&trusted, outside), "{network}");
            for (four, yes) in [(inside, true), (outside, false)] {
                if let Ok(IpAddr::V4(four)) = four.parse() {
                    assert_eq!(has(&trusted, &four.to_ipv6_mapped().to_string()), yes, "{network}: {four}");
                }
            }
        }
    }

    #[test]
    fn a_bad_list_is_refused_and_the_part_named() {
        for (list, part) in [
            ("", ""),
            ("10.0.0.0/33", "10.0.0.0/33"),
            ("::1, x", "x"),
            ("1.2.3.4/", "1.2.3.4/"),
            ("::/+1", "::/+1"),
            ("::/129", "::/129"),
            ("10.0.0.1/8", "10.0.0.1/8"),
            ("10.0.0.0/6", "10.0.0.0/6"),
            ("0.0.0.1/0", "0.0.0.1/0"),
            ("10.0.0.1/31", "10.0.0.1/31"),
            ("2001:db8::1/32", "2001:db8::1/32"),
            ("::1/127", "::1/127"),
            ("::ffff:127.0.0.1/104", "::ffff:127.0.0.1/104"),
            ("::ffff:0:0/95", "::ffff:0:0/95"),
            ("::ffff:127.0.0.0/8", "::ffff:127.0.0.0/8"),
        ] {
            assert_eq!(list.parse::<TrustedProxies>().unwrap_err().text, part);
        }
    }
}
