//! What the scheduler above asks of a network, and what it can say about those who wait.

use crate::net::Close;
use crate::sim::Host;
use crate::sim::Instant;
use crate::sim::network::Network;
use crate::sim::network::coverage::FaultKind;
use crate::sim::world::World;
use crate::sim::world::process::Socket;
use crate::sim::world::tcp::connection::{Payload, Phase};

/// For the scheduler above.
impl Network {
    /// Lets everything happen that is due now, and names the processes that have something to do since the last time.
    pub(crate) fn catch_up(&self, awake: &mut Vec<u32>) {
        loop {
            let mut world = self.world.borrow_mut();
            world.catch_up();
            if world.due.is_empty() {
                let from = awake.len();
                awake.append(&mut world.awake);
                // What comes from now on wakes them again, whether they have looked by then or not: one that is busy
                // or was interrupted has not.
                for process in &awake[from..] {
                    world.process_mut(*process).awake = false;
                }
                return;
            }
            let due = std::mem::take(&mut world.due);
            drop(world);
            for job in due {
                crate::sim::driver::run(job);
            }
        }
    }

    /// When the next thing happens, in nanoseconds.
    pub(crate) fn next(&self) -> Option<u64> {
        self.world.borrow().events.next()
    }

    pub(crate) fn advance_to(&self, at: u64) {
        self.world.borrow_mut().advance_to(at);
    }

    /// What a process's turn has taken, in nanoseconds.
    pub(crate) fn take_spent(&self, process: u32) -> u64 {
        std::mem::take(&mut self.world.borrow_mut().process_mut(process).ahead)
    }

    /// Whether a process has made calls that take time since its last turn.
    pub(crate) fn has_spent(&self, process: u32) -> bool {
        self.world.borrow().process(process).ahead > 0
    }

    /// When it is this time on the host of a process.
    pub(crate) fn world_time(&self, process: u32, host_time: Instant) -> u64 {
        let world = self.world.borrow();
        world.host(world.process(process).host).clock.world(host_time.nanoseconds())
    }

    /// Wakes a process then, and not at a time that was set before.
    pub(crate) fn set_timer(&self, process: u32, at: u64) {
        let mut world = self.world.borrow_mut();
        let found = world.process_mut(process);
        found.timers = found.timers.wrapping_add(1);
        let number = found.timers;
        world.schedule(at, crate::sim::world::events::EventKind::Timer, 0, process, number);
    }

    pub(crate) fn has_news(&self, process: u32) -> bool {
        self.world.borrow().process(process).has_news()
    }

    /// A host loses its power: its sockets are gone, and nobody hears of it.
    pub(crate) fn power_off(&self, host: Host) {
        let mut world = self.world.borrow_mut();
        world.fault(FaultKind::Crash, host.0);
        world.host_mut(host.0).up = false;
        for process in 0..world.processes.len() as u32 {
            if world.process(process).host != host.0 {
                continue;
            }
            for token in world.process(process).tokens() {
                match world.process_mut(process).remove(token) {
                    Socket::Closed => {}
                    Socket::Stream { connection, side } => {
                        world.release_names_of(connection);
                        world.connections[connection as usize].ends[side].leave(Phase::Vanished);
                        world.forget_if_over(connection);
                    }
                    Socket::Listener(queue) => world.close_queue(queue, Close::Graceful),
                    Socket::Datagram(mailbox) => world.close_mailbox(mailbox),
                }
            }
        }
    }

    /// A process ends without having cleared up.
    pub(crate) fn kill_process(&self, process: u32) {
        self.world.borrow_mut().process_mut(process).killed = true;
    }

    pub(crate) fn power_on(&self, host: Host) {
        self.world.borrow_mut().host_mut(host.0).up = true;
    }

    pub(crate) fn note_fault(&self, kind: FaultKind, host: Host) {
        self.fault(kind, host);
    }

    /// Who waits for what, a line each: for those who wait in vain.
    pub(crate) fn who_waits(&self) -> String {
        self.world.borrow().who_waits()
    }
}

impl World {
    /// A connection is reset on both sides, from outside.
    pub(in crate::sim) fn reset_both(&mut self, index: u32) {
        let host = self.connections[index as usize].ends[0].host;
        self.fault(FaultKind::Reset, host);
        for side in 0..2 {
            self.connections[index as usize].ends[side].flight.clear();
            self.transmit_plainly(index, side, self.now, Payload::Reset);
            if self.connections.get(index as usize).is_none() {
                return;
            }
        }
        self.forget_if_over(index);
    }

    pub(in crate::sim) fn who_waits(&self) -> String {
        let mut lines = vec!["nothing can ever happen again".to_owned()];
        for (_, queue) in &self.queues {
            let at = match &queue.name {
                Some(name) => name.address.to_string(),
                None => queue.address.to_string(),
            };
            lines.push(format!("{} listens on {at}", self.host(queue.host).name));
        }
        for (index, connection) in &self.connections {
            for side in 0..2 {
                let end = &connection.ends[side];
                let peer = connection.ends[connection.other(side)].address;
                let waits = match end.phase {
                    Phase::Connecting => "waits for an answer",
                    Phase::Handshaking => "waits for the end of its handshake",
                    Phase::Queued => "waits to be accepted",
                    Phase::Open if end.visible > 0 => "has not read what came",
                    Phase::Open if end.wants_room => "waits for the peer to read",
                    Phase::Open => "waits for bytes",
                    Phase::Nothing | Phase::Closed | Phase::Vanished => continue,
                };
                let name = &self.host(end.host).name;
                lines.push(format!(
                    "{name} {waits} on {}, from {} to {peer}",
                    self.about(index as u32, side),
                    end.address
                ));
            }
        }
        if lines.len() > MOST_LINES {
            let more = lines.len() - MOST_LINES;
            lines.truncate(MOST_LINES);
            lines.push(format!("and {more} more"));
        }
        lines.join("\n  ")
    }
}

/// Enough to see what it is about.
const MOST_LINES: usize = 20;
