//! Where the connections of a load come from, when one address has too few ports for them.

use crate::ConnectTcp;
use crate::load::{LoadConfig, Workload};
use std::net::{IpAddr, Ipv4Addr};

/// Addresses of this machine's loopback, as many as are needed so that the plan's connections have enough ports; none when
/// the system's choice will do, or the target is elsewhere.
pub(super) fn spread(target: &ConnectTcp, plan: &LoadConfig) -> Vec<IpAddr> {
    // Others have 127.0.0.1 alone.
    if cfg!(not(any(target_os = "android", target_os = "linux"))) {
        return Vec::new();
    }
    let loopback = target.host == "localhost"
        || target.host.parse::<Ipv4Addr>().is_ok_and(|address| address.is_loopback());
    match loopback && target.bind.is_none() && plan.work != Workload::Churn {
        true => addresses(plan.connections, ports().map_or(DEFAULT_PORTS, |(low, high)| count(low, high))),
        false => Vec::new(),
    }
}

/// The ports that the system gives to connections, first and last. `None` where it does not say.
pub(super) fn ports() -> Option<(u16, u16)> {
    let text = std::fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").ok()?;
    let mut ports = text.split_whitespace().map(|port| port.parse().ok());
    Some((ports.next()??, ports.next()??))
}

/// How many these are.
pub(super) fn count(low: u16, high: u16) -> usize {
    usize::from(high.saturating_sub(low)) + 1
}

/// One address has ports enough for half of them. Where there are several, each gets a quarter: for a socket that is bound to
/// an address the kernel looks for every other port first, one after the other from a place by chance, and looks long
/// when most of those are taken.
fn addresses(connections: usize, ports: usize) -> Vec<IpAddr> {
    let each = (ports / 4).max(1);
    if connections <= ports / 2 {
        return Vec::new();
    }
    (0..connections.div_ceil(each).min(MOST)).map(address).collect()
}

/// 127.0.1.1 to 127.0.1.250, 127.0.2.1 and so on.
fn address(number: usize) -> IpAddr {
    let part = |number: usize| u8::try_from(number + 1).unwrap_or(u8::MAX);
    Ipv4Addr::new(127, 0, part(number / 250), part(number % 250)).into()
}

/// As Linux has them: 32768 to 60999.
const DEFAULT_PORTS: usize = 28_232;

/// 250 in each of the networks 127.0.1 to 127.0.255.
const MOST: usize = 63_750;

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
        assert_eq!(addresses(usize::MAX, 2).len(), MOST);
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn only_the_loopback_is_spread() {
        let plan = LoadConfig {
            connections: 100_000,
            work: Workload::Hold { every: None },
            ..LoadConfig::default()
        };
        for (host, spreads) in [
            ("127.0.0.1", true),
            ("localhost", true),
            ("127.9.9.9", true),
            ("10.0.0.1", false),
            ("::1", false),
        ] {
            assert_eq!(!spread(&ConnectTcp::new(host, 7), &plan).is_empty(), spreads, "{host}");
        }
        let bound = ConnectTcp { bind: "127.0.0.9:0".parse().ok(), ..ConnectTcp::new("127.0.0.1", 7) };
        assert_eq!(spread(&bound, &plan), [] as [IpAddr; 0]);
    }
}
