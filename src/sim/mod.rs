//! Deterministic simulation: the same protocols on a simulated network in virtual time, with faults
//! drawn from one seed.
//!
//! A [`Simulation`] has hosts with names and addresses. Each host has an ordinary
//! [`Reactor`](crate::Reactor) whose network is a model. Protocols, factories, timers and
//! everything built on them run unchanged. The simulation replaces system calls, so all of the
//! framework's own code runs, including buffers, short writes, closing and limits. Virtual time
//! jumps to the next event: a day takes seconds. The same seed gives the same run on every machine.
//! The module needs the feature `sim`, which belongs into a program's
//! [dev-dependencies](crate::testing).
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
//! // The path is cut for an hour. No connection is lost; transfers continue afterwards.
//! simulation.partition(server, client);
//! simulation.run_for(Duration::from_secs(3600))?;
//! simulation.heal(server, client);
//! assert_eq!(simulation.reactor(client).statistics().connections_lost, 0);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Controls
//!
//! - **Links** ([`Link`]): latency and its distribution, bandwidth, loss; for datagrams
//!   duplication, reordering and the MTU. TCP is modelled as ordered streams of bytes. A lost
//!   segment appears as a stall, as an application sees it.
//! - **The network** ([`Network`], to which a simulation dereferences): partitions, resets,
//!   refusal, silence, full backlogs, descriptor limits, failing name resolution, slow readers,
//!   clock drift and clock steps.
//! - **Hosts** ([`Simulation`]): [`pause`](Simulation::pause), [`kill`](Simulation::kill),
//!   [`crash`](Simulation::crash) and the program that [boots](Simulation::boot) when they come
//!   back.
//! - **Disks** ([`Disk`]): each host has one. It can be full, slow or read-only, and loses or tears
//!   unsynced data in a crash.
//! - **Scripted faults** ([`inject_fault`](Simulation::inject_fault),
//!   [`clear_fault`](Simulation::clear_fault)): any of these by its kind, for scripts that draw
//!   outages from the seed.
//! - **Rules** ([`Rule`], [`Fault`]): callbacks for each packet and each system call. A rule
//!   passes, delays, drops, shortens or fails it.
//! - **Chaos** ([`Chaos`]): all of these, drawn from the seed.
//!
//! # Model and limits
//!
//! UNIX sockets are local to a host; links and partitions do not affect them. Each host has its own
//! namespace of socket names, without folders. Socket files outlive a process that is killed. Full
//! backlogs, closes with unread data and credentials (a number for each process, one user and group
//! for all) follow Linux.
//!
//! Files have contents, names, lengths, modification times and locks. Permissions are recorded and
//! not checked, and there are no hard links.
//!
//! UDP reaches every host by unicast, by broadcast (255.255.255.255, 10.255.255.255) and by
//! multicast groups. Groups are joined on a host's network (interface 2) or loopback (1). There are
//! no routers, so one hop suffices.
//!
//! All code above the system calls is the code that runs in production. The model below them
//! follows Linux, and one conformance suite runs on both. Not modelled:
//!
//! - TCP segments and congestion control;
//! - TIME_WAIT;
//! - real threads: jobs and look-ups run at a virtual time, on the only thread.

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
pub use self::errors::{SimulationError, SimulationStep};
pub use self::explore::Exploration;
pub use self::network::connect_gate::PendingConnect;
pub use self::network::coverage::{Coverage, FaultKind};
pub use self::network::disk::Disk;
pub use self::network::errno::Errno;
pub use self::network::fault::Fault;
pub use self::network::link::{Latency, Link};
pub use self::network::program::SimProgram;
pub use self::network::rule::{Call, CallKind, Packet, PacketKind, Rule, Verdict};
pub use self::network::socket::{DatagramSocket, Socket, SocketListener, SocketOptions};
pub use self::network::{Network, RuleId};
pub use self::random::Random;
pub use self::simulation::Simulation;

/// The identifier of a host of a simulated network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Host(u32);

impl Host {
    /// The host's number, counted from 0 in the order of creation.
    pub fn index(self) -> usize {
        self.0 as usize
    }
}
