//! Load tests against an echo server: every received byte is compared, and every latency recorded.
//!
//! A [`LoadTest`] runs on a [`Reactor`](crate::Reactor) as configured by its [`LoadConfig`], and
//! ends with a [`Report`]. It can keep messages in flight on many connections, send them at a
//! steady rate, make and close connections continuously, or hold idle ones. It reads only the
//! reactor's clock, so it also runs on a simulated network.
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
//! let config = LoadConfig { connections: 10, rate: Some(1000.0), ..LoadConfig::default() };
//! let endpoint = twistor::endpoint::client_from_string("tcp:server:7")?;
//! let load = LoadTest::start(simulation.reactor(client), endpoint, config)?;
//! simulation.run_until(|_| load.is_finished())?;
//!
//! let report = load.report();
//! assert!(report.is_success());
//! assert_eq!(report.totals.messages, 10_000);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Latency
//!
//! Without a rate, the latency of a message is the time from passing it to the reactor to the
//! callback with its last byte. With a rate, it starts when the message was *due*, also if it could
//! not be sent then. When a server stalls for a second, the latencies of all messages due in this
//! second show it, and not only those of the messages in flight. (Omitting them is known as
//! coordinated omission.) The delay of the generator itself is reported separately.
//!
//! A due message without an answer counts with its wait so far: until its connection was lost, its
//! datagram was given up, or the load ended. So the latencies cover all due messages, and the
//! report says how many of them were answered.
//!
//! The generator respects backpressure. A message for which the transport has no room waits, and
//! with a rate its latency still counts from when it was due.
//!
//! Reading order: [`LoadConfig`]; [`LoadTest`]; [`Report`] with its [`Totals`], [`Distribution`]s
//! and [`LoadError`]s; the report is text, JSON
//! ([`Report::to_json`]) and a picture ([`Report::to_svg`]).

mod config;
mod error;
mod handle;
mod report;
mod run;
mod sender;
mod totals;

pub use self::config::{LoadConfig, LoadConfigError, Workload};
pub use self::error::{Corruption, LoadError, Mismatch};
pub use self::handle::{LoadTest, Progress};
pub use self::report::{Report, json, svg};
#[cfg(feature = "cli")]
pub(crate) use self::totals::json as totals_json;
pub use self::totals::{Bottleneck, Distribution, Limit, Totals};
