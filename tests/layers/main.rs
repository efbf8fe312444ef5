//! Layers below a protocol, and the policies built on them.

#[path = "../support/layers/mod.rs"]
mod layers;
#[path = "../support/modules.rs"]
mod modules;
#[path = "../support/world/mod.rs"]
mod world;

mod build_context;
mod handshake;
mod hold_back;
mod in_mid_connection;
mod in_order;
mod panic;
mod policy_counting;
mod policy_file_sender;
mod policy_idle_timeout;
mod policy_limits;
mod policy_limits_in_layers;
mod policy_port_forward;
mod policy_proxy_headers;
mod policy_proxy_protocol;
mod policy_real_proxies;
mod policy_splice;
mod policy_throttle;
