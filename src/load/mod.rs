//! Load on an echo server: every byte that comes back is compared, every message's latency recorded.
//!
//! A [`LoadTest`] runs on a [`Reactor`](crate::Reactor) as its [`LoadConfig`] says, and ends with a [`Report`]. It holds many
//! connections and keeps a number of messages under way on each; sends them at a steady rate; makes connections only to close them
//! again; or holds idle ones. It reads no clock but the reactor's, so it runs on a simulated network as it is.
//!
//! ```
//! use std::time::Duration;
//! use twistor::load::{LoadTest, LoadConfig};
//! use twistor::sim::Simulation;
//! # use twistor::{Protocol, Transport};
//! # struct Echo;
//! # impl Protocol for Echo {
//! #     fn data_received(&mut self, transport: &mut Transport<'_>, data: &[u8]) {
//! #         transport.write(data);
//! #     }
//! # }
//!
//! let mut simulation = Simulation::new(1);
//! let (server, client) = (simulation.host("server"), simulation.host("client"));
//! simulation.reactor(server).listen_tcp("0.0.0.0:7", || Echo)?;
//!
//! let plan = LoadConfig { connections: 10, rate: Some(1000.0), ..LoadConfig::default() };
//! let endpoint = twistor::endpoint::client_from_string("tcp:server:7")?;
//! let load = LoadTest::start(simulation.reactor(client), endpoint, plan)?;
//! simulation.run_until(|_| load.is_finished())?;
//!
//! let report = load.report();
//! assert!(report.is_success());
//! assert_eq!(report.tally.messages, 10_000);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # What a latency is
//!
//! Without a rate it is the time from handing a message to the reactor to the callback that has its last byte. With a
//! rate it begins when the message was *due*, whether it could be sent then or not: a server that stands still
//! for a second is seen by all the messages that a second holds, and not by the few that were under way
//! (the mistake of leaving them out is known as coordinated omission). How late the generator itself was is told apart.
//!
//! A message that was due and has no answer counts with the time that it had waited when its connection was lost, its datagram
//! was given up, or the load ended. So the latencies are those of all that was due, and the report says how many of these
//! were answered.
//!
//! The generator respects backpressure: a message for which the transport has no room waits, and its latency with a rate
//! counts from when it was due.
//!
//! Reading order: [`LoadConfig`]; [`LoadTest`]; [`Report`] with its [`Totals`], [`Distribution`]s and [`LoadError`]s; the text, the
//! JSON ([`json`]) and the picture ([`svg`]) of a report.

mod bars;
mod churning;
mod config;
mod datagram_client;
mod distribution;
mod echoing;
mod ending;
mod error;
mod figures;
mod handle;
pub mod json;
mod limit;
mod member;
mod opening;
mod pattern;
mod report;
mod run;
mod schedule;
mod sockets;
pub mod svg;
mod totals;
#[cfg(feature = "cli")]
pub(crate) mod totals_json;

pub use self::config::{LoadConfig, PlanError, Workload};
pub use self::distribution::Distribution;
pub use self::error::{Corruption, LoadError, Mismatch};
pub use self::handle::{LoadTest, Progress};
pub use self::limit::{Bottleneck, Limit};
pub use self::report::Report;
pub use self::totals::Totals;
