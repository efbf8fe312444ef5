//! Addresses, datagrams and UNIX sockets.

#[path = "../support/modules.rs"]
mod modules;
#[path = "../support/world/mod.rs"]
mod world;

mod address_conversions;
mod address_order;
mod addresses;
mod adopted_sockets;
mod answers_to_datagrams;
mod datagrams;
mod descriptors_travel;
mod host_names;
mod ipv6_zones;
mod late_addresses;
mod racing_addresses;
mod resolvers;
mod stale_names;
mod stale_socket_files;
mod unix_datagrams;
mod unix_resets;
mod unix_sockets;
