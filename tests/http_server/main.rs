//! The HTTP server: its requests, limits and files, on simulated networks and real sockets.

#[path = "../support/modules.rs"]
mod modules;

mod lab;

mod bodies;
mod crowding;
mod draining;
mod events;
mod files;
mod framing;
mod limits;
mod real_peers;
mod requests;
mod streams;
mod time_limits;
