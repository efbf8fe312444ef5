//! The interface between the network and a scheduler, and the report of a deadlock.

use crate::net::Close;
use crate::sim::Host;
use crate::sim::Instant;
use crate::sim::network::Network;
use crate::sim::network::coverage::FaultKind;
use crate::sim::world::World;
use crate::sim::world::process::Socket;
use crate::sim::world::tcp::connection::{Payload, Phase};

/// Calls of a scheduler.
impl Network {
    /// Runs all events and jobs that are due, and appends the processes woken since the last call.
    pub(crate) fn catch_up(&self, awake: &mut Vec<u32>) {
        loop {
            let mut world = self.world.borrow_mut();
            world.catch_up();
            if world.due.is_empty() {
                let from = awake.len();
                awake.append(&mut world.awake);
                // Later events wake them again, even before they have polled: a busy or interrupted
                // process polls late.
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

    /// Returns the time of the next event in nanoseconds.
    pub(crate) fn next(&self) -> Option<u64> {
        self.world.borrow().events.next()
    }

    pub(crate) fn advance_to(&self, at: u64) {
        self.world.borrow_mut().advance_to(at);
    }

    /// Takes the time that a process's turn has taken, in nanoseconds.
    pub(crate) fn take_spent(&self, process: u32) -> u64 {
        std::mem::take(&mut self.world.borrow_mut().process_mut(process).ahead)
    }

    /// Returns whether a process has made calls that take time since its last turn.
    pub(crate) fn has_spent(&self, process: u32) -> bool {
        self.world.borrow().process(process).ahead > 0
    }

    /// Converts a time of a process's host to world time.
    pub(crate) fn world_time(&self, process: u32, host_time: Instant) -> u64 {
        let world = self.world.borrow();
        world.host(world.process(process).host).clock.world(host_time.nanoseconds())
    }

    /// Wakes a process at this time, and cancels its previous timer.
    pub(crate) fn set_timer(&self, process: u32, at: u64) {
        let mut world = self.world.borrow_mut();
        let found = world.process_mut(process);
        found.timers = found.timers.wrapping_add(1);
        let number = found.timers;
        world.schedule(at, crate::sim::world::events::EventKind::Timer, 0, process, number);
    }

    pub(crate) fn has_pending(&self, process: u32) -> bool {
        self.world.borrow().process(process).has_pending()
    }

    /// Cuts a host's power: its sockets vanish without any packet to their peers.
    pub(crate) fn power_off(&self, host: Host) {
        let mut world = self.world.borrow_mut();
        world.fault(FaultKind::Crash, host.0);
        world.host_mut(host.0).up = false;
        for process in 0..world.processes.len() as u32 {
            if world.process(process).host != host.0 {
                continue;
            }
            world.kill_file_jobs(process);
            for token in world.process(process).tokens() {
                match world.process_mut(process).remove(token) {
                    Socket::Closed => {}
                    Socket::Stream { connection, side } => {
                        world.release_names_of(connection);
                        world.connections[connection as usize].ends[side].leave(Phase::Vanished);
                        world.remove_if_over(connection);
                    }
                    Socket::Listener(queue) => world.close_queue(queue, Close::Graceful),
                    Socket::Datagram(queue) => world.close_datagram_queue(queue),
                }
            }
        }
        world.disk_loses_power(host.0);
    }

    /// Marks a process as killed.
    pub(crate) fn kill_process(&self, process: u32) {
        let mut world = self.world.borrow_mut();
        world.process_mut(process).killed = true;
        world.kill_file_jobs(process);
    }

    pub(crate) fn power_on(&self, host: Host) {
        self.world.borrow_mut().host_mut(host.0).up = true;
    }

    pub(crate) fn note_fault(&self, kind: FaultKind, host: Host) {
        self.fault(kind, host);
    }

    /// Lists the waiting sockets, one a line, for the report of a deadlock.
    pub(crate) fn describe_waiting(&self) -> String {
        self.world.borrow().describe_waiting()
    }
}

impl World {
    /// Resets a connection on both sides, as a firewall does.
    pub(in crate::sim) fn reset_both(&mut self, index: u32) {
        let host = self.connections[index as usize].ends[0].host;
        self.fault(FaultKind::Reset, host);
        for side in 0..2 {
            self.connections[index as usize].ends[side].flight.clear();
            self.transmit_without_rules(index, side, self.now, Payload::Reset);
            if self.connections.get(index as usize).is_none() {
                return;
            }
        }
        self.remove_if_over(index);
    }

    pub(in crate::sim) fn describe_waiting(&self) -> String {
        let mut lines = vec!["no event is left".to_owned()];
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
                let state = match end.phase {
                    Phase::Connecting => "waits for an answer",
                    Phase::Handshaking => "waits for the end of the handshake",
                    Phase::Queued => "waits to be accepted",
                    Phase::Open if end.visible > 0 => "has unread data",
                    Phase::Open if end.wants_room => "waits for the peer to read",
                    Phase::Open => "waits for bytes",
                    Phase::Nothing | Phase::Closed | Phase::Vanished => continue,
                };
                let name = &self.host(end.host).name;
                lines.push(format!(
                    "{name} {state} on {}, from {} to {peer}",
                    self.about(index as u32, side),
                    end.address
                ));
            }
        }
        if lines.len() > MAX_LINES {
            let more = lines.len() - MAX_LINES;
            lines.truncate(MAX_LINES);
            lines.push(format!("and {more} more"));
        }
        lines.join("\n  ")
    }
}

/// The maximum number of lines of a deadlock's report.
const MAX_LINES: usize = 20;
