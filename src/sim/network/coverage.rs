//! What has happened at least once: a fault that no seed ever drew was not tested.

use std::fmt;

use crate::sim::network::rule::CallKind;

macro_rules! faults {
    ($($kind:ident $name:literal: $about:literal;)*) => {
        /// What can go wrong in a simulated world.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum FaultKind {
            $(#[doc = $about] $kind,)*
        }

        impl FaultKind {
            /// All of them.
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
    Partition "partition": "Two hosts do not reach each other.";
    OneWayPartition "one-way partition": "A host does not reach another, which still reaches it.";
    Heal "heal": "A partition has ended.";
    Reset "reset": "A connection was reset from outside.";
    Refusal "refusal": "A host refused connections.";
    Silence "silence": "A host's packets were filtered without a word.";
    FullBacklog "full backlog": "A listener had no room for one more connection.";
    DescriptorLimit "descriptor limit": "A process had no descriptors left.";
    ShortRead "short read": "A read moved less than there was.";
    ShortWrite "short write": "A write moved less than there was room for.";
    WouldBlock "would block": "A call did nothing although it could have.";
    Failure "failure": "A call failed with an error.";
    SlowReader "slow reader": "A host read less than came.";
    SlowCall "slow call": "A call took long.";
    NameFailure "name failure": "A name was not found although it exists.";
    Pause "pause": "A host's processes stood still.";
    Kill "kill": "A host's processes ended without warning.";
    Crash "crash": "A host lost its power: its peers heard nothing.";
    Restart "restart": "A host that had ended came back.";
    ClockDrift "clock drift": "A host's clock ran fast or slow.";
    ClockStep "clock step": "A host's calendar time jumped.";
    Loss "loss": "A packet was lost.";
    Delay "delay": "A packet was held back.";
    Duplicate "duplicate": "A datagram arrived twice.";
    Reorder "reorder": "A datagram was overtaken.";
    TooLong "too long": "A datagram did not fit the way.";
    Overflow "overflow": "A datagram found no room where it was to wait.";
}

/// How often each kind of fault and each kind of call happened.
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
    /// How often this fault happened.
    pub fn fault(&self, kind: FaultKind) -> u64 {
        self.faults[kind as usize]
    }

    /// How often this call was made.
    pub fn call(&self, kind: CallKind) -> u64 {
        self.calls[kind as usize]
    }

    /// Faults that never happened.
    pub fn missing_faults(&self) -> Vec<FaultKind> {
        FaultKind::ALL.iter().copied().filter(|kind| self.fault(*kind) == 0).collect()
    }

    /// Calls that were never made.
    pub fn missing_calls(&self) -> Vec<CallKind> {
        CallKind::ALL.iter().copied().filter(|kind| self.call(*kind) == 0).collect()
    }

    /// Adds what happened in another world.
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

/// A line for each fault and each call that happened.
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
