//! Links between hosts: latency, bandwidth and loss.

use std::time::Duration;

use crate::net::nanoseconds;
use crate::sim::random::Random;

/// The link between two hosts, the same in both directions.
///
/// A lost segment of a stream is retransmitted, as by TCP: it arrives later, and delays the data
/// after it. Datagrams can be lost, duplicated and reordered.
///
/// ```
/// use std::time::Duration;
/// use twistor::sim::{Latency, Link};
///
/// let wireless = Link {
///     latency: Latency::Uniform { least: Duration::from_millis(2), most: Duration::from_millis(9) },
///     loss: 0.02,
///     bandwidth: Some(1_000_000),
///     ..Link::default()
/// };
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Link {
    /// The one-way latency of a packet. Default: 1 ms between hosts, 50 µs inside one.
    pub latency: Latency,
    /// The bandwidth in bytes per second and direction, shared by all packets. Default: no limit.
    pub bandwidth: Option<u64>,
    /// The probability that a packet is lost. Default: 0.
    pub loss: f64,
    /// The probability that a datagram is duplicated. Default: 0.
    pub duplicate: f64,
    /// The probability that a datagram is delayed, so that later ones overtake it. Default: 0.
    pub reorder: f64,
    /// The maximum payload of a datagram in bytes; longer ones are lost. Default: 65,507, the
    /// maximum of UDP.
    pub mtu: usize,
}

impl Default for Link {
    fn default() -> Link {
        Link {
            latency: Latency::Fixed(Duration::from_millis(1)),
            bandwidth: None,
            loss: 0.0,
            duplicate: 0.0,
            reorder: 0.0,
            mtu: MAX_DATAGRAM,
        }
    }
}

impl Link {
    /// Returns a link with a fixed latency and without other limits.
    pub fn fixed(latency: Duration) -> Link {
        Link { latency: Latency::Fixed(latency), ..Link::default() }
    }

    /// Returns a link without latency: packets arrive at once, as on a real loopback.
    pub fn instant() -> Link {
        Link::fixed(Duration::ZERO)
    }
}

/// The distribution of latencies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Latency {
    /// A constant latency.
    Fixed(Duration),
    /// A uniform distribution.
    Uniform {
        /// The minimum.
        least: Duration,
        /// The maximum.
        most: Duration,
    },
    /// A minimum plus an exponentially distributed part.
    Exponential {
        /// The minimum.
        least: Duration,
        /// The mean, including the minimum.
        mean: Duration,
    },
    /// A distribution with a long tail: uniform from `least` to `usual`, but for one packet in a
    /// hundred from `usual` to `worst`.
    LongTail {
        /// The minimum.
        least: Duration,
        /// The maximum of 99 packets in a hundred.
        usual: Duration,
        /// The maximum.
        worst: Duration,
    },
}

impl Latency {
    pub(in crate::sim) fn draw(&self, random: &mut Random) -> Duration {
        match *self {
            Latency::Fixed(latency) => latency,
            Latency::Uniform { least, most } => random.between(least, most),
            Latency::Exponential { least, mean } => {
                least.saturating_add(random.exponential(mean.saturating_sub(least)))
            }
            Latency::LongTail { least, usual, .. } if !random.chance(0.01) => random.between(least, usual),
            Latency::LongTail { usual, worst, .. } => random.between(usual, worst),
        }
    }
}

/// One direction between two hosts.
pub(in crate::sim) struct Path {
    pub(in crate::sim) from: u32,
    pub(in crate::sim) to: u32,
    pub(in crate::sim) link: Link,
    /// The fixed latency in nanoseconds of a link without loss and bandwidth limit: the fast path.
    pub(in crate::sim) plain: Option<u64>,
    /// The time at which the last byte sent before has left the sender.
    pub(in crate::sim) free_at: u64,
    /// No packet gets through.
    pub(in crate::sim) cut: bool,
}

impl Path {
    pub(in crate::sim) fn new(from: u32, to: u32, link: Link) -> Path {
        let mut path = Path { from, to, plain: None, link: Link::default(), free_at: 0, cut: false };
        path.set_link(link);
        path
    }

    pub(in crate::sim) fn set_link(&mut self, link: Link) {
        self.plain = match link.latency {
            Latency::Fixed(latency) if link.bandwidth.is_none() && link.loss == 0.0 => {
                Some(nanoseconds(latency))
            }
            _ => None,
        };
        self.link = link;
    }

    /// Returns the arrival time of a packet of `size` bytes that is sent `at`, behind the packets
    /// before it. Ignores loss.
    pub(in crate::sim) fn travel(&mut self, at: u64, size: usize, random: &mut Random) -> u64 {
        let sent = match self.link.bandwidth {
            Some(rate) => {
                let took = (size as u128 * 1_000_000_000).div_ceil(u128::from(rate.max(1)));
                self.free_at = self.free_at.max(at).saturating_add(took as u64);
                self.free_at
            }
            None => at,
        };
        sent.saturating_add(nanoseconds(self.link.latency.draw(random)))
    }
}

/// 65,535 minus the headers of IP and UDP.
pub(in crate::sim) const MAX_DATAGRAM: usize = 65_507;
