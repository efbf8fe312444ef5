//! Fault coverage: counters of faults and calls, to find those that no seed has exercised.

use std::fmt;

use crate::sim::network::rule::CallKind;

macro_rules! faults {
    ($($kind:ident $name:literal: $about:literal;)*) => {
        /// A kind of fault of a simulated network.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum FaultKind {
            $(#[doc = $about] $kind,)*
        }

        impl FaultKind {
            /// All kinds.
            pub const ALL: &'static [FaultKind] = &[$(FaultKind::$kind),*];
        }

        impl fmt::Display for FaultKind {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(match self {
                    $(FaultKind::$kind => $name,)*
                })
            }
        }
    };
}

faults! {
    Partition "partition": "Two hosts cannot reach each other.";
    OneWayPartition "one-way partition": "A host cannot reach another, which can still reach it.";
    Heal "heal": "A partition has ended.";
    Reset "reset": "A connection was reset from outside.";
    Refusal "refusal": "A host refused connections.";
    Silence "silence": "Packets to a host were dropped, as by a packet filter.";
    FullBacklog "full backlog": "A listener's backlog was full.";
    DescriptorLimit "descriptor limit": "A process had no descriptors left.";
    ShortRead "short read": "A read moved less than was available.";
    ShortWrite "short write": "A write moved less than there was room for.";
    WouldBlock "would block": "A call failed with EAGAIN although it could proceed.";
    Failure "failure": "A call failed with an error.";
    SlowReader "slow reader": "A host's read rate was limited.";
    SlowCall "slow call": "A call was slow.";
    NameFailure "name failure": "A name was not found although it exists.";
    Pause "pause": "A host's process was paused (SIGSTOP).";
    Kill "kill": "A host's process was killed (SIGKILL).";
    Crash "crash": "A host lost power, without a packet to its peers.";
    Restart "restart": "A host restarted.";
    ClockDrift "clock drift": "A host's monotonic clock drifted.";
    ClockStep "clock step": "A host's calendar time was stepped.";
    Loss "loss": "A packet was lost.";
    Delay "delay": "A packet was delayed.";
    Duplicate "duplicate": "A datagram arrived twice.";
    Reorder "reorder": "A datagram was overtaken.";
    TooLong "too long": "A datagram was longer than the MTU.";
    Overflow "overflow": "A datagram was lost because the receive queue was full.";
    FullDisk "full disk": "A disk had no space left.";
    ReadOnlyDisk "read-only disk": "A disk could not be written to.";
    SlowDisk "slow disk": "A call on a file was slow.";
    TornWrite "torn write": "A part of a write was left by a kill or a crash.";
    LostWrite "lost write": "Unsynced data was lost in a crash.";
    LostName "lost name": "An unsynced rename, creation or removal was lost in a crash.";
}

/// Counters of each kind of fault and each kind of call.
///
/// ```
/// use twistor::sim::{CallKind, FaultKind, Simulation};
///
/// let simulation = Simulation::new(1);
/// let coverage = simulation.coverage();
/// assert_eq!(coverage.fault(FaultKind::Loss), 0);
/// assert!(coverage.missing_calls().contains(&CallKind::Recv));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Coverage {
    faults: [u64; FaultKind::ALL.len()],
    calls: [u64; CallKind::ALL.len()],
}

impl Default for Coverage {
    fn default() -> Coverage {
        Coverage { faults: [0; FaultKind::ALL.len()], calls: [0; CallKind::ALL.len()] }
    }
}

impl Coverage {
    /// Returns the number of faults of this kind.
    pub fn fault(&self, kind: FaultKind) -> u64 {
        self.faults[kind as usize]
    }

    /// Returns the number of calls of this kind.
    pub fn call(&self, kind: CallKind) -> u64 {
        self.calls[kind as usize]
    }

    /// Returns the kinds of faults that never happened.
    pub fn missing_faults(&self) -> Vec<FaultKind> {
        FaultKind::ALL.iter().copied().filter(|kind| self.fault(*kind) == 0).collect()
    }

    /// Returns the kinds of calls that were never made.
    pub fn missing_calls(&self) -> Vec<CallKind> {
        CallKind::ALL.iter().copied().filter(|kind| self.call(*kind) == 0).collect()
    }

    /// Adds the counters of another simulation.
    pub fn merge(&mut self, other: &Coverage) {
        for (sum, count) in self.faults.iter_mut().zip(other.faults) {
            *sum += count;
        }
        for (sum, count) in self.calls.iter_mut().zip(other.calls) {
            *sum += count;
        }
    }

    pub(in crate::sim) fn note_fault(&mut self, kind: FaultKind) {
        self.faults[kind as usize] += 1;
    }

    pub(in crate::sim) fn note_call(&mut self, kind: CallKind) {
        self.calls[kind as usize] += 1;
    }
}

/// Prints one line for each kind of fault and of call.
impl fmt::Display for Coverage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for kind in FaultKind::ALL {
            writeln!(f, "{:>12} {kind}", self.fault(*kind))?;
        }
        for kind in CallKind::ALL {
            writeln!(f, "{:>12} {kind}()", self.call(*kind))?;
        }
        Ok(())
    }
}
