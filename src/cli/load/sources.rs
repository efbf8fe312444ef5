//! Source addresses for a load that needs more ports than one address has.

use crate::ConnectTcp;
use crate::load::{LoadConfig, Workload};
use crate::net::system::ephemeral_ports;
use std::net::{IpAddr, Ipv4Addr};

/// Returns the loopback addresses that are needed for the connections of a load. Returns none if
/// the system's choice suffices, or if the target is not the loopback.
pub(super) fn spread(target: &ConnectTcp, config: &LoadConfig) -> Vec<IpAddr> {
    // Other systems have only 127.0.0.1.
    if cfg!(not(any(target_os = "android", target_os = "linux"))) {
        return Vec::new();
    }
    let loopback = target.host == "localhost"
        || target.host.parse::<Ipv4Addr>().is_ok_and(|address| address.is_loopback());
    match loopback && target.bind.is_none() && config.work != Workload::Churn {
        true => addresses(
            config.connections,
            ephemeral_ports().map_or(DEFAULT_PORTS, |(low, high)| count(low, high)),
        ),
        false => Vec::new(),
    }
}

/// Returns the number of ports in a range.
pub(super) fn count(low: u16, high: u16) -> usize {
    usize::from(high.saturating_sub(low)) + 1
}

/// Returns the addresses, each of which is given a quarter of its ports; a single address is used
/// up to half of them. For a bound socket, the kernel searches linearly through every second port
/// from a random start, which is slow when most of them are taken.
fn addresses(connections: usize, ports: usize) -> Vec<IpAddr> {
    let each = (ports / 4).max(1);
    if connections <= ports / 2 {
        return Vec::new();
    }
    (0..connections.div_ceil(each).min(MAX_ADDRESSES)).map(address).collect()
}

/// Returns 127.0.1.1 to 127.0.1.250, then 127.0.2.1 and so on.
fn address(number: usize) -> IpAddr {
    let part = |number: usize| u8::try_from(number + 1).unwrap_or(u8::MAX);
    Ipv4Addr::new(127, 0, part(number / 250), part(number % 250)).into()
}

/// The default range of Linux, 32768 to 60999.
const DEFAULT_PORTS: usize = 28_232;

/// 250 addresses in each of the networks 127.0.1 to 127.0.255.
const MAX_ADDRESSES: usize = 63_750;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_many_addresses_are_taken_as_have_ports_enough() {
        assert_eq!(addresses(14_116, 28_232), [] as [IpAddr; 0]);
        let many = addresses(500_000, 28_232);
        assert_eq!((many.len(), many[0].to_string()), (71, "127.0.1.1".into()));
        let far = addresses(1_000_000, 100);
        assert_eq!((far.len(), far[250].to_string()), (40_000, "127.0.2.1".into()));
        assert!(far.iter().all(IpAddr::is_loopback));
        assert_eq!(addresses(usize::MAX, 2).len(), MAX_ADDRESSES);
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn only_the_loopback_is_spread() {
        let config = LoadConfig {
            connections: 100_000,
            work: Workload::Hold { interval: None },
            ..LoadConfig::default()
        };
        for (host, spreads) in [
            ("127.0.0.1", true),
            ("localhost", true),
            ("127.9.9.9", true),
            ("10.0.0.1", false),
            ("::1", false),
        ] {
            assert_eq!(!spread(&ConnectTcp::new(host, 7), &config).is_empty(), spreads, "{host}");
        }
        let bound = ConnectTcp { bind: "127.0.0.9:0".parse().ok(), ..ConnectTcp::new("127.0.0.1", 7) };
        assert_eq!(spread(&bound, &config), [] as [IpAddr; 0]);
    }
}
