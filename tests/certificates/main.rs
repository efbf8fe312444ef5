//! Certificates in files: endpoints in text, reload, the monitor, `twistor cert`, and peers of other
//! projects.

#[cfg(feature = "cli")]
#[path = "../support/command/mod.rs"]
mod command;
#[path = "../support/modules.rs"]
mod modules;
#[path = "../support/place/mod.rs"]
mod place;
#[path = "../support/world/mod.rs"]
mod world;

mod authority;
#[cfg(feature = "cli")]
mod command_cert;
#[cfg(feature = "cli")]
mod command_peers;
#[cfg(feature = "cli")]
mod command_servers;
mod endpoints;
mod reloading;
mod simulated_monitor;
