//! Chaos: faults of every kind, drawn from the seed.

use std::time::Duration;

use super::Simulation;
use crate::sim::{Call, CallKind, Errno, FaultKind, Host, Packet, PacketKind, Random, Rule, RuleId, Verdict};

/// The kinds, rates and durations of random faults. The seed decides which of them occur.
///
/// ```
/// use std::time::Duration;
/// use twistor::sim::{Chaos, Simulation};
///
/// let mut simulation = Simulation::new(3);
/// simulation.host("server");
/// let mut random = simulation.random("which chaos");
/// simulation.start_chaos(Chaos::draw(&mut random));
/// simulation.run_for(Duration::from_secs(60))?;
/// simulation.stop_chaos();
/// # Ok::<(), twistor::sim::SimulationError>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Chaos {
    /// The kinds of faults that hit hosts and the paths between them, one at a time.
    pub strikes: Vec<FaultKind>,
    /// The mean time between two faults, at least 1 ms. Default: 2 s.
    pub mean_interval: Duration,
    /// The mean duration of a fault. Default: 1 s.
    pub mean_duration: Duration,
    /// The hosts that are hit; empty: all hosts. Default: empty.
    pub hosts: Vec<Host>,
    /// The probability of a short read.
    pub short_reads: f64,
    /// The probability of a short write.
    pub short_writes: f64,
    /// The probability that a read, write or accept fails with EAGAIN although it could proceed.
    pub would_block: f64,
    /// The probability that a read, write or poll fails with EINTR.
    pub interrupted: f64,
    /// The probability that a call fails with one of its errors.
    pub failures: f64,
    /// The probability that a call takes up to 10 ms.
    pub slow_calls: f64,
    /// The probability that a packet is lost, in addition to the loss of its link.
    pub loss: f64,
    /// The probability that a packet is delayed, by up to a second.
    pub delays: f64,
}

impl Default for Chaos {
    /// Returns a configuration without faults.
    fn default() -> Chaos {
        Chaos {
            strikes: Vec::new(),
            mean_interval: Duration::from_secs(2),
            mean_duration: Duration::from_secs(1),
            hosts: Vec::new(),
            short_reads: 0.0,
            short_writes: 0.0,
            would_block: 0.0,
            interrupted: 0.0,
            failures: 0.0,
            slow_calls: 0.0,
            loss: 0.0,
            delays: 0.0,
        }
    }
}

impl Chaos {
    /// The kinds that `strikes` may contain.
    pub const FAULTS: &'static [FaultKind] = &[
        FaultKind::Partition,
        FaultKind::OneWayPartition,
        FaultKind::Reset,
        FaultKind::Refusal,
        FaultKind::Silence,
        FaultKind::FullBacklog,
        FaultKind::DescriptorLimit,
        FaultKind::SlowReader,
        FaultKind::NameFailure,
        FaultKind::Pause,
        FaultKind::Kill,
        FaultKind::Crash,
        FaultKind::ClockDrift,
        FaultKind::ClockStep,
    ];

    /// Further kinds that `strikes` may contain: those of disks.
    pub const DISK_FAULTS: &'static [FaultKind] =
        &[FaultKind::FullDisk, FaultKind::ReadOnlyDisk, FaultKind::SlowDisk];

    /// Draws a selection of all faults and a rate for each.
    pub fn draw(random: &mut Random) -> Chaos {
        let mut some = |max: f64| match random.chance(0.5) {
            true => max * random.below(1000) as f64 / 1000.0,
            false => 0.0,
        };
        let (short_reads, short_writes, would_block) = (some(0.3), some(0.3), some(0.2));
        let (interrupted, failures, slow_calls) = (some(0.1), some(0.005), some(0.02));
        let (loss, delays) = (some(0.1), some(0.1));
        let mut chaos = Chaos {
            strikes: Chaos::FAULTS.iter().copied().filter(|_| random.chance(0.5)).collect(),
            mean_interval: random.between(Duration::from_millis(200), Duration::from_secs(5)),
            mean_duration: random.between(Duration::from_millis(10), Duration::from_secs(10)),
            hosts: Vec::new(),
            short_reads,
            short_writes,
            would_block,
            interrupted,
            failures,
            slow_calls,
            loss,
            delays,
        };
        chaos.strikes.extend(Chaos::DISK_FAULTS.iter().filter(|_| random.chance(0.5)));
        chaos
    }
}

/// The chaos that is in force.
pub(super) struct ActiveChaos {
    chaos: Chaos,
    random: Random,
    rule: RuleId,
    /// Distinguishes it from an earlier one, whose scheduled faults do nothing.
    number: u64,
}

impl Simulation {
    /// Starts chaos, and stops any that is in force.
    pub fn start_chaos(&mut self, chaos: Chaos) {
        self.stop_chaos();
        self.trace_note(&format!("{chaos:?}"));
        let rule = self.add_rule(ChaosRule(chaos.clone()));
        let random = self.network().random("strikes");
        self.chaos_count += 1;
        let number = self.chaos_count;
        self.active_chaos = Some(ActiveChaos { chaos, random, rule, number });
        self.schedule_fault(number);
    }

    /// Stops chaos and ends its faults: partitions heal, hosts resume or restart.
    pub fn stop_chaos(&mut self) {
        let Some(active) = self.active_chaos.take() else { return };
        self.remove_rule(active.rule);
        self.heal_all();
        for host in self.affected_hosts(&active.chaos) {
            for kind in Chaos::FAULTS.iter().chain(Chaos::DISK_FAULTS) {
                self.clear_fault(*kind, host, host);
            }
        }
    }

    fn affected_hosts(&self, chaos: &Chaos) -> Vec<Host> {
        match chaos.hosts.as_slice() {
            [] => self.hosts(),
            hosts => hosts.to_vec(),
        }
    }

    fn schedule_fault(&mut self, number: u64) {
        let Some(active) = self.active_chaos.as_mut().filter(|active| active.number == number) else {
            return;
        };
        if active.chaos.strikes.is_empty() {
            return;
        }
        let wait = active.random.exponential(active.chaos.mean_interval.max(MIN_INTERVAL));
        self.after(wait, move |simulation| simulation.inject_next_fault(number));
    }

    fn inject_next_fault(&mut self, number: u64) {
        let Some(mut active) = self.active_chaos.take_if(|active| active.number == number) else { return };
        let hosts = self.affected_hosts(&active.chaos);
        if !hosts.is_empty() {
            let kind = *active.random.pick(&active.chaos.strikes);
            let (host, other) = (*active.random.pick(&hosts), *active.random.pick(&hosts));
            let lasts = active.random.exponential(active.chaos.mean_duration);
            match kind {
                // Two hosts that are picked from many seldom have a connection between them.
                FaultKind::Reset => {
                    self.reset_any_connection();
                }
                kind => self.apply_fault(kind, host, other, &mut active.random),
            }
            self.after(lasts, move |simulation| {
                if simulation.active_chaos.as_ref().is_some_and(|active| active.number == number) {
                    simulation.clear_fault(kind, host, other);
                }
            });
        }
        self.active_chaos = Some(active);
        self.schedule_fault(number);
    }
}

/// The minimum of the mean time between two faults. With zero, virtual time would not advance.
const MIN_INTERVAL: Duration = Duration::from_millis(1);

/// The rule that applies the probabilities to every call and packet.
struct ChaosRule(Chaos);

impl ChaosRule {
    fn concerns(&self, host: Host) -> bool {
        self.0.hosts.is_empty() || self.0.hosts.contains(&host)
    }
}

impl Rule for ChaosRule {
    fn packet(&mut self, packet: &Packet, random: &mut Random) -> Verdict {
        let chaos = &self.0;
        if !self.concerns(packet.to) || packet.kind == PacketKind::Reset {
            Verdict::Pass
        } else if chaos.loss > 0.0 && random.chance(chaos.loss) {
            Verdict::Drop
        } else if chaos.delays > 0.0 && random.chance(chaos.delays) {
            Verdict::Delay(random.between(Duration::ZERO, Duration::from_secs(1)))
        } else {
            Verdict::Pass
        }
    }

    fn call(&mut self, call: &Call, random: &mut Random) -> Verdict {
        let chaos = &self.0;
        if !self.concerns(call.host) {
            return Verdict::Pass;
        }
        let mut happens = |probability: f64| probability > 0.0 && random.chance(probability);
        if happens(chaos.slow_calls) {
            return Verdict::Delay(random.between(Duration::ZERO, Duration::from_millis(10)));
        }
        if happens(chaos.failures) {
            return match call.kind.errors() {
                [] => Verdict::Pass,
                errors => Verdict::Fail(*random.pick(errors)),
            };
        }
        let short = match call.kind {
            CallKind::Recv | CallKind::RecvDatagrams | CallKind::FileRead => chaos.short_reads,
            CallKind::Send | CallKind::SendDatagrams | CallKind::FileWrite => chaos.short_writes,
            _ => 0.0,
        };
        let datagrams = matches!(call.kind, CallKind::RecvDatagrams | CallKind::SendDatagrams);
        let moves = datagrams || matches!(call.kind, CallKind::Recv | CallKind::Send | CallKind::Accept);
        if happens(short) {
            // Most reads move far less than the buffer's size, so that small and large limits are
            // equally likely.
            let max = match call.kind {
                // Datagrams of a batch.
                _ if datagrams => 8,
                CallKind::Recv => call.size >> random.index(call.size.max(1).ilog2() as usize),
                _ => call.size,
            };
            Verdict::Short(1 + random.index(max))
        } else if moves && happens(chaos.would_block) {
            Verdict::Drop
        } else if (moves || call.kind == CallKind::Poll) && happens(chaos.interrupted) {
            Verdict::Fail(Errno::EINTR)
        } else {
            Verdict::Pass
        }
    }
}
