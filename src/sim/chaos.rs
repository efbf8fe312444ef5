//! Chaos: faults of every kind, drawn from the seed.

use std::time::Duration;

use super::Simulation;
use crate::sim::{Call, CallKind, Errno, FaultKind, Host, Packet, PacketKind, Random, Rule, RuleId, Verdict};

/// What may go wrong, how often and for how long. The seed decides what does.
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
/// # Ok::<(), twistor::sim::RunError>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Chaos {
    /// What strikes hosts and the ways between them; one of them each time.
    pub strikes: Vec<FaultKind>,
    /// The mean time between two strikes, at least 1 ms. Default: 2 s.
    pub mean_interval: Duration,
    /// How long what a strike did lasts, on average. Default: 1 s.
    pub mean_duration: Duration,
    /// Whom they hit. Default: all hosts.
    pub hosts: Vec<Host>,
    /// The probability that a read moves less than it could.
    pub short_reads: f64,
    /// The probability that a write moves less than it could.
    pub short_writes: f64,
    /// The probability that a read, write or accept would block for no reason.
    pub would_block: f64,
    /// The probability that a read, write or poll is interrupted.
    pub interrupted: f64,
    /// The probability that a call fails with one of its errors.
    pub failures: f64,
    /// The probability that a call takes up to 10 ms.
    pub slow_calls: f64,
    /// The probability that a packet is lost, beside the links' own.
    pub loss: f64,
    /// The probability that a packet is held back, for up to a second.
    pub delays: f64,
}

impl Default for Chaos {
    /// Nothing goes wrong.
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
    /// What strikes can be.
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

    /// Some of all faults, each as often as the draw says: every seed has weather of its own.
    pub fn draw(random: &mut Random) -> Chaos {
        let mut some = |most: f64| match random.chance(0.5) {
            true => most * random.below(1000) as f64 / 1000.0,
            false => 0.0,
        };
        let (short_reads, short_writes, would_block) = (some(0.3), some(0.3), some(0.2));
        let (interrupted, failures, slow_calls) = (some(0.1), some(0.005), some(0.02));
        let (loss, delays) = (some(0.1), some(0.1));
        Chaos {
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
        }
    }
}

/// Chaos that rules.
pub(super) struct ActiveChaos {
    chaos: Chaos,
    random: Random,
    rule: RuleId,
    /// Strikes of an earlier one find another number.
    number: u64,
}

impl Simulation {
    /// Lets chaos rule from now on, in the place of any before it.
    pub fn start_chaos(&mut self, chaos: Chaos) {
        self.stop_chaos();
        self.trace_note(&format!("{chaos:?}"));
        let rule = self.add_rule(Everywhere(chaos.clone()));
        let random = self.network().random("strikes");
        self.reigns += 1;
        let number = self.reigns;
        self.reign = Some(ActiveChaos { chaos, random, rule, number });
        self.await_strike(number);
    }

    /// Ends chaos and what it did: partitions heal, hosts go on or come back.
    pub fn stop_chaos(&mut self) {
        let Some(reign) = self.reign.take() else { return };
        self.remove_rule(reign.rule);
        self.heal_all();
        for host in self.struck(&reign.chaos) {
            for kind in Chaos::FAULTS {
                self.clear_fault(*kind, host, host);
            }
        }
    }

    fn struck(&self, chaos: &Chaos) -> Vec<Host> {
        match chaos.hosts.as_slice() {
            [] => self.hosts(),
            hosts => hosts.to_vec(),
        }
    }

    fn await_strike(&mut self, number: u64) {
        let Some(reign) = self.reign.as_mut().filter(|reign| reign.number == number) else { return };
        if reign.chaos.strikes.is_empty() {
            return;
        }
        let wait = reign.random.exponential(reign.chaos.mean_interval.max(SHORTEST));
        self.after(wait, move |simulation| simulation.strike_next(number));
    }

    fn strike_next(&mut self, number: u64) {
        let Some(mut reign) = self.reign.take_if(|reign| reign.number == number) else { return };
        let hosts = self.struck(&reign.chaos);
        if !hosts.is_empty() {
            let kind = *reign.random.pick(&reign.chaos.strikes);
            let (host, other) = (*reign.random.pick(&hosts), *reign.random.pick(&hosts));
            let lasts = reign.random.exponential(reign.chaos.mean_duration);
            match kind {
                // Two hosts that are picked from many seldom have a connection between them.
                FaultKind::Reset => {
                    self.reset_any_connection();
                }
                kind => self.hit(kind, host, other, &mut reign.random),
            }
            self.after(lasts, move |simulation| {
                if simulation.reign.as_ref().is_some_and(|reign| reign.number == number) {
                    simulation.clear_fault(kind, host, other);
                }
            });
        }
        self.reign = Some(reign);
        self.await_strike(number);
    }
}

/// The shortest mean time between two strikes: without any, time would stand still.
const SHORTEST: Duration = Duration::from_millis(1);

/// The rule of what may happen to every call and packet.
struct Everywhere(Chaos);

impl Everywhere {
    fn concerns(&self, host: Host) -> bool {
        self.0.hosts.is_empty() || self.0.hosts.contains(&host)
    }
}

impl Rule for Everywhere {
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
            CallKind::Recv | CallKind::RecvDatagrams => chaos.short_reads,
            CallKind::Send | CallKind::SendDatagrams => chaos.short_writes,
            _ => 0.0,
        };
        let datagrams = matches!(call.kind, CallKind::RecvDatagrams | CallKind::SendDatagrams);
        let moves = datagrams || matches!(call.kind, CallKind::Recv | CallKind::Send | CallKind::Accept);
        if happens(short) {
            // What a read could move is mostly far less than its buffer: small numbers are as likely as large ones.
            let most = match call.kind {
                // Of a batch.
                _ if datagrams => 8,
                CallKind::Recv => call.size >> random.index(call.size.max(1).ilog2() as usize),
                _ => call.size,
            };
            Verdict::Short(1 + random.index(most))
        } else if moves && happens(chaos.would_block) {
            Verdict::Drop
        } else if (moves || call.kind == CallKind::Poll) && happens(chaos.interrupted) {
            Verdict::Fail(Errno::EINTR)
        } else {
            Verdict::Pass
        }
    }
}
