//! The loop: timers, threads, phases of startup and shutdown.

#[path = "../support/modules.rs"]
mod modules;
#[path = "../support/world/mod.rs"]
mod world;

mod any_setting;
mod blocking_calls;
mod calls_from_threads;
mod completions;
mod connection_timers;
mod draining;
mod embedded;
mod facts_to_look_at;
mod held_up_loop;
mod jobs_in_threads;
mod names_of_others;
mod private_calls;
mod reactor_refuses_reentry;
mod reactors_on_cores;
mod several_reactors;
mod spinning;
mod startup_and_shutdown_phases;
mod stopping;
mod thread_flood;
mod time_between_turns;
mod timers_cancel_and_reset;
mod timers_in_order;
mod turn_hooks;
mod watched_descriptors;
mod zero_delay_waits_a_turn;
