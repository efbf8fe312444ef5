//! The test doubles for users.

#[path = "../support/modules.rs"]
mod modules;

mod clock;
mod leftovers;
mod memory_reactor;
mod pair;
mod string_transport;
