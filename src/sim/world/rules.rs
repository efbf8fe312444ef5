//! What the rules of a simulation decide about calls and packets.

use std::net::SocketAddr;

use super::World;
use crate::net::{Instant, nanoseconds};
use crate::sim::Host;
use crate::sim::network::coverage::FaultKind;
use crate::sim::network::link::Path;
use crate::sim::network::rule::{Call, CallKind, Packet, PacketKind, Rule, Verdict};
use crate::sim::random::Random;

impl World {
    /// Counts a call that a process is about to make, and asks the rules about it.
    #[inline]
    pub(in crate::sim) fn before(&mut self, process: u32, kind: CallKind, size: usize) -> Verdict {
        self.coverage.note_call(kind);
        let found = &mut self.processes[process as usize];
        let host = &mut self.hosts[found.host as usize];
        host.calls[kind as usize] += 1;
        found.ahead = found.ahead.saturating_add(host.call_cost);
        if self.rules.is_empty() { Verdict::Pass } else { self.judge_call(process, kind, size) }
    }

    #[cold]
    fn judge_call(&mut self, process: u32, kind: CallKind, size: usize) -> Verdict {
        let host = self.process(process).host;
        let at = Instant::from_nanoseconds(self.now);
        let count = self.host(host).calls[kind as usize];
        let call = Call { at, host: Host(host), kind, count, size };
        let verdict = self.ask_rules(|rule, random| rule.call(&call, random));
        match verdict {
            Verdict::Delay(by) => {
                let found = self.process_mut(process);
                found.ahead = found.ahead.saturating_add(nanoseconds(by));
                self.fault(FaultKind::SlowCall, host);
                Verdict::Pass
            }
            Verdict::Fail(_) => {
                self.fault(FaultKind::Failure, host);
                verdict
            }
            other => other,
        }
    }

    pub(in crate::sim) fn judge_packet(
        &mut self,
        path: u32,
        kind: PacketKind,
        size: usize,
        source: SocketAddr,
        destination: SocketAddr,
    ) -> Verdict {
        if self.rules.is_empty() {
            return Verdict::Pass;
        }
        let Path { from, to, .. } = self.paths[path as usize];
        let at = Instant::from_nanoseconds(self.now);
        let (from, to) = (Host(from), Host(to));
        let packet = Packet { at, from, to, source, destination, kind, size };
        let verdict = self.ask_rules(|rule, random| rule.packet(&packet, random));
        match verdict {
            Verdict::Delay(_) => self.fault(FaultKind::Delay, to.0),
            Verdict::Drop => self.fault(FaultKind::Loss, to.0),
            _ => {}
        }
        verdict
    }

    /// The first verdict that is not `Pass` decides.
    fn ask_rules(&mut self, ask: impl Fn(&mut dyn Rule, &mut Random) -> Verdict) -> Verdict {
        let random = &mut self.random.rules;
        let verdicts = self.rules.iter_mut().map(|(_, rule)| ask(&mut **rule, random));
        verdicts.into_iter().find(|verdict| *verdict != Verdict::Pass).unwrap_or(Verdict::Pass)
    }
}
