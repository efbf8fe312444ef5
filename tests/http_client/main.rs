//! The HTTP client, on a simulated network, beside real servers and as the command `twistor get`.

#[path = "../support/command/mod.rs"]
mod command;
#[path = "../support/modules.rs"]
mod modules;
#[path = "../support/world/mod.rs"]
mod world;

mod scene;

mod bodies;
mod compression;
mod get_command;
mod keeping;
mod proxies;
mod real_peers;
mod redirects;
mod secure;
mod streaming;
mod timeouts;
