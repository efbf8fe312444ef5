//! Scripted faults of a host, by kind: injecting and clearing them.

use crate::sim::Simulation;
use crate::sim::{FaultKind, Host, Random};
use std::time::Duration;

impl Simulation {
    /// Injects a fault of one of the kinds of [`Chaos::FAULTS`](crate::sim::Chaos::FAULTS) and
    /// [`Chaos::DISK_FAULTS`](crate::sim::Chaos::DISK_FAULTS) into a host; other kinds do
    /// nothing. It lasts until [`clear_fault`](Simulation::clear_fault). `other` is the second
    /// host of faults between two hosts. The seed chooses parameters such as a rate or a limit.
    ///
    /// ```
    /// use std::time::Duration;
    /// use twistor::sim::{FaultKind, Simulation};
    ///
    /// let mut simulation = Simulation::new(1);
    /// let (server, client) = (simulation.host("server"), simulation.host("client"));
    /// // A fault hits the server from the first to the second hour.
    /// let mut random = simulation.random("outages");
    /// let kind = *random.pick(&[FaultKind::Crash, FaultKind::Partition, FaultKind::Refusal]);
    /// let hour = Duration::from_secs(3600);
    /// simulation.at(hour, move |simulation| simulation.inject_fault(kind, server, client));
    /// simulation.at(2 * hour, move |simulation| simulation.clear_fault(kind, server, client));
    /// simulation.run_for(3 * hour)?;
    /// # Ok::<(), twistor::sim::SimulationError>(())
    /// ```
    pub fn inject_fault(&mut self, kind: FaultKind, host: Host, other: Host) {
        let mut random =
            self.fault_random.take().unwrap_or_else(|| self.network().random("scripted strikes"));
        self.apply_fault(kind, host, other, &mut random);
        self.fault_random = Some(random);
    }

    /// Ends a fault of this kind: the path between the hosts heals, the host resumes, or restarts
    /// and boots. Without such a fault it does nothing. The step of a clock stays.
    ///
    /// A host that cannot boot ends the run with
    /// [`SimulationError::Failed`](crate::sim::SimulationError::Failed).
    pub fn clear_fault(&mut self, kind: FaultKind, host: Host, other: Host) {
        match kind {
            FaultKind::Partition | FaultKind::OneWayPartition => self.heal(host, other),
            FaultKind::Refusal | FaultKind::Silence | FaultKind::FullBacklog => {
                self.accept_connects(host, None)
            }
            FaultKind::DescriptorLimit => self.limit_processes(host, None),
            FaultKind::SlowReader => self.set_read_rate(host, None),
            FaultKind::NameFailure => self.set_name_resolution(host, true),
            FaultKind::Pause => self.resume(host),
            FaultKind::Kill | FaultKind::Crash if self.reactor_ref(host).is_none() => {
                self.restart_or_fail(host)
            }
            FaultKind::ClockDrift => self.set_clock_drift(host, 0),
            FaultKind::FullDisk => self.strike_disk(host, |strike| strike.capacity = None),
            FaultKind::ReadOnlyDisk => self.strike_disk(host, |strike| strike.read_only = false),
            FaultKind::SlowDisk => self.strike_disk(host, |strike| strike.latency = None),
            _ => {}
        }
    }

    pub(in crate::sim) fn apply_fault(
        &mut self,
        kind: FaultKind,
        host: Host,
        other: Host,
        random: &mut Random,
    ) {
        match kind {
            FaultKind::Partition => self.partition(host, other),
            FaultKind::OneWayPartition => self.partition_one_way(host, other),
            FaultKind::Reset => {
                self.reset_connections(host, other);
            }
            FaultKind::Refusal => self.refuse(host, None),
            FaultKind::Silence => self.drop_connects(host, None),
            FaultKind::FullBacklog => self.fill_backlog(host, None),
            // Leaves room for a few more descriptors than are open now.
            FaultKind::DescriptorLimit => {
                let limit = self.sockets(host) + 6 + random.index(4);
                self.limit_processes(host, Some(limit));
            }
            FaultKind::SlowReader => self.set_read_rate(host, Some(100 + random.below(100_000))),
            FaultKind::NameFailure => self.set_name_resolution(host, false),
            FaultKind::Pause => self.pause(host),
            FaultKind::Kill => self.kill(host),
            FaultKind::Crash => self.crash(host),
            FaultKind::ClockDrift => {
                self.set_clock_drift(host, random.below(200_000) as i32 - 100_000);
            }
            FaultKind::ClockStep => self.step_clock(host, random.below(7200) as i64 - 3600),
            // Leaves room for a part of a write.
            FaultKind::FullDisk => {
                let capacity = self.disk(host).used() + random.below(50);
                self.strike_disk(host, |strike| strike.capacity = Some(capacity));
            }
            FaultKind::ReadOnlyDisk => self.strike_disk(host, |strike| strike.read_only = true),
            FaultKind::SlowDisk => {
                let latency = Duration::from_millis(20 + random.below(1000));
                self.strike_disk(host, |strike| strike.latency = Some(latency));
            }
            _ => {}
        }
    }
}
