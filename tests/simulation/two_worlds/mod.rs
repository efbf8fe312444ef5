//! One scenario, played in lock step on the system's loopback and on a simulated one, and the
//! records of both.

pub mod actor;
mod plain;
pub mod play;
pub mod sockets;
pub mod stage;
pub mod step;
