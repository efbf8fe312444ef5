//! The bytes that are sent, and what it means when others come back.
//!
//! One long piece of random bytes, prepared once, serves all connections: each is at another place of it, and goes on from
//! there, round and round. So a message is a slice, a comparison is one `memcmp`, and bytes that were lost, doubled,
//! mixed up or changed are others than those at their place. The piece repeats after a prime number of bytes:
//! no buffer's size is a multiple of it.

use crate::load::error::Corruption;

/// The bytes of all connections.
pub(super) struct Pattern {
    /// The period, and so much again that a slice of the longest piece can begin anywhere in it.
    bytes: Box<[u8]>,
}

impl Pattern {
    /// The same for everybody: there is no seed.
    pub(super) fn new() -> Pattern {
        let mut bytes = vec![0; PERIOD + PIECE];
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        for place in bytes.iter_mut().take(PERIOD) {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            *place = (state >> 32) as u8;
        }
        bytes.copy_within(..PIECE, PERIOD);
        Pattern { bytes: bytes.into() }
    }

    /// Where a connection begins: no two of the first 65,521 at the same place.
    pub(super) fn start(connection: u64) -> u64 {
        connection % PERIOD as u64 * STRIDE % PERIOD as u64
    }

    /// The bytes from `position` on: `most`, or a piece.
    #[inline]
    pub(super) fn at(&self, position: u64, most: u64) -> &[u8] {
        let start = (position % PERIOD as u64) as usize;
        // A remainder and a piece lie within.
        &self.bytes[start..start + most.min(PIECE as u64) as usize]
    }

    /// Whether `data` is what stands at `position`; if not, the index of the first byte that is another.
    #[inline]
    pub(super) fn compare(&self, position: u64, data: &[u8]) -> Result<(), usize> {
        match data.len() <= PIECE && self.at(position, data.len() as u64) == data {
            true => Ok(()),
            false => self.compare_in_pieces(position, data),
        }
    }

    #[cold]
    fn compare_in_pieces(&self, position: u64, data: &[u8]) -> Result<(), usize> {
        for (index, piece) in data.chunks(PIECE).enumerate() {
            let before = index * PIECE;
            let expected = self.at(position + before as u64, piece.len() as u64);
            if let Some(wrong) = piece.iter().zip(expected).position(|(found, expected)| found != expected) {
                return Err(before + wrong);
            }
        }
        Ok(())
    }

    /// What became of the stream where `found` came in the place of the bytes at `position`. Before it lie `behind` bytes
    /// of the connection, after it `bytes_before` were sent.
    pub(super) fn explain(&self, position: u64, found: &[u8], behind: u64, ahead: u64) -> Corruption {
        let found = &found[..found.len().min(TELLING)];
        if found.len() < LEAST_TELLING {
            return Corruption::Changed;
        }
        let places =
            (0..PERIOD).filter(|&place| self.bytes[place..].starts_with(found)).map(|place| place as u64);
        let (here, period) = (position % PERIOD as u64, PERIOD as u64);
        let mut explained = Corruption::Changed;
        for place in places {
            let forward = (place + period - here) % period;
            if forward <= ahead {
                return Corruption::LeftOut(forward);
            } else if period - forward <= behind {
                explained = Corruption::Repeated(period - forward);
            } else if explained == Corruption::Changed {
                explained = Corruption::Elsewhere;
            }
        }
        explained
    }
}

/// A prime. Twice this, which is touched by and by, still stays in a second-level cache.
const PERIOD: usize = 65_521;

/// The most that is sent or compared at once: as much as the loop reads at once, and less than a period.
const PIECE: usize = 32 * 1024;

/// The period's golden section: neighbours begin far from each other.
const STRIDE: u64 = 40_494;

/// So many bytes name their place in the pattern; fewer than the other, and they could be anywhere.
const TELLING: usize = 32;
const LEAST_TELLING: usize = 4;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_at_a_place_compares_with_it_however_it_is_cut() {
        let pattern = Pattern::new();
        let position = PERIOD as u64 * 3 - 5;
        let mut data: Vec<u8> = Vec::new();
        while data.len() < 3 * PIECE {
            let next = pattern.at(position + data.len() as u64, 1000);
            data.extend_from_slice(next);
        }
        assert_eq!(pattern.compare(position, &data), Ok(()));
        for wrong in [0, 1, 4, 5, PIECE - 1, PIECE, data.len() - 1] {
            data[wrong] ^= 1;
            assert_eq!(pattern.compare(position, &data), Err(wrong));
            data[wrong] ^= 1;
        }
    }

    #[test]
    fn no_two_connections_begin_at_the_same_place() {
        let mut starts: Vec<u64> = (0..PERIOD as u64).map(Pattern::start).collect();
        starts.sort_unstable();
        starts.dedup();
        assert_eq!(starts.len(), PERIOD);
    }

    #[test]
    fn lost_repeated_and_misplaced_bytes_are_not_called_changed() {
        let pattern = Pattern::new();
        let (position, other) = (1000, Pattern::start(7) + 10);
        let explain = |found: &[u8]| pattern.explain(position, found, 500, 256);
        assert_eq!(explain(pattern.at(position + 64, 64)), Corruption::LeftOut(64));
        assert_eq!(explain(pattern.at(position - 64, 64)), Corruption::Repeated(64));
        assert_eq!(explain(pattern.at(other, 64)), Corruption::Elsewhere);
        let mut changed = pattern.at(position, 64).to_vec();
        changed[0] ^= 1;
        assert_eq!(explain(&changed), Corruption::Changed);
        assert_eq!(explain(&pattern.at(position + 64, 64)[..3]), Corruption::Changed);
    }
}
