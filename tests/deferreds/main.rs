//! Deferreds, and what is built on them.

#[path = "../support/modules.rs"]
mod modules;
#[path = "../support/world/mod.rs"]
mod world;

mod at_random;
mod awaited;
mod callbacks;
mod cancelling;
mod chaining;
mod cooperator;
mod locks;
mod looping_call;
mod pausing;
mod queues;
mod several;
mod threads;
mod timeouts;
mod unhandled;
