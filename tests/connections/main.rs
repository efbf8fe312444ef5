//! Listening and connecting.

#[path = "../support/modules.rs"]
mod modules;
#[path = "../support/world/mod.rs"]
mod world;

mod accepting_at_a_pace;
mod backlog;
mod connecting;
mod connecting_can_be_given_up;
mod connection_limit;
mod factories_start_and_stop;
mod listening;
mod refused_by_factory;
mod reset_before_accept;
mod simulation_decided_connects;
