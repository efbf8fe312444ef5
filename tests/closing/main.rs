//! The end of a connection: half-close, abort, loss.

#[path = "../support/modules.rs"]
mod modules;
#[path = "../support/world/mod.rs"]
mod world;

mod aborting;
mod bytes_before_the_end;
mod callbacks_in_order;
mod closing_flushes;
mod half_close;
mod half_open_peer;
mod lingering_close;
mod lost_exactly_once;
mod nothing_after_the_end;
mod nothing_is_thrown_away_unsaid;
mod reset_while_writing;
