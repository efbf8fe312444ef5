//! How bytes travel from one host to another.

use std::time::Duration;

use crate::net::nanoseconds;
use crate::sim::random::Random;

/// The way between two hosts, the same in both directions.
///
/// A stream's segment that is lost is sent again, as TCP does: it arrives later, and what was sent after it waits.
/// Datagrams are lost, doubled and overtake each other.
///
/// ```
/// use std::time::Duration;
/// use twistor::sim::{Latency, Link};
///
/// let wireless = Link {
///     latency: Latency::Exponential { least: Duration::from_millis(2), mean: Duration::from_millis(10) },
///     loss: 0.02,
///     bandwidth: Some(1_000_000),
///     ..Link::default()
/// };
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Link {
    /// How long a packet travels, one way. Default: 1 ms between hosts, 50 µs inside one.
    pub latency: Latency,
    /// Bytes a second, each way, shared by all that travels. Default: no limit.
    pub bandwidth: Option<u64>,
    /// The probability that a packet is lost. Default: 0.
    pub loss: f64,
    /// The probability that a datagram arrives twice. Default: 0.
    pub duplicate: f64,
    /// The probability that a datagram is held back, so that later ones overtake it. Default: 0.
    pub reorder: f64,
    /// Payload bytes of the longest datagram that gets through; longer ones vanish. Default: 65,507, all of UDP's.
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
            mtu: LONGEST_DATAGRAM,
        }
    }
}

impl Link {
    /// A link whose packets all travel this long, and that is perfect otherwise.
    pub fn fixed(latency: Duration) -> Link {
        Link { latency: Latency::Fixed(latency), ..Link::default() }
    }

    /// A link without latency: what is sent is there, as on a real loopback.
    pub fn instant() -> Link {
        Link::fixed(Duration::ZERO)
    }
}

/// How long packets travel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Latency {
    /// Always as long.
    Fixed(Duration),
    /// Anything between the two, equally likely.
    Uniform {
        /// The shortest.
        least: Duration,
        /// The longest.
        most: Duration,
    },
    /// At least `least`, and beyond that as waiting times are distributed.
    Exponential {
        /// The shortest.
        least: Duration,
        /// The mean of all.
        mean: Duration,
    },
    /// Between `least` and `usual`, but one packet in a hundred takes up to `worst`.
    LongTail {
        /// The shortest.
        least: Duration,
        /// The longest of ninety-nine in a hundred.
        usual: Duration,
        /// The longest.
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
    /// Nothing else is different from a link of this fixed latency, in nanoseconds: the common case is quick.
    pub(in crate::sim) plain: Option<u64>,
    /// When the last byte of what was sent before has left.
    pub(in crate::sim) free_at: u64,
    /// Nothing gets through.
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

    /// When something of this size that is sent `at` arrives, if it is not lost; waits for what is before it.
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

/// 65,535 less the headers of IP and UDP.
pub(in crate::sim) const LONGEST_DATAGRAM: usize = 65_507;
