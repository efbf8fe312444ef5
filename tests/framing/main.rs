//! Framings of byte streams.

#[path = "../support/modules.rs"]
mod modules;
#[path = "../support/world/mod.rs"]
mod world;

mod codecs;
mod lines;
mod skipped_lines;
mod stateful;
mod strings;
