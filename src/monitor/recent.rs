//! The last results of one target, for a sparkline and a median. The ring is compact, because a
//! monitor may have ten thousand targets.

use std::time::Duration;

/// One result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sample {
    /// A connection was made; the duration of connecting.
    Connected(Duration),
    /// The held connection is still open.
    Held,
    /// The target is down.
    Down,
    /// The target is unknown, for a local reason.
    Unknown,
}

/// The last 64 results, the last connect time, and the longest connect time.
#[derive(Clone, Debug, Default)]
pub struct History {
    /// A ring that grows to CAPACITY, then wraps: at most 256 bytes per target.
    ring: Vec<u32>,
    /// Index of the oldest result, which the next one replaces once the ring is full.
    oldest: u8,
    /// The last connect time, also after it has left the ring.
    last: Option<u32>,
    longest: Option<Duration>,
}

impl History {
    /// Adds a result. When the ring is full, it replaces the oldest one.
    pub(super) fn push(&mut self, sample: Sample) {
        let packed = match sample {
            Sample::Connected(took) => {
                self.longest = self.longest.max(Some(took));
                let packed = u32::try_from(took.as_nanos() / UNIT).unwrap_or(u32::MAX).min(LARGEST);
                self.last = Some(packed);
                packed
            }
            Sample::Held => HELD,
            Sample::Down => DOWN,
            Sample::Unknown => UNKNOWN,
        };
        if self.ring.len() < CAPACITY {
            self.ring.push(packed);
        } else if let Some(slot) = self.ring.get_mut(usize::from(self.oldest)) {
            *slot = packed;
            self.oldest = (self.oldest + 1) % CAPACITY as u8;
        }
    }

    /// Returns the results, oldest first.
    pub fn samples(&self) -> impl DoubleEndedIterator<Item = Sample> {
        // `oldest` is an index into the ring, or 0.
        let (newer, older) = self.ring.split_at(usize::from(self.oldest).min(self.ring.len()));
        older.iter().chain(newer).map(|packed| match *packed {
            HELD => Sample::Held,
            DOWN => Sample::Down,
            UNKNOWN => Sample::Unknown,
            packed => Sample::Connected(unpacked(packed)),
        })
    }

    /// Returns the median connect time of these results (the upper one of two middle values).
    ///
    /// If they hold no connect time (the connection is held all the while, or the target is down),
    /// returns the last connect time before them.
    pub fn median(&self) -> Option<Duration> {
        let mut times: Vec<Duration> = self
            .samples()
            .filter_map(|sample| match sample {
                Sample::Connected(took) => Some(took),
                _ => None,
            })
            .collect();
        times.sort_unstable();
        times.get(times.len() / 2).copied().or(self.last.map(unpacked))
    }

    /// Returns the longest connect time since the start.
    pub fn max(&self) -> Option<Duration> {
        self.longest
    }
}

fn unpacked(packed: u32) -> Duration {
    Duration::from_nanos(u64::from(packed) * UNIT as u64)
}

const CAPACITY: usize = 64;
/// Time unit of a packed result: 100 ns. A loopback connect takes about 300 units, and the maximum
/// is 7 minutes.
const UNIT: u128 = 100;
const DOWN: u32 = u32::MAX;
const HELD: u32 = u32::MAX - 1;
const UNKNOWN: u32 = u32::MAX - 2;
const LARGEST: u32 = u32::MAX - 3;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_64_results_are_kept_in_order() {
        let mut recent = History::default();
        assert_eq!((recent.median(), recent.max(), recent.samples().count()), (None, None, 0));
        recent.push(Sample::Connected(Duration::from_secs(3)));
        for millis in 0..100 {
            recent.push(Sample::Connected(Duration::from_millis(millis)));
        }
        recent.push(Sample::Held);
        recent.push(Sample::Down);
        recent.push(Sample::Unknown);
        let samples: Vec<_> = recent.samples().collect();
        assert_eq!(samples.len(), 64);
        assert_eq!(samples[0], Sample::Connected(Duration::from_millis(39)));
        assert_eq!(samples[60], Sample::Connected(Duration::from_millis(99)));
        assert_eq!(samples[61..], [Sample::Held, Sample::Down, Sample::Unknown]);
        assert_eq!(recent.median(), Some(Duration::from_millis(69)));
        assert_eq!(recent.max(), Some(Duration::from_secs(3)));
    }

    #[test]
    fn a_median_outlives_the_results_that_made_it() {
        for quiet in [Sample::Held, Sample::Down, Sample::Unknown] {
            let mut recent = History::default();
            (0..100).for_each(|_| recent.push(quiet));
            assert_eq!(recent.median(), None, "there was none yet");
            for millis in [1, 5, 3] {
                recent.push(Sample::Connected(Duration::from_millis(millis)));
            }
            assert_eq!(recent.median(), Some(Duration::from_millis(3)));
            (0..1000).for_each(|_| recent.push(quiet));
            assert_eq!(recent.median(), Some(Duration::from_millis(3)), "the last one");
            recent.push(Sample::Connected(Duration::from_millis(7)));
            assert_eq!(recent.median(), Some(Duration::from_millis(7)));
        }
    }

    #[test]
    fn a_time_beyond_the_range_is_the_longest_that_fits() {
        let mut recent = History::default();
        recent.push(Sample::Connected(Duration::MAX));
        assert_eq!(
            recent.samples().next(),
            Some(Sample::Connected(Duration::from_nanos(u64::from(LARGEST) * 100)))
        );
    }
}
