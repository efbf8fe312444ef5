//! The DNS resolver, with DNS servers on a simulated network, and the system's files that it reads.
#![cfg(feature = "dns")]

#[path = "../support/modules.rs"]
mod modules;
#[path = "../../fuzz/checks/system_files.rs"]
mod system_files;
#[path = "../support/world/mod.rs"]
mod world;

#[path = "../../fuzz/checks/dns_messages.rs"]
mod dns_messages;

mod lab;
mod message;

mod aliases;
mod any_answer;
mod any_system_file;
mod caching;
mod connecting;
mod decoding;
mod forgery;
mod forms;
mod joining;
mod limits;
mod records;
mod searching;
mod servers;
mod streams;
mod system;

/// A number of repetitions, which the environment can raise.
fn count(variable: &str, default: u64) -> u64 {
    std::env::var(variable).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}
