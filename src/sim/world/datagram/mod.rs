//! UDP, multicast groups and the queue of received datagrams.

pub(in crate::sim) mod multicast;
pub(in crate::sim) mod queue;
pub(in crate::sim) mod udp;
