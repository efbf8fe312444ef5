//! Flow control: pause and resume of protocols and producers, and calls of pull producers.

use std::time::Duration;

use crate::net::Token;
use crate::reactor::connection::{Flow, MIN_PULL_DELAY, State};
use crate::reactor::turn::queues::Callback;
use crate::reactor::{CallbackKind, Producer, ProducerKind, Reactor, TimedCall, Transport};

impl Reactor {
    pub(in crate::reactor) fn tell_to_pause(&mut self, token: Token) {
        if let Some(connection) = self.registry.connection_mut(token) {
            connection.enter_pause();
        }
        self.pause_producer(token);
        self.call_protocol(token, CallbackKind::PauseWriting, |protocol, transport| {
            protocol.pause_writing(transport);
        });
    }

    pub(in crate::reactor) fn tell_to_resume(&mut self, token: Token) {
        // The high-water mark was exceeded again since this call was queued. A new `pause_writing`
        // follows it, and the buffer limit applies only from then on.
        if let Some(connection) = self.registry.connection_mut(token)
            && connection.flow == Flow::Paused
        {
            connection.flow = Flow::PauseQueued;
        }
        if self.producer_waits(token, ProducerKind::Push, false) {
            self.call_producer(token, ProducerKind::Push, |producer, transport| {
                producer.resume_producing(transport);
            });
        }
        self.call_protocol(token, CallbackKind::ResumeWriting, |protocol, transport| {
            protocol.resume_writing(transport);
        });
    }

    /// Tells a push producer to pause, unless it is already paused.
    pub(in crate::reactor) fn pause_producer(&mut self, token: Token) {
        if self.producer_waits(token, ProducerKind::Push, true) {
            self.call_producer(token, ProducerKind::Push, |producer, transport| {
                producer.pause_producing(transport);
            });
        }
    }

    /// Queues a call of the pull producer, if there is one. Repeated calls queue it once.
    pub(in crate::reactor) fn ask_producer(&mut self, token: Token) {
        if self.producer_waits(token, ProducerKind::Pull, true) {
            self.queues.callbacks.push(Callback::Pull(token));
        }
    }

    /// Sets `waits` of a producer of this kind. Returns `false` if it is unchanged.
    fn producer_waits(&mut self, token: Token, kind: ProducerKind, waits: bool) -> bool {
        let connection = self.registry.connection_mut(token);
        let registered = connection.and_then(|connection| connection.cold.as_mut()?.producer.as_mut());
        match registered {
            Some(registered) if registered.kind == kind => {
                std::mem::replace(&mut registered.waits, waits) != waits
            }
            _ => false,
        }
    }

    /// Calls a pull producer for its next piece.
    pub(in crate::reactor) fn pull(&mut self, token: Token) {
        if !self.producer_waits(token, ProducerKind::Pull, false) {
            return;
        }
        let Some(connection) = self.registry.connection_mut(token) else { return };
        let sending = connection.unsent() > 0;
        let wrote_before = std::mem::replace(&mut connection.wrote, false);
        let again = connection.registered().and_then(|registered| {
            registered.sending = sending;
            registered.again.take()
        });
        if let Some(again) = again {
            self.timers.cancel(again);
        }
        let mut wrote = false;
        let called = !sending
            && self.call_producer(token, ProducerKind::Pull, |producer, transport| {
                producer.resume_producing(transport);
                // Read before the call's consequences: a close lingers if anything was ever
                // written.
                wrote = transport.reactor.wrote_since(token, wrote_before);
            });
        let Some(connection) = self.registry.connection_mut(token) else { return };
        connection.wrote |= wrote_before;
        if !called || connection.state == State::Lost {
            return;
        }
        let sending = connection.unsent() > 0;
        let Some(registered) = connection.registered() else { return };
        registered.sending = sending;
        if sending || wrote {
            registered.pause = MIN_PULL_DELAY;
        }
        match (sending, wrote) {
            // The producer is called when the output is sent.
            (true, _) => {}
            // All of it was sent at once: queue the call for the next piece.
            (false, true) => self.ask_producer(token),
            (false, false) => self.ask_producer_later(token),
        }
    }

    /// Whether the connection wrote since `wrote` was cleared. It had nothing unsent then. Restores
    /// `wrote` from `before`.
    fn wrote_since(&mut self, token: Token, before: bool) -> bool {
        let unsent = self.unsent(token) > 0;
        let Some(connection) = self.registry.connection_mut(token) else { return false };
        let wrote = connection.wrote || unsent;
        connection.wrote = wrote || before;
        wrote
    }

    /// Calls a pull producer that had nothing to write again after a delay. A call in each turn
    /// would keep the loop busy.
    fn ask_producer_later(&mut self, token: Token) {
        let now = self.now();
        let registered = self.registry.connection_mut(token).and_then(|connection| connection.registered());
        let Some(registered) = registered.filter(|registered| !registered.waits) else { return };
        let at = now + registered.pause;
        registered.pause = (registered.pause * 2).min(MAX_PULL_DELAY);
        registered.again = Some(self.timers.set(at, TimedCall::AskProducer(token)));
    }

    /// Queues a call of the pull producer, now that all output is sent: if something was sent, or
    /// if it waits for that.
    pub(in crate::reactor) fn ask_once_sent(&mut self, token: Token, sent: bool) {
        let registered = self.registry.connection_mut(token).and_then(|connection| connection.registered());
        if registered.is_some_and(|registered| sent || registered.sending) {
            self.ask_producer(token);
        }
    }

    /// Calls a connection's producer of this kind, if there is one. It is out of its slot during
    /// the call.
    fn call_producer(
        &mut self,
        token: Token,
        kind: ProducerKind,
        call: impl FnOnce(&mut dyn Producer, &mut Transport<'_>),
    ) -> bool {
        let Some(connection) = self.registry.connection_mut(token) else {
            return false;
        };
        let lost = connection.state == State::Lost;
        let direct = connection.can_batch() && !connection.is_layered();
        let registered = connection.cold.as_mut().and_then(|cold| cold.producer.as_mut());
        let Some(registered) = registered.filter(|registered| registered.kind == kind && !lost) else {
            return false;
        };
        let Some(mut producer) = registered.producer.take() else {
            return false;
        };
        self.send.batching = direct;
        self.enter(token, CallbackKind::Producer, |transport| call(&mut *producer, transport));
        let place = self.registry.connection_mut(token).and_then(|connection| {
            let registered = connection.cold.as_mut()?.producer.as_mut()?;
            registered.producer.is_none().then_some(&mut registered.producer)
        });
        match place {
            Some(place) => *place = Some(producer),
            // It was unregistered, and perhaps replaced, during the call.
            None => self.call(CallbackKind::Drop, |_| drop(producer)),
        }
        self.after_callback(token);
        true
    }
}

/// Max delay of a pull producer that has nothing to write.
const MAX_PULL_DELAY: Duration = Duration::from_millis(100);
