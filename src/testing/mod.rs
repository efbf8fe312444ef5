//! Testing kit: one protocol alone, two joined step by step, and a reactor with virtual time and a
//! simulated network.
//!
//! There is no second fake below it. Each tested connection is an ordinary connection of an
//! ordinary [`Reactor`](crate::Reactor), on the simulated network of [`sim`](crate::sim). Buffers,
//! water marks, half-close and limits are those of production. The kit sets all latencies to zero
//! and turns random faults off.
//!
//! This module and [`sim`](crate::sim) need the feature `sim`. A program needs it for its tests
//! only, and its own build stays smaller without:
//!
//! ```toml
//! [dependencies]
//! twistor = { version = "0.1", default-features = false }
//!
//! [dev-dependencies]
//! twistor = { version = "0.1", default-features = false, features = ["sim"] }
//! ```
//!
//! # Three steps
//!
//! All three test the same protocol:
//!
//! ```
//! use twistor::{Protocol, Transport};
//!
//! /// Answers each line with its length. An empty one is the last.
//! #[derive(Default)]
//! struct Measure {
//!     line: Vec<u8>,
//! }
//!
//! impl Protocol for Measure {
//!     fn data_received(&mut self, transport: &mut Transport<'_>, data: &[u8]) {
//!         for byte in data {
//!             match byte {
//!                 b'\n' if self.line.is_empty() => return transport.lose_connection(),
//!                 b'\n' => {
//!                     transport.write(format!("{}\n", self.line.len()).as_bytes());
//!                     self.line.clear();
//!                 }
//!                 other => self.line.push(*other),
//!             }
//!         }
//!     }
//! }
//! ```
//!
//! **First: one protocol.** A [`StringTransport`] has one protocol, and the test is its peer. It
//! feeds bytes, cut in any way, and checks the written bytes and the state of the connection.
//!
//! ```
//! use twistor::Reason;
//! use twistor::testing::StringTransport;
//! # use twistor::{Protocol, Transport};
//! # #[derive(Default)]
//! # struct Measure { line: Vec<u8> }
//! # impl Protocol for Measure {
//! #     fn data_received(&mut self, transport: &mut Transport<'_>, data: &[u8]) {
//! #         for byte in data {
//! #             match byte {
//! #                 b'\n' if self.line.is_empty() => return transport.lose_connection(),
//! #                 b'\n' => {
//! #                     transport.write(format!("{}\n", self.line.len()).as_bytes());
//! #                     self.line.clear();
//! #                 }
//! #                 other => self.line.push(*other),
//! #             }
//! #         }
//! #     }
//! # }
//!
//! let mut transport = StringTransport::new(Measure::default());
//! transport.feed(b"hel");
//! assert_eq!(transport.value(), b"");
//! transport.feed(b"lo\nyou\n");
//! assert_eq!(transport.take(), b"5\n3\n");
//! transport.feed(b"\n");
//! assert_eq!(transport.lost(), Some(Reason::Done));
//! ```
//!
//! **Second: two protocols.** A [`Pair`] joins two protocols by a wire that the test controls. The
//! test carries bytes step by step or until both are idle, cuts the wire, or drops bytes.
//!
//! ```
//! use twistor::testing::{AccumulatingProtocol, Pair};
//! # use twistor::{Protocol, Transport};
//! # #[derive(Default)]
//! # struct Measure { line: Vec<u8> }
//! # impl Protocol for Measure {
//! #     fn data_received(&mut self, transport: &mut Transport<'_>, data: &[u8]) {
//! #         for byte in data {
//! #             match byte {
//! #                 b'\n' if self.line.is_empty() => return transport.lose_connection(),
//! #                 b'\n' => {
//! #                     transport.write(format!("{}\n", self.line.len()).as_bytes());
//! #                     self.line.clear();
//! #                 }
//! #                 other => self.line.push(*other),
//! #             }
//! #         }
//! #     }
//! # }
//!
//! let mut pair = Pair::new(Measure::default(), AccumulatingProtocol::default());
//! pair.client.with(|_, transport| transport.write(b"hello\n"));
//! assert_eq!(pair.pump(), 6);
//! assert_eq!(pair.pump(), 2);
//! pair.client.with(|client, transport| {
//!     assert_eq!(client.data, b"5\n");
//!     transport.write(b"\n");
//! });
//! pair.flush();
//! assert!(pair.server.lost().is_some() && pair.client.lost().is_some());
//! ```
//!
//! **Third: whole networks.** A [`Simulation`](crate::sim::Simulation) has any number of hosts,
//! links with latency and loss, faults, and a seed. A scenario is run with many seeds.
//!
//! ```
//! use std::cell::RefCell;
//! use std::rc::Rc;
//! use std::time::Duration;
//! use twistor::sim::{Link, Simulation};
//! # use twistor::{Protocol, Transport};
//! # #[derive(Default)]
//! # struct Measure { line: Vec<u8> }
//! # impl Protocol for Measure {
//! #     fn data_received(&mut self, transport: &mut Transport<'_>, data: &[u8]) {
//! #         for byte in data {
//! #             match byte {
//! #                 b'\n' if self.line.is_empty() => return transport.lose_connection(),
//! #                 b'\n' => {
//! #                     transport.write(format!("{}\n", self.line.len()).as_bytes());
//! #                     self.line.clear();
//! #                 }
//! #                 other => self.line.push(*other),
//! #             }
//! #         }
//! #     }
//! # }
//!
//! struct Client(Rc<RefCell<Vec<u8>>>);
//!
//! impl Protocol for Client {
//!     fn connection_made(&mut self, transport: &mut Transport<'_>) {
//!         transport.write(b"hello\n\n");
//!     }
//!     fn data_received(&mut self, _: &mut Transport<'_>, data: &[u8]) {
//!         self.0.borrow_mut().extend_from_slice(data);
//!     }
//! }
//!
//! Simulation::explore(0..5, |simulation| {
//!     let (server, client) = (simulation.host("server"), simulation.host("client"));
//!     simulation.set_links(Link { loss: 0.1, ..Link::default() });
//!     let answers = Rc::new(RefCell::new(Vec::new()));
//!     let received = Rc::clone(&answers);
//!     simulation.reactor(server).listen_tcp("0.0.0.0:80", Measure::default).unwrap();
//!     simulation.reactor(client).connect_tcp("server:80", move || Client(Rc::clone(&received))).unwrap();
//!     simulation.run_for(Duration::from_secs(300)).unwrap();
//!     assert_eq!(*answers.borrow(), b"5\n");
//! });
//! ```
//!
//! # Choosing a tool
//!
//! - Answers to given bytes, pausing, behaviour at the end: a [`StringTransport`].
//! - A dialogue of two of your protocols: a [`Pair`].
//! - A framing of your own: [`assert_any_cut`] divides its bytes in all ways.
//! - Timers and schedules without a network: a [`Clock`].
//! - Code that listens, connects and reconnects, one connection at a time: a [`MemoryReactor`].
//! - Timing, losses, partitions, crashes, several hosts: a [`Simulation`](crate::sim::Simulation).
//!
//! In all of them time is virtual and a test is deterministic. A reactor catches and logs a panic
//! in a callback. Here it fails the test, unless the test allows panics.
//!
//! The kit does not capture the log: it is global to the process, and the program sets it up.

mod accumulating;
mod any_cut;
mod clean;
mod clock;
mod meeting;
mod memory_reactor;
mod pair;
mod peer;
mod stage;
mod string_transport;
mod watched;
mod wire;

pub use self::accumulating::AccumulatingProtocol;
pub use self::any_cut::{DecodedInput, assert_any_cut};
pub use self::clean::assert_clean;
pub use self::clock::Clock;
pub use self::memory_reactor::{Connecting, Listening, MemoryReactor};
pub use self::pair::Pair;
pub use self::peer::{Peer, PeerEnd};
pub use self::string_transport::{ConnectionSetup, Role, StringTransport};
pub use self::wire::Wire;
