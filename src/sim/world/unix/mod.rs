//! UNIX sockets of a host: names, streams and datagrams.

pub(in crate::sim) mod datagram;
pub(in crate::sim) mod names;
pub(in crate::sim) mod stream;
