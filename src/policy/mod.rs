//! Connection policies: limits, timeouts, throttles, counters and dumps that work with any
//! protocol.
//!
//! Each policy wraps the factory of a listener or connector and is independent of the protocol
//! above it. Policies stack:
//!
//! ```
//! use std::time::Duration;
//! use twistor::policy::{RateLimits, TrafficCounter, count_traffic, idle_timeout, limit_per_peer, limit_total, throttled};
//! # use twistor::{Protocol, Transport};
//! # struct Echo;
//! # impl Protocol for Echo {
//! #     fn data_received(&mut self, transport: &mut Transport<'_>, data: &[u8]) {
//! #         transport.write(data);
//! #     }
//! # }
//!
//! let traffic = TrafficCounter::new();
//! let echo = limit_per_peer(limit_total(|| Echo, 1000), 10);
//! let echo = idle_timeout(echo, Duration::from_secs(60));
//! let echo = throttled(echo, RateLimits { write: Some(100_000), ..RateLimits::default() });
//! let echo = count_traffic(echo, &traffic);
//!
//! let mut reactor = twistor::Reactor::new()?;
//! reactor.listen_tcp("127.0.0.1:0", echo)?;
//! assert_eq!(traffic.total().received, 0);
//! # Ok::<(), twistor::Error>(())
//! ```
//!
//! Throttles, counters, dumps, idle timeouts and PROXY headers are [`Layer`](crate::Layer)s. A
//! layer also sees writes from other connections. Limits are checked when a connection is accepted
//! and when its protocol is built. [`PortForward`] is a factory, [`FileSender`] a producer, and
//! [`splice`] joins two connections.

mod dump;
mod echo_guard;
mod file_sender;
mod idle_timeout;
mod limits;
mod port_forward;
mod splice;
mod throttle;
mod traffic_counter;

pub use self::dump::{DumpLayer, DumpStyle, dump_traffic};
pub use self::echo_guard::EchoGuard;
pub use self::file_sender::{FileSendResult, FileSender};
pub use self::idle_timeout::{IdleTimedOut, IdleTimeout, ProtocolTimeout, idle_timeout};
pub use self::limits::{LimitPerPeer, LimitTotal, limit_per_peer, limit_total};
pub use self::port_forward::PortForward;
pub use self::splice::{SpliceResult, splice};
pub use self::throttle::{RateLimits, Throttle, TokenBucket, throttled};
pub use self::traffic_counter::{ByteCounts, CountLayer, TrafficCounter, count_traffic};
