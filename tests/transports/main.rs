//! Reading and writing: budgets, water marks, producers.

#[path = "../support/layers/mod.rs"]
mod layers;
#[path = "../support/modules.rs"]
mod modules;
#[path = "../support/world/mod.rs"]
mod world;

mod bounded_shares;
mod buffer_limit;
mod end_of_input;
mod io_write;
mod large_writes;
mod many_small_writes_leave_together;
mod pausing_reading;
mod producers_pull;
mod producers_push;
mod reading_in_shares;
mod receiving_again;
mod water_marks;
mod writes_go_nowhere;
mod writing_to_others;
