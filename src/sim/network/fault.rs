//! A configurable rule: subject, host, time, probability and count.

use std::time::Duration;

use crate::sim::network::errno::Errno;
use crate::sim::network::rule::{Call, CallKind, Packet, PacketKind, Rule, Verdict};
use crate::sim::random::Random;
use crate::sim::{Host, Instant};

/// A rule that applies a verdict when all of its conditions hold.
///
/// ```
/// use std::time::Duration;
/// use twistor::sim::{CallKind, Errno, Fault, PacketKind, Simulation, Verdict};
///
/// let simulation = Simulation::new(1);
/// let server = simulation.host("server");
/// // From the tenth to the twentieth second, half of the server's accepts fail with EMFILE.
/// simulation.add_rule(
///     Fault::call(CallKind::Accept, Verdict::Fail(Errno::EMFILE))
///         .on(server)
///         .between(Duration::from_secs(10), Duration::from_secs(20))
///         .chance(0.5),
/// );
/// // The first three data packets to the server are delayed.
/// simulation.add_rule(
///     Fault::packet(PacketKind::Data, Verdict::Delay(Duration::from_millis(300)))
///         .on(server)
///         .at_most(3),
/// );
/// ```
pub struct Fault {
    subject: Subject,
    verdict: Verdict,
    host: Option<Host>,
    peer: Option<Host>,
    from: Instant,
    until: Option<Instant>,
    chance: f64,
    /// The first match that it applies to, counted from 1 among those that meet the other
    /// conditions.
    first: u64,
    max: u64,
    met: u64,
    condition: Option<Condition>,
}

type Condition = Box<dyn FnMut() -> bool>;

enum Subject {
    AnyCall,
    Call(CallKind),
    AnyPacket,
    Packet(PacketKind),
}

impl Fault {
    /// Applies a verdict to calls of this kind.
    pub fn call(kind: CallKind, verdict: Verdict) -> Fault {
        Fault::new(Subject::Call(kind), verdict)
    }

    /// Applies a verdict to every call.
    pub fn any_call(verdict: Verdict) -> Fault {
        Fault::new(Subject::AnyCall, verdict)
    }

    /// Fails calls of this kind.
    pub fn fail(kind: CallKind, errno: Errno) -> Fault {
        Fault::call(kind, Verdict::Fail(errno))
    }

    /// Applies a verdict to packets of this kind.
    pub fn packet(kind: PacketKind, verdict: Verdict) -> Fault {
        Fault::new(Subject::Packet(kind), verdict)
    }

    /// Applies a verdict to every packet.
    pub fn any_packet(verdict: Verdict) -> Fault {
        Fault::new(Subject::AnyPacket, verdict)
    }

    fn new(subject: Subject, verdict: Verdict) -> Fault {
        Fault {
            subject,
            verdict,
            host: None,
            peer: None,
            from: Instant::default(),
            until: None,
            chance: 1.0,
            first: 1,
            max: u64::MAX,
            met: 0,
            condition: None,
        }
    }

    /// Restricts it to calls of this host, or to packets that this host receives.
    pub fn on(mut self, host: Host) -> Fault {
        self.host = Some(host);
        self
    }

    /// Restricts it to packets that this host sends.
    pub fn from(mut self, host: Host) -> Fault {
        self.peer = Some(host);
        self
    }

    /// Restricts it to virtual times from `time` on.
    pub fn after(mut self, time: Duration) -> Fault {
        self.from = Instant::from_origin(time);
        self
    }

    /// Restricts it to virtual times from `from` to `until`, `until` excluded.
    pub fn between(mut self, from: Duration, until: Duration) -> Fault {
        self.from = Instant::from_origin(from);
        self.until = Some(Instant::from_origin(until));
        self
    }

    /// Applies it with this probability. Default: 1.
    pub fn chance(mut self, probability: f64) -> Fault {
        self.chance = probability;
        self
    }

    /// Applies it only while `condition` returns true.
    pub fn when(mut self, condition: impl FnMut() -> bool + 'static) -> Fault {
        self.condition = Some(Box::new(condition));
        self
    }

    /// Restricts it to one match, counted from 1 among those that meet the other conditions.
    pub fn nth(mut self, number: u64) -> Fault {
        self.first = number;
        self.max = 1;
        self
    }

    /// Limits the number of matches it is applied to. Default: no limit.
    pub fn at_most(mut self, times: u64) -> Fault {
        self.max = times;
        self
    }

    fn decide(&mut self, at: Instant, random: &mut Random) -> Verdict {
        let in_time = at >= self.from && self.until.is_none_or(|until| at < until);
        let holds = in_time
            && (self.chance >= 1.0 || random.chance(self.chance))
            && self.condition.as_mut().is_none_or(|condition| condition());
        if !holds {
            return Verdict::Pass;
        }
        self.met += 1;
        let in_turn = self.met >= self.first && self.met - self.first < self.max;
        if in_turn { self.verdict } else { Verdict::Pass }
    }
}

impl Rule for Fault {
    fn packet(&mut self, packet: &Packet, random: &mut Random) -> Verdict {
        let concerns = match self.subject {
            Subject::AnyPacket => true,
            Subject::Packet(kind) => kind == packet.kind,
            Subject::AnyCall | Subject::Call(_) => false,
        };
        let here = self.host.is_none_or(|host| host == packet.to);
        let from_there = self.peer.is_none_or(|peer| peer == packet.from);
        if concerns && here && from_there { self.decide(packet.at, random) } else { Verdict::Pass }
    }

    fn call(&mut self, call: &Call, random: &mut Random) -> Verdict {
        let concerns = match self.subject {
            Subject::AnyCall => true,
            Subject::Call(kind) => kind == call.kind,
            Subject::AnyPacket | Subject::Packet(_) => false,
        };
        let here = self.host.is_none_or(|host| host == call.host);
        if concerns && here { self.decide(call.at, random) } else { Verdict::Pass }
    }
}
