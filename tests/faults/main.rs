//! Panics, signals, failing system calls, exhausted descriptors.

#[path = "../support/modules.rs"]
mod modules;
#[path = "../support/world/mod.rs"]
mod world;

mod close_on_exec;
mod descriptor_exhaustion;
mod descriptor_leaks;
mod eintr;
mod errno_matrix;
#[cfg(feature = "cli")]
mod errors_as_io_errors;
mod errors_for_people;
mod errors_of_the_system;
mod failing;
mod panics_in_calls;
mod panics_in_drops;
mod panics_in_factories;
mod panics_in_protocols;
mod signals;
mod system_calls_that_fail;
