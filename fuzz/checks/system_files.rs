//! Properties of the parsers of `resolv.conf`, `nsswitch.conf` and `hosts`, for any input. Fuzz
//! targets and tests share them.
#![allow(dead_code, reason = "each fuzz target uses its part")]

use std::net::{IpAddr, SocketAddr};

use twistor::dns::system::{Hosts, NameServiceSwitch, ResolvConf, SkippedLine, SystemReason};

fn interface_index(name: &str) -> Option<u32> {
    (name == "eth0").then_some(7)
}

/// Checks `resolv.conf` and `nsswitch.conf`.
pub fn resolv_conf(data: &[u8]) {
    let conf = ResolvConf::parse(data, interface_index);
    assert!((1..=3).contains(&conf.servers.len()));
    assert!(conf.servers.iter().all(|server| server.port() == 53 && !server.ip().is_unspecified()));
    assert!(conf.ndots <= 15);
    assert!(conf.timeout.is_none_or(|timeout| (1..=30).contains(&timeout.as_secs())));
    assert!(conf.attempts.is_none_or(|attempts| (1..=5).contains(&attempts)));
    assert!(conf.search.len() <= 32 && conf.search.iter().all(|domain| is_name(domain)));
    check_skipped(&conf.skipped);
    for name in ["www", "www.example", "www.example.", "."] {
        let candidates: Vec<String> = conf.candidates(name).collect();
        assert!(candidates.len() <= 33 && candidates.iter().all(|name| name.len() <= 253));
        assert!(conf.no_tld_query || candidates.contains(&name.trim_end_matches('.').to_owned()));
    }
    let again = ResolvConf { skipped: Vec::new(), ..ResolvConf::parse(&written(&conf), interface_index) };
    assert_eq!(again, ResolvConf { skipped: Vec::new(), inet6: false, ..conf });

    let switch = NameServiceSwitch::parse(data);
    check_skipped(&switch.skipped);
    match switch.sources("www.example", "here") {
        Ok(sources) => assert!((1..=2).contains(&sources.len())),
        Err(reason) => assert!(reason == SystemReason::Unknown && switch.is_unknown()),
    }
}

/// The file that says the same.
fn written(conf: &ResolvConf) -> Vec<u8> {
    let mut text = String::new();
    for server in &conf.servers {
        text += &match server {
            SocketAddr::V6(six) if six.scope_id() != 0 => {
                format!("nameserver {}%{}\n", six.ip(), six.scope_id())
            }
            other => format!("nameserver {}\n", other.ip()),
        };
    }
    text += &format!("search {}\noptions ndots:{}\n", conf.search.join(" "), conf.ndots);
    text += &conf.timeout.map_or(String::new(), |time| format!("options timeout:{}\n", time.as_secs()));
    text += &conf.attempts.map_or(String::new(), |attempts| format!("options attempts:{attempts}\n"));
    for (option, on) in [
        ("rotate", conf.rotate),
        ("use-vc", conf.use_vc),
        ("trust-ad", conf.trust_ad),
        ("edns0", conf.edns0),
        ("no-aaaa", conf.no_aaaa),
        ("no-tld-query", conf.no_tld_query),
        ("no-reload", conf.no_reload),
    ] {
        text += &if on { format!("options {option}\n") } else { String::new() };
    }
    text.into_bytes()
}

/// Compares the index with a plain search through the lines.
pub fn hosts(data: &[u8]) {
    let hosts = Hosts::parse(data, interface_index);
    check_skipped(&hosts.skipped);
    let text = String::from_utf8_lossy(data);
    let mut lines: Vec<(IpAddr, Vec<String>)> = Vec::new();
    for line in text.split('\n') {
        let line = line.split('#').next().unwrap_or_default();
        let mut words = line.split([' ', '\t', '\r']).filter(|word| !word.is_empty());
        let Some(first) = words.next() else { continue };
        // Zones are left to the tests of the parser.
        let Ok(address) = first.parse::<IpAddr>() else { continue };
        if matches!(address, IpAddr::V6(six) if six.is_unicast_link_local()) {
            continue;
        }
        let names = words.map(|name| name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase());
        let names: Vec<String> = names.filter(|name| is_name(name)).collect();
        if !names.is_empty() {
            lines.push((address, names));
        }
    }
    let has_zones = text.contains('%');
    assert!(has_zones || hosts.len() == lines.len(), "{} {}", hosts.len(), lines.len());
    // A search for each name takes quadratic time.
    for (address, names) in lines.iter().take(100) {
        let first = lines.iter().find(|(other, _)| other == address).map(|(_, names)| names);
        let found: Vec<&str> = hosts.names(*address).collect();
        assert!(has_zones || first.is_some_and(|names| *names == found));
        for name in names.iter().take(100) {
            let found: Vec<IpAddr> = hosts.addresses(name).map(|address| address.ip()).collect();
            let has = |(address, names): &(IpAddr, Vec<String>)| {
                names.iter().filter(|other| *other == name).map(|_| *address).collect::<Vec<_>>()
            };
            let expected: Vec<IpAddr> = lines.iter().flat_map(has).collect();
            assert!(has_zones || found == expected, "{name}: {found:?} {expected:?}");
            assert!(hosts.canonical_name(name).is_some_and(is_name));
        }
    }
}

fn is_name(name: &str) -> bool {
    let is_label = |label: &str| !label.is_empty() && label.len() <= 63;
    name.len() <= 253
        && name.split('.').all(is_label)
        && name.bytes().all(|byte| byte.is_ascii_graphic() && !byte.is_ascii_uppercase())
}

fn check_skipped(skipped: &[SkippedLine]) {
    assert!(skipped.len() <= 16);
    for line in skipped {
        assert!(line.text.chars().count() <= 80);
        assert!(!line.to_string().contains(char::is_control));
    }
}
