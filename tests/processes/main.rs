//! Child processes and standard streams.

#[path = "../support/modules.rs"]
mod modules;
#[path = "../support/process/mod.rs"]
mod process;
#[path = "../support/world/mod.rs"]
mod world;

mod life;
mod output;
mod pipes;
mod standard_streams;
mod stop;
mod swap;
mod terminal;
