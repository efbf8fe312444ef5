//! Files: operations on real and simulated disks, and what is left of data after kills, crashes and
//! faults of disks.

#[path = "../support/modules.rs"]
mod modules;
#[path = "../support/place/mod.rs"]
mod place;
#[path = "../support/world/mod.rs"]
mod world;

mod appending;
mod crashes;
mod disk_faults;
mod disk_in_hand;
mod locking;
mod log;
mod operations;
mod slow_disk;
mod stopping;
mod three_forms;
mod watching;
