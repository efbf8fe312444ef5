//! The paths between hosts, and the travel of packets on them.

use super::World;
use crate::sim::network::coverage::FaultKind;
use crate::sim::network::link::Path;

impl World {
    /// Returns the path from one host to another, and creates it on first use.
    pub(in crate::sim) fn path(&mut self, from: u32, to: u32) -> u32 {
        if let Some(path) = self.path_indices.get(&(from, to)) {
            return *path;
        }
        let link = if from == to { &self.loopback_link } else { &self.default_link };
        let path = self.paths.len() as u32;
        self.paths.push(Path::new(from, to, link.clone()));
        self.path_indices.insert((from, to), path);
        path
    }

    #[inline]
    pub(in crate::sim) fn path_mut(&mut self, path: u32) -> &mut Path {
        // Paths are never removed.
        &mut self.paths[path as usize]
    }

    /// Returns whether a packet on this path arrives now.
    #[inline]
    pub(in crate::sim) fn is_open(&self, path: u32) -> bool {
        let path = &self.paths[path as usize];
        !path.cut && self.host(path.to).up
    }

    /// Returns the arrival time of a stream's packet that is sent `at`. Losses are retransmissions
    /// and add to it.
    pub(in crate::sim) fn travel(&mut self, path: u32, at: u64, size: usize) -> u64 {
        let route = &mut self.paths[path as usize];
        if let Some(latency) = route.plain {
            return at.saturating_add(latency);
        }
        let loss = route.link.loss;
        let mut arrival = route.travel(at, size, &mut self.random.links);
        let mut again = RETRANSMISSION;
        for _ in 0..RETRANSMISSIONS {
            if loss == 0.0 || !self.random.links.chance(loss) {
                break;
            }
            self.fault(FaultKind::Loss, self.paths[path as usize].to);
            arrival = arrival.saturating_add(again);
            again = (again * 2).min(MAX_RETRANSMISSION_DELAY);
        }
        arrival
    }
}

/// TCP's retransmission timer in nanoseconds, as on Linux: 200 ms, doubled up to two minutes, given
/// up after 15 retransmissions, 924.6 s in all.
pub(in crate::sim) const RETRANSMISSION: u64 = 200_000_000;
pub(in crate::sim) const MAX_RETRANSMISSION_DELAY: u64 = 120_000_000_000;
pub(in crate::sim) const RETRANSMISSIONS: u8 = 15;
