//! Seeded random numbers, the same on every machine.

use crate::net::nanoseconds;
use std::time::Duration;

/// A stream of random numbers (xoshiro256++, seeded by SplitMix64).
///
/// Each name has its own stream for a seed. One more draw from one stream does not change the draws
/// of another.
///
/// ```
/// use twistor::sim::Random;
///
/// let mut dice = Random::new(7, "dice");
/// let roll = 1 + dice.below(6);
/// assert!((1..=6).contains(&roll));
/// assert_eq!(Random::new(7, "dice").next(), Random::new(7, "dice").next());
/// assert_ne!(Random::new(7, "dice").next(), Random::new(7, "cards").next());
/// ```
#[derive(Clone, Debug)]
pub struct Random {
    state: [u64; 4],
}

impl Random {
    /// Creates the stream of this name for a seed.
    pub fn new(seed: u64, name: &str) -> Random {
        // FNV-1a hashes the name, SplitMix64 expands the sum.
        let mut mixed = name.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        }) ^ seed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let mut split = || {
            mixed = mixed.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut z = mixed;
            z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            z ^ (z >> 31)
        };
        Random { state: [split(), split(), split(), split()] }
    }

    /// Returns 64 random bits.
    #[allow(clippy::should_implement_trait, reason = "the stream has no end, and is no iterator of options")]
    pub fn next(&mut self) -> u64 {
        let [a, b, c, d] = &mut self.state;
        let result = a.wrapping_add(*d).rotate_left(23).wrapping_add(*a);
        let shifted = *b << 17;
        *c ^= *a;
        *d ^= *b;
        *b ^= *c;
        *a ^= *d;
        *c ^= shifted;
        *d = d.rotate_left(45);
        result
    }

    /// Returns a number from 0 to `limit - 1`; 0 when `limit` is 0.
    pub fn below(&mut self, limit: u64) -> u64 {
        // The high half of the product. Its bias is below 2^-32 for any limit of 32 bits.
        ((u128::from(self.next()) * u128::from(limit)) >> 64) as u64
    }

    /// Returns an index into a list of this length; 0 when the list is empty.
    pub fn index(&mut self, length: usize) -> usize {
        self.below(length as u64) as usize
    }

    /// Returns true with this probability, from 0 to 1.
    pub fn chance(&mut self, probability: f64) -> bool {
        self.unit() < probability
    }

    /// Returns a uniformly distributed duration from `least` to `most`, both included.
    pub fn between(&mut self, least: Duration, most: Duration) -> Duration {
        let span = nanoseconds(most.saturating_sub(least));
        least.saturating_add(Duration::from_nanos(self.below(span.saturating_add(1))))
    }

    /// Returns an exponentially distributed duration with this mean.
    pub fn exponential(&mut self, mean: Duration) -> Duration {
        let seconds = mean.as_secs_f64() * self.exponential_unit();
        // Overflows only with a mean of centuries.
        Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX)
    }

    /// Returns an element of a list.
    ///
    /// # Panics
    /// When the list is empty.
    pub fn pick<'a, T>(&mut self, list: &'a [T]) -> &'a T {
        &list[self.index(list.len())]
    }

    /// Shuffles a list.
    pub fn shuffle<T>(&mut self, list: &mut [T]) {
        for end in (1..list.len()).rev() {
            list.swap(end, self.index(end + 1));
        }
    }

    /// Returns a number from 0 to 1, 1 excluded.
    fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// Returns an exponentially distributed number with mean 1, by von Neumann's comparisons. A
    /// logarithm may differ in its last bit from machine to machine.
    fn exponential_unit(&mut self) -> f64 {
        let mut whole = 0.0;
        loop {
            let first = self.unit();
            let (mut last, mut run) = (first, 1);
            loop {
                let next = self.unit();
                if next >= last {
                    break;
                }
                last = next;
                run += 1;
            }
            if run % 2 == 1 {
                return whole + first;
            }
            whole += 1.0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exponential_times_have_their_mean() {
        let mut random = Random::new(1, "test");
        let sum: Duration = (0..20_000).map(|_| random.exponential(Duration::from_millis(100))).sum();
        let mean = sum / 20_000;
        assert!(mean > Duration::from_millis(97) && mean < Duration::from_millis(103), "{mean:?}");
    }

    #[test]
    fn times_between_reach_both_ends() {
        let mut random = Random::new(1, "test");
        let (least, most) = (Duration::from_nanos(3), Duration::from_nanos(5));
        let mut seen = [0; 3];
        for _ in 0..100 {
            seen[random.between(least, most).as_nanos() as usize - 3] += 1;
        }
        assert!(seen.iter().all(|&count| count > 10), "{seen:?}");
    }
}
