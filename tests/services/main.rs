//! Endpoints and services.

#[path = "../support/modules.rs"]
mod modules;
#[path = "../support/world/mod.rs"]
mod world;

mod endpoint_datagrams;
mod endpoint_haproxy;
mod endpoint_sockets;
mod endpoint_text;
mod service_attached;
mod service_chaos;
mod service_client;
mod service_client_states;
mod service_datagrams;
mod service_processes;
mod service_run;
mod service_servers;
mod service_timers;
mod service_trees;
