//! TLS as a layer of a connection.

#[path = "../support/modules.rs"]
mod modules;
#[path = "../support/world/mod.rs"]
mod world;

mod alpn_and_names;
mod bad_certificates;
mod bare;
mod bulk;
mod certificates;
mod client_certificates;
mod clock;
mod closing;
mod configuration;
mod end;
mod handshake;
mod not_tls;
mod promises;
mod real_peers;
mod resumption;
mod start_tls;
mod streams;
mod under_faults;
