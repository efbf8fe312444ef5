//! The byte pattern that is sent, and the analysis of wrong bytes.
//!
//! One long block of random bytes, generated once, serves all connections. Each connection starts
//! at its own offset and wraps around at the end. So a message is a slice, a comparison is one
//! `memcmp`, and lost, duplicated, reordered or changed bytes differ from the expected ones. The
//! period is a prime number of bytes, so that it is not a multiple of any buffer size.

use crate::load::error::Corruption;

/// The pattern of all connections.
pub(in crate::load) struct Pattern {
    /// One period, followed by its first PIECE bytes, so that a slice of that length can start
    /// anywhere.
    bytes: Box<[u8]>,
}

impl Pattern {
    /// Creates the pattern. There is no seed: all processes have the same one.
    pub(in crate::load) fn new() -> Pattern {
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

    /// Returns the start offset of a connection. The first 65,521 connections have distinct
    /// offsets.
    pub(in crate::load) fn start(connection: u64) -> u64 {
        connection % PERIOD as u64 * STRIDE % PERIOD as u64
    }

    /// Returns at most `max_len` bytes from `position` on, and at most PIECE bytes.
    #[inline]
    pub(super) fn at(&self, position: u64, max_len: u64) -> &[u8] {
        let start = (position % PERIOD as u64) as usize;
        // In bounds: the remainder plus a piece is at most the length.
        &self.bytes[start..start + max_len.min(PIECE as u64) as usize]
    }

    /// Compares `data` with the pattern at `position`. Returns the index of the first wrong byte as
    /// the error.
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

    /// Finds the likely cause of receiving `found` at `position`. The connection has `behind` bytes
    /// before `position`, and has sent `ahead` bytes from there on.
    pub(super) fn explain(&self, position: u64, found: &[u8], behind: u64, ahead: u64) -> Corruption {
        let found = &found[..found.len().min(MAX_LOCATING)];
        if found.len() < MIN_LOCATING {
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

/// Length of the pattern, a prime. Twice this fits into a second-level cache.
const PERIOD: usize = 65_521;

/// Maximum length of a slice: the read size of the loop, and less than a period.
const PIECE: usize = 32 * 1024;

/// The golden section of the period, which puts neighbouring connections far apart.
const STRIDE: u64 = 40_494;

/// Maximum number of bytes used to find an offset in the pattern, and the minimum below which they
/// could be anywhere.
const MAX_LOCATING: usize = 32;
const MIN_LOCATING: usize = 4;

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
