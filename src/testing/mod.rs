//! The testing kit: one protocol alone, two joined stepwise, a reactor whose time and network are the test's.
//!
//! There is no second fake under it. Whatever is tested here is an ordinary connection of an ordinary
//! [`Reactor`](crate::Reactor), on the simulated network of [`sim`](crate::sim): buffers, water marks, half-close and
//! limits are those of production. The kit only sees to it that the network takes no time and does nothing unasked.
//!
//! # Three steps
//!
//! All three test the same little protocol:
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
//! **First: does it say the right thing?** A [`StringTransport`] has one protocol. The test is its peer: it feeds
//! bytes, cut as it likes, and looks at what was written and asked for.
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
//! **Second: does it get on with its peer?** A [`Pair`] joins two protocols with a wire that the test works: step by
//! step, or until both are quiet; cut, or with bytes lost.
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
//! **Third: does the whole hold, whatever the network does?** A [`Simulation`](crate::sim::Simulation) has any number of hosts, links
//! with latency and loss, faults, and a seed; a scenario is run with many of them.
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
//! struct Asks(Rc<RefCell<Vec<u8>>>);
//!
//! impl Protocol for Asks {
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
//!     let heard = Rc::clone(&answers);
//!     simulation.reactor(server).listen_tcp("0.0.0.0:80", Measure::default).unwrap();
//!     simulation.reactor(client).connect_tcp("server:80", move || Asks(Rc::clone(&heard))).unwrap();
//!     simulation.run_for(Duration::from_secs(300)).unwrap();
//!     assert_eq!(*answers.borrow(), b"5\n");
//! });
//! ```
//!
//! # Which one
//!
//! - What a protocol answers to which bytes, when it pauses, what it does at the end: a [`StringTransport`].
//! - A dialogue, both of whose sides are yours: a [`Pair`].
//! - Timers and schedules without a network: a [`Clock`].
//! - Code that listens, connects and reconnects, decided one connection after the other: a [`MemoryReactor`].
//! - Timing, losses, partitions, crashes, several hosts: a [`Simulation`](crate::sim::Simulation).
//!
//! In all of them time is virtual and the same test does the same each time. A panic in a callback, which a
//! reactor would catch and log, fails the test, unless it allows panics.
//!
//! There is no capture of the log: it is one for the whole process, and the program's to set up.

mod accumulating;
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
pub use self::clean::assert_clean;
pub use self::clock::Clock;
pub use self::memory_reactor::{Connecting, Listening, MemoryReactor};
pub use self::pair::Pair;
pub use self::peer::{Peer, PeerEnd};
pub use self::string_transport::{ConnectionSetup, Side, StringTransport};
pub use self::wire::Wire;
