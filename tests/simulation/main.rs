//! The simulated network, and its agreement with the real one.

#[path = "../support/modules.rs"]
mod modules;
#[path = "../support/process/mod.rs"]
mod process;
#[path = "../support/world/mod.rs"]
mod world;

mod datagrams;
mod echo;
mod faults;
mod links;
mod parity;
mod programs;
mod runs;
mod soak;
mod strikes;
mod time;
mod two_worlds;
mod unix;
