//! A simulated network: the same protocols in virtual time, with any fault, decided by one seed.
//!
//! A [`Simulation`] has hosts with names and addresses, and each has a [`Reactor`](crate::Reactor) that is an ordinary one in every
//! respect, except that its network is a model. Protocols, factories, timers and whatever is built on them run unchanged:
//! the simulation stands at the level of system calls, so all of the framework's own code runs, buffers, short writes,
//! closing and limits included. Time jumps to the next thing that happens: a day takes seconds. The same seed gives the
//! same run, on every machine.
//!
//! ```
//! use std::time::Duration;
//! use twistor::sim::Simulation;
//! use twistor::{Protocol, Reason, Transport};
//!
//! struct Echo;
//!
//! impl Protocol for Echo {
//!     fn data_received(&mut self, transport: &mut Transport<'_>, data: &[u8]) {
//!         transport.write(data);
//!     }
//! }
//!
//! struct Client;
//!
//! impl Protocol for Client {
//!     fn connection_made(&mut self, transport: &mut Transport<'_>) {
//!         transport.write(b"hello");
//!     }
//!     fn data_received(&mut self, transport: &mut Transport<'_>, data: &[u8]) {
//!         assert_eq!(data, b"hello");
//!     }
//! }
//!
//! let mut simulation = Simulation::new(7);
//! let (server, client) = (simulation.host("server"), simulation.host("client"));
//! simulation.reactor(server).listen_tcp("0.0.0.0:7", || Echo)?;
//! simulation.reactor(client).connect_tcp("server:7", || Client)?;
//! simulation.run_for(Duration::from_secs(1))?;
//!
//! // The way between the two is cut for an hour. Nobody hears of it; afterwards they go on.
//! simulation.partition(server, client);
//! simulation.run_for(Duration::from_secs(3600))?;
//! simulation.heal(server, client);
//! assert_eq!(simulation.reactor(client).statistics().connections_lost, 0);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # What can be decided
//!
//! - **Links** ([`Link`]): latency and its distribution, bandwidth, loss; for datagrams duplication, reordering and their
//!   longest length. TCP is modelled as ordered streams of bytes: a loss is a stall, as it looks from above.
//! - **The network** ([`Network`], which a simulation is): partitions, resets, refusal, silence, full queues, limits of
//!   descriptors, names that are not found, slow readers, clocks that drift and jump.
//! - **Hosts** ([`Simulation`]): [`pause`](Simulation::pause), [`kill`](Simulation::kill), [`crash`](Simulation::crash)
//!   and what [`boots`](Simulation::boot) when they come back.
//! - **Strikes** ([`strike`](Simulation::inject_fault), [`mend`](Simulation::clear_fault)): any of these by its kind, for scripts that draw
//!   outages from the seed.
//! - **Rules** ([`Rule`], [`Fault`]): what looks at each packet and each system call, and lets it pass, delays, drops, shortens or
//!   fails it.
//! - **Chaos** ([`Chaos`]): all of that, drawn from the seed.
//!
//! # What it shows, and what it does not
//!
//! UNIX sockets are inside a host, and no link or partition concerns them. Their names are a space of each host's own, without
//! folders; files outlive a process that is killed. A full queue, closes with something unread and credentials (a number
//! for each process, one user and group for all) are as on Linux.
//!
//! UDP reaches every host: one by one, by broadcast (255.255.255.255, 10.255.255.255) and by groups, which are joined at a host's
//! network (interface 2) or loopback (1). There are no routers, so one hop is as good as many.
//!
//! Everything above the system calls is the code that runs in production. Below them is a model that follows
//! what Linux answers; one suite of conformance checks runs on both. Not modelled: segments and congestion,
//! TIME_WAIT, real threads (jobs and look-ups run at a virtual time, on the one thread there is).

mod chaos;
mod driver;
mod errors;
mod explore;
mod inject;
mod network;
mod random;
mod simulation;
mod world;

use crate::net::Instant;

pub use self::chaos::Chaos;
pub(crate) use self::driver::SimNet;
pub use self::errors::{RunError, Step};
pub use self::explore::Exploration;
pub use self::network::connect_gate::PendingConnect;
pub use self::network::coverage::{Coverage, FaultKind};
pub use self::network::errno::Errno;
pub use self::network::fault::Fault;
pub use self::network::link::{Latency, Link};
pub use self::network::program::SimProgram;
pub use self::network::rule::{Call, CallKind, Packet, PacketKind, Rule, Verdict};
pub use self::network::socket::{DatagramSocket, Socket, SocketListener, SocketOptions};
pub use self::network::{Network, RuleId};
pub use self::random::Random;
pub use self::simulation::Simulation;

/// A host of a simulated network, by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Host(u32);

impl Host {
    /// Its number: hosts are numbered from 0 in the order in which they were made.
    pub fn index(self) -> usize {
        self.0 as usize
    }
}
