//! The parsers of the system's files take any bytes. The fuzz targets check the same.

use super::system_files::{hosts, resolv_conf};
use twistor::sim::Random;
use twistor::sim::Simulation;

/// Words and characters that have a meaning in one of the files, and others.
const PARTS: &[&str] = &[
    "nameserver",
    "search",
    "domain",
    "options",
    "sortlist",
    "hosts:",
    "hosts",
    " ",
    " ",
    " ",
    "\t",
    "\n",
    "\n",
    "\n",
    "\r\n",
    "#",
    ";",
    ".",
    "..",
    ":",
    "%",
    "[",
    "]",
    "!",
    "=",
    "127.0.0.1",
    "::1",
    "fe80::1%eth0",
    "fe80::1%3",
    "fe80::1",
    "192.0.2.1",
    "192.0.2.2",
    "0.0.0.0",
    "::",
    "a",
    "b.example",
    "B.Example.",
    "xn--a",
    "ndots:",
    "timeout:",
    "attempts:",
    "ndots:3",
    "timeout:99999999999",
    "attempts:0",
    "rotate",
    "use-vc",
    "trust-ad",
    "no-aaaa",
    "no-tld-query",
    "edns0",
    "files",
    "dns",
    "mdns4_minimal",
    "[NOTFOUND=return]",
    "resolve",
    "myhostname",
    "[!UNAVAIL=return]",
    "ldap",
    "\u{0}",
    "\u{1b}",
    "\u{e9}",
    "\u{202e}",
    "-1",
    "7",
];

fn draw(random: &mut Random) -> Vec<u8> {
    let mut file = Vec::new();
    for _ in 0..random.below(60) {
        match random.below(12) {
            0 => file.push(random.below(256) as u8),
            1 => file.extend("x".repeat(random.index(300)).as_bytes()),
            _ => file.extend(random.pick(PARTS).as_bytes()),
        }
    }
    file
}

#[test]
fn any_file_is_parsed_as_a_plain_search_reads_it() {
    let mut random = Simulation::new(1).random("system files");
    for _ in 0..5_000 {
        let file = draw(&mut random);
        resolv_conf(&file);
        hosts(&file);
    }
}

#[test]
fn long_files_take_linear_time() {
    for part in
        ["127.0.0.1 a\n", "a ", "#", "\n", "options ndots:1 ", "search a ", ".", "127.0.0.1 a a a a ", "%"]
    {
        let file = part.repeat(1_000_000 / part.len());
        resolv_conf(file.as_bytes());
        let hosts = twistor::dns::system::Hosts::parse(file.as_bytes(), twistor::dns::system::no_interfaces);
        assert!(hosts.skipped.len() <= 16);
    }
}
