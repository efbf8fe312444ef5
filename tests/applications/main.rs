//! Monitor, feeds and load: in the simulation, and as commands.

#[cfg(feature = "cli")]
#[path = "../support/command/mod.rs"]
mod command;
#[path = "../support/modules.rs"]
mod modules;
#[path = "../support/world/mod.rs"]
mod world;

#[cfg(feature = "cli")]
mod command_demo;
#[cfg(feature = "cli")]
mod command_dig;
#[cfg(feature = "cli")]
mod command_dig_peers;
#[cfg(feature = "cli")]
mod command_echo;
#[cfg(feature = "cli")]
mod command_errno;
#[cfg(feature = "cli")]
mod command_load;
#[cfg(feature = "cli")]
mod command_monitor;
#[cfg(feature = "cli")]
mod command_output;
#[cfg(all(feature = "cli", target_os = "linux"))]
mod command_processes;
#[cfg(feature = "cli")]
mod command_real_services;
#[cfg(feature = "cli")]
mod command_traffic;
#[cfg(feature = "cli")]
mod command_usage;
#[cfg(feature = "cli")]
mod command_watch;
#[cfg(feature = "load")]
mod load_datagrams;
#[cfg(feature = "load")]
mod simulated_load;
#[cfg(feature = "monitor")]
mod simulated_monitor;
#[cfg(feature = "monitor")]
mod simulated_traffic;
#[cfg(feature = "monitor")]
mod warnings;
