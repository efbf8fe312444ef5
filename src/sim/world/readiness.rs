//! Readiness: which ends are reported with the next poll of their process.

use super::World;
use crate::net::{Event, Readiness};
use crate::sim::world::process::Socket;
use crate::sim::world::tcp::connection::NO_PROCESS;

impl World {
    /// Reports an end's readiness with the process's next poll.
    #[inline]
    pub(in crate::sim) fn report(&mut self, index: u32, side: usize, events: Readiness) {
        let free = self.has_room(index, side);
        self.report_with_room(index, side, events, free);
    }

    /// Like [`report`](World::report), with the caller's knowledge of whether the end has room to
    /// write.
    #[inline]
    pub(in crate::sim) fn report_with_room(
        &mut self,
        index: u32,
        side: usize,
        events: Readiness,
        free: bool,
    ) {
        let end = &mut self.connections[index as usize].ends[side];
        if end.process == NO_PROCESS {
            return;
        }
        let mut pending = end.level(free);
        if self.minimal_edges && !pending.has(Readiness::READ_CLOSED) {
            pending = pending.and(events).and(end.armed);
            end.armed.remove(pending);
        }
        if pending == Readiness::default() {
            return;
        }
        let first = end.pending == Readiness::default();
        end.pending.insert(pending);
        if first {
            let (process, token) = (end.process, end.token);
            self.process_mut(process).pending.push(token);
            self.wake(process);
        }
    }

    /// Takes the pending readiness of a process's sockets, in an order drawn from the seed.
    pub(in crate::sim) fn take_pending(&mut self, process: u32, events: &mut Vec<Event>) {
        let mut tokens = std::mem::take(&mut self.process_mut(process).pending);
        if !self.events.in_order && tokens.len() > 1 {
            self.random.order.shuffle(&mut tokens);
        }
        for token in tokens.drain(..) {
            let ready = match self.process(process).get(token) {
                Socket::Closed => continue,
                Socket::Stream { connection, side } => {
                    std::mem::take(&mut self.connections[connection as usize].ends[side].pending)
                }
                Socket::Listener(queue) => self.queues[queue as usize].take_pending(),
                Socket::Datagram(queue) => std::mem::take(&mut self.datagram_queues[queue as usize].pending),
            };
            if ready != Readiness::default() {
                events.push(Event::Ready(token, ready));
            }
        }
        self.process_mut(process).pending = tokens;
    }
}
