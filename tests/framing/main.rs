//! Framings of byte streams.

#[path = "../support/modules.rs"]
mod modules;
#[path = "../support/world/mod.rs"]
mod world;

mod codecs;
mod decoders;
mod lines;
mod own_framings;
mod redis;
mod skipped_lines;
mod stateful;
mod strings;
