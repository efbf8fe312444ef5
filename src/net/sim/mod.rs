//! A simulated network: a seeded world of hosts, ways between them and virtual time, behind the same seam.
//!
//! A [`World`](world::World) holds everything; a process on one of its hosts reaches it through [`SimNet`], which answers
//! the calls of the seam, or through plain [`Socket`]s. TCP is two ordered streams of bytes for each connection, whose loss is a
//! stall. A handshake has three legs: the client is connected after one round trip, and the server can accept half a
//! round trip later. Packets, windows of congestion and sequence numbers are not modelled, nor is TIME_WAIT, nor a
//! queue of handshakes apart from the backlog: each takes a place there from its first leg on. What a system
//! answers (which errors, in which order, what a close with unread bytes does) follows Linux.
//!
//! UNIX sockets are inside a host: `names` has what they are bound to, `unix` their streams, which are connections without a way,
//! `unix_datagram` their datagrams. `datagram` is UDP, `groups` what goes to many, `mailbox` what all datagrams have in common.
//!
//! Time is a number that jumps to the next thing that happens. Everything that could be otherwise (order of what
//! happens at the same time, latencies, losses, ports, faults) is drawn from streams of random numbers that
//! one seed decides; nothing depends on addresses in memory, hashes or the machine.

mod clock;
mod connecting;
mod connection;
mod coverage;
mod datagram;
mod driver;
mod errno;
mod events;
mod fault;
mod groups;
mod holding;
mod jobs;
mod link;
mod listening;
mod lookups;
mod machine;
mod mailbox;
mod names;
mod network;
mod process;
mod program;
mod random;
mod rule;
mod scheduling;
mod socket;
mod streams;
mod trace;
mod travelling;
mod unix;
mod unix_datagram;
mod world;

use super::Instant;

pub use self::coverage::{Coverage, FaultKind};
pub(crate) use self::driver::SimNet;
pub use self::errno::Errno;
pub use self::fault::Fault;
pub use self::holding::PendingConnect;
pub use self::link::{Latency, Link};
pub use self::network::{Network, RuleId};
pub use self::program::SimProgram;
pub use self::random::Random;
pub use self::rule::{Call, CallKind, Packet, PacketKind, Rule, Verdict};
pub use self::socket::{DatagramSocket, Socket, SocketListener, SocketOptions};

/// A host of a simulated network, by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Host(u32);

impl Host {
    /// Its number: hosts are numbered from 0 in the order in which they were made.
    pub fn index(self) -> usize {
        self.0 as usize
    }
}
