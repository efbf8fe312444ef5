//! TCP: handshakes, streams of bytes and their transit.

pub(in crate::sim) mod connect;
pub(in crate::sim) mod connection;
pub(in crate::sim) mod io;
pub(in crate::sim) mod listen;
pub(in crate::sim) mod transit;
