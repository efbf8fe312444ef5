//! The order in which the addresses of a name are tried. (RFC 6724, 6: destination address
//! selection.)
//!
//! The rules compare an address with the source address that the system would use for it. The
//! driver is asked for that. Rules 3, 4 and 7 need properties of interfaces that it does not
//! report, and are left out. Rule 9, the longest common prefix, is applied to IPv6 only: among
//! IPv4 addresses it would undo a DNS server's balancing. (glibc and Go do the same.)

use std::cmp::Reverse;
use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use rustix::io::Errno;

use crate::reactor::Reactor;

impl Reactor {
    /// Sorts the addresses of a name. Addresses of equal rank keep their order. If the source
    /// addresses cannot be found out, all addresses do.
    pub(in crate::reactor) fn in_destination_order(&mut self, addresses: Vec<SocketAddr>) -> Vec<SocketAddr> {
        if all_equal(&addresses) {
            return addresses;
        }
        let mut ranked = Vec::with_capacity(addresses.len());
        for address in addresses.iter().take(MAX_SORTED) {
            match source(self.net.source_address(*address)) {
                Ok(source) => ranked.push((Rank::of(address.ip(), source), *address)),
                Err(_) => return addresses,
            }
        }
        ranked.sort_by_key(|(rank, _)| *rank);
        let rest = addresses.iter().skip(MAX_SORTED).copied();
        ranked.into_iter().map(|(_, address)| address).chain(rest).collect()
    }
}

/// Whether the order does not depend on source addresses: IPv4 addresses of one scope. This is the
/// usual case, and saves the system calls.
fn all_equal(addresses: &[SocketAddr]) -> bool {
    let is_global = |address: &SocketAddr| {
        let ip = address.ip().to_canonical();
        ip.is_ipv4() && Scope::of(ip) == Scope::GLOBAL
    };
    addresses.len() < 2 || addresses.iter().all(is_global)
}

/// `None`: this machine has no route to the address. An error says nothing about the address.
fn source(found: io::Result<IpAddr>) -> io::Result<Option<IpAddr>> {
    match found {
        Ok(source) => Ok(Some(source)),
        Err(error) => match Errno::from_io_error(&error) {
            Some(
                Errno::NETUNREACH
                | Errno::HOSTUNREACH
                | Errno::NETDOWN
                | Errno::ADDRNOTAVAIL
                | Errno::AFNOSUPPORT
                | Errno::ACCESS
                | Errno::PERM
                | Errno::INVAL,
            ) => Ok(None),
            _ => Err(error),
        },
    }
}

/// The rules as a value that is compared from the first to the last field. The least is tried
/// first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Rank {
    /// Rule 1: avoid unusable destinations.
    is_unusable: bool,
    /// Rule 2: prefer matching scope.
    scope_differs: bool,
    /// Rule 5: prefer matching label.
    label_differs: bool,
    /// Rule 6: prefer higher precedence. It differs between the families.
    precedence: Reverse<u8>,
    /// Rule 8: prefer smaller scope.
    scope: Scope,
    /// Rule 9: use longest matching prefix. 0 for IPv4.
    common_prefix: Reverse<u32>,
}

impl Rank {
    fn of(destination: IpAddr, source: Option<IpAddr>) -> Rank {
        let destination = destination.to_canonical();
        let source = source.map(|source| source.to_canonical());
        let (policy, scope) = (Policy::of(destination), Scope::of(destination));
        Rank {
            is_unusable: source.is_none(),
            scope_differs: source.is_some_and(|source| Scope::of(source) != scope),
            label_differs: source.is_some_and(|source| Policy::of(source).label != policy.label),
            precedence: Reverse(policy.precedence),
            scope,
            common_prefix: Reverse(source.map_or(0, |source| common_prefix(destination, source))),
        }
    }
}

/// The scope of an address, by the numbers of multicast scopes. (RFC 6724, 3.1 and 3.2.)
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Scope(u8);

impl Scope {
    const LINK_LOCAL: Scope = Scope(2);
    const SITE_LOCAL: Scope = Scope(5);
    const GLOBAL: Scope = Scope(14);

    fn of(address: IpAddr) -> Scope {
        match address {
            IpAddr::V4(four) if four.is_loopback() || four.is_link_local() => Scope::LINK_LOCAL,
            IpAddr::V4(_) => Scope::GLOBAL,
            IpAddr::V6(six) => match six.octets() {
                [0xff, second, ..] => Scope(second & 0x0f),
                _ if six.is_loopback() || six.is_unicast_link_local() => Scope::LINK_LOCAL,
                [0xfe, second, ..] if second & 0xc0 == 0xc0 => Scope::SITE_LOCAL,
                _ => Scope::GLOBAL,
            },
        }
    }
}

/// An entry of the policy table. (RFC 6724, 2.1.)
struct Policy {
    precedence: u8,
    label: u8,
}

impl Policy {
    fn of(address: IpAddr) -> Policy {
        let (precedence, label) = match address {
            IpAddr::V4(_) => (35, 4),
            IpAddr::V6(six) => match six.segments() {
                _ if six.is_loopback() => (50, 0),
                [0x2002, ..] => (30, 2),
                [0x2001, 0, ..] => (5, 5),
                [first, ..] if first & 0xfe00 == 0xfc00 => (3, 13),
                [0, 0, 0, 0, 0, 0, _, _] => (1, 3),
                [first, ..] if first & 0xffc0 == 0xfec0 => (1, 11),
                [0x3ffe, ..] => (1, 12),
                _ => (40, 1),
            },
        };
        Policy { precedence, label }
    }
}

/// Number of equal leading bits of two IPv6 addresses, at most 64: the rest names an interface
/// within its network.
fn common_prefix(one: IpAddr, other: IpAddr) -> u32 {
    let bits = |address: Ipv6Addr| u128::from(address);
    match (one, other) {
        (IpAddr::V6(one), IpAddr::V6(other)) => (bits(one) ^ bits(other)).leading_zeros().min(64),
        _ => 0,
    }
}

/// Limit on the addresses that are sorted, because each takes system calls. The rest is tried
/// after them.
const MAX_SORTED: usize = 32;

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    /// Sorts pairs of a destination and its source. `-` is no source.
    fn sorted<'a>(pairs: &[(&'a str, &str)]) -> Vec<&'a str> {
        let mut ranked: Vec<_> = pairs
            .iter()
            .map(|(to, from)| (Rank::of(ip(to), (*from != "-").then(|| ip(from))), *to))
            .collect();
        ranked.sort_by_key(|(rank, _)| *rank);
        ranked.into_iter().map(|(_, to)| to).collect()
    }

    #[test]
    fn the_examples_of_the_rfc_are_sorted_as_it_says() {
        // RFC 6724, 10.2. The preferred address is the first of each pair.
        for (preferred, other) in [
            (("2001:db8:1::1", "2001:db8:1::2"), ("198.51.100.121", "169.254.13.78")),
            (("198.51.100.121", "198.51.100.117"), ("2001:db8:1::1", "fe80::1")),
            (("2001:db8:1::1", "2001:db8:1::2"), ("10.1.2.3", "10.1.2.4")),
            (("fe80::1", "fe80::2"), ("2001:db8:1::1", "2001:db8:1::2")),
            (("2001:db8:1::1", "2001:db8:1::2"), ("fe80::1", "2001:db8:1::2")),
            (("2002:c633:6401::1", "2002:c633:6401::2"), ("2001:db8:1::1", "2002:c633:6401::2")),
            (("2001:db8:1::1", "2001:db8:1::2"), ("2002:c633:6401::1", "2002:c633:6401::2")),
            (("2001:db8:1::1", "2001:db8:1::2"), ("2001:db8:3ffe::1", "2001:db8:3f44::2")),
        ] {
            for pairs in [[preferred, other], [other, preferred]] {
                assert_eq!(sorted(&pairs), [preferred.0, other.0], "{pairs:?}");
            }
        }
    }

    #[test]
    fn each_rule_decides_where_those_before_it_do_not() {
        for (rule, preferred, other) in [
            (1, ("10.0.0.1", "10.0.0.2"), ("2001:db8::1", "-")),
            (2, ("192.0.2.1", "192.0.2.2"), ("2001:db8::1", "fe80::1")),
            (5, ("192.0.2.1", "10.0.0.2"), ("2001:db8::1", "fd00::1")),
            (6, ("::1", "::1"), ("127.0.0.1", "127.0.0.1")),
            (6, ("192.0.2.1", "192.0.2.2"), ("fd00::1", "fd00::2")),
            (6, ("192.0.2.1", "192.0.2.2"), ("2001:0:4136:e378::1", "2001:0:4136:e378::2")),
            (8, ("169.254.0.1", "169.254.0.2"), ("192.0.2.1", "192.0.2.2")),
            (8, ("fec0::1", "fec0::2"), ("::2", "::3")),
            (9, ("2001:db8:1::1", "2001:db8:1::2"), ("2001:db8:2::1", "2001:db8:1::2")),
        ] {
            for pairs in [[preferred, other], [other, preferred]] {
                assert_eq!(sorted(&pairs), [preferred.0, other.0], "rule {rule}");
            }
        }
    }

    #[test]
    fn addresses_of_equal_rank_keep_their_order() {
        for pairs in [
            // An equal prefix of IPv4 addresses does not count.
            [("192.0.2.1", "10.0.0.1"), ("10.0.0.2", "10.0.0.1")],
            // The last 64 bits do not count.
            [("2001:db8::f000", "2001:db8::1"), ("2001:db8::2", "2001:db8::1")],
            [("::ffff:192.0.2.1", "10.0.0.1"), ("192.0.2.2", "10.0.0.1")],
            [("2001:db8::1", "-"), ("2001:db8::2", "-")],
        ] {
            assert_eq!(sorted(&pairs), [pairs[0].0, pairs[1].0]);
            assert_eq!(sorted(&[pairs[1], pairs[0]]), [pairs[1].0, pairs[0].0]);
        }
    }

    #[test]
    fn scopes_are_those_of_the_rfc() {
        for (address, scope) in [
            ("127.0.0.1", 2),
            ("169.254.1.1", 2),
            ("10.0.0.1", 14),
            ("::1", 2),
            ("fe80::1", 2),
            ("fec0::1", 5),
            ("fd00::1", 14),
            ("ff02::1", 2),
            ("ff0e::1", 14),
        ] {
            assert_eq!(Scope::of(ip(address)), Scope(scope), "{address}");
        }
    }

    #[test]
    fn ipv4_addresses_alone_need_no_sources() {
        let all_equal = |text: &str| {
            let addresses = text.split(' ').map(|text| SocketAddr::new(ip(text), 80));
            all_equal(&addresses.collect::<Vec<_>>())
        };
        assert!(all_equal("192.0.2.1 10.0.0.1 203.0.113.1") && all_equal("2001:db8::1"));
        assert!(!all_equal("192.0.2.1 127.0.0.1"));
        assert!(!all_equal("2001:db8::1 2001:db8::2") && !all_equal("192.0.2.1 2001:db8::1"));
    }
}
