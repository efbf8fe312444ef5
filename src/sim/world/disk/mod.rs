//! The disk of a host, and the jobs that processes run on it.
//!
//! Each call takes effect when it is made, and then takes time. A job goes on after that time, so a
//! kill or a loss of power can come between any two calls. Permissions are not modelled: rules can
//! fail calls with EACCES.

mod calls;
mod contents;
mod jobs;
mod tree;

use std::time::Duration;

pub(in crate::sim) use self::contents::Contents;
pub(in crate::sim) use self::jobs::FileJobs;
pub(in crate::sim) use self::tree::{Tree, What};

use crate::sim::network::coverage::FaultKind;
use crate::sim::world::World;

/// The disk of a host.
pub(in crate::sim) struct DiskState {
    pub(in crate::sim) tree: Tree,
    /// Limit on the bytes of all files.
    pub(in crate::sim) capacity: Option<u64>,
    pub(in crate::sim) read_only: bool,
    /// The mean duration of a call.
    pub(in crate::sim) latency: Duration,
    /// Injected faults, in addition.
    pub(in crate::sim) strike: Strike,
    /// The number of files that were opened.
    opened: u64,
}

/// Injected faults of a disk.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::sim) struct Strike {
    pub(in crate::sim) capacity: Option<u64>,
    pub(in crate::sim) read_only: bool,
    pub(in crate::sim) latency: Option<Duration>,
}

impl DiskState {
    fn capacity(&self) -> Option<u64> {
        [self.capacity, self.strike.capacity].into_iter().flatten().min()
    }

    fn is_read_only(&self) -> bool {
        self.read_only || self.strike.read_only
    }

    fn latency(&self) -> Duration {
        self.strike.latency.unwrap_or(self.latency)
    }
}

impl Default for DiskState {
    fn default() -> DiskState {
        DiskState {
            tree: Tree::new(),
            capacity: None,
            read_only: false,
            latency: LATENCY,
            strike: Strike::default(),
            opened: 0,
        }
    }
}

impl World {
    /// Loses the power of a host's disk.
    pub(in crate::sim) fn disk_loses_power(&mut self, host: u32) {
        let random = &mut self.random.disk;
        let (names, loss) = self.hosts[host as usize].disk.tree.lose_power(random);
        for (happened, kind) in [
            (names > 0, FaultKind::LostName),
            (loss.lost, FaultKind::LostWrite),
            (loss.torn, FaultKind::TornWrite),
        ] {
            if happened {
                self.fault(kind, host);
            }
        }
    }
}

/// The default mean duration of a call. (Measured: `fdatasync` on a local disk takes 0.2 ms; reads
/// of cached data take less.)
const LATENCY: Duration = Duration::from_micros(100);
